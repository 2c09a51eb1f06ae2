"""The search of thresholds: against brute force, plain loops and scikit-learn."""

from itertools import product
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, get_scorer, hamming_loss, make_scorer

from skcgmvae._labels import LabelCoder
from skcgmvae._threshold_search import EXACT, AnyScorer, as_criterion, best_thresholds

JUST_ABOVE_1 = np.nextafter(1, 2)


@st.composite
def problems(draw, max_rows=6, max_labels=3, min_labels=1):
    """Labels and scores with many ties, and with labels that are constant."""
    n_labels = draw(st.integers(min_labels, max_labels))
    shape = draw(st.integers(1, max_rows)), n_labels
    Y = draw(hnp.arrays(bool, shape))
    for column in range(n_labels):
        constant = draw(st.sampled_from([None, None, False, True]))
        if constant is not None:
            Y[:, column] = constant
    steps = draw(st.sampled_from([1, 2, 5, 10, 1000]))
    return Y, draw(hnp.arrays(int, shape, elements=st.integers(0, steps))) / steps


def plain_score(name, Y, predicted):
    """The score, entry by entry."""
    if name == "hamming":
        return np.mean([y == p for y, p in zip(Y.flat, predicted.flat, strict=True)])
    groups = {
        "f1_samples": zip(Y, predicted, strict=True),
        "f1_macro": zip(Y.T, predicted.T, strict=True),
        "f1_micro": [(Y.ravel(), predicted.ravel())],
    }[name]
    values = []
    for y, p in groups:
        hits, named = sum(y & p), sum(y) + sum(p)
        values.append(2 * hits / named if named else 0)
    return np.mean(values)


def cuts(scores):
    """Thresholds that stand for all: no others predict anything else."""
    return [*np.unique(scores), 2.0]


def brute_force(name, Y, P, per_label=False):
    """The best score there is."""
    each = [cuts(p) for p in P.T] if per_label else [cuts(P)]
    return max(plain_score(name, Y, np.array(t) <= P) for t in product(*each))


def neighbours(scores, threshold):
    """The highest score below a threshold, and the lowest that reaches it."""
    below, reaching = scores[scores < threshold], scores[scores >= threshold]
    return max(below, default=0.0), min(reaching, default=JUST_ABOVE_1)


names = pytest.mark.parametrize("name", EXACT)
strategies = pytest.mark.parametrize(
    "per_label", [False, True], ids=["global", "per label"]
)

# -- scores ------------------------------------------------------------------------


@names
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_score(name, problem):
    Y, P = problem
    predicted = P >= 0.5
    value = EXACT[name].score(Y, predicted)
    assert value == pytest.approx(plain_score(name, Y, predicted), abs=1e-12)
    # scikit-learn takes a single column for the two classes of a vector.
    if name != "hamming" and Y.shape[1] > 1:
        average = name.removeprefix("f1_")
        theirs = f1_score(Y, predicted, average=average, zero_division=0)
        assert value == pytest.approx(theirs, abs=1e-12)


@names
@pytest.mark.parametrize("chunk", [1, 4, 2**22])
@settings(max_examples=30, deadline=None)
@given(problem=problems())
def test_curve(name, chunk, problem):
    Y, P = problem
    at = np.unique([0, 0.5, 1, JUST_ABOVE_1, *P.flat, *(P + 1e-3).flat])
    with mock.patch("skcgmvae._threshold_search.CHUNK", chunk):
        curve = EXACT[name].curve(Y, P, at)
    expected = [plain_score(name, Y, threshold <= P) for threshold in at]
    np.testing.assert_allclose(curve, expected, atol=1e-12)


@names
def test_curve_of_many_rows_keeps_its_digits(name):
    rng = np.random.RandomState(0)
    P = rng.uniform(size=(20_000, 5))
    Y = rng.uniform(size=P.shape) < P**3
    at = np.linspace(0, 1, 5)
    expected = [EXACT[name].score(Y, threshold <= P) for threshold in at]
    np.testing.assert_allclose(EXACT[name].curve(Y, P, at), expected, atol=1e-12)


