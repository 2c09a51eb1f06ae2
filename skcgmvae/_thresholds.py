"""TunedThresholdClassifier: choose the decision thresholds of any classifier."""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import MetaEstimatorMixin, _fit_context, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    process_routing,
)
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import (
    _check_method_params,
    _num_samples,
    check_is_fitted,
    indexable,
)

from skcgmvae._multilabel import MultiLabelClassifier
from skcgmvae._threshold_search import as_criterion, best_thresholds
from skcgmvae.metrics import label_probabilities
from skcgmvae.model_selection import LabelBalancedKFold, LabelBalancedShuffleSplit


class TunedThresholdClassifier(MetaEstimatorMixin, MultiLabelClassifier):
    """Multi-label classifier whose decision thresholds are chosen by cross-validation.

    A label is predicted where its probability reaches a threshold. 0.5 is seldom the
    best one: F1 scores often gain much from less. Here thresholds are those that score
    best on rows that the probabilities were not learnt from.

    It is to label matrices what
    :class:`sklearn.model_selection.TunedThresholdClassifierCV` is to two classes, and
    takes any classifier with ``predict_proba``: of this package, of scikit-learn, a
    pipeline.

    Parameters
    ----------
    estimator : estimator instance
        The classifier, with ``predict_proba`` of shape (n_samples, n_labels), or a
        list of (n_samples, 2) as of forests.
    scoring : str or callable, default="f1_samples"
        What is to be the largest. ``"f1_samples"``, ``"f1_micro"``, ``"f1_macro"`` and
        ``"hamming"`` (share of entries that are right) are searched exactly. Any other
        name of a scikit-learn scorer, or a callable ``scorer(estimator, X, Y)`` as of
        :func:`sklearn.metrics.make_scorer`, that judges predictions, is tried at
        ``n_thresholds`` candidates.
    strategy : {"global", "per_label"}, default="global"
        One threshold for all labels, or one each. The latter suits
        ``scoring="f1_macro"``; of rare labels it may learn chance.
    cv : int, float, "prefit", splitter or iterable, default=5
        Where the probabilities come from that thresholds are chosen on. An int: so
        many folds, balanced by label. A float: held-out rows, this share of all,
        balanced by label. ``"prefit"``: ``estimator`` is fitted already, and all rows
        that ``fit`` is given are for the thresholds. Or a splitter of scikit-learn's,
        or an iterable of pairs of row numbers.
    refit : bool, default=True
        Whether the classifier that predicts is fitted on all rows; otherwise it is the
        one fitted without the held-out rows, which asks for a single split. With
        ``cv="prefit"`` there is nothing to refit.
    n_thresholds : int, default=100
        Candidates, quantiles of the probabilities, of a threshold for a ``scoring``
        that is not searched exactly.
    n_jobs : int, default=None
        Splits that are fitted in parallel. None: 1, unless in a
        :obj:`joblib.parallel_backend` context; -1: one a processor.
    random_state : int, RandomState instance or None, default=None
        Draws the splits if ``cv`` is a number.

    Attributes
    ----------
    thresholds_ : ndarray of shape (n_labels,)
        The threshold of each label.
    best_score_ : float
        The score of the probabilities that thresholds were chosen on: somewhat
        better than what new rows will have.
    estimator_ : estimator
        The classifier that predicts.
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, the two classes for a 1-D ``y``.
    label_names_in_ : ndarray of str of shape (n_labels,)
        Column names of ``y``, if it was a DataFrame of named columns.
    n_features_in_ : int
        Number of features, if the classifier tells.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of ``X``, if the classifier tells.

    See Also
    --------
    skcgmvae.inspection.ThresholdDisplay : Draw scores against the threshold.

    Notes
    -----
    A threshold that was searched exactly lies halfway between the scores that it
    parts, so that it does not depend on one row's digits; 0.5 is kept where it is as
    good as the best, so also for a label that no row has.

    One threshold for all labels is exact: the score is looked at wherever it can
    change for the better, O(n L log n L) for n rows and L labels. So are those for
    each label for ``"hamming"`` and ``"f1_macro"``, which part into labels, and for
    ``"f1_micro"`` (Dinkelbach's method). For ``"f1_samples"`` each label's
    threshold is improved in turn, starting from the best one for all, until none can
    be. With one label, or a ``y`` of two classes, there is one F1, whatever the
    average.

    References
    ----------
    Dinkelbach, "On nonlinear fractional programming", Management Science 13(7), 1967.
    Fan and Lin, "A study on threshold selection for multi-label classification",
    National Taiwan University, 2007.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.metrics import f1_score
    >>> from skcgmvae import TunedThresholdClassifier
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> forest = RandomForestClassifier(n_estimators=20, random_state=0)
    >>> clf = TunedThresholdClassifier(forest, cv=3, random_state=0)
    >>> clf.fit(X[:500], Y[:500]).thresholds_.shape
    (7,)
    >>> tuned, untuned = (
    ...     f1_score(Y[500:], fitted.predict(X[500:]), average="samples")
    ...     for fitted in (clf, forest.fit(X[:500], Y[:500]))
    ... )
    >>> tuned > untuned
    True
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "scoring": [str, callable],
        "strategy": [StrOptions({"global", "per_label"})],
        "cv": [
            "cv_object",
            StrOptions({"prefit"}),
            Interval(Real, 0, 1, closed="neither"),
        ],
        "refit": ["boolean"],
        "n_thresholds": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        scoring="f1_samples",
        strategy="global",
        cv=5,
        refit=True,
        n_thresholds=100,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.scoring = scoring
        self.strategy = strategy
        self.cv = cv
        self.refit = refit
        self.n_thresholds = n_thresholds
        self.n_jobs = n_jobs
        self.random_state = random_state

    # The estimator's own parameters are checked when it is fitted.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Choose the thresholds, and fit the classifier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features, passed on to the classifier as they are.
        y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Label matrix of 0 and 1, or the class of each row, one of two.
        **fit_params : dict
            Passed on to the classifier's ``fit`` by metadata routing, which has to be
            enabled (:func:`sklearn.set_config`).

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If ``y`` has more than two classes, or ``refit=False`` comes with several
            splits.
        sklearn.exceptions.NotFittedError
            If ``cv="prefit"`` and the estimator is not fitted.
        """
        _raise_for_params(fit_params, self, "fit")
        routed = process_routing(self, "fit", **fit_params).estimator.fit
        Y = self._check_targets(X, y)
        encoded = self._encode_labels(Y)
        if self._labels.is_multiclass_:
            raise ValueError(
                f"y has {len(self.classes_)} classes that exclude one another; a "
                "threshold is for a label matrix, or for a y of two classes. Only "
                "binary classification is supported. Unknown label type: multiclass."
            )
        known = encoded.toarray() if issparse(encoded) else encoded
        known = known.astype(bool)
        criterion = as_criterion(self.scoring, self._labels, self.n_thresholds)
        criterion.score(known, known)  # what is no scoring is told before the fits
        if isinstance(self.cv, str):  # "prefit"
            self.estimator_ = self._prefit()
            rows = slice(None)
            probabilities = _probabilities(self.estimator_, X, self._labels)
        else:
            rows, probabilities = self._fit_splits(X, Y, routed)
        self.thresholds_, self.best_score_ = best_thresholds(
            known[rows], probabilities, criterion, self.strategy == "per_label"
        )
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _prefit(self):
        try:
            check_is_fitted(self.estimator)
        except NotFittedError as error:
            raise NotFittedError(
                f'cv="prefit" wants a fitted estimator; this '
                f"{type(self.estimator).__name__} is not. Fit it first, or let cv be "
                "a number."
            ) from error
        return self.estimator

    def _fit_splits(self, X, Y, fit_params):
        """Fit the classifier; row numbers, and probabilities of these by others."""
        X, Y = indexable(X, Y)
        splits = list(self._splitter(Y).split(X, Y))
        if not self.refit and len(splits) > 1:
            raise ValueError(
                f"refit=False keeps the classifier of a single split; cv={self.cv!r} "
                f"makes {len(splits)}. Let cv be a float, the share of rows held out."
            )
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_split)(
                clone(self.estimator),
                X,
                Y,
                split,
                _check_method_params(X, fit_params, indices=split[0]),
                self._labels,
                not self.refit,
            )
            for split in splits
        )
        probabilities, kept = zip(*fitted, strict=True)
        self.estimator_ = kept[0]
        if self.refit:
            self.estimator_ = clone(self.estimator).fit(X, Y, **fit_params)
        rows = np.concatenate([np.arange(_num_samples(X))[test] for _, test in splits])
        return rows, np.concatenate(probabilities)

    def _splitter(self, Y):
        cv = 5 if self.cv is None else self.cv
        if isinstance(cv, Integral):
            return LabelBalancedKFold(cv, shuffle=True, random_state=self.random_state)
        if isinstance(cv, Real):
            return LabelBalancedShuffleSplit(
                1, test_size=cv, random_state=self.random_state
            )
        return check_cv(cv, Y, classifier=True)

    def predict_proba(self, X):
        """The probability of each label, as the classifier tells it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            In (0, 1). For a 1-D ``y`` (n_samples, 2).
        """
        check_is_fitted(self)
        probabilities = _probabilities(self.estimator_, X, self._labels)
        return self._labels.probabilities(probabilities)

    def predict(self, X):
        """The labels whose probability reaches their threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        {ndarray, CSR matrix} of shape (n_samples, n_labels)
            0 and 1, in the dtype of the ``y`` of :meth:`fit`, and sparse if that was.
            For a 1-D ``y`` (n_samples,), the classes.
        """
        check_is_fitted(self)
        probabilities = _probabilities(self.estimator_, X, self._labels)
        return self._labels.inverse_transform(probabilities >= self.thresholds_)

    def get_metadata_routing(self):
        """Where metadata of ``fit`` goes: to the ``fit`` of the classifier.

        Returns
        -------
        routing : MetadataRouter
        """
        return MetadataRouter(owner=self).add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_estimator = get_tags(self.estimator)
        tags.input_tags.sparse = of_estimator.input_tags.sparse
        tags.input_tags.allow_nan = of_estimator.input_tags.allow_nan
        tags.classifier_tags.multi_label = of_estimator.classifier_tags.multi_label
        tags.classifier_tags.multi_class = False
        return tags


def _fit_split(estimator, X, Y, split, fit_params, labels, keep):
    """Probabilities of the test rows, and the estimator if it is to be kept."""
    train, test = split
    estimator.fit(_safe_indexing(X, train), _safe_indexing(Y, train), **fit_params)
    probabilities = _probabilities(estimator, _safe_indexing(X, test), labels)
    return probabilities, estimator if keep else None


def _probabilities(estimator, X, labels):
    """The probability of each label, (n_samples, n_labels), in [0, 1]."""
    classes = getattr(estimator, "classes_", ())
    if not labels.is_matrix_ and len(classes) == 1:  # all that the split had
        only = float(classes[0] == labels.classes_[1])
        return np.full((_num_samples(X), 1), only)
    probabilities = label_probabilities(estimator, X, n_labels=labels.n_labels_)
    # Sums of votes may be off by their last digit.
    if not ((probabilities >= -1e-9) & (probabilities <= 1 + 1e-9)).all():
        raise ValueError(
            f"predict_proba of {type(estimator).__name__} must be in [0, 1]; got "
            f"values from {probabilities.min()} to {probabilities.max()}."
        )
    return np.clip(probabilities, 0, 1)
