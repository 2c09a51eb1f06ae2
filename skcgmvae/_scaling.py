"""Feature scaling that is safe for any column, dense or sparse."""

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtri
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows

# No training value lies further than this many units from its column's centre: the
# z-score of a rare 0/1 column or of an outlier would be a spike that the rest of the
# network never recovers from.
TRAIN_REACH = 10.0

# Mostly-zero columns whose non-zeros differ in size by less than this, in units of the
# natural logarithm (a factor of 12), are taken to be of one kind.
ONE_KIND = 2.5

# Ranks are told by a broken line a column, of at most so many corners, through those
# among at most so many rows.
MOST_KNOTS = 256
RANKED_ROWS = 10_000

# In float32 all larger numbers are whole: such are no counts.
LARGEST_COUNT = 2**23

# What takes more values than so many is continuous.
FEW_VALUES = 8

# Where values that come later are cut off: far outside of anything trained on, and
# far inside of what float32 can square and add up.
REACH = 1e6

# What has a float64 copy in memory at a time: so many dense rows, or fewer if they are
# longer than so many MiB; so many stored values.
CHUNK_ROWS = 8192
CHUNK_MEMORY = 32
CHUNK_VALUES = 2**21


class FeatureScaler:
    """Bring every column to unit scale; centre those where zero is no baseline.

    A column that is mostly non-zero is standardised (mean 0, standard deviation 1) or,
    with ``by_rank``, becomes normally distributed: the normal scores of its ranks.
    A column that is mostly zero (a word count, a one-hot category, an indicator)
    keeps its zeros. Such columns are divided by one number, the root mean square of
    all their non-zeros, so that within a row they keep their proportions: the unit
    length of a text's row, the weight of a rare word. Only one whose non-zeros are of
    another order of magnitude is divided by its own root mean square. In both,
    no training value ends up further than 10 from the centre. A constant column
    becomes 0, whatever value it takes later.

    What is done depends on the numbers alone, not on whether they came as a dense or
    a sparse matrix. Sparse matrices are only multiplied; what remains to be
    subtracted from them is :attr:`offset`.

    Attributes
    ----------
    center_ : ndarray of shape (n_features,)
    factor_ : ndarray of shape (n_features,)
        One over the scale; 0 for a constant column.
    cost_ : ndarray of shape (n_features,) or None
        How much the weights that a linear model gives to a column should cost. Of
        counts and indicators, which are mostly 0 and else whole numbers up to 2**23, in
        proportion to the standard deviation of their being 0 or not; on average over
        their non-zeros as much as of all other columns, 1. None if there are none.
    ranked_ : ndarray of int of shape (n_ranked,)
        The columns of which ranks count.
    continuous_ : ndarray of int of shape (n_continuous,)
        Those of them that take more than a few values.
    knots_, scores_ : ndarray of shape (n_ranked, n_knots)
        The corners of each of these columns' broken line: scaled values, ascending, and
        the normal scores of their ranks. A line with fewer ends in equal ones.
    """

    # Without counts or ranks; also what models of early files have.
    cost_ = None
    ranked_ = continuous_ = np.empty(0, dtype=int)
    knots_ = scores_ = np.empty((0, 1))

    def fit(self, X, rows, by_rank=False):
        """Learn centre and factor of each column from the rows of ``X`` given.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features)
        rows : ndarray of int
        by_rank : bool
            Of columns that are mostly non-zero, learn the ranks, too.
        """
        columns = _sparse_columns if sp.issparse(X) else _dense_columns
        low, high, whole, n_nonzero, unit, mean, rms, deviation = columns(X, rows)
        full = n_nonzero * 2 > len(rows)
        center = np.where(full, mean, 0.0)
        sparse = ~full & (n_nonzero > 0)
        counted = sparse & whole & (low >= 0) & (high <= LARGEST_COUNT)
        self.cost_ = _costs(np.where(counted, n_nonzero / len(rows), 0.0))
        rms[sparse] = _shared(rms[sparse] * unit[sparse], n_nonzero[sparse])
        rms[sparse] /= unit[sparse]
        scale = np.where(full, deviation, rms)
        reach = np.maximum(high / unit - center, center - low / unit)
        scale = np.maximum(scale, reach / TRAIN_REACH)
        self.center_ = center * unit
        with np.errstate(over="ignore", divide="ignore"):
            factor = 1.0 / scale / unit
        # Equal up to the rounding of their digits.
        constant = high / unit - low / unit <= 1e-14
        self.factor_ = np.where(constant | ~np.isfinite(factor), 0.0, factor)
        ranked = np.flatnonzero(full & (self.factor_ > 0))
        if by_rank and len(ranked):
            self._fit_ranks(X, rows, ranked)
        return self

    def _fit_ranks(self, X, rows, ranked):
        # At random: rows may come in an order that has a period. Of as many, the same.
        few = np.random.default_rng(0).choice(
            len(rows), min(len(rows), RANKED_ROWS), replace=False, shuffle=False
        )
        few.sort()
        lines = []
        for part in gen_batches(len(ranked), max(1, CHUNK_VALUES // len(few))):
            columns = ranked[part]
            block = X[np.ix_(rows[few], columns)]
            block = block.toarray() if sp.issparse(X) else block
            scaled = block.astype(np.float64) - self.center_[columns]
            scaled *= self.factor_[columns]
            lines += map(_normal_scores, scaled.T)
        knots, scores = zip(*lines, strict=True)
        self.ranked_ = ranked
        self.continuous_ = ranked[[len(values) > FEW_VALUES for values in knots]]
        self.knots_, self.scores_ = _padded(knots), _padded(scores)

    def transform(self, X, rows=None):
        """The scaled float32 copy of rows of ``X``; a CSR matrix is not centred."""
        if sp.issparse(X):
            return self._sparse(X if rows is None else X[rows])
        rows = np.arange(X.shape[0]) if rows is None else rows
        out = np.empty((len(rows), X.shape[1]), dtype=np.float32)
        for part, chunk in _chunks(X, rows):
            with np.errstate(over="ignore", invalid="ignore"):
                chunk -= self.center_
                chunk *= self.factor_
            chunk[:, self.factor_ == 0] = 0  # even where infinity met the 0
            for column, line in self._lines():
                chunk[:, column] = np.interp(chunk[:, column], *line)
            out[part] = np.clip(chunk, -REACH, REACH, out=chunk)
        return out

    @property
    def is_blind(self):
        """Whether nothing is left of the features: none of them varied."""
        return not self.factor_.any()

    def _sparse(self, X):
        data = np.empty(X.nnz, dtype=np.float32)
        is_centred = self.center_.any()
        for start in range(0, X.nnz, CHUNK_VALUES):
            part = slice(start, start + CHUNK_VALUES)
            columns = X.indices[part]
            factor = self.factor_[columns]
            offset = self.center_[columns] * factor if is_centred else 0.0
            with np.errstate(over="ignore"):
                values = X.data[part] * factor
            data[part] = np.clip(values, offset - REACH, offset + REACH)
        if len(self.ranked_):
            self._rank(X, data)
        return sp.csr_matrix((data, X.indices, X.indptr), shape=X.shape)

    def _rank(self, X, data):
        """Write the scores of the ranked columns' stored values over ``data``."""
        is_ranked = np.zeros(X.shape[1], dtype=bool)
        is_ranked[self.ranked_] = True
        stored = np.flatnonzero(is_ranked[X.indices])
        stored = stored[np.argsort(X.indices[stored], kind="stable")]
        columns = X.indices[stored]  # ascending
        starts = np.searchsorted(columns, self.ranked_)
        ends = np.searchsorted(columns, self.ranked_, side="right")
        offset = self._offset()
        for (column, line), start, end in zip(self._lines(), starts, ends, strict=True):
            at = stored[start:end]
            values = X.data[at].astype(np.float64)
            with np.errstate(over="ignore"):
                values = (values - self.center_[column]) * self.factor_[column]
            data[at] = np.interp(values, *line) + offset[column]

    def _lines(self):
        """Each ranked column, with the corners of its line."""
        lines = zip(self.knots_, self.scores_, strict=True)
        return zip(self.ranked_, lines, strict=True)

    @property
    def offset(self):
        """What scaled sparse rows still have to lose, (n_features,), or None."""
        offset = self._offset().astype(np.float32)
        return offset if offset.any() else None

    def _offset(self):
        offset = self.center_ * self.factor_
        for column, line in self._lines():
            offset[column] = -np.interp(-offset[column], *line)
        return offset


class NoScaler:
    """The features as they are, in float32."""

    is_blind = False
    offset = None  # sparse rows have nothing to lose
    cost_ = None
    continuous_ = np.empty(0, dtype=int)

    def fit(self, X, rows, by_rank=False):
        """Learn nothing."""
        return self

    def transform(self, X, rows=None):
        """The float32 copy of rows of ``X``."""
        X = X if rows is None else X[rows]
        largest = max(abs(float(X.min())), abs(float(X.max())))
        if largest > REACH:
            raise ValueError(
                f"X holds values up to {largest:.3g}, too large for float32 training "
                "with scale_features=False; scale X or leave scale_features=True."
            )
        return X.astype(np.float32)


def _normal_scores(values):
    """Some values, ascending, and the normal scores of their ranks.

    Equal values have the mean of their ranks. Of more values than MOST_KNOTS some are
    left out, evenly by score.
    """
    knots, counts = np.unique(values, return_counts=True)
    scores = ndtri((np.cumsum(counts) - counts / 2) / len(values))
    if len(knots) > MOST_KNOTS:
        wanted = np.linspace(scores[0], scores[-1], MOST_KNOTS)
        kept = np.unique(np.searchsorted(scores, wanted))
        knots, scores = knots[kept], scores[kept]
    return knots, scores


def _padded(rows):
    """Arrays of different lengths as one, each filled up with its last value."""
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (0, longest - len(row)), "edge") for row in rows])


