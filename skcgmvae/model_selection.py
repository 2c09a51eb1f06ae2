"""Splits that keep the labels balanced."""

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from sklearn.utils import check_random_state


def label_balanced_split(Y, *, test_size=0.1, random_state=None):
    """Split rows in two such that each label is equally frequent in both.

    Parameters
    ----------
    Y : ndarray or sparse matrix of shape (n_samples, n_labels)
        Labels, 0 or 1. Rows without labels are balanced too.
    test_size : float, default=0.1
        Fraction of the rows in the second part, in (0, 1).
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    train, test : ndarray of int
        Sorted row numbers of the two parts, neither of them empty.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
    ECML PKDD 2011; the package iterative-stratification does the work.

    Examples
    --------
    >>> import numpy as np
    >>> from skcgmvae.model_selection import label_balanced_split
    >>> Y = np.repeat([[1, 0], [0, 1]], 10, axis=0)
    >>> train, test = label_balanced_split(Y, test_size=0.2, random_state=0)
    >>> Y[test].sum(axis=0)
    array([2, 2])
    """
    n_samples = Y.shape[0]
    if n_samples < 2:
        raise ValueError(f"Y must have at least 2 rows to be split; got {n_samples}.")
    rng = check_random_state(random_state)
    dense = Y.toarray() if hasattr(Y, "toarray") else np.asarray(Y)
    train = test = ()
    if test_size * n_samples <= n_samples - 1:
        # A last column of "has no labels" lets those rows be dealt out evenly too.
        dense = np.column_stack([dense != 0, ~dense.any(axis=1)]).astype(np.int8)
        splitter = MultilabelStratifiedShuffleSplit(
            n_splits=1, test_size=test_size, random_state=rng
        )
        train, test = next(splitter.split(np.zeros(n_samples), dense))
    if len(train) == 0 or len(test) == 0:  # too few rows to be dealt out
        order = rng.permutation(n_samples)
        n_test = min(max(1, round(test_size * n_samples)), n_samples - 1)
        train, test = order[n_test:], order[:n_test]
    return np.sort(train), np.sort(test)
