"""MLARAM and HARAM against scikit-multilearn, and by hand."""

import pickle
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from common import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from skmultilearn import adapt

from skcgmvae.baselines import HARAM, MLARAM
from skcgmvae.baselines._art import ALPHA, UnitRange

# scikit-multilearn asks NumPy for a module by its former name.
pytestmark = pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")


def stretched(X, rows=slice(None)):
    """Columns from exactly 0 to exactly 1 in some rows: then it is all the same whether
    they are scaled one by one or together, as scikit-multilearn does."""
    low, high = X[rows].min(axis=0), X[rows].max(axis=0)
    return np.clip((X - low) / (high - low), 0, 1)


def random_data(rng, n_samples, n_features, n_labels):
    X = stretched(rng.rand(n_samples, n_features))
    return X, (rng.rand(n_samples, n_labels) < 0.4).astype(int)


def counts(n_samples=200, n_features=30, n_labels=4, random_state=0):
    """Features as of a bag of words, and labels that go with them."""
    rng = np.random.RandomState(random_state)
    Y = (rng.rand(n_samples, n_labels) < 0.4).astype(int)
    rates = 0.1 + Y @ (rng.rand(n_labels, n_features) < 0.3)
    return rng.poisson(rates).astype(float), Y


def assert_same_result(one, other, X, X_of_other=None, atol=1e-12):
    X_of_other = X if X_of_other is None else X_of_other
    assert one.neuron_counts_.tolist() == other.neuron_counts_.tolist()
    assert (one.neuron_labels_ != other.neuron_labels_).nnz == 0
    np.testing.assert_allclose(
        one.predict_proba(X), other.predict_proba(X_of_other), rtol=1e-9, atol=atol
    )


# -- scikit-multilearn -----------------------------------------------------------


def assert_same_as_oracle(X, Y, Z, vigilance, threshold):
    # It counts in the rows of its Y.
    oracle = adapt.MLARAM(vigilance, threshold).fit(X, Y.copy())
    clf = MLARAM(vigilance, threshold).fit(X, Y)
    assert len(clf.neuron_counts_) == len(oracle.neurons)
    found, expected = clf.predict_proba(Z), oracle.predict_proba(Z)
    # Its scores are ours times the size of the voting neurons. It leaves a row without
    # any label at 0, where ours is the smallest probability.
    sums = expected.sum(axis=1, keepdims=True)
    ranking = np.divide(expected, sums, out=np.zeros_like(expected), where=sums > 0)
    found_sums = np.where(sums > 0, found.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(found / found_sums, ranking, atol=1e-9)
    # Cuts are the same unless two drops are: which is larger is rounding then.
    drops = np.sort(-np.diff(-np.sort(-ranking, axis=1), axis=1), axis=1)
    second = drops[:, -2] if drops.shape[1] > 1 else 0
    clear = drops[:, -1] - second > 1e-6
    assert (clf.predict(Z) == oracle.predict(Z))[clear].all()
    return clear.mean()


# With boxes as small as these no two of a label set overlap: a row inside of both would
# be a tie, which scikit-multilearn and MLARAM break differently. So would be thresholds
# of 0 and 1 for a row inside of two boxes of different label sets.
@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 25),
    st.integers(1, 5),
    st.integers(2, 4),
    st.sampled_from([0.6, 0.8, 0.9, 0.95]),
    st.sampled_from([0.001, 0.02, 0.2, 0.9]),
)
def test_same_as_scikit_multilearn(
    seed, n_samples, n_features, n_labels, vigilance, threshold
):
    rng = np.random.RandomState(seed)
    X, Y = random_data(rng, n_samples, n_features, n_labels)
    assert_same_as_oracle(X, Y, rng.rand(6, n_features), vigilance, threshold)