@names
@strategies
def test_chunks_change_nothing(name, per_label):
    rng = np.random.RandomState(0)
    P = np.round(rng.uniform(size=(150, 7)), 2)
    Y = rng.uniform(size=P.shape) < P**2
    expected, best = best_thresholds(Y, P, EXACT[name], per_label)
    with mock.patch("skcgmvae._threshold_search.CHUNK", 16):
        thresholds, score = best_thresholds(Y, P, EXACT[name], per_label)
    np.testing.assert_array_equal(thresholds, expected)
    assert score == best


# -- nothing scores better ---------------------------------------------------------


@names
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_one_threshold_for_all_is_the_best_there_is(name, problem):
    Y, P = problem
    thresholds, score = best_thresholds(Y, P, EXACT[name])
    assert thresholds.shape == (P.shape[1],)
    assert len(set(thresholds)) == 1
    assert score == pytest.approx(brute_force(name, Y, P), abs=1e-12)
    assert score == pytest.approx(plain_score(name, Y, thresholds <= P), abs=1e-12)


@pytest.mark.parametrize("name", ["f1_micro", "f1_macro", "hamming"])
@settings(max_examples=100, deadline=None)
@given(problem=problems(max_rows=4))
def test_one_threshold_a_label_is_the_best_there_is(name, problem):
    Y, P = problem
    thresholds, score = best_thresholds(Y, P, EXACT[name], per_label=True)
    assert thresholds.shape == (P.shape[1],)
    assert score == pytest.approx(brute_force(name, Y, P, per_label=True), abs=1e-12)
    assert score == pytest.approx(plain_score(name, Y, thresholds <= P), abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(problem=problems())
# Label 1 has an equally good threshold, and only there has label 0 a better one.
@example(
    problem=(
        np.array([[0, 1], [0, 1], [1, 0]], bool),
        np.array([[1, 1], [0.5, 1], [0, 0]]),
    )
)
def test_one_threshold_a_label_for_f1_of_samples_cannot_be_improved_alone(problem):
    Y, P = problem
    thresholds, score = best_thresholds(Y, P, EXACT["f1_samples"], per_label=True)
    assert score == pytest.approx(plain_score("f1_samples", Y, thresholds <= P))
    assert score >= brute_force("f1_samples", Y, P) - 1e-12
    for label, p in enumerate(P.T):
        for cut in cuts(p):
            other = thresholds.copy()
            other[label] = cut
            assert plain_score("f1_samples", Y, other <= P) <= score + 1e-8


@pytest.fixture(scope="module")
def many():
    """Labels whose probabilities are too low, by other factors, so that much moves."""
    rng = np.random.RandomState(0)
    P = rng.uniform(size=(300, 6))
    Y = rng.uniform(size=P.shape) < P * [1, 0.8, 0.6, 0.4, 0.2, 0.1]
    return Y, np.round(P * [0.05, 0.2, 0.4, 0.6, 0.8, 1], 3)


def test_no_thresholds_of_many_rows_have_a_better_micro_f1(many):
    # 2 TP / (named) <= F wherever 2 TP - F named <= 0, which is a sum over labels.
    Y, P = many
    _, score = best_thresholds(Y, P, EXACT["f1_micro"], per_label=True)
    _, of_one = best_thresholds(Y, P, EXACT["f1_micro"])
    assert score > of_one + 0.05
    gain = -score * Y.sum()
    for y, p in zip(Y.T, P.T, strict=True):
        gain += max((2 * y[cut <= p] - score).sum() for cut in cuts(p))
    assert gain == pytest.approx(0, abs=1e-9)


def test_thresholds_of_many_rows_cannot_be_improved_alone(many):
    Y, P = many
    samples = EXACT["f1_samples"]
    thresholds, score = best_thresholds(Y, P, samples, per_label=True)
    _, of_one = best_thresholds(Y, P, samples)
    assert score > of_one + 0.05
    for label, p in enumerate(P.T):
        for cut in cuts(p):
            other = thresholds.copy()
            other[label] = cut
            assert samples.score(Y, other <= P) <= score + 1e-12


def test_f1_of_samples_may_settle_below_the_best():
    # That only single steps are tried is a promise of speed, and has its price: here
    # two labels would have to move at once. Should this score more, the better.
    rng = np.random.RandomState(0)
    short = 0
    for _ in range(50):
        P = np.round(rng.uniform(size=(4, 3)), 1)
        Y = rng.uniform(size=P.shape) < 0.5
        _, score = best_thresholds(Y, P, EXACT["f1_samples"], per_label=True)
        best = brute_force("f1_samples", Y, P, per_label=True)
        assert score <= best + 1e-12
        assert score >= 0.8 * best
        short += score < best - 1e-12
    assert short <= 15


# -- which of equally good thresholds ----------------------------------------------


@names
@strategies
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_thresholds_lie_halfway_between_scores(name, per_label, problem):
    Y, P = problem
    thresholds, _ = best_thresholds(Y, P, EXACT[name], per_label)
    assert ((thresholds >= 0) & (thresholds <= JUST_ABOVE_1)).all()
    parted = P.T if per_label else [P.ravel()] * P.shape[1]
    for threshold, scores in zip(thresholds, parted, strict=True):
        lower, upper = neighbours(scores, threshold)
        # Where there is no room between two, the upper one is reached.
        expected = lower + (upper - lower) / 2 if lower < upper else upper
        assert threshold == 0.5 or threshold == pytest.approx(expected)
        # Rows of score 0 are predicted if all are; those of score 1 may not be.
        assert threshold > 0 or (scores == 0).any()
        assert threshold <= 1 or (scores == 1).any()


@names
@strategies
@settings(max_examples=100, deadline=None)
@given(problem=problems())
# Scores between 0.5 and the next 1 are of 0s that cost nothing, or as much as is won.
@example(problem=(np.array([[1], [0]], bool), np.array([[0.9], [0.6]])))
@example(problem=(np.array([[1], [0], [1]], bool), np.array([[0.45], [0.46], [0.6]])))
def test_a_half_is_kept_where_it_is_as_good_as_the_best(name, per_label, problem):
    Y, P = problem
    thresholds, score = best_thresholds(Y, P, EXACT[name], per_label)
    default = plain_score(name, Y, P >= 0.5)
    if default >= score - 1e-13 and not (per_label and name == "f1_samples"):
        np.testing.assert_array_equal(thresholds, 0.5)


@names
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_a_half_is_kept_by_each_label_that_it_suits(name, problem):
    Y, P = problem
    thresholds, score = best_thresholds(Y, P, EXACT[name], per_label=True)
    for label in range(P.shape[1]):
        other = thresholds.copy()
        other[label] = 0.5
        if plain_score(name, Y, other <= P) >= score - 1e-13:
            assert thresholds[label] == 0.5


@strategies
@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # A row more that is right, and one that is wrong: as good as before.
        ([0.95, 0.9, 0.85, 0.8], 0.825),
        ([0.45, 0.4, 0.35, 0.3], 0.425),
    ],
)
def test_of_equally_good_thresholds_that_next_to_a_half(per_label, scores, expected):
    P = np.array(scores)[:, None]
    Y = np.array([1, 0, 1, 0], bool)[:, None]
    thresholds, score = best_thresholds(Y, P, EXACT["hamming"], per_label)
    assert score == 0.75
    assert thresholds[0] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["f1_samples", "f1_micro", "f1_macro"])
