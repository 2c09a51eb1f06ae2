"""TunedThresholdClassifier: where its thresholds come from, and what it works with."""

import pickle
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from common import small, toy
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ShuffleSplit,
    TunedThresholdClassifierCV,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags

from skcgmvae import TunedThresholdClassifier
from skcgmvae._threshold_search import EXACT, best_thresholds
from skcgmvae.baselines import MLARAM, BinaryRelevance, MLkNN
from skcgmvae.metrics import label_probabilities, multilabel_scorers
from skcgmvae.model_selection import LabelBalancedKFold, LabelBalancedShuffleSplit


class Told(ClassifierMixin, BaseEstimator):
    """Its probabilities are the features but the first, which numbers the rows.

    It notes on which rows it was fitted, with which weights, and on which it was asked.
    """

    log = []  # of all clones: (what, rows, sample_weight)

    def __init__(self, plus=0.0):
        self.plus = plus

    def fit(self, X, Y, sample_weight=None):
        self.rows_ = X[:, 0].astype(int).tolist()
        self.log.append(("fit", self.rows_, sample_weight))
        return self

    def predict_proba(self, X):
        self.log.append(("ask", X[:, 0].astype(int).tolist(), None))
        return X[:, 1:] + self.plus


@pytest.fixture
def log():
    Told.log.clear()
    return Told.log


def told_data(n_samples=60, n_labels=3):
    """Data for Told: probabilities that are too low, by a different factor a label."""
    rng = np.random.RandomState(0)
    P = rng.uniform(size=(n_samples, n_labels))
    Y = (rng.uniform(size=P.shape) < P).astype(int)
    return np.column_stack([np.arange(n_samples), P * np.linspace(0.3, 0.9, 3)]), Y


def forest(**parameters):
    return RandomForestClassifier(
        **({"n_estimators": 10, "random_state": 0} | parameters)
    )


def out_of_fold(estimator, X, Y, splits):
    """Labels, and probabilities by classifiers that have not seen the rows."""
    known, probabilities = [], []
    for train, test in splits:
        fitted = clone(estimator).fit(X[train], Y[train])
        known.append(Y[test])
        probabilities.append(label_probabilities(fitted, X[test]))
    return np.concatenate(known).astype(bool), np.concatenate(probabilities)


@pytest.fixture(scope="module")
def data():
    return toy(n_samples=150, n_labels=4)


