"""Text files read line by line, and the rows of numbers that they hold."""

import bz2
import gzip
import zlib
from array import array
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open}


class Lines:
    """The lines of a text file, decoded one by one.

    A context manager and an iterator: several loops in a row share the file, each
    going on where the one before stopped.

    Parameters
    ----------
    path : str or path-like
        The file. One whose name ends in ``.gz`` or ``.bz2`` is decompressed.
    encoding : str, default="utf-8"
        Its encoding, one in which line breaks are those of ASCII.

    Attributes
    ----------
    number : int
        Number of the line read last, from 1 on.
    """

    def __init__(self, path, encoding="utf-8"):
        self.path = Path(path)
        self.encoding = encoding
        self.number = 0

    def __enter__(self):
        opener = _OPENERS.get(self.path.suffix.lower(), open)
        self._file = opener(self.path, "rb")
        return self

    def __exit__(self, *error):
        self._file.close()

    def __iter__(self):
        return self

    def __next__(self):
        try:
            line = next(self._file)
        except (EOFError, OSError, zlib.error) as error:
            if getattr(error, "errno", None) is not None:
                raise  # the disk's fault, not the file's
            raise self.error(
                f"the compressed data is damaged or cut off after this line ({error})."
            ) from error
        self.number += 1
        try:
            text = line.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise self.error(
                f"byte {error.start + 1} (0x{line[error.start]:02x}) is not "
                f"{self.encoding}, the encoding asked for."
            ) from error
        # Some editors begin a file in UTF-8 with a mark of the order of its bytes.
        return text.removeprefix("\ufeff") if self.number == 1 else text

    def error(self, message):
        """The ValueError that says ``message`` of the line read last."""
        return ValueError(f"{self.path}, line {self.number}: {message}")


class SparseRows:
    """The rows of a sparse matrix, appended one by one.

    Parameters
    ----------
    n_columns : int
    dtype : dtype of the values
    """

    def __init__(self, n_columns, dtype):
        self.n_columns = n_columns
        # Arrays of machine numbers: lists would take several times the memory.
        narrow = n_columns <= np.iinfo(np.int32).max
        self._columns = array("i" if narrow else "q")
        self._values = array(np.dtype(dtype).char)
        self._ends = array("q", [0])

    def __len__(self):
        return len(self._ends) - 1

    def append(self, columns, values):
        """Append a row, of lists of column indices and values."""
        self._columns.fromlist(columns)
        self._values.fromlist(values)
        self._ends.append(len(self._values))

    def to_csr(self):
        """All rows; no further one can be appended while this matrix is in use."""
        parts = (self._values, self._columns, self._ends)
        return csr_matrix(
            tuple(np.asarray(part) for part in parts),
            shape=(len(self), self.n_columns),
        )


def parse_number(kind, text):
    """``kind(text)``, int or float; a ValueError for what only Python reads, 1_000."""
    if "_" in text:
        raise ValueError
    return kind(text)


def shorten(text, length=60):
    """``text`` in quotes, its end left out where it is long: for messages."""
    return repr(text if len(text) <= length else text[: length - 3] + "...")