@strategies
@pytest.mark.parametrize("high", [0.3, 0.7, 1.0])
def test_without_any_label_a_half_is_kept(name, per_label, high):
    P = np.array([[0.2, high], [high, 0.1]])
    Y = np.zeros_like(P, dtype=bool)
    thresholds, score = best_thresholds(Y, P, EXACT[name], per_label)
    np.testing.assert_array_equal(thresholds, 0.5)
    assert score == 0


def test_a_label_that_no_row_has_keeps_a_half():
    P = np.array([[0.9, 0.2], [0.8, 0.4], [0.7, 0.3]])
    Y = np.array([[0, 0], [0, 1], [0, 1]], bool)
    thresholds, _ = best_thresholds(Y, P, EXACT["f1_macro"], per_label=True)
    assert thresholds[0] == 0.5
    assert thresholds[1] == pytest.approx(0.25)
    # What is predicted of it wrongly counts among all entries.
    thresholds, _ = best_thresholds(Y, P, EXACT["f1_micro"], per_label=True)
    assert thresholds[0] > 0.9


# -- numbers -----------------------------------------------------------------------


@names
@strategies
@settings(max_examples=30, deadline=None)
@given(problem=problems())
# Nothing to predict: no single-precision number parts 1 and the threshold above it.
@example(problem=(np.array([[False]]), np.array([[1.0]])))
def test_single_precision(name, per_label, problem):
    Y, P = problem
    P = P.astype(np.float32)
    thresholds, score = best_thresholds(Y, P, EXACT[name], per_label)
    wide, best = best_thresholds(Y, P.astype(float), EXACT[name], per_label)
    np.testing.assert_array_equal(thresholds, wide)
    assert score == best
    assert thresholds.dtype == float


