"""BinaryRelevance against one clone a label, fitted by hand."""

import pickle
import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from common import toy
from joblib import parallel_config
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skcgmvae.baselines import BinaryRelevance, binary_relevance


class Nearest(ClassifierMixin, BaseEstimator):
    """The label of the nearest row: yes or no, without a score."""

    def fit(self, X, y):
        self.classes_, self._X, self._y = np.unique(y), np.asarray(X), np.asarray(y)
        return self

    def predict(self, X):
        distances = np.linalg.norm(np.asarray(X)[:, None] - self._X, axis=2)
        return self._y[distances.argmin(axis=1)]


class Faulty(Nearest):
    """As unsure as can be, and says yes."""

    def predict(self, X):
        return np.ones(len(X), dtype=int)

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.4)


def data():
    X, Y = toy()
    return StandardScaler().fit_transform(X), Y


def by_hand(estimator, X, Y):
    return [clone(estimator).fit(X, column) for column in Y.T]


def constant_labels(Y):
    """Label 1 is never there, label 3 always."""
    Y = Y.copy()
    Y[:, 1], Y[:, 3] = 0, 1
    return Y


# -- one clone a label -----------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize(
    "estimator", [None, LogisticRegression(C=0.1), KNeighborsClassifier(4)], ids=str
)
def test_same_as_clones(estimator, kind):
    X, Y = data()
    X = kind(X)
    clf = BinaryRelevance(estimator).fit(X[:150], Y[:150])
    used = LogisticRegression(max_iter=1000) if estimator is None else estimator
    clones = by_hand(used, X[:150], Y[:150])
    assert [type(one) for one in clf.estimators_] == [type(used)] * 5
    assert all(one.get_params() == used.get_params() for one in clf.estimators_)
    np.testing.assert_allclose(
        clf.predict_proba(X[150:]),
        np.column_stack([one.predict_proba(X[150:])[:, 1] for one in clones]).clip(
            1e-15, 1 - 1e-15
        ),
        rtol=1e-12,
    )
    labels = np.column_stack([one.predict(X[150:]) for one in clones])
    assert clf.predict(X[150:]).tolist() == labels.tolist()
    assert clf.estimator is estimator
    assert not hasattr(estimator, "classes_")


def test_n_jobs_changes_nothing():
    X, Y = data()
    Y = sp.csr_matrix(constant_labels(Y))
    one = BinaryRelevance().fit(X, Y)
    probabilities, labels = one.predict_proba(X), one.predict(X)
    parallel = binary_relevance.Parallel
    with (
        mock.patch.object(binary_relevance, "Parallel", wraps=parallel) as spy,
        parallel_config("threading"),  # processes take seconds to start
    ):
        two = BinaryRelevance(n_jobs=2).fit(X, Y)
        assert two.predict_proba(X).tolist() == probabilities.tolist()
        assert (two.predict(X) != labels).nnz == 0
    assert spy.call_args_list == [mock.call(n_jobs=2)] * 3


# -- labels with one value -------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), LinearSVC(), Nearest()], ids=str
)
def test_constant_labels_are_predicted_without_a_warning(estimator, kind):
    X, Y = data()
    Y = constant_labels(Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = BinaryRelevance(estimator).fit(X[:150], kind(Y[:150]))
        predicted = kind(clf.predict(X[150:]))
        predicted = predicted.toarray() if sp.issparse(predicted) else predicted
        assert (predicted[:, [1, 3]] == [0, 1]).all()
        if not isinstance(estimator, Nearest):
            probabilities = clf.predict_proba(X[150:])
            np.testing.assert_allclose(
                probabilities[:, [1, 3]], np.tile([0.0, 1.0], (50, 1)), atol=1e-14
            )
            assert ((probabilities > 0) & (probabilities < 1)).all()
    # The other labels are not touched by that.
    clones = by_hand(estimator, X[:150], Y[:150, [0, 2, 4]])
    others = np.column_stack([one.predict(X[150:]) for one in clones])
    assert predicted[:, [0, 2, 4]].tolist() == others.tolist()


def test_all_labels_constant():
    X, _ = data()
    clf = BinaryRelevance().fit(X, np.tile([1, 0], (200, 1)))
    assert clf.predict(X[:3]).tolist() == [[1, 0]] * 3


def test_one_row():
    clf = BinaryRelevance().fit([[1.0, 2]], [[1, 0]])
    assert clf.predict([[1.0, 2], [3, 4]]).tolist() == [[1, 0], [1, 0]]


# -- what the estimator can say --------------------------------------------------


@pytest.mark.parametrize("estimator", [LinearSVC(), RidgeClassifier()], ids=str)
def test_decision_function_becomes_probabilities(estimator):
    X, Y = data()
    clf = BinaryRelevance(estimator).fit(X, Y)
    probabilities, labels = clf.predict_proba(X), clf.predict(X)
    decisions = np.column_stack(
        [one.decision_function(X) for one in by_hand(estimator, X, Y)]
    )
    np.testing.assert_allclose(probabilities, expit(decisions), rtol=1e-12)
    assert ((probabilities > 0.5) == labels).all()


def test_probabilities_go_before_decisions():
    # Of this estimator the one is not the logistic function of the other.
    X, Y = data()
    estimator = SGDClassifier(loss="modified_huber", random_state=0)
    clf = BinaryRelevance(estimator).fit(X, Y)
    expected = [one.predict_proba(X)[:, 1] for one in by_hand(estimator, X, Y)]
    np.testing.assert_allclose(clf.predict_proba(X), np.transpose(expected), atol=1e-12)


def test_estimator_that_says_yes_or_no_only():
    X, Y = data()
    clf = BinaryRelevance(Nearest())
    assert not hasattr(clf, "predict_proba")
    clf.fit(X, Y)
    assert clf.predict(X).tolist() == Y.tolist()
    assert not hasattr(clf, "predict_proba")
    # Classes that exclude one another: the first that is said to be there.
    y = Y[:, 0] + Y[:, 1]
    assert clf.fit(X, y).predict(X).tolist() == y.tolist()
    assert clf.fit(X, y == 0).predict(X).tolist() == (y == 0).tolist()


@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(2),
        DecisionTreeClassifier(max_leaf_nodes=2, random_state=0),
        Faulty(),
    ],
    ids=str,
)
def test_predict_is_what_the_estimators_predict(estimator):
    # Two features of two values each: half of the neighbours or rows of a leaf have a
    # label, and the estimators break the tie for class 0.
    X = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], 2, axis=0)
    Y = np.tile([[0, 1], [1, 0]], (4, 1))
    clf = BinaryRelevance(estimator).fit(X, Y)
    expected = np.column_stack([one.predict(X) for one in by_hand(estimator, X, Y)])
    assert clf.predict(X).tolist() == expected.tolist()
    assert ((clf.predict_proba(X) >= 0.5) != expected).any()