@pytest.mark.parametrize("vigilance", [0.7, 0.9])
@pytest.mark.parametrize("threshold", [0.01, 0.3])
def test_same_as_scikit_multilearn_on_more_rows(vigilance, threshold):
    X, Y = toy()
    X = stretched(X, slice(150))
    clear = assert_same_as_oracle(X[:150], Y[:150], X[150:], vigilance, threshold)
    assert clear > 0.8


def test_same_as_scikit_multilearn_on_real_data(real_data):
    X, Y = real_data("yeast")
    X, Y = np.asarray(X[:400], dtype=float), np.asarray(Y[:400], dtype=int)
    X = stretched(X, slice(300))
    clear = assert_same_as_oracle(X[:300], Y[:300], X[300:], 0.9, 0.02)
    assert clear > 0.5


# -- by hand ---------------------------------------------------------------------

LINE = np.array([[0.0], [0.05], [0.2], [1.0]])
LABELS_ON_LINE = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_worked_by_hand():
    """Four rows on a line; a box from u to v is w = (u, 1 - v), |I| is 1."""
    clf = MLARAM(vigilance=0.9, threshold=0.2).fit(LINE, LABELS_ON_LINE)
    # .05 has |I ^ w| = 0 + .95 > .9 in common with the box [0, 0] of its own label
    # set, which becomes [0, .05]. The others are the first of their label sets.
    assert clf.neuron_counts_.tolist() == [2, 1, 1]
    assert clf.neuron_labels_.toarray().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    # At .15, I = (.15, .85), |I ^ w| / |w| is
    #   [0, .05]   w = (0, .95)    (0 + .85) / .95   = .8947   two rows
    #   [.2, .2]   w = (.2, .8)    (.15 + .8) / 1    = .95     one row
    #   [1, 1]     w = (1, 0)      (.15 + 0) / 1     = .15     one row
    # Those vote that reach .95 - .2 * (.95 - .15) * .95 = .798: the first two.
    first, second = 2 * 0.85 / 0.95, 0.95
    shares = np.array([[first, second, 0]]) / (first + second)  # .653, .347, 0
    np.testing.assert_allclose(clf.predict_proba([[0.15]]), shares, atol=1e-9)
    # The largest drop is from .347 to 0.
    assert clf.predict([[0.15]]).tolist() == [[1, 1, 0]]
    # It is the threshold of the moment that counts: .95 - .05 * .8 * .95 = .912.
    clf.set_params(threshold=0.05)
    np.testing.assert_allclose(clf.predict_proba([[0.15]]), [[0, 1, 0]], atol=1e-9)
    assert clf.predict([[0.15]]).tolist() == [[0, 1, 0]]
    # At -3 as at 0 and at 7 as at 1, the ends of the training rows.
    assert clf.predict([[-3], [7]]).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_probabilities_are_shares_of_rows():
    # Two rows of one point and one of another place, far from the query of the third.
    X = np.array([[0.0], [0.0], [0.0], [1.0]])
    Y = np.array([[1, 0], [1, 0], [1, 1], [0, 1]])
    clf = MLARAM().fit(X, Y)
    assert clf.neuron_counts_.tolist() == [2, 1, 1]
    np.testing.assert_allclose(clf.predict_proba([[0.0]]), [[1, 1 / 3]], atol=1e-9)


