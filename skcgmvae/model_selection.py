"""Splits that keep the labels balanced."""

import warnings
from math import ceil
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length, check_random_state

from skcgmvae._labels import LabelCoder
from skcgmvae._stratification import deal_out


def label_balanced_split(Y, *, test_size=0.1, random_state=None):
    """Split rows in two such that each label is equally frequent in both.

    Parameters
    ----------
    Y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
        Label matrix of 0 and 1, or the class of each row. Rows without labels are
        balanced too.
    test_size : float, default=0.1
        Fraction of the rows in the second part, above 0 and below 1; rounded up, as
        long as a row is left for the first.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling, which decides between equally good splits.

    Returns
    -------
    train, test : ndarray of int
        Sorted row numbers of the two parts, neither of them empty.

    Raises
    ------
    ValueError
        If ``Y`` has fewer than two rows or holds something else than labels, and if
        ``test_size`` is no fraction.

    See Also
    --------
    LabelBalancedShuffleSplit : Several such splits, for cross-validation.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
    ECML PKDD 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skcgmvae.model_selection import label_balanced_split
    >>> Y = np.repeat([[1, 0], [0, 1]], 10, axis=0)
    >>> train, test = label_balanced_split(Y, test_size=0.2, random_state=0)
    >>> Y[test].sum(axis=0)
    array([2, 2])
    """
    splitter = LabelBalancedShuffleSplit(
        1, test_size=test_size, random_state=random_state
    )
    return next(splitter.split(None, Y))


class _LabelBalancedSplitter(BaseCrossValidator):
    """What the splitters share; a subclass says which rows each test part has."""

    def get_n_splits(self, X=None, y=None, groups=None):
        """The number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored; they are there because scikit-learn passes them.

        Returns
        -------
        int
            ``n_splits``.
        """
        return self.n_splits

    def split(self, X, y, groups=None):
        """Yield the row numbers of each split.

        Parameters
        ----------
        X : array-like of length n_samples, or None
            Only its length is looked at.
        y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Label matrix of 0 and 1, or the class of each row.
        groups : object, default=None
            Ignored, with a warning.

        Yields
        ------
        train, test : ndarray of int
            Sorted row numbers of the two parts, neither of them empty.

        Raises
        ------
        ValueError
            If ``y`` holds something else than labels or has too few rows, and if
            its length is not that of ``X``.
        """
        if groups is not None:
            warnings.warn(
                f"The groups parameter is ignored by {type(self).__name__}.",
                UserWarning,
                stacklevel=2,
            )
        if y is None:
            raise ValueError(
                f"{type(self).__name__} balances labels: y must be a label matrix or "
                "a vector of classes; got None."
            )
        check_consistent_length(X, y)
        for in_test in self._test_masks(_as_groups(y)):
            yield np.flatnonzero(~in_test), np.flatnonzero(in_test)


class LabelBalancedKFold(_LabelBalancedSplitter):
    """Cross-validation folds in which each label is equally frequent.

    For what :class:`~sklearn.model_selection.StratifiedKFold` is to classes, when a row
    may have several labels. To be passed as ``cv`` to what scikit-learn has for
    cross-validation. Each row is in the test part once.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Shuffle the rows first. Otherwise the folds depend on the labels alone.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling, which decides between equally good folds. Only with
        ``shuffle=True``. An int gives the same folds at each call of :meth:`split`.

    Raises
    ------
    ValueError
        If ``n_splits`` is no such number, and if ``random_state`` is given without
        ``shuffle``; at the first fold, if there are fewer rows than folds.

    See Also
    --------
    LabelBalancedShuffleSplit : Test parts of any size.

    Notes
    -----
    Labels are dealt out from the rarest to the most frequent; rows without labels are
    balanced too. Then rows are moved until no fold is more than one row larger than
    another, those first that bring the labels into better balance, or out of it least.

    Time and memory grow with the number of ones in ``y`` and with the number of labels
    times the number of folds. A sparse ``y`` stays sparse, a dense one becomes so.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
    ECML PKDD 2011, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skcgmvae.model_selection import LabelBalancedKFold
    >>> Y = np.repeat([[1, 0], [0, 1], [1, 1]], 4, axis=0)
    >>> for train, test in LabelBalancedKFold(n_splits=2).split(np.zeros(12), Y):
    ...     print(len(test), Y[test].sum(axis=0))
    6 [4 4]
    6 [4 4]
    """

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None):
        _check_n_splits(n_splits, at_least=2)
        if not isinstance(shuffle, bool | np.bool_):
            raise ValueError(f"shuffle must be True or False; got {shuffle!r}.")
        if random_state is not None and not shuffle:
            raise ValueError(
                "random_state has an effect with shuffle=True only; got "
                f"random_state={random_state!r} and shuffle=False."
            )
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def _test_masks(self, groups):
        n_samples = groups.shape[0]
        if self.n_splits > n_samples:
            raise ValueError(
                f"n_splits must be at most the number of rows, {n_samples}; got "
                f"{self.n_splits}."
            )
        shares = np.ones(self.n_splits, dtype=int)
        sizes = (n_samples + np.arange(self.n_splits)[::-1]) // self.n_splits
        if self.shuffle:
            rng = check_random_state(self.random_state)
            fold = _shuffled(groups, shares, sizes, rng)
        else:
            fold = deal_out(groups, shares, sizes)
        for number in range(self.n_splits):
            yield fold == number


