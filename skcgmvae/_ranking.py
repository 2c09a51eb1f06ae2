"""Which entries of a row are its best."""

import numpy as np


def is_top_k(values, k):
    """Whether an entry is one of the ``k`` largest of its row, of equals the first.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
    k : int
        From 1 to ``n_columns``.

    Returns
    -------
    ndarray of bool of shape (n_rows, n_columns)
        True k times in each row.
    """
    least = np.partition(values, -k, axis=1)[:, [-k]]
    above, level = values > least, values == least
    n_free = k - above.sum(axis=1, keepdims=True)
    return above | (level & (level.cumsum(axis=1) <= n_free))