def _shared(sizes, weights):
    """For each column the root mean square of all columns of the most frequent kind.

    For columns of another kind their own. ``sizes`` are the root mean squares of the
    columns, ``weights`` over how many values they are taken.
    """
    if len(sizes) == 0:
        return sizes
    order = np.argsort(sizes)
    passed = np.cumsum(weights[order])
    median = sizes[order[np.searchsorted(passed, passed[-1] / 2)]]
    with np.errstate(all="ignore"):
        ratio = sizes / median
        alike = np.abs(np.log(ratio)) < ONE_KIND
    common = np.sqrt(np.average(ratio[alike] ** 2, weights=weights[alike]))
    return np.where(alike, common * median, sizes)


def _costs(share):
    """See :attr:`FeatureScaler.cost_`; in which share of the rows a count is not 0.

    What is rare tells much where it is there, and by that weight alone. Numbers such as
    tf-idf allow for it. They are not whole, and have a share of 0 here.
    """
    counted = share > 0
    if not counted.any():
        return None
    deviation = np.sqrt(share * (1 - share))
    return np.where(counted, deviation / np.average(deviation, weights=share), 1.0)


def _chunks(X, rows):
    """Parts of ``rows`` with a float64 copy of those rows of a dense ``X``."""
    n_rows = get_chunk_n_rows(
        row_bytes=8 * X.shape[1], max_n_rows=CHUNK_ROWS, working_memory=CHUNK_MEMORY
    )
    for part in gen_batches(len(rows), n_rows):
        yield part, X[rows[part]].astype(np.float64, copy=False)