@names
@strategies
def test_neighbouring_numbers_are_parted(name, per_label):
    low = 0.3
    high = np.nextafter(low, 1)
    P = np.array([[low, low], [high, high]])
    Y = P == high
    thresholds, score = best_thresholds(Y, P, EXACT[name], per_label)
    # Of rows, the first has no label: its F1 is 0 whatever is predicted.
    assert score == (0.5 if name == "f1_samples" else 1)
    np.testing.assert_array_equal(thresholds <= P, Y)


# -- any scorer --------------------------------------------------------------------


def any_scorer(scoring, Y, n_thresholds=100):
    coder = LabelCoder()
    coder.fit_transform(Y)
    return as_criterion(scoring, coder, n_thresholds)


SCORINGS = {
    "jaccard_samples": "jaccard_samples",
    "accuracy": "accuracy",
    "f1_weighted": "f1_weighted",
    "negated": make_scorer(hamming_loss, greater_is_better=False),
    "measure of one's own": make_scorer(lambda Y, Z: np.mean(Y[:, 0] == Z[:, 0])),
    "scorer of one's own": lambda clf, X, Y: -np.mean((clf.predict(X) - Y) ** 2),
}
scorings = pytest.mark.parametrize("scoring", SCORINGS.values(), ids=SCORINGS)


@pytest.fixture
def uncertain():
    rng = np.random.RandomState(0)
    P = np.round(rng.uniform(size=(30, 3)), 1)
    return (rng.uniform(size=P.shape) < P).astype(int), P


@pytest.mark.filterwarnings("ignore:.*ill-defined")
@scorings
def test_scorer_is_at_its_best_candidate(uncertain, scoring):
    Y, P = uncertain
    criterion = any_scorer(scoring, Y)
    assert isinstance(criterion, AnyScorer)
    thresholds, score = best_thresholds(Y.astype(bool), P, criterion)
    values = [judge(scoring, Y, threshold <= P) for threshold in np.unique(P)]
    assert score == pytest.approx(max(values))
    assert score == pytest.approx(judge(scoring, Y, thresholds <= P))
    assert min(values) < max(values), "the scores are to differ"


def judge(scoring, Y, predicted):
    """A scorer's verdict of predictions, from outside."""
    predicted = predicted.astype(int)
    scorer = get_scorer(scoring)
    if hasattr(scorer, "_score_func"):
        return scorer._sign * scorer._score_func(Y, predicted, **scorer._kwargs)
    return scorer(mock.Mock(predict=lambda X: predicted), None, Y)


@pytest.mark.filterwarnings("ignore:.*ill-defined")
@scorings
def test_scorer_with_a_threshold_a_label_cannot_be_improved_alone(uncertain, scoring):
    Y, P = uncertain
    criterion = any_scorer(scoring, Y)
    _, of_one = best_thresholds(Y.astype(bool), P, criterion)
    thresholds, score = best_thresholds(Y.astype(bool), P, criterion, per_label=True)
    assert score >= of_one
    for label, p in enumerate(P.T):
        for cut in np.unique(p):
            other = thresholds.copy()
            other[label] = cut
            assert judge(scoring, Y, other <= P) <= score + 1e-12


