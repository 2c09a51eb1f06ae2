"""Scores against the decision threshold, and what they are computed from."""

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from skcgmvae._labels import LabelCoder
from skcgmvae._threshold_search import EXACT, as_criterion, best_thresholds

# Even steps of the threshold, finer than what a screen resolves, and so many of the
# scores themselves at most, which may crowd at one end.
EVEN = 1001
FROM_SCORES = 500


def threshold_curves(coder, labels, probabilities, scoring, chosen=None):
    """Thresholds, the curve of each score, and the threshold of its maximum.

    Parameters
    ----------
    coder : LabelCoder
    labels : ndarray of bool of shape (n_samples, n_labels)
    probabilities : ndarray of shape (n_samples, n_labels)
    scoring : list of str
        Keys of ``EXACT``.
    chosen : float, ndarray or None
        Further thresholds that the curves have to reach to.

    Returns
    -------
    thresholds : ndarray of shape (n_thresholds,)
        Ascending, from 0 on.
    scores : dict of str to ndarray of shape (n_thresholds,)
    best : dict of str to float
        Each is one of ``thresholds``.
    """
    criteria = {name: as_criterion(name, coder, n_thresholds=1) for name in scoring}
    best = {
        name: float(best_thresholds(labels, probabilities, criterion)[0][0])
        for name, criterion in criteria.items()
    }
    found = np.unique(probabilities)
    # Beyond the highest score all curves are level.
    highest = max(found[-1], *best.values(), np.max(0 if chosen is None else chosen))
    upper = 1 if highest > 0.5 else 1.1 * highest or 1
    even = np.linspace(0, upper, EVEN)
    some = found[:: -(-len(found) // FROM_SCORES)]
    thresholds = np.unique(np.concatenate([even, some, list(best.values())]))
    scores = {
        name: criterion.curve(labels, probabilities, thresholds)
        for name, criterion in criteria.items()
    }
    return thresholds, scores, best


def as_labels(Y):
    """The coder of ``Y``, and ``Y`` as a matrix of bool (n_samples, n_labels)."""
    coder = LabelCoder()
    labels = coder.fit_transform(Y)
    if coder.is_multiclass_:
        raise ValueError(
            f"Y has {len(coder.classes_)} classes that exclude one another; a "
            "threshold is for a label matrix, or for a y of two classes."
        )
    labels = labels.toarray() if issparse(labels) else labels
    return coder, labels.astype(bool)


def as_matrix(probabilities, coder):
    """What a user has of probabilities, (n_samples, n_labels) if it can be."""
    if issparse(probabilities):
        return probabilities.toarray()
    try:
        probabilities = np.asarray(probabilities)
    except ValueError as error:
        raise ValueError(
            "probabilities must be an array (n_samples, n_labels); got rows of "
            f"different lengths. {HOW_TO}"
        ) from error
    if coder.n_labels_ == 1 and probabilities.ndim == 1:
        return probabilities[:, None]
    if not coder.is_matrix_ and probabilities.shape[1:] == (2,):
        return probabilities[:, 1:]
    return probabilities


HOW_TO = (
    "skcgmvae.metrics.label_probabilities makes one of what any classifier's "
    "predict_proba returns."
)


def check_probabilities(probabilities, name, shape):
    """Finite, in [0, 1], and of the shape of ``Y``; ``name`` is for the messages."""
    if probabilities.shape != shape:
        raise ValueError(
            f"{name} must have the shape of Y, {shape}; got {probabilities.shape}."
            + f" {HOW_TO}" * (probabilities.ndim != 2)
        )
    checked = check_array(
        probabilities, dtype=[np.float64, np.float32], input_name=name
    )
    # Sums of votes may be off by their last digit.
    if checked.min() < -1e-9 or checked.max() > 1 + 1e-9:
        raise ValueError(
            f"{name} must be in [0, 1]; got values from {checked.min()} to "
            f"{checked.max()}."
        )
    return np.clip(checked, 0, 1)


def is_exact(scoring):
    """Whether curves of this ``scoring`` can be drawn."""
    return isinstance(scoring, str) and scoring in EXACT


def check_scoring(scoring, n_labels):
    """``scoring`` as a list of names."""
    if scoring is None:
        # Of a single label there is one F1, whatever the average.
        return ["f1_micro", "hamming"] if n_labels == 1 else list(EXACT)
    names = [scoring] if isinstance(scoring, str) else scoring
    known = isinstance(names, list | tuple) and all(map(is_exact, names))
    if not known or not names:
        raise ValueError(
            f"scoring must be one of {list(EXACT)}, or a list of these; got "
            f"{scoring!r}."
        )
    return list(names)


def check_chosen(chosen, n_labels):
    """None, a float, or an array (n_labels,)."""
    if chosen is None:
        return None
    checked = np.asarray(chosen, dtype=float)
    if checked.shape not in ((), (n_labels,)):
        raise ValueError(
            f"chosen_thresholds must be a number or one a label, shape ({n_labels},); "
            f"got an array of shape {checked.shape}."
        )
    if not ((checked >= 0) & (checked <= 1 + 1e-6)).all():
        raise ValueError(f"chosen_thresholds must be in [0, 1]; got {chosen!r}.")
    return checked if checked.ndim else float(checked)
