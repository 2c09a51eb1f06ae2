"""Data sets of Mulan and MEKA, in Weka's attribute-relation file format (ARFF)."""

import os
import re
from collections.abc import Iterable
from numbers import Integral
from xml.etree import ElementTree

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from skcgmvae.datasets._arff_reader import read_header, read_rows
from skcgmvae.datasets._nominal import expand
from skcgmvae.datasets._text import Lines, shorten

# MEKA's option in the name of the relation, as in 'yeast: -C -14'.
_MEKA = re.compile(r"(?:^|[\s:'\"])-C\s+(-?[0-9]+)")


def load_arff(path, *, labels=None, encoding="utf-8", return_X_y=False):
    """Load a multi-label data set of Mulan or MEKA from an ARFF file.

    Parameters
    ----------
    path : str or path-like
        The file, dense or sparse. One whose name ends in ``.gz`` or ``.bz2`` is
        decompressed.
    labels : str, path-like, list of str or int, default=None
        Which attributes are the labels:

        - None: what the file says itself, with MEKA's option ``-C`` in the line
          ``@relation``; failing that, the list of labels of Mulan beside it. For
          ``scene-train.arff`` that is ``scene-train.xml`` or ``scene.xml``.
        - str or path-like: those in the list of labels at this path, an XML file of
          Mulan.
        - list of str: those of these names.
        - int: MEKA's way of counting, the first ``labels`` attributes, or if it is
          negative the last ``-labels``.
    encoding : str, default="utf-8"
        The encoding of the file. Some old files need ``"latin-1"``.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Its attributes:

        data : {ndarray, CSR matrix} of shape (n_samples, n_features), float64
            The features, sparse if the file is. NaN is what is missing.
        target : {ndarray, CSR matrix} of shape (n_samples, n_labels), uint8
            The labels, 0 or 1, sparse if the file is.
        feature_names : list of str
            Names of the features, in the order of the file.
        target_names : list of str
            Names of the labels, in the order in which ``labels`` or the XML file
            names them, else in that of the file.

    (data, target) : tuple if ``return_X_y=True``
        The first two of these.

    Raises
    ------
    ValueError
        If the file is malformed, ends within a row, or has an attribute that is neither
        numeric nor nominal; the message gives the number of the line. If neither
        ``labels`` nor the file says what the labels are, if there is no attribute of
        that name, or if one of them is not 0 or 1 in each row.

    See Also
    --------
    load_xmc : Load a data set of the extreme classification repository.
    fetch_multilabel : Download a data set from OpenML.

    Notes
    -----
    `ARFF <https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/>`_
    has a line ``@attribute name type`` for each column, and the rows after ``@data``:
    values between commas, or in a sparse file pairs of the column's index, from 0 on,
    and its value, as in ``{3 0.5, 7 'dark green'}``. Sparse rows leave out zeros, and
    of a nominal attribute the value that is first in its list. A ``?`` is a missing
    value, a ``%`` begins a comment.

    Nominal attributes become numbers. Those of yes or no, with the values 0 and 1,
    FALSE and TRUE or NO and YES in any order, become a feature of 0 and 1. The others
    become a feature of 0 and 1 for each of their values, named ``attribute=value``. If
    the value is missing, all of these are NaN. Attributes of text, dates or relations
    are refused, and so are rows with weights.

    `Mulan <https://mulan.sourceforge.net/format.html>`_ lists the labels in an XML
    file with an element ``<label name="...">`` for each. They may be nested, as a
    hierarchy: each one is a label all the same. `MEKA
    <https://waikato.github.io/meka/>`_ writes their number into the first line, as in
    ``@relation 'yeast: -C 14'``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skcgmvae.datasets import load_arff
    >>> text = '''@relation 'photographs: -C 2'
    ... @attribute sea {0, 1}
    ... @attribute beach {0, 1}
    ... @attribute brightness numeric
    ... @attribute sky {clear, 'with clouds'}
    ... @data
    ... 1, 0, 0.5, clear
    ... 1, 1, ?, 'with clouds'
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "photographs.arff"
    ...     _ = path.write_text(text)
    ...     photographs = load_arff(path)
    >>> photographs.feature_names
    ['brightness', 'sky=clear', 'sky=with clouds']
    >>> photographs.data
    array([[0.5, 1. , 0. ],
           [nan, 0. , 1. ]])
    >>> photographs.target_names
    ['sea', 'beach']
    >>> photographs.target
    array([[1, 0],
           [1, 1]], dtype=uint8)
    """
    with Lines(path, encoding) as lines:
        relation, attributes = read_header(lines)
        names = [attribute.name for attribute in attributes]
        targets = _find_labels(labels, relation, names, lines.path)
        codes = read_rows(lines, attributes, set(targets))
    features = sorted(set(range(len(names))) - set(targets))
    data, feature_names = _select(codes, features, attributes)
    target, target_names = _select(codes, targets, attributes)
    target = target.astype(np.uint8)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        feature_names=feature_names,
        target_names=target_names,
    )


