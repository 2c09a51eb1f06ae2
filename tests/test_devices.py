"""Where numbers are too small to be worth the time."""

import numpy as np
import pytest
import torch
from common import small, toy
from skorch.callbacks import Callback

from skcgmvae._devices import subnormals_as_zero

X, Y = toy()


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
