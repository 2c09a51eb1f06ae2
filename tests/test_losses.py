"""The losses against torch.distributions and against the paper, written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as td
from torch.nn import functional as F

from skcgmvae._losses import (
    CGMVAELoss,
    bernoulli_reconstruction_loss,
    component_log_densities,
    contrastive_loss,
    cosine_similarity,
    cross_entropy_loss,
    gaussian_reconstruction_loss,
    kl_to_mixture,
    kl_to_standard_normal,
    mixture_log_density,
    sample_log_density,
)
from skcgmvae._network import CGMVAEOutput, GaussianMixture

assert_close = torch.testing.assert_close


def normal(mean, log_variance):
    """torch's diagonal Gaussian, one event a row."""
    return td.Independent(td.Normal(mean, torch.exp(log_variance / 2)), 1)


def torch_mixture_log_density(z, mixture):
    """Eq. 1 row by row; N(0, I) for a row without labels. z (B, d) -> (B,)."""
    rows = []
    for row, members in zip(z, mixture.membership, strict=True):
        if members.any():
            prior = td.MixtureSameFamily(
                td.Categorical(torch.ones(int(members.sum()), dtype=z.dtype)),
                normal(mixture.mean[members], mixture.log_variance[members]),
            )
        else:
            prior = normal(torch.zeros_like(row), torch.zeros_like(row))
        rows.append(prior.log_prob(row))
    return torch.stack(rows)


def doubles(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


MEMBERSHIPS = {
    "none, one, some and all": [[0, 0, 0], [0, 1, 0], [1, 0, 1], [1, 1, 1]],
    "every row all": [[1, 1, 1]] * 4,
    "every row one": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]],
    "every row none": [[0, 0, 0]] * 4,
}


def mixture_of(membership, d=5):
    return GaussianMixture(
        doubles(3, d, seed=1, scale=2.0),
        doubles(3, d, seed=2, scale=1.5),
        torch.tensor(membership, dtype=torch.bool),
    )


# -- Eq. 1 and 3: densities and KL -----------------------------------------------


def test_component_log_densities_are_those_of_torch():
    z, mixture = doubles(2, 4, 5), mixture_of([[1, 1, 1]] * 4)
    found = component_log_densities(z, mixture.mean, mixture.log_variance)
    assert found.shape == (2, 4, 3)
    for component in range(3):
        expected = td.Normal(
            mixture.mean[component], mixture.log_variance[component].exp().sqrt()
        )
        assert_close(found[..., component], expected.log_prob(z).sum(dim=-1))


def sampled(noise, mean, log_variance):
    return mean + noise * torch.exp(log_variance / 2)


def test_log_density_of_a_sample_is_that_of_torch():
    noise, mean, log_variance = (doubles(4, 5, seed=seed) for seed in range(3))
    z = sampled(noise, mean, log_variance)
    expected = normal(mean, log_variance).log_prob(z)
    assert_close(sample_log_density(noise, log_variance), expected)


def test_log_density_of_a_sample_has_the_gradients_of_torch():
    noise, mean, log_variance = (doubles(4, 5, seed=seed) for seed in range(3))
    leaves = [mean.requires_grad_(), log_variance.requires_grad_()]
    z = sampled(noise, mean, log_variance)
    expected = torch.autograd.grad(normal(mean, log_variance).log_prob(z).sum(), leaves)
    (found,) = torch.autograd.grad(
        sample_log_density(noise, log_variance).sum(), leaves[1:]
    )
    assert_close(found, expected[1])
    assert_close(torch.zeros_like(mean), expected[0])


@pytest.mark.parametrize("membership", MEMBERSHIPS.values(), ids=MEMBERSHIPS)
def test_mixture_log_density_is_that_of_torch(membership):
    z, mixture = doubles(4, 5), mixture_of(membership)
    expected = torch_mixture_log_density(z, mixture)
    assert_close(mixture_log_density(z, mixture), expected)


