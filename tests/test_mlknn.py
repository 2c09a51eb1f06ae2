"""MLkNN against scikit-multilearn, and against the paper's equations."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from common import toy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from skmultilearn.adapt import MLkNN as Oracle

from skcgmvae.baselines import MLkNN, mlknn


def random_data(rng, n_samples, n_labels, n_features=3, density=1.0):
    """Continuous features, so that no two distances are the same."""
    X = rng.rand(n_samples, n_features) * (rng.rand(n_samples, n_features) < density)
    return X, (rng.rand(n_samples, n_labels) < rng.rand(n_labels)).astype(int)


def assert_same_as_oracle(X, Y, Z, k, s):
    oracle, clf = Oracle(k=k, s=s).fit(X, Y), MLkNN(k=k, s=s).fit(X, Y)
    expected, found = oracle.predict_proba(Z).toarray(), clf.predict_proba(Z)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # At 0.5 scikit-multilearn predicts what rounding has made of its two products.
    clear = np.abs(expected - 0.5) > 1e-12
    assert (clf.predict(Z) == oracle.predict(Z).toarray())[clear].all()
    assert (clf.predict(Z) == (found >= 0.5)).all()


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 25),
    st.integers(1, 5),
    st.integers(1, 25),
    st.sampled_from([0.1, 0.5, 1.0, 2.7]),
)
def test_same_as_scikit_multilearn(seed, n_samples, n_labels, k, s):
    assume(k <= n_samples)
    rng = np.random.RandomState(seed)
    X, Y = random_data(rng, n_samples, n_labels)
    assert_same_as_oracle(X, Y, rng.rand(6, 3), k, s)


@pytest.mark.parametrize("s", [0.3, 1.0])
@pytest.mark.parametrize("k", [1, 4, 10])
def test_same_as_scikit_multilearn_of_sparse_rows(k, s):
    rng = np.random.RandomState(k)
    X, Y = random_data(rng, 90, 6, n_features=20, density=0.3)
    X = sp.csr_matrix(X)
    assert_same_as_oracle(X[:60], Y[:60], X[60:], k, s)


def test_same_as_scikit_multilearn_on_real_data(real_data):
    X, Y = real_data("yeast")
    X, Y = np.asarray(X, dtype=float), np.asarray(Y, dtype=int)
    assert_same_as_oracle(X[:250], Y[:250], X[250:350], 10, 1.0)


# -- the paper -------------------------------------------------------------------


def by_the_paper(X, Y, Z, k, s):
    """Zhang and Zhou (2007), equations (3) to (6), as they stand there."""
    m, n_labels = Y.shape

    def counts(x, without=None):
        distances = np.linalg.norm(X - x, axis=1)
        if without is not None:
            distances[without] = np.inf
        return Y[np.argsort(distances)[:k]].sum(axis=0)

    c, c_not = np.zeros((n_labels, k + 1)), np.zeros((n_labels, k + 1))
    for i in range(m):
        delta = counts(X[i], without=i)
        for label in range(n_labels):
            (c if Y[i, label] else c_not)[label, delta[label]] += 1
    prior = (s + Y.sum(axis=0)) / (2 * s + m)
    probabilities = np.empty((len(Z), n_labels))
    for row, z in enumerate(Z):
        for label, j in enumerate(counts(z)):
            has = (s + c[label, j]) / (s * (k + 1) + c[label].sum())
            has_not = (s + c_not[label, j]) / (s * (k + 1) + c_not[label].sum())
            has, has_not = prior[label] * has, (1 - prior[label]) * has_not
            probabilities[row, label] = has / (has + has_not)
    return prior, probabilities


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 25),
    st.integers(1, 4),
    st.integers(1, 24),
    st.sampled_from([0.1, 1.0, 2.7]),
    st.sampled_from([np.asarray, sp.csr_matrix]),
)
def test_exclude_self_is_the_paper(seed, n_samples, n_labels, k, s, kind):
    assume(k < n_samples)
    rng = np.random.RandomState(seed)
    X, Y = random_data(rng, n_samples, n_labels)
    Z = rng.rand(5, 3)
    clf = MLkNN(k=k, s=s, exclude_self=True).fit(kind(X), Y)
    prior, expected = by_the_paper(X, Y, Z, k, s)
    np.testing.assert_allclose(clf.prior_, prior, rtol=1e-12)
    np.testing.assert_allclose(clf.predict_proba(kind(Z)), expected, rtol=1e-12)


def test_worked_by_hand():
    # k = 1: the neighbours of the rows are 1, 0, 3, 2, or with exclude_self=False the
    # rows themselves. P(H) = (1 + 3) / (2 + 4).
    X, Y = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([[1], [1], [1], [0]])
    for exclude_self, posterior in [
        # Rows with the label have neighbours without and with it 1 and 2 times, the
        # one without it 0 and 1 times: P(c | H) = 2/5, 3/5, P(c | not H) = 1/3, 2/3.
        # (2/3 * 2/5) / (2/3 * 2/5 + 1/3 * 1/3), (2/3 * 3/5) / (2/3 * 3/5 + 1/3 * 2/3)
        (True, [12 / 17, 9 / 14]),
        # 0 and 3 times, 1 and 0 times: P(c | H) = 1/5, 4/5, P(c | not H) = 2/3, 1/3.
        # (2/3 * 1/5) / (2/3 * 1/5 + 1/3 * 2/3), (2/3 * 4/5) / (2/3 * 4/5 + 1/3 * 1/3)
        (False, [3 / 8, 24 / 29]),
    ]:
        clf = MLkNN(k=1, exclude_self=exclude_self).fit(X, Y)
        np.testing.assert_allclose(clf.prior_, [2 / 3])
        np.testing.assert_allclose(clf.posterior_, [posterior])
        # New rows have all of the training rows for neighbours, whatever exclude_self.
        found = clf.predict_proba([[0.1], [11.2]]).ravel()
        np.testing.assert_allclose(found, posterior[::-1])


def test_ties_do_not_let_a_row_count_itself():
    index = np.array([[0, 4, 2], [4, 1, 3], [0, 1, 3], [0, 1, 3]])
    left = mlknn._without_itself(index, np.arange(4))
    assert left.tolist() == [[4, 2], [4, 3], [0, 1], [0, 1]]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_rows_that_are_all_the_same(kind):
    # A label each: a row that counted itself would have a neighbour with its label.
    X, Y = kind(np.ones((8, 2))), np.eye(8, dtype=int)
    clf = MLkNN(k=2, exclude_self=True).fit(X, Y)
    positive, overall = clf._count(X)
    assert positive.tolist() == [[1, 0, 0]] * 8
    assert overall.sum(axis=1).tolist() == [8] * 8
    assert (overall @ np.arange(3)).sum() == 8 * 2  # two neighbours a row


def test_one_row():
    # With the label: P(H) = 2/3, P(1 | H) = 2/3, and P(1 | not H) = 1/2, of no rows.
    # Without: P(H) = 1/3, P(0 | H) = 1/2, of no rows, and P(0 | not H) = 2/3.
    clf = MLkNN(k=1).fit([[1.0, 2]], [[1, 0]])
    has, has_not = (2 / 3 * 2 / 3, 1 / 3 * 1 / 2), (1 / 3 * 1 / 2, 2 / 3 * 2 / 3)
    expected = [one / (one + other) for one, other in (has, has_not)]
    np.testing.assert_allclose(clf.predict_proba([[5.0, 0]]), [expected])


# -- parameters ------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"k": 3}, {"s": 5.0}, {"exclude_self": True}, {"metric": "chebyshev"}],
    ids=str,
)
def test_parameters_change_the_probabilities(change):
    X, Y = toy()
    X = X / X.std(axis=0)
    usual, changed = MLkNN().fit(X, Y), MLkNN(**change).fit(X, Y)
    assert not np.allclose(usual.predict_proba(X), changed.predict_proba(X), atol=1e-3)
    assert clone(changed).fit(X, Y).predict_proba(X).tolist() == (
        changed.predict_proba(X).tolist()
    )


def test_the_search_is_told_how():
    X, Y = toy()
    options = {"metric": "manhattan", "algorithm": "ball_tree", "n_jobs": 2}
    search = MLkNN(k=7, **options).fit(X, Y).neighbors_
    assert search.get_params().items() >= {**options, "n_neighbors": 7}.items()


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"algorithm": "brute"}, {"algorithm": "ball_tree"}, {"n_jobs": 2}],
    ids=str,
)
def test_how_neighbours_are_found_changes_nothing(options, exclude_self):
    X, Y = toy()
    usual = MLkNN(exclude_self=exclude_self).fit(X, Y)
    other = clone(usual).set_params(**options).fit(X, Y)
    assert other.predict_proba(X).tolist() == usual.predict_proba(X).tolist()


def test_metric_may_be_a_function():
    X, Y = toy(60)
    found = MLkNN(metric=lambda a, b: np.abs(a - b).max()).fit(X, Y).predict_proba(X)
    named = MLkNN(metric="chebyshev").fit(X, Y).predict_proba(X)
    assert found.tolist() == named.tolist()


@pytest.mark.parametrize("exclude_self", [False, True])
# Megabytes for some rows at a time: distances to all rows are held for sparse ones.
@pytest.mark.parametrize(
    ("kind", "memory"), [(np.asarray, 0.001), (sp.csr_matrix, 0.02)]
)
def test_rows_are_worked_on_in_chunks(kind, memory, exclude_self):
    X, Y = toy()
    X = kind(X * (X > np.median(X, axis=0)))
    clf = MLkNN(exclude_self=exclude_self)
    whole = clone(clf).fit(X, Y).predict_proba(X)
    with sklearn.config_context(working_memory=memory):
        assert len(list(clf.fit(X, Y)._neighbours(X))) > 10
        assert clf.predict_proba(X).tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("exclude_self", "message"),
    [
        (False, r"k=7 neighbours.*n_samples = 6 training rows has 6, itself included"),
        (True, r"k=6 neighbours.*n_samples = 6 training rows has 5 besides itself"),
    ],
)
def test_more_neighbours_than_rows(exclude_self, message):
    X, Y = toy(6)
    bound = 6 - exclude_self
    assert MLkNN(k=bound, exclude_self=exclude_self).fit(X, Y).predict(X).shape == (
        6,
        5,
    )
    with pytest.raises(ValueError, match=message):
        MLkNN(k=bound + 1, exclude_self=exclude_self).fit(X, Y)


@pytest.mark.parametrize(
    "parameters",
    [
        {"k": 0},
        {"k": 2.5},
        {"s": 0},
        {"s": -1.0},
        {"s": np.inf},
        {"exclude_self": "yes"},
        {"metric": 3},
        {"algorithm": "fast"},
        {"n_jobs": "all"},
    ],
    ids=str,
)
def test_parameters_out_of_range(parameters):
    X, Y = toy(20)
    (name,) = parameters
    with pytest.raises(ValueError, match=f"'{name}' parameter of MLkNN must be"):
        MLkNN(**parameters).fit(X, Y)


# -- kinds of input --------------------------------------------------------------


def test_same_from_any_kind_of_matrix():
    rng = np.random.RandomState(0)
    X, Y = random_data(rng, 50, 4, n_features=6, density=0.5)
    expected = MLkNN(k=4).fit(X, Y).predict_proba(X)
    for kind in (sp.csr_matrix, sp.csc_array, sp.coo_array, pd.DataFrame):
        for kind_of_labels in (np.asarray, sp.csr_array, sp.csc_matrix):
            clf = MLkNN(k=4).fit(kind(X), kind_of_labels(Y))
            np.testing.assert_allclose(clf.predict_proba(kind(X)), expected)
            assert sp.issparse(clf.predict(kind(X))) == sp.issparse(kind_of_labels(Y))


def test_names_of_a_data_frame():
    X, Y = toy(30, n_labels=2)
    X = pd.DataFrame(X).add_prefix("x")
    clf = MLkNN().fit(X, pd.DataFrame(Y, columns=["sea", "sun"]))
    assert clf.label_names_in_.tolist() == ["sea", "sun"]
    assert clf.feature_names_in_.tolist() == X.columns.tolist()


def test_classes_of_a_vector():
    rng = np.random.RandomState(0)
    y = np.repeat(["a", "b", "c"], 20)
    X = rng.randn(60, 2) + 9 * (y == "a")[:, None] - 9 * (y == "b")[:, None]
    clf = MLkNN(k=5).fit(X, y)
    assert clf.predict(X).tolist() == y.tolist()
    one_each = MLkNN(k=5).fit(X, y[:, None] == ["a", "b", "c"]).predict_proba(X)
    np.testing.assert_allclose(
        clf.predict_proba(X), one_each / one_each.sum(axis=1, keepdims=True)
    )
    # Two classes are one label.
    clf.fit(X, y == "a")
    assert clf.posterior_.shape == (1, 6)
    assert clf.predict(X).tolist() == (y == "a").tolist()


def test_fitted_again_and_pickled():
    X, Y = toy()
    clf = MLkNN().fit(X, pd.DataFrame(Y).add_prefix("label"))
    clf.fit(X[:50, :3], Y[:50, :2])
    assert not hasattr(clf, "label_names_in_")
    again = pickle.loads(pickle.dumps(clf))
    found = again.predict_proba(X[:, :3])
    assert found.tolist() == (
        MLkNN().fit(X[:50, :3], Y[:50, :2]).predict_proba(X[:, :3]).tolist()
    )


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_small_floats_do_not_lose_their_distances(size):
    """The squares of these are out of the range of float32."""
    X, Y = np.array([[1.0], [2.0], [8.0], [9.0]]), np.array([[1], [1], [0], [0]])
    expected = MLkNN(k=2).fit(X, Y).predict_proba(X)
    X = (size * X).astype(np.float32)
    for kind in (np.asarray, sp.csr_matrix):
        clf = MLkNN(k=2, algorithm="brute").fit(kind(X), Y)
        np.testing.assert_allclose(clf.predict_proba(kind(X)), expected)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_distances_that_would_overflow_are_refused(kind):
    X, Y = np.array([[0.0], [1.0], [2.0]]), np.array([[1], [0], [0]])
    message = "X holds values up to 1e.200, too large for distances"
    with pytest.raises(ValueError, match=message):
        MLkNN(k=1).fit(kind(1e200 * (X > 1)), Y)
    with pytest.raises(ValueError, match=message):
        MLkNN(k=1).fit(X, Y).predict_proba(kind(-1e200 * (X > 1)))


@pytest.mark.parametrize("algorithm", ["auto", "ball_tree", "kd_tree", "brute"])
def test_sparse_rows_are_looked_up_among_dense_ones(algorithm):
    X, Y = np.array([[0.0], [1.0], [5.0], [6.0]]), np.array([[1], [1], [0], [0]])
    clf = MLkNN(k=2, algorithm=algorithm).fit(X, Y)
    np.testing.assert_array_equal(
        clf.predict_proba(sp.csr_matrix(X)), clf.predict_proba(X)
    )