def test_probabilities_of_single_precision_are_below_one():
    # LogisticRegression answers in the precision of X.
    X, Y = np.array([[-50.0], [50]], np.float32), np.array([[0, 1], [1, 0]])
    clf = BinaryRelevance(LogisticRegression(C=100)).fit(X, Y)
    probabilities = clf.predict_proba(10 * X)
    assert ((probabilities > 0) & (probabilities < 1)).all()


# -- kinds of labels -------------------------------------------------------------


@pytest.mark.parametrize("dtype", [int, bool, np.float32])
def test_predict_returns_what_the_labels_were(dtype):
    X, Y = data()
    dense = BinaryRelevance().fit(X, Y.astype(dtype)).predict(X)
    assert dense.dtype == dtype
    for kind in (sp.csr_matrix, sp.csc_array, sp.coo_matrix):
        sparse = BinaryRelevance().fit(X, kind(Y.astype(dtype))).predict(X)
        assert sparse.format == "csr"
        assert sparse.dtype == dtype
        assert sparse.toarray().tolist() == dense.tolist()


def test_names_of_a_data_frame():
    X, Y = data()
    frame = pd.DataFrame(X).add_prefix("x")
    clf = BinaryRelevance().fit(frame, pd.DataFrame(Y, columns=list("abcde")))
    assert clf.label_names_in_.tolist() == list("abcde")
    assert clf.feature_names_in_.tolist() == frame.columns.tolist()
    assert clf.n_features_in_ == 12
    assert clf.classes_.tolist() == [0, 1, 2, 3, 4]
    assert (
        clf.predict(frame).tolist() == BinaryRelevance().fit(X, Y).predict(X).tolist()
    )


def test_single_label():
    X, Y = data()
    clf = BinaryRelevance().fit(X, Y[:, [2]])
    (expected,) = by_hand(LogisticRegression(max_iter=1000), X, Y[:, [2]])
    assert clf.predict(X).tolist() == expected.predict(X)[:, None].tolist()
    np.testing.assert_allclose(clf.predict_proba(X), expected.predict_proba(X)[:, 1:])


def test_binary_vector():
    X, Y = data()
    y = np.where(Y[:, 0], "yes", "no")
    clf = BinaryRelevance().fit(X, y)
    expected = LogisticRegression(max_iter=1000).fit(X, y)
    assert clf.predict(X).tolist() == expected.predict(X).tolist()
    np.testing.assert_allclose(clf.predict_proba(X), expected.predict_proba(X))
    assert clf.classes_.tolist() == ["no", "yes"]
    assert len(clf.estimators_) == 1


@pytest.mark.parametrize("estimator", [GaussianNB(), LinearSVC()], ids=str)
def test_multiclass_vector(estimator):
    X, Y = data()
    y = np.array(["c", "a", "b"])[Y[:, 0] + Y[:, 1]]
    clf = BinaryRelevance(estimator).fit(X, y)
    one_each = BinaryRelevance(estimator).fit(X, y[:, None] == ["a", "b", "c"])
    each = one_each.predict_proba(X)
    np.testing.assert_allclose(
        clf.predict_proba(X), each / each.sum(axis=1, keepdims=True)
    )
    assert (
        clf.predict(X).tolist() == np.array(list("abc"))[each.argmax(axis=1)].tolist()
    )


# -- metadata, pipelines, search -------------------------------------------------


