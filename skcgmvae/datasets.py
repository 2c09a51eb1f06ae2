"""Data with several labels a row: one built-in set, and files of your own."""

import os
import zipfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

# Which digits have each property, in the order of the label columns.
_ATTRIBUTES = {
    "odd": (1, 3, 5, 7, 9),
    "prime": (2, 3, 5, 7),
    "square": (0, 1, 4, 9),
    "power_of_two": (1, 2, 4, 8),
    "multiple_of_three": (0, 3, 6, 9),
    "greater_than_four": (5, 6, 7, 8, 9),
    "closed_loop": (0, 6, 8, 9),
}

_DESCR = """\
.. _digit_attributes:

Attributes of handwritten digits
--------------------------------

:Samples: 1797
:Features: 64, the pixels of an 8 x 8 image, whole numbers from 0 to 16
:Labels: 7, each 0 or 1
:Labels a sample: 3.0 on average, 2 at least and 5 at most

The images are those of :func:`sklearn.datasets.load_digits`, a part of the UCI
"Optical recognition of handwritten digits" data set (E. Alpaydin and C. Kaynak,
1998). The labels are properties of the digit in the image:

=================  =============
label              digits
=================  =============
odd                1, 3, 5, 7, 9
prime              2, 3, 5, 7
square             0, 1, 4, 9
power_of_two       1, 2, 4, 8
multiple_of_three  0, 3, 6, 9
greater_than_four  5, 6, 7, 8, 9
closed_loop        0, 6, 8, 9
=================  =============

A 4 is counted as open, though some print and write it with a closed loop.

Which labels go together can be worked out by hand. No digit is both prime and
square, or a power of two and a multiple of three; three of the four multiples of
three have a closed loop, and three of the four primes are odd.
"""


def load_digit_attributes(*, return_X_y=False, as_frame=False):
    """Load images of digits, labelled with seven properties of the digit.

    =================   ==============
    Samples total                 1797
    Dimensionality                  64
    Features             integers 0-16
    Labels                           7
    =================   ==============

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Give ``data`` and ``target`` as DataFrames, and ``frame`` with both.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Its attributes:

        data : {ndarray, DataFrame} of shape (1797, 64), float64
            The pixels, row by row.
        target : {ndarray, DataFrame} of shape (1797, 7), int64
            The labels, 0 or 1.
        frame : DataFrame of shape (1797, 71) or None
            ``data`` and ``target`` side by side; only with ``as_frame=True``.
        feature_names : list of str
            Names of the pixels.
        target_names : list of str
            Names of the labels.
        DESCR : str
            Description of the data set.

    (data, target) : tuple if ``return_X_y=True``
        The first two of these.

    See Also
    --------
    load_npz : Load a data set from a file.

    Examples
    --------
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> digits = load_digit_attributes()
    >>> digits.data.shape
    (1797, 64)
    >>> digits.target_names[:3]
    ['odd', 'prime', 'square']
    >>> digits.target[:3, :3]  # the digits 0, 1 and 2
    array([[0, 0, 1],
           [1, 0, 1],
           [0, 1, 0]])
    """
    digits = load_digits()
    data, feature_names = digits.data, list(digits.feature_names)
    target = np.column_stack(
        [np.isin(digits.target, having) for having in _ATTRIBUTES.values()]
    ).astype(np.int64)
    target_names = list(_ATTRIBUTES)
    frame = None
    if as_frame:
        pd = _import_pandas()
        data = pd.DataFrame(data, columns=feature_names)
        target = pd.DataFrame(target, columns=target_names)
        frame = pd.concat([data, target], axis=1)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        target_names=target_names,
        DESCR=_DESCR,
    )


def _import_pandas():
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "load_digit_attributes(as_frame=True) needs pandas: pip install pandas."
        ) from error
    return pandas


