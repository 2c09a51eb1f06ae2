"""Which rows each network of an ensemble is trained on, and which are held out."""

import math

import numpy as np

from skcgmvae.model_selection import LabelBalancedShuffleSplit


def rows_of_each(members, n_rows):
    """All rows, for every member; (*members, n_rows)."""
    return np.broadcast_to(np.arange(n_rows), (*members, n_rows)).copy()


def hold_out(Y, members, fraction, random_state):
    """The rows that each member trains on, and those that it is validated on.

    They are drawn anew for each member, so that few rows are held out from several,
    and hardly any from all.

    Parameters
    ----------
    Y : ndarray or CSR matrix of shape (n_samples, n_labels)
    members : tuple of int
    fraction : float
        Of the rows, how many are held out from each member, in balance by label.
    random_state : RandomState instance

    Returns
    -------
    train, valid : ndarray of shape (*members, N)
    """
    splitter = LabelBalancedShuffleSplit(
        math.prod(members), test_size=fraction, random_state=random_state
    )
    parts = zip(*splitter.split(None, Y), strict=True)
    return tuple(_even(part).reshape(*members, -1) for part in parts)


def _even(parts):
    """Lists of row numbers as one array, cut to the length of the shortest."""
    shortest = min(map(len, parts))
    return np.stack([part[:shortest] for part in parts])
