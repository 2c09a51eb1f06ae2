"""ARFF files against other readers, there and back, and large."""

import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import arff as scipy_arff

from skcgmvae.datasets import load_arff


@pytest.fixture
def write(tmp_path):
    """``write(text)`` gives the path of a file of this text."""

    def write(text, name="tiny.arff"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else matrix


# -- Against other readers ----------------------------------------------------------


def table(seed, n_rows=40):
    """Random columns, and the text of a dense and of a sparse file of them."""
    rng = np.random.default_rng(seed)
    kinds = ["numeric", "{0,1}", "{red,green,blue}"] * 3
    columns = []
    for kind in kinds:
        if kind == "numeric":
            zeros = rng.random(n_rows) < 0.5
            columns.append(np.where(zeros, 0, rng.normal(size=n_rows)).tolist())
        else:
            columns.append(rng.choice(kind[1:-1].split(","), n_rows).tolist())
    header = "@relation table\n"
    header += "".join(f"@attribute c{i} {kind}\n" for i, kind in enumerate(kinds))
    omitted = [0.0 if k == "numeric" else k[1:-1].split(",")[0] for k in kinds]
    rows = list(zip(*columns, strict=True))
    dense = "".join(",".join(map(str, row)) + "\n" for row in rows)
    sparse = "".join(
        "{"
        + ",".join(f"{i} {value}" for i, value in enumerate(row) if value != omitted[i])
        + "}\n"
        for row in rows
    )
    return header + "@data\n" + dense, header + "@data\n" + sparse


def one_hot(name, column, values):
    return {f"{name}={value}": np.array(column) == value for value in values}


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scipy(write, seed):
    text, sparse_text = table(seed)
    path = write(text)
    read, meta = scipy_arff.loadarff(path)
    expected = {}
    for name in meta.names():
        kind, values = meta[name]
        if kind == "numeric":
            expected[name] = read[name]
        elif values == ("0", "1"):
            expected[name] = read[name].astype(int)
        else:
            expected |= one_hot(name, read[name].astype(str), values)
    labels = ["c1", "c4"]
    for file in (path, write(sparse_text, "sparse.arff")):
        data = load_arff(file, labels=labels)
        for matrix, names in [
            (data.data, data.feature_names),
            (data.target, data.target_names),
        ]:
            for column, name in zip(dense(matrix).T, names, strict=True):
                np.testing.assert_array_equal(column, expected[name])
        assert {*data.feature_names, *data.target_names} == set(expected)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_agrees_with_liac_arff(write, kind):
    liac_arff = pytest.importorskip("arff", reason="needs liac-arff")
    text = table(3)[kind == "sparse"]
    return_type = {"dense": liac_arff.DENSE, "sparse": liac_arff.COO}[kind]
    codes = liac_arff.loads(text, encode_nominal=True, return_type=return_type)["data"]
    if kind == "sparse":
        codes = sp.coo_matrix((codes[0], codes[1:]), shape=(40, 9)).toarray()
    X, Y = load_arff(write(text), labels=["c1", "c4"], return_X_y=True)
    codes = np.array(codes, dtype=float)
    np.testing.assert_array_equal(dense(Y), codes[:, [1, 4]])
    np.testing.assert_array_equal(dense(X)[:, 0], codes[:, 0])
    np.testing.assert_array_equal(dense(X)[:, 1:4], np.eye(3)[codes[:, 2].astype(int)])


# -- There and back -----------------------------------------------------------------

WORDS = st.text("ab 0_?,;'\"\\%{}\té€", min_size=1, max_size=5).filter(
    lambda word: word.strip() == word and word != "?"
)


def quote(word, rng):
    """The word as ARFF has it, bare if it can be and ``rng`` likes it so."""
    if not set(word) & set(" \t,'\"\\%{}") and rng.random() < 0.5:
        return word
    mark = rng.choice("'\"")
    word = word.replace("\\", "\\\\").replace(mark, "\\" + mark)
    return mark + word.replace("\t", "\\t") + mark


@st.composite
def files(draw):
    """A file's text, its attributes and its rows of values, None if missing."""
    rng = draw(st.randoms(use_true_random=False))
    names = draw(st.lists(WORDS, min_size=2, max_size=5, unique=True))
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    lists = st.lists(WORDS, min_size=1, max_size=4, unique=True)
    kinds = [["0", "1"], *(draw(st.none() | lists) for _ in names[1:])]
    values = [(numbers if kind is None else st.sampled_from(kind)) for kind in kinds]
    values[1:] = [st.none() | each for each in values[1:]]
    rows = draw(st.lists(st.tuples(*values), min_size=1, max_size=4))

    def write_value(value):
        if value is None:
            return "?"
        return repr(value) if isinstance(value, float) else quote(value, rng)

    def gap():
        return rng.choice(["", " ", "  ", "\t"])

    lines = ["@relation 'x'"]
    for name, kind in zip(names, kinds, strict=True):
        kind = kind and f"{gap()},{gap()}".join(quote(word, rng) for word in kind)
        kind = f"{{{gap()}{kind}{gap()}}}" if kind else "numeric"
        lines.append(f"@attribute {quote(name, rng)} {kind}")
    lines.append("@data")
    sparse = draw(st.booleans())
    for row in rows:
        fields = [write_value(value) for value in row]
        if sparse:
            first = [0.0 if kind is None else kind[0] for kind in kinds]
            fields = [
                f"{gap()}{i} {gap()}{field}"
                for i, field in enumerate(fields)
                if row[i] != first[i] or rng.random() < 0.3
            ]
        text = f"{gap()},{gap()}".join(fields)
        lines.append(f"{gap()}{{{text}}}{gap()}" if sparse else text)
        lines += rng.choice([[], [""], ["% 'a comment"]])
    text = rng.choice(["\n", "\r\n"]).join(lines)
    return text, names, kinds, rows, sparse


@settings(max_examples=150, deadline=None)
@given(files())
def test_there_and_back(file):
    text, names, kinds, rows, sparse = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.arff")
        path.write_bytes(text.encode())
        data = load_arff(path, labels=names[:1])
    assert sp.issparse(data.data) == sparse
    columns = list(zip(*rows, strict=True))
    expected = {}
    for name, kind, column in zip(names[1:], kinds[1:], columns[1:], strict=True):
        missing = np.array([value is None for value in column])
        if kind is None:
            columns = {name: np.array(column, dtype=float)}
        elif set(kind) <= {"0", "1"}:
            columns = {name: np.where(missing, np.nan, np.array(column) == "1")}
        else:
            columns = {
                f"{name}={word}": np.where(
                    missing, np.nan, [value == word for value in column]
                )
                for word in kind
            }
        expected |= columns
    if len(expected) == len(data.feature_names):  # names made up may coincide
        assert list(expected) == data.feature_names
        np.testing.assert_array_equal(
            dense(data.data), np.transpose(list(expected.values()))
        )
    np.testing.assert_array_equal(dense(data.target), [[int(row[0])] for row in rows])


# -- Large files -------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_memory_is_a_small_multiple_of_the_arrays(write, sparse):
    rng = np.random.default_rng(0)
    attributes = "".join(f"@attribute c{i} numeric\n" for i in range(50))
    rows = rng.random((2000, 50)).round(3).tolist()
    if sparse:
        rows = [[f"{i} {value}" for i, value in enumerate(row)] for row in rows]
    text = "\n".join(("{%s}" if sparse else "%s") % ",".join(map(str, r)) for r in rows)
    path = write(
        f"@relation x\n{attributes}@attribute l {{0,1}}\n@data\n"
        + (text if sparse else text.replace("\n", ",1\n") + ",1\n")
    )
    tracemalloc.start()
    X, _ = load_arff(path, labels=-1, return_X_y=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = X.data.nbytes + X.indices.nbytes if sparse else X.nbytes
    assert os.path.getsize(path) > 500_000
    assert peak < 3 * size
