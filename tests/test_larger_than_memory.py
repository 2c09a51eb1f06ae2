"""Arrays that lie in a file: read in slices, and the results of arrays in memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import small, toy
from skorch.callbacks import Callback

from skcgmvae._batches import Rows, Streamed, is_memory_mapped

X, Y = toy()
WEIGHT = np.linspace(0.5, 2, 200)


def mapped(folder, name, array):
    """The same numbers in a file that may only be read."""
    path = folder / f"{name}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def sparse_mapped(folder, name, matrix):
    matrix = matrix.copy()
    for part in ("data", "indices", "indptr"):
        in_file = mapped(folder, f"{name}_{part}", getattr(matrix, part))
        setattr(matrix, part, in_file)
    return matrix


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_members": 3, "batch_size": 50},
        {"early_stopping": False, "scale_features": False, "lr": 1e-4},
    ],
    ids=["default", "members", "unscaled"],
)
@pytest.mark.parametrize("weight", [None, WEIGHT, np.arange(200) % 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fit_and_predictions_are_those_of_arrays_in_memory(
    tmp_path, parameters, weight, dtype
):
    x, y = X.astype(dtype), Y.astype(np.uint8)
    resident = small(**parameters).fit(x, y, weight)
    in_file = mapped(tmp_path, "X", x), mapped(tmp_path, "Y", y)
    streamed = small(**parameters).fit(*in_file, weight)
    for method in ("predict_proba", "predict", "decision_function", "transform"):
        expected = getattr(resident, method)(x)
        np.testing.assert_array_equal(getattr(streamed, method)(in_file[0]), expected)
    resident.partial_fit(x, y)
    streamed.partial_fit(*in_file)
    np.testing.assert_array_equal(
        streamed.predict_proba(x), resident.predict_proba(in_file[0])
    )


def test_sparse_arrays_in_files(tmp_path):
    x, y = sp.csr_matrix(X), sp.csr_matrix(Y.astype(np.uint8))
    in_file = sparse_mapped(tmp_path, "X", x), sparse_mapped(tmp_path, "Y", y)
    assert all(map(is_memory_mapped, in_file))
    expected = small().fit(x, y).predict_proba(x)
    streamed = small().fit(*in_file)
    np.testing.assert_array_equal(streamed.predict_proba(in_file[0]), expected)


def test_training_of_a_file_goes_on_with_the_array_that_it_holds(tmp_path, same_fall):
    path, x = tmp_path / "training", mapped(tmp_path, "X", X)
    small(checkpoint=path, max_iter=2).fit(x, Y)
    clf = small(checkpoint=path).fit(X, Y)
    np.testing.assert_array_equal(
        clf.predict_proba(X), small().fit(X, Y).predict_proba(X)
    )


def test_training_of_some_columns_of_a_file_goes_on(tmp_path, same_fall):
    path, x = tmp_path / "training", mapped(tmp_path, "X", X)[:, 2:9]
    small(checkpoint=path, max_iter=2).fit(x, Y)
    clf = small(checkpoint=path).fit(x, Y)
    np.testing.assert_array_equal(
        clf.predict_proba(x), small().fit(x, Y).predict_proba(x)
    )
    spoilt = X.copy()
    spoilt[-1, 2] += 1
    with pytest.raises(ValueError, match="of a training on other data"):
        small(checkpoint=path).fit(mapped(tmp_path, "other", spoilt)[:, 2:9], Y)


@pytest.mark.parametrize(
    ("view", "in_file"),
    [
        (lambda x: x, True),
        (lambda x: np.asarray(x)[::2, 1:].T, True),
        (lambda x: x[[3, 1]], False),
        (lambda x: x + 1, False),
        (lambda x: x.copy(), False),
    ],
    ids=["whole", "view of a view", "some rows", "sum", "copy"],
)
def test_what_is_streamed_is_what_lies_in_a_file(tmp_path, view, in_file):
    array = view(mapped(tmp_path, "X", X.astype(np.float32)))
    assert is_memory_mapped(array) == in_file
    assert isinstance(Rows(array).X, Streamed) == in_file


def test_values_too_large_for_training_without_scaling(tmp_path):
    spoilt = X.copy()
    spoilt[150, 3] = 1e7
    with pytest.raises(ValueError, match=r"X holds .*1e\+07.*scale_features=False"):
        small(scale_features=False).fit(mapped(tmp_path, "X", spoilt), Y)


# -- memory ----------------------------------------------------------------------


def test_labels_that_are_bytes_are_read_where_they_are(tmp_path):
    trained_on = []

    class Look(Callback):
        def on_train_begin(self, net, X, **kwargs):
            trained_on.append(X.y)

    in_file = mapped(tmp_path, "Y", Y.astype(np.uint8))
    clf = small(callbacks=[Look()])
    clf.fit(X, in_file).partial_fit(X, in_file)
    for found in trained_on:
        assert np.shares_memory(found.matrix, in_file)
    clf.fit(X, mapped(tmp_path, "floats", Y.astype(float)))
    assert trained_on[-1].dtype == torch.uint8


@pytest.mark.parametrize("scale_features", [True, False])
def test_sparse_rows_are_scaled_batch_by_batch(scale_features):
    trained_on = []

    class Look(Callback):
        def on_train_begin(self, net, X, **kwargs):
            trained_on.append(X.X)

    x = sp.csr_matrix(X / X.max())
    small(callbacks=[Look()], scale_features=scale_features).fit(x, Y)
    for part in ("data", "indices", "indptr"):
        assert np.shares_memory(*(getattr(m, part) for m in (trained_on[0].matrix, x)))


LIMITED = """
import resource, sys
import numpy as np
from common import small
from skcgmvae import _scaling

_scaling.CHUNK_ROWS = 1024  # that a smaller file will do
folder, n_bytes = sys.argv[1], int(sys.argv[2])
X = np.load(folder + "/X.npy", mmap_mode="r")
Y = np.load(folder + "/Y.npy", mmap_mode="r")
clf = small(
    max_iter=1,
    min_steps_per_epoch=1,
    batch_size=1024,
    early_stopping=False,
    checkpoint=folder + "/training",
)


def everything(X, Y):
    clf.fit(X[:, ::-1], Y)  # not as the file has it: what copies, copies this
    half = len(X) // 2
    clf.partial_fit(X[half:], Y[half:])
    assert np.isfinite(clf.predict_proba(X[half:])).all()


everything(X[::20], Y[::20])  # libraries are loaded as they are needed
clf.checkpoint += "2"
status = open("/proc/self/status").read()
used = 1024 * int(status.split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (used + n_bytes,) * 2)
everything(X, Y)
print("done")
"""


def write_rows(path, block, n_blocks):
    shape = n_blocks * len(block), block.shape[1]
    array = np.lib.format.open_memmap(path, "w+", block.dtype, shape)
    for start in range(0, len(array), len(block)):
        array[start : start + len(block)] = block
    return array.size


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_memory_stays_far_below_the_size_of_the_file(tmp_path):
    """Neither a scaled copy nor one byte a number would fit."""
    block = np.random.RandomState(0).randn(5000, 250).astype(np.float32)
    n_numbers = write_rows(tmp_path / "X.npy", block, 32)
    write_rows(tmp_path / "Y.npy", (block[:, :3] > 0).astype(np.uint8), 32)
    limit = 35_000_000
    assert limit < n_numbers * 0.9
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here)])
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stdout == "done\n", result.stderr