# -- what it works with ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        forest(),
        ExtraTreesClassifier(n_estimators=10, random_state=0),
        KNeighborsClassifier(),
        MLPClassifier((8,), max_iter=10, random_state=0),
        OneVsRestClassifier(LogisticRegression()),
        BinaryRelevance(),
        MLkNN(),
        MLARAM(),
        small(max_iter=2),
        make_pipeline(StandardScaler(), forest()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_any_classifier(data, estimator):
    X, Y = data
    X = StandardScaler().fit_transform(X)
    clf = TunedThresholdClassifier(estimator, cv=2, random_state=0).fit(X, Y)
    splitter = LabelBalancedKFold(2, shuffle=True, random_state=0)
    known, P = out_of_fold(estimator, X, Y, splitter.split(X, Y))
    thresholds, score = best_thresholds(known, P, EXACT["f1_samples"])
    np.testing.assert_allclose(clf.thresholds_, thresholds, rtol=1e-6)
    assert clf.best_score_ == pytest.approx(score)
    assert clf.best_score_ >= EXACT["f1_samples"].score(known, P >= 0.5)
    P = label_probabilities(clone(estimator).fit(X, Y), X)
    np.testing.assert_allclose(clf.predict_proba(X), P, rtol=1e-6, atol=1e-12)
    predicted = clf.predict(X)
    assert predicted.dtype == Y.dtype
    np.testing.assert_array_equal(predicted, clf.predict_proba(X) >= clf.thresholds_)
    assert 0 < predicted.mean() < 1
    assert clf.classes_.tolist() == [0, 1, 2, 3]
    assert clf.n_features_in_ == X.shape[1]


def test_data_frames(data):
    X, Y = data
    names = [f"feature {i}" for i in range(X.shape[1])]
    frame = pd.DataFrame(X, columns=names)
    targets = pd.DataFrame(Y, columns=list("abcd"))
    # The rows are taken by position.
    frame.index = targets.index = np.arange(len(X))[::-1]
    clf = TunedThresholdClassifier(forest(), cv=2, random_state=0)
    expected = clone(clf).fit(X, Y)
    clf.fit(frame, targets)
    assert clf.label_names_in_.tolist() == list("abcd")
    assert clf.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(clf.thresholds_, expected.thresholds_)
    np.testing.assert_array_equal(clf.predict(frame), expected.predict(X))
    # Names are those of the last fit.
    clf.fit(X, Y)
    assert not hasattr(clf, "label_names_in_")
    assert not hasattr(clf, "feature_names_in_")


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_matrix])
@pytest.mark.parametrize("cv", [2, 0.3])
def test_sparse(data, kind, cv):
    X, Y = data
    clf = TunedThresholdClassifier(BinaryRelevance(forest()), cv=cv, random_state=0)
    expected = clone(clf).fit(X, Y)
    clf.fit(kind(X), kind(Y))
    np.testing.assert_array_equal(clf.thresholds_, expected.thresholds_)
    predicted = clf.predict(sp.csr_matrix(X))
    assert sp.issparse(predicted) and predicted.format == "csr"
    assert predicted.dtype == Y.dtype
    np.testing.assert_array_equal(predicted.toarray(), expected.predict(X))


@pytest.mark.parametrize("n_labels", [1, 2])
@pytest.mark.parametrize("estimator", [forest(), BinaryRelevance(forest())])
def test_one_column_or_two(data, estimator, n_labels):
    # Two columns of probabilities are one label's there, and two labels' here.
    X, Y = data
    Y = Y[:, :n_labels]
    clf = TunedThresholdClassifier(estimator, scoring="hamming", cv=2, random_state=0)
    if n_labels == 1 and isinstance(estimator, RandomForestClassifier):
        with pytest.warns(UserWarning, match="column-vector y was passed"):
            clf.fit(X, Y)
    else:
        clf.fit(X, Y)
    assert clf.thresholds_.shape == (n_labels,)
    assert clf.predict(X).shape == clf.predict_proba(X).shape == Y.shape
    assert (clf.predict(X) == Y).mean() > 0.9


@pytest.mark.parametrize(
    "classes", [[0, 1], ["no", "yes"], [-1, 1], [False, True]], ids=str
)
@pytest.mark.parametrize("estimator", [forest(), BinaryRelevance(forest())])
def test_two_classes(data, estimator, classes):
    X, Y = data
    y = np.array(classes)[Y[:, 0]]
    clf = TunedThresholdClassifier(estimator, cv=3, random_state=0).fit(X, y)
    splitter = LabelBalancedKFold(3, shuffle=True, random_state=0)
    known, p = [], []
    for train, test in splitter.split(X, y):
        fitted = clone(estimator).fit(X[train], y[train])
        known.append(Y[test, :1])
        p.append(fitted.predict_proba(X[test])[:, 1:])
    expected, score = best_thresholds(
        np.concatenate(known).astype(bool), np.concatenate(p), EXACT["f1_micro"]
    )
    np.testing.assert_array_equal(clf.thresholds_, expected)
    assert clf.best_score_ == pytest.approx(score)
    assert clf.classes_.tolist() == classes
    probabilities = clf.predict_proba(X)
    assert probabilities.shape == (len(X), 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    predicted = clf.predict(X)
    assert predicted.dtype == y.dtype
    second = probabilities[:, 1] >= clf.thresholds_[0]
    np.testing.assert_array_equal(predicted, np.array(classes)[second.astype(int)])


def test_two_classes_as_scikit_learn_tunes_them(data):
    X, y = data[0], data[1][:, 0]
    train, test = np.arange(100), np.arange(100, 150)
    p = forest().fit(X[train], y[train]).predict_proba(X[test])[:, 1]
    theirs = TunedThresholdClassifierCV(
        forest(), scoring="f1", cv=[(train, test)], refit=False, thresholds=np.unique(p)
    ).fit(X, y)
    ours = TunedThresholdClassifier(forest(), cv=[(train, test)], refit=False).fit(X, y)
    assert ours.best_score_ == pytest.approx(theirs.best_score_)


@pytest.mark.parametrize("y", [[0, 1, 2] * 20, ["a", "b", "c"] * 20])
def test_more_classes_are_refused(y):
    X = np.random.RandomState(0).uniform(size=(60, 2))
    with pytest.raises(ValueError, match="y has 3 classes that exclude one another"):
        TunedThresholdClassifier(forest()).fit(X, y)


def test_clone_and_pickle(data):
    X, Y = data
    clf = TunedThresholdClassifier(forest(), scoring="f1_macro", cv=2).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict(X), clf.predict(X))
    assert not hasattr(clone(clf), "thresholds_")
    assert clone(clf).get_params()["scoring"] == "f1_macro"


