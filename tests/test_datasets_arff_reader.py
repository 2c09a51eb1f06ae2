"""ARFF files, in all ways to write them, sound and broken."""

import bz2
import gzip
import random
from pathlib import Path

import numpy as np
import pytest

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


# -- How it is written --------------------------------------------------------------

VARIANTS = {
    "upper case": DENSE.replace("@relation", "@RELATION")
    .replace("@attribute", "@Attribute")
    .replace("@data", "@DATA")
    .replace("numeric", "NUMERIC"),
    "carriage returns": DENSE.replace("\n", "\r\n"),
    "comments": "% by hand\n\n" + DENSE.replace("\n", "\n  % and more, 'too\n\n"),
    "comments after rows": DENSE.replace("numeric", "numeric % wide")
    .replace("{0, 1}", "{0, 1} % {2}")
    .replace("2, 1\n", "2, 1 % 3, 'x\n"),
    "tabs": DENSE.replace(", ", "\t,\t").replace("@attribute ", "@attribute\t"),
    "no space": DENSE.replace(", ", ",").replace("b {", "b{"),
    "quotes": DENSE.replace("attribute a", "attribute 'a'")
    .replace("attribute c", 'attribute "c"')
    .replace("0.5", "'0.5'")
    .replace(" 1,", ' "1" ,'),
    "integers": DENSE.replace("REAL", "Integer"),
    "no line break at the end": DENSE.rstrip(),
    "byte order mark": "\ufeff" + DENSE,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(write, variant):
    data = load_arff(write(VARIANTS[variant]), labels=["b", "d"])
    assert data.feature_names == ["a", "c"]
    np.testing.assert_array_equal(data.data, [[0.5, 2], [-1e3, np.nan]])
    np.testing.assert_array_equal(data.target, [[1, 1], [0, 0]])


@pytest.mark.parametrize(
    "rows",
    [
        "{0 0.5,1 1,2 2,3 1}\r\n{0 -1e3,2 ?,3 0}",
        "{ 0\t0.5 , 1 1 ,2  2,3 1 } % {\n\n% {\n{0 '-1e3', 2 ?, 3 \"0\"}",
    ],
)
def test_sparse_variants(write, rows):
    data = load_arff(write(HEADER + "@data\n" + rows), labels=["b", "d"])
    np.testing.assert_array_equal(data.data.toarray(), [[0.5, 2], [-1e3, np.nan]])
    np.testing.assert_array_equal(data.target.toarray(), [[1, 1], [0, 0]])


def test_escapes(write):
    text = r"""@relation x
@attribute 'it\'s \\ "50\%"' {'a\tb', "c\"d", 'e\u0066g', plain_word}
@attribute l {0,1}
@data
"c\"d",1
'a	b',0
'efg',1
plain_word,0
"""
    data = load_arff(write(text), labels=-1)
    name = 'it\'s \\ "50%"'
    values = ["a\tb", 'c"d', "efg", "plain_word"]
    assert data.feature_names == [f"{name}={value}" for value in values]
    np.testing.assert_array_equal(data.data, np.eye(4)[[1, 0, 2, 3]])


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".GZ"])
def test_compressed(write, suffix):
    compress = gzip.compress if suffix.lower() == ".gz" else bz2.compress
    path = write(compress(DENSE.encode()), f"tiny.arff{suffix}")
    X, _ = load_arff(path, labels=["b", "d"], return_X_y=True)
    np.testing.assert_array_equal(X, [[0.5, 2], [-1e3, np.nan]])