@pytest.mark.parametrize("membership", MEMBERSHIPS.values(), ids=MEMBERSHIPS)
def test_mixture_log_density_has_the_gradients_of_torch(membership):
    def gradients(log_density):
        z, (mean, log_variance, members) = doubles(4, 5), mixture_of(membership)
        leaves = [t.requires_grad_() for t in (z, mean, log_variance)]
        log_density(z, GaussianMixture(mean, log_variance, members)).sum().backward()
        return [
            torch.zeros_like(t) if t.grad is None else t.grad for t in leaves
        ]  # torch's own makes none for the components of a batch without labels

    for found, expected in zip(
        gradients(mixture_log_density),
        gradients(torch_mixture_log_density),
        strict=True,
    ):
        assert_close(found, expected)


def test_batch_without_any_label_needs_no_component():
    z = doubles(2, 4, 5)
    nothing = GaussianMixture(
        torch.empty(0, 5, dtype=z.dtype),
        torch.empty(0, 5, dtype=z.dtype),
        torch.empty(4, 0, dtype=torch.bool),
    )
    expected = td.Normal(0.0, 1.0).log_prob(z).sum(dim=-1)
    assert_close(mixture_log_density(z, nothing), expected)


def test_labels_outside_of_a_row_do_not_matter_to_it():
    z, mixture = doubles(4, 5), mixture_of(MEMBERSHIPS["none, one, some and all"])
    moved = mixture._replace(mean=mixture.mean + torch.tensor([[0.0], [9.0], [0.0]]))
    change = mixture_log_density(z, moved) - mixture_log_density(z, mixture)
    assert (change.abs() > 1e-9).tolist() == [False, True, False, True]


def test_kl_estimate_at_given_samples_is_that_of_torch():
    mixture = mixture_of(MEMBERSHIPS["none, one, some and all"])
    noise, mean, log_variance = doubles(6, 4, 5), doubles(4, 5, seed=3), doubles(4, 5)
    z = sampled(noise, mean, log_variance)
    found = kl_to_mixture(z, noise, log_variance, mixture)
    q = normal(mean, log_variance)
    expected = [
        q.log_prob(sample) - torch_mixture_log_density(sample, mixture) for sample in z
    ]
    assert_close(found, torch.stack(expected).mean(dim=0))


def kl_at_many_samples(mean, log_variance, mixture, n=200_000):
    noise = doubles(n, *mean.shape, seed=9)
    z = sampled(noise, mean, log_variance)
    return kl_to_mixture(z, noise, log_variance, mixture)


def test_kl_estimate_for_one_component_tends_to_the_exact_kl():
    mean, log_variance = doubles(2, 3, seed=4), doubles(2, 3, seed=5)
    mixture = mixture_of([[0, 1, 0], [0, 0, 1]], d=3)
    found = kl_at_many_samples(mean, log_variance, mixture)
    expected = td.kl_divergence(
        normal(mean, log_variance), normal(mixture.mean[1:], mixture.log_variance[1:])
    )
    assert_close(found, expected, rtol=0.01, atol=0.01)


def test_kl_estimate_for_two_components_tends_to_the_integral():
    mean, log_variance = torch.tensor([[0.4]]).double(), torch.tensor([[-0.5]]).double()
    mixture = mixture_of([[1, 0, 1]], d=1)
    found = kl_at_many_samples(mean, log_variance, mixture)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    prior = td.MixtureSameFamily(
        td.Categorical(torch.tensor([0.5, 0.5], dtype=torch.float64)),
        normal(mixture.mean[[0, 2]], mixture.log_variance[[0, 2]]),
    )
    log_q = normal(mean, log_variance).log_prob(grid)
    integrand = log_q.exp() * (log_q - prior.log_prob(grid))
    expected = torch.trapezoid(integrand, grid[:, 0])
    assert_close(found[0], expected, rtol=0.01, atol=0.01)


def test_kl_to_standard_normal_is_that_of_torch():
    mean, log_variance = doubles(4, 5), doubles(4, 5, seed=1)
    standard = normal(torch.zeros(4, 5).double(), torch.zeros(4, 5).double())
    expected = td.kl_divergence(normal(mean, log_variance), standard)
    assert_close(kl_to_standard_normal(mean, log_variance), expected)