def test_the_estimator_is_left_alone(data):
    estimator = forest()
    TunedThresholdClassifier(estimator, cv=2).fit(*data)
    assert not hasattr(estimator, "estimators_")


def test_grid_search(data):
    X, Y = data
    clf = TunedThresholdClassifier(forest(), cv=0.3, random_state=0)
    grid = {"estimator__max_depth": [1, 5], "strategy": ["global", "per_label"]}
    search = GridSearchCV(clf, grid, cv=2, scoring=multilabel_scorers()["f1_macro"])
    search.fit(X, Y)
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    found = search.best_estimator_
    assert found.estimator_.max_depth == search.best_params_["estimator__max_depth"]
    assert found.strategy == search.best_params_["strategy"]


def test_cross_validate(data):
    clf = make_pipeline(StandardScaler(), TunedThresholdClassifier(forest(), cv=2))
    scores = cross_validate(clf, *data, cv=3, scoring=multilabel_scorers())
    assert (scores["test_f1_samples"] > 0.3).all()


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_a_single_label_that_is_constant_is_predicted(value):
    X, _ = toy()
    constant = np.full((len(X), 1), value)
    clf = TunedThresholdClassifier(forest(), cv=2, random_state=0).fit(X, constant)
    np.testing.assert_array_equal(clf.predict(X), constant)


def test_held_out_rows_gain():
    # Labels that are rare: a forest is seldom sure enough to reach 0.5.
    rng = np.random.RandomState(0)
    X = rng.standard_normal((900, 6))
    noise = rng.standard_normal((900, 5))
    Y = (X[:, :5] + noise > 1.9).astype(int)
    assert Y.mean() < 0.12
    train, test = slice(450), slice(450, None)
    plain = forest(n_estimators=30, min_samples_leaf=3).fit(X[train], Y[train])
    for scoring, strategy in [("f1_micro", "global"), ("f1_macro", "per_label")]:
        clf = TunedThresholdClassifier(
            clone(plain), scoring=scoring, strategy=strategy, random_state=0
        ).fit(X[train], Y[train])
        tuned, untuned = (
            f1_score(Y[test], fitted.predict(X[test]), average=scoring[3:])
            for fitted in (clf, plain)
        )
        assert tuned > untuned + 0.05


# -- which rows thresholds are chosen on -------------------------------------------

MASK = np.arange(60) < 20
CVS = {
    "int": (4, lambda: LabelBalancedKFold(4, shuffle=True, random_state=7)),
    "None": (None, lambda: LabelBalancedKFold(5, shuffle=True, random_state=7)),
    "float": (0.3, lambda: LabelBalancedShuffleSplit(1, test_size=0.3, random_state=7)),
    "splitter": (KFold(3), lambda: KFold(3)),
    "overlapping": (ShuffleSplit(3, test_size=0.4, random_state=0),) * 2,
    "pairs": ([(np.arange(20, 60), np.arange(20))], None),
    "lists": ([(list(range(20, 60)), list(range(20)))], None),
    "masks": ([(~MASK, MASK), (MASK, ~MASK)], None),
}