def _select(codes, columns, attributes):
    """The numbers that the columns of ``codes`` hold or stand for, and their names."""
    names = [attributes[column].name for column in columns]
    values = [attributes[column].values for column in columns]
    if not sp.issparse(codes):
        return expand(np.take(codes, columns, axis=1), names, values)
    numbers, names = expand(codes[:, columns], names, values)
    numbers.eliminate_zeros()
    numbers.sort_indices()
    return numbers, names


def _find_labels(labels, relation, names, path):
    """The positions in ``names`` of the attributes that are labels."""
    option = _MEKA.search(relation)
    if labels is None and option:
        return _count(int(option[1]), names, f"{path}: -C in @relation")
    if labels is None:
        labels = _find_xml(path)
    if isinstance(labels, Integral) and not isinstance(labels, bool):
        return _count(int(labels), names, "labels")
    if isinstance(labels, str | os.PathLike):
        source, labels = str(labels), _read_xml(labels)
    elif isinstance(labels, Iterable):
        source, labels = "labels", list(labels)
    else:
        raise TypeError(
            "labels must be None, the path of an XML file, a list of names or a whole "
            f"number; {labels!r} came."
        )
    positions = {name: position for position, name in enumerate(names)}
    unknown = [label for label in labels if label not in positions]
    if unknown:
        raise ValueError(
            f"{source} names {shorten(', '.join(map(str, unknown)))}, which {path} "
            f"does not have. Its attributes are {shorten(', '.join(names))}."
        )
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{source} names {twice!r} twice.")
    if not 0 < len(labels) < len(names):
        raise ValueError(
            f"{source} names {len(labels)} of the {len(names)} attributes of {path}; "
            "there must be at least one label, and one feature."
        )
    return [positions[label] for label in labels]


def _count(count, names, source):
    """The positions of the first ``count`` names, or of the last if it is negative."""
    if not 0 < abs(count) < len(names):
        raise ValueError(
            f"{source} must be from 1 to {len(names) - 1}, or from -1 to "
            f"{1 - len(names)}, as there are {len(names)} attributes; {count} came."
        )
    positions = range(len(names))
    return list(positions[:count] if count > 0 else positions[count:])


def _find_xml(path):
    """The list of labels of Mulan that belongs to the file."""
    stem = re.sub(r"(\.arff)?(\.gz|\.bz2)?$", "", path.name, flags=re.IGNORECASE)
    candidates = [path.with_name(f"{stem}.xml")]
    while "-" in stem:
        stem = stem.rpartition("-")[0]
        candidates.append(path.with_name(f"{stem}.xml"))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked_for = " or ".join(candidate.name for candidate in candidates)
    raise ValueError(
        f"Which attributes of {path} are labels? Its line @relation has no -C, and "
        f"there is no {looked_for} beside it: pass labels."
    )


def _read_xml(path):
    """The names in a list of labels of Mulan."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not XML: {error}.") from error
    # Tags have their namespace in front, {http://mulan.sourceforge.net/labels}label.
    labels = [each for each in root.iter() if each.tag.rpartition("}")[2] == "label"]
    names = [label.get("name") for label in labels]
    if not names or None in names:
        raise ValueError(
            f'{path} wants <label name="..."> for each label; {len(names)} elements '
            f"<label> came, {names.count(None)} of them without a name."
        )
    return names
