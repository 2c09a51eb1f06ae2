"""The linear path, from the features to the logits, beside the network of figure 1.

Pure torch. Shapes in the comments as in :mod:`skcgmvae._network`, and besides: R
features of which ranks count, T bins each.
"""

import torch
from torch import nn

from skcgmvae._layers import InputLinear, SparseRows, product, with_squares

# Adam moves a weight by about lr a step, whatever its gradient. The weights of a
# logistic regression have far to go, so those of the linear path count tenfold.
LINEAR_SPEED = 10.0

# With n_bins="auto" a linear path has DEFAULT_BINS, unless that is more weights than
# these: about what the rest of the network has.
DEFAULT_BINS = 8
MOST_WEIGHTS = 2**18

# Where the outermost bins end, in standard deviations: of a thousand numbers six lie
# further out on either side.
OUTERMOST = 2.5


class PiecewiseLinearEncoding(nn.Module):
    """How far a score has come through each bin: -1/2 before, 1/2 behind it.

    Gorishniy, Rubachev and Babenko (NeurIPS 2022), section 3.2. Scores are taken to be
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
    """A ridge logistic regression a label; where there are ranks, an additive one.

    Of the features ``ranked``, which are normal scores of ranks, it has the score and
    the score's piecewise linear encoding, so that it adds up one broken line a feature:
    a generalized additive model.

    Parameters
    ----------
    n_features, n_labels : int
    penalty : float
        What the sum of the squared weights of the logits costs.
    offset : tensor of shape (D,) or None
        See :class:`InputLinear`.
    label_log_odds : tensor of shape (L,) or None
        Where the bias starts; zeros if None.
    ranked : tensor of int of shape (R,) or None
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
        offset=None,
        label_log_odds=None,
        ranked=None,
        n_bins="auto",
        members=(),
    ):
        super().__init__(n_features, n_labels, offset=offset, members=members)
        nn.init.zeros_(self.weight)
        if label_log_odds is not None:
            self.bias.data.copy_(label_log_odds / LINEAR_SPEED)
        self.penalty = penalty * LINEAR_SPEED**2
        self.bins = None
        n_ranked = 0 if ranked is None else len(ranked)
        if n_bins == "auto":
            few = n_ranked * DEFAULT_BINS * n_labels <= MOST_WEIGHTS
            n_bins = DEFAULT_BINS if few else 0
        if n_ranked and n_bins:
            self.register_buffer("ranked", ranked, persistent=False)
            self.encoding = PiecewiseLinearEncoding(n_bins)
            shape = *members, n_ranked * n_bins, n_labels
            self.bins = nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return self._logits(x, self.weight, self.bias, self.bins)

    def training_output(self, x, sample=None):
        """The logits of the labels looked at, (B, L), and the weights' penalty, (1,).

        ``sample`` is a :class:`~skcgmvae._label_sample.LabelSample`, or None for all.
        """
        weight, squares = _of_labels(self.weight, sample)
        bias, bins = self.bias, self.bins
        if sample is not None:
            bias = bias.index_select(-1, sample.labels)
        if bins is not None:
            bins, more = _of_labels(bins, sample)
            squares = squares + more
        return self._logits(x, weight, bias, bins), self.penalty * squares[..., None]

    def _logits(self, x, weight, bias, bins):
        logits = self.by(weight, bias, x)
        if bins is not None:
            logits = logits + product(self.encoding(self._scores(x)), bins)
        return LINEAR_SPEED * logits

    def _scores(self, x):
        """The features of which ranks count, dense; (..., B, R)."""
        if not isinstance(x, SparseRows):
            return x.index_select(-1, self.ranked)
        scores = x.to_dense(self.weight.shape[-2], self.ranked)
        return scores if self.offset is None else scores - self.offset[self.ranked]


def _of_labels(weight, sample):
    """A weight's columns for all labels, or some, and the sum of its squares, ().

    The sum is over all labels, or an estimate of it.
    """
    if sample is None:
        return with_squares(weight)
    weight = weight.index_select(-1, sample.labels)
    squares = weight.square().sum(dim=-2) * sample.weight  # (L,)
    return weight, squares.sum(dim=-1)