@pytest.mark.parametrize("cv", CVS)
def test_thresholds_come_from_rows_that_were_held_out(log, cv):
    X, Y = told_data()
    cv, splitter = CVS[cv]
    clf = TunedThresholdClassifier(Told(), cv=cv, strategy="per_label", random_state=7)
    clf.fit(X, Y)
    splits = cv
    if splitter is not None:
        splitter = splitter() if callable(splitter) else splitter
        splits = splitter.split(X, Y)
    splits = [[np.arange(60)[rows].tolist() for rows in split] for split in splits]
    # Fitted and asked, split by split, and then fitted on all.
    expected = []
    for train, test in splits:
        expected += [("fit", train), ("ask", test)]
    expected.append(("fit", list(range(60))))
    assert [(what, rows) for what, rows, _ in log] == expected
    assert not any(set(train) & set(test) for train, test in splits)
    rows = np.concatenate([test for _, test in splits])
    thresholds, score = best_thresholds(
        Y[rows].astype(bool), X[rows, 1:], EXACT["f1_samples"], per_label=True
    )
    np.testing.assert_array_equal(clf.thresholds_, thresholds)
    assert clf.best_score_ == score


def test_pairs_may_come_from_a_generator(log):
    X, Y = told_data()
    pairs = [(np.arange(20, 60), np.arange(20))]
    clf = TunedThresholdClassifier(Told(), cv=iter(pairs)).fit(X, Y)
    expected = TunedThresholdClassifier(Told(), cv=pairs).fit(X, Y)
    np.testing.assert_array_equal(clf.thresholds_, expected.thresholds_)


@pytest.mark.parametrize("cv", [0.3, [(~MASK, MASK)]], ids=["float", "pair"])
def test_without_refit_the_held_out_rows_stay_unseen(log, cv):
    X, Y = told_data()
    clf = TunedThresholdClassifier(Told(), cv=cv, refit=False, random_state=0)
    clf.fit(X, Y)
    (_, fitted_on, _), (_, asked, _) = log
    assert sorted(fitted_on + asked) == list(range(60))
    assert clf.estimator_.rows_ == fitted_on
    refitted = clone(clf).set_params(refit=True).fit(X, Y)
    assert refitted.estimator_.rows_ == list(range(60))
    np.testing.assert_array_equal(refitted.thresholds_, clf.thresholds_)


def test_prefit(log):
    X, Y = told_data()
    estimator = Told().fit(X[:20], Y[:20])
    log.clear()
    for refit in (True, False):  # there is nothing to refit
        clf = TunedThresholdClassifier(
            estimator, cv="prefit", strategy="per_label", refit=refit
        ).fit(X[20:], Y[20:])
        assert clf.estimator_ is estimator
        assert clf.estimator_.rows_ == list(range(20))
        thresholds, score = best_thresholds(
            Y[20:].astype(bool), X[20:, 1:], EXACT["f1_samples"], per_label=True
        )
        np.testing.assert_array_equal(clf.thresholds_, thresholds)
        assert clf.best_score_ == score
    assert {what for what, *_ in log} == {"ask"}
    # Sparse labels are no other case.
    sparse = TunedThresholdClassifier(estimator, cv="prefit", strategy="per_label")
    sparse.fit(X[20:], sp.coo_matrix(Y[20:]))
    np.testing.assert_array_equal(sparse.thresholds_, thresholds)


