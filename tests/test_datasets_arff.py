"""ARFF files of Mulan and MEKA: features, and which attributes are labels."""

import gzip

import numpy as np
import pytest
import scipy.sparse as sp

from skcgmvae.datasets import load_arff

HEADER = """\
@relation tiny
@attribute a numeric
@attribute b {0, 1}
@attribute c REAL
@attribute d {1, 0}
"""
DENSE = HEADER + "@data\n0.5, 1, 2, 1\n-1e3, 0, ?, 0\n"
SPARSE = HEADER + "@data\n{0 0.5, 1 1, 2 2, 3 1}\n{0 -1e3, 2 ?, 3 0}\n"


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


# -- What is loaded ------------------------------------------------------------------


@pytest.mark.parametrize("text", [DENSE, SPARSE])
def test_bunch(write, text):
    data = load_arff(write(text), labels=["b", "d"])
    assert set(data) == {"data", "target", "feature_names", "target_names"}
    assert data.feature_names == ["a", "c"]
    assert data.target_names == ["b", "d"]
    assert (data.data.dtype, data.target.dtype) == (np.float64, np.uint8)
    assert sp.issparse(data.data) == sp.issparse(data.target) == (text is SPARSE)
    np.testing.assert_array_equal(dense(data.data), [[0.5, 2], [-1e3, np.nan]])
    np.testing.assert_array_equal(dense(data.target), [[1, 1], [0, 0]])


def test_return_X_y(write):
    X, Y = load_arff(write(DENSE), labels=["b", "d"], return_X_y=True)
    assert X.shape == Y.shape == (2, 2)
    assert X.flags.c_contiguous and Y.flags.c_contiguous


def test_nominal_features(write):
    text = """\
@relation nominal
@attribute new {no, Yes}
@attribute old {TRUE,FALSE}
@attribute hue {red, 'dark green', "a,b"}
@attribute width numeric
@attribute constant {1}
@attribute label {0,1}
@data
"""
    rows = "yes,TRUE,red,2,1,0\nno,FALSE,'dark green',0,1,1\n?,?,?,?,?,1\n"
    rows = rows.replace("yes", "Yes") + "no, TRUE, 'a,b', 0, 1, 0\n"
    expected = [
        [1, 1, 1, 0, 0, 2, 1],
        [0, 0, 0, 1, 0, 0, 1],
        [np.nan] * 7,
        [0, 1, 0, 0, 1, 0, 1],
    ]
    data = load_arff(write(text + rows), labels=["label"])
    assert data.feature_names == [
        "new",
        "old",
        "hue=red",
        "hue=dark green",
        "hue=a,b",
        "width",
        "constant",
    ]
    np.testing.assert_array_equal(data.data, expected)
    # The same rows, without what sparse rows may leave out: the first value.
    rows = "{0 Yes,3 2}\n{1 FALSE,2 'dark green',5 1}\n{0 ?,1 ?,2 ?,3 ?,4 ?,5 1}\n"
    rows += '{2 "a,b"}\n'
    sparse = load_arff(write(text + rows), labels=["label"])
    np.testing.assert_array_equal(sparse.data.toarray(), expected)
    np.testing.assert_array_equal(sparse.target.toarray(), data.target)
    assert sparse.feature_names == data.feature_names


def test_missing_value_that_is_listed(write):
    text = "@relation x\n@attribute sex {F,'?',M}\n@attribute l {0,1}\n@data\n"
    for rows in ("F,1\n?,1\n'?',1\nM,1\n", "{}\n{0 ?}\n{0 '?'}\n{0 M}\n"):
        data = load_arff(write(text + rows), labels=-1)
        missing = [np.nan] * 3
        np.testing.assert_array_equal(
            dense(data.data), [[1, 0, 0], missing, missing, [0, 0, 1]]
        )


def test_sparse_rows_store_no_zeros(write):
    rows = "@data\n{}\n{ }\n{0 0, 1 0, 2 0.0, 3 0}\n"
    X, Y = load_arff(write(HEADER + rows), labels=-1, return_X_y=True)
    assert X.nnz == 0
    # What is left out of the label {1, 0} is its first value.
    np.testing.assert_array_equal(Y.toarray(), [[1], [1], [0]])
    assert Y.nnz == 2


@pytest.mark.parametrize("kind", ["numeric", "{0,1}", "{FALSE,TRUE}", "{YES,NO}"])
def test_kinds_of_labels(write, kind):
    no, yes = {"numeric": "01", "{0,1}": "01"}.get(kind, kind[1:-1].split(","))
    if no == "YES":
        no, yes = yes, no
    text = f"@relation x\n@attribute a real\n@attribute l {kind}\n@data\n"
    _, Y = load_arff(
        write(f"{text}1,{yes}\n1,{no}\n1,{yes}\n"), labels=-1, return_X_y=True
    )
    np.testing.assert_array_equal(Y, [[1], [0], [1]])
    assert Y.dtype == np.uint8


