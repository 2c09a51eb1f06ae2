"""Losses, one function an equation, and the objective of C-GMVAE that joins them.

Equation numbers are those of Bai, Kong and Gomes (ICML 2022).

Pure torch. Every function returns one value a row, to be minimised; none can
overflow: densities stay in logarithms and probabilities in logits.

Shapes: B batch rows, L labels, d latent dimensions, A labels that occur in the
batch; a leading ``...`` is any number of latent samples. With M members of an ensemble
M stands before each B, A and L of rows and labels, and so in the result: (M, B).
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def sample_log_density(noise, log_variance):
    """log q(z) of z = mean + noise * deviation, a sample of N(mean, diag(variance)).

    Both (..., d) -> (...).
    """
    return -0.5 * (noise.square() + log_variance + LOG_2PI).sum(dim=-1)


def component_log_densities(z, mean, log_variance):
    """log N(z | mu_i, diag(sigma_i^2)) for every row and every component.

    The square is expanded, so that two matrix products do the work and no
    (..., B, A, d) tensor is made.

    z (..., B, d), mean and log_variance (A, d) -> (..., B, A).
    """
    # Near the origin the expansion loses the fewest digits.
    centre = mean.detach().mean(dim=-2, keepdim=True)
    z, mean = z - centre, mean - centre
    precision = torch.exp(-log_variance)
    scaled = mean * precision
    constant = (mean * scaled + log_variance + LOG_2PI).sum(dim=-1)  # (A,)
    squares = z.square() @ precision.mT + constant[..., None, :]
    return z @ scaled.mT - 0.5 * squares


def mixture_log_density(z, mixture):
    """log p(z|y), Eq. 1: an even mixture of the Gaussians of a row's labels.

    The empty label set, for which Eq. 1 is undefined, has the component N(0, I):
    the prior of a VAE that knows nothing of the labels. It has no parameters that
    the few rows without labels would have to train.

    z (..., B, d), a :class:`~skcgmvae._network.GaussianMixture` -> (..., B).
    """
    empty = -0.5 * (z.square() + LOG_2PI).sum(dim=-1)
    if mixture.mean.shape[-2] == 0:
        return empty
    n_positive = mixture.membership.sum(dim=-1)  # (B,)
    is_empty = n_positive == 0
    # A row of -inf only has no finite gradient, so a row without labels keeps all
    # its components here and is replaced below.
    masked = component_log_densities(z, mixture.mean, mixture.log_variance).masked_fill(
        ~(mixture.membership | is_empty[..., None]), -torch.inf
    )
    mixed = torch.logsumexp(masked, dim=-1) - n_positive.clamp_min(1).log()
    return torch.where(is_empty, empty, mixed)


def kl_to_mixture(z, noise, log_variance, mixture):
    """KL[q(z|x) || p(z|y)], Eq. 3, estimated at samples of q.

    z = mean + noise * deviation and noise (S, B, d), or (B, d) of a single sample,
    log_variance (B, d) -> (B,), the mean over the samples.
    """
    log_q = sample_log_density(noise, log_variance)
    kl = log_q - mixture_log_density(z, mixture)
    return kl.mean(dim=0) if z.ndim > log_variance.ndim else kl


def kl_to_standard_normal(mean, log_variance):
    """KL[q(z|x) || N(0, I)], exact; (B, d) -> (B,). The uni-Gaussian of Table 4."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=-1)


def gaussian_reconstruction_loss(prediction, x):
    """-log p(x|z), Eq. 4, unit variance; (..., B, D), (B, D) -> (..., B)."""
    return 0.5 * ((prediction - x) ** 2 + LOG_2PI).sum(dim=-1)


def bernoulli_reconstruction_loss(logits, x):
    """-log p(x|z), Eq. 4, for x in [0, 1]; (..., B, D), (B, D) -> (..., B)."""
    x = x.expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=-1)


def contrastive_loss(similarity, y, label_weight=None):
    """Eq. 5 for one row: the feature embedding is the anchor, the labels its views.

    similarity (..., B, L), the exponents w_x . w_l / tau; y (B, L) -> (..., B).
    A row without labels has no positives and costs nothing. With ``label_weight`` (L,)
    each label counts as so many in the denominator, a positive one as 1: sampled
    softmax.
    """
    views = y / y.sum(dim=-1, keepdim=True).clamp_min(1)  # (B, L), their mean
    if label_weight is not None:
        similarity = similarity + label_weight.log()
    # Its gradient takes a third of the time, and of the memory, of logsumexp's.
    return -(similarity.log_softmax(dim=-1) * views).sum(dim=-1)