class LabelBalancedShuffleSplit(_LabelBalancedSplitter):
    """Random splits in two such that each label is equally frequent in both.

    For what :class:`~sklearn.model_selection.StratifiedShuffleSplit` is to classes,
    when a row may have several labels. The splits are independent of one another.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits, at least 1.
    test_size : float, default=0.1
        Fraction of the rows in the test part, above 0 and below 1; rounded up, as long
        as a row is left for training.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling, which decides between equally good splits. An int gives
        the same splits at each call of :meth:`split`.

    Raises
    ------
    ValueError
        If ``n_splits`` or ``test_size`` is no such number; at the first split, if
        there are fewer than two rows.

    See Also
    --------
    LabelBalancedKFold : Folds such that each row is in one test part.
    label_balanced_split : A single split, without the splitter.

    Notes
    -----
    As for :class:`LabelBalancedKFold`, for each split. Of a label with few rows, each
    part gets the whole number nearest to what is due to it: at a tenth, a label of five
    rows or fewer is as a rule in the training part alone.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
    ECML PKDD 2011, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skcgmvae.model_selection import LabelBalancedShuffleSplit
    >>> Y = np.repeat([[1, 0], [0, 1]], 10, axis=0)
    >>> splitter = LabelBalancedShuffleSplit(2, test_size=0.2, random_state=0)
    >>> for train, test in splitter.split(np.zeros(20), Y):
    ...     print(len(test), Y[test].sum(axis=0))
    4 [2 2]
    4 [2 2]
    """

    def __init__(self, n_splits=10, *, test_size=0.1, random_state=None):
        _check_n_splits(n_splits, at_least=1)
        if not isinstance(test_size, Real) or not 0 < test_size < 1:
            raise ValueError(
                "test_size must be the fraction of the rows in the test part, above 0 "
                f"and below 1; got {test_size!r}."
            )
        self.n_splits = n_splits
        self.test_size = test_size
        self.random_state = random_state

    def _test_masks(self, groups):
        n_samples = groups.shape[0]
        if n_samples < 2:
            raise ValueError(
                f"Y must have at least 2 rows to be split; got {n_samples}."
            )
        rng = check_random_state(self.random_state)
        n_test = min(ceil(self.test_size * n_samples), n_samples - 1)
        sizes = np.array([n_samples - n_test, n_test])
        for _ in range(self.n_splits):
            yield _shuffled(groups, sizes, sizes, rng) == 1


def _check_n_splits(n_splits, at_least):
    whole = isinstance(n_splits, Integral) and not isinstance(n_splits, bool)
    if not whole or n_splits < at_least:
        raise ValueError(
            f"n_splits must be a whole number from {at_least} on; got {n_splits!r}."
        )


def _as_groups(Y):
    """Which rows have each label, a CSR matrix (n_samples, n_labels + 1).

    The last column says "has no label", so that those rows are dealt out evenly too.
    """
    labels = LabelCoder().fit_transform(Y, copy=False)
    if not sp.issparse(labels):
        # In pieces, for on the way there each 1 takes many bytes.
        pieces = np.array_split(labels, ceil(labels.size / 2**22))
        labels = sp.vstack([sp.csr_matrix(piece) for piece in pieces], format="csr")
    n_samples, n_labels = labels.shape
    none = np.diff(labels.indptr) == 0
    indices = np.insert(labels.indices, labels.indptr[:-1][none], n_labels)
    indptr = labels.indptr + np.append(0, none.cumsum())
    ones = np.ones(len(indices), dtype=np.uint8)
    return sp.csr_matrix((ones, indices, indptr), (n_samples, n_labels + 1))


def _shuffled(groups, shares, sizes, rng):
    """The part of each row, where its place does not matter."""
    order = rng.permutation(groups.shape[0])
    part = np.empty(len(order), dtype=int)
    part[order] = deal_out(groups[order], shares, sizes)
    return part