def test_row_that_meets_no_box():
    # Both boxes are the point 0, and the whole of the cube away from 1: every training
    # row has the same say.
    clf = MLARAM().fit(np.zeros((4, 1)), [[1, 0], [1, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose(clf.predict_proba([[1.0]]), [[0.75, 0.25]])


@pytest.mark.parametrize("estimator", [MLARAM(), HARAM()], ids=str)
def test_one_row(estimator):
    clf = estimator.fit([[3.0, 1]], [[1, 0]])
    assert clf.predict([[3.0, 1], [7, 0]]).tolist() == [[1, 0], [1, 0]]


def test_rows_without_labels():
    Y = np.vstack([LABELS_ON_LINE[:3], [[0, 0, 0]]])
    clf = MLARAM().fit(LINE, Y)
    assert clf.neuron_labels_.toarray()[-1].tolist() == [0, 0, 0]
    assert clf.predict(LINE).tolist() == Y.tolist()
    assert clf.predict_proba([[1.0]]).max() < 1e-9


def test_single_label_and_vectors_are_decided_at_one_half():
    y = LABELS_ON_LINE[:, 0]
    clf = MLARAM().fit(LINE, y[:, None])
    assert clf.predict(LINE).tolist() == y[:, None].tolist()
    clf.fit(LINE, np.where(y, "near", "far"))
    assert clf.predict(LINE).tolist() == ["near", "near", "far", "far"]
    assert clf.predict_proba(LINE).shape == (4, 2)
    classes = np.array(["a", "b", "c"])[LABELS_ON_LINE.argmax(axis=1)]
    clf.fit(LINE, classes)
    assert clf.predict(LINE).tolist() == classes.tolist()
    np.testing.assert_allclose(clf.predict_proba(LINE).sum(axis=1), 1)
    # A share of exactly one half is enough.
    half = MLARAM().fit([[0.0], [0.0], [1.0]], [[1], [0], [0]])
    assert half.predict([[0.0]]).tolist() == [[1]]


# -- neurons ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("parameters", [{}, {"shuffle": True}, {"max_neurons": 6}])
def test_neurons_have_the_rows_that_they_won(kind, parameters):
    X, Y = counts()
    clf = MLARAM(vigilance=0.8, random_state=0, **parameters).fit(kind(X), Y)
    assert clf.neuron_labels_.shape == (len(clf.neuron_counts_), 4)
    assert (clf.neuron_counts_ > 0).all()
    assert clf.neuron_counts_.sum() + clf.n_rows_left_out_ == len(X)
    # Each row has the label set of its neuron.
    label_sets, rows = np.unique(Y, axis=0, return_counts=True)
    labels = clf.neuron_labels_.toarray()
    won = [
        clf.neuron_counts_[(labels == label_set).all(axis=1)].sum()
        for label_set in label_sets
    ]
    if "max_neurons" in parameters:
        assert set(zip(won, rows, strict=True)) - {(0, n) for n in rows} == {
            (n, n) for n in won if n
        }
    else:
        assert won == rows.tolist()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("copies", [1, 3], ids=["distinct", "repeated"])
def test_vigilance_1_makes_each_row_a_neuron(kind, dtype, copies):
    rng = np.random.RandomState(0)
    for n_features in (4, 5, 17, 34):
        X = np.tile(rng.rand(6, n_features).astype(dtype), (copies, 1))
        clf = MLARAM(vigilance=1).fit(kind(X), np.ones((len(X), 2), int))
        assert clf.neuron_counts_.tolist() == [1] * len(X)


def test_vigilance_has_fewer_neurons_the_lower_it_is():
    X, Y = toy()
    sizes = [
        len(MLARAM(vigilance=vigilance).fit(X, Y).neuron_counts_)
        for vigilance in (1.0, 0.9, 0.7, 1e-3)
    ]
    assert sizes[0] == len(X)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == len(np.unique(Y, axis=0))


# -- parameters ------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"vigilance": 0.7},
        {"threshold": 0.5},
        {"max_neurons": 10},
        {"shuffle": True, "random_state": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("estimator", [MLARAM(0.8), HARAM(0.8)], ids=str)
def test_parameters_change_the_probabilities(estimator, change):
    X, Y = toy()
    X, Y, Z = X[:150], Y[:150], X[150:]
    usual = clone(estimator).fit(X, Y)
    changed = clone(estimator).set_params(**change).fit(X, Y)
    assert not np.allclose(usual.predict_proba(Z), changed.predict_proba(Z), atol=1e-3)
    assert (usual.predict(Z) != changed.predict(Z)).any()
    again = clone(changed).fit(X, Y)
    assert again.predict_proba(Z).tolist() == changed.predict_proba(Z).tolist()


def test_threshold_is_read_in_predicting():
    X, Y = toy()
    clf, other = MLARAM(threshold=0.5).fit(X, Y), MLARAM().fit(X, Y)
    expected = clf.predict_proba(X).tolist()
    assert other.set_params(threshold=0.5).predict_proba(X).tolist() == expected


def test_order_of_the_rows():
    X, Y = toy()
    given_order, also = (
        MLARAM(0.7, random_state=seed).fit(X, Y).predict_proba(X) for seed in (0, 1)
    )
    assert given_order.tolist() == also.tolist()
    shuffled, another = (
        MLARAM(0.7, shuffle=True, random_state=seed).fit(X, Y) for seed in (0, 1)
    )
    assert not np.allclose(shuffled.predict_proba(X), another.predict_proba(X))
    order = np.arange(len(X))
    np.random.RandomState(0).shuffle(order)
    in_that_order = MLARAM(0.7).fit(X[order], Y[order])
    assert_same_result(shuffled, in_that_order, X)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_bound_on_the_number_of_neurons(kind):
    X, Y = counts()
    X = kind(X)
    for bound in (1, 5, 16, 50):
        # With this vigilance the first rows are the neurons; the others join them, but
        # for those whose label set is new.
        clf = MLARAM(vigilance=1, max_neurons=bound).fit(X, Y)
        assert len(clf.neuron_counts_) == bound
        known = (Y[:, None] == Y[:bound]).all(axis=2).any(axis=1)
        assert clf.n_rows_left_out_ == (~known).sum()
        assert clf.neuron_counts_.sum() == known.sum()
        labels = clf.neuron_labels_.toarray()
        assert labels.tolist() == Y[:bound].tolist()
    unbounded = MLARAM(vigilance=0.95).fit(X, Y)
    assert unbounded.n_rows_left_out_ == 0
    enough = MLARAM(vigilance=0.95, max_neurons=len(Y)).fit(X, Y)
    assert_same_result(enough, unbounded, X)


def test_row_joins_the_best_box_once_there_are_as_many_as_may_be():
    # No two share a box of this vigilance until they must.
    X, Y = np.array([[0.0], [1.0], [0.3], [0.9]]), np.ones((4, 1), dtype=int)
    clf = MLARAM(vigilance=0.95, max_neurons=2).fit(X, Y)
    assert clf.neuron_counts_.tolist() == [2, 2]
    # A box of [0, .3] and one of [.9, 1].
    assert clf._boxes.activation(np.array([[0.3], [0.9]])).round(9).tolist() == [
        [1, round(0.3 / 0.9, 9)],
        [round(0.1 / 0.7, 9), 1],
    ]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("estimator", [MLARAM(0.8), HARAM(0.8, search=0.5)], ids=str)
def test_predicting_in_parts_changes_nothing(estimator, kind):
    X, Y = counts()
    X = kind(X)
    clf = clone(estimator).fit(X, Y)
    expected = clf.predict_proba(X)

    def check(found):
        np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-9)

    check(clf.predict_proba(X[:1]))
    check(clf.set_params(n_jobs=3).predict_proba(X))
    with sklearn.config_context(working_memory=0.05):
        check(clf.predict_proba(X))
        check(clf.set_params(n_jobs=None).predict_proba(X))


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (MLARAM(vigilance=0), "vigilance"),
        (MLARAM(vigilance=1.1), "vigilance"),
        (MLARAM(vigilance=np.nan), "vigilance"),
        (MLARAM(threshold=-0.1), "threshold"),
        (MLARAM(threshold=1.1), "threshold"),
        (MLARAM(max_neurons=0), "max_neurons"),
        (MLARAM(max_neurons=2.5), "max_neurons"),
        (MLARAM(shuffle="yes"), "shuffle"),
        (MLARAM(n_jobs="all"), "n_jobs"),
        (MLARAM(random_state="dice"), "random_state"),
        (HARAM(cluster_vigilance=0), "cluster_vigilance"),
        (HARAM(cluster_vigilance=1.1), "cluster_vigilance"),
        (HARAM(search=0), "search"),
        (HARAM(search=1.1), "search"),
    ],
    ids=str,
)
def test_parameters_out_of_range(estimator, name):
    with pytest.raises(
        ValueError, match=f"'{name}' parameter of {type(estimator).__name__} must"
    ):
        estimator.fit(LINE, LABELS_ON_LINE)


# -- scaling and kinds of X ------------------------------------------------------


def test_affine_change_of_columns_changes_nothing():
    X, Y = toy()
    rng = np.random.RandomState(0)
    changed = X * 10.0 ** rng.uniform(-6, 6, X.shape[1]) + rng.uniform(-9, 9, 12)
    usual = MLARAM(0.8).fit(X[:150], Y[:150])
    other = MLARAM(0.8).fit(changed[:150], Y[:150])
    # What the offset takes from the digits of the smallest columns shows.
    assert_same_result(usual, other, X[150:], changed[150:], atol=1e-6)


def test_values_outside_of_the_training_range_are_clipped():
    X, Y = toy()
    clf = MLARAM(0.8).fit(X[:100], Y[:100])
    low, high = X[:100].min(axis=0), X[:100].max(axis=0)
    beyond = low + (X[100:] - low) * 5 - (high - low)
    assert (beyond < low).any()
    assert (beyond > high).any()
    assert clf.predict_proba(beyond).tolist() == (
        clf.predict_proba(np.clip(beyond, low, high)).tolist()
    )


def test_unit_range():
    X = np.array([[1.0, -2, 5, 0], [3, 2, 5, 0], [2, 0, 5, 4]])
    scaler = UnitRange().fit(X)
    assert scaler.transform(X).tolist() == [
        [0, 0, 0, 0],
        [1, 1, 0, 0],
        [0.5, 0.5, 0, 1],
    ]
    X = np.delete(X, 1, axis=1)
    scaled = UnitRange().fit(X).transform(X)
    sparse = UnitRange().fit(sp.csr_matrix(X)).transform(sp.csr_matrix(X))
    assert sparse.toarray().tolist() == scaled.tolist()
    assert sparse.nnz == np.count_nonzero(scaled)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("estimator", [MLARAM(0.8), HARAM(0.8, search=0.5)], ids=str)
@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array, sp.csc_matrix])
def test_sparse_rows_are_learnt_as_dense_ones(estimator, kind, dtype):
    X, Y = counts()
    X = X.astype(dtype)
    X[:, 0] += 2  # no zeros: shifted
    X[:, 1] = 0
    dense = clone(estimator).fit(X[:150], Y[:150])
    sparse = clone(estimator).fit(kind(X[:150]), kind(Y[:150]))
    assert len(dense.neuron_counts_) < 140
    assert_same_result(dense, sparse, X[150:], kind(X[150:]), atol=1e-6)
    assert sparse.predict(kind(X[150:])).toarray().tolist() == (
        dense.predict(X[150:]).tolist()
    )


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([0.6, 0.9]),
    st.sampled_from([0.3, 0.8]),
)
def test_sparse_rows_of_any_shape(
    seed, n_samples, n_features, n_labels, vigilance, full
):
    rng = np.random.RandomState(seed)
    X = rng.rand(n_samples + 3, n_features) * (rng.rand(n_features) < full)
    X *= rng.rand(*X.shape) < full
    Y = (rng.rand(n_samples, n_labels) < 0.4).astype(int)
    X, Z = X[:n_samples], X[n_samples:]
    dense = MLARAM(vigilance).fit(X, Y)
    sparse = MLARAM(vigilance).fit(sp.csr_matrix(X), Y)
    assert_same_result(dense, sparse, Z, sp.csr_matrix(Z), atol=1e-6)


