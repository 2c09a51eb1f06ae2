"""Scorers of multi-label classifiers, and their probabilities in one shape."""

from functools import cached_property

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import (
    average_precision_score,
    coverage_error,
    f1_score,
    get_scorer,
    label_ranking_average_precision_score,
    label_ranking_loss,
    ndcg_score,
)

from skcgmvae.metrics._measures import (
    check_k,
    check_labels,
    hamming_accuracy_score,
    precision_at_k_score,
)


def label_probabilities(estimator, X, *, n_labels=None):
    """Probability of each label, whatever shape the classifier gives it.

    Parameters
    ----------
    estimator : object
        Fitted classifier, pipeline or search with ``predict_proba``. That may be an
        array or a sparse matrix (n_samples, n_labels), as of one-vs-rest classifiers
        and of this package, or a list of arrays (n_samples, 2), as of forests and
        nearest neighbours. A label that was constant in training may have one column
        in the list; ``classes_`` then says which value it had.
    X : array-like of shape (n_samples, n_features)
        Rows to predict.
    n_labels : int, default=None
        Number of labels. 1 is needed for a classifier of two classes, fitted to a 1-D
        ``y``, whose array (n_samples, 2) else means two labels. None: as many as come.

    Returns
    -------
    ndarray of shape (n_samples, n_labels)
        The probability of 1; with ``n_labels=1`` of the second class.

    Raises
    ------
    TypeError
        If ``estimator`` has no ``predict_proba``.
    ValueError
        If what that returns has another shape.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skcgmvae.metrics import label_probabilities
    >>> X, Y = [[0], [1], [2]], [[0, 1], [0, 1], [1, 1]]
    >>> clf = KNeighborsClassifier(n_neighbors=2).fit(X, Y)
    >>> [proba.shape for proba in clf.predict_proba([[2]])]
    [(1, 2), (1, 1)]
    >>> label_probabilities(clf, [[2]])
    array([[0.5, 1. ]])
    """
    name = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"estimator must be a classifier with predict_proba; got {name}, which "
            "has none."
        )
    found = estimator.predict_proba(X)
    if isinstance(found, list | tuple):
        classes = getattr(estimator, "classes_", [None] * len(found))
        found = np.column_stack(list(map(_probability_of_one, found, classes)))
    probabilities = found.toarray() if sp.issparse(found) else np.asarray(found)
    if n_labels == 1 and probabilities.ndim == 2 and probabilities.shape[1] == 2:
        probabilities = probabilities[:, 1:]
    if probabilities.shape[1:] == (1,) and (probabilities == 1).all():
        # Of a label that was 0 throughout scikit-learn gives the probability of 0.
        only = np.ravel(getattr(estimator, "classes_", ())).tolist() == [0]
        if only and estimator.predict(X).sum() == 0:
            probabilities = 1 - probabilities
    if probabilities.ndim != 2 or n_labels not in (None, probabilities.shape[1]):
        raise ValueError(
            f"predict_proba of {name} must give an array of shape (n_samples, "
            f"{n_labels or 'n_labels'}) or a list of such arrays with two columns, one "
            f"a label; got shape {probabilities.shape}."
        )
    return probabilities


def _probability_of_one(probabilities, classes):
    """The column of the value 1, of a label's array (n_samples, 1 or 2)."""
    probabilities = np.asarray(probabilities)
    n_columns = probabilities.shape[1]
    if n_columns == 1 and classes is not None:
        return probabilities[:, 0] * (classes[0] == 1)
    if n_columns != 2:
        raise ValueError(
            "predict_proba must give two columns a label, or one where classes_ tells "
            f"the label's value; got {n_columns}."
        )
    return probabilities[:, 1]


