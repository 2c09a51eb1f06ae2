"""Nominal attributes: columns that hold one of a list of words, as numbers."""

from itertools import groupby

import numpy as np
import scipy.sparse as sp

# The words that mean no and yes. Upper and lower case are the same.
_NO_AND_YES = [("0", "1"), ("false", "true"), ("no", "yes")]


def meanings(values):
    """What the values of a yes-or-no attribute mean.

    Parameters
    ----------
    values : list of str
        The values that the attribute can take.

    Returns
    -------
    list of int or None
        0 or 1 for each value; None if the attribute is not of yes or no.

    Examples
    --------
    >>> from skcgmvae.datasets._nominal import meanings
    >>> meanings(["YES", "NO"])
    [1, 0]
    >>> meanings(["red", "green"])
    """
    words = [value.lower() for value in values]
    for pair in _NO_AND_YES:
        if set(words) <= set(pair):
            return [pair.index(word) for word in words]
    return None


def expand(codes, names, values):
    """Columns of numbers for columns of which some hold codes of nominal values.

    A numeric column stays as it is. One of yes or no becomes a column of 0 and 1. Any
    other nominal one becomes a column of 0 and 1 for each of its values, with the name
    ``name=value``. What is missing in ``codes`` is missing in each column made of it.

    Parameters
    ----------
    codes : {ndarray, CSR matrix} of shape (n_rows, n_columns), float64
        Numbers; for a nominal column positions in its list of values, NaN if missing.
    names : list of str of length n_columns
    values : list of length n_columns
        The list of values of each nominal column, None for the others.

    Returns
    -------
    numbers : {ndarray, CSR matrix} of shape (n_rows, n_numbers), float64
    names : list of str of length n_numbers

    Examples
    --------
    >>> import numpy as np
    >>> from skcgmvae.datasets._nominal import expand
    >>> codes = np.array([[0.5, 0, 2], [1.5, 1, 0]])
    >>> names, values = ["size", "new", "hue"], [None, ["yes", "no"], ["r", "g", "b"]]
    >>> numbers, names = expand(codes, names, values)
    >>> names
    ['size', 'new', 'hue=r', 'hue=g', 'hue=b']
    >>> numbers
    array([[0.5, 1. , 0. , 0. , 1. ],
           [1.5, 0. , 1. , 0. , 0. ]])
    """
    if all(map(_is_number, values)):
        return codes, list(names)
    blocks, new_names = [], []
    for unchanged, run in groupby(range(len(names)), lambda i: _is_number(values[i])):
        run = list(run)
        if unchanged:
            blocks.append(codes[:, run[0] : run[-1] + 1])
            new_names += names[run[0] : run[-1] + 1]
            continue
        for column in run:
            blocks.append(_indicators(codes[:, [column]], values[column]))
            name = names[column]
            if meanings(values[column]):
                new_names.append(name)
            else:
                new_names += [f"{name}={value}" for value in values[column]]
    if sp.issparse(codes):
        return sp.hstack(blocks, format="csr"), new_names
    return np.hstack(blocks), new_names


def _is_number(values):
    """Whether the codes of a column are its numbers."""
    return values is None or meanings(values) in ([0], [0, 1])


def _indicators(codes, values):
    """The columns made of one column of codes; sparse if that is sparse."""
    sparse = sp.issparse(codes)
    codes = np.ravel(codes.toarray() if sparse else codes)
    truth = meanings(values)
    # A row for each value, and one for a missing value.
    if truth:
        table = sp.csr_matrix(np.array([*truth, np.nan])[:, None])
    else:
        missing = sp.csr_matrix(np.full((1, len(values)), np.nan))
        table = sp.vstack([sp.identity(len(values)), missing], format="csr")
    columns = table[np.where(np.isnan(codes), len(values), codes).astype(np.intp)]
    return columns if sparse else columns.toarray()
