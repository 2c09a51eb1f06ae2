"""Measures of multi-label predictions that scikit-learn lacks."""

from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.utils import assert_all_finite, gen_batches

from skcgmvae._ranking import is_top_k

# So many scores are ranked at a time: 8 MB of float64, a few times over.
_CHUNK_ENTRIES = 2**20


def precision_at_k_score(Y_true, Y_score, *, k=1, sample_weight=None):
    """Fraction of the ``k`` best scored labels that a row has, mean over the rows.

    Parameters
    ----------
    Y_true : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Labels, 0 or 1.
    Y_score : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Scores, higher for labels that are more likely. Of a sparse matrix only the
        stored entries are ranked; where a row has fewer than ``k`` of them, the rest
        counts as missed.
    k : int, default=1
        How many labels of a row are looked at, from 1 to n_labels.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, not negative. None: all equal.

    Returns
    -------
    float
        From 0 to 1, the best.

    Raises
    ------
    ValueError
        If an argument is not as described, and if a score is NaN or infinite.

    See Also
    --------
    recall_at_k_score : Fraction of a row's labels that are among the ``k``.
    propensity_scored_precision_at_k : Rare labels count more.

    Notes
    -----
    Of equal scores, that of the label with the lower number comes first. A row without
    labels has precision 0.

    Examples
    --------
    >>> from skcgmvae.metrics import precision_at_k_score
    >>> Y_true = [[1, 0, 1], [0, 1, 0]]
    >>> Y_score = [[0.9, 0.1, 0.7], [0.8, 0.6, 0.2]]
    >>> precision_at_k_score(Y_true, Y_score)
    0.5
    >>> precision_at_k_score(Y_true, Y_score, k=2)
    0.75
    """
    Y_true, Y_score = _check_ranking(Y_true, Y_score, k)
    return _average(_n_hits(Y_true, Y_score, k) / k, sample_weight)


def recall_at_k_score(Y_true, Y_score, *, k=1, sample_weight=None, zero_division=0.0):
    """Fraction of a row's labels among its ``k`` best scored, mean over the rows.

    Parameters
    ----------
    Y_true, Y_score, k, sample_weight
        As for :func:`precision_at_k_score`, which orders equal scores likewise.
    zero_division : {0, 1, nan}, default=0
        Recall of a row without labels. 0 is the custom in extreme classification;
        NaN leaves such rows out.

    Returns
    -------
    float
        From 0 to 1, the best; NaN if all rows are left out.

    Raises
    ------
    ValueError
        If an argument is not as described, and if a score is NaN or infinite.

    See Also
    --------
    precision_at_k_score : Fraction of the ``k`` that are a row's labels.

    Examples
    --------
    >>> from skcgmvae.metrics import recall_at_k_score
    >>> Y_true = [[1, 0, 1], [0, 0, 0]]
    >>> Y_score = [[0.9, 0.1, 0.7], [0.8, 0.6, 0.2]]
    >>> recall_at_k_score(Y_true, Y_score)
    0.25
    >>> recall_at_k_score(Y_true, Y_score, zero_division=float("nan"))
    0.5
    """
    Y_true, Y_score = _check_ranking(Y_true, Y_score, k)
    is_number = isinstance(zero_division, Real)
    if not is_number or not (zero_division in (0, 1) or np.isnan(zero_division)):
        raise ValueError(f"zero_division must be 0, 1 or NaN; got {zero_division!r}.")
    n_true = np.diff(Y_true.indptr)
    recall = _n_hits(Y_true, Y_score, k) / np.maximum(n_true, 1)
    return _average(np.where(n_true > 0, recall, zero_division), sample_weight)