def multilabel_scorers(*, k=(1,)):
    """Scorers for cross-validation and searches, by name.

    For the ``scoring`` of :func:`~sklearn.model_selection.cross_validate`,
    :class:`~sklearn.model_selection.GridSearchCV` and others. Passed whole, they share
    the predictions, which each estimator makes once; a single one, such as
    ``multilabel_scorers()["f1_micro"]``, is a scorer by itself.

    Unlike scikit-learn's own scorers they serve any number of labels from two on,
    classifiers whose ``predict_proba`` is a list, and labels that were constant in
    training.

    ===================================  ==============================================
    ``hamming_accuracy``                 :func:`hamming_accuracy_score`
    ``f1_samples``, ``f1_micro``,        :func:`~sklearn.metrics.f1_score`, 0 where it
    ``f1_macro``                         is undefined
    ``precision_at_1``                   :func:`precision_at_k_score`, for each ``k``
    ``label_ranking_average_precision``  of :mod:`sklearn.metrics`
    ``ndcg``                             :func:`~sklearn.metrics.ndcg_score`
    ``average_precision_micro``          of :mod:`sklearn.metrics`, all entries at once
    ``average_precision_macro``          mean over the labels that have both 0 and 1 in
                                         the test rows; others say nothing of a ranking
    ``neg_label_ranking_loss``,          of :mod:`sklearn.metrics`, negated
    ``neg_coverage_error``
    ``neg_log_loss``                     mean log-probability of the entries of ``Y``
    ===================================  ==============================================

    Parameters
    ----------
    k : int or tuple of int, default=(1,)
        The ``k`` of ``precision_at_k``.

    Returns
    -------
    dict of str to callable
        Scorers ``(estimator, X, Y)``, without sample weights; higher is better. The
        first five are those of the C-GMVAE paper. Rankings go by ``predict_proba``, or
        by ``decision_function`` where there is none; ``neg_log_loss`` needs the former.

    Raises
    ------
    ValueError
        If ``k`` holds something else than whole numbers from 1 on; when scoring, if
        ``Y`` is no matrix of two labels or more, or has fewer labels than ``k``.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.model_selection import cross_validate
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skcgmvae.metrics import multilabel_scorers
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> scores = cross_validate(
    ...     KNeighborsClassifier(), X, Y, scoring=multilabel_scorers(k=(1, 3))
    ... )
    >>> scores["test_precision_at_3"].shape
    (5,)
    """
    ks = np.atleast_1d(k).tolist()
    for each in ks:
        check_k(each)
    return _Scorers(
        hamming_accuracy=_Scorer("labels", hamming_accuracy_score),
        **{
            f"f1_{average}": _Scorer(
                "labels", f1_score, average=average, zero_division=0
            )
            for average in ("samples", "micro", "macro")
        },
        **{
            f"precision_at_{each}": _Scorer("scores", precision_at_k_score, k=each)
            for each in ks
        },
        label_ranking_average_precision=_Scorer(
            "scores", label_ranking_average_precision_score
        ),
        ndcg=_Scorer("scores", ndcg_score),
        average_precision_micro=_Scorer("scores", _micro_average_precision),
        average_precision_macro=_Scorer("scores", _macro_average_precision),
        neg_label_ranking_loss=_Scorer("scores", label_ranking_loss, sign=-1),
        neg_coverage_error=_Scorer("scores", coverage_error, sign=-1),
        neg_log_loss=_Scorer("probabilities", _log_loss, sign=-1),
    )


class _Scorers(dict):
    """Scorers by name that are, called as one, several scores of one prediction.

    scikit-learn takes a callable for a scorer before it looks for a dict, and a dict of
    scores for several metrics.
    """

    def __call__(self, estimator, X, Y_true):
        answers = _Answers(estimator, X, Y_true)
        return {
            name: scorer.score(answers)
            if isinstance(scorer, _Scorer)
            else get_scorer(scorer)(estimator, X, Y_true)  # added by the user
            for name, scorer in self.items()
        }


class _Scorer:
    """A measure of the true labels and ``answer``, an attribute of :class:`_Answers`.

    :func:`sklearn.metrics.make_scorer` will not do. It takes two labels, whose
    ``classes_`` are 0 and 1, for the two classes of a vector, and stumbles over
    ``classes_`` of different lengths.
    """

    def __init__(self, answer, measure, sign=1, **parameters):
        self.answer = answer
        self.measure = measure
        self.sign = sign
        self.parameters = parameters

    def __call__(self, estimator, X, Y_true):
        return self.score(_Answers(estimator, X, Y_true))

    def score(self, answers):
        """The score, higher is better."""
        answer = getattr(answers, self.answer)
        value = self.measure(answers.Y_true, answer, **self.parameters)
        return self.sign * float(value)

    def __repr__(self):
        parameters = "".join(f", {name}={v!r}" for name, v in self.parameters.items())
        sign = "-" if self.sign < 0 else ""
        return f"<scorer {sign}{self.measure.__name__}(Y, {self.answer}{parameters})>"


class _Answers:
    """What an estimator says of some rows, as dense arrays; it is asked once."""

    def __init__(self, estimator, X, Y_true):
        self.estimator = estimator
        self.X = X
        self.Y_true = check_labels(Y_true, "Y_true").toarray()
        self.n_labels = self.Y_true.shape[1]
        if self.n_labels < 2:
            raise ValueError(
                "Y_true must have at least 2 columns, a column a label; got 1."
            )

    @cached_property
    def labels(self):
        return check_labels(self.estimator.predict(self.X), "predict(X)").toarray()

    @cached_property
    def probabilities(self):
        return label_probabilities(self.estimator, self.X, n_labels=self.n_labels)

    @cached_property
    def scores(self):
        if hasattr(self.estimator, "predict_proba"):
            return self.probabilities
        return self.estimator.decision_function(self.X)


def _micro_average_precision(Y_true, Y_score):
    """Over all entries at once; NaN without any label."""
    if not Y_true.any():
        return np.nan
    return average_precision_score(Y_true.ravel(), Y_score.ravel())


def _macro_average_precision(Y_true, Y_score):
    """Over the labels that have both values; NaN if none has."""
    both = np.ptp(Y_true, axis=0) > 0
    labels = zip(Y_true[:, both].T, Y_score[:, both].T, strict=True)
    values = [average_precision_score(*label) for label in labels]
    return np.mean(values) if values else np.nan


def _log_loss(Y_true, probabilities):
    """Mean over all entries, with probabilities clipped as scikit-learn does."""
    observed = np.where(Y_true == 1, probabilities, 1 - probabilities)
    return -np.log(np.maximum(observed, np.finfo(observed.dtype).eps)).mean()