def cross_entropy_loss(logits, y, label_weight=None):
    """Eq. 6 for one row, with the minus sign that its print lacks.

    logits (..., B, L), y (B, L) -> (..., B), summed over the labels; with
    ``label_weight`` (L,) each label counts as so many.
    """
    each = F.binary_cross_entropy_with_logits(
        logits, y.expand_as(logits), weight=label_weight, reduction="none"
    )
    return each.sum(dim=-1)


def pairwise_ranking_loss(score, y):
    """The mean of exp(score of a negative - score of a positive) over pairs of labels.

    Zhang and Zhou (IEEE TKDE 2006), Eq. 5. The exponential factorises into a sum over
    the positives and one over the negatives, so that no (B, L, L) tensor is made. A
    row without pairs costs nothing.

    score (..., B, L), y (B, L) -> (..., B).
    """
    n_pairs = y.sum(dim=-1) * (1 - y).sum(dim=-1)  # (B,)
    has_pairs = (n_pairs > 0)[..., None]
    with torch.no_grad():
        # It cancels. Halfway between the worst of both kinds neither factor overflows,
        # unless the loss itself does.
        negative = score.masked_fill((y > 0) & has_pairs, -torch.inf).amax(dim=-1)
        positive = score.masked_fill((y == 0) & has_pairs, torch.inf).amin(dim=-1)
        shift = (negative + positive)[..., None] / 2
    each = torch.exp((1 - 2 * y) * has_pairs * (score - shift))
    loss = (each * y).sum(dim=-1) * (each * (1 - y)).sum(dim=-1)
    return loss / n_pairs.clamp_min(1)


class _NormalCDF(torch.autograd.Function):
    """See :func:`normal_cdf`."""

    # Where Phi is about to leave the range of float32.
    LOWEST = -12.0

    @staticmethod
    def forward(ctx, x):
        near = x.clamp_min(_NormalCDF.LOWEST)
        beyond = x - near
        cdf = 0.5 * torch.erfc(near * -math.sqrt(0.5))
        pdf = torch.exp(-0.5 * near**2) / math.sqrt(2 * math.pi)
        slope = pdf / cdf
        ctx.save_for_backward(pdf, slope - beyond)
        return cdf, cdf.log() + beyond * (slope - 0.5 * beyond)

    @staticmethod
    def backward(ctx, gradient, log_gradient):
        pdf, log_slope = ctx.saved_tensors
        return gradient * pdf + log_gradient * log_slope


def normal_cdf(x):
    """Phi(x), of the standard normal distribution, and its logarithm.

    torch's own functions take five times as long for the two and their gradients. Below
    -12 the logarithm goes on as the parabola that touches it there, to two parts in a
    thousand.
    """
    return _NormalCDF.apply(x)


def probit_log_likelihood(log_likelihoods):
    """log p(y) of a multivariate probit, from samples of its scores.

    Given a sample, labels are independent, each as likely as Phi(+-score): the mean
    over samples of the product over labels, in logarithms. Bai, Kong and Gomes
    (IJCAI 2020), Eq. 3.

    log_likelihoods (S, B, L), of each label given the sample -> (B,).
    """
    each = log_likelihoods.sum(dim=-1)  # (S, B)
    return torch.logsumexp(each, dim=0) - math.log(len(each))


def gaussian_kl(mean, log_variance, other_mean, other_log_variance):
    """KL of one diagonal Gaussian from another; all (B, d) -> (B,)."""
    difference = log_variance - other_log_variance
    squared = (mean - other_mean) ** 2 * torch.exp(-other_log_variance)
    return 0.5 * (difference.exp() + squared - 1 - difference).sum(dim=-1)


def cosine_similarity(product, embedding, label_embedding):
    """v_x . v_l of appendix A, from the product w_x . w_l that is there already.

    product (..., B, L), embedding (..., B, E), label_embedding (L, E) -> (..., B, L).
    """
    eps = torch.finfo(product.dtype).eps
    rows, labels = (
        torch.linalg.vector_norm(each, dim=-1).add(eps).reciprocal()
        for each in (embedding, label_embedding)
    )  # (..., B), (L,)
    # Gradients of a product take half the time of those of a quotient.
    return product * rows.unsqueeze(-1) * labels.unsqueeze(-2)


def weighted_sum(terms, weights):
    """The sum of some terms, a number each row, each times its weight; both by name."""
    # To multiply by 1, or to add to 0, would be one more operation of a step.
    total, *others = (
        term if weights[name] == 1 else weights[name] * term
        for name, term in terms.items()
    )
    for term in others:
        total = total + term
    return total


