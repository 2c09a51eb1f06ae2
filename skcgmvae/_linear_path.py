"""The linear path, from the features to the logits, beside the network of figure 1.

Pure torch. Shapes in the comments as in :mod:`skcgmvae._network`, and besides: R
continuous features, T bins each.
"""

import math

import torch
from torch import nn

from skcgmvae._layers import InputLinear, SparseRows, product, with_squares

# Adam moves a weight by about lr a step, whatever its gradient. The weights of a
# logistic regression have far to go, so those of the linear path count tenfold.
LINEAR_SPEED = 10.0

# With n_bins="auto" there are DEFAULT_BINS, unless a row is more than MOST_ENCODED
# numbers then, or there are more than MOST_WEIGHTS for them: both cost as much as the
# rest of a step. A saved model depends on these numbers, and on the next: with another
# one, raise the FORMAT of _persistence and of _checkpoint.
DEFAULT_BINS = 8
MOST_ENCODED = 2**12
MOST_WEIGHTS = 2**18

# Where the outermost bins end, in standard deviations: of a thousand numbers six lie
# further out on either side.
OUTERMOST = 2.5

# Of more than 161 the outermost would be of no width.
MOST_BINS = 128


class PiecewiseLinearEncoding(nn.Module):
    """How far a score has come through each bin: -1/2 before, 1/2 behind it.

    Gorishniy, Rubachev and Babenko (NeurIPS 2022), section 3.2, but that the outermost
    bins are closed, and that the middle is 0, as of the scores. These are taken to be
    standard normal, and the bins to be equally probable. What is linear in the encoding
    is a broken line of the score.

    Shape
    -----
    (..., R) -> (..., R * T)
    """

    def __init__(self, n_bins):
        super().__init__()
        edges = torch.linspace(0, 1, n_bins + 1, dtype=torch.float64)
        edges = torch.special.ndtri(edges).clamp(-OUTERMOST, OUTERMOST)
        slope = 1 / edges.diff()
        self.register_buffer("slope", slope.float(), persistent=False)
        start = -0.5 - edges[:-1] * slope
        self.register_buffer("start", start.float(), persistent=False)

    def forward(self, x):
        passed = torch.addcmul(self.start, x[..., None], self.slope)
        return passed.clamp_(-0.5, 0.5).flatten(-2)


class LinearPath(InputLinear):
    """A ridge logistic regression a label; of continuous features an additive one.

    Of these, which are normal scores of ranks, it has the score and the score's
    piecewise linear encoding, so that it adds up one broken line a feature: a
    generalized additive model.

    Parameters
    ----------
    n_features, n_labels : int
    penalty : float
        What the sum of the squared weights of the logits costs.
    feature_cost : tensor of shape (D,) or None
        How many times that the weights of a feature cost; ones if None.
    offset : tensor of shape (D,) or None
        See :class:`InputLinear`.
    label_log_odds : tensor of shape (L,) or None
        Where the bias starts; zeros if None.
    continuous : tensor of int of shape (R,) or None
    n_bins : int or "auto"
        T; 0 for no encoding.
    members : tuple of int

    Shape
    -----
    (B, D) or (*members, B, D) -> (*members, B, L)
    """

    def __init__(
        self,
        n_features,
        n_labels,
        *,
        penalty,
        feature_cost=None,
        offset=None,
        label_log_odds=None,
        continuous=None,
        n_bins="auto",
        members=(),
    ):
        super().__init__(n_features, n_labels, offset=offset, members=members)
        nn.init.zeros_(self.weight)
        if label_log_odds is not None:
            self.bias.data.copy_(label_log_odds / LINEAR_SPEED)
        self.penalty = penalty * LINEAR_SPEED**2
        self.register_buffer("feature_cost", torch.ones(n_features), persistent=False)
        if feature_cost is not None:
            self.feature_cost.copy_(feature_cost)
        # A parameter, though without a gradient, so that it is kept and saved with the
        # weights that were the best under it. Of the factor it is the logarithm: an
        # average of what has fallen a hundredfold would tell of the beginning only.
        self.log_factor = nn.Parameter(torch.zeros(*members, 1))
        self.bin_weight = None
        n_continuous = 0 if continuous is None else len(continuous)
        if n_bins == "auto":
            n_encoded = n_continuous * DEFAULT_BINS
            few = n_encoded <= MOST_ENCODED and n_encoded * n_labels <= MOST_WEIGHTS
            n_bins = DEFAULT_BINS if few else 0
        if n_continuous and n_bins:
            self.register_buffer("continuous", continuous, persistent=False)
            self.encoding = PiecewiseLinearEncoding(n_bins)
            shape = *members, n_continuous * n_bins, n_labels
            self.bin_weight = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return self._logits(x, self.weight, self.bias, self.bin_weight)

    @torch.no_grad()
    def multiply_penalty(self, factor):
        """Let the weights cost ``factor`` times ``penalty`` from now on."""
        self.log_factor.fill_(math.log(factor))

    @property
    def penalty_factor(self):
        """How many times ``penalty`` the weights cost, (*members, 1)."""
        return self.log_factor.detach().exp()

    def training_output(self, x, sample=None):
        """The logits of the labels looked at, (B, L), and the weights' penalty, (1,).

        ``sample`` is a :class:`~skcgmvae._label_sample.LabelSample`, or None for all.
        """
        weight, squares = _of_labels(self.weight, sample)
        cost = (self.feature_cost * squares).sum(dim=-1)
        bias, bins = self.bias, self.bin_weight
        if sample is not None:
            bias = bias.index_select(-1, sample.labels)
        if bins is not None:
            bins, squares = _of_labels(bins, sample)
            cost = cost + squares.sum(dim=-1)
        penalty = self.penalty * self.penalty_factor * cost[..., None]
        return self._logits(x, weight, bias, bins), penalty

    def _logits(self, x, weight, bias, bins):
        logits = self.by(weight, bias, x)
        if bins is not None:
            logits = logits + product(self.encoding(self._scores(x)), bins)
        return LINEAR_SPEED * logits

    def _scores(self, x):
        """The continuous features, dense; (..., B, R)."""
        if not isinstance(x, SparseRows):
            return x.index_select(-1, self.continuous)
        scores = x.to_dense(self.weight.shape[-2], self.continuous)
        return scores if self.offset is None else scores - self.offset[self.continuous]


def _of_labels(weight, sample):
    """The weight for all labels, or some, and each row's sum of squares over all.

    (*members, N, L) -> (*members, N, A), (*members, N). From some it is estimated.
    """
    if sample is None:
        return with_squares(weight)
    weight = weight.index_select(-1, sample.labels)
    # No product: torch.autocast would round it.
    return weight, (weight.square() * sample.weight).sum(dim=-1)