@strategies
def test_of_equally_good_candidates_that_next_to_a_half(uncertain, per_label):
    Y, P = uncertain
    criterion = any_scorer(lambda clf, X, Y: 0.0, Y)
    thresholds, _ = best_thresholds(Y.astype(bool), P - 0.04, criterion, per_label)
    np.testing.assert_allclose(thresholds, 0.46)


def test_candidates_are_quantiles_of_the_scores():
    P = np.array([[0.1, 0.2], [0.2, 0.3], [0.5, 0.9]])
    Y = np.eye(3, 2)
    # All scores, each once, if there are not too many.
    assert any_scorer("accuracy", Y).candidates(P).tolist() == [0.1, 0.2, 0.3, 0.5, 0.9]
    few = any_scorer("accuracy", Y, n_thresholds=3).candidates(P)
    np.testing.assert_allclose(few, [0.1, 0.3, 0.9])
    assert len(any_scorer("accuracy", Y, n_thresholds=1).candidates(P)) == 1


@pytest.mark.parametrize(
    ("Y", "kind"),
    [
        (np.array([[0, 1], [1, 0]]), np.ndarray),
        (sp.csr_matrix([[0, 1], [1, 0]]), sp.csr_matrix),
        (np.array(["no", "yes"]), np.ndarray),
    ],
    ids=["matrix", "sparse", "classes"],
)
def test_scorer_sees_targets_as_they_were_given(Y, kind):
    seen = []

    def scorer(estimator, X, y):
        seen.extend([y, estimator.predict(X)])
        return 0.0

    criterion = any_scorer(scorer, Y)
    code = LabelCoder().fit_transform(Y)
    code = code.toarray() if sp.issparse(code) else code
    best_thresholds(code.astype(bool), 0.3 + 0.4 * code, criterion)
    dense = Y.toarray() if sp.issparse(Y) else Y
    for targets in seen:
        assert isinstance(targets, kind)
        assert targets.dtype == Y.dtype
    assert np.array_equal(seen[0].toarray() if sp.issparse(Y) else seen[0], dense)


@pytest.mark.parametrize(
    "scoring",
    [
        "roc_auc",
        "neg_log_loss",
        "average_precision",
        lambda clf, X, Y: clf.predict_proba(X).mean(),
    ],
)
def test_scorer_must_judge_predictions(uncertain, scoring):
    Y, P = uncertain
    with pytest.raises(ValueError, match="scoring.*predictions"):
        best_thresholds(Y.astype(bool), P, any_scorer(scoring, Y))


@strategies
def test_scorer_may_be_undefined_somewhere(uncertain, per_label):
    Y, P = uncertain

    def precision(clf, X, Y):
        hits = Y[clf.predict(X) == 1]
        return hits.mean() if 1 < hits.size < 80 else np.nan

    criterion = any_scorer(precision, Y)
    _, score = best_thresholds(Y.astype(bool), P, criterion, per_label)
    assert score > Y.mean()
    with pytest.raises(ValueError, match="scoring.*NaN"):
        best_thresholds(
            Y.astype(bool), P, any_scorer(lambda clf, X, Y: np.nan, Y), per_label
        )


def test_unknown_scorer():
    with pytest.raises(ValueError, match="'f1_sample' is not a valid scoring value"):
        any_scorer("f1_sample", np.eye(2))


@pytest.mark.parametrize("name", ["f1_samples", "f1_macro", "f1_micro"])
def test_of_a_single_label_there_is_one_f1(name):
    assert any_scorer(name, np.array([[0], [1]])) is EXACT["f1_micro"]
    assert any_scorer(name, np.array(["no", "yes"])) is EXACT["f1_micro"]
    assert any_scorer(name, np.eye(2)) is EXACT[name]
    assert any_scorer("hamming", np.array([[0], [1]])) is EXACT["hamming"]