def test_frozen_estimator(log):
    X, Y = told_data()
    frozen = FrozenEstimator(Told().fit(X[:20], Y[:20]))
    clf = TunedThresholdClassifier(frozen, cv=2, random_state=0).fit(X[20:], Y[20:])
    prefit = TunedThresholdClassifier(frozen, cv="prefit").fit(X[20:], Y[20:])
    assert clf.thresholds_[0] == pytest.approx(prefit.thresholds_[0])
    assert [what for what, *_ in log].count("fit") == 1


@pytest.mark.parametrize(
    "unfitted", [forest(), make_pipeline(StandardScaler(), KNeighborsClassifier())]
)
def test_prefit_of_what_is_not_fitted(data, unfitted):
    message = f'cv="prefit" wants a fitted estimator; this {type(unfitted).__name__}'
    with pytest.raises(NotFittedError, match=message):
        TunedThresholdClassifier(unfitted, cv="prefit").fit(*data)


def test_refit_false_asks_for_a_single_split(data):
    with pytest.raises(ValueError, match="refit=False keeps .* cv=5 makes 5"):
        TunedThresholdClassifier(forest(), refit=False).fit(*data)


@pytest.fixture
def late():
    """Labels of which the second begins at row 20, and splits that learn of it or not.

    Those that do not are asked about a few rows only.
    """
    X = np.random.RandomState(0).uniform(size=(60, 2))
    Y = (X > 0.5).astype(int)
    Y[:20, 1] = 0
    first, few, then, last = np.split(np.arange(60), [20, 24, 40])
    return X, Y, [(first, few), (then, last)]


def test_label_that_a_training_fold_lacks(late):
    X, Y, splits = late
    clf = TunedThresholdClassifier(
        forest(), cv=splits, scoring="f1_macro", strategy="per_label"
    ).fit(X, Y)
    known, P = out_of_fold(forest(), X, Y, splits)
    # A forest then tells one column only, and classes_ says of what.
    assert not P[:4, 1].any(), "what was never there is not probable"
    thresholds, score = best_thresholds(known, P, EXACT["f1_macro"], per_label=True)
    np.testing.assert_array_equal(clf.thresholds_, thresholds)
    assert clf.best_score_ == score


def test_class_that_a_training_fold_lacks(late):
    X, Y, splits = late
    y = np.array(["no", "yes"])[Y[:, 1]]
    clf = TunedThresholdClassifier(forest(), cv=splits).fit(X, y)
    (_, few), (then, last) = splits
    p = forest().fit(X[then], y[then]).predict_proba(X[last])[:, 1]
    thresholds, score = best_thresholds(
        Y[np.r_[few, last], 1:].astype(bool),
        np.concatenate([np.zeros(4), p])[:, None],
        EXACT["f1_micro"],
    )
    np.testing.assert_array_equal(clf.thresholds_, thresholds)
    assert clf.best_score_ == score


# -- every parameter matters -------------------------------------------------------


def test_strategy():
    X, Y = told_data()
    tuned = {
        strategy: TunedThresholdClassifier(
            Told(), strategy=strategy, scoring="f1_macro", random_state=0
        ).fit(X, Y)
        for strategy in ("global", "per_label")
    }
    assert len(set(tuned["global"].thresholds_)) == 1
    # The probabilities are too low by factors that rise from label to label.
    assert (np.diff(tuned["per_label"].thresholds_) > 0).all()
    assert tuned["per_label"].best_score_ > tuned["global"].best_score_


def test_scoring():
    X, Y = told_data()
    thresholds = {
        scoring: TunedThresholdClassifier(Told(), scoring=scoring, random_state=0)
        .fit(X, Y)
        .thresholds_[0]
        for scoring in (*EXACT, "accuracy")
    }
    # Wrong entries cost accuracy more than they cost F1.
    assert thresholds["f1_micro"] < thresholds["hamming"]
    assert len(set(thresholds.values())) >= 4
    default = TunedThresholdClassifier(Told(), random_state=0).fit(X, Y)
    assert default.thresholds_[0] == thresholds["f1_samples"]