def test_single_precision_is_close_to_double():
    X, Y = toy()
    double = MLARAM(0.8).fit(X[:150], Y[:150])
    single = MLARAM(0.8).fit(X[:150].astype(np.float32), Y[:150])
    assert_same_result(double, single, X[150:], X[150:].astype(np.float32), atol=1e-4)
    assert single._boxes._corners.dtype == np.float32


@pytest.mark.parametrize("estimator", [MLARAM(), HARAM()], ids=str)
def test_negative_values_in_sparse_rows(estimator):
    zeros = sp.csr_matrix([[1.0, 0, 0], [0, 0, -2.5], [0, 1, 0]])
    no_zeros = sp.csr_matrix([[1.0, 0, -1], [0, 0, -2.5], [0, 1, -2]])
    for X in (zeros, no_zeros):
        with pytest.raises(ValueError, match="sparse X.*negative.*column 2.*-2.5"):
            estimator.fit(X, np.eye(3, dtype=int))


def test_sparse_rows_of_the_caller_are_left_alone():
    # The first column holds no zeros: its smallest value becomes one. New rows below
    # that are clipped.
    X, Z = sp.csr_matrix([[1.0, 0, 3], [2, 5, 1]]), sp.csr_matrix([[0.5, 0, 3]])
    before = X.toarray(), Z.toarray()
    MLARAM().fit(X, [[1, 0], [0, 1]]).predict(Z)
    assert (X.nnz, Z.nnz) == (5, 2)
    assert (X.toarray() == before[0]).all()
    assert (Z.toarray() == before[1]).all()


