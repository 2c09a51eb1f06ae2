"""Fuzzy ART: boxes in the unit cube that grow around the rows they have won.

A prototype is a box between a lower corner u and an upper corner v. In complement
coding it is the vector w = (u, 1 - v), and a row x, or another box, is (x, 1 - x).
All that is ever asked is the size of the meet, the sum of the smaller components of
two such vectors::

    |I ^ w| = n_features + sum(min(low, u)) + sum(min(high, v)) - sum(high) - sum(v)

where the corners of I are low and high, the same for a row. So complements are never
stored, and columns in which everything is zero do not matter: sparse rows stay sparse.
"""

import numpy as np
from scipy.sparse import csr_matrix, issparse, vstack
from sklearn.utils.sparsefuncs import min_max_axis

# Of boxes that a row is inside of, the smallest is the most active; zero is not divided
# by.
ALPHA = 1e-12

# Bytes of boxes compared at a time: what stays in a processor's own cache.
BLOCK_BYTES = 2**18

# A matrix is multiplied as a dense one if one in so many of its entries is stored.
DENSE_FROM = 50

# Pairs of stored values compared at a time, among sparse rows.
SPARSE_PAIRS = 2**21


class UnitRange:
    """Bring each column to [0, 1] by its range in the training rows.

    Sparse rows stay sparse: a column that holds zeros may not be shifted.
    """

    def fit(self, X):
        """Learn the ranges."""
        self.low_, high = min_max_axis(X, 0) if issparse(X) else (X.min(0), X.max(0))
        if issparse(X) and (self.low_ < 0).any():
            column = int(np.flatnonzero(self.low_ < 0)[0])
            raise ValueError(
                f"a sparse X must not hold negative values; column {column} goes down "
                f"to {self.low_[column]:.3g}. Make X dense, or non-negative, as "
                "sklearn.preprocessing.MinMaxScaler does."
            )
        half = self._halves(high, self.low_)
        self.half_length_ = np.where(half > 0, half, 1)
        return self

    def transform(self, X):
        """Rows in [0, 1]; what is outside of the range is clipped."""
        if not issparse(X):
            return np.clip(self._halves(X, self.low_) / self.half_length_, 0, 1)
        X, columns = X.copy(), X.indices  # X may be the caller's
        X.data = self._halves(X.data, self.low_[columns]) / self.half_length_[columns]
        np.clip(X.data, 0, 1, out=X.data)
        X.eliminate_zeros()
        return X

    @staticmethod
    def _halves(high, low):
        """Half of the difference, which the largest of numbers would overflow."""
        return high / 2 - low / 2


class StoredColumns:
    """The columns that rows store, and rows as dense vectors of these alone.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Of an ndarray, all columns are stored.
    rows : ndarray of int, optional
        The rows that matter; by default all.
    """

    def __init__(self, X, rows=slice(None)):
        self.n_features, self._dtype = X.shape[1], X.dtype
        self._index = np.unique(X[rows].indices) if issparse(X) else None

    def layer(self, vigilance):
        """An :class:`ArtLayer` for such rows."""
        width = self.n_features if self._index is None else len(self._index)
        return ArtLayer(self.n_features, width, vigilance, self._dtype)

    def dense(self, X, row):
        """A row of ``X``."""
        if self._index is None:
            return X[row]
        part = slice(X.indptr[row], X.indptr[row + 1])
        vector = np.zeros(len(self._index), X.dtype)
        vector[np.searchsorted(self._index, X.indices[part])] = X.data[part]
        return vector

    def spread(self, stored):
        """Rows of the stored columns as rows of all, sparse if ``X`` was."""
        if self._index is None:
            return stored
        compact = csr_matrix(stored)
        return csr_matrix(
            (compact.data, self._index[compact.indices], compact.indptr),
            shape=(len(stored), self.n_features),
        )