def test_scoring_may_be_a_callable():
    X, Y = told_data()
    seen = set()

    def few(estimator, X, Y):
        """Likes predictions of one label in ten."""
        seen.add(Y.shape)
        return -abs(estimator.predict(X).mean() - 0.1)

    clf = TunedThresholdClassifier(Told(), scoring=few, cv=2, random_state=0).fit(X, Y)
    assert clf.predict(X).mean() == pytest.approx(0.1, abs=0.02)
    # All held-out rows at once, not a score for each fold.
    assert seen == {Y.shape}


def test_n_thresholds():
    X, Y = told_data()
    tuned = {
        n: TunedThresholdClassifier(
            Told(), scoring="accuracy", n_thresholds=n, random_state=0
        ).fit(X, Y)
        for n in (2, 5, 100)
    }
    scores = [clf.best_score_ for clf in tuned.values()]
    assert scores[0] < scores[1] < scores[2]
    # Two candidates are the lowest and the highest score. One that meets it reaches it.
    threshold = tuned[2].thresholds_[0]
    assert threshold in (X[:, 1:].min(), X[:, 1:].max())
    np.testing.assert_array_equal(tuned[2].predict(X), X[:, 1:] >= threshold)


class Meeting(Told):
    """It is fitted on some rows only while another one is."""

    barrier = Barrier(2, timeout=30)

    def fit(self, X, Y):
        if len(X) < 60:
            self.barrier.wait()
        return super().fit(X, Y)


def test_n_jobs():
    X, Y = told_data()
    clf = TunedThresholdClassifier(Told(), cv=2, random_state=0).fit(X, Y)
    with parallel_config(backend="threading"):
        parallel = TunedThresholdClassifier(Meeting(), cv=2, n_jobs=2, random_state=0)
        parallel.fit(X, Y)
    np.testing.assert_array_equal(parallel.thresholds_, clf.thresholds_)
    assert parallel.best_score_ == clf.best_score_


@pytest.mark.parametrize("cv", [2, 0.3])
def test_random_state_draws_the_splits(log, cv):
    X, Y = told_data()

    def held_out(random_state):
        log.clear()
        clf = TunedThresholdClassifier(Told(), cv=cv, random_state=random_state)
        clf.fit(X, Y)
        return log[1][1]

    assert held_out(0) == held_out(0) == held_out(np.random.RandomState(0))
    assert held_out(0) != held_out(1)
    assert held_out(None) != held_out(None)


# -- metadata ----------------------------------------------------------------------


def test_sample_weight_is_routed(log):
    X, Y = told_data()
    weights = np.arange(60) / 60
    with config_context(enable_metadata_routing=True):
        told = Told().set_fit_request(sample_weight=True)
        TunedThresholdClassifier(told, cv=3).fit(X, Y, sample_weight=weights)
    fits = [(rows, passed) for what, rows, passed in log if what == "fit"]
    assert len(fits) == 4
    for rows, passed in fits:
        np.testing.assert_array_equal(passed, weights[rows])


def test_sample_weight_is_refused_where_it_would_be_lost(log):
    X, Y = told_data()
    clf = TunedThresholdClassifier(Told())
    with pytest.raises(ValueError, match="enable_metadata_routing=True.*sample_weight"):
        clf.fit(X, Y, sample_weight=np.ones(60))
    with config_context(enable_metadata_routing=True):
        with pytest.raises(ValueError, match=r"\[sample_weight\].*not explicitly set"):
            clf.fit(X, Y, sample_weight=np.ones(60))
        with pytest.raises(TypeError, match="unexpected argument.*{'weight'}"):
            clf.fit(X, Y, weight=np.ones(60))
    assert not log


