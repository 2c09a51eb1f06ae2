"""Fuzzy ART against complement coding written out."""

from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skcgmvae.baselines import _art
from skcgmvae.baselines._art import ArtLayer, Boxes, StoredColumns, sums_of_minima

# Many zeros, so that sparse rows have values that meet none.
unit = st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1, width=32))


up_to_seven = st.integers(0, 7)


def matrices(n_columns, rows=up_to_seven):
    return rows.flatmap(lambda n: hnp.arrays(float, (n, n_columns), elements=unit))


def coded(low, high):
    """Complement coding: I = (low, 1 - high)."""
    return np.concatenate([low, 1 - high], axis=-1)


# -- sums of minima --------------------------------------------------------------


@settings(deadline=None)
@given(
    st.integers(0, 6).flatmap(
        lambda d: st.tuples(matrices(d), matrices(d, st.integers(1, 7)))
    ),
    st.booleans(),
    st.sampled_from([np.float64, np.float32]),
    st.fixed_dictionaries(
        {
            "SPARSE_PAIRS": st.sampled_from([1, 5, 2**18]),
            "BLOCK_BYTES": st.sampled_from([1, 40, 2**18]),
            "DENSE_FROM": st.sampled_from([1, 50]),  # 1: never
        }
    ),
)
def test_sums_of_minima(pair, binary, dtype, limits):
    X, W = (matrix.astype(dtype) for matrix in pair)
    X = np.round(X) if binary else X
    expected = [[sum(map(min, x, w)) for w in W] for x in X]
    expected = np.array(expected, dtype=float).reshape(len(X), len(W))
    # Whatever the size of the pieces that are worked on.
    with mock.patch.multiple(_art, **limits):
        dense = sums_of_minima(X, W)
        sparse = sums_of_minima(sp.csr_matrix(X), sp.csc_matrix(W))
    for found in (dense, sparse):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("limit", [3, 40])
def test_sums_of_minima_of_many_rows_in_small_pieces(limit):
    rng = np.random.RandomState(0)
    X, W = (rng.rand(n, 8) * (rng.rand(n, 8) < 0.4) for n in (60, 20))
    expected = np.minimum(X[:, None], W).sum(axis=2)
    with mock.patch.multiple(_art, SPARSE_PAIRS=limit, BLOCK_BYTES=limit):
        dense = sums_of_minima(X, W)
        sparse = sums_of_minima(sp.csr_matrix(X), sp.csc_matrix(W))
    np.testing.assert_allclose(dense, expected, atol=1e-12)
    np.testing.assert_allclose(sparse, expected, atol=1e-12)


# -- boxes that are learnt -------------------------------------------------------


class WrittenOut:
    """Fuzzy ART with one vector w = (u, 1 - v) a box; its activities and matches."""

    def __init__(self, vigilance):
        self.vigilance, self.w = vigilance, []

    def compare(self, code):
        """Choice |I ^ w| / |w| of each box, match |I ^ w| / |I|."""
        meet = np.array([np.minimum(code, w).sum() for w in self.w])
        return meet / np.array([w.sum() for w in self.w]), meet / code.sum()

    def grow(self, box, code):
        self.w[box] = np.minimum(self.w[box], code)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(1, 25),
    st.sampled_from([0.2, 0.5, 0.7, 0.9]),
    st.sampled_from(["points", "boxes"]),
    st.sampled_from([(np.float64, 1e-9), (np.float32, 1e-5)]),
    st.booleans(),
)
def test_layer_learns_as_written_out(
    seed, n_features, n_rows, vigilance, kind, precision, whatever
):
    rng, (dtype, tolerance) = np.random.RandomState(seed), precision
    layer = ArtLayer(n_features, n_features, vigilance, dtype)
    written = WrittenOut(vigilance)
    for row in rng.rand(n_rows, n_features).astype(dtype):
        high = row
        if kind == "boxes":
            high = row + (1 - row) * rng.rand(n_features).astype(dtype) / 3
        code = coded(row, high).astype(float)
        box = layer.winner(row, high, whatever_the_match=whatever)
        if written.w:
            choice, match = written.compare(code)
            certain = match > vigilance + tolerance
            possible = match > vigilance - tolerance
            if whatever:
                certain = possible = np.ones(len(match), dtype=bool)
            if box is None:
                assert not certain.any()
            else:
                assert possible[box]
                # Where a row is in several boxes any of them may win.
                assert choice[box] >= choice[certain].max(initial=0) - tolerance
        else:
            assert box is None
        if box is None:
            assert layer.found(row, high) == len(written.w)
            written.w.append(code)
        else:
            layer.grow(box, row, high)
            written.grow(box, code)
        assert layer.n_boxes == len(written.w)
        np.testing.assert_allclose(
            coded(layer.low, layer.high), written.w, atol=tolerance
        )


