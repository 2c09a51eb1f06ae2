"""Batches as slices of whole arrays, dense or sparse.

A batch is what skorch expects, a pair ``(x, y)``: ``x`` is a dict with the rows
under ``"x"`` and, where there are any, their weights under ``"sample_weight"``; ``y``
is a float tensor (B, L), or None for prediction.

For an ensemble of M networks a batch holds rows of each: features are (M, B, D),
labels (M, B, L), weights (M, B).
"""

import math
import mmap
from copy import copy

import numpy as np
import scipy.sparse as sp
import torch
from torch.utils.data import Dataset

from skcgmvae._layers import SparseRows
from skcgmvae._memory import explain_out_of_memory, in_placing


def is_memory_mapped(array):
    """Whether the numbers of an ndarray or a CSR matrix lie in a file."""
    memory = array.data if sp.issparse(array) else array
    while isinstance(memory, np.ndarray):  # views of views
        memory = memory.base
    return isinstance(memory, mmap.mmap)


class Streamed:
    """A matrix whose rows are read, and scaled, where they are asked for.

    Parameters
    ----------
    matrix : ndarray or CSR matrix
    scaler : FeatureScaler or NoScaler, optional
    """

    def __init__(self, matrix, scaler=None):
        self.matrix = matrix
        self.scaler = scaler
        self.shape = matrix.shape
        self._in_file = is_memory_mapped(matrix)

    def __getitem__(self, rows):
        """The ``rows`` (B,), or (M, B), as a matrix (B, D), (M * B, D)."""
        rows = rows.flatten()
        if not self._in_file:
            return self._scaled(rows)
        # From the front of a file to its back, and once what several members want.
        rows, place = np.unique(rows, return_inverse=True)
        return self._scaled(rows)[place]

    def _scaled(self, rows):
        if self.scaler is None:
            return self.matrix[rows]
        return self.scaler.transform(self.matrix, rows)


class Rows(Dataset):
    """The rows of a scaled feature matrix, a label matrix and weights.

    Parameters
    ----------
    X : ndarray, CSR matrix or Streamed, of shape (n_samples, n_features), float32
    y : ndarray or CSR matrix of shape (n_samples, n_labels), optional
    sample_weight : ndarray of shape (n_samples,), optional
    device : torch.device
        Dense arrays in memory are moved there whole; of sparse ones, and of those in a
        file, each batch is.

    Attributes
    ----------
    index : tensor of shape (*members, N)
        The numbers of the rows that are meant, those of each member: all of them,
        until :meth:`only` says otherwise.
    """

    def __init__(self, X, y=None, sample_weight=None, *, device="cpu"):
        self.device = torch.device(device)
        self.index = torch.arange(X.shape[0])
        self.X = self._place(Streamed(X) if sp.issparse(X) else X)
        self.y = None if y is None else self._place(y)
        self.sample_weight = None
        if sample_weight is not None:
            self.sample_weight = self._place(np.asarray(sample_weight, np.float32))

    def __len__(self):
        return self.index.shape[-1]

    def only(self, index):
        """The same arrays, of which only the rows ``index`` (*members, N) are meant."""
        part = copy(self)
        part.index = torch.as_tensor(index)
        return part

    def near(self, index):
        """Row numbers, moved once for all batches to where the rows are."""
        arrays = self.X, self.y, self.sample_weight
        resident = all(array is None or torch.is_tensor(array) for array in arrays)
        return index.to(self.device) if resident else index

    def take(self, index):
        """The batch of the rows ``index``, a tensor (*members, B) of row numbers."""
        x = {"x": self._features(index)}
        if self.sample_weight is not None:
            x["sample_weight"] = self.sample_weight[index.to(self.device)]
        return x, None if self.y is None else self._labels(index)

    @explain_out_of_memory(in_placing)
    def _place(self, array):
        if isinstance(array, Streamed) or sp.issparse(array):
            return array
        if torch.is_tensor(array):  # of other Rows, from a callback of skorch's
            return array.to(self.device)
        if is_memory_mapped(array):
            return Streamed(array)
        # from_numpy refuses negative strides and warns of read-only memory.
        if not (array.flags.c_contiguous and array.flags.writeable):
            array = array.copy()
        return torch.from_numpy(array).to(self.device)

    def _features(self, index):
        if torch.is_tensor(self.X):
            return self.X[index.to(self.device)]
        rows = self.X[index.numpy()]
        if not sp.issparse(rows):
            return torch.from_numpy(rows.reshape(*index.shape, -1)).to(self.device)
        columns, starts, values = (
            torch.from_numpy(part).to(self.device)
            for part in (rows.indices, rows.indptr[:-1], rows.data)
        )
        return SparseRows(columns, starts, values, tuple(index.shape[:-1]))

    def _labels(self, index):
        if torch.is_tensor(self.y):
            return self.y[index.to(self.device)].float()
        rows = self.y[index.flatten().numpy()]
        rows = rows.toarray() if sp.issparse(rows) else rows
        return torch.from_numpy(rows.reshape(*index.shape, -1)).to(self.device).float()


class Batches:
    """Iterate over :class:`Rows` in batches of even size.

    Rows are dealt out evenly: no batch is more than one row smaller than another, so
    none is a straggler of a single row with a wild gradient.

    Parameters
    ----------
    dataset : Rows
    batch_size : int
        The largest size of a batch.
    min_steps : int
        Pass over the rows again, in a new order, until there were so many batches.
    shuffle : bool
        Deal the rows in a new random order in each pass, to each member in another, by
        torch's global generator.
    """

    def __init__(self, dataset, batch_size, min_steps=1, shuffle=False):
        self.dataset = dataset
        self.n_batches = max(1, math.ceil(len(dataset) / batch_size))
        self.n_passes = max(1, math.ceil(min_steps / self.n_batches))
        self.shuffle = shuffle

    def __len__(self):
        return self.n_batches * self.n_passes

    def __iter__(self):
        rows = self.dataset.index
        for _ in range(self.n_passes):
            if self.shuffle:
                chance = torch.rand(rows.shape, dtype=torch.float64)
                rows = self.dataset.index.gather(-1, chance.argsort(dim=-1))
                del chance  # of millions of rows much memory
            near = self.dataset.near(rows)
            for batch in torch.tensor_split(near, self.n_batches, dim=-1):
                yield self.dataset.take(batch)


class Chunks:
    """Iterate over :class:`Rows` for prediction, in chunks of one fixed size.

    The last chunk is filled up with its first row. The kernels of a matrix product
    depend on its shape; with one shape for all, the result for a row does not depend on
    how many rows it was sent with.
    """

    size = 128

    def __init__(self, dataset, **_):
        self.dataset = dataset

    def __iter__(self):
        n_rows = len(self.dataset)
        for start in range(0, n_rows, self.size):
            index = torch.arange(start, start + self.size)
            yield self.dataset.take(torch.where(index < n_rows, index, start))