def propensity_scored_precision_at_k(
    Y_true, Y_score, *, k=1, propensities, sample_weight=None
):
    """Precision at ``k`` in which a rare label counts more, relative to the best.

    A label that is often missing where it applies tells more when it is found: each
    hit counts one over the label's propensity. The sum over all rows is divided by
    the largest that any scores could have reached.

    Parameters
    ----------
    Y_true, Y_score, k, sample_weight
        As for :func:`precision_at_k_score`, which orders equal scores likewise.
    propensities : array-like of shape (n_labels,)
        Probability that a label is noted where it applies, above 0 and at most 1, as
        :func:`label_propensities` estimates it.

    Returns
    -------
    float
        From 0 to 1, the best; NaN if no row has labels.

    Raises
    ------
    ValueError
        If an argument is not as described, and if a score is NaN or infinite.

    See Also
    --------
    precision_at_k_score : All labels count alike.

    References
    ----------
    Jain, Prabhu and Varma, "Extreme multi-label loss functions for recommendation,
    tagging, ranking & other missing label applications", KDD 2016: propensity scored
    precision. Divided by the best as in the tables of the Extreme Classification
    Repository.

    Examples
    --------
    >>> from skcgmvae.metrics import propensity_scored_precision_at_k
    >>> Y_true = [[1, 0, 0], [0, 0, 1]]
    >>> Y_score = [[0.9, 0.1, 0.2], [0.7, 0.1, 0.2]]
    >>> propensity_scored_precision_at_k(Y_true, Y_score, propensities=[1, 0.5, 0.25])
    0.2
    """
    Y_true, Y_score = _check_ranking(Y_true, Y_score, k)
    propensities = _as_vector(propensities, "propensities", Y_true.shape[1])
    if not ((propensities > 0) & (propensities <= 1)).all():
        raise ValueError(
            "propensities must be above 0 and at most 1; got values from "
            f"{propensities.min()} to {propensities.max()}."
        )
    worth = Y_true.astype(float)
    worth.data /= propensities[worth.indices]
    reached, best = (
        np.asarray(_top(scores, k).multiply(worth).sum(axis=1)).ravel()
        for scores in (Y_score, worth)
    )
    best = _average(best, sample_weight)
    return _average(reached, sample_weight) / best if best > 0 else np.nan


def label_propensities(Y_train, *, a=0.55, b=1.5):
    """Probability that a label is noted where it applies, estimated from its frequency.

    Of a label on ``N_l`` of the ``N`` rows it is ``1 / (1 + C (N_l + b)^-a)`` with
    ``C = (log N - 1) (b + 1)^a``, so that rare labels are thought to be missing more
    often.

    Parameters
    ----------
    Y_train : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Labels of the training rows, 0 or 1; three rows at least.
    a, b : float, default=0.55 and 1.5
        Parameters of the curve, ``a`` not negative and ``b`` above 0. The defaults
        serve most data; the authors give 0.5 and 0.4 for Wikipedia's categories, 0.6
        and 2.6 for Amazon's products.

    Returns
    -------
    ndarray of shape (n_labels,)
        Above 0 and at most 1.

    Raises
    ------
    ValueError
        If an argument is not as described.

    References
    ----------
    Jain, Prabhu and Varma, "Extreme multi-label loss functions for recommendation,
    tagging, ranking & other missing label applications", KDD 2016: the propensity
    model.

    Examples
    --------
    >>> import numpy as np
    >>> from skcgmvae.metrics import label_propensities
    >>> Y_train = np.arange(100)[:, None] < [1, 10, 100]
    >>> label_propensities(Y_train).round(2)
    array([0.22, 0.39, 0.68])
    """
    Y_train = check_labels(Y_train, "Y_train")
    n_samples = Y_train.shape[0]
    if n_samples < 3:  # log N - 1 < 0: a probability above 1
        raise ValueError(f"Y_train must have at least 3 rows; got {n_samples}.")
    if not (isinstance(a, Real) and 0 <= a < np.inf):
        raise ValueError(f"a must be a finite number, not negative; got {a!r}.")
    if not (isinstance(b, Real) and 0 < b < np.inf):
        raise ValueError(f"b must be a finite number above 0; got {b!r}.")
    n_positive = np.bincount(Y_train.indices, minlength=Y_train.shape[1])
    c = (np.log(n_samples) - 1) * (b + 1) ** a
    return 1 / (1 + c * (n_positive + b) ** -a)


def hamming_accuracy_score(Y_true, Y_pred, *, sample_weight=None):
    """Fraction of all entries of the label matrix that are predicted right.

    Parameters
    ----------
    Y_true, Y_pred : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Labels and predictions, 0 or 1.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, not negative. None: all equal.

    Returns
    -------
    float
        From 0 to 1, the best; one less :func:`sklearn.metrics.hamming_loss`.

    Raises
    ------
    ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from skcgmvae.metrics import hamming_accuracy_score
    >>> hamming_accuracy_score([[1, 0], [0, 1]], [[1, 1], [0, 1]])
    0.75
    """
    Y_true, Y_pred = check_labels(Y_true, "Y_true"), check_labels(Y_pred, "Y_pred")
    _check_same_shape(Y_true, Y_pred, "Y_pred")
    n_wrong = np.diff((Y_true != Y_pred).indptr)
    return _average(1 - n_wrong / Y_true.shape[1], sample_weight)


