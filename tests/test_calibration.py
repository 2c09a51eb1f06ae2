"""The size of the logits, against searches and distributions that know no trick."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import log_loss
from test_network import LargestTensor
from torch import distributions as td

from skcgmvae._calibration import BLOCK, HeldOut, best_logit_scale, calibrate


def negative_log_posterior(scale, logits, y, weight=None):
    """Of Bernoulli labels, weighted, and scales around the plain average of heads."""
    total = torch.from_numpy(sum(w * logits[:, k] for k, w in enumerate(scale)))
    log_p = td.Bernoulli(logits=total).log_prob(torch.from_numpy(y)).numpy()
    weight = np.ones(len(y)) if weight is None else weight
    likelihood = np.average(log_p, axis=0, weights=weight).sum() * len(y)
    return -likelihood - norm.logpdf(scale, loc=1 / len(scale)).sum()


def best_by_search(logits, y, weight=None):
    """By a search that knows no gradients."""
    n_heads = logits.shape[1]
    return minimize(
        negative_log_posterior,
        np.full(n_heads, 0.5),
        (logits, y, weight),
        method="Nelder-Mead",
        bounds=[(0.01, 10)] * n_heads,
        options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 2000},
    )


def draw_problem(seed, true_scale, n_rows=200):
    """Logits of as many heads as there are scales, and labels drawn from their sum."""
    rng = np.random.RandomState(seed)
    logits = 2 * rng.randn(n_rows, len(true_scale), 3)
    total = sum(scale * logits[:, head] for head, scale in enumerate(true_scale))
    y = (rng.rand(n_rows, 3) < 1 / (1 + np.exp(-total))).astype(float)
    return logits, y, 5 * rng.rand(n_rows)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    true_scale=st.lists(st.floats(0.05, 3), min_size=1, max_size=2),
    spread=st.floats(0.05, 8),
    weighted=st.booleans(),
)
def test_logit_scale_is_the_most_probable_one(seed, true_scale, spread, weighted):
    logits, y, weight = draw_problem(seed, true_scale)
    problem = (spread * logits, y, weight if weighted else None)
    _, found = best_logit_scale(*problem)
    # Strictly convex, so that no other scale comes as low.
    reference = best_by_search(*problem)
    assert negative_log_posterior(found, *problem) <= reference.fun + 1e-3


def test_loss_is_the_log_loss_at_that_scale():
    logits, y, weight = draw_problem(0, [1.0, 0.5])
    loss, scale = best_logit_scale(logits, y, weight)
    p = 1 / (1 + np.exp(-(scale[0] * logits[:, 0] + scale[1] * logits[:, 1])))
    by_label = [log_loss(y[:, i], p[:, i], sample_weight=weight) for i in range(3)]
    assert loss == pytest.approx(np.mean(by_label))


def test_blocks_of_rows_are_what_they_are_together(monkeypatch):
    logits, y, weight = draw_problem(0, [1.0, 0.5])
    together = best_logit_scale(logits, y, weight)
    monkeypatch.setattr("skcgmvae._calibration.BLOCK", 21)  # 7 rows, 4 at the end
    loss, scale = best_logit_scale(logits, y, weight)
    assert loss == pytest.approx(together[0], rel=1e-12)
    assert scale == pytest.approx(together[1], rel=1e-6)
    logits[-1] = np.nan
    assert math.isnan(best_logit_scale(logits, y)[0])


def test_no_array_of_all_logits_in_float64():
    logits, y, weight = draw_problem(0, [1.0, 0.5], n_rows=100_000)
    held_out = HeldOut(logits.astype(np.float32), y.astype(np.uint8), weight)
    with LargestTensor() as recorder:
        held_out.best_scale()
    assert logits.size / 4 > BLOCK * 2 >= recorder.numel > 0
    with LargestTensor() as recorder:
        held_out.calibration(np.zeros(3))
    assert logits.size > BLOCK * 4 >= recorder.numel > 0


def test_weight_counts_as_so_many_rows():
    logits, y, _ = draw_problem(0, [1.0])
    weight = np.arange(len(y)) % 3
    repeated = np.repeat(np.arange(len(y)), weight)
    _, expected = best_logit_scale(logits[repeated], y[repeated])
    _, found = best_logit_scale(logits, y, weight.astype(float))
    assert found == pytest.approx(expected, rel=5e-3)
    assert found != pytest.approx(best_logit_scale(logits, y)[1], rel=1e-2)


def test_worthless_head_is_weighed_down():
    logits, y, _ = draw_problem(0, [1.0, 0.0], n_rows=1000)
    _, (useful, worthless) = best_logit_scale(logits, y)
    assert useful == pytest.approx(1, abs=0.15)
    assert worthless == pytest.approx(0.01, abs=0.1)


def test_scale_stays_in_its_bounds():
    logits, y, _ = draw_problem(0, [1.0])
    right = (logits[:, 0] > 0).astype(float)
    assert best_logit_scale(1e-4 * logits, right)[1][0] <= 10
    assert best_logit_scale(np.repeat(logits, 90, 0) / 20, np.repeat(right, 90, 0))[
        1
    ] == pytest.approx([10], rel=1e-3)
    assert best_logit_scale(logits, 1 - right)[1] == pytest.approx([0.01], rel=1e-3)


def test_few_rows_move_the_scale_less_than_many():
    logits, _, _ = draw_problem(0, [1.0])
    right = (logits[:, 0] > 0).astype(float)
    few = best_logit_scale(logits[:2], right[:2])[1][0]
    many = best_logit_scale(logits, right)[1][0]
    assert 1 < few < 2 < many


@pytest.mark.parametrize("n_heads", [1, 2])
def test_logits_that_tell_nothing_are_averaged(n_heads):
    _, scale = best_logit_scale(np.zeros((5, n_heads, 2)), np.ones((5, 2)))
    assert scale == pytest.approx([1 / n_heads] * n_heads)


@pytest.mark.parametrize("size", [10.0, 20.0, 100.0, 1000.0])
def test_saturated_logits_are_tempered(size):
    """Half of these are wrong, so no confidence at all would be best."""
    logits = np.full((4, 1, 1), size, dtype=np.float32)
    loss, scale = best_logit_scale(logits, np.array([[1.0], [0.0], [1.0], [0.0]]))
    assert scale == pytest.approx([0.01], abs=2e-3)
    assert math.isfinite(loss)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_loss_of_logits_that_are_not_finite_is_none(value):
    logits, y, _ = draw_problem(0, [1.0, 1.0])
    logits[3, 1, 2] = value
    loss, scale = best_logit_scale(logits, y)
    assert math.isnan(loss)
    assert np.isfinite(scale).all()


def test_heads_that_were_held_out_together_and_alone():
    logits, y, weight = draw_problem(0, [1.0, 0.5])
    held_out = HeldOut(logits, y, weight)
    assert held_out.best_scale() == best_logit_scale(logits, y, weight)
    assert held_out.best_scale([1]) == best_logit_scale(logits[:, 1:], y, weight)
    assert held_out.best_scale([0])[0] > held_out.best_scale()[0]


# -- what goes by the labels' frequencies ----------------------------------------


def total_by_loops(parameters, logits, log_odds):
    """Calibrated logits of two heads, as the documentation has them."""
    s_1, s_2, a, b = parameters
    total = np.empty((len(logits), len(log_odds)))
    for row, heads in enumerate(logits):
        for label, c in enumerate(log_odds):
            h_1, h_2 = heads[:, label]
            if c < 0:
                h_1 -= 0.1 * c * (h_1 - c)
                h_2 -= 0.1 * c * (h_2 - c)
            total[row, label] = s_1 * h_1 + s_2 * h_2 + a + b * c
    return total


def calibrated(calibration, logits):
    scale, shift = calibration
    return np.einsum("kl,nkl->nl", scale, logits) + shift


def evidence_of_two_heads(n_rows, log_odds, seed=0):
    """Labels, and two heads that know independent things and the frequencies.

    By Bayes' rule the log-odds of a label are ``h_1 + h_2 - c``.
    """
    rng = np.random.RandomState(seed)
    y = rng.rand(n_rows, len(log_odds)) < expit(log_odds)
    # Of unit variance around 1 or -1: the likelihood ratio is exp(2 x).
    x = np.where(y, 1, -1)[:, None] + rng.randn(n_rows, 2, len(log_odds))
    return log_odds + 2 * x, y.astype(float)


@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_is_the_most_probable_one(weighted):
    log_odds = np.array([-4.0, -2.0, 0.5])
    logits, y, weight = draw_problem(3, [0.9, 0.7])
    logits += log_odds
    weight = weight if weighted else np.ones(len(y))

    def negative_log_posterior(parameters):
        total = torch.from_numpy(total_by_loops(parameters, logits, log_odds))
        log_p = td.Bernoulli(logits=total).log_prob(torch.from_numpy(y)).numpy()
        likelihood = np.average(log_p, axis=0, weights=weight).sum() * len(y)
        prior = norm.logpdf(parameters[:2], loc=1 / 2).sum()
        return -likelihood - prior - norm.logpdf(parameters[2:], scale=0.05).sum()

    best = minimize(negative_log_posterior, [0.5, 0.5, 0, 0], method="Powell").x
    found = calibrated(calibrate(logits, y, log_odds, weight), logits)
    assert np.abs(best[2:]).min() > 1e-3  # each of them counts
    np.testing.assert_allclose(
        found, total_by_loops(best, logits, log_odds), rtol=5e-3, atol=5e-3
    )


def test_calibration_of_many_rare_labels_ends_precisely():
    rng = np.random.RandomState(0)
    log_odds = np.linspace(-6, -3, 30)
    evidence = 2 * rng.randn(500, 2, 30)
    logits = log_odds + evidence
    y = (rng.rand(500, 30) < expit(log_odds + 0.6 * evidence.sum(axis=1))).astype(float)

    def total(parameters):
        s_1, s_2, a, b = parameters
        counted = evidence * (1 - 0.1 * log_odds)
        of_evidence = s_1 * counted[:, 0] + s_2 * counted[:, 1]
        return of_evidence + a + (s_1 + s_2 + b) * log_odds

    def negative_log_posterior(parameters):
        likelihood = -np.logaddexp(0, (1 - 2 * y) * total(parameters)).sum()
        prior = norm.logpdf(parameters[:2], loc=1 / 2).sum()
        return -likelihood - prior - norm.logpdf(parameters[2:], scale=0.05).sum()

    options = {"xtol": 1e-9, "ftol": 1e-15}
    best = minimize(
        negative_log_posterior, [0.5, 0.5, 0, 0], method="Powell", options=options
    ).x
    found = calibrated(calibrate(logits, y, log_odds), logits)
    np.testing.assert_allclose(expit(found), expit(total(best)), atol=1e-5)


def test_what_both_heads_know_is_counted_once():
    log_odds = np.array([-5.0, -3.0, -1.0, 0.0])
    logits, y = evidence_of_two_heads(100_000, log_odds)
    # Two heads that have seen nothing both say how frequent a label is.
    nothing = np.full((1, 2, 4), log_odds)
    found = calibrated(calibrate(logits, y, log_odds), nothing)[0]
    np.testing.assert_allclose(found, log_odds, rtol=0.13, atol=0.1)
    _, scale = best_logit_scale(logits, y)
    assert sum(scale) * log_odds[0] < -7


def test_evidence_for_rare_labels_counts_more():
    log_odds = np.array([-5.0, -3.0, -1.0, 0.0, 1.0])
    factor = np.array([1.5, 1.3, 1.1, 1.0, 1.0])
    rng = np.random.RandomState(0)
    evidence = 2 * rng.randn(50_000, 1, 5)
    total = log_odds + factor * evidence[:, 0]
    y = (rng.rand(50_000, 5) < expit(total)).astype(float)
    found = calibrate(log_odds + evidence, y, log_odds)
    np.testing.assert_allclose(found.scale[0], factor, rtol=0.03)
    # What has seen nothing says how frequent a label is, as before.
    nothing = np.full((1, 1, 5), log_odds)
    np.testing.assert_allclose(calibrated(found, nothing)[0], log_odds, atol=0.06)


def test_few_rows_leave_frequencies_alone():
    log_odds = np.array([-3.0, 0.5])
    logits, y = evidence_of_two_heads(100_000, log_odds)
    few = calibrate(logits[:10], y[:10], log_odds)
    many = calibrate(logits, y, log_odds)
    shift_of_few, shift_of_many = (
        # To the second label's scales nothing was added.
        calibrated(found, np.full((1, 2, 2), log_odds))
        - found.scale[:, 1].sum() * log_odds
        for found in (few, many)
    )
    assert np.abs(shift_of_few).max() < 0.1 < np.abs(shift_of_many).max()


def test_no_head_is_turned_round():
    log_odds = np.array([-12.0, 1.0])
    rng = np.random.RandomState(0)
    logits = rng.randn(20_000, 1, 2)
    # The head says the contrary of what is so.
    y = (rng.rand(20_000, 2) < expit(-2 * logits[:, 0])).astype(float)
    found = calibrate(logits, y, log_odds)
    assert found.scale[0] == pytest.approx([0.022, 0.01])


def test_of_logits_that_are_not_finite_heads_count_alike():
    logits, y, _ = draw_problem(0, [1.0, 1.0])
    logits[3, 1, 2] = np.nan
    log_odds = np.array([-1.0, -2.0, 0.0])
    scale, shift = calibrate(logits, y, log_odds)
    np.testing.assert_allclose(scale, [[0.55, 0.6, 0.5]] * 2)
    # Of rows that tell nothing, as before.
    np.testing.assert_allclose((scale * log_odds).sum(axis=0) + shift, log_odds)


def test_calibration_in_blocks_is_that_of_all_rows(monkeypatch):
    logits, y, weight = draw_problem(0, [1.0, 0.5])
    held_out = HeldOut(logits, y, weight)
    together = held_out.calibration(np.array([-3.0, -2.0, 0.0]))
    monkeypatch.setattr("skcgmvae._calibration.BLOCK", 21)
    apart = held_out.calibration(np.array([-3.0, -2.0, 0.0]))
    for ours, theirs in zip(apart, together, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