def test_sample_weight_is_passed_on_where_routing_is_enabled():
    X, Y = data()
    Y = constant_labels(Y)  # a constant label asks for no weights
    weight = np.linspace(0.1, 3, len(X)) ** 2
    estimator = LogisticRegression()
    with sklearn.config_context(enable_metadata_routing=True):
        clf = BinaryRelevance(estimator.set_fit_request(sample_weight=True))
        clf.fit(X, Y, sample_weight=weight)
    found = clf.predict_proba(X)
    for label in (0, 2, 4):
        expected = LogisticRegression().fit(X, Y[:, label], sample_weight=weight)
        assert found[:, label].tolist() == expected.predict_proba(X)[:, 1].tolist()
    assert not np.allclose(found, BinaryRelevance().fit(X, Y).predict_proba(X))


def test_sample_weight_is_refused_where_it_would_be_lost():
    X, Y = data()
    weight = np.ones(len(X))
    with pytest.raises(ValueError, match="enable_metadata_routing=True.*sample_weight"):
        BinaryRelevance().fit(X, Y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            BinaryRelevance(LogisticRegression()).fit(X, Y, sample_weight=weight)
        with pytest.raises(TypeError, match="unexpected argument.*weights"):
            BinaryRelevance().fit(X, Y, weights=weight)


def test_pipeline_for_a_data_frame():
    X, Y = data()
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    frame["sky"] = np.where(Y[:, 0], "blue", "grey")
    estimator = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["sky"]), remainder=StandardScaler()),
        LogisticRegression(),
    )
    clf = BinaryRelevance(estimator).fit(frame, pd.DataFrame(Y))
    assert clf.feature_names_in_.tolist() == ["a", "b", "sky"]
    assert (clf.predict(frame)[:, 0] == Y[:, 0]).all()
    clones = by_hand(estimator, frame, Y)
    expected = np.column_stack([one.predict_proba(frame)[:, 1] for one in clones])
    assert clf.predict_proba(frame).tolist() == expected.tolist()


def test_missing_values_where_the_estimator_takes_them():
    X, Y = data()
    X = np.where(X > 1, np.nan, X)
    clf = BinaryRelevance(HistGradientBoostingClassifier(max_iter=3)).fit(X, Y[:, :2])
    assert clf.predict(X).shape == (200, 2)
    assert clf.__sklearn_tags__().input_tags.allow_nan
    assert not clf.__sklearn_tags__().input_tags.sparse
    assert not BinaryRelevance().__sklearn_tags__().input_tags.allow_nan
    assert BinaryRelevance().__sklearn_tags__().input_tags.sparse
    with pytest.raises(ValueError, match="Input X contains NaN"):
        BinaryRelevance().fit(X, Y)


def test_parameters_of_the_estimator_in_a_search():
    X, Y = data()
    search = GridSearchCV(
        BinaryRelevance(LogisticRegression()),
        {"estimator__C": [1e-4, 1.0]},
        scoring="f1_micro",
        cv=3,
    ).fit(X, Y)
    assert search.best_params_ == {"estimator__C": 1.0}
    assert {one.C for one in search.best_estimator_.estimators_} == {1.0}


# -- life of an estimator --------------------------------------------------------


def test_not_fitted():
    X, _ = data()
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError, match="BinaryRelevance"):
            getattr(BinaryRelevance(), method)(X)


def test_fitted_again():
    X, Y = data()
    frame = pd.DataFrame(X).add_prefix("x")
    clf = BinaryRelevance().fit(frame, pd.DataFrame(Y).add_prefix("y"))
    clf.fit(X[:50, :3], Y[:50, :2])
    assert clf.n_features_in_ == 3
    assert not hasattr(clf, "feature_names_in_")
    assert not hasattr(clf, "label_names_in_")
    fresh = BinaryRelevance().fit(X[:50, :3], Y[:50, :2])
    expected = fresh.predict_proba(X[:, :3]).tolist()
    assert clf.predict_proba(X[:, :3]).tolist() == expected
    # Nothing is known about the features where no estimator has looked at them.
    clf.fit(X, np.ones((200, 1)))
    assert getattr(clf, "n_features_in_", 12) == 12


def test_cloned_and_pickled():
    X, Y = data()
    clf = BinaryRelevance(LogisticRegression(C=0.2), n_jobs=1).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf))
    assert again.predict_proba(X).tolist() == clf.predict_proba(X).tolist()
    copy = clone(clf)
    assert not hasattr(copy, "estimators_")
    assert copy.estimator.C == 0.2
    assert copy.n_jobs == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimator": "logistic"}, "'estimator' parameter of BinaryRelevance must be"),
        ({"estimator": StandardScaler()}, "'estimator' parameter of BinaryRelevance"),
        ({"n_jobs": 1.5}, "'n_jobs' parameter of BinaryRelevance must be"),
        (
            {"estimator": LogisticRegression(C=-1)},
            "'C' parameter of LogisticRegression",
        ),
    ],
    ids=str,
)
def test_parameters_out_of_range(parameters, message):
    X, Y = data()
    with pytest.raises(ValueError, match=message):
        BinaryRelevance(**parameters).fit(X, Y)