# -- Which attributes are labels ---------------------------------------------------

XML = '<labels xmlns="http://mulan.sourceforge.net/labels">{}</labels>'
LABEL = '<label name="{}"></label>'


@pytest.mark.parametrize(
    ("relation", "names"),
    [
        ("'tiny: -C 2'", ["w", "x"]),
        ("'tiny: -C -1'", ["z"]),
        ('"tiny:-C 1 -split-number 3"', ["w"]),
        ("-C  3", ["w", "x", "y"]),
    ],
)
def test_labels_of_meka(write, relation, names):
    text = "@relation " + relation
    text += "".join(f"\n@attribute {name} numeric" for name in "wxyz")
    path = write(text + "\n@data\n1,0,1,0\n")
    # What the file says itself comes before what is beside it.
    write(XML.format(LABEL.format("y")), "tiny.xml")
    assert load_arff(path).target_names == names
    assert load_arff(path, labels=2).target_names == ["w", "x"]
    assert load_arff(path, labels=np.int64(-3)).target_names == ["x", "y", "z"]
    data = load_arff(path, labels=["z", "x"])
    assert (data.target_names, data.feature_names) == (["z", "x"], ["w", "y"])
    np.testing.assert_array_equal(data.target, [[0, 0]])
    np.testing.assert_array_equal(data.data, [[1, 1]])


def test_labels_of_mulan(write):
    write(XML.format(LABEL.format("b") + LABEL.format("d")), "tiny.xml")
    for name in ("tiny.arff", "tiny-train.arff", "tiny-train-1.ARFF", "tiny.arff.gz"):
        text = gzip.compress(DENSE.encode()) if name.endswith("gz") else DENSE
        assert load_arff(write(text, name)).target_names == ["b", "d"]
    # The list with the longer name is the one that belongs to the file.
    other = write(XML.format(LABEL.format("d")), "tiny-train.xml")
    path = write(DENSE, "tiny-train.arff")
    assert load_arff(path).target_names == ["d"]
    assert load_arff(write(DENSE), labels=other).target_names == ["d"]
    assert load_arff(write(DENSE), labels=str(other)).target_names == ["d"]


def test_file_of_another_name(write):
    path = write(DENSE, "tiny.data")
    with pytest.raises(ValueError, match=r"there is no tiny\.data\.xml beside it"):
        load_arff(path)
    write(XML.format(LABEL.format("b")), "tiny.data.xml")
    assert load_arff(path).target_names == ["b"]


def test_hierarchy_of_labels(write):
    nested = '<label name="d"><label name="b"/></label>'
    for text in (XML.format(nested), f"<labels>{nested}</labels>"):
        path = write(f'<?xml version="1.0" encoding="utf-8"?>{text}', "tree.xml")
        data = load_arff(write(DENSE), labels=path)
        assert data.target_names == ["d", "b"]
        np.testing.assert_array_equal(data.target, [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"no -C, and there is no tiny\.xml beside it: pass labels"),
        (0, "labels must be from 1 to 3, or from -1 to -3, .* 4 attributes; 0 came"),
        (4, "4 came"),
        (-4, "-4 came"),
        (["b", "x", "y"], "labels names 'x, y', which .* Its attributes are 'a, b, c"),
        (["b", 3], "labels names '3'"),
        (["b", "d", "b"], "labels names 'b' twice"),
        ([], "labels names 0 of the 4 attributes"),
        (["a", "b", "c", "d"], "labels names 4 of the 4 attributes"),
    ],
)
def test_wrong_labels(write, labels, message):
    with pytest.raises(ValueError, match=message):
        load_arff(write(DENSE), labels=labels)


@pytest.mark.parametrize("labels", [True, 1.5])
def test_labels_of_the_wrong_type(write, labels):
    with pytest.raises(TypeError, match=f"labels must be .*; {labels} came"):
        load_arff(write(DENSE), labels=labels)


def test_wrong_labels_of_meka(write):
    path = write(DENSE.replace("relation tiny", "relation 'tiny: -C 9'"))
    with pytest.raises(
        ValueError, match=r"tiny\.arff: -C in @relation must .*; 9 came"
    ):
        load_arff(path)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (XML.format(LABEL.format("x")), r"labels\.xml names 'x', which .*tiny\.arff"),
        (XML.format("<label/>"), "1 elements <label> came, 1 of them without a name"),
        (XML.format("<name/>"), "0 elements <label> came"),
        ("<labels>", "labels.xml is not XML: no element found: line 1"),
        ("", "labels.xml is not XML"),
    ],
)
def test_wrong_labels_of_mulan(write, xml, message):
    with pytest.raises(ValueError, match=message):
        load_arff(write(DENSE), labels=write(xml, "labels.xml"))
