"""Data sets in archives of plain NumPy arrays."""

import os
import zipfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils import Bunch


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
    load_arff : Load a data set of Mulan or MEKA.
    load_xmc : Load a data set of the extreme classification repository.
    fetch_multilabel : Load a data set of OpenML.

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
