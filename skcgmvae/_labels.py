"""Between what people pass as ``Y`` and a 0/1 matrix (n_samples, n_labels)."""

import math

import numpy as np
import scipy.sparse as sp
from sklearn.utils import column_or_1d
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array

from skcgmvae._errors import naming

SMALLEST_PROBABILITY = 1e-15

CHUNK_MEMORY = 8  # MiB of labels that are looked at together


class LabelCoder:
    """Turn targets into a 0/1 matrix, and probabilities back into targets.

    A 2-D ``Y`` of 0 and 1 is a label matrix, even with one column; a 1-D ``y`` holds
    the class of each row: two classes become one column, more become one each.

    Parameters
    ----------
    classes : array-like, optional
        All classes of a 1-D ``y``, for data that comes in parts.

    Attributes
    ----------
    n_labels_ : int
        Columns of the 0/1 matrix.
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, else the sorted classes.
    label_names_ : ndarray of str, or None
        The column names of a DataFrame.
    """

    def __init__(self, classes=None):
        self.classes = classes

    def fit_transform(self, Y, copy=True):
        """Keep kind, dtype and names of the targets, and return them as 0 and 1.

        Parameters
        ----------
        Y : array-like or sparse matrix
            The targets of the fit, already in memory.
        copy : bool
            Let the result share no memory with ``Y``.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_labels), uint8
        """
        matrix = _as_label_matrix(Y)
        self.is_matrix_ = matrix is not None
        self.is_sparse_ = sp.issparse(Y)
        self.label_names_ = None
        if not self.is_matrix_:
            y = _as_class_vector(Y)
            self._learn_classes(y)
            return self._one_hot(y)
        self.n_labels_ = matrix.shape[1]
        self.dtype_ = matrix.dtype
        self.classes_ = np.arange(self.n_labels_)
        columns = getattr(Y, "columns", None)
        if columns is not None and all(isinstance(name, str) for name in columns):
            self.label_names_ = np.asarray(columns, dtype=object)
        if self.classes is not None and len(self.classes) != self.n_labels_:
            raise ValueError(
                f"classes names {len(self.classes)} labels, but Y has "
                f"{self.n_labels_} columns."
            )
        return _in_bytes(matrix, copy)

    def _learn_classes(self, y):
        self.classes_ = np.unique(y if self.classes is None else self.classes)
        self.n_labels_ = 1 if len(self.classes_) == 2 else len(self.classes_)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only ({self.classes_.tolist()}); a classifier "
                "needs at least two classes, or a label matrix as Y."
            )

    def has_classes(self, classes):
        """Whether ``classes``, in any order, are those that were learnt."""
        if self.is_matrix_:
            return len(classes) == self.n_labels_
        return np.array_equal(np.unique(classes), self.classes_)

    @property
    def is_multiclass_(self):
        """Whether the labels exclude one another."""
        return not self.is_matrix_ and len(self.classes_) > 2

    def transform(self, Y, copy=True):
        """Further targets of the same kind, as :meth:`fit_transform` returns them."""
        matrix = _as_label_matrix(Y)
        if self.is_matrix_:
            if matrix is None or matrix.shape[1] != self.n_labels_:
                raise ValueError(
                    f"Y must have {self.n_labels_} columns of 0 and 1, as at the "
                    f"first fit; got an array of shape {np.shape(Y)}."
                )
            return _in_bytes(matrix, copy)
        return self._one_hot(_as_class_vector(Y))

    def _one_hot(self, y):
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y holds classes that were not announced: {unknown.tolist()}; the "
                f"classes are {self.classes_.tolist()}."
            )
        one_hot = (y[:, None] == self.classes_).view(np.uint8)
        return one_hot[:, 1:] if self.n_labels_ == 1 else one_hot

    def probabilities(self, sigmoid):
        """``predict_proba`` from each label's own probability (n, n_labels).

        None is exactly 0 or 1, which would make a log-loss infinite.
        """
        sigmoid = np.asarray(sigmoid, dtype=float)  # float32 knows nothing so near 1
        sigmoid = np.clip(sigmoid, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        if self.is_matrix_:
            return sigmoid
        if self.n_labels_ == 1:
            return np.hstack([1 - sigmoid, sigmoid])
        return sigmoid / sigmoid.sum(axis=1, keepdims=True)

    def decide(self, probabilities, threshold):
        """``predict`` from ``predict_proba``."""
        if self.is_multiclass_:
            return self.classes_[probabilities.argmax(axis=1)]
        if not self.is_matrix_:
            probabilities = probabilities[:, 1:]
        return self.inverse_transform(probabilities >= threshold)

    def inverse_transform(self, labels):
        """A matrix of 0 and 1 (n_samples, n_labels) as targets; not of multiclass y."""
        if not self.is_matrix_:
            return self.classes_[labels[:, 0].astype(int)]
        labels = sp.csr_matrix(labels) if self.is_sparse_ else labels
        return labels.astype(self.dtype_)


def _as_label_matrix(Y):
    """``Y`` as a checked ndarray or CSR matrix; None if it is a vector of classes."""
    if sp.issparse(Y):
        if Y.shape[1] == 0:
            raise ValueError(f"Y must have at least one column; got shape {Y.shape}.")
        matrix = sp.csr_matrix(Y)
        if not (matrix.has_canonical_format and matrix.data.all()):
            matrix = matrix.copy()  # it may be the caller's
            matrix.sum_duplicates()
            matrix.eliminate_zeros()
        _check_zero_one(matrix.data)
        return matrix
    if getattr(Y, "ndim", None) == 1:
        return None
    try:
        Y = np.asarray(Y)
    except ValueError as error:
        raise ValueError(
            "Y must be a label matrix of 0 and 1 or a vector of classes; got rows of "
            "different lengths. sklearn.preprocessing.MultiLabelBinarizer turns "
            "lists of labels into a matrix."
        ) from error
    if Y.ndim == 2 and Y.shape[1] == 1 and not _is_zero_one(Y):
        return None
    if Y.ndim < 2:
        return None
    if Y.dtype.kind in "US":
        raise ValueError(
            "Y must hold 0 and 1 only, a column a label; got text such as "
            f"{str(Y.flat[0])!r}. sklearn.preprocessing.MultiLabelBinarizer turns "
            "lists of labels into a matrix."
        )
    dtype = None if Y.dtype.kind in "biuf" else np.float64
    with naming("Y"):
        matrix = check_array(Y, dtype=dtype, input_name="Y")
    _check_zero_one(matrix)
    return matrix


def _in_bytes(matrix, copy):
    if not sp.issparse(matrix):
        return matrix.astype(np.uint8, copy=copy)
    data = matrix.data.astype(np.uint8, copy=False)
    parts = data, matrix.indices, matrix.indptr
    return sp.csr_matrix(parts, shape=matrix.shape, copy=copy)


def _as_class_vector(y):
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        found = "NaN" if np.isnan(y).any() else "infinity"
        raise ValueError(f"Input y contains {found}.")
    check_classification_targets(y)
    return y


def _is_zero_one(values):
    return bool(np.isin(values, [0, 1]).all())


def _check_zero_one(values):
    if values.dtype == bool:
        return
    for part in _chunks(len(values), values):
        chunk = values[part]
        wrong = (chunk != 0) & (chunk != 1)
        if wrong.any():
            found = np.unique(chunk[wrong])[:5].tolist()
            raise ValueError(
                f"Y must hold 0 and 1 only, a column a label; got the values {found}."
            )


def _chunks(n_rows, values):
    """Slices of few of ``n_rows`` rows, each like one of ``values`` (N,) or (N, L)."""
    row_bytes = max(1, math.prod(values.shape[1:]))
    chunk = get_chunk_n_rows(row_bytes=row_bytes, working_memory=CHUNK_MEMORY)
    return (slice(start, start + chunk) for start in range(0, n_rows, chunk))


def count_labels(Y, rows):
    """How many of the ``rows`` of a 0/1 matrix (N, L) have each label; (L,)."""
    parts = (Y[rows[part]].sum(axis=0) for part in _chunks(len(rows), Y))
    return sum(np.asarray(part, dtype=float).ravel() for part in parts)


def label_log_odds(Y, rows):
    """The log-odds of each label of a 0/1 matrix among the ``rows``; finite, (L,).

    A row that is there more often, for several members, counts once.
    """
    rows = np.unique(rows)
    n_positive = count_labels(Y, rows)
    return np.log((n_positive + 0.5) / (len(rows) - n_positive + 0.5))


def cooccurrence(Y):
    """Whether two labels are ever set in the same row; 0/1 (N, L) -> bool (L, L)."""
    Y = sp.csr_matrix(Y, dtype=np.float32)  # a count may be too large for Y's own dtype
    return (Y.T @ Y).toarray() > 0