# -- Eq. 4: reconstruction -------------------------------------------------------


def test_gaussian_reconstruction_is_the_log_likelihood_of_torch():
    prediction, x = doubles(2, 4, 5), doubles(4, 5, seed=1)
    expected = -td.Normal(prediction, 1.0).log_prob(x).sum(dim=-1)
    assert_close(gaussian_reconstruction_loss(prediction, x), expected)


def test_bernoulli_reconstruction_is_the_log_likelihood_of_torch():
    logits, x = doubles(2, 4, 5), (doubles(4, 5, seed=1) > 0).double()
    expected = -td.Bernoulli(logits=logits).log_prob(x).sum(dim=-1)
    assert_close(bernoulli_reconstruction_loss(logits, x), expected)


def test_bernoulli_reconstruction_of_a_grey_value_is_least_at_its_logit():
    logits = torch.linspace(-4, 4, 801, dtype=torch.float64)[:, None, None]
    loss = bernoulli_reconstruction_loss(logits, torch.tensor([[0.3]]).double())
    assert logits[loss.argmin()].item() == pytest.approx(math.log(0.3 / 0.7), abs=0.01)


# -- Eq. 5 and 6 -----------------------------------------------------------------

Y = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 1]]).double()


def dot(a, b):
    return sum(p * q for p, q in zip(a.tolist(), b.tolist(), strict=True))


def paper_contrastive(w_x, w_l, y, tau):
    """Eq. 5, sample by sample and label by label, sim = exp(w_1 . w_2 / tau)."""
    losses = []
    for anchor, labels in zip(w_x, y, strict=True):
        sim = [math.exp(dot(anchor, view) / tau) for view in w_l]
        positives = [i for i, label in enumerate(labels) if label == 1]
        terms = [-math.log(sim[p] / sum(sim)) for p in positives]
        losses.append(sum(terms) / len(positives) if positives else 0.0)
    return losses


def paper_cross_entropy(w_x, w_l, y):
    """Eq. 6, sample by sample and label by label, with its minus sign."""
    losses = []
    for anchor, labels in zip(w_x, y, strict=True):
        loss = 0.0
        for view, label in zip(w_l, labels, strict=True):
            s = 1 / (1 + math.exp(-dot(anchor, view)))
            loss -= math.log(s) if label == 1 else math.log(1 - s)
        losses.append(loss)
    return losses


@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0])
def test_contrastive_loss_is_eq5(tau):
    w_x, w_l = doubles(4, 6), doubles(4, 6, seed=1)
    found = contrastive_loss(w_x @ w_l.T / tau, Y)
    assert found.tolist() == pytest.approx(paper_contrastive(w_x, w_l, Y, tau))


def test_cross_entropy_loss_is_eq6():
    w_x, w_l = doubles(4, 6), doubles(4, 6, seed=1)
    found = cross_entropy_loss(w_x @ w_l.T, Y)
    assert found.tolist() == pytest.approx(paper_cross_entropy(w_x, w_l, Y))


def test_leading_dimensions_are_samples():
    similarity = doubles(3, 4, 4)
    for loss in (contrastive_loss, cross_entropy_loss):
        assert_close(loss(similarity, Y), torch.stack([loss(s, Y) for s in similarity]))


def test_cosine_similarity_is_that_of_torch():
    w_x, w_l = doubles(4, 6, scale=3.0), doubles(5, 6, seed=1)
    found = cosine_similarity(w_x @ w_l.T, w_x, w_l)
    assert_close(found, F.cosine_similarity(w_x[:, None], w_l[None], dim=-1))


# -- appendix A ------------------------------------------------------------------


def paper_gradient(v_x, v, y, tau):
    """The last line of Eq. 12, for one sample."""
    sim = [math.exp(dot(v_x, v_t) / tau) for v_t in v]
    n_positive = int(y.sum())
    gradient = torch.zeros_like(v_x)
    for t, v_t in enumerate(v):
        softmax = sim[t] / sum(sim)
        gradient += v_t * (softmax - 1 / n_positive if y[t] == 1 else softmax)
    return gradient / tau


