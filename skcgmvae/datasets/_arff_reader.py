"""The attribute-relation file format (ARFF) of Weka: headers, dense and sparse rows."""

import operator
import re
from array import array
from dataclasses import dataclass

import numpy as np

from skcgmvae.datasets._nominal import meanings
from skcgmvae.datasets._text import SparseRows, parse_number, shorten

# What each is for: a quoted word; @attribute and what follows; a name and its type;
# what is in braces, and a comment after it; a dense value; an index and a value; an
# escaped character. No two ways to match the same text, so that none takes long.
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_STATEMENT = re.compile(r"@(\w+)\s*(.*)")
_ATTRIBUTE = re.compile(rf"""({_QUOTED}|[^\s'"{{][^\s{{]*)\s*(.*)""")
_BRACES = re.compile(rf"""\{{((?:{_QUOTED}|[^'"{{}}%])*)\}}\s*(?:%.*)?""")
_VALUE = re.compile(rf"""(?:\s*({_QUOTED})\s*|([^,'"{{}}%]*))(,|$|(?<!\S)%.*)""")
_PAIR = re.compile(rf"""\s*(-?[0-9]+)\s+(?:({_QUOTED})\s*|([^,'"{{}}%]+))(,|$)""")
_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class Attribute:
    """An attribute of the header; ``values`` is None for a numeric one."""

    name: str
    values: list[str] | None
    line: int


def read_header(lines):
    """Read up to the line ``@data``.

    Parameters
    ----------
    lines : Lines

    Returns
    -------
    relation : str
        What follows ``@relation``.
    attributes : list of Attribute
    """
    relation, attributes = "", {}
    for line in lines:
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        statement = _STATEMENT.match(text)
        keyword = statement and statement[1].lower()
        if keyword == "relation":
            relation = statement[2]
        elif keyword == "attribute":
            attribute = _read_attribute(lines, statement[2])
            if attribute.name in attributes:
                raise lines.error(
                    f"attribute {attribute.name!r} is there already, in line "
                    f"{attributes[attribute.name].line}."
                )
            attributes[attribute.name] = attribute
        elif keyword == "data":
            if not attributes:
                raise lines.error("@data comes before any @attribute.")
            return relation, list(attributes.values())
        else:
            raise lines.error(
                "the header wants @relation, @attribute or @data; "
                f"{shorten(text)} came."
            )
    raise lines.error("the file ends before a line @data.")


def _read_attribute(lines, text):
    """The attribute of which ``text`` gives name and type."""
    match = _ATTRIBUTE.fullmatch(text)
    if not match or not match[2]:
        raise lines.error(
            "@attribute wants a name and a type, the name in quotes if it has spaces; "
            f"{shorten(text)} came."
        )
    name, kind = _unquote(match[1]), match[2]
    if kind.startswith("{"):
        nominal = _BRACES.fullmatch(kind)
        values = nominal and _split(nominal[1])
        # An empty value is one only in quotes.
        if not values or ("" in values and not _has_marks(nominal[1])):
            raise lines.error(
                f"attribute {name!r} wants values as in {{red, 'dark green'}}; "
                f"{shorten(kind)} came."
            )
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise lines.error(f"attribute {name!r} has the value {twice!r} twice.")
        return Attribute(name, values, lines.number)
    kind = kind.partition("%")[0].strip()
    if kind.lower() in ("numeric", "real", "integer"):
        return Attribute(name, None, lines.number)
    raise lines.error(
        f"attribute {name!r} is of type {shorten(kind)}; only numeric, real, integer "
        "and nominal ones, as in {red, green}, can be read."
    )


def read_rows(lines, attributes, labels):
    """Read the rows, all of them dense or all of them sparse.

    Parameters
    ----------
    lines : Lines
        The lines after ``@data``.
    attributes : list of Attribute
    labels : collection of int
        The attributes that are labels: their values must be yes or no.

    Returns
    -------
    {ndarray, CSR matrix} of shape (n_rows, n_attributes), float64
        Numbers; for a nominal attribute positions in its list of values. NaN is what
        is missing. Sparse if the rows are.
    """
    columns = [
        _Column(lines, attribute, index in labels)
        for index, attribute in enumerate(attributes)
    ]
    rows = None
    for line in lines:
        text = line.strip()
        if not text or text.startswith("%"):
            continue
        sparse = text.startswith("{")
        if rows is None:
            rows = (_SparseReader if sparse else _DenseReader)(columns)
        try:
            rows.append(text)
        except ValueError as error:
            raise lines.error(str(error)) from None
    if rows is None:
        raise lines.error("the file ends without a row after @data.")
    return rows.to_matrix()