def _sparse_chunks(X, rows):
    """The ``rows`` of a CSR matrix, part by part."""
    n_rows = max(1, CHUNK_VALUES * X.shape[0] // max(X.nnz, 1))
    for part in gen_batches(len(rows), n_rows):
        yield X[rows[part]]


def _dense_columns(X, rows):
    """Ranges and moments of the columns; the moments in units of the largest value.

    The unit comes first, so that 1e300 squared overflows no more than 1e-300 squared
    vanishes.
    """
    n_features = X.shape[1]
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    n_nonzero = np.zeros(n_features, dtype=int)
    whole = np.ones(n_features, dtype=bool)
    for _, chunk in _chunks(X, rows):
        low = np.minimum(low, chunk.min(axis=0))
        high = np.maximum(high, chunk.max(axis=0))
        n_nonzero += np.count_nonzero(chunk, axis=0)
        whole &= (chunk == np.rint(chunk)).all(axis=0)
    unit = _unit(low, high)
    total, squares, deviations = np.zeros((3, n_features))
    for _, chunk in _chunks(X, rows):
        chunk /= unit
        total += chunk.sum(axis=0)
    mean = total / len(rows)
    for _, chunk in _chunks(X, rows):
        chunk /= unit
        squares += (chunk**2).sum(axis=0)
        chunk -= mean
        deviations += np.square(chunk, out=chunk).sum(axis=0)
    rms = np.sqrt(squares / np.maximum(n_nonzero, 1))
    deviation = np.sqrt(deviations / len(rows))
    return low, high, whole, n_nonzero, unit, mean, rms, deviation


def _sparse_columns(X, rows):
    """The same as :func:`_dense_columns`, from the stored values alone."""
    n_features = X.shape[1]
    low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    n_stored = np.zeros(n_features, dtype=int)
    whole = np.ones(n_features, dtype=bool)
    for chunk in _sparse_chunks(X, rows):
        low = np.minimum(low, chunk.min(axis=0).toarray().ravel())
        high = np.maximum(high, chunk.max(axis=0).toarray().ravel())
        n_stored += np.bincount(chunk.indices, minlength=n_features)
        whole[chunk.indices[chunk.data != np.rint(chunk.data)]] = False
    unit = _unit(low, high)

    def column_sum(function):
        total = np.zeros(n_features)
        for chunk in _sparse_chunks(X, rows):
            columns = chunk.indices
            values = function(chunk.data / unit[columns], columns)
            total += np.bincount(columns, values, minlength=n_features)
        return total

    n_nonzero = column_sum(lambda values, _: values != 0)
    mean = column_sum(lambda values, _: values) / len(rows)
    squares = column_sum(lambda values, _: values**2)
    deviations = column_sum(lambda values, columns: (values - mean[columns]) ** 2)
    deviations += (len(rows) - n_stored) * mean**2
    rms = np.sqrt(squares / np.maximum(n_nonzero, 1))
    deviation = np.sqrt(deviations / len(rows))
    return low, high, whole, n_nonzero, unit, mean, rms, deviation


def _unit(low, high):
    largest = np.maximum(-low, high)
    return np.where(largest > 0, largest, 1.0)