def test_sparse_rows_that_are_read_only():
    X, Y = counts()
    expected = MLARAM().fit(sp.csr_matrix(X), Y).predict_proba(sp.csr_matrix(X))
    # As joblib gives them to its processes.
    X = sp.csr_matrix(X)
    for part in (X.data, X.indices, X.indptr):
        part.setflags(write=False)
    assert MLARAM().fit(X, Y).predict_proba(X).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("dtype", "most"), [(np.float64, 1.7e308), (np.float32, 3.4e38)]
)
def test_range_that_is_longer_than_a_number_may_be(dtype, most):
    X = np.array([[-most], [0], [most]], dtype)
    assert MLARAM().fit(X, np.eye(3, dtype=int)).predict(X).tolist() == (
        np.eye(3, dtype=int).tolist()
    )


@pytest.mark.parametrize("estimator", [MLARAM(0.8), HARAM(0.8, search=0.5)], ids=str)
@pytest.mark.parametrize(
    "kinds", [(np.asarray, sp.csr_matrix), (sp.csr_matrix, np.asarray)]
)
def test_rows_of_another_kind_than_in_training(estimator, kinds):
    learnt, new = kinds
    X, Y = counts()
    clf = clone(estimator).fit(learnt(X[:150]), Y[:150])
    expected = clf.predict_proba(learnt(X[150:]))
    np.testing.assert_allclose(clf.predict_proba(new(X[150:])), expected, atol=1e-6)