def _check_ranking(Y_true, Y_score, k):
    """Labels as :func:`check_labels` gives them, and scores of the same shape."""
    Y_true = check_labels(Y_true, "Y_true")
    Y_score = _as_matrix(Y_score, "Y_score")
    assert_all_finite(Y_score, input_name="Y_score")
    _check_same_shape(Y_true, Y_score, "Y_score")
    check_k(k)
    if k > Y_true.shape[1]:
        raise ValueError(
            f"k must be at most the number of labels, {Y_true.shape[1]}; got {k}."
        )
    return Y_true, Y_score


def check_k(k):
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k must be a whole number from 1 on; got {k!r}.")


def check_labels(Y, name):
    """``Y`` as a CSR matrix of uint8 that stores its ones, in the order of labels."""
    matrix = _as_matrix(Y, name)
    values = matrix.data if sp.issparse(matrix) else matrix
    wrong = values[(values != 0) & (values != 1)]
    if wrong.size:
        raise ValueError(
            f"{name} must hold 0 and 1 only, a column a label; got the values "
            f"{np.unique(wrong)[:5].tolist()}."
        )
    labels = sp.csr_matrix(matrix.astype(np.uint8))
    labels.eliminate_zeros()
    return labels


def _as_matrix(values, name):
    """``values`` as a 2-D ndarray of numbers, or as CSR with sorted columns."""
    shape = f"{name} must be of shape (n_samples, n_labels), neither of them 0; got "
    if not sp.issparse(values):
        try:
            values = np.asarray(values)
        except ValueError as error:
            raise ValueError(f"{shape}rows of different lengths.") from error
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{shape}{values.shape}.")
    if sp.issparse(values):
        values = sp.csr_matrix(values, copy=True)  # the original is the caller's
        values.sum_duplicates()
    elif values.dtype == object:  # such as a DataFrame of pandas' own dtypes
        try:
            values = values.astype(float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must hold numbers; {error}") from error
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers; got dtype {values.dtype}.")
    return values


def _as_vector(values, name, length):
    """``values`` as an ndarray (length,) of float."""
    try:
        vector = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers; {error}") from error
    if vector.shape != (length,):
        raise ValueError(
            f"{name} must have the shape ({length},); got an array of shape "
            f"{vector.shape}."
        )
    return vector


def _check_same_shape(Y_true, other, name):
    if Y_true.shape != other.shape:
        raise ValueError(
            f"{name} must have the shape of Y_true, {Y_true.shape}; got {other.shape}."
        )


def _average(values, sample_weight):
    """Weighted mean of one value a row, less the rows whose value is NaN."""
    if sample_weight is None:
        weights = np.ones(len(values))
    else:
        weights = _as_vector(sample_weight, "sample_weight", len(values))
        if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
            raise ValueError(
                "sample_weight must be finite, nowhere negative and somewhere above 0; "
                f"got values from {weights.min()} to {weights.max()}."
            )
    counted = ~np.isnan(values) & (weights > 0)
    if not counted.any():
        return np.nan
    return float(np.average(values[counted], weights=weights[counted]))


def _n_hits(Y_true, Y_score, k):
    """How many of the ``k`` best scored labels each row has."""
    return np.diff(_top(Y_score, k).multiply(Y_true).indptr)


def _top(scores, k):
    """The ``k`` best of each row, of equals the first: a CSR matrix of True."""
    width = scores.shape[1]
    if sp.issparse(scores):
        width = max(k, np.diff(scores.indptr).max())
    chunks = gen_batches(scores.shape[0], max(1, _CHUNK_ENTRIES // width))
    return sp.vstack([_top_of_chunk(scores[rows], k) for rows in chunks], format="csr")


def _top_of_chunk(scores, k):
    if not sp.issparse(scores):
        return sp.csr_matrix(is_top_k(scores, k))
    # The stored scores of a row go to the left, and something worse fills it up.
    n_stored = np.diff(scores.indptr)
    is_stored = np.arange(max(k, n_stored.max())) < n_stored[:, None]
    values = np.full(is_stored.shape, -np.inf)
    values[is_stored] = scores.data
    chosen = scores.astype(bool)
    chosen.data = is_top_k(values, k)[is_stored]
    chosen.eliminate_zeros()
    return chosen