def test_the_first_of_equals_wins_and_the_smaller_of_two_boxes_around_a_row():
    layer = ArtLayer(1, 1, 0.1, float)
    points = [np.array([value]) for value in (0.25, 0.75, 0.25)]
    for point in points:
        layer.found(point, point)
    assert layer.winner(points[0], points[0]) == 0
    middle = np.array([0.5])
    assert layer.winner(middle, middle) == 0
    layer.grow(0, points[1], points[1])  # [.25, .75] holds them all
    assert layer.winner(points[0], points[0]) == 2


@pytest.mark.parametrize("whatever", [False, True])
def test_no_box_no_winner(whatever):
    row = np.zeros(2)
    layer = ArtLayer(2, 2, 0.5, float)
    assert layer.winner(row, row, whatever_the_match=whatever) is None


def test_a_box_must_have_more_in_common_than_vigilance():
    # |I ^ w| = .5 + .25 of one feature, exactly.
    low, row = np.array([0.5]), np.array([0.75])
    for vigilance, winner in [(0.5, 0), (0.75, None), (0.8, None)]:
        layer = ArtLayer(1, 1, vigilance, float)
        layer.found(low, low)
        assert layer.winner(row, row) == winner
        assert layer.winner(row, row, whatever_the_match=True) == 0


def test_a_layer_does_not_hold_on_to_the_rows():
    X = np.array([[0.25, 0.5], [0.5, 0.25]])
    layer = ArtLayer(2, 2, 0.1, float)
    layer.found(X[0], X[0])
    layer.grow(0, X[1], X[1])
    assert X.tolist() == [[0.25, 0.5], [0.5, 0.25]]
    X[:] = 0
    assert layer.low.tolist() == [[0.25, 0.25]]
    assert layer.high.tolist() == [[0.5, 0.5]]


def test_columns_that_are_not_stored_count_as_zeros():
    X = np.array([[0.5, 0, 0.25, 0], [0.25, 0, 0.5, 0], [0.75, 0, 0.75, 0]])
    whole, part = ArtLayer(4, 4, 0.5, float), ArtLayer(4, 2, 0.5, float)
    for layer, rows in ((whole, X), (part, X[:, ::2])):
        layer.found(rows[0], rows[0])
        layer.grow(0, rows[1], rows[1])
        layer.found(rows[2], rows[2])
    row = np.array([0.5, 0, 1, 0])
    assert whole._meet(row, row).tolist() == part._meet(row[::2], row[::2]).tolist()
    assert part.high.tolist() == whole.high[:, ::2].tolist()


def test_sums_over_many_columns_are_not_rounded():
    # Multiples of 1/256 that add up to less than 2**24 of them: each sum is exact in
    # float32, twice as much is not.
    X = np.random.RandomState(0).randint(128, 257, (5, 80_000)) / 256
    meets = []
    for dtype in (np.float64, np.float32):
        rows = X.astype(dtype)
        layer = ArtLayer(X.shape[1], X.shape[1], 0.5, dtype)
        for row in rows[:3]:
            layer.found(row, row)
        layer.grow(0, rows[3], rows[3])
        meets.append(layer._meet(rows[4], rows[4]).tolist())
    assert meets[0] == meets[1]