class ArtLayer:
    """The boxes of one fuzzy ART module, in fast learning.

    Parameters
    ----------
    n_features : int
        Dimensions of the unit cube.
    columns : int
        How many of them are stored; everything is zero in the others.
    vigilance : float
        A box may grow around what it has more than this share of in common.
    dtype : dtype
        float32 or float64.
    """

    def __init__(self, n_features, columns, vigilance, dtype):
        self.n_features = n_features
        self.vigilance = vigilance
        self._low = _Stack((columns,), dtype)
        # The corners of a point are one: upper corners are kept of what has grown.
        self._high = _Stack((columns,), dtype)
        self._grown = _Stack((), int)
        self._slots = {}
        self._ones = np.ones(columns, dtype)
        self._sum_high = _Stack((), float)
        self._size = _Stack((), float)

    @property
    def n_boxes(self):
        return len(self._low.rows)

    @property
    def low(self):
        """Lower corners, (n_boxes, columns)."""
        return self._low.rows

    @property
    def high(self):
        """Upper corners, (n_boxes, columns)."""
        high = self._low.rows.copy()
        high[self._grown.rows] = self._high.rows
        return high

    def winner(self, low, high, *, whatever_the_match=False):
        """The most active of the boxes that match, None if none does."""
        if not self.n_boxes:
            return None
        meet = self._meet(low, high)
        if whatever_the_match:
            return int((meet / self._size.rows).argmax())
        size = self.n_features if low is high else self._size_of(low, high)
        least = self.vigilance * size
        # Nothing has more than all in common, but for rounding.
        if self.vigilance == 1 or meet[meet.argmax()] <= least:
            return None
        return int(np.where(meet > least, meet / self._size.rows, -1).argmax())

    def _meet(self, low, high):
        of_low = _sums_of_minima_with(low, self._low.rows, self._ones)
        if low is high:
            of_high = of_low.copy()
        else:
            of_high = _sums_of_minima_with(high, self._low.rows, self._ones)
        grown = self._grown.rows
        if len(grown):
            of_high[grown] = _sums_of_minima_with(high, self._high.rows, self._ones)
        # In float64: small differences of sums that are large with many columns.
        meet = np.add(of_low, of_high, dtype=float)
        meet += self.n_features - np.add.reduce(high, dtype=float)
        meet -= self._sum_high.rows
        return meet

    def found(self, low, high):
        """A new box; return its number."""
        box = self.n_boxes
        self._low.append(low)
        self._sum_high.append(high.sum(dtype=float))
        self._size.append(self.n_features)
        if low is not high:
            self._let_grow(box, high)
            self._measure(box, high)
        return box

    def grow(self, box, low, high):
        """Extend a box until it holds the input."""
        if box not in self._slots:
            self._let_grow(box, self.low[box])
        upper = self._high.rows[self._slots[box]]
        np.minimum(self.low[box], low, out=self.low[box])
        np.maximum(upper, high, out=upper)
        self._measure(box, upper)

    def _let_grow(self, box, high):
        self._slots[box] = len(self._slots)
        self._grown.append(box)
        self._high.append(high)

    def _measure(self, box, high):
        self._sum_high.rows[box] = high.sum(dtype=float)
        self._size.rows[box] = self._size_of(self.low[box], high)

    def _size_of(self, low, high):
        extent = high.sum(dtype=float) - low.sum(dtype=float)
        return float(sizes_of(self.n_features, extent, low.dtype))


class _Stack:
    """An array that rows are appended to."""

    def __init__(self, shape, dtype):
        self._array = np.empty((4, *shape), dtype)
        self.rows = self._array[:0]

    def append(self, row):
        n_rows = len(self.rows)
        if n_rows == len(self._array):
            more = np.empty_like(self._array)
            self._array = np.concatenate([self._array, more])
        self._array[n_rows] = row
        self.rows = self._array[: n_rows + 1]


