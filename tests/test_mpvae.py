"""MPVAE: the probit against Monte Carlo and scipy, the losses against torch's own."""

import itertools

import numpy as np
import pytest
import torch
from common import toy
from scipy.special import expit
from scipy.stats import multivariate_normal, norm
from test_c2ae import ranking_by_loops, scores_and_labels
from torch.distributions import Independent, Normal, kl_divergence

from skcgmvae._layers import MultivariateProbit
from skcgmvae._losses import gaussian_kl, normal_cdf, probit_log_likelihood
from skcgmvae.baselines import MPVAEClassifier
from skcgmvae.baselines.mpvae import MPVAELoss, MPVAEOutput

X, Y = toy()
MEAN = torch.tensor([[0.3, -0.5, 1.0], [-1.0, 0.2, 0.0]], dtype=torch.float64)


def probit():
    torch.manual_seed(0)
    return MultivariateProbit(3, 2).double()


def sets_of_labels():
    return torch.tensor(list(itertools.product([0, 1], repeat=3)), dtype=torch.float64)


def likelihoods(layer, row, y, n_samples=200_000):
    torch.manual_seed(1)
    mean = MEAN[row].expand(1, 3)
    scores = mean + layer.noise(n_samples, mean)
    _, log_right = normal_cdf((2 * y - 1) * scores)
    return probit_log_likelihood(log_right).exp().item()


@pytest.mark.parametrize("row", [0, 1])
def test_likelihood_is_the_mass_of_the_gaussian_in_an_orthant(row):
    """By scipy's integral, and by counting samples of the whole Gaussian."""
    layer = probit()
    factor = layer.factor.detach().numpy()
    covariance = np.eye(3) + factor @ factor.T
    mean = MEAN[row].numpy()
    samples = np.random.RandomState(0).multivariate_normal(mean, covariance, 400_000)
    total = 0
    for y in sets_of_labels():
        found = likelihoods(layer, row, y)
        total += found
        sign = 2 * y.numpy() - 1
        mass = multivariate_normal.cdf(
            sign * mean, cov=covariance * np.outer(sign, sign)
        )
        assert found == pytest.approx(mass, abs=3e-3)
        counted = ((samples > 0) == y.numpy()).all(axis=1).mean()
        assert found == pytest.approx(counted, abs=4e-3)
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype, rtol", [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_normal_cdf_is_that_of_scipy(dtype, rtol):
    x = torch.linspace(-12, 8, 401, dtype=dtype)
    cdf, log_cdf = (part.double().numpy() for part in normal_cdf(x))
    exact = x.double().numpy()
    np.testing.assert_allclose(cdf, norm.cdf(exact), rtol=100 * rtol)
    np.testing.assert_allclose(log_cdf, norm.logcdf(exact), rtol=rtol, atol=rtol)


def test_normal_cdf_has_the_slopes_of_its_values():
    x = torch.linspace(-20, 5, 51, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normal_cdf, x)


def test_hopeless_scores_cost_what_they_should_and_have_a_gradient():
    scores = torch.tensor([-13.0, -20.0, -50.0, -100.0, -1e4], requires_grad=True)
    _, log_cdf = normal_cdf(scores)
    found, exact = log_cdf.detach().numpy(), norm.logcdf(scores.detach().numpy())
    np.testing.assert_allclose(found, exact, rtol=2e-3)
    log_cdf.sum().backward()
    np.testing.assert_allclose(scores.grad, -scores.detach(), rtol=0.01)


def test_marginals_need_no_samples():
    layer = probit()
    found = expit(layer.logits(MEAN).detach().numpy())
    for row in (0, 1):
        sums = np.zeros(3)
        for y in sets_of_labels():
            sums += likelihoods(layer, row, y) * y.numpy()
        np.testing.assert_allclose(found[row], sums, atol=3e-3)


def test_kl_is_that_of_torch():
    torch.manual_seed(0)
    mean, log_variance, other_mean, other_log_variance = torch.randn(4, 5, 3)

    def gaussian(mean, log_variance):
        return Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1)

    expected = kl_divergence(
        gaussian(mean, log_variance), gaussian(other_mean, other_log_variance)
    )
    found = gaussian_kl(mean, log_variance, other_mean, other_log_variance)
    torch.testing.assert_close(found, expected)


def test_loss_is_the_weighted_sum_over_both_branches():
    scores, y = scores_and_labels()
    of_labels, of_features = torch.stack([scores, 2 * scores]), scores[None] - 0.3
    q, p = torch.randn(2, 2, 6, 4, dtype=torch.float64)
    output = MPVAEOutput(tuple(q), tuple(p), of_labels, of_features, scores)
    terms = MPVAELoss(nll_weight=2.0, ranking_weight=3.0, beta=0.5)(output, y)

    nll, ranking = 0, 0
    for samples in (of_labels, of_features):
        probabilities = norm.cdf(samples.numpy())
        likelihood = np.where(y.numpy() > 0, probabilities, 1 - probabilities)
        nll = nll - np.log(likelihood.prod(axis=2).mean(axis=0))
        by_sample = [
            ranking_by_loops(torch.from_numpy(5 * sample), y) / 5
            for sample in probabilities
        ]
        ranking = ranking + torch.stack(by_sample).mean(dim=0)
    np.testing.assert_allclose(terms["nll"], nll)
    torch.testing.assert_close(terms["ranking"], ranking)
    expected = 2 * terms["nll"] + 3 * terms["ranking"] + 0.5 * gaussian_kl(*q, *p)
    torch.testing.assert_close(terms["loss"], expected)


def test_prediction_is_the_probit_at_the_latent_mean():
    clf = MPVAEClassifier(max_iter=1, random_state=0, device="cpu").fit(X, Y)
    module = clf.net_.module_.eval()
    x = torch.from_numpy(clf._scaler.transform(X))
    with torch.no_grad():
        mean, _ = module.feature_encoder(x)
        score = module.to_labels(module.decoder(mean, x)).double().numpy()
    factor = module.probit.factor.detach().double().numpy()
    p = norm.cdf(score / np.sqrt(1 + (factor**2).sum(axis=1)))
    logits = clf.logit_scale_[0] * np.log(p / (1 - p)) + clf.logit_shift_
    np.testing.assert_allclose(clf.decision_function(X), logits, rtol=1e-3, atol=1e-4)