def load_npz(name, *, folder=None, return_X_y=False):
    """Load a multi-label data set from ``NAME.npz``.

    Parameters
    ----------
    name : str
        Name of the data set, without ``.npz``.
    folder : str or path-like, default=None
        The folder of the file. None: the one that the environment variable
        ``SKCGMVAE_DATA`` names.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Its attributes:

        data : {ndarray, CSR matrix} of shape (n_samples, n_features), float32
            The features, sparse if they are stored so.
        target : {ndarray, CSR matrix} of shape (n_samples, n_labels), uint8
            The labels, 0 or 1, sparse if they are stored so.
        feature_names : list of str
            Names of the features.
        target_names : list of str
            Names of the labels.

    (data, target) : tuple if ``return_X_y=True``
        The first two of these.

    Raises
    ------
    ValueError
        If neither ``folder`` nor ``SKCGMVAE_DATA`` is set, and if the file lacks an
        array.
    FileNotFoundError
        If there is no such file. The message lists those there are.

    See Also
    --------
    load_digit_attributes : A data set that needs no file.

    Notes
    -----
    The archive, as of :func:`numpy.savez_compressed`, holds plain arrays:

    - the features as one array ``X``, or as the parts ``X_data``, ``X_indices``,
      ``X_indptr`` and ``X_shape`` of a CSR matrix;
    - the labels as ``Y``, or as ``Y_data``, ``Y_indices``, ``Y_indptr``, ``Y_shape``;
    - ``feature_names`` and ``label_names``.

    Other arrays are not read. Pickled objects are refused, so that opening a file
    cannot run code.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skcgmvae.datasets import load_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez_compressed(
    ...         f"{folder}/tiny.npz",
    ...         X=np.eye(3),
    ...         Y=np.array([[0, 1], [1, 1], [0, 0]]),
    ...         feature_names=["a", "b", "c"],
    ...         label_names=["sea", "beach"],
    ...     )
    ...     tiny = load_npz("tiny", folder=folder)
    >>> tiny.data.shape, tiny.target.shape, tiny.target_names
    ((3, 3), (3, 2), ['sea', 'beach'])
    """
    path = _npz_path(name, folder)
    try:
        archive = np.load(path, allow_pickle=False)
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an archive of plain NumPy arrays.") from error
    with archive:
        missing = [
            *_missing_parts(archive, "X"),
            *_missing_parts(archive, "Y"),
            *({"feature_names", "label_names"} - set(archive.files)),
        ]
        if missing:
            raise ValueError(
                f"{path} lacks {', '.join(sorted(missing))}; it holds "
                f"{', '.join(archive.files) or 'no array'}."
            )
        bunch = Bunch(
            data=_read_matrix(archive, "X", np.float32),
            target=_read_matrix(archive, "Y", np.uint8),
            feature_names=archive["feature_names"].tolist(),
            target_names=archive["label_names"].tolist(),
        )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _npz_path(name, folder):
    """The path of the data set's file, which exists."""
    folder = folder or os.environ.get("SKCGMVAE_DATA")
    if not folder:
        raise ValueError(
            f"Where is {name}.npz? Set the environment variable SKCGMVAE_DATA to the "
            "folder of the data sets, or pass folder."
        )
    folder = Path(folder)
    path = folder / f"{name}.npz"
    if path.is_file():
        return path
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no {path}: {folder} is not a folder.")
    there = ", ".join(sorted(file.stem for file in folder.glob("*.npz")))
    raise FileNotFoundError(
        f"There is no {path}. Data sets in that folder: {there or 'none'}."
    )


def _missing_parts(archive, name):
    """The arrays that are needed, and not there, to read matrix ``name``."""
    parts = [f"{name}_{part}" for part in ("data", "indices", "indptr", "shape")]
    missing = [part for part in parts if part not in archive.files]
    if name in archive.files:
        return []
    if len(missing) == len(parts):
        return [f"{name} (or {', '.join(parts)})"]
    return missing


def _read_matrix(archive, name, dtype):
    """Matrix ``name`` as it is stored: an ndarray or a CSR matrix."""
    if name in archive.files:
        return archive[name].astype(dtype, copy=False)
    parts = [archive[f"{name}_{part}"] for part in ("data", "indices", "indptr")]
    return csr_matrix(
        (parts[0].astype(dtype, copy=False), *parts[1:]),
        shape=tuple(archive[f"{name}_shape"].tolist()),
    )