class Boxes:
    """Boxes that have been learnt, dense or sparse, and what they make of rows.

    Parameters
    ----------
    low, high : ndarray or sparse matrix of shape (n_boxes, n_features)
        Their corners.
    """

    def __init__(self, low, high):
        self.n_boxes, self._n_features = low.shape
        sum_low, self._sum_high = _row_sums(low), _row_sums(high)
        self._size = sizes_of(self._n_features, self._sum_high - sum_low, low.dtype)
        # The two corners of a point are one: it is compared once, and counts twice.
        is_point = _row_sums(low != high) == 0
        self._multiplicity = np.where(is_point, 2, 1)
        self._grown = np.flatnonzero(~is_point)
        if issparse(low):
            self._corners = vstack([low, high[self._grown]], "csc")
        else:
            self._corners = np.vstack([low, high[self._grown]])

    def activation(self, X):
        """Share of each box that each row meets, (n_rows, n_boxes), in [0, 1]."""
        of_corners = sums_of_minima(X, self._corners)
        meet = of_corners[:, : self.n_boxes] * self._multiplicity
        meet[:, self._grown] += of_corners[:, self.n_boxes :]
        meet += self._n_features - self._sum_high
        meet -= _row_sums(X)[:, None]
        meet /= self._size
        return np.clip(meet, 0, 1, out=meet)


def sizes_of(n_features, extent, dtype):
    """|w| of boxes by the sum of their edges, with ALPHA, to divide by.

    Infinite for a box that fills the cube but for rounding: nothing activates it.
    """
    size = n_features - np.asarray(extent, dtype=float)
    least = 16 * n_features * np.finfo(dtype).eps
    return np.where(size > least, size + ALPHA, np.inf)


def sums_of_minima(X, W):
    """``sum(min(x, w))`` of each row x of ``X`` and each row w of ``W``.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_rows, n_features)
        In [0, 1].
    W : ndarray or CSC matrix of shape (n_boxes, n_features)
        In [0, 1]; sparse if ``X`` is.

    Returns
    -------
    ndarray of shape (n_rows, n_boxes), float64
    """
    values = X.data if issparse(X) else X
    if ((values == 0) | (values == 1)).all():
        # What is at most 1 is the smaller one beside a 1: a product, and much faster.
        return _product(X, W)
    if issparse(X):
        return _sparse_sums_of_minima(X, W)
    out = np.empty((len(X), len(W)))
    ones = np.ones(X.shape[1], X.dtype)
    step = max(1, BLOCK_BYTES // max(1, W.itemsize * W.shape[1]))
    for start in range(0, len(W), step):
        block = W[start : start + step]
        for row, x in enumerate(X):
            out[row, start : start + step] = _sums_of_minima_with(x, block, ones)
    return out


def _product(X, W):
    """``X @ W.T``, dense."""
    if not issparse(X):
        return (X @ W.T).astype(float)
    # A product with zeros is cheaper than finding out where there are none.
    is_dense = W.nnz * DENSE_FROM > W.shape[0] * W.shape[1]
    product = X @ (W.T.toarray() if is_dense else W.T)
    return (product if is_dense else product.toarray()).astype(float, copy=False)


def _sums_of_minima_with(x, W, ones):
    """The same for one dense row; ``ones`` is a vector of its length and dtype."""
    # A product with ones adds up rows several times as fast as a sum does.
    return np.minimum(W, x) @ ones


def _sparse_sums_of_minima(X, W):
    """The same where only stored values count: zeros add nothing to a minimum."""
    n_boxes = W.shape[0]
    out = np.empty((X.shape[0], n_boxes))
    stored = np.diff(W.indptr)
    # Each stored value of a row meets all that are stored in its column of W.
    pairs = np.concatenate([[0], np.cumsum(stored[X.indices])])
    until = pairs[X.indptr]
    start = 0
    while start < X.shape[0]:
        stop = np.searchsorted(until, until[start] + SPARSE_PAIRS, side="right") - 1
        stop = max(start + 1, stop)
        part = slice(X.indptr[start], X.indptr[stop])
        counts = stored[X.indices[part]]
        first = W.indptr[X.indices[part]] - (pairs[part] - pairs[part.start])
        place = np.repeat(first, counts) + np.arange(counts.sum())
        smaller = np.minimum(W.data[place], np.repeat(X.data[part], counts))
        rows = np.repeat(np.arange(stop - start), np.diff(X.indptr[start : stop + 1]))
        pair = np.repeat(rows * n_boxes, counts) + W.indices[place]
        sums = np.bincount(pair, weights=smaller, minlength=(stop - start) * n_boxes)
        out[start:stop] = sums.reshape(-1, n_boxes)
        start = stop
    return out


def _row_sums(X):
    return np.asarray(X.sum(axis=1, dtype=float)).ravel()
