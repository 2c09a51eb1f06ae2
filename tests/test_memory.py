"""Out of memory: what to lower is said, and everything is usable afterwards."""

import os
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from common import DEVICE, SMALL, small, toy

from skcgmvae import CGMVAEClassifier
from skcgmvae._batches import Rows
from skcgmvae._network import CGMVAE

X, Y = toy()

# As torch and numpy say it.
ERRORS = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    "CPU": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:129] err == 0. DefaultCPUAllocator: can't "
        "allocate memory: you tried to allocate 4000000000000 bytes."
    ),
    "Windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
    "NumPy": MemoryError("Unable to allocate 7.28 TiB for an array with shape"),
}


class Filling(CGMVAE):
    """Needs memory that is not there as soon as ``error`` is set, or steps later."""

    error = None
    steps_before = 0
    held = []

    def _fill(self):
        if Filling.error is not None:
            large = torch.zeros(10)
            Filling.held += [weakref.ref(large), weakref.ref(self)]
            raise Filling.error

    def training_output(self, x, y):
        Filling.steps_before -= 1
        if Filling.steps_before < 0:
            self._fill()
        return super().training_output(x, y)

    def encode(self, x):
        if not Filling.steps_before > 0:
            self._fill()
        return super().encode(x)


class FillingClassifier(CGMVAEClassifier):
    _module_class = Filling


@pytest.fixture
def clf(monkeypatch):
    for name in ("error", "steps_before", "held"):
        monkeypatch.setattr(Filling, name, getattr(Filling, name))
    Filling.held = []
    return FillingClassifier(**SMALL)


def run_out(error=ERRORS["CPU"], steps_before=0):
    """From now on, or from so many steps on, there is no memory."""
    Filling.error, Filling.steps_before = type(error)(*error.args), steps_before


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", ERRORS)
def test_training_says_what_to_lower(clf, name, method):
    run_out(ERRORS[name])
    message = (
        rf"in training with device='{DEVICE}'. Lower batch_size \(it is 128\), then "
        r"n_members \(it is 1\), decoder_layer_sizes \(it is \(32,\)\), embedding_dim "
    )
    with pytest.raises(MemoryError, match=message) as caught:
        getattr(clf, method)(X, Y)
    assert caught.value.__cause__ is Filling.error
    assert str(ERRORS[name]) in str(caught.value)
    assert not hasattr(clf, "net_")
    Filling.error = None
    expected = small().fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(clf.fit(X, Y).predict_proba(X), expected)


@pytest.mark.parametrize("method", ["predict", "decision_function", "transform"])
@pytest.mark.parametrize("name", ERRORS)
def test_predicting_says_to_pass_fewer_rows(clf, name, method):
    before = clf.fit(X, Y).predict_proba(X)
    run_out(ERRORS[name])
    message = f"in predicting 200 rows with device='{DEVICE}'. Pass fewer rows at"
    with pytest.raises(MemoryError, match=message):
        getattr(clf, method)(X)
    Filling.error = None
    np.testing.assert_array_equal(clf.predict_proba(X), before)


def test_other_errors_are_left_alone(clf):
    Filling.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError) as caught:
        clf.fit(X, Y)
    assert caught.value is Filling.error


def test_memory_is_free_while_the_error_is_looked_at(clf, monkeypatch):
    """Network and tensors are gone before CUDA gives back what it has cached."""
    alive = []

    def empty_cache():
        alive.append([what() is not None for what in Filling.held])

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    run_out()
    with pytest.raises(MemoryError) as caught:
        clf.fit(X, Y)
    assert alive == [[False, False]]
    assert "Lower batch_size" in str(caught.value)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(("method", "steps"), [("fit", 12), ("partial_fit", 2)])
def test_a_model_that_was_to_be_trained_further_stays_as_it_was(
    clf, method, steps, early_stopping
):
    many = np.tile(X, (20, 1)), np.tile(Y, (20, 1))
    clf.set_params(warm_start=True, early_stopping=early_stopping, max_iter=1)
    clf.fit(X, Y)
    clf.set_params(max_iter=5, batch_size=1000)
    before, n_iter, size = clf.predict_proba(X), clf.n_iter_, len(pickle.dumps(clf))
    run_out(steps_before=steps)
    with pytest.raises(MemoryError, match="Lower batch_size .it is 1000"):
        getattr(clf, method)(*many)
    assert Filling.held
    Filling.error = None
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert len(clf.history_) == clf.n_iter_ == n_iter
    assert len(pickle.dumps(clf)) <= size  # neither rows nor weights twice
    getattr(clf, method)(X, Y)
    assert clf.n_iter_ > n_iter
    assert np.abs(clf.predict_proba(X) - before).max() > 0


def test_data_that_do_not_fit_onto_a_device(monkeypatch):
    from_numpy = torch.from_numpy

    def to_nowhere(array):
        if array.ndim > 1 and len(array) == len(X):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return from_numpy(array)

    monkeypatch.setattr(torch, "from_numpy", to_nowhere)
    message = r"\(200, 12\) does not fit onto device='meta'. Use device='cpu', or pass"
    with pytest.raises(MemoryError, match=message):
        Rows(X, device="meta")
    # The advice is not to lower the size of the batches.
    with pytest.raises(MemoryError, match=r"does not fit onto.*[Pp]ass fewer rows"):
        small().fit(X, Y)


# -- for real --------------------------------------------------------------------


@pytest.mark.parametrize(
    "large", [{"embedding_dim": 10**15}, {"encoder_layer_sizes": (10**10, 10**10)}]
)
def test_absurd_sizes(large):
    with pytest.raises(MemoryError, match="Lower batch_size"):
        small(**large).fit(X, Y)


LIMITED = """
import resource
import numpy as np
from common import small, toy

X, Y = toy()
large = np.tile(X, (50, 1)), np.tile(Y, (50, 1))
ordinary = {"batch_size": 1000, "max_iter": 1, "decoder_layer_sizes": (1024,)}
small(**ordinary).fit(*large)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26,) * 2)
for _ in range(2):
    try:
        small(**ordinary | {"batch_size": 10000}).fit(*large)
    except MemoryError as error:
        print(str(error)[:60])
        print(np.isfinite(small(**ordinary).fit(*large).predict_proba(X)).all())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
@pytest.mark.skipif(DEVICE != "cpu", reason="limits the memory of the process")
def test_process_with_little_memory_goes_on():
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here)])
    result = subprocess.run(
        [sys.executable, "-c", LIMITED],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = "Out of memory in training with device='cpu'. Lower batch_siz\nTrue\n"
    assert result.stdout == 2 * said, result.stderr
