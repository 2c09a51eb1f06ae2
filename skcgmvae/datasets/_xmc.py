"""Data sets of the extreme classification repository."""

import re

import numpy as np
from sklearn.utils import Bunch

from skcgmvae.datasets._text import Lines, SparseRows, parse_number, shorten

_HEADER = re.compile(r"\s*([0-9]{1,18})\s+([0-9]{1,18})\s+([0-9]{1,18})\s*")


def load_xmc(path, *, return_X_y=False):
    """Load a data set in the text format of the extreme classification repository.

    Parameters
    ----------
    path : str or path-like
        The file. One whose name ends in ``.gz`` or ``.bz2`` is decompressed.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Its attributes:

        data : CSR matrix of shape (n_samples, n_features), float32
            The features.
        target : CSR matrix of shape (n_samples, n_labels), uint8
            The labels, 0 or 1.
        feature_names : None
            The format has no names.
        target_names : None
            Likewise.

    (data, target) : tuple if ``return_X_y=True``
        The first two of these.

    Raises
    ------
    ValueError
        If the first line is not that of the format; if there are more or fewer rows
        than it says; if an index is not below the number that it says; if a feature is
        there twice in a row, or has a value that is not finite in float32. The message
        gives the number of the line.

    See Also
    --------
    load_arff : Load a data set of Mulan or MEKA.
    sklearn.datasets.load_svmlight_file : Load a file without the first line.

    Notes
    -----
    The `repository <http://manikvarma.org/downloads/XC/XMLRepository.html>`_ has files
    of text. The first line holds the numbers of rows, features and labels. Each row is
    a line of its labels, with commas between them, and pairs ``feature:value``, with
    spaces between them. Indices are counted from 0. A row without labels begins with a
    space or with a feature, one without features ends after the labels, one without
    both is a blank line. Features need not be in order; a label that is there twice in
    a row counts once.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skcgmvae.datasets import load_xmc
    >>> text = '''2 5 3
    ... 0,2 1:0.5 4:2
    ...  0:1
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tiny.txt"
    ...     _ = path.write_text(text)
    ...     tiny = load_xmc(path)
    >>> tiny.data.toarray()
    array([[0. , 0.5, 0. , 0. , 2. ],
           [1. , 0. , 0. , 0. , 0. ]], dtype=float32)
    >>> tiny.target.toarray()
    array([[1, 0, 1],
           [0, 0, 0]], dtype=uint8)
    """
    with Lines(path) as lines:
        n_rows, n_features, n_labels = _read_header(lines)
        features = SparseRows(n_features, np.float32)
        labels = SparseRows(n_labels, np.uint8)
        for line in lines:
            if len(features) < n_rows:
                _read_row(lines, line, features, labels)
            elif line.strip():
                raise lines.error(f"more rows than the {n_rows} that line 1 promises.")
        if len(features) < n_rows:
            raise lines.error(
                f"the file ends after {len(features)} of the {n_rows} rows that line 1 "
                "promises."
            )
    data, target = features.to_csr(), labels.to_csr()
    _check_finite(lines, data)
    data.sort_indices()
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, feature_names=None, target_names=None)


def _read_header(lines):
    """The numbers of rows, features and labels."""
    line = next(lines, "")
    match = _HEADER.fullmatch(line)
    if not match:
        raise ValueError(
            f"{lines.path}, line 1: wants three whole numbers, of rows, features and "
            f"labels; {shorten(line.strip())} came."
        )
    return map(int, match.groups())


def _read_row(lines, line, features, labels):
    """Append the row's features to ``features``, and its labels to ``labels``."""
    first, rest = [*line.split(maxsplit=1), "", ""][:2]
    if ":" in first:
        first, rest = "", line
    try:
        row_labels = {parse_number(int, label) for label in first.split(",") if first}
    except ValueError:
        raise lines.error(
            f"labels want to be whole numbers between commas; {shorten(first)} came."
        ) from None
    indices, values = _read_pairs(lines, rest)
    if len(set(indices)) < len(indices):
        twice = next(index for index in indices if indices.count(index) > 1)
        raise lines.error(f"feature {twice} is there twice.")
    _check_range(lines, "feature", indices, features.n_columns)
    _check_range(lines, "label", row_labels, labels.n_columns)
    row_labels = sorted(row_labels)
    features.append(indices, values)
    labels.append(row_labels, [1] * len(row_labels))


def _read_pairs(lines, text):
    """The indices and the values of pairs ``index:value`` with spaces between them."""
    # The quick way: with colons as words of their own, every third word must be one,
    # and none may have had a space at its side. Python's numbers may be 1_000.
    words = text.replace(":", " : ").split()
    colons = words[1::3]
    if (
        len(words) == 3 * len(colons)
        and colons.count(":") == len(colons)
        and not any(mark in text for mark in (" :", ": ", "\t:", ":\t", "_"))
    ):
        try:
            return list(map(int, words[::3])), list(map(float, words[2::3]))
        except ValueError:
            pass
    # One by one, to find the one that is wrong.
    indices, values = [], []
    for pair in text.split():
        index, _, value = pair.partition(":")
        try:
            indices.append(parse_number(int, index))
            values.append(parse_number(float, value))
        except ValueError:
            raise lines.error(
                "features want to be pairs index:value with spaces between them; "
                f"{shorten(pair)} came."
            ) from None
    return indices, values


def _check_range(lines, what, indices, size):
    if indices and (min(indices) < 0 or max(indices) >= size):
        wrong = next(index for index in indices if not 0 <= index < size)
        raise lines.error(
            f"{what} {wrong} is out of range: line 1 promises {size}, from 0 on."
        )


def _check_finite(lines, data):
    infinite = np.flatnonzero(~np.isfinite(data.data))
    if len(infinite):
        row = np.searchsorted(data.indptr, infinite[0], side="right") - 1
        raise ValueError(
            f"{lines.path}, line {row + 2}: feature {data.indices[infinite[0]]} has a "
            "value that is not finite in float32."
        )