class _Column:
    """How the values of one attribute are read.

    ``quick`` reads most values, and fails with a KeyError or a ValueError at the
    others, among them sound ones; ``read`` reads all sound ones and explains what is
    wrong with the others.
    """

    def __init__(self, lines, attribute, is_label):
        self.name = attribute.name
        self.is_label = is_label
        self.codes = None
        if attribute.values is not None:
            self.codes = {value: float(i) for i, value in enumerate(attribute.values)}
            self.codes.pop("?", None)  # what is missing, even where it is listed
            self.quick = self.codes.__getitem__
            if is_label and not meanings(attribute.values):
                raise ValueError(
                    f"{lines.path}, line {attribute.line}: label {self.name!r} wants "
                    f"the values 0 and 1; {self._listed()} came."
                )
        elif is_label:
            self.quick = {"0": 0.0, "1": 1.0}.__getitem__
        else:
            self.quick = float

    def read(self, text):
        if text == "?":
            if self.is_label:
                raise ValueError(f"label {self.name!r} wants 0 or 1; it is missing.")
            return np.nan
        if self.codes is not None:
            if text not in self.codes:
                raise ValueError(
                    f"attribute {self.name!r} wants one of {self._listed()}; "
                    f"{shorten(text)} came."
                )
            return self.codes[text]
        try:
            number = parse_number(float, text)
        except ValueError:
            raise ValueError(
                f"attribute {self.name!r} wants a number; {shorten(text)} came."
            ) from None
        if self.is_label and number not in (0, 1):
            raise ValueError(f"label {self.name!r} wants 0 or 1; {shorten(text)} came.")
        return number

    def _listed(self):
        return shorten(", ".join(self.codes))


def _read_values(columns, quick, fields, text):
    """The numbers that ``fields``, taken from ``text``, mean in ``columns``.

    ``quick`` holds the columns' quick ways to read.
    """
    # Python's float reads 1_000, which is no number in ARFF.
    if "_" not in text:
        try:
            return [read(field) for read, field in zip(quick, fields, strict=True)]
        except (KeyError, ValueError):
            pass
    return [column.read(field) for column, field in zip(columns, fields, strict=True)]


class _DenseReader:
    """Rows with a value for each attribute."""

    def __init__(self, columns):
        self._columns = columns
        self._quick = [column.quick for column in columns]
        self._numbers = array("d")

    def append(self, text):
        if text.startswith("{"):
            raise ValueError("a sparse row came, after dense ones.")
        fields = _split(text)
        if fields is None:
            raise ValueError(
                "the row wants values between commas, in quotes if they hold one of "
                f"'\"{{}}%,; {shorten(text)} came."
            )
        if len(fields) != len(self._columns):
            raise ValueError(
                f"the row wants {len(self._columns)} values, one for each attribute; "
                f"{len(fields)} came."
            )
        self._numbers.fromlist(_read_values(self._columns, self._quick, fields, text))

    def to_matrix(self):
        return np.asarray(self._numbers).reshape(-1, len(self._columns))


class _SparseReader:
    """Rows of pairs of an attribute's index and its value."""

    def __init__(self, columns):
        self._columns = columns
        self._quick = [column.quick for column in columns]
        self._rows = SparseRows(len(columns), np.float64)

    def append(self, text):
        if not text.startswith("{"):
            raise ValueError("a dense row came, after sparse ones.")
        indices, fields = _split_pairs(text)
        if any(map(operator.ge, indices, indices[1:])):
            raise ValueError(
                "the indices of a sparse row must rise; "
                f"{shorten(', '.join(map(str, indices)))} came."
            )
        for index in indices[:1] + indices[-1:]:
            if not 0 <= index < len(self._columns):
                raise ValueError(
                    f"index {index} is out of range: there are {len(self._columns)} "
                    f"attributes, 0 to {len(self._columns) - 1}."
                )
        columns = map(self._columns.__getitem__, indices)
        quick = map(self._quick.__getitem__, indices)
        self._rows.append(indices, _read_values(columns, quick, fields, text))

    def to_matrix(self):
        return self._rows.to_csr()


def _split(text):
    """The values between the commas of ``text``; None if it is malformed."""
    if not _has_marks(text):
        values = text.split(",")
        if " " in text or "\t" in text:
            values = [value.strip() for value in values]
        return values
    values, position = [], 0
    while match := _VALUE.match(text, position):
        quoted, bare, end = match.groups()
        values.append(bare.strip() if quoted is None else _unquote(quoted))
        if end != ",":
            return values
        position = match.end()
    return None


def _split_pairs(text):
    """The indices and the values of a sparse row."""
    body = text[1:-1]
    if text.endswith("}") and not _has_marks(body) and "_" not in body:
        # With commas as words of their own, every third word must be one.
        words = body.replace(",", " , ").split()
        commas = words[2::3]
        if len(words) == 3 * len(commas) + 2 and commas.count(",") == len(commas):
            try:
                return list(map(int, words[::3])), words[1::3]
            except ValueError:
                pass
    row = _BRACES.fullmatch(text)
    indices, values, position = [], [], 0
    if row and not row[1].strip():
        return indices, values
    while row and (match := _PAIR.match(row[1], position)):
        index, quoted, bare, end = match.groups()
        indices.append(int(index))
        values.append(bare.strip() if quoted is None else _unquote(quoted))
        if not end:
            return indices, values
        position = match.end()
    raise ValueError(
        f"a sparse row wants {{index value, index value, ...}}; {shorten(text)} came."
    )


def _has_marks(text):
    """Whether ``text`` has marks that keep it from being split at each comma."""
    return any(mark in text for mark in "'\"%{}")


def _unquote(text):
    """``text`` without its quotes, if it has any."""
    if text[0] not in "'\"":
        return text
    return _ESCAPED.sub(_unescape, text[1:-1])


def _unescape(match):
    escaped = match[1]
    if len(escaped) == 5:
        return chr(int(escaped[1:], 16))
    return _CONTROLS.get(escaped, escaped)