def test_encoding(write):
    path = write(DENSE.replace("attribute a", "attribute été").encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 2: byte 12 \(0xe9\) is not utf-8"):
        load_arff(path, labels=-1)
    data = load_arff(path, labels=-1, encoding="latin-1")
    assert data.feature_names[0] == "été"


# -- Broken files ------------------------------------------------------------------

ATTRIBUTES = "@attribute a numeric\n@attribute l {0,1}\n"
BROKEN_HEADERS = [
    ("", 0, "ends before a line @data"),
    ("@relation x\n@attribute a numeric\n", 2, "ends before a line @data"),
    ("@relation x\n\n@data\n1\n", 3, "@data comes before any @attribute"),
    ("@relation x\n@attribute a\n@data\n", 2, "wants a name and a type.*'a' came"),
    ("@attribute\n", 1, "wants a name and a type"),
    ("@attribute 'a numeric\n", 1, "wants a name and a type"),
    (
        "@attribute a numeric\n@attribute 'a' real\n",
        2,
        "'a' is there already, in line 1",
    ),
    ("@attribute a string\n", 1, "'a' is of type 'string'; only numeric"),
    ("@attribute 'the day' date yyyy\n", 1, "'the day' is of type 'date yyyy'"),
    ("@attribute a relational\n", 1, "'a' is of type 'relational'"),
    ("@attribute a numeric [0,1]\n", 1, r"is of type 'numeric \[0,1\]'"),
    ("@attribute a {}\n", 1, "'a' wants values as in .*; '{}' came"),
    ("@attribute a {b, c, 'b'}\n", 1, "'a' has the value 'b' twice"),
    ("@attribute a {b,, c}\n", 1, "wants values as in .*; '{b,, c}' came"),
    ("@attribute a {b, c\n", 1, "wants values as in .*; '{b, c' came"),
    ("@attribute a {b, 'c}\n", 1, "wants values as in"),
    ("@attribute a {b%c}\n", 1, "wants values as in"),
    ("@relation x\n@inputs a\n", 2, "wants @relation, .*; '@inputs a' came"),
    ("@relation x\n1, 2\n", 2, "wants @relation, .*; '1, 2' came"),
    (
        "@relation x\n@attribute a real\n@attribute l {u,v}\n@data\n",
        3,
        "wants the values 0",
    ),
]
BROKEN_ROWS = [
    ("", 0, "ends without a row after @data"),
    ("1,0\n2\n", 2, "wants 2 values, one for each attribute; 1 came"),
    ("1,0\n2,1,1\n", 2, "3 came"),
    ("% x\n\n1,0\n2,\n", 4, "'l' wants one of '0, 1'; '' came"),
    ("1,0\nx,1\n", 2, "'a' wants a number; 'x' came"),
    ("1,0\n,1\n", 2, "'a' wants a number; '' came"),
    ("1_0,0\n", 1, "'a' wants a number; '1_0' came"),
    ("5?,0\n", 1, r"'a' wants a number; '5\?' came"),
    ("1,2\n", 1, "'l' wants one of '0, 1'; '2' came"),
    ("1,0.0\n", 1, "'l' wants one of '0, 1'; '0.0' came"),
    ("1,?\n", 1, "label 'l' wants 0 or 1; it is missing"),
    ("0,1%\n", 1, "wants values between commas"),
    ("1,0\n'2,1\n", 2, "wants values between commas"),
    ("'1' 2,1\n", 1, "wants values between commas"),
    ("1,0,{5}\n", 1, "wants values between commas"),
    ("1,0\n{0 1}\n", 2, "a sparse row came, after dense ones"),
    ("{0 1}\n1,0\n", 2, "a dense row came, after sparse ones"),
    ("{0 1}\n{0 1, 1 0\n", 2, r"wants \{index value, .*; '\{0 1, 1 0' came"),
    ("{0 1, 1}\n", 1, "wants {index value"),
    ("{0 1 1 0}\n", 1, "'a' wants a number; '1 1 0' came"),
    ("{0 1, 1 0,}\n", 1, "wants {index value"),
    ("{0, 1}\n", 1, "wants {index value"),
    ("{0.0 1}\n", 1, "wants {index value"),
    ("{0 '1, 1 0}\n", 1, "wants {index value"),
    ("{0 1}, {5}\n", 1, "wants {index value"),
    ("{1 0, 0 1}\n", 1, "the indices of a sparse row must rise; '1, 0' came"),
    ("{0 1, 0 1}\n", 1, "must rise; '0, 0' came"),
    ("{0 1, 2 1}\n", 1, "index 2 is out of range: there are 2 attributes, 0 to 1"),
    ("{-1 1}\n", 1, "index -1 is out of range"),
    ("{99999999999999999999 1}\n", 1, "index 99999999999999999999 is out of range"),
    ("{0 x}\n", 1, "'a' wants a number; 'x' came"),
    ("{0 1_0}\n", 1, "'a' wants a number; '1_0' came"),
    ("{1 ?}\n", 1, "label 'l' wants 0 or 1; it is missing"),
    ("{1 2}\n", 1, "'l' wants one of '0, 1'; '2' came"),
]


@pytest.mark.parametrize(("text", "line", "message"), BROKEN_HEADERS)
def test_broken_header(write, text, line, message):
    with pytest.raises(ValueError, match=rf"tiny\.arff, line {line}: .*{message}"):
        load_arff(write(text), labels=-1)


@pytest.mark.parametrize(("rows", "line", "message"), BROKEN_ROWS)
def test_broken_row(write, rows, line, message):
    text = f"@relation x\n{ATTRIBUTES}@data\n{rows}"
    with pytest.raises(ValueError, match=rf"tiny\.arff, line {line + 4}: .*{message}"):
        load_arff(write(text), labels=-1)


@pytest.mark.parametrize("value", ["0.5", "2", "nan", "-1", "x"])
def test_numeric_label_of_other_values(write, value):
    text = "@relation x\n@attribute a real\n@attribute l real\n@data\n1,1.0\n1,{}\n"
    with pytest.raises(ValueError, match=f"line 6: .*'l' wants .*'{value}' came"):
        load_arff(write(text.format(value)), labels=-1)


@pytest.mark.parametrize("text", [DENSE.replace("?", "3"), SPARSE.replace("?", "3")])
def test_file_that_is_cut(write, text):
    """Wherever a file is cut within the columns of its last row, that is an error."""
    last = text.rstrip().rfind("\n") + 1
    end = max(text.rfind(","), text.rfind("}"))
    for cut in range(last + 1, end + 1):
        with pytest.raises(ValueError, match="line 8"):
            load_arff(write(text[:cut]), labels=["b", "d"])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_damaged_compressed_file(write, compress):
    suffix = "gz" if compress is gzip.compress else "bz2"
    lines = [f"{random.Random(i).random()},1\n" for i in range(5000)]
    data = compress(f"@relation x\n{ATTRIBUTES}@data\n{''.join(lines)}".encode())
    message = "line [0-9]+: the compressed data is damaged or cut off"
    with pytest.raises(ValueError, match=message):
        load_arff(write(data[: len(data) // 2], f"cut.arff.{suffix}"), labels=-1)
    middle = len(data) // 2
    data = data[:middle] + bytes(50) + data[middle + 50 :]
    with pytest.raises(ValueError, match="damaged or cut off|is not utf-8|line "):
        load_arff(write(data, f"damaged.arff.{suffix}"), labels=-1)
    with pytest.raises(ValueError, match="line 0: the compressed data is damaged"):
        load_arff(write(DENSE, f"plain.arff.{suffix}"), labels=-1)


def test_a_disk_that_fails_is_not_called_a_damaged_file(tmp_path):
    broken = Path("/proc/self/mem")  # nothing can be read where it begins
    if not broken.exists():
        pytest.skip("needs Linux")
    (tmp_path / "broken.arff").symlink_to(broken)
    with pytest.raises(OSError, match="Input/output error"):
        load_arff(tmp_path / "broken.arff", labels=1)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_arff(tmp_path / "nowhere.arff", labels=1)


def test_hostile_file_takes_no_time(write):
    """Long runs of what could match in many ways are refused at once."""
    for text in (
        f"@attribute a {{{'b' * 100_000}\n",
        f"@attribute {' ' * 100_000}'\n",
        f"@relation x\n{ATTRIBUTES}@data\n1{' ' * 100_000}'\n",
        f"@relation x\n{ATTRIBUTES}@data\n{{0 1{' ' * 100_000}'}}\n",
        f"@relation x\n{ATTRIBUTES}@data\n{{0 '{chr(92) * 100_000}}}\n",
    ):
        with pytest.raises(ValueError, match="came"):
            load_arff(write(text), labels=-1)