# -- what rounding must not decide -----------------------------------------------


def test_neurons_at_one_place_all_vote():
    # Each point has both labels, by rows of its own; the query is one of the points.
    rng = np.random.RandomState(0)
    for n_points in range(1, 9):
        for n_features in (5, 11, 22, 26):
            points = rng.rand(n_points, n_features)
            Y = np.repeat(np.eye(2, dtype=int), n_points, axis=0)
            clf = MLARAM(vigilance=1.0, threshold=0.0).fit(np.tile(points, (2, 1)), Y)
            np.testing.assert_allclose(clf.predict_proba(points), 0.5, atol=1e-6)


# A row of equal values is as far from a point as from one with its values permuted.
PERMUTED = np.array(list(permutations([0.0, 0.3, 0.12, 1.0])))
EQUAL_VALUES = np.tile(np.linspace(0, 1, 11)[:, None], 4)


def test_neurons_equally_far_all_vote():
    clf = MLARAM(vigilance=0.999).fit(PERMUTED, np.eye(24, dtype=int))
    found = clf.predict_proba(EQUAL_VALUES)
    np.testing.assert_allclose(found, np.full((11, 24), 1 / 24), atol=1e-6)


def test_labels_that_are_level_are_predicted_together():
    clf = MLARAM(vigilance=0.999).fit(PERMUTED, np.eye(24, dtype=int))
    assert clf.predict(EQUAL_VALUES).all()


