"""Cases of hostile input: a table, what is done to it, and what it comes in."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse as sp
from hypothesis import strategies as st

# -- what is done to X: (X float64, rng) -> X ---------------------------------------


def with_column(X, values):
    return np.column_stack([X[:, 1:], values])


def with_row(X, row, values):
    X[row] = values
    return X


FEATURES = {
    "constant column": lambda X, rng: with_column(X, np.full(len(X), -7.3)),
    "column of zeros": lambda X, rng: with_column(X, np.zeros(len(X))),
    "duplicate column": lambda X, rng: with_column(X, X[:, 0]),
    "column of 1e30": lambda X, rng: with_column(X, 1e30 * rng.randn(len(X))),
    "column of 1e-30": lambda X, rng: with_column(X, 1e-30 * rng.randn(len(X))),
    "column of the least number": lambda X, rng: with_column(
        X, 5e-324 * rng.randint(0, 3, len(X))
    ),
    "column far from zero": lambda X, rng: with_column(X, 1e6 + 1e-6 * X[:, 0]),
    "rare indicator": lambda X, rng: with_column(X, np.arange(len(X)) == 0),
    "all magnitudes": lambda X, rng: X * 10.0 ** rng.randint(-30, 31, X.shape[1]),
    "magnitudes within a column": lambda X, rng: (
        X * 10.0 ** rng.randint(-9, 9, X.shape)
    ),
    "outlier": lambda X, rng: with_row(X, 0, 1e30),
    "1e300": lambda X, rng: X * 1e300,
    "1e-300": lambda X, rng: X * 1e-300,
    "row of zeros": lambda X, rng: with_row(X, -1, 0),
    "mostly zeros": lambda X, rng: X * (rng.rand(*X.shape) < 0.2),
    "only zeros": lambda X, rng: 0 * X,
    "rows alike": lambda X, rng: X[np.zeros(len(X), int)],
    "whole numbers": lambda X, rng: np.round(5 * X),
    "not negative": lambda X, rng: np.abs(X),
    "0 and 1": lambda X, rng: (X > 0).astype(float),
}

# -- what is done to Y: (Y int, rng) -> Y -------------------------------------------


def label(Y, value):
    Y[:, 0] = value
    return Y


LABELS = {
    "label never": lambda Y, rng: label(Y, 0),
    "label always": lambda Y, rng: label(Y, 1),
    "nowhere": lambda Y, rng: 0 * Y,
    "everywhere": lambda Y, rng: 0 * Y + 1,
    "one label set": lambda Y, rng: Y[np.zeros(len(Y), int)],
    "one row only": lambda Y, rng: Y * (np.arange(len(Y)) == 0)[:, None],
    "duplicate labels": lambda Y, rng: Y[:, np.zeros(Y.shape[1], int)],
    "each row its own": lambda Y, rng: np.eye(len(Y), dtype=int),
}

# -- what arrays come in: array -> container ----------------------------------------


def strided(array):
    """Every second entry of a larger array, the first of them last."""
    larger = np.zeros([2 * size for size in array.shape], array.dtype)
    view = larger[tuple(slice(None, None, -2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def objects(array):
    return array.astype(object)


def frame(array):
    array = array.astype(array.dtype.newbyteorder("="))  # pandas has no other
    return pd.DataFrame(array, columns=[f"column {i}" for i in range(array.shape[1])])


def nullable_frame(array):
    kinds = {"b": "boolean", "i": "Int64", "u": "Int64", "f": "Float64"}
    table = frame(array)
    if array.dtype.kind == "f":
        table = table.astype(float)
    return table.astype(kinds[array.dtype.kind])


def sparse_frame(array):
    columns = [f"column {i}" for i in range(array.shape[1])]
    return pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(array), columns=columns)


def explicit_zeros(array, kind=sp.csr_matrix):
    """CSR in which every entry is stored, zero or not."""
    n_rows, n_columns = array.shape
    columns = np.tile(np.arange(n_columns), n_rows)
    return kind(
        (array.ravel().copy(), columns, np.arange(n_rows + 1) * n_columns), array.shape
    )


def disorder(array, kind=sp.csr_matrix):
    """CSR with columns in descending order, and beside each value a zero there."""
    full = explicit_zeros(array[:, ::-1])
    columns = np.repeat(array.shape[1] - 1 - full.indices, 2)
    values = np.column_stack([full.data, np.zeros_like(full.data)]).ravel()
    return kind((values, columns, 2 * full.indptr), array.shape)


def wide_indices(array):
    matrix = sp.csr_matrix(array)
    matrix.indices = matrix.indices.astype(np.int64)
    matrix.indptr = matrix.indptr.astype(np.int64)
    return matrix


def read_only_csr(array):
    matrix = disorder(array)
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.setflags(write=False)
    return matrix


DENSE = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": strided,
    "read-only": read_only,
    "objects": objects,
    "lists": lambda array: array.tolist(),
    "DataFrame": frame,
    "nullable DataFrame": nullable_frame,
}
SPARSE = {
    "CSR": sp.csr_matrix,
    "CSC": sp.csc_matrix,
    "COO": sp.coo_matrix,
    "LIL": sp.lil_matrix,
    "CSR array": sp.csr_array,
    "CSC array": sp.csc_array,
    "COO array": sp.coo_array,
    "explicit zeros": explicit_zeros,
    "explicit zeros, CSC array": lambda a: sp.csc_array(explicit_zeros(a)),
    "disorder": disorder,
    "disorder, array": lambda a: disorder(a, sp.csr_array),
    "64-bit indices": wide_indices,
    "read-only CSR": read_only_csr,
    "sparse DataFrame": sparse_frame,
}
CONTAINERS = DENSE | SPARSE
# The likes of float16 and object are unknown to scipy.
SPARSE_DTYPES = {"float64", "float32", "int8", "uint8", "int64", "bool"}
DTYPES = ["float64", "float32", "float16", ">f8", "longdouble", "int8", "int64", "bool"]
LABEL_DTYPES = ["int64", "int8", "uint8", "bool", "float64", "float32", ">i4"]

# -- weights: (n, rng) -> weights ---------------------------------------------------

WEIGHTS = {
    "ones": lambda n, rng: np.ones(n),
    "any": lambda n, rng: rng.rand(n) + 0.1,
    "whole numbers, in a list": lambda n, rng: rng.randint(1, 9, n).tolist(),
    "one of 1e30": lambda n, rng: np.where(np.arange(n) == 0, 1e30, 1.0),
    "all huge": lambda n, rng: np.full(n, 1e308),
    "all tiny": lambda n, rng: np.full(n, 5e-324),
    "all magnitudes": lambda n, rng: 10.0 ** rng.randint(-300, 300, n),
    "zeros but for two": lambda n, rng: (np.arange(n) < 2).astype(float),
}

# -- what must be refused: (X, Y, weights) -> the same, and the message -------------


def spoilt(array, value):
    array = np.array(array, dtype=float)
    array.flat[-1] = value
    return array


def text(array):
    return np.array([[f"w{value}" for value in row] for row in array])


INFINITE = "X contains (infinity|NaN)"
FAULTS = {
    "X with NaN": (lambda X, Y, w: (spoilt(X, np.nan), Y, w), "X contains NaN"),
    "X with infinity": (lambda X, Y, w: (spoilt(X, -np.inf), Y, w), INFINITE),
    "X with None": (
        lambda X, Y, w: (np.where(X == X[0], None, X), Y, w),
        "X contains NaN",
    ),
    "X of text": (lambda X, Y, w: (text(X), Y, w), "X.*(string|numeric)"),
    "X of text objects": (
        lambda X, Y, w: (text(X).astype(object), Y, w),
        "X.*(string|numeric)",
    ),
    "X of complex numbers": (lambda X, Y, w: (X * 1j, Y, w), "X.*Complex data"),
    "X of one dimension": (lambda X, Y, w: (X[:, 0], Y, w), "X"),
    "X of three dimensions": (lambda X, Y, w: (X[None], Y, w), "X"),
    "X a number": (lambda X, Y, w: (3.0, Y, w), "X"),
    "X without columns": (lambda X, Y, w: (X[:, :0], Y, w), "X"),
    "X too short": (lambda X, Y, w: (X[:-1], Y, w), "X|inconsistent numbers"),
    "X with NA": (
        lambda X, Y, w: (frame(X).astype("Float64").mask(X == X[0, 0]), Y, w),
        "X.*(NaN|NA)",
    ),
    "X of times": (
        lambda X, Y, w: (frame(X).assign(when=pd.Timestamp("2020-01-01")), Y, w),
        "X",
    ),
    "no X": (lambda X, Y, w: (None, Y, w), "X"),
    "Y with 2": (lambda X, Y, w: (X, spoilt(Y, 2), w), "Y must hold 0 and 1"),
    "Y with -1": (lambda X, Y, w: (X, spoilt(Y, -1), w), "Y must hold 0 and 1"),
    "Y with 1e-30": (lambda X, Y, w: (X, spoilt(Y, 1e-30), w), "Y must hold 0 and 1"),
    "Y with NaN": (lambda X, Y, w: (X, spoilt(Y, np.nan), w), "Y contains NaN"),
    "Y with infinity": (lambda X, Y, w: (X, spoilt(Y, np.inf), w), "Y contains inf"),
    "Y with NA": (
        lambda X, Y, w: (X, frame(Y).astype("Int64").mask(Y == Y[0, 0]), w),
        "Y.*(NaN|NA)",
    ),
    "y with None": (
        lambda X, Y, w: (X, np.array(["a", "b", None] * len(X))[: len(X)], w),
        "y",
    ),
    "y with infinity": (
        lambda X, Y, w: (X, spoilt(Y[:, 0], np.inf), w),
        "y contains infinity",
    ),
    "y with NaN": (lambda X, Y, w: (X, spoilt(Y[:, 0], np.nan), w), "y contains NaN"),
    "Y of text": (lambda X, Y, w: (X, text(Y), w), "Y must hold 0 and 1"),
    "Y of text objects": (lambda X, Y, w: (X, text(Y).astype(object), w), "Y.*string"),
    "Y of three dimensions": (lambda X, Y, w: (X, Y[None], w), "Y|inconsistent"),
    "Y without columns": (lambda X, Y, w: (X, Y[:, :0], w), "Y"),
    "Y too short": (lambda X, Y, w: (X, Y[:-1], w), "inconsistent numbers"),
    "no Y": (lambda X, Y, w: (X, None, w), "y"),
    "y of one class": (lambda X, Y, w: (X, np.full(len(X), 3), w), "y holds one class"),
    "y of real numbers": (lambda X, Y, w: (X, np.arange(len(X)) / 3, w), "y"),
    "negative weight": (
        lambda X, Y, w: (X, Y, spoilt(np.ones(len(X)), -1)),
        "sample_weight",
    ),
    "NaN weight": (
        lambda X, Y, w: (X, Y, spoilt(np.ones(len(X)), np.nan)),
        "sample_weight",
    ),
    "infinite weight": (
        lambda X, Y, w: (X, Y, spoilt(np.ones(len(X)), np.inf)),
        "sample_weight",
    ),
    "no weight at all": (lambda X, Y, w: (X, Y, np.zeros(len(X))), "sample_weight"),
    "one weight only": (lambda X, Y, w: (X, Y, np.arange(len(X)) < 1), "sample_weight"),
    "weights too few": (lambda X, Y, w: (X, Y, np.ones(len(X) - 1)), "sample_weight"),
    "weights of text": (lambda X, Y, w: (X, Y, ["heavy"] * len(X)), "sample_weight"),
    "weights in two columns": (
        lambda X, Y, w: (X, Y, np.ones((len(X), 2))),
        "sample_weight",
    ),
}


@dataclass
class Case:
    """A hostile case, by the names of what it is made of."""

    n_rows: int
    n_features: int
    n_labels: int
    features: list = field(default_factory=list)
    labels: list = field(default_factory=list)
    X_dtype: str = "float64"
    Y_dtype: str = "int64"
    X_in: str = "C"
    Y_in: str = "C"
    y_kind: str = "matrix"
    weights: str | None = None
    fault: str | None = None
    seed: int = 0

    def tidy(self):
        """X and Y as plain arrays, of the dtypes that they will have, and weights."""
        with np.errstate(all="ignore"):
            return self._tidy(np.random.RandomState(self.seed))

    def _tidy(self, rng):
        X = rng.randn(self.n_rows, self.n_features)
        Y = (rng.rand(self.n_rows, self.n_labels) < 0.4).astype(int)
        for name in self.features:
            X = FEATURES[name](X, rng)
        for name in self.labels:
            Y = LABELS[name](Y, rng)
        sparse = self.X_in in SPARSE
        X_dtype = self.X_dtype if not sparse or self.X_dtype in SPARSE_DTYPES else float
        if np.dtype(X_dtype).kind == "i":
            X = np.clip(X, -100, 100)
        X = X.astype(X_dtype)
        Y = self._of_kind(Y)
        weights = self.weights and WEIGHTS[self.weights](self.n_rows, rng)
        return X, Y, weights

    def _of_kind(self, Y):
        if self.fault:
            return np.column_stack([Y, Y])  # one column may be classes
        if self.y_kind == "two classes":
            return np.array(["no", "yes"])[np.arange(len(Y)) % 2]
        if self.y_kind == "three classes":
            return np.arange(len(Y)) % 3 - 1
        if self.y_kind == "Series of categories":
            return pd.Series(np.array(["no", "yes"])[np.arange(len(Y)) % 2]).astype(
                "category"
            )
        dtype = self.Y_dtype
        if self.Y_in in SPARSE and dtype not in SPARSE_DTYPES:
            dtype = "int64"
        return Y.astype(dtype)

    def made(self):
        """X, Y and weights as they are handed in, and the message due, or None."""
        X, Y, weights = self.tidy()
        if self.fault is None:
            X = CONTAINERS[self.X_in](X)
            Y = CONTAINERS[self.Y_in](Y) if Y.ndim == 2 else Y
            return X, Y, weights, None
        fault, message = FAULTS[self.fault]
        with np.errstate(all="ignore"):
            return *fault(X.astype(float), Y, weights), message


KINDS = ["two classes", "three classes", "Series of categories"]


def some(names, max_size=2):
    return st.lists(st.sampled_from(sorted(names)), max_size=max_size, unique=True)


def seldom(strategy, often=None):
    """One case in about six has it."""
    return st.integers(0, 5).flatmap(lambda n: strategy if n == 3 else st.just(often))


def cases(weighted=True, **fixed):
    """A strategy of cases."""
    of_weights = {name for name in FAULTS if "weight" in name}
    faults = sorted(FAULTS if weighted else FAULTS.keys() - of_weights)
    parts = {
        "n_rows": st.integers(2, 25),
        "n_features": st.integers(1, 6),
        "n_labels": st.integers(1, 5),
        "features": some(FEATURES),
        "labels": some(LABELS, 1),
        "X_dtype": st.sampled_from(DTYPES),
        "Y_dtype": st.sampled_from(LABEL_DTYPES),
        "X_in": st.sampled_from(sorted(CONTAINERS)),
        "Y_in": st.sampled_from(sorted(CONTAINERS)),
        "y_kind": seldom(st.sampled_from(KINDS), "matrix"),
        "weights": st.none() | st.sampled_from(sorted(WEIGHTS)),
        "fault": seldom(st.sampled_from(faults)),
        "seed": st.integers(0, 9),
    }
    if not weighted:
        parts["weights"] = st.none()
    return st.builds(Case, **parts | fixed)
