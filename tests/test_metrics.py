"""Measures, scorers and probabilities of multi-label classifiers."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from common import small
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    coverage_error,
    f1_score,
    hamming_loss,
    label_ranking_average_precision_score,
    label_ranking_loss,
    log_loss,
    ndcg_score,
)
from sklearn.model_selection import GridSearchCV, cross_validate, permutation_test_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skcgmvae.metrics import (
    hamming_accuracy_score,
    label_probabilities,
    label_propensities,
    multilabel_scorers,
    precision_at_k_score,
    propensity_scored_precision_at_k,
    recall_at_k_score,
)

SPARSE = [sp.csr_matrix, sp.csc_array, sp.coo_matrix, sp.lil_matrix, sp.dok_array]
NAN = float("nan")


# -- measures ------------------------------------------------------------------------


@st.composite
def problems(draw):
    """Labels, scores with many ties, which of them are stored, k, and weights."""
    n_samples, n_labels = draw(st.integers(1, 8)), draw(st.integers(1, 7))
    rng = np.random.RandomState(draw(st.integers(0, 10**6)))
    shape = n_samples, n_labels
    Y = (rng.rand(*shape) < draw(st.floats(0, 1))).astype(int)
    levels = draw(st.integers(1, 6))
    scores = rng.randint(-levels, levels, shape) * draw(st.sampled_from([1, 0.1]))
    stored = rng.rand(*shape) < draw(st.floats(0, 1))
    weights = rng.randint(0, 4, n_samples)
    weights[0] = 1
    return Y, scores, stored, draw(st.integers(1, n_labels)), weights


def as_sparse(scores, stored):
    """Scores of the stored entries, among them zeros that are stored."""
    rows, columns = np.nonzero(stored)
    return sp.csr_matrix((scores[stored], (rows, columns)), shape=scores.shape)


def best_labels(scores, stored, k):
    """Row by row the k best of the stored labels, of equals that which comes first."""
    for row, is_stored in zip(scores, stored, strict=True):
        order = sorted(np.flatnonzero(is_stored), key=lambda j: (-row[j], j))
        yield order[:k]


@settings(max_examples=100, deadline=None)
@given(problems(), st.booleans(), st.sampled_from([0, 1, NAN]))
def test_precision_and_recall_are_those_of_a_plain_loop(problem, dense, zero_division):
    Y, scores, stored, k, weights = problem
    stored = stored | dense
    precision, recall, of_recall = [], [], []
    best = best_labels(scores, stored, k)
    for y, labels, weight in zip(Y, best, weights, strict=True):
        hits = sum(y[j] for j in labels)
        precision.append(hits / k)
        if y.any() or zero_division == zero_division:
            recall.append(hits / y.sum() if y.any() else zero_division)
            of_recall.append(weight)
    Y_score = scores if dense else as_sparse(scores, stored)
    assert precision_at_k_score(Y, Y_score, k=k) == pytest.approx(np.mean(precision))
    assert precision_at_k_score(
        Y, Y_score, k=k, sample_weight=weights
    ) == pytest.approx(np.average(precision, weights=weights))
    expected = np.average(recall, weights=of_recall) if any(of_recall) else NAN
    assert recall_at_k_score(
        Y, Y_score, k=k, sample_weight=weights, zero_division=zero_division
    ) == pytest.approx(expected, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(problems(), st.booleans())
def test_propensity_scored_precision_is_that_of_a_plain_loop(problem, dense):
    Y, scores, stored, k, weights = problem
    stored = stored | dense
    propensities = np.random.RandomState(0).uniform(0.1, 1, Y.shape[1])
    reached = possible = 0
    best = best_labels(scores, stored, k)
    for y, labels, weight in zip(Y, best, weights, strict=True):
        reached += weight * sum(y[j] / propensities[j] for j in labels)
        possible += weight * sum(sorted(y / propensities)[-k:])
    score = propensity_scored_precision_at_k(
        Y,
        scores if dense else as_sparse(scores, stored),
        k=k,
        propensities=propensities,
        sample_weight=weights,
    )
    expected = reached / possible if possible else NAN
    assert score == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("k", [1, 7, 400])
def test_ties_go_to_the_first_label_in_large_matrices_too(k):
    rng = np.random.RandomState(0)
    Y, scores = rng.rand(3000, 400) < 0.1, rng.randint(0, 5, (3000, 400))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(Y, best, axis=1).mean()
    assert precision_at_k_score(Y, scores, k=k) == pytest.approx(expected)
    everything = as_sparse(scores, np.ones(Y.shape, dtype=bool))
    assert precision_at_k_score(Y, everything, k=k) == pytest.approx(expected)


def test_order_of_stored_entries_does_not_matter():
    scores = sp.csr_matrix(([2, 2, 1], [2, 0, 1], [0, 3]), shape=(1, 3))
    assert not scores.has_sorted_indices
    assert precision_at_k_score([[0, 0, 1]], scores, k=1) == 0
    assert precision_at_k_score([[0, 0, 1]], scores, k=2) == 0.5


def test_stored_zeros_are_no_labels():
    Y = sp.csr_matrix(([1, 0], [0, 1], [0, 2]), shape=(1, 3))
    assert recall_at_k_score(Y, [[3, 1, 2]], k=1) == 1
    assert precision_at_k_score(Y, [[3, 2, 1]], k=2) == 0.5
    assert hamming_accuracy_score(Y, [[1, 0, 0]]) == 1


def test_only_stored_scores_are_ranked():
    Y = np.array([[1, 0, 1, 0]])
    stored = sp.csr_matrix(([-1.0, 0.0], ([0, 0], [2, 3])), shape=(1, 4))
    assert precision_at_k_score(Y, stored, k=1) == 0  # label 3 has the stored zero
    assert precision_at_k_score(Y, stored, k=2) == 0.5
    assert precision_at_k_score(Y, stored, k=4) == 0.25
    assert precision_at_k_score(Y, stored.toarray(), k=1) == 1
    assert precision_at_k_score(Y, sp.csr_matrix((1, 4)), k=1) == 0


def test_memory_is_bounded_by_ranking_some_rows_at_a_time():
    rng = np.random.RandomState(0)
    Y, scores = sp.random(4000, 1000, 0.005, random_state=0) != 0, rng.rand(4000, 1000)
    tracemalloc.start()
    try:
        precision_at_k_score(Y, scores, k=3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * scores.nbytes


def test_a_million_labels_stay_sparse():
    n_samples, n_labels = 2000, 10**6
    rng = np.random.RandomState(0)
    rows = np.repeat(np.arange(n_samples), 20)
    shape, columns = (n_samples, n_labels), rng.randint(0, n_labels, len(rows))
    scores = sp.csr_matrix((rng.rand(len(rows)), (rows, columns)), shape=shape)
    Y = scores.copy()
    Y.data[:] = 1
    assert precision_at_k_score(Y, scores, k=5) == 1
    assert recall_at_k_score(Y, scores, k=20) == 1
    assert hamming_accuracy_score(Y, sp.csr_matrix(shape)) == pytest.approx(
        1 - Y.nnz / (n_samples * n_labels)
    )


@pytest.mark.parametrize("kind", [*SPARSE, np.asfortranarray, np.ndarray.tolist])
def test_matrices_of_any_kind(kind):
    rng = np.random.RandomState(0)
    Y, scores = rng.randint(0, 2, (20, 6)), rng.randint(1, 4, (20, 6))
    assert precision_at_k_score(kind(Y), kind(scores), k=2) == precision_at_k_score(
        Y, scores, k=2
    )
    assert hamming_accuracy_score(kind(Y), Y[::-1]) == hamming_accuracy_score(
        Y, Y[::-1]
    )
    assert list(label_propensities(kind(Y))) == list(label_propensities(Y))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, "Int64"])
def test_data_frames_of_any_dtype(dtype):
    rng = np.random.RandomState(0)
    Y, scores = rng.randint(0, 2, (20, 3)), rng.rand(20, 3).round(1)
    expected = recall_at_k_score(Y, scores, k=2)
    frame = pd.DataFrame(Y, columns=list("abc")).astype(dtype)
    assert recall_at_k_score(frame, pd.DataFrame(scores), k=2) == expected
    assert recall_at_k_score(Y.astype(bool), scores, k=2) == expected


def test_what_is_passed_stays_as_it_is():
    Y = sp.coo_matrix(([1, 0, 1], ([0, 0, 1], [2, 0, 1])), shape=(2, 3))
    scores = sp.csr_matrix(([1.0, 0.0, 3.0], [2, 0, 1], [0, 2, 3]), shape=(2, 3))
    before = scores.indices.tolist(), scores.data.tolist(), Y.data.tolist()
    propensity_scored_precision_at_k(Y, scores, propensities=[1, 0.5, 0.5])
    hamming_accuracy_score(Y, Y)
    assert (scores.indices.tolist(), scores.data.tolist(), Y.data.tolist()) == before


def test_a_weight_is_as_many_rows():
    rng = np.random.RandomState(0)
    Y, scores = rng.randint(0, 2, (30, 5)), rng.rand(30, 5)
    weights = rng.randint(0, 3, 30)
    propensities = rng.uniform(0.2, 1, 5)
    repeated = np.repeat(np.arange(30), weights)
    for measure, second in (
        (precision_at_k_score, scores),
        (recall_at_k_score, scores),
        (hamming_accuracy_score, scores.round().astype(int)),
        (
            lambda Y, S, **kw: propensity_scored_precision_at_k(
                Y, S, propensities=propensities, **kw
            ),
            scores,
        ),
    ):
        weighted = measure(Y, second, sample_weight=weights)
        assert weighted == pytest.approx(measure(Y[repeated], second[repeated]))
        assert weighted != pytest.approx(measure(Y, second))


def test_the_best_ranking_reaches_one_in_propensity_scored_precision():
    rng = np.random.RandomState(0)
    Y, propensities = rng.rand(40, 6) < 0.4, rng.uniform(0.1, 1, 6)
    for k in (1, 3, 6):
        assert propensity_scored_precision_at_k(
            Y, Y / propensities, k=k, propensities=propensities
        ) == pytest.approx(1)


def test_rare_labels_count_more_by_their_propensities():
    Y, scores = [[1, 0], [0, 1]], [[1, 0], [1, 0]]  # the label 0 is always found
    for propensities, expected in (([1, 1], 1 / 2), ([1, 0.25], 1 / 5)):
        assert propensity_scored_precision_at_k(
            Y, scores, propensities=propensities
        ) == pytest.approx(expected)


@pytest.mark.parametrize(("a", "b"), [(0.55, 1.5), (0.5, 0.4), (0.6, 2.6), (0, 1)])
def test_propensities_follow_the_formula(a, b):
    Y = np.random.RandomState(0).rand(50, 4) < [0, 0.1, 0.5, 1]
    expected = []
    for n_label in Y.sum(axis=0):
        c = (np.log(50) - 1) * (b + 1) ** a
        expected.append(1 / (1 + c * np.exp(-a * np.log(n_label + b))))
    np.testing.assert_allclose(label_propensities(Y, a=a, b=b), expected)
    if (a, b) == (0.55, 1.5):
        np.testing.assert_allclose(label_propensities(Y), expected)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_hamming_accuracy_is_one_less_hamming_loss(problem):
    Y, scores, _, _, weights = problem
    predicted = (scores > 0).astype(int)
    accuracy = hamming_accuracy_score(Y, sp.csr_matrix(predicted))
    assert accuracy == pytest.approx(np.mean([*(Y == predicted).flat]))
    if Y.shape[1] > 1:
        weighted = hamming_accuracy_score(Y, predicted, sample_weight=weights)
        loss = hamming_loss(Y, predicted, sample_weight=weights)
        assert weighted == pytest.approx(1 - loss)


Y2 = [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be a whole number from 1 on; got 0"),
        ({"k": 1.0}, "k must be a whole number from 1 on; got 1.0"),
        ({"k": True}, "k must be a whole number from 1 on; got True"),
        ({"k": 3}, "k must be at most the number of labels, 2; got 3"),
        ({"Y_true": [0, 1]}, r"Y_true must be of shape \(n_samples, n_la.* got \(2,\)"),
        ({"Y_true": [[0, 1], [1]]}, "Y_true must be of .* rows of different lengths"),
        ({"Y_true": [[0, 2], [1, -1]]}, r"Y_true must hold 0 and 1 .* got .*\[-1, 2\]"),
        ({"Y_true": [[0, NAN], [1, 0]]}, r"Y_true must hold 0 and 1 .* got .*\[nan\]"),
        ({"Y_true": [["a", "b"]] * 2}, "Y_true must hold real numbers; got dtype <U1"),
        ({"Y_true": [[None, "b"]] * 2}, "Y_true must hold numbers; "),
        ({"Y_true": sp.csr_matrix([[2, 0]] * 2)}, r"Y_true must hold 0 .* got .*\[2\]"),
        ({"Y_true": np.ones((0, 2))}, r"Y_true must be of shape .* got \(0, 2\)"),
        ({"Y_score": [[NAN, 1]] * 2}, "Y_score contains NaN"),
        ({"Y_score": sp.csr_matrix([[np.inf, 1]] * 2)}, "Y_score contains infinity"),
        (
            {"Y_score": [[0, 1, 1]] * 2},
            r"Y_score must .* shape of Y_true, \(2, 2\); go",
        ),
        ({"Y_score": [[0, 1]] * 3}, r"Y_score must have the shape .* got \(3, 2\)"),
        ({"Y_score": [[1j, 1]] * 2}, "Y_score must hold real numbers; got dtype comp"),
        (
            {"sample_weight": [1]},
            r"sample_weight must have the shape \(2,\); .* \(1,\)",
        ),
        ({"sample_weight": [1, -1]}, "sample_weight must be finite, .* from -1.0 to 1"),
        ({"sample_weight": [0, 0]}, "sample_weight must be .* somewhere above 0"),
        ({"sample_weight": [NAN, 1]}, "sample_weight must be finite"),
        ({"sample_weight": ["a", 1]}, "sample_weight must hold numbers; could not"),
    ],
)
def test_errors_of_the_rankings_say_what_is_wanted(arguments, message):
    valid = {"Y_true": Y2, "Y_score": Y2}
    for measure in (precision_at_k_score, recall_at_k_score):
        with pytest.raises(ValueError, match=message):
            measure(**(valid | arguments))
    with pytest.raises(ValueError, match=message):
        propensity_scored_precision_at_k(**(valid | arguments), propensities=[1, 1])


@pytest.mark.parametrize("value", [2, -1, "warn", None])
def test_zero_division_is_zero_one_or_nan(value):
    with pytest.raises(ValueError, match=f"zero_division must .* NaN; got {value!r}"):
        recall_at_k_score(Y2, Y2, zero_division=value)


@pytest.mark.parametrize(
    ("propensities", "message"),
    [
        ([1], r"propensities must have the shape \(2,\); got an array of shape \(1,\)"),
        ([0, 1], "propensities must be above 0 and at most 1; .* from 0.0 to 1.0"),
        ([0.5, 1.5], "propensities must be above 0 and at most 1; .* 0.5 to 1.5"),
        ([NAN, 1], "propensities must be above 0 and at most 1"),
        (["a", 1], "propensities must hold numbers"),
    ],
)
def test_propensities_are_checked(propensities, message):
    with pytest.raises(ValueError, match=message):
        propensity_scored_precision_at_k(Y2, Y2, propensities=propensities)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"Y_train": Y2}, "Y_train must have at least 3 rows; got 2"),
        ({"Y_train": [[3]]}, "Y_train must hold 0 and 1 only"),
        ({"a": -1}, "a must be a finite number, not negative; got -1"),
        ({"a": NAN}, "a must be a finite number"),
        ({"b": 0}, "b must be a finite number above 0; got 0"),
        ({"b": "1"}, "b must be a finite number above 0; got '1'"),
    ],
)
def test_errors_of_the_propensities(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_propensities(**({"Y_train": [[0, 1]] * 3} | arguments))


def test_hamming_accuracy_checks_both_matrices():
    with pytest.raises(ValueError, match="Y_pred must hold 0 and 1 only"):
        hamming_accuracy_score(Y2, [[0.5, 1], [0, 1]])
    with pytest.raises(ValueError, match=r"Y_pred must .* of Y_true, \(2, 2\); got"):
        hamming_accuracy_score(Y2, [[0, 1]])


# -- probabilities -------------------------------------------------------------------


def toy(n_labels=4, n_samples=80):
    return make_multilabel_classification(
        n_samples, 6, n_classes=n_labels, random_state=0
    )


class Answering(ClassifierMixin, BaseEstimator):
    """A fitted classifier that answers what it was told to."""

    def __init__(self, answer, classes_=None):
        self.answer = answer
        if classes_ is not None:
            self.classes_ = classes_

    def predict_proba(self, X):
        return self.answer


CLASSIFIERS = [
    RandomForestClassifier(5, random_state=0),
    DecisionTreeClassifier(max_depth=3, random_state=0),
    KNeighborsClassifier(),
    OneVsRestClassifier(LogisticRegression()),
    ClassifierChain(LogisticRegression(), random_state=0),
    MLPClassifier((4,), random_state=0, max_iter=3),
    small(max_iter=1),
]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: type(c).__name__)
def test_probabilities_are_those_of_the_ones(classifier, n_labels):
    X, Y = toy(n_labels)
    fitted = make_pipeline(StandardScaler(), classifier).fit(X, Y)
    probabilities = label_probabilities(fitted, X, n_labels=n_labels)
    assert probabilities.shape == Y.shape
    assert probabilities.dtype.kind == "f"
    told = fitted.predict_proba(X)
    for j in range(n_labels):
        expected = told[j][:, 1] if isinstance(told, list) else told[:, j]
        assert (probabilities[:, j] == expected).all()


def test_constant_labels_are_certain():
    X, Y = toy()
    Y[:, 1], Y[:, 2] = 0, 1
    tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), tree), {}, cv=2).fit(X, Y)
    assert [p.shape[1] for p in search.predict_proba(X)] == [2, 1, 1, 2]
    probabilities = label_probabilities(search, X)
    assert probabilities.shape == Y.shape
    assert (probabilities[:, 1] == 0).all()
    assert (probabilities[:, 2] == 1).all()
    assert 0 < probabilities[:, 0].mean() < 1


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(
    "classifier", [RandomForestClassifier(3), KNeighborsClassifier()]
)
def test_a_constant_label_alone_is_certain_too(classifier, value):
    X, _ = toy()
    fitted = classifier.fit(X, np.full(len(X), value))  # so they take (n_samples, 1)
    assert fitted.predict_proba(X).tolist() == [[1.0]] * len(X)
    assert label_probabilities(fitted, X, n_labels=1).tolist() == [[value]] * len(X)


def test_a_single_label_that_is_certain_stays_so():
    clf = Answering(np.ones((4, 1)))
    clf.classes_ = np.arange(1)  # of a label matrix, as this package has it
    clf.predict = lambda X: np.ones((4, 1), dtype=int)
    assert label_probabilities(clf, np.zeros((4, 1))).tolist() == [[1.0]] * 4


def test_two_classes_are_one_label_where_that_is_said():
    X, Y = toy()
    fitted = LogisticRegression().fit(X, np.where(Y[:, 0], "yes", "no"))
    proba = fitted.predict_proba(X)
    assert (label_probabilities(fitted, X) == proba).all()
    assert (label_probabilities(fitted, X, n_labels=1) == proba[:, 1:]).all()


def test_sparse_probabilities_come_dense():
    answer = np.array([[0.5, 0.0], [0.25, 1.0]])
    for kind in (sp.csr_matrix, sp.lil_matrix):
        probabilities = label_probabilities(Answering(kind(answer)), [[0]] * 2)
        assert isinstance(probabilities, np.ndarray)
        assert (probabilities == answer).all()


def test_a_classifier_without_probabilities_is_named():
    with pytest.raises(TypeError, match="must be a .* predict_proba; got LinearSVC"):
        label_probabilities(LinearSVC(), [[0]])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.ones(3), r"Answering must give .* \(n_samples, 3\).* got shape \(3,\)"),
        (np.ones((4, 2)), r"must give an array .* got shape \(4, 2\)"),
        (np.ones((4, 3, 2)), r"got shape \(4, 3, 2\)"),
        ([np.ones((4, 3))] * 3, "two columns a label, .*; got 3"),
        ([np.ones((4, 1))] * 3, "two columns a label, or one where classes_ tells"),
    ],
)
def test_probabilities_of_other_shapes_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        label_probabilities(Answering(answer), np.zeros((4, 1)), n_labels=3)


# -- scorers -------------------------------------------------------------------------

PAPER = ["hamming_accuracy", "f1_samples", "f1_micro", "f1_macro", "precision_at_1"]


def mean_log_loss(Y, probabilities):
    columns = zip(Y.T, probabilities.T, strict=True)
    return np.mean([log_loss(y, p, labels=[0, 1]) for y, p in columns])


@pytest.mark.parametrize("n_labels", [2, 5])
def test_scores_are_those_of_the_measures(n_labels):
    X, Y = toy(n_labels)
    fitted = OneVsRestClassifier(LogisticRegression()).fit(X[:40], Y[:40])
    X, Y = X[40:], Y[40:]
    predicted, probabilities = fitted.predict(X), fitted.predict_proba(X)
    ranked = Y, probabilities
    expected = {
        "hamming_accuracy": 1 - hamming_loss(Y, predicted),
        "f1_samples": f1_score(Y, predicted, average="samples", zero_division=0),
        "f1_micro": f1_score(Y, predicted, average="micro"),
        "f1_macro": f1_score(Y, predicted, average="macro"),
        "precision_at_1": precision_at_k_score(*ranked),
        "precision_at_2": precision_at_k_score(*ranked, k=2),
        "label_ranking_average_precision": label_ranking_average_precision_score(
            *ranked
        ),
        "ndcg": ndcg_score(*ranked),
        "average_precision_micro": average_precision_score(*ranked, average="micro"),
        "average_precision_macro": average_precision_score(*ranked, average="macro"),
        "neg_label_ranking_loss": -label_ranking_loss(*ranked),
        "neg_coverage_error": -coverage_error(*ranked),
        "neg_log_loss": -mean_log_loss(*ranked),
    }
    scorers = multilabel_scorers(k=(1, 2))
    assert list(scorers)[:5] == PAPER
    together = scorers(fitted, X, Y)
    assert together == pytest.approx(expected)
    alone = {name: scorer(fitted, X, Y) for name, scorer in scorers.items()}
    assert alone == together
    for form in (sp.csr_matrix, np.ndarray.tolist, pd.DataFrame):
        assert scorers(fitted, X, form(Y)) == together


def test_k_chooses_the_precisions():
    def chosen(**parameters):
        return [n for n in multilabel_scorers(**parameters) if "precision_at" in n]

    assert chosen() == ["precision_at_1"]
    assert chosen(k=(1, 3, 5)) == [f"precision_at_{k}" for k in (1, 3, 5)]
    assert chosen(k=2) == ["precision_at_2"]


@pytest.mark.parametrize("k", [0, (1, 0), 1.5, True, "1"])
def test_k_of_the_scorers_is_checked(k):
    with pytest.raises(ValueError, match="k must be a whole number from 1 on; got"):
        multilabel_scorers(k=k)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: type(c).__name__)
def test_cross_validation_of_any_classifier(classifier, n_labels):
    X, Y = toy(n_labels)
    results = cross_validate(
        make_pipeline(StandardScaler(), classifier),
        X,
        Y,
        scoring=multilabel_scorers(k=(1, 2)),
        cv=3,
        error_score="raise",
    )
    for name in multilabel_scorers(k=(1, 2)):
        assert np.isfinite(results[f"test_{name}"]).all()


def test_labels_absent_from_training_or_test_rows_do_not_disturb():
    X, Y = toy(4, n_samples=60)
    Y[:, 0] = 0
    Y[:, 1] = 1
    Y[:, 2] = np.arange(60) < 20  # constant in two of three test parts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = cross_validate(
            KNeighborsClassifier(),
            X,
            Y,
            scoring=multilabel_scorers(),
            cv=3,
            error_score="raise",
        )
    for name in multilabel_scorers():
        assert np.isfinite(results[f"test_{name}"]).all()


def test_macro_average_precision_is_over_labels_that_have_both_values():
    rng = np.random.RandomState(0)
    Y, probabilities = rng.randint(0, 2, (30, 4)), rng.rand(30, 4)
    Y[:, 0], Y[:, 3] = 0, 1
    macro = multilabel_scorers()["average_precision_macro"]
    expected = average_precision_score(Y[:, 1:3], probabilities[:, 1:3])
    assert macro(Answering(probabilities), Y, Y) == pytest.approx(expected)


def test_average_precision_without_labels_is_not_a_number():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for average in ("micro", "macro"):
            scorer = multilabel_scorers()[f"average_precision_{average}"]
            assert np.isnan(scorer(Answering(np.ones((3, 2)) / 2), 0, [[0, 0]] * 3))


def test_log_loss_of_certainties_is_finite():
    scorer = multilabel_scorers()["neg_log_loss"]
    Y = np.array([[0, 1], [1, 0]])
    assert scorer(Answering(Y.astype(float)), 0, Y) == pytest.approx(0)
    assert -40 < scorer(Answering(1.0 - Y), 0, Y) < -30


class Counting(OneVsRestClassifier):
    """Counts its answers."""

    asked = ()

    def predict(self, X):
        Counting.asked += ("predict",)
        return super().predict(X)

    def predict_proba(self, X):
        Counting.asked += ("predict_proba",)
        return super().predict_proba(X)


def test_each_estimator_predicts_once():
    X, Y = toy()
    Counting.asked = ()
    cross_validate(
        Counting(LogisticRegression()), X, Y, scoring=multilabel_scorers(), cv=3
    )
    assert sorted(Counting.asked) == ["predict"] * 3 + ["predict_proba"] * 3


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_search_refits_by_a_score(form):
    X, Y = toy(2)
    search = GridSearchCV(
        OneVsRestClassifier(LogisticRegression()),
        {"estimator__C": [1e-4, 1]},
        scoring=multilabel_scorers(),
        refit="f1_samples",
        cv=2,
        error_score="raise",
    )
    search = clone(search).fit(X, form(Y))
    means = search.cv_results_["mean_test_f1_samples"]
    assert means[0] != means[1]
    assert search.best_score_ == max(means)
    predicted = sp.csr_matrix(search.predict(X)).toarray()
    expected = f1_score(Y, predicted, average="samples", zero_division=0)
    assert search.score(X, form(Y)) == pytest.approx(expected)


def test_single_scorers_and_plain_dicts():
    X, Y = toy()
    scorers, forest = multilabel_scorers(), RandomForestClassifier(5, random_state=0)
    whole = cross_validate(forest, X, Y, scoring=scorers, cv=2)
    parts = {name: scorers[name] for name in ("f1_macro", "ndcg")}
    in_parts = cross_validate(forest, X, Y, scoring=parts | {"own": "accuracy"}, cv=2)
    assert (in_parts["test_ndcg"] == whole["test_ndcg"]).all()
    assert (in_parts["test_f1_macro"] == whole["test_f1_macro"]).all()
    single = cross_validate(forest, X, Y, scoring=scorers["ndcg"], cv=2)
    assert (single["test_score"] == whole["test_ndcg"]).all()
    score, _, _ = permutation_test_score(
        forest, X, Y, scoring=scorers["ndcg"], cv=2, n_permutations=1
    )
    assert score == pytest.approx(whole["test_ndcg"].mean())


def test_scorers_can_be_added_and_left_out():
    X, Y = toy()
    scorers = multilabel_scorers()
    scorers["subset_accuracy"] = "accuracy"
    scorers["rows"] = lambda estimator, X, Y: len(X)
    del scorers["ndcg"]
    scores = scorers(KNeighborsClassifier(1).fit(X, Y), X, Y)
    assert scores["subset_accuracy"] == 1
    assert scores["rows"] == len(X)
    assert "ndcg" not in scores


def test_scorers_survive_pickling_and_routing():
    X, Y = toy()
    fitted = KNeighborsClassifier().fit(X, Y)
    scorers = pickle.loads(pickle.dumps(multilabel_scorers()))
    expected = multilabel_scorers()(fitted, X, Y)
    assert scorers(fitted, X, Y) == expected
    with config_context(enable_metadata_routing=True):
        results = cross_validate(KNeighborsClassifier(), X, Y, scoring=scorers, cv=2)
        GridSearchCV(
            KNeighborsClassifier(), {}, scoring=scorers, refit="ndcg", cv=2
        ).fit(X, Y)
    assert set(results) >= {f"test_{name}" for name in scorers}


def test_scorers_show_what_they_measure():
    scorers = multilabel_scorers(k=3)
    assert repr(scorers["precision_at_3"]) == (
        "<scorer precision_at_k_score(Y, scores, k=3)>"
    )
    assert repr(scorers["neg_coverage_error"]) == "<scorer -coverage_error(Y, scores)>"


def test_rankings_of_classifiers_without_probabilities():
    X, Y = toy()
    fitted = OneVsRestClassifier(LinearSVC(random_state=0)).fit(X, Y)
    scorers = multilabel_scorers()
    ranked = fitted.decision_function(X)
    assert scorers["ndcg"](fitted, X, Y) == pytest.approx(ndcg_score(Y, ranked))
    with pytest.raises(TypeError, match="predict_proba; got OneVsRestClassifier"):
        scorers["neg_log_loss"](fitted, X, Y)
    del scorers["neg_log_loss"]
    assert np.isfinite(list(scorers(fitted, X, Y).values())).all()


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        ([0, 1, 0], r"Y_true must be of shape \(n_samples, n_labels\)"),
        ([[0], [1], [0]], "Y_true must have at least 2 columns"),
        ([[0, 2, 0]] * 3, "Y_true must hold 0 and 1 only"),
        ([[0, 1, 0]] * 3, r"predict_proba of Answering must give .* \(n_samples, 3\)"),
    ],
)
def test_scorers_refuse_what_is_no_label_matrix(Y, message):
    fitted = Answering(np.full((3, 2), 0.5))
    with pytest.raises(ValueError, match=message):
        multilabel_scorers()["ndcg"](fitted, np.zeros((3, 1)), Y)


def test_precision_at_more_than_there_are_labels_is_an_error():
    with pytest.raises(ValueError, match="k must be at most the number of labels, 2"):
        multilabel_scorers(k=3)["precision_at_3"](Answering(np.eye(2)), 0, np.eye(2))