def around_everything(dtype):
    """Rows of one label set, whose single neuron is soon nearly all of the cube."""
    X = np.random.RandomState(0).rand(300, 20).astype(dtype)
    X[0] = 0.5
    Y = np.tile([1, 0], (300, 1))
    Y[0] = [0, 1]
    return X, Y


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_known_label_sets_are_never_left_out(dtype):
    X, Y = around_everything(dtype)
    clf = MLARAM(max_neurons=2).fit(X, Y)
    assert clf.neuron_counts_.tolist() == [1, 299]
    assert clf.n_rows_left_out_ == 0


def test_box_around_everything_in_either_precision():
    double, single = (
        MLARAM(max_neurons=2).fit(X, Y).predict(X)
        for X, Y in map(around_everything, (np.float64, np.float32))
    )
    assert (double == single).mean() > 0.9


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_haram_with_a_neuron_that_is_all_of_the_cube():
    HARAM(max_neurons=2).fit([[0.5], [0], [1]], [[0, 1], [1, 0], [1, 0]])


# -- HARAM -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("cluster_vigilance", [0.3, 0.7, 1.0])
def test_haram_that_asks_all_clusters_is_mlaram(kind, cluster_vigilance):
    X, Y = counts()
    X = kind(X)
    flat = MLARAM(0.8).fit(X[:150], Y[:150])
    deep = HARAM(0.8, cluster_vigilance=cluster_vigilance, search=1)
    deep.fit(X[:150], Y[:150])
    assert_same_result(deep, flat, X[150:])
    assert deep.predict(X[150:]).tolist() == flat.predict(X[150:]).tolist()


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_haram_clusters_neurons_by_fuzzy_art(kind):
    X, Y = toy()
    X = stretched(X * (X > np.median(X, axis=0)))
    found = []
    for vigilance in (0.4, 0.7, 0.9):
        clf = HARAM(0.8, cluster_vigilance=vigilance).fit(kind(X), Y)
        corners = np.empty((2, len(clf.neuron_counts_), 12))
        for boxes, members in zip(clf._boxes, clf._members, strict=True):
            low, high = corners_of(boxes)
            corners[:, members] = low, high
        w, clusters = [], []
        for code in np.hstack([corners[0], 1 - corners[1]]):
            meet = np.array([np.minimum(code, one).sum() for one in w])
            # Of clusters around the same neuron the smallest wins.
            choice = meet / (np.array([one.sum() for one in w]) + ALPHA)
            choice[meet <= vigilance * code.sum()] = 0
            if choice.any():
                clusters.append(int(choice.argmax()))
                w[clusters[-1]] = np.minimum(w[clusters[-1]], code)
            else:
                clusters.append(len(w))
                w.append(code)
        assert clf.neuron_clusters_.tolist() == clusters
        low, high = corners_of(clf._clusters)
        np.testing.assert_allclose(np.hstack([low, 1 - high]), w, atol=1e-12)
        # Each cluster has neurons, and each neuron one cluster.
        assert np.bincount(clf.neuron_clusters_).min() > 0
        assert sorted(np.concatenate(clf._members)) == list(range(len(clusters)))
        found.append(len(w))
    assert 1 < found[0] < found[1] < found[2]