class CGMVAELoss(nn.Module):
    """Eq. 7: KL + reconstruction + alpha * contrastive + beta * cross-entropy.

    The parameters are those of :class:`skcgmvae.CGMVAEClassifier`. Called with a
    :class:`~skcgmvae._network.CGMVAEOutput` and y (B, L), it returns the terms as a
    dict of (B,) tensors, unweighted, and ``"loss"``, their weighted sum. A term of
    weight zero is left out. Latent samples are averaged; a label branch adds its own
    contrastive and cross-entropy loss. The linear path has a loss of its own and
    shares no parameter with the rest, which so learns as if it were alone; of the two,
    what the output lacks has no terms. Where a step looks at some labels only, sums
    over all are estimated from these. ``label_log_odds`` (L,), of the labels'
    frequencies, is what smoothed targets are drawn to; zeros if None.
    """

    def __init__(
        self,
        *,
        prior="mixture",
        normalize="contrastive",
        reconstruction=None,
        linear_path=True,
        label_branch=False,
        alpha=1.0,
        beta=1.0,
        kl_weight=1e-3,
        recon_weight=1.0,
        temperature=1.0,
        label_smoothing=0.0,
        label_log_odds=None,
    ):
        super().__init__()
        self.prior = prior
        self.normalize = normalize
        self.reconstruction = reconstruction
        self.label_branch = label_branch
        self.temperature = temperature
        self.weights = {
            "kl": kl_weight if prior else 0.0,
            "recon": recon_weight if reconstruction else 0.0,
            "contrastive": alpha,
            "cross_entropy": beta,
        }
        if linear_path:
            self.weights["linear"] = 1.0
        self.label_smoothing = label_smoothing
        self.is_smooth = bool(label_smoothing)  # the same graph for all amounts
        if label_log_odds is None:
            label_log_odds = torch.zeros(1)
        self.register_buffer("frequency", torch.sigmoid(label_log_odds))
        self.register_buffer("smoothing", torch.zeros(()))
        self.smooth(0.0 if label_smoothing == "auto" else label_smoothing)

    def smooth(self, amount):
        """Draw targets of the cross-entropy so far to the labels' frequencies.

        In place: a plain number would be compiled into the step.
        """
        self.smoothing.fill_(amount)

    def forward(self, output, y):
        if output.sample is not None:
            y = y.index_select(-1, output.sample.labels)
        terms = {
            name: getattr(self, f"_{name}")(output, y)
            for name, weight in self.weights.items()
            if weight and self._is_trained(name, output)
        }
        return {"loss": weighted_sum(terms, self.weights), **terms}

    @staticmethod
    def _is_trained(name, output):
        logits = output.linear_logits if name == "linear" else output.logits
        return logits is not None

    def _kl(self, output, y):
        if self.prior == "gaussian":
            return kl_to_standard_normal(output.mean, output.log_variance)
        return kl_to_mixture(output.z, output.noise, output.log_variance, output.prior)

    def _recon(self, output, y):
        loss = {
            "gaussian": gaussian_reconstruction_loss,
            "bernoulli": bernoulli_reconstruction_loss,
        }[self.reconstruction]
        loss = loss(output.reconstruction, output.target)
        return loss.mean(dim=0) if loss.ndim == output.mean.ndim else loss

    def _contrastive(self, output, y):
        similarity = output.logits
        if self.normalize == "contrastive":
            similarity = cosine_similarity(
                similarity, output.embedding, output.label_embedding
            )
        if self.temperature != 1:
            similarity = similarity / self.temperature
        weight = self._label_weight(output)
        return self._over_blocks(contrastive_loss(similarity, y, weight), y)

    def _cross_entropy(self, output, y):
        weight = self._label_weight(output)
        if self.is_smooth:
            y = torch.lerp(y, self._frequency(output), self.smoothing)
        return self._over_blocks(cross_entropy_loss(output.logits, y, weight), y)

    def _linear(self, output, y):
        """The linear path's own loss: a ridge logistic regression a label."""
        weight = self._label_weight(output)
        loss = cross_entropy_loss(output.linear_logits, y, weight)
        return loss + output.linear_penalty

    def _frequency(self, output):
        if output.sample is None or len(self.frequency) == 1:
            return self.frequency
        return self.frequency.index_select(-1, output.sample.labels)

    @staticmethod
    def _label_weight(output):
        return None if output.sample is None else output.sample.weight

    def _over_blocks(self, loss, y):
        """(S or S + 1, B) -> (B,)."""
        if loss.ndim < y.ndim:
            return loss
        if not self.label_branch:
            return loss.mean(dim=0)
        return loss[:-1].mean(dim=0) + loss[-1]
