"""Feature scaling: the same for dense and sparse, and safe for any column."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm, rankdata

from skcgmvae import _scaling
from skcgmvae._scaling import FeatureScaler, NoScaler


def fitted(X, rows=None):
    return FeatureScaler().fit(X, np.arange(X.shape[0]) if rows is None else rows)


def scaled(X):
    return fitted(X).transform(X)


def scaled_sparse(X, scaler=None):
    """What the network makes of a sparse matrix: its rows without the offset."""
    scaler = fitted(X) if scaler is None else scaler
    out = scaler.transform(X)
    assert sp.issparse(out)
    return out.toarray() - (0 if scaler.offset is None else scaler.offset)


# Counts, indicators, measures of either sign and constants, with zeros among them.
value = st.one_of(
    st.just(0.0),
    st.sampled_from([1.0, 2.0, 3.0]),
    st.floats(-100, 100, allow_subnormal=False).filter(
        lambda v: v == 0 or abs(v) > 1e-3
    ),
)
matrices = hnp.arrays(
    float, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=value
)


@settings(deadline=None)
@given(matrices)
def test_dense_and_sparse_are_scaled_alike(X):
    dense, sparse = fitted(X), fitted(sp.csr_matrix(X))
    np.testing.assert_allclose(sparse.center_, dense.center_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sparse.factor_, dense.factor_, rtol=1e-6)
    assert (sparse.cost_ is None) == (dense.cost_ is None)
    if dense.cost_ is not None:
        np.testing.assert_array_equal(sparse.cost_, dense.cost_)
    # Float32 loses the digits that the centre takes away after it and not before.
    largest = np.abs(X).max(axis=0) * dense.factor_
    found, expected = scaled_sparse(sp.csr_matrix(X)), dense.transform(X)
    assert (np.abs(found - expected) <= 1e-6 * (1 + largest)).all()


@settings(deadline=None)
@given(matrices, st.sampled_from([1e-300, 1e-30, 1.0, 1e30, 1e297]))
def test_scaled_training_values_are_bounded_whatever_the_unit(X, unit):
    found = scaled(X * unit)
    assert np.abs(found).max() <= 10 * (1 + 1e-6)
    np.testing.assert_allclose(found, scaled(X), rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(matrices)
def test_zeros_stay_zeros_in_columns_that_are_mostly_zero(X):
    found = scaled(X)
    mostly_zero = (X != 0).mean(axis=0) <= 0.5
    assert (found[:, mostly_zero][X[:, mostly_zero] == 0] == 0).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_full_columns_are_standardised(sparse):
    rng = np.random.RandomState(0)
    X = rng.randn(500, 3) * [1e-3, 1.0, 1e4] + [0.005, -5.0, 1e5]
    found = scaled_sparse(sp.csr_matrix(X)) if sparse else scaled(X)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-4)


def sparse_columns(sizes, seed=0):
    """Columns that are zero in four rows of five, of non-zeros around ``sizes``."""
    rng = np.random.RandomState(seed)
    shape = 500, len(sizes)
    return np.where(rng.rand(*shape) < 0.2, rng.uniform(0.8, 1.2, shape), 0.0) * sizes


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("unit", [1.0, 1e-200, 1e200])
def test_mostly_zero_columns_keep_their_proportions(sparse, unit):
    X = sparse_columns([1.0, 2.0, 5.0, 8.0])
    unscaled = X
    X = X * unit
    found = scaled_sparse(sp.csr_matrix(X)) if sparse else scaled(X)
    stored = unscaled != 0
    ratio = found[stored] / unscaled[stored]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert np.mean(found[stored] ** 2) == pytest.approx(1, rel=1e-5)


def test_rows_of_unit_length_stay_of_one_length():
    X = sparse_columns(np.linspace(1, 4, 30))
    X[:, 0] = 0
    X = X[X.any(axis=1)]
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    lengths = np.linalg.norm(scaled(X), axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)


@pytest.mark.parametrize("sparse", [False, True])
def test_columns_of_another_kind_have_unit_root_mean_square_by_themselves(sparse):
    """Money among indicators: neither drowns the other."""
    X = sparse_columns([1.0, 1.0, 1e4, 1e-3, 1.0])
    X = np.column_stack([X, np.arange(500.0)])  # a full column has no say
    found = scaled_sparse(sp.csr_matrix(X)) if sparse else scaled(X)
    for column in found.T[2:4]:
        assert np.mean(column[column != 0] ** 2) == pytest.approx(1, rel=1e-5)
    alike = found[:, [0, 1, 4]]
    assert np.mean(alike[alike != 0] ** 2) == pytest.approx(1, rel=1e-5)


def test_the_kind_is_that_of_most_values_not_of_most_columns():
    rng = np.random.RandomState(0)
    often = (rng.rand(1000, 2) < 0.4) * [1.0, 2.0]
    seldom = (rng.rand(1000, 5) < 0.01) * [100.0, 200.0, 300.0, 400.0, 500.0]
    found = scaled(np.column_stack([often, seldom]))
    # The frequent ones are in proportion; the others each by themselves.
    assert found[:, 1].max() == pytest.approx(2 * found[:, 0].max())
    np.testing.assert_allclose(found[:, 2:].max(axis=0), 1, rtol=1e-5)


def indicators(shares, n_rows=1000):
    """Columns of 0 and 1 in which so many of the rows, exactly, are 1."""
    rng = np.random.RandomState(0)
    columns = [np.arange(n_rows) < round(share * n_rows) for share in shares]
    return np.column_stack([rng.permutation(c) for c in columns]).astype(float)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("dtype", [float, np.float32, np.int8, bool])
def test_a_weight_costs_as_much_as_its_indicator_varies(form, dtype):
    one = indicators([0.4, 0.1, 0.1, 0.001])
    cost = fitted(form(one.astype(dtype))).cost_
    np.testing.assert_allclose(cost / cost[0], one.std(axis=0) / one[:, 0].std())
    assert one.sum(axis=0) @ cost == pytest.approx(one.sum())


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_counts_cost_what_indicators_do_and_other_columns_the_same(form):
    rng = np.random.RandomState(1)
    one = indicators([0.4, 0.1, 0.02])
    counts = one * (1 + rng.poisson(0.5, size=one.shape)) * [1, 1, 1000]
    frequencies = one * rng.uniform(0.5, 1, size=one.shape)
    X = np.hstack([frequencies, counts, rng.randn(1000, 2), np.arange(1000)[:, None]])
    cost = fitted(form(X)).cost_
    np.testing.assert_allclose(cost[3:6], fitted(form(one)).cost_)
    assert (np.delete(cost, [3, 4, 5]) == 1).all()


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_without_counts_all_weights_cost_the_same(form):
    rng = np.random.RandomState(0)
    one = indicators([0.2, 0.6])
    signs = one[:, :1] * rng.choice([-1, 1], size=(1000, 1))
    halves = one[:, :1] * rng.choice([1, 2.5], size=(1000, 1))
    constant = np.ones((1000, 1)) * [1, 0]
    large = one[:, :1] * rng.uniform(1e9, 1e10, size=(1000, 1)).astype(np.float32)
    assert (large == np.rint(large)).all()
    X = np.hstack([signs, halves, one[:, :1] / 3, large, one[:, 1:], constant])
    assert fitted(form(X)).cost_ is None
    assert fitted(form(np.hstack([X, one[:, :1]]))).cost_ is not None


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("height", [1.0, 1e-6, -1e6])
def test_rare_indicator_is_no_spike(sparse, height):
    X = np.zeros((10_000, 1))
    X[7] = height
    found = scaled_sparse(sp.csr_matrix(X)) if sparse else scaled(X)
    assert found[7, 0] == pytest.approx(np.sign(height), rel=1e-5)
    assert (np.delete(found, 7) == 0).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_rare_zero_and_outlier_come_no_further_than_ten(sparse):
    X = np.column_stack([np.ones(10_000), np.linspace(1, 2, 10_000)])
    X[7] = [0.0, 1e9]
    found = scaled_sparse(sp.csr_matrix(X)) if sparse else scaled(X)
    np.testing.assert_allclose(np.abs(found[7]), 10, rtol=1e-3)
    assert np.abs(found).max() <= 10 * (1 + 1e-3)


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.7, 1e300, 1e-300])
def test_constant_column_is_ignored_even_when_it_changes_later(constant):
    X = np.column_stack([np.full(9, constant), np.arange(9.0)])
    later = np.array([[5.0, 0.0], [-1e300, 0.0], [constant, 0.0]])
    dense, sparse = fitted(X), fitted(sp.csr_matrix(X))
    assert (dense.transform(later)[:, 0] == 0).all()
    assert (scaled_sparse(sp.csr_matrix(later), sparse)[:, 0] == 0).all()
    assert (dense.transform(later)[:, 1] != 0).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_values_of_any_size_stay_finite(sparse):
    column = np.array([0.5, 1.0, 2.0, 3.0, -1.0])
    units = [1e-300, 1e-150, 1.0, 1e150, 1e299]
    X = np.column_stack([column * unit for unit in units])
    scaler = fitted(sp.csr_matrix(X) if sparse else X)
    found = scaled_sparse(sp.csr_matrix(X), scaler) if sparse else scaler.transform(X)
    # Each column says the same, whatever its unit.
    np.testing.assert_allclose(found, found[:, [2]].repeat(5, axis=1), rtol=1e-5)
    assert found.std(axis=0) == pytest.approx(1, rel=1e-5)


def test_later_values_of_any_size_are_cut_off_without_a_warning():
    scaler = fitted(np.array([[1e-300], [2e-300], [4e-300]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scaler.transform(np.array([[1e300], [-1e300], [2e-300]]))
    assert found[0, 0] >= 1e6
    assert found[1, 0] <= -1e6
    assert abs(found[2, 0]) < 1


def test_later_outliers_are_finite_in_float32_squares():
    scaler = fitted(np.arange(10.0)[:, None])
    later = np.array([[1e200], [-1e200]])
    for found in (
        scaler.transform(later),
        scaler.transform(sp.csr_matrix(later)).toarray(),
    ):
        assert np.isfinite((found * 100) ** 2).all()
        assert (np.sign(found) == np.sign(later)).all()


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("sparse", [False, True])
def test_dtypes(dtype, sparse):
    rng = np.random.RandomState(0)
    X = (rng.rand(60, 4) < [0.1, 0.4, 0.6, 0.9]) * rng.randint(1, 5, (60, 4))
    X = X.astype(dtype)
    expected = scaled(X.astype(float))
    found = scaled_sparse(sp.csr_matrix(X)) if sparse else scaled(X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize("sparse", [False, True])
def test_only_the_rows_given_are_learnt_from(sparse):
    rng = np.random.RandomState(0)
    X = rng.rand(50, 3) * (rng.rand(50, 3) < [0.3, 0.7, 1.0])
    rows = np.array([3, 44, 8, 20, 21, 22, 30])
    spoilt = X.copy()
    spoilt[np.setdiff1d(np.arange(50), rows)] = 1e9
    expected = fitted(X[rows])
    scaler = fitted(sp.csr_matrix(spoilt) if sparse else spoilt, rows)
    np.testing.assert_allclose(scaler.center_, expected.center_)
    np.testing.assert_allclose(scaler.factor_, expected.factor_)


@pytest.mark.parametrize("scaler", [FeatureScaler, NoScaler])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_rows_are_picked_in_the_order_given(scaler, kind):
    X = kind(np.arange(30.0).reshape(10, 3))
    scaler = scaler().fit(X, np.arange(10))
    rows = np.array([4, 0, 9])
    found, everything = scaler.transform(X, rows), scaler.transform(X)
    assert abs(found - everything[rows]).max() == 0
    assert abs(found[0] - found[1]).max() > 0


@pytest.mark.parametrize(
    ("kind", "limit", "size"),
    [
        (np.asarray, "CHUNK_ROWS", 7),
        (np.asarray, "CHUNK_MEMORY", 7 * 24 / 2**20),
        (sp.csr_matrix, "CHUNK_VALUES", 7),
    ],
)
def test_many_rows_are_scaled_in_parts_as_in_one(monkeypatch, kind, limit, size):
    rng = np.random.RandomState(0)
    X = kind(rng.rand(100, 3) * (rng.rand(100, 3) < [0.3, 0.7, 1.0]))
    rows = np.flatnonzero(rng.rand(100) < 0.8)
    expected = fitted(X, rows)
    whole = expected.transform(X)
    monkeypatch.setattr(f"skcgmvae._scaling.{limit}", size)
    found = fitted(X, rows)
    np.testing.assert_allclose(found.center_, expected.center_)
    np.testing.assert_allclose(found.factor_, expected.factor_)
    assert abs(found.transform(X) - whole).max() < 1e-5


def test_input_is_left_alone():
    X = np.arange(12.0).reshape(4, 3)
    for matrix in (X.copy(), sp.csr_matrix(X)):
        fitted(matrix).transform(matrix)
        same = matrix.toarray() if sp.issparse(matrix) else matrix
        assert (same == X).all()


def test_explicit_zeros_and_unsorted_columns_change_nothing():
    X = sp.csr_matrix(
        (np.array([3.0, 0.0, 1.0, 2.0, 0.0]), [2, 0, 1, 0, 2], [0, 3, 4, 5]), (3, 3)
    )
    np.testing.assert_allclose(scaled_sparse(X), scaled(X.toarray()), atol=1e-6)


def test_sparse_column_far_from_zero_is_scaled_like_a_dense_one():
    """A time stamp beside word counts: seconds since 1970, within one hour."""
    rng = np.random.RandomState(0)
    X = 1.6e9 + 1000 * rng.randn(50, 1)
    np.testing.assert_allclose(scaled_sparse(sp.csr_matrix(X)), scaled(X), atol=0.2)


# -- no scaling ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_no_scaler_passes_the_numbers_on(kind):
    X = np.array([[0.5, 0.0], [-3.0, 2.0]])
    out = NoScaler().fit(kind(X), np.arange(2)).transform(kind(X))
    assert out.dtype == np.float32
    assert ((out.toarray() if sp.issparse(out) else out) == X).all()
    assert NoScaler().offset is None


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("extreme", [1e7, -1e7])
def test_no_scaler_refuses_what_float32_cannot_train_on(kind, extreme):
    X = kind(np.array([[0.0, 1.0], [extreme, 2.0]]))
    with pytest.raises(ValueError, match=r"X holds .*1e\+07.*scale_features=False"):
        NoScaler().transform(X)


# -- ranks ----------------------------------------------------------------------


def ranked(X, rows=None):
    rows = np.arange(X.shape[0]) if rows is None else rows
    scaler = FeatureScaler().fit(X, rows, by_rank=True)
    return scaler, scaler.transform(X)


def changes(X):
    """Columns that are mostly non-zero and not constant."""
    return ((X != 0).mean(axis=0) > 0.5) & (np.ptp(X, axis=0) > 0)


@settings(deadline=None)
@given(matrices)
def test_by_rank_full_columns_have_normal_scores_and_others_stay(X):
    X = np.round(X, 6)  # what differs in the last digit is equal once it is scaled
    scaler, found = ranked(X)
    np.testing.assert_array_equal(np.flatnonzero(changes(X)), scaler.ranked_)
    expected = scaled(X)
    for column in np.flatnonzero(changes(X)):
        share = (rankdata(X[:, column]) - 0.5) / len(X)
        expected[:, column] = norm.ppf(share)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(matrices)
def test_dense_and_sparse_have_the_same_ranks(X):
    dense, expected = ranked(X)
    csr = sp.csr_matrix(X)
    sparse, _ = ranked(csr)
    found = scaled_sparse(csr, sparse)
    largest = np.abs(X).max(axis=0) * dense.factor_
    assert (np.abs(found - expected) <= 1e-5 * (1 + largest)).all()


def test_ranks_are_a_line_between_those_that_were_seen_and_level_beyond():
    X = np.array([[1.0], [2.0], [2.0], [5.0]])
    scaler, seen = ranked(X)
    np.testing.assert_allclose(seen[:, 0], norm.ppf([1 / 8, 1 / 2, 1 / 2, 7 / 8]))
    new = np.array([[-1e9], [1.5], [3.5], [np.nextafter(2, 3)], [1e300]])
    found = scaler.transform(new)[:, 0]
    low, middle, high = seen[[0, 1, 3], 0]
    expected = [low, (low + middle) / 2, (middle + high) / 2, middle, high]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_what_overflows_has_the_last_rank(form):
    scaler, seen = ranked(np.array([[-1e-30], [1e-30], [2e-30]]))
    new = form(np.array([[-1e300], [1e300]]))
    found = scaler.transform(new)
    if sp.issparse(found):
        found = scaled_sparse(new, scaler)
    np.testing.assert_allclose(found, seen[[0, 2]], rtol=1e-6)


def test_ranks_do_not_depend_on_the_dtype_of_ties():
    """0.1 in float32 lies above 0.1; a step there would lift it over all that tie."""
    X = np.random.RandomState(0).choice([0.1, 0.2, 0.3], size=(200, 2))
    scaler, expected = ranked(X)
    found = scaler.transform(X.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_many_values_have_few_knots_and_nearly_their_ranks(monkeypatch):
    X = np.random.RandomState(0).lognormal(sigma=2, size=(5000, 2))
    scaler, found = ranked(X)
    assert scaler.knots_.shape == scaler.scores_.shape
    assert 150 < scaler.knots_.shape[1] <= 256
    expected = norm.ppf((rankdata(X, axis=0) - 0.5) / len(X))
    assert np.abs(found - expected).max() < 0.03
    monkeypatch.setattr(_scaling, "RANKED_ROWS", 1000)
    few, found = ranked(X)
    assert np.abs(few.scores_).max() < np.abs(scaler.scores_).max()
    assert 0 < np.abs(found - expected).mean() < 0.1


def test_of_many_rows_ranks_are_of_all_kinds_whatever_their_order(monkeypatch):
    monkeypatch.setattr(_scaling, "RANKED_ROWS", 100)
    X = np.arange(1.0, 201.0).reshape(2, 100).T.reshape(-1, 1)  # low, high, low, ...
    scaler, found = ranked(X)
    assert scaler.knots_.shape == (1, 100)
    assert 30 < (scaler.knots_ > 0).sum() < 70
    expected = norm.ppf((rankdata(X) - 0.5) / len(X))[:, None]
    assert np.abs(found - expected)[np.abs(expected) < 1.5].max() < 0.5


def test_ranks_are_of_the_training_rows():
    X = np.arange(1.0, 11.0)[:, None]
    scaler, found = ranked(X, rows=np.arange(4))
    assert scaler.knots_.shape == (1, 4)
    np.testing.assert_allclose(found[4:], norm.ppf(7 / 8), rtol=1e-6)