@pytest.mark.parametrize("y", Y[1:])
def test_gradient_of_contrastive_loss_is_eq12(y):
    tau, v = 0.3, F.normalize(doubles(4, 6, seed=1), dim=-1)
    v_x = F.normalize(doubles(6), dim=0).requires_grad_()
    contrastive_loss((v @ v_x)[None] / tau, y[None]).sum().backward()
    assert_close(v_x.grad, paper_gradient(v_x.detach(), v, y, tau))


@pytest.mark.parametrize("y", Y[1:])
def test_gradient_through_the_normalisation_is_eq14(y):
    """Eq. 14 with the similarity of its own label in each numerator, not of a."""
    tau, w_l = 0.3, doubles(4, 6, seed=1, scale=2.0)
    w_x = doubles(1, 6, scale=3.0).requires_grad_()
    cosine = cosine_similarity(w_x @ w_l.T, w_x, w_l)
    contrastive_loss(cosine / tau, y[None]).sum().backward()

    norm = math.sqrt(dot(w_x[0], w_x[0]))
    v_x = w_x[0].detach() / norm
    v = torch.stack([w / math.sqrt(dot(w, w)) for w in w_l])
    sim = [math.exp(dot(v_x, v_t) / tau) for v_t in v]
    expected = torch.zeros(6, dtype=torch.float64)
    for t, v_t in enumerate(v):
        across = v_t - dot(v_x, v_t) * v_x
        pull = 1 / int(y.sum()) if y[t] == 1 else 0.0
        expected += across * (sim[t] / sum(sim) - pull) / (tau * norm)
    assert_close(w_x.grad[0], expected)
    # The loss knows directions only, so no gradient is along w_x.
    assert (w_x.grad[0] @ v_x).item() == pytest.approx(0, abs=1e-12)


def triplet(scale=1.0):
    """An anchor, a positive and a negative of unit norm, near one another."""
    start = doubles(6)
    anchor, positive, negative = (
        F.normalize(start + scale * doubles(6, seed=seed), dim=0) for seed in (1, 2, 3)
    )
    similarity = 2 * torch.stack([anchor @ positive, anchor @ negative])  # tau = 1/2
    loss = contrastive_loss(similarity[None], torch.tensor([[1.0, 0.0]]).double())
    return anchor, positive, negative, loss.item()


def test_one_positive_and_one_negative_give_the_first_line_of_eq9():
    anchor, positive, negative, loss = triplet()
    difference = 2 * dot(anchor, negative) - 2 * dot(anchor, positive)
    assert loss == pytest.approx(math.log(1 + math.exp(difference)))
    # The paper's last line prints a plus between the two squares.
    squares = (anchor - positive).square().sum() - (anchor - negative).square().sum()
    assert difference == pytest.approx(squares.item())


def test_to_first_order_the_contrastive_loss_is_half_a_triplet_loss():
    """log(1 + e^u) = log 2 + u / 2 + u^2 / 8 + ...: Eq. 9 up to scale and constant."""
    for scale in (0.3, 0.03, 0.003):
        anchor, positive, negative, loss = triplet(scale)
        u = (anchor - positive).square().sum() - (anchor - negative).square().sum()
        remainder = loss - math.log(2) - u.item() / 2
        assert abs(u.item()) > 1e-7
        assert 0 < remainder <= u.item() ** 2 / 8 + 1e-15


# -- safety ----------------------------------------------------------------------


