"""Devices that are refused; numbers that are too small to be worth the time."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from common import small, toy
from skorch.callbacks import Callback

from skcgmvae._devices import resolve_device, subnormals_as_zero

X, Y = toy()


def test_a_device_without_float64_is_refused(monkeypatch):
    empty = torch.empty

    def poor(*shape, device, dtype=torch.float32):
        if dtype is torch.float64:
            raise TypeError("no float64 here")
        return empty(*shape, dtype=dtype)

    monkeypatch.setattr(torch, "empty", poor)
    with pytest.raises(ValueError, match=r"device='cuda'.*no float64 here.*'cpu'"):
        resolve_device("cuda")


FAULTS = """
import resource
import numpy as np
from skorch.callbacks import Callback
from skcgmvae import CGMVAEClassifier

def n_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

class Count(Callback):
    def on_epoch_begin(self, net, **kwargs):
        self.before = n_faults()

    def on_epoch_end(self, net, **kwargs):
        found.append((n_faults() - self.before) / 50)

X = np.random.RandomState(0).standard_normal((2000, 100))
found = []
CGMVAEClassifier(
    max_iter=2, early_stopping=False, callbacks=[Count()], random_state=0, device="cpu"
).fit(X, (X[:, :14] > 0).astype(int))
print(max(found[1:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")
def test_steps_are_lent_no_memory_by_the_system():
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True
    )
    assert float(done.stdout) < 100, done.stderr  # of a page; else it is some hundred


def smallest_is_zero():
    return bool(torch.full((8,), 1e-40).mul(1.0).eq(0).all())


def test_subnormal_numbers_are_zeros_inside_only():
    assert not smallest_is_zero()
    with pytest.raises(KeyError), subnormals_as_zero():
        assert smallest_is_zero()
        with subnormals_as_zero():
            assert smallest_is_zero()
        assert smallest_is_zero()  # as it was before
        raise KeyError
    assert not smallest_is_zero()


def test_it_is_so_while_a_network_is_trained_and_no_longer():
    seen = []

    class Look(Callback):
        def on_batch_end(self, net, **kwargs):
            seen.append(smallest_is_zero())

    small(callbacks=[Look()]).fit(X, Y)
    assert seen and all(seen)
    assert not smallest_is_zero()


def test_results_are_the_same(monkeypatch):
    """What is lost would have been lost in the sum with a weight."""

    class Shrinking(Callback):
        """Gradients of one unit vanish, so that their averages become subnormal."""

        n_subnormal = 0

        def on_grad_computed(self, net, named_parameters, **kwargs):
            gradients = dict(named_parameters)
            gradients["decoder.input.weight"].grad[:, 0] = 0

        def on_epoch_end(self, net, **kwargs):
            for state in net.optimizer_.state.values():
                average = state["exp_avg"].numpy().view(np.int32) & 0x7FFFFFFF
                Shrinking.n_subnormal += ((average > 0) & (average < 0x800000)).sum()

    def fit():
        return small(callbacks=[Shrinking()], max_iter=4, min_steps_per_epoch=250).fit(
            X, Y
        )

    flushed = fit()
    assert Shrinking.n_subnormal == 0
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: True)
    plain = fit()
    assert Shrinking.n_subnormal > 0
    np.testing.assert_array_equal(plain.predict_proba(X), flushed.predict_proba(X))
