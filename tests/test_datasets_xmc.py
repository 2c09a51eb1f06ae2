"""Files of the extreme classification repository, sound and broken."""

import bz2
import gzip
import io
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from skcgmvae.datasets import load_xmc

TEXT = """\
5 4 3
0,2 1:0.5 3:-2e-1
 0:1
2:3 0:1.5
1,1

"""
X = [[0, 0.5, 0, -0.2], [1, 0, 0, 0], [1.5, 0, 3, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
Y = [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]


@pytest.fixture
def write(tmp_path):
    """``write(text)`` gives the path of a file of this text."""

    def write(text, name="tiny.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_bunch(write):
    data = load_xmc(write(TEXT))
    assert set(data) == {"data", "target", "feature_names", "target_names"}
    assert data.feature_names is data.target_names is None
    assert sp.issparse(data.data) and sp.issparse(data.target)
    assert data.data.format == data.target.format == "csr"
    assert (data.data.dtype, data.target.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(data.data.toarray(), np.array(X, dtype=np.float32))
    np.testing.assert_array_equal(data.target.toarray(), Y)
    assert data.data.has_canonical_format and data.target.has_canonical_format


def test_return_X_y(write):
    features, labels = load_xmc(str(write(TEXT)), return_X_y=True)
    assert (features.shape, labels.shape) == ((5, 4), (5, 3))


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "\n \n",
        TEXT.replace("\n", "\r\n"),
        TEXT.replace(" ", "\t").replace("5\t4\t3", " 5 4  3 "),
        TEXT.replace(" ", "  "),
        "\ufeff" + TEXT,
    ],
)
def test_variants(write, text):
    features, labels = load_xmc(write(text), return_X_y=True)
    np.testing.assert_array_equal(features.toarray(), np.array(X, dtype=np.float32))
    np.testing.assert_array_equal(labels.toarray(), Y)


@pytest.mark.parametrize(
    ("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress)]
)
def test_compressed(write, suffix, compress):
    features, _ = load_xmc(
        write(compress(TEXT.encode()), f"tiny.txt.{suffix}"), return_X_y=True
    )
    np.testing.assert_array_equal(features.toarray(), np.array(X, dtype=np.float32))
    with pytest.raises(ValueError, match="the compressed data is damaged or cut off"):
        load_xmc(write(compress(TEXT.encode())[:-9], f"cut.txt.{suffix}"))


def test_no_rows(write):
    features, labels = load_xmc(write("0 4 3\n"), return_X_y=True)
    assert (features.shape, labels.shape) == ((0, 4), (0, 3))


def test_more_features_than_32_bits_count(write):
    features, _ = load_xmc(write("1 5000000000 1\n0 4999999999:1\n"), return_X_y=True)
    assert features.shape == (1, 5_000_000_000)
    assert features.indices.tolist() == [4_999_999_999]


BROKEN = [
    ("", 1, "wants three whole numbers, .*; '' came"),
    ("0,2 1:0.5\n", 1, "wants three whole numbers, .*; '0,2 1:0.5' came"),
    ("1 2\n0 1:1\n", 1, "'1 2' came"),
    ("1 2 3 4\n0 1:1\n", 1, "'1 2 3 4' came"),
    ("1 -2 3\n0 1:1\n", 1, "'1 -2 3' came"),
    ("1 2.0 3\n0 1:1\n", 1, "'1 2.0 3' came"),
    ("2 4 3\n0 1:1\n", 2, "the file ends after 1 of the 2 rows"),
    ("1 4 3\n0 1:1\n\n0 1:1\n", 4, "more rows than the 1 that line 1 promises"),
    ("1 4 3\n0 4:1\n", 2, "feature 4 is out of range: line 1 promises 4, from 0 on"),
    ("1 4 3\n0 3:1 -1:1\n", 2, "feature -1 is out of range"),
    ("1 4 3\n3 1:1\n", 2, "label 3 is out of range: line 1 promises 3, from 0 on"),
    ("1 4 3\n-1 1:1\n", 2, "label -1 is out of range"),
    ("1 4 3\n0 99999999999999999999:1\n", 2, "99999999999999999999 is out of range"),
    ("2 4 3\n0 1:1\n0 1:1 2:1 1:2\n", 3, "feature 1 is there twice"),
    ("1 4 3\n0 1:1:2\n", 2, "pairs index:value .*; '1:1:2' came"),
    ("1 4 3\n0 1:1:2 3\n", 2, "'1:1:2' came"),
    ("1 4 3\n0 1:1 2\n", 2, "'2' came"),
    ("1 4 3\n0 1 2:1\n", 2, "'1' came"),
    ("1 4 3\n0 1: 2:1\n", 2, "'1:' came"),
    ("1 4 3\n0 1 :2\n", 2, "'1' came"),
    ("1 4 3\n0 1:\t2\n", 2, "'1:' came"),
    ("1 4 3\n0 1:\n", 2, "'1:' came"),
    ("1 4 3\n0 :1\n", 2, "':1' came"),
    ("1 4 3\n0 1:x\n", 2, "'1:x' came"),
    ("1 4 3\n0 1.0:1\n", 2, "'1.0:1' came"),
    ("1 4 3\n0 1:1_0\n", 2, "'1:1_0' came"),
    ("1 4 3\n0 2:1 # 1:1\n", 2, "'#' came"),
    ("1 4 3\n0,x 1:1\n", 2, "labels want to be whole numbers .*; '0,x' came"),
    ("1 4 3\n0.0 1:1\n", 2, "labels want .*; '0.0' came"),
    ("1 4 3\n0, 1:1\n", 2, "labels want .*; '0,' came"),
    ("1 4 3\n0_1 1:1\n", 2, "labels want .*; '0_1' came"),
    ("2 4 3\n\n0 0:1 1:nan\n", 3, "feature 1 has a value that is not finite"),
    ("2 4 3\n0 0:1 1:1e39\n\n", 2, "feature 1 has a value that is not finite"),
    ("1 4 3\n0 1:\xff\n".encode("latin-1"), 2, "byte 5 .* is not utf-8"),
]


@pytest.mark.parametrize(("text", "line", "message"), BROKEN)
def test_broken(write, text, line, message):
    with pytest.raises(ValueError, match=rf"tiny\.txt, line {line}: .*{message}"):
        load_xmc(write(text))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_xmc(tmp_path / "nowhere.txt")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_agrees_with_scikit_learn(tmp_path_factory, data):
    """What scikit-learn writes is read as scikit-learn reads it."""
    n_rows, n_features, n_labels = (data.draw(st.integers(1, 6)) for _ in range(3))
    seed = data.draw(st.integers(0, 2**32 - 1))
    density = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    rng = np.random.default_rng(seed)
    features = sp.random(n_rows, n_features, density, "csr", random_state=rng)
    labels = sp.csr_matrix(rng.random((n_rows, n_labels)) < density)
    file = io.BytesIO()
    dump_svmlight_file(features, labels, file, multilabel=True, zero_based=True)
    path = tmp_path_factory.mktemp("xmc") / "dump.txt"
    # scikit-learn begins with comments where the repository has the sizes.
    rows = [row for row in file.getvalue().splitlines() if not row.startswith(b"#")]
    header = f"{n_rows} {n_features} {n_labels}".encode()
    path.write_bytes(b"\n".join([header, *rows, b""]))
    read, read_labels = load_xmc(path, return_X_y=True)
    np.testing.assert_array_equal(read_labels.toarray(), labels.toarray())
    np.testing.assert_array_equal(read.toarray(), features.toarray().astype(np.float32))
    if density == 1:  # scikit-learn leaves out empty rows
        file.seek(0)
        theirs, their_labels = load_svmlight_file(
            file,
            n_features=n_features,
            dtype=np.float32,
            multilabel=True,
            zero_based=True,
        )
        np.testing.assert_array_equal(read.toarray(), theirs.toarray())
        ours = [tuple(np.flatnonzero(row)) for row in read_labels.toarray()]
        assert ours == their_labels


def test_memory_is_a_small_multiple_of_the_arrays(write):
    rng = np.random.default_rng(0)
    rows = [
        f"{i % 7},{i % 5 + 7} " + " ".join(f"{j}:{v}" for j, v in enumerate(row))
        for i, row in enumerate(rng.random((1500, 50)).round(3).tolist())
    ]
    path = write("\n".join(["1500 50 12", *rows]))
    tracemalloc.start()
    features, _ = load_xmc(path, return_X_y=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 500_000
    assert peak < 3 * (features.data.nbytes + features.indices.nbytes)
