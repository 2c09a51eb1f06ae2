"""Multi-label data sets of OpenML."""

from http.client import HTTPException
from urllib.error import HTTPError, URLError

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import fetch_openml
from sklearn.utils import Bunch

from skcgmvae.datasets._frames import as_frames
from skcgmvae.datasets._nominal import expand, meanings
from skcgmvae.datasets._text import shorten

# OpenML has several data sets of most of these names, among them some with a single
# label: only the number says which one is meant.
_DATA_SETS = {
    "birds": 41464,
    "emotions": 40589,
    "enron": 41466,
    "genbase": 41467,
    "image": 40592,
    "langlog": 41469,
    "reuters": 40594,
    "scene": 40595,
    "slashdot": 41472,
    "yeast": 40597,
}


def fetch_multilabel(
    name, *, data_home=None, cache=True, return_X_y=False, as_frame=False
):
    """Load a multi-label data set of OpenML, which is downloaded the first time.

    The names, and the numbers that OpenML gives to the data sets:

    - ``"birds"`` (`41464 <https://www.openml.org/d/41464>`__): birds in recordings
    - ``"emotions"`` (`40589 <https://www.openml.org/d/40589>`__): moods of music
    - ``"enron"`` (`41466 <https://www.openml.org/d/41466>`__): topics of e-mail
    - ``"genbase"`` (`41467 <https://www.openml.org/d/41467>`__): families of proteins
    - ``"image"`` (`40592 <https://www.openml.org/d/40592>`__): views in photographs
    - ``"langlog"`` (`41469 <https://www.openml.org/d/41469>`__): topics of Language Log
    - ``"reuters"`` (`40594 <https://www.openml.org/d/40594>`__): topics of the news
    - ``"scene"`` (`40595 <https://www.openml.org/d/40595>`__): views in photographs
    - ``"slashdot"`` (`41472 <https://www.openml.org/d/41472>`__): topics of Slashdot
    - ``"yeast"`` (`40597 <https://www.openml.org/d/40597>`__): functions of genes

    Parameters
    ----------
    name : str
        One of these names, in upper or lower case.
    data_home : str or path-like, default=None
        The folder in which downloads are kept. None: that of
        :func:`sklearn.datasets.get_data_home`.
    cache : bool, default=True
        Keep what is downloaded, and use what has been kept.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Give ``data`` and ``target`` as DataFrames, and ``frame`` with both.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Its attributes:

        data : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
            The features, float64, sparse if OpenML has them so. NaN is what is missing.
        target : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_labels)
            The labels, 0 or 1, uint8, sparse if the features are.
        frame : DataFrame of shape (n_samples, n_features + n_labels) or None
            ``data`` and ``target`` side by side; only with ``as_frame=True``.
        feature_names : list of str
            Names of the features.
        target_names : list of str
            Names of the labels.
        DESCR : str
            Description of the data set.

    (data, target) : tuple if ``return_X_y=True``
        The first two of these.

    Raises
    ------
    ValueError
        If ``name`` is none of these; if what OpenML sends is damaged, is not the data
        set of this name, or has labels that are not of yes or no; if ``as_frame`` is
        asked for and the data is sparse.
    ConnectionError
        If OpenML cannot be reached or does not have the data.

    See Also
    --------
    sklearn.datasets.fetch_openml : Load any data set of OpenML.
    load_arff : Load a data set from a file.

    Notes
    -----
    Nominal features become numbers as in :func:`load_arff`.

    A server that does not answer is waited for as long as
    :func:`socket.getdefaulttimeout` says, which is without end if not set.

    Examples
    --------
    >>> from skcgmvae.datasets import fetch_multilabel
    >>> yeast = fetch_multilabel("yeast")  # doctest: +SKIP
    >>> yeast.data.shape, yeast.target.shape  # doctest: +SKIP
    ((2417, 103), (2417, 14))
    >>> fetch_multilabel("iris")
    Traceback (most recent call last):
        ...
    ValueError: name must be one of birds, emotions, ..., yeast; 'iris' came.
    """
    key = str(name).lower()
    if key not in _DATA_SETS:
        raise ValueError(f"name must be one of {', '.join(_DATA_SETS)}; {name!r} came.")
    fetched = _fetch(key, data_home, cache)
    feature_names, target_names = fetched.feature_names, fetched.target_names
    if fetched.details["name"].lower() != key or len(target_names) < 2:
        raise ValueError(
            f"OpenML's data set {_DATA_SETS[key]} should be {key}, with several "
            f"labels; {fetched.details['name']!r} came, with {len(target_names)}."
        )
    nominal = [fetched.categories.get(name) for name in feature_names]
    data, feature_names = expand(fetched.data, feature_names, nominal)
    if sp.issparse(data):
        # In the target that scikit-learn gives, the values that sparse rows leave out
        # are undefined. Labels that are fetched as features have them.
        columns = _fetch(key, data_home, cache, target_column=None)
        words = np.column_stack([_read_words(columns, name) for name in target_names])
        target = sp.csr_matrix(_to_labels(words, key))
    else:
        target = _to_labels(fetched.target, key)
    frame = None
    if as_frame:
        if sp.issparse(data):
            raise ValueError(
                f"as_frame=True needs dense data; that of {key} is sparse."
            )
        data, target, frame = as_frames(
            "fetch_multilabel", data, target, feature_names, target_names
        )
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=feature_names,
        target_names=target_names,
        DESCR=fetched.DESCR,
    )


def _fetch(name, data_home, cache, **options):
    """What scikit-learn makes of the data set, nominal features as codes."""
    number = _DATA_SETS[name]
    try:
        return fetch_openml(
            data_id=number,
            data_home=data_home,
            cache=cache,
            as_frame=False,
            parser="liac-arff",  # the one that does without pandas
            **options,
        )
    except HTTPError as error:
        raise ConnectionError(
            f"OpenML does not give {name}, its data set {number}: it answers "
            f"{error.code} {error.reason} to {error.url}."
        ) from error
    except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(
            f"OpenML cannot be reached for {name}, its data set {number}: {reason}. "
            "What has been downloaded before, with cache=True and the same data_home, "
            "can be loaded without a connection."
        ) from error


def _read_words(fetched, name):
    """The values of a feature, out of sparse ones; words if it is nominal."""
    column = fetched.feature_names.index(name)
    values = fetched.data[:, [column]].toarray().ravel()
    if name not in fetched.categories:
        return values
    return np.array(fetched.categories[name], dtype=object)[values.astype(np.intp)]


def _to_labels(words, name):
    """0 and 1 for words, or numbers, that mean no and yes."""
    words = words.astype(str)
    truth = {
        word: meanings([word.removesuffix(".0")]) for word in np.unique(words).tolist()
    }
    if None in truth.values():
        raise ValueError(
            f"the labels of {name} want to be of yes or no; "
            f"{shorten(', '.join(truth))} came."
        )
    return np.isin(words, [word for word in truth if truth[word] == [1]]).astype(
        np.uint8
    )
