"""Splits that keep the labels balanced."""

import warnings
from math import ceil
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from iterstrat.ml_stratifiers import IterativeStratification
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length, check_random_state

from skcgmvae._labels import LabelCoder


def label_balanced_split(Y, *, test_size=0.1, random_state=None):
    """Split rows in two such that each label is equally frequent in both.

    Parameters
    ----------
    Y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
        Label matrix of 0 and 1, or the class of each row. Rows without labels are
        balanced too.
    test_size : float, default=0.1
        Fraction of the rows in the second part, above 0 and below 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling, and of the choice between equally good parts.

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
        Seed of the shuffling, and of the choice between equally good folds. Only with
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
    Labels are dealt out from the rarest to the most frequent. Fold sizes may differ a
    little, for the balance of the labels comes first; rows without labels are
    balanced too.

    A sparse ``y`` becomes one dense matrix of a byte an entry. The time grows with
    ``n_samples * n_labels ** 2``, which is felt from some thousand labels on.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
    ECML PKDD 2011, algorithm 1; the package iterative-stratification does the work.

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
        if self.n_splits > len(groups):
            raise ValueError(
                f"n_splits must be at most the number of rows, {len(groups)}; got "
                f"{self.n_splits}."
            )
        rng = check_random_state(self.random_state if self.shuffle else 0)
        shares = np.full(self.n_splits, 1 / self.n_splits)
        fold = _deal_out(groups, shares, rng, shuffle=self.shuffle)
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
        Fraction of the rows in the test part, above 0 and below 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling, and of the choice between equally good parts. An int
        gives the same splits at each call of :meth:`split`.

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
    As for :class:`LabelBalancedKFold`, for each split.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
    ECML PKDD 2011, algorithm 1; the package iterative-stratification does the work.

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
        n_samples = len(groups)
        if n_samples < 2:
            raise ValueError(
                f"Y must have at least 2 rows to be split; got {n_samples}."
            )
        rng = check_random_state(self.random_state)
        n_test = ceil(self.test_size * n_samples)
        shares = np.array([n_samples - n_test, n_test]) / n_samples
        for _ in range(self.n_splits):
            yield _deal_out(groups, shares, rng) == 1


def _check_n_splits(n_splits, at_least):
    whole = isinstance(n_splits, Integral) and not isinstance(n_splits, bool)
    if not whole or n_splits < at_least:
        raise ValueError(
            f"n_splits must be a whole number from {at_least} on; got {n_splits!r}."
        )


def _as_groups(Y):
    """Which rows have each label, (n_samples, n_labels + 1) of bool.

    The last column says "has no label", so that those rows are dealt out evenly too.
    """
    labels = LabelCoder().fit_transform(Y).astype(bool)
    if sp.issparse(labels):
        labels = labels.toarray()
    return np.column_stack([labels, ~labels.any(axis=1)])


def _deal_out(groups, shares, rng, shuffle=True):
    """The part of each row, 0 to ``len(shares) - 1``, none of them empty."""
    n_samples = len(groups)
    order = rng.permutation(n_samples) if shuffle else np.arange(n_samples)
    part = np.empty(n_samples, dtype=int)
    part[order] = IterativeStratification(
        labels=groups[order], r=shares, random_state=rng
    )
    # Balance comes before size, so that a few rows may leave a part without any.
    for empty in np.setdiff1d(np.arange(len(shares)), part):
        largest = np.bincount(part).argmax()
        part[rng.choice(np.flatnonzero(part == largest))] = empty
    return part