# -- errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"estimator": OneVsRestClassifier(LinearSVC())}, "estimator"),
        ({"estimator": None}, "estimator"),
        ({"scoring": None}, "scoring"),
        ({"scoring": ["f1_micro"]}, "scoring"),
        ({"strategy": "label"}, "strategy"),
        ({"cv": 1}, "cv"),
        ({"cv": 1.0}, "cv"),
        ({"cv": 0.0}, "cv"),
        ({"cv": "fitted"}, "cv"),
        ({"refit": "no"}, "refit"),
        ({"n_thresholds": 0}, "n_thresholds"),
        ({"n_thresholds": 1.5}, "n_thresholds"),
        ({"n_jobs": 0.5}, "n_jobs"),
        ({"random_state": "0"}, "random_state"),
    ],
)
def test_parameters_are_checked(data, parameters, name):
    clf = TunedThresholdClassifier(**({"estimator": forest()} | parameters))
    with pytest.raises(ValueError, match=f"'{name}' parameter of TunedThreshold"):
        clf.fit(*data)


@pytest.mark.parametrize("scoring", ["f1_sample", "roc_auc", "neg_log_loss"])
def test_scoring_that_is_none_is_told_before_anything_is_fitted(log, scoring):
    with pytest.raises(ValueError, match="scoring"):
        TunedThresholdClassifier(Told(), scoring=scoring).fit(*told_data())
    assert not log


@pytest.mark.parametrize("plus", [1.0, -0.5, np.nan])
@pytest.mark.parametrize("cv", [2, "prefit"])
def test_probabilities_that_are_none(plus, cv):
    X, Y = told_data()
    with pytest.raises(ValueError, match=r"predict_proba of Told must be in \[0, 1\]"):
        TunedThresholdClassifier(Told(plus).fit(X, Y), cv=cv).fit(X, Y)
    clf = TunedThresholdClassifier(Told(), cv=cv).set_params(estimator=Told().fit(X, Y))
    clf.fit(X, Y)
    for method in (clf.predict, clf.predict_proba):
        with pytest.raises(ValueError, match="predict_proba of Told .*got values from"):
            method(np.column_stack([X[:, 0], X[:, 1:] + plus]))


@pytest.mark.parametrize(("end", "digit"), [(1, 1e-12), (0, -1e-12)])
def test_sums_of_votes_may_be_off_by_their_last_digit(end, digit):
    X, _ = told_data()
    X[:, 1:] = np.where(np.arange(60) % 2, end, 0.5)[:, None]
    # Thresholds are to be the scores that are too high, or too low.
    Y = X[:, 1:] >= end
    clf = TunedThresholdClassifier(Told(plus=digit), scoring="accuracy").fit(X, Y)
    np.testing.assert_array_equal(clf.thresholds_, end)
    np.testing.assert_array_equal(clf.predict(X), Y)
    probabilities = clf.predict_proba(X)
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_number_of_labels_that_does_not_fit(log):
    X, Y = told_data()
    told = Told().fit(X, Y)
    with pytest.raises(ValueError, match=r"of Told must .* 2\).*got shape \(60, 3\)"):
        TunedThresholdClassifier(told, cv="prefit").fit(X, Y[:, :2])


def test_bad_targets(data):
    X, Y = data
    clf = TunedThresholdClassifier(forest())
    with pytest.raises(ValueError, match="requires y to be passed"):
        clf.fit(X, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clf.fit(X, Y[1:])
    with pytest.raises(ValueError, match="Y must hold 0 and 1 only"):
        clf.fit(X, 2 * Y)


def test_not_fitted(data):
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError, match="TunedThresholdClassifier"):
            getattr(TunedThresholdClassifier(forest()), method)(data[0])


def test_tags_are_those_of_the_estimator():
    def tags(estimator):
        return get_tags(TunedThresholdClassifier(estimator))

    assert tags(forest()).classifier_tags.multi_label
    assert not tags(LogisticRegression()).classifier_tags.multi_label
    assert tags(BinaryRelevance()).input_tags.sparse
    assert not tags(FrozenEstimator(Told())).input_tags.sparse
    assert tags(forest()).input_tags.allow_nan
    assert not tags(LogisticRegression()).input_tags.allow_nan
    assert not tags(forest()).classifier_tags.multi_class
