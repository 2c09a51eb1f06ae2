"""One file for arrays and plain values: what is written is read, or refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save

from skcgmvae._files import (
    DamagedFileError,
    as_tensors,
    read_tree,
    remove_drafts,
    write_tree,
)

TREE = {
    "weights": {"layer.0": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "epochs": [{"loss": 0.1}, {"loss": float("inf")}],
    "names": ["ä", "b"],
    "nothing": None,
}

KEYS = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1)
ARRAYS = hnp.arrays(
    st.sampled_from(["f4", "f8", "i8", "u4", "u1", "?"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3),
)
TREES = st.recursive(
    st.dictionaries(KEYS, PLAIN | ARRAYS, max_size=4),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
)


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert repr(found) == repr(expected)  # NaN, too


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@given(tree=TREES)
def test_what_is_written_is_read(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("trees") / "file"
    write_tree(path, tree)
    assert_same(read_tree(path), tree)


def test_tensors_and_numpy_numbers_become_arrays_and_numbers(path):
    half = np.float32(0.5)
    write_tree(path, {"t": torch.arange(3), "x": half, "n": [np.int64(3)]})
    found = read_tree(path)
    np.testing.assert_array_equal(found["t"], [0, 1, 2])
    assert found["x"] == 0.5 and found["n"] == [3]
    tensors = as_tensors({"a": {"t": found["t"]}, "n": 1})
    assert torch.equal(tensors["a"]["t"], torch.arange(3)) and tensors["n"] == 1


@pytest.mark.parametrize("dtype", [">i8", "<i8", ">f4", "<f4"])
def test_numbers_of_either_byte_order_are_read(path, dtype):
    write_tree(path, {"x": np.arange(3).astype(dtype)})
    found = read_tree(path)["x"]
    assert found.dtype.isnative and found.dtype.kind == np.dtype(dtype).kind
    np.testing.assert_array_equal(found, [0, 1, 2])


def test_objects_are_not_written(path):
    with pytest.raises(TypeError, match=r"<object .*> is neither an array nor known"):
        write_tree(path, {"x": object()})
    assert not path.exists()


def test_every_altered_byte_is_noticed(path):
    write_tree(path, TREE)
    content = path.read_bytes()
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1
        path.write_bytes(altered)
        with pytest.raises(DamagedFileError, match="file of this package"):
            read_tree(path)


def test_every_cut_is_noticed(path):
    write_tree(path, TREE)
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(DamagedFileError, match="file of this package"):
            read_tree(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "no readable JSON"),
        ("{", "no readable JSON"),
        ("[1]", "holds a list, not a JSON object"),
        ('{"a": 1}', "The array 'a/b' has no place"),
    ],
)
def test_json_that_is_none(path, monkeypatch, text, message):
    """Even in a file whose checksum is right."""
    monkeypatch.setattr(json, "dumps", lambda *args, **kwargs: text)
    write_tree(path, {"a": {"b": np.zeros(1)}})
    with pytest.raises(DamagedFileError, match=message):
        read_tree(path)


def test_safetensors_of_others(path):
    path.write_bytes(save({"x": np.zeros(3)}))
    with pytest.raises(DamagedFileError, match="no file of this package"):
        read_tree(path)


def test_files_that_are_not_there(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(OSError, match=str(path)):
            read_tree(path)
    for path in (tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(OSError, match=f"'{path}'"):  # not a draft's name
            write_tree(path, TREE)
    assert os.listdir(tmp_path) == []


def test_written_as_any_file_is(path):
    """The rights are those of the process's mask, not those of a temporary file."""
    path.with_name("other").write_bytes(b"")
    write_tree(path, TREE)
    assert path.stat().st_mode == path.with_name("other").stat().st_mode


def test_a_link_is_followed(path):
    link = path.with_name("link")
    link.symlink_to(path)
    write_tree(link, TREE)
    assert link.is_symlink()
    assert_same(read_tree(path), TREE)


LIMITED = """
import resource, sys
import numpy as np
from skcgmvae._files import write_tree

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_tree(sys.argv[1], {"large": np.zeros(5_000)})
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_file_that_does_not_fit_leaves_the_old_one(path):
    write_tree(path, TREE)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path], capture_output=True, text=True
    )
    assert "File too large" in done.stdout and str(path) in done.stdout, done.stderr
    assert_same(read_tree(path), TREE)
    assert os.listdir(path.parent) == ["file"]


def test_the_old_file_is_there_until_the_new_one_is_whole(path, monkeypatch):
    """The new one is written beside it, and takes its place in one step."""
    write_tree(path, TREE)
    replace, seen = os.replace, []

    def look_and_replace(draft, target):
        seen.append((read_tree(draft), read_tree(target)))
        replace(draft, target)

    monkeypatch.setattr(os, "replace", look_and_replace)
    write_tree(path, {"new": True})
    ((new, old),) = seen
    assert new == {"new": True} == read_tree(path)
    assert_same(old, TREE)


def test_drafts_of_the_killed_are_removed(path):
    ours, other = ".file.0a1b2c3d.tmp", ".other.0a1b2c3d.tmp"
    for name in ("file", ours, other):
        path.with_name(name).write_bytes(b"half")
    remove_drafts(path)
    assert sorted(os.listdir(path.parent)) == [other, "file"]
