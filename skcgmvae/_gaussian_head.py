"""A diagonal Gaussian as the output of an encoder, with means that vary."""

import torch
from torch import nn

from skcgmvae._layers import Linear

# A log-variance leaves [-MAX, MAX] for no input, so neither a variance nor its
# inverse can overflow in float32, and the KL term stays finite whatever its weight.
MAX_LOG_VARIANCE = 6.0


class MinStd(nn.Module):
    """Stretches, about its mean, what varies over the rows by less than a floor.

    It then varies as much as the floor; what varies more stays as it is. The floor
    grows to ``min_std`` with the square of the batches seen: a network starts with
    outputs that hardly vary, and those that are going to shall do so by themselves.

    In training the rows are those of the batch. Out of training, and for a row alone,
    running averages over the batches tell, of which the first ten count alike. These
    are parameters, though without a gradient, so that they are averaged, kept and saved
    as the weights are that they belong to. Of the variance it is the logarithm, so that
    an average soon forgets where it began, however small variances are. The mean is
    that of ``x`` without ``bias``, which moves on while the average lags behind, and
    what the average lacks would be stretched with the rest.

    Shape
    -----
    (*members, N, n_features), (*members, n_features) -> the former
    """

    momentum = 0.1
    n_growing = 2000
    # Of a variance. What varies by no more does not vary, but for rounding. A network
    # could hide behind a larger one, and shrink.
    eps = 1e-12

    def __init__(self, n_features, min_std, *, members=()):
        super().__init__()
        self.min_std = min_std
        self.mean = nn.Parameter(torch.zeros(*members, n_features))
        self.log_variance = nn.Parameter(torch.zeros(*members, n_features))
        self.n_batches = nn.Parameter(torch.zeros(*members, 1))

    def forward(self, x, bias):
        if self.training and x.shape[-2] > 1:
            mean, variance = self._of_batch(x, bias)
        else:
            mean, variance = self.mean.detach() + bias, self.log_variance.detach().exp()
        extra = self._stretch(variance) - 1
        return x + extra[..., None, :] * (x - mean[..., None, :])

    @torch.no_grad()
    def stretched(self):
        """Which are stretched in a prediction; (*members, n_features), bool."""
        return self._stretch(self.log_variance.exp()) > 1

    def _stretch(self, variance):
        share = (self.n_batches.detach() / self.n_growing).clamp_max(1)
        floor = self.min_std * share.square()
        stretch = (floor * torch.rsqrt(variance + self.eps)).clamp_min(1)
        return torch.where(variance > 10 * self.eps, stretch, 1.0)

    def _of_batch(self, x, bias):
        n_rows = x.shape[-2]
        variance, mean = torch.var_mean(x, dim=-2, correction=0)
        with torch.no_grad():
            self.n_batches.add_(1)
            weight = self.n_batches.reciprocal().clamp_min(self.momentum)
            # The batch underestimates the variance of all rows.
            unbiased = variance * (n_rows / (n_rows - 1)) + self.eps
            kept = self.log_variance.exp().lerp(unbiased, weight)
            self.log_variance.copy_(kept.log())
            self.mean.lerp_(mean - bias, weight)
        return mean, variance


class GaussianHead(nn.Module):
    """The mean and the log-variance of a diagonal Gaussian.

    The log-variance is squashed smoothly into +-``MAX_LOG_VARIANCE``, each dimension of
    the mean stretched to vary by ``min_std`` or more, as :class:`MinStd` does it.

    Shape
    -----
    (*members, N, in) -> (*members, N, d), (*members, N, d)
    """

    def __init__(self, in_features, latent_dim, *, members=(), min_std=0.0):
        super().__init__()
        self.latent_dim = latent_dim
        self.linear = Linear(in_features, 2 * latent_dim, members=members)
        self.min_std = None
        if min_std > 0:
            self.min_std = MinStd(latent_dim, min_std, members=members)

    def forward(self, hidden):
        mean, raw = self.linear(hidden).chunk(2, dim=-1)
        if self.min_std is not None:
            mean = self.min_std(mean, self.linear.bias.chunk(2, dim=-1)[0])
        return mean, MAX_LOG_VARIANCE * torch.tanh(raw / MAX_LOG_VARIANCE)