def make_output(
    *, samples=1, branch=False, prior=True, rows=4, labels=4, d=5, dtype=torch.float64
):
    """What a network may hand to the losses, with leaves that collect gradients."""

    def leaf(*shape, seed):
        return doubles(*shape, seed=seed).to(dtype).requires_grad_()

    blocks = samples + branch
    embedding, label_embedding = leaf(blocks, rows, 6, seed=4), leaf(labels, 6, seed=5)
    mean, log_variance = leaf(rows, d, seed=1), leaf(rows, d, seed=2)
    noise = doubles(samples, rows, d, seed=3).to(dtype)
    return CGMVAEOutput(
        mean=mean,
        log_variance=log_variance,
        noise=noise,
        z=sampled(noise, mean, log_variance),
        prior=GaussianMixture(
            leaf(labels, d, seed=6), leaf(labels, d, seed=7), Y.bool()
        )
        if prior
        else None,
        embedding=embedding,
        label_embedding=label_embedding,
        logits=embedding @ label_embedding.T,
        linear_logits=leaf(rows, labels, seed=8),
        linear_penalty=doubles(1, seed=11)[0].to(dtype).square(),
        reconstruction=leaf(samples, rows, 7, seed=9),
        target=doubles(rows, 7, seed=10).to(dtype),
    )


def assert_safe(loss, *leaves):
    assert torch.isfinite(loss).all()
    for gradient in torch.autograd.grad(loss.sum(), leaves, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


LABELLINGS = {
    "mixed": Y.float(),
    "all rows empty": torch.zeros(4, 4),
    "labels always or never positive": torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 4),
    "all positive": torch.ones(4, 4),
}


@pytest.mark.parametrize("y", LABELLINGS.values(), ids=LABELLINGS)
@pytest.mark.parametrize("size", [100.0, 1e4])
def test_extreme_logits_are_safe_in_float32(y, size):
    signs = torch.tensor([[1.0, -1, 1, -1], [-1, 1, -1, 1], [1, 1, 1, 1], [-1] * 4])
    for loss in (contrastive_loss, cross_entropy_loss):
        logits = (size * signs).requires_grad_()
        assert_safe(loss(logits, y), logits)


