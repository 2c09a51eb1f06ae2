"""Archives of arrays, sound and broken."""

import numpy as np
import pytest
import scipy.sparse as sp

from skcgmvae.datasets import load_npz

X = np.array([[0.5, 0, 2], [0, 0, 1]])
Y = np.array([[1, 0], [1, 1]])
ENDS = {"feature_names": ["a", "b", "c"], "label_names": ["sea", "beach"]}


def csr_parts(name, matrix):
    matrix = sp.csr_matrix(matrix)
    return {
        f"{name}_data": matrix.data,
        f"{name}_indices": matrix.indices.astype(np.int32),
        f"{name}_indptr": matrix.indptr.astype(np.int64),
        f"{name}_shape": np.array(matrix.shape),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SKCGMVAE_DATA", raising=False)
    np.savez(tmp_path / "dense.npz", X=X, Y=Y, **ENDS)
    parts = csr_parts("X", X) | csr_parts("Y", Y)
    np.savez_compressed(tmp_path / "sparse.npz", other=1, **parts, **ENDS)
    return tmp_path


@pytest.mark.parametrize("name", ["dense", "sparse"])
def test_npz(folder, name):
    data = load_npz(name, folder=folder)
    assert sp.issparse(data.data) == sp.issparse(data.target) == (name == "sparse")
    read = [sp.csr_matrix(matrix).toarray() for matrix in (data.data, data.target)]
    np.testing.assert_array_equal(read[0], X)
    np.testing.assert_array_equal(read[1], Y)
    assert (data.data.dtype, data.target.dtype) == (np.float32, np.uint8)
    assert data.feature_names == ["a", "b", "c"]
    assert data.target_names == ["sea", "beach"]
    assert set(data) == {"data", "target", "feature_names", "target_names"}


def test_npz_folder_of_the_environment(folder, monkeypatch):
    monkeypatch.setenv("SKCGMVAE_DATA", str(folder))
    data, target = load_npz("dense", return_X_y=True)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(target, Y)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        load_npz("dense", folder=elsewhere)


@pytest.mark.parametrize("value", [None, ""])
def test_npz_without_a_folder(folder, monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("SKCGMVAE_DATA", value)
    with pytest.raises(ValueError, match="SKCGMVAE_DATA.* or pass folder"):
        load_npz("dense")


def test_npz_missing_file(folder):
    with pytest.raises(FileNotFoundError, match=r"yeast\.npz.*: dense, sparse\."):
        load_npz("yeast", folder=folder)
    with pytest.raises(FileNotFoundError, match="not a folder"):
        load_npz("yeast", folder=folder / "nowhere")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X, **ENDS}, r"lacks Y \(or Y_data, Y_indices, Y_indptr, Y_shape\); "),
        ({"X": X, "Y": Y}, "lacks feature_names, label_names; it holds X, Y"),
        ({"X_data": X, "Y": Y, **ENDS}, "lacks X_indices, X_indptr, X_shape; "),
    ],
)
def test_npz_missing_arrays(folder, arrays, message):
    np.savez(folder / "broken.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_npz("broken", folder=folder)


def test_npz_refuses_pickles(folder):
    names = {"feature_names": np.array(["a", None, {}], dtype=object)}
    np.savez(folder / "pickled.npz", X=X, Y=Y, **(ENDS | names))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        load_npz("pickled", folder=folder)


def test_npz_refuses_what_is_no_archive(folder):
    (folder / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"text\.npz is not an archive"):
        load_npz("text", folder=folder)


def test_npz_real_data(real_data):
    data, target = real_data("yeast")
    assert data.shape == (2417, 103)
    assert target.shape == (2417, 14)
    assert target.sum() / len(target) == pytest.approx(4.237, abs=5e-4)
    data, target = real_data("tmc2007")
    assert sp.issparse(data) and data.shape == (28596, 500)
    assert sp.issparse(target) and set(target.data) == {1}