def corners_of(boxes):
    """Lower and upper corners, dense: of points only one is kept."""
    corners = boxes._corners
    corners = corners.toarray() if sp.issparse(corners) else corners
    low = corners[: boxes.n_boxes]
    high = low.copy()
    high[boxes._grown] = corners[boxes.n_boxes :]
    return low, high


@pytest.mark.parametrize(
    "change", [{"cluster_vigilance": 0.9}, {"search": 0.5}], ids=str
)
def test_haram_parameters_change_the_probabilities(change):
    X, Y = toy()
    X, Y, Z = X[:150], Y[:150], X[150:]
    usual = HARAM().fit(X, Y)
    changed = HARAM(**change).fit(X, Y)
    assert not np.allclose(usual.predict_proba(Z), changed.predict_proba(Z), atol=1e-3)
    everywhere = MLARAM().fit(X, Y).predict_proba(Z)
    assert not np.allclose(changed.predict_proba(Z), everywhere, atol=1e-3)
    if "search" in change:  # is read in predicting
        usual.set_params(**change)
        assert usual.predict_proba(Z).tolist() == changed.predict_proba(Z).tolist()


def test_haram_asks_the_neurons_of_the_most_active_clusters():
    # Three clusters along a line, a neuron in each of the first two, two in the third.
    X = np.array([[0.0], [0.5], [0.9], [1.0]])
    clf = HARAM(1.0, 1.0, cluster_vigilance=0.85).fit(X, np.eye(4, dtype=int))
    assert clf.neuron_clusters_.tolist() == [0, 1, 2, 2]
    for search, n_clusters in [(1e-3, 1), (0.4, 1), (0.6, 2), (0.84, 3), (1.0, 3)]:
        clf.set_params(search=search)
        asked = clf._activation(np.array([[0.1], [0.75], [0.97]]))
        expected = [[[0], [0, 1], [0, 1, 2, 3]], [[2, 3], [1, 2, 3], [0, 1, 2, 3]]]
        expected.append(expected[1])
        found = [sorted(row.indices) for row in asked]
        assert found == [one[n_clusters - 1] for one in expected]
    # One cluster at least; of those that are level, the oldest.
    clf.set_params(search=1e-3, threshold=0.0)
    assert clf.predict(X).tolist() == np.eye(4, dtype=int).tolist()
    assert clf._activation(np.array([[0.25]])).indices.tolist() == [0]


# -- life of an estimator --------------------------------------------------------


@pytest.mark.parametrize("estimator", [MLARAM(0.8), HARAM(0.8)], ids=str)
def test_fitted_again_and_pickled(estimator):
    X, Y = toy()
    frame = pd.DataFrame(X).add_prefix("x")
    clf = clone(estimator).fit(frame, pd.DataFrame(Y, columns=list("abcde")))
    assert clf.label_names_in_.tolist() == list("abcde")
    assert clf.feature_names_in_.tolist() == frame.columns.tolist()
    clf.fit(X[:50, :3], Y[:50, :2])
    assert not hasattr(clf, "label_names_in_")
    again = pickle.loads(pickle.dumps(clf))
    fresh = clone(estimator).fit(X[:50, :3], Y[:50, :2])
    for other in (clf, again):
        assert_same_result(other, fresh, X[:, :3])
        assert other.predict(X[:, :3]).tolist() == fresh.predict(X[:, :3]).tolist()


@pytest.mark.parametrize("dtype", [bool, np.int8, float])
def test_predict_returns_what_the_labels_were(dtype):
    Y = LABELS_ON_LINE.astype(dtype)
    dense = MLARAM().fit(LINE, Y).predict(LINE)
    sparse = MLARAM().fit(LINE, sp.csc_matrix(Y)).predict(LINE)
    assert sparse.format == "csr"
    for found in (dense, sparse.toarray()):
        assert found.dtype == dtype
        assert found.tolist() == Y.tolist()
