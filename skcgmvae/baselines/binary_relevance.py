"""BR: one binary classifier a label."""

import numpy as np
from scipy.sparse import csc_matrix, issparse
from scipy.special import expit
from sklearn.base import MetaEstimatorMixin, _fit_context, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skcgmvae._multilabel import MultiLabelClassifier


def _scores_labels(self):
    """Whether the estimators can say more than yes or no."""
    estimator = self._estimator()
    return hasattr(estimator, "predict_proba") or hasattr(
        estimator, "decision_function"
    )


class BinaryRelevance(MetaEstimatorMixin, MultiLabelClassifier):
    """One clone of a binary classifier for each label.

    The simplest way to several labels, and hard to beat where the classifier is good:
    labels are learnt apart, and what one says about another is not used.

    In difference to :class:`sklearn.multiclass.OneVsRestClassifier`, labels that all
    training rows have, or none, are predicted as that constant without a warning;
    ``predict_proba`` is there for estimators that have a ``decision_function`` only;
    and ``predict`` returns what ``Y`` was.

    Parameters
    ----------
    estimator : estimator instance, default=None
        The binary classifier. None: ``LogisticRegression(max_iter=1000)``.
    n_jobs : int, default=None
        Labels that are fitted and predicted in parallel. None: 1, unless in a
        :obj:`joblib.parallel_backend` context; -1: one a processor.

    Attributes
    ----------
    estimators_ : list of n_labels estimators
        The fitted clones. A label with one value in the training rows has a
        :class:`sklearn.dummy.DummyClassifier` instead.
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, the classes for a 1-D ``y``.
    label_names_in_ : ndarray of str of shape (n_labels,)
        Column names of ``y``, if it was a DataFrame of named columns.
    n_features_in_ : int
        Number of features, if the estimators tell.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of ``X``, if the estimators tell.

    See Also
    --------
    sklearn.multioutput.ClassifierChain : Labels one after the other, each seeing those
        before it.
    skcgmvae.TunedThresholdClassifier : Choose the thresholds of any classifier.

    References
    ----------
    Tsoumakas and Katakis, "Multi-label classification: an overview", International
    Journal of Data Warehousing and Mining 3(3), 2007.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skcgmvae.baselines import BinaryRelevance
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = make_pipeline(StandardScaler(), BinaryRelevance())
    >>> clf.fit(X[:1000], Y[:1000]).predict_proba(X[1000:]).shape
    (797, 7)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "n_jobs": [int, np.integer, None],
    }

    def __init__(self, estimator=None, n_jobs=None):
        self.estimator = estimator
        self.n_jobs = n_jobs

    def _estimator(self):
        if self.estimator is None:
            return LogisticRegression(max_iter=1000)
        return self.estimator

    # The estimator's own parameters are checked when it is fitted.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Fit one clone of the estimator for each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features, passed on to the estimators as they are.
        y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Label matrix of 0 and 1, or the class of each row.
        **fit_params : dict
            Passed on to the estimators' ``fit`` by metadata routing, which has to be
            enabled (:func:`sklearn.set_config`).

        Returns
        -------
        self : object
            The fitted estimator.
        """
        _raise_for_params(fit_params, self, "fit")
        routed = process_routing(self, "fit", **fit_params).estimator.fit
        Y = self._encode_labels(self._check_targets(X, y))
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_label)(self._estimator(), X, column, routed)
            for column in _columns(Y)
        )
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            told = [getattr(e, name) for e in self.estimators_ if hasattr(e, name)]
            if told:
                setattr(self, name, told[0])
        return self

    @available_if(_scores_labels)
    def predict_proba(self, X):
        """The probability of each label.

        Where the estimator has no ``predict_proba``, the logistic function of its
        ``decision_function``: ordered and above 0.5 as that one says, not calibrated.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            In (0, 1). For a 1-D ``y`` (n_samples, n_classes), rows adding up to 1.
        """
        probabilities = self._by_label(_probability, X)
        return self._labels.probabilities(probabilities)

    def predict(self, X):
        """The labels that their estimators predict.

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
        if self._labels.is_multiclass_ and _scores_labels(self):
            return self._labels.decide(self.predict_proba(X), 0.5)
        labels = self._by_label(_predicted, X)
        if self._labels.is_multiclass_:
            return self.classes_[labels.argmax(axis=1)]
        return self._labels.inverse_transform(labels)

    def _by_label(self, function, X):
        """``function(estimator, X)`` of each label's estimator, side by side."""
        check_is_fitted(self)
        columns = Parallel(n_jobs=self.n_jobs)(
            delayed(function)(estimator, X) for estimator in self.estimators_
        )
        return np.column_stack(columns)

    def get_metadata_routing(self):
        """Where metadata of ``fit`` goes: to the ``fit`` of the estimators.

        Returns
        -------
        routing : MetadataRouter
        """
        return MetadataRouter(owner=self).add(
            estimator=self._estimator(),
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_estimator = get_tags(self._estimator())
        tags.input_tags.sparse = of_estimator.input_tags.sparse
        tags.input_tags.allow_nan = of_estimator.input_tags.allow_nan
        return tags


def _columns(Y):
    """The labels one by one, dense."""
    if not issparse(Y):
        return iter(Y.T)
    Y = csc_matrix(Y)
    return (Y[:, [label]].toarray().ravel() for label in range(Y.shape[1]))


def _fit_label(estimator, X, y, fit_params):
    if (y == y[0]).all():
        return DummyClassifier().fit(X, y)
    return clone(estimator).fit(X, y, **fit_params)


def _probability(estimator, X):
    """The probability of class 1, of an estimator that may know one class only."""
    if len(estimator.classes_) == 1:
        return np.full(len(estimator.predict(X)), float(estimator.classes_[0]))
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(X)[:, 1]
    return expit(estimator.decision_function(X))


def _predicted(estimator, X):
    return estimator.predict(X)