# -- boxes that have been learnt -------------------------------------------------


@settings(deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda d: st.tuples(
            matrices(d, st.integers(1, 6)), matrices(d, st.just(4)), matrices(d)
        )
    ),
    st.booleans(),
)
def test_activation(corners_and_rows, sparse):
    corners, others, X = corners_and_rows
    # Points and boxes in turn.
    others = np.resize(others, corners.shape)
    others[::2] = corners[::2]
    low, high = np.minimum(corners, others), np.maximum(corners, others)
    meet = np.minimum(coded(X, X)[:, None], coded(low, high)).sum(axis=2)
    size = coded(low, high).sum(axis=1) + _art.ALPHA
    if sparse:
        low, high, X = sp.csr_matrix(low), sp.csr_matrix(high), sp.csr_matrix(X)
    boxes = Boxes(low, high)
    found = boxes.activation(X)
    assert found.shape == (X.shape[0], boxes.n_boxes)
    assert ((found >= 0) & (found <= 1)).all()
    # Where a box is nearly all of the cube, rounding shows beside its small size.
    assert (np.abs(found - np.clip(meet / size, 0, 1)) <= 3e-14 / size).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nothing_activates_a_box_that_is_all_of_the_cube(dtype):
    X = np.random.RandomState(0).rand(50, 20).astype(dtype)
    for kind in (np.asarray, sp.csr_matrix):
        boxes = Boxes(kind(np.zeros((1, 20), dtype)), kind(np.ones((1, 20), dtype)))
        assert (boxes.activation(kind(X)) == 0).all()


def test_activation_of_single_precision_is_at_most_one():
    rng = np.random.RandomState(0)
    X = rng.rand(50, 300).astype(np.float32)
    activation = Boxes(X, X).activation(X)
    assert activation.max() <= 1
    np.testing.assert_allclose(np.diag(activation), 1, rtol=1e-6)


# -- columns that are stored -----------------------------------------------------


@settings(deadline=None)
@given(matrices(5, st.integers(1, 7)), st.sampled_from([np.asarray, sp.csr_matrix]))
def test_stored_columns_there_and_back(matrix, kind):
    X = kind(matrix)
    columns = StoredColumns(X)
    dense = np.array([columns.dense(X, row) for row in range(len(matrix))])
    back = columns.spread(dense)
    assert sp.issparse(back) == sp.issparse(X)
    assert (back.toarray() if sp.issparse(back) else back).tolist() == matrix.tolist()
    if sp.issparse(X):
        assert dense.shape[1] == (matrix != 0).any(axis=0).sum()
        assert back.nnz == X.nnz


def test_stored_columns_are_those_of_the_rows_that_matter():
    X = sp.csr_matrix([[0, 0.5, 0, 0], [0.25, 0, 0, 0], [0, 0.75, 0, 1]])
    columns = StoredColumns(X, [0, 2])
    assert columns.dense(X, 0).tolist() == [0.5, 0]
    assert columns.dense(X, 2).tolist() == [0.75, 1]
    spread = columns.spread(np.array([[0.5, 0.25]]))
    assert spread.toarray().tolist() == [[0, 0.5, 0, 0.25]]
    layer = columns.layer(0.5)
    assert (layer.n_features, layer.vigilance) == (4, 0.5)
    assert layer.low.shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_keep_the_precision_of_the_rows(dtype):
    X = np.ones((2, 3), dtype)
    for rows in (X, sp.csr_matrix(X)):
        columns = StoredColumns(rows)
        layer = columns.layer(0.5)
        layer.found(*[columns.dense(rows, 0)] * 2)
        assert layer.low.dtype == layer.high.dtype == dtype
        assert columns.spread(layer.low).dtype == dtype
