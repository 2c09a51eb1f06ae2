import numpy as np
import pytest
import torch
from torch import nn

from skcgmvae._gaussian_head import MAX_LOG_VARIANCE, GaussianHead, MinStd

assert_close = torch.testing.assert_close

D, B = 7, 6


def features(rows=B, columns=D, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("raw", [-1e30, -50.0, -0.01, 0.0, 0.01, 50.0, 1e30])
def test_log_variance_is_bounded_and_near_zero_left_alone(raw):
    head = GaussianHead(1, 2)
    nn.init.zeros_(head.linear.weight)
    with torch.no_grad():
        head.linear.bias.copy_(torch.tensor([3.0, 4.0, raw, raw]))
    mean, log_variance = head(torch.ones(1, 1))
    assert mean.tolist() == [[3.0, 4.0]]
    assert log_variance.abs().max() <= MAX_LOG_VARIANCE
    if abs(raw) < 1:
        assert log_variance[0, 0].item() == pytest.approx(raw, abs=1e-4)
    else:
        assert log_variance[0, 0].item() == pytest.approx(
            np.copysign(MAX_LOG_VARIANCE, raw), abs=1e-3
        )


def test_bound_leaves_no_float32_overflow():
    assert torch.isfinite(torch.tensor(MAX_LOG_VARIANCE).exp() ** 8)


class Grown(MinStd):
    """Its floor has grown with the first batch, and there is no bias."""

    n_growing = 1

    def forward(self, x, bias=0.0):
        return super().forward(x, torch.as_tensor(bias))


@pytest.mark.parametrize("members", [(), (2,)])
def test_what_varies_too_little_is_stretched_as_batch_norm_does(members):
    """torch normalises all columns; here those that vary too little become as wide."""
    layer = Grown(D, 0.5, members=members).double()
    norms = [nn.BatchNorm1d(D, affine=False, eps=1e-12).double() for _ in range(2)]
    norms = norms if members else norms[:1]
    widths = torch.tensor([0.01, 0.05, 0.2, 0.3, 1, 2, 100], dtype=torch.float64)

    def expect(norm, x):
        normal = norm(x)
        if norm.training:
            mean, std = x.mean(dim=0), (x - x.mean(dim=0)).square().mean(dim=0).sqrt()
        else:
            mean, std = norm.running_mean, norm.running_var.sqrt()
        n_stretched.append((std < 0.5).sum().item())
        return torch.where(std < 0.5, mean + 0.5 * normal, x)

    def compare(rows, seed):
        x = torch.stack([features(rows, D, seed + m) for m in range(len(norms))])
        x = (widths * x + 1).requires_grad_()
        expected = torch.stack([expect(*pair) for pair in zip(norms, x, strict=True)])
        # What is added comes out as it is, whatever it was in other batches.
        bias = features(len(norms), D, seed + 5).requires_grad_()
        moved, own = x + bias[:, None], bias if members else bias[0]
        found = layer(moved if members else moved[0], own).reshape(expected.shape)
        expected = expected + bias[:, None]
        assert_close(found, expected)
        factor = features(rows, D, seed + 9)
        assert_close(
            torch.autograd.grad((factor * found).sum(), (x, bias)),
            torch.autograd.grad((factor * expected).sum(), (x, bias)),
        )

    n_stretched = []
    for batch in range(20):
        for norm in norms:
            norm.momentum = max(0.1, 1 / (batch + 1))
        compare([2, B, 30][batch % 3], seed=10 * batch)
    assert 0 < min(n_stretched) and max(n_stretched) < D
    for each in (layer, *norms):
        each.eval()
    compare(4, seed=300)


def test_a_row_alone_is_stretched_by_the_running_averages():
    layer = Grown(D, 2.0).double()
    layer(features())
    kept = [p.clone() for p in layer.parameters()]
    row = features(rows=1, seed=2)
    alone = layer(row)
    assert_close(list(layer.parameters()), kept)
    assert_close(alone, layer.eval()(row))
    assert not torch.allclose(alone, row)


@pytest.mark.parametrize("size", [1e-3, 0.1])
def test_however_little_it_varies_it_is_stretched_to_the_same(size):
    layer, expected = Grown(D, 4.0), Grown(D, 4.0)
    for each in (layer, expected):
        factor = size if each is layer else 1.0
        std = each(factor * features().float()).std(dim=0, correction=0)
        assert_close(std, torch.full((D,), 4.0), rtol=1e-4, atol=0)
        each.eval()
    x = features(seed=2).float()
    centred = [m(f * x) - m.mean for m, f in ((layer, size), (expected, 1.0))]
    assert_close(*centred, rtol=1e-3, atol=1e-4)


def test_the_floor_grows_with_the_square_of_the_batches():
    layer, x, no_bias = MinStd(D, 8.0).double(), features(), torch.zeros(D)
    deviation = x.std(dim=0, correction=0)
    for batch in range(1, 2003):
        floor = 8 * min(batch / 2000, 1) ** 2
        found = layer(x, no_bias).std(dim=0, correction=0)
        assert_close(found, deviation.clamp_min(floor))
    assert deviation.max() < floor == 8


def test_it_tells_which_are_stretched():
    layer = Grown(3, 1.0, members=(2,))
    widths = torch.tensor([[0.5, 2, 0.9], [3, 0.1, 4]])
    layer(widths[:, None] * features(100, 3).float())
    assert layer.stretched().tolist() == [[True, False, True], [False, True, False]]
    assert not MinStd(3, 1.0).stretched().any()


@pytest.mark.parametrize("training", [True, False])
def test_rows_that_come_alone_stay_as_they_are(training):
    layer, row = MinStd(D, 4.0).train(training), features(rows=1).float()
    for _ in range(3):
        assert_close(layer(row, torch.zeros(D)), row, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_what_varies_enough_is_left_alone(training):
    layer, x = Grown(D, 0.1), features().float()
    layer(x)
    assert_close(layer.train(training)(x), x, rtol=0, atol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, -30.0])
def test_what_does_not_vary_is_left_alone(value):
    layer = Grown(D, 0.25)
    for step in range(30):
        x = torch.full((B, D), value + step, requires_grad=True)
        out = layer(x)
        assert_close(out, x)
        (gradient,) = torch.autograd.grad(out.square().sum(), x)
        assert torch.isfinite(gradient).all()
    # Nor by the running averages, which lag behind.
    layer.eval()
    assert_close(layer(x), x)
    assert not layer.stretched().any()