def test_cross_entropy_of_extreme_logits_is_right_in_float32():
    logits = torch.tensor([[100.0, -100.0, 100.0, -100.0]])
    loss = cross_entropy_loss(logits, torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx(200)


@pytest.mark.parametrize("y", LABELLINGS.values(), ids=LABELLINGS)
@pytest.mark.parametrize("log_variance", [-6.0, 6.0])
@pytest.mark.parametrize("distance", [0.0, 1e3, 1e6])
def test_kl_is_safe_at_huge_distances_in_float32(y, log_variance, distance):
    mean = torch.full((4, 5), distance, requires_grad=True)
    prior_mean = torch.full((4, 5), -distance, requires_grad=True)
    variances = [torch.full((4, 5), log_variance, requires_grad=True) for _ in range(2)]
    mixture = GaussianMixture(prior_mean, variances[1], y > 0)
    noise = doubles(2, 4, 5).float()
    z = sampled(noise, mean, variances[0])
    loss = kl_to_mixture(z, noise, variances[0], mixture)
    assert_safe(loss, mean, prior_mean, *variances)


def test_zero_embeddings_are_safe():
    w_x = torch.zeros(4, 6, requires_grad=True)
    w_l = torch.zeros(4, 6, requires_grad=True)
    cosine = cosine_similarity(w_x @ w_l.T, w_x, w_l)
    assert_safe(contrastive_loss(cosine / 0.1, Y.float()), w_x, w_l)


def test_row_without_labels_costs_no_contrastive_loss_and_has_no_gradient():
    similarity = doubles(4, 4).requires_grad_()
    loss = contrastive_loss(similarity, Y)
    loss.sum().backward()
    assert loss[0].item() == 0
    assert (similarity.grad == 0).all(dim=1).tolist() == [True, False, False, False]


@pytest.mark.parametrize("y", LABELLINGS.values(), ids=LABELLINGS)
def test_whole_objective_is_safe_in_float32(y):
    output = make_output(dtype=torch.float32)
    output = output._replace(
        prior=output.prior._replace(membership=y > 0),
        logits=100 * output.logits,
        linear_logits=100 * output.linear_logits,
    )
    criterion = CGMVAELoss(reconstruction="gaussian", kl_weight=1.0)
    leaves = [output.mean, output.log_variance, output.z, output.prior.mean]
    leaves += [output.embedding, output.label_embedding, output.reconstruction]
    leaves += [output.linear_logits]
    assert_safe(criterion(output, y)["loss"], *leaves)


# -- Eq. 7: the objective --------------------------------------------------------

TERMS = {
    "alpha": "contrastive",
    "beta": "cross_entropy",
    "kl_weight": "kl",
    "recon_weight": "recon",
}
WEIGHTS = {"alpha": 2.0, "beta": 0.5, "kl_weight": 0.25, "recon_weight": 1.5}


@pytest.mark.parametrize("weight", TERMS)
def test_each_weight_weighs_its_own_term(weight):
    output = make_output(samples=2)
    before = CGMVAELoss(reconstruction="gaussian", **WEIGHTS)(output, Y)
    more = WEIGHTS | {weight: WEIGHTS[weight] + 1}
    after = CGMVAELoss(reconstruction="gaussian", **more)(output, Y)
    assert_close(after["loss"] - before["loss"], before[TERMS[weight]])
    assert (before[TERMS[weight]] != 0).any()


@pytest.mark.parametrize("weight", TERMS)
def test_zero_weight_leaves_its_term_out(weight):
    output = make_output()
    everything = CGMVAELoss(reconstruction="gaussian", **WEIGHTS)(output, Y)
    rest = CGMVAELoss(reconstruction="gaussian", **WEIGHTS | {weight: 0.0})(output, Y)
    assert set(everything) - set(rest) == {TERMS[weight]}
    expected = everything["loss"] - WEIGHTS[weight] * everything[TERMS[weight]]
    assert_close(rest["loss"], expected)


def test_loss_is_the_weighted_sum_of_the_terms():
    terms = CGMVAELoss(reconstruction="bernoulli", **WEIGHTS)(
        make_output()._replace(target=torch.ones(4, 7).double() / 2), Y
    )
    expected = (
        0.25 * terms["kl"]
        + 1.5 * terms["recon"]
        + 2.0 * terms["contrastive"]
        + 0.5 * terms["cross_entropy"]
        + terms["linear"]
    )
    assert_close(terms["loss"], expected)
    assert set(terms) == {"loss", "linear", *TERMS.values()}


def test_eq7_by_hand():
    """All terms of one objective from torch.distributions and the paper's loops."""
    output = make_output()
    criterion = CGMVAELoss(
        reconstruction="gaussian",
        normalize=None,
        kl_weight=1.0,
        recon_weight=1.0,
        alpha=1.0,
        beta=0.5,
        temperature=0.7,
        linear_path=False,
    )
    w_x, w_l = output.embedding[0], output.label_embedding
    log_q = normal(output.mean, output.log_variance).log_prob(output.z[0])
    kl = log_q - torch_mixture_log_density(output.z[0], output.prior)
    recon = -td.Normal(output.reconstruction[0], 1.0).log_prob(output.target).sum(-1)
    contrastive = torch.tensor(paper_contrastive(w_x, w_l, Y, 0.7)).double()
    ce = torch.tensor(paper_cross_entropy(w_x, w_l, Y)).double()
    found = criterion(output, Y)["loss"]
    assert_close(found, kl + recon + contrastive + 0.5 * ce)


def test_linear_path_has_the_loss_of_a_ridge_logistic_regression():
    output = make_output()
    terms = CGMVAELoss()(output, Y)
    likelihood = td.Bernoulli(logits=output.linear_logits).log_prob(Y).sum(dim=-1)
    assert_close(terms["linear"], output.linear_penalty - likelihood)
    without = CGMVAELoss(linear_path=False)(
        output._replace(linear_logits=None, linear_penalty=None), Y
    )
    assert "linear" not in without
    assert_close(terms["loss"] - terms["linear"], without["loss"])


@pytest.mark.parametrize("amount", [0.3, "auto"])
def test_smoothed_labels_are_bernoulli_variables(amount):
    """The cross-entropy is its mean over labels that are drawn anew so often."""
    output = make_output(samples=2)
    log_odds = doubles(4, seed=5)
    criterion = CGMVAELoss(label_smoothing=amount, label_log_odds=log_odds)
    plain = CGMVAELoss()(output, Y)
    if amount == "auto":  # until it is told how far
        assert_close(criterion(output, Y)["cross_entropy"], plain["cross_entropy"])
        criterion.smooth(0.3)
    found = criterion(output, Y)
    drawn = td.Bernoulli(logits=log_odds).expand([4, 4])
    kept = td.Bernoulli(probs=torch.tensor(0.7).double())
    likelihood = td.Bernoulli(logits=output.logits)
    one, zero = (likelihood.log_prob(torch.full((4, 4), v).double()) for v in (1, 0))
    p = kept.mean * Y + (1 - kept.mean) * drawn.mean
    expected = -(p * one + (1 - p) * zero).sum(dim=-1).mean(dim=0)
    assert_close(found["cross_entropy"], expected)
    for name in ("kl", "contrastive", "linear"):
        assert_close(found[name], plain[name])


def test_without_frequencies_labels_are_smoothed_to_a_half():
    output, smoothing = make_output(), {"label_smoothing": 0.3}
    even = CGMVAELoss(**smoothing, label_log_odds=torch.zeros(4).double())(output, Y)
    assert_close(CGMVAELoss(**smoothing).double()(output, Y)["loss"], even["loss"])


def test_priors():
    output = make_output()
    gaussian = CGMVAELoss(prior="gaussian")(output._replace(prior=None), Y)["kl"]
    standard = normal(torch.zeros(4, 5).double(), torch.zeros(4, 5).double())
    exact = td.kl_divergence(normal(output.mean, output.log_variance), standard)
    assert_close(gaussian, exact)
    assert "kl" not in CGMVAELoss(prior=None, kl_weight=1.0)(output, Y)


def test_no_reconstruction_whatever_its_weight():
    terms = CGMVAELoss(reconstruction=None, recon_weight=5.0)(make_output(), Y)
    assert "recon" not in terms


def test_unit_norm_contrast_forgets_the_norms_and_predictions_do_not():
    output = make_output()
    longer = output._replace(embedding=3 * output.embedding, logits=3 * output.logits)
    for normalize, same in (("contrastive", True), ("feature", False), (None, False)):
        criterion = CGMVAELoss(normalize=normalize)
        before, after = (criterion(o, Y)["contrastive"] for o in (output, longer))
        assert torch.allclose(before, after) == same


def test_temperature_divides_the_contrastive_similarities_only():
    output = make_output()
    hot = CGMVAELoss(normalize=None, temperature=2.0)(output, Y)
    cold = CGMVAELoss(normalize=None, temperature=1.0)(
        output._replace(logits=output.logits / 2), Y
    )
    assert_close(hot["contrastive"], cold["contrastive"])
    plain = CGMVAELoss(normalize=None)(output, Y)
    assert_close(hot["cross_entropy"], plain["cross_entropy"])


def test_samples_are_averaged():
    output = make_output(samples=2)
    criterion = CGMVAELoss(reconstruction="gaussian")
    fields = ("z", "embedding", "logits", "reconstruction")
    singles = [
        criterion(output._replace(**{f: getattr(output, f)[[s]] for f in fields}), Y)
        for s in range(2)
    ]
    for name, term in criterion(output, Y).items():
        assert_close(term, (singles[0][name] + singles[1][name]) / 2)


def test_label_branch_adds_its_own_block_once():
    output = make_output(samples=2, branch=True)
    both = CGMVAELoss(label_branch=True)(output, Y)

    def part(blocks):
        fields = ("embedding", "logits")
        rest = {name: getattr(output, name)[blocks] for name in fields}
        return CGMVAELoss()(output._replace(**rest), Y)

    samples, branch = part([0, 1]), part([2])
    for name in ("contrastive", "cross_entropy"):
        assert_close(both[name], samples[name] + branch[name])
    assert_close(both["kl"], samples["kl"])


# -- symmetries and properties ---------------------------------------------------


def test_rows_are_independent_of_their_order_and_company():
    output, order = make_output(samples=2, branch=True), torch.tensor([2, 0, 3])
    criterion = CGMVAELoss(reconstruction="gaussian", label_branch=True, kl_weight=1.0)
    some = output._replace(
        mean=output.mean[order],
        log_variance=output.log_variance[order],
        target=output.target[order],
        linear_logits=output.linear_logits[order],
        prior=output.prior._replace(membership=output.prior.membership[order]),
        **{
            name: getattr(output, name)[:, order]
            for name in ("noise", "z", "embedding", "logits", "reconstruction")
        },
    )
    assert_close(criterion(some, Y[order])["loss"], criterion(output, Y)["loss"][order])


def test_order_of_the_labels_does_not_matter():
    output, order = make_output(), torch.tensor([3, 1, 0, 2])
    criterion = CGMVAELoss(kl_weight=1.0)
    permuted = output._replace(
        prior=GaussianMixture(
            output.prior.mean[order],
            output.prior.log_variance[order],
            output.prior.membership[:, order],
        ),
        label_embedding=output.label_embedding[order],
        logits=output.logits[..., order],
        linear_logits=output.linear_logits[:, order],
    )
    found = criterion(permuted, Y[:, order])
    for name, term in criterion(output, Y).items():
        assert_close(found[name], term)
    # A labelling that did not follow would have been noticed.
    assert not torch.allclose(criterion(permuted, Y)["loss"], found["loss"])


similarities = st.lists(st.floats(-50, 50), min_size=2, max_size=6).map(
    lambda row: torch.tensor([row], dtype=torch.float64)
)


@st.composite
def similarity_and_labels(draw, min_positive=1):
    similarity = draw(similarities)
    size = similarity.shape[1]
    n_positive = draw(st.integers(min_positive, size))
    order = draw(st.permutations(range(size)))
    y = torch.zeros_like(similarity)
    y[0, order[:n_positive]] = 1
    return similarity, y


@settings(deadline=None)
@given(similarities, st.data())
def test_one_positive_makes_eq5_a_categorical_cross_entropy(similarity, data):
    target = data.draw(st.integers(0, similarity.shape[1] - 1))
    y = F.one_hot(torch.tensor([target]), similarity.shape[1]).double()
    loss = contrastive_loss(similarity, y)
    assert loss.item() >= 0
    expected = F.cross_entropy(similarity, torch.tensor([target]))
    assert_close(loss[0], expected, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(similarity_and_labels())
def test_eq5_is_at_least_the_entropy_of_its_positives(case):
    similarity, y = case
    loss = contrastive_loss(similarity, y).item()
    assert loss >= math.log(y.sum().item()) - 1e-9


@settings(deadline=None)
@given(similarity_and_labels(min_positive=0), st.floats(-1e3, 1e3))
def test_eq5_does_not_see_a_constant_added_to_all_similarities(case, constant):
    similarity, y = case
    found = contrastive_loss(similarity + constant, y)
    assert_close(found, contrastive_loss(similarity, y), rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(similarity_and_labels(min_positive=0), st.randoms(use_true_random=False))
def test_losses_do_not_see_the_order_of_the_labels(case, random):
    similarity, y = case
    order = random.sample(range(y.shape[1]), y.shape[1])
    for loss in (contrastive_loss, cross_entropy_loss):
        found = loss(similarity[:, order], y[:, order])
        assert_close(found, loss(similarity, y), rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(similarity_and_labels(), st.floats(0.1, 5))
def test_a_closer_negative_costs_more(case, step):
    similarity, y = case
    closer = similarity + step * (1 - y)
    gain = contrastive_loss(closer, y) - contrastive_loss(similarity, y)
    assert gain.item() >= 0
    assert gain.item() <= step + 1e-9


@settings(deadline=None)
@given(similarity_and_labels(min_positive=0))
def test_cross_entropy_treats_positives_and_negatives_alike(case):
    logits, y = case
    assert_close(cross_entropy_loss(logits, y), cross_entropy_loss(-logits, 1 - y))
