"""The layers of which networks for feature vectors are made. Pure torch.

A layer may be one of an ensemble: ``members`` is ``()`` for a network alone and
``(M,)`` for M of them, whose weights lie side by side in one tensor and meet their
rows in one batched product. It leads every shape, so that the same code serves both.

Shapes in the comments: B batch rows, D features, d latent dimensions, N any rows.
"""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from skcgmvae._losses import normal_cdf

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU}


class SparseRows(NamedTuple):
    """A batch of CSR rows: the columns and values of the non-zeros, row after row.

    With ``members`` (M,) each member has B rows of its own, the first member's first.
    """

    columns: torch.Tensor  # (nnz,)
    row_starts: torch.Tensor  # (number of rows,)
    values: torch.Tensor  # (nnz,)
    members: tuple = ()

    @property
    def ndim(self):
        """As of the dense rows: 2, or 3 where members have rows of their own."""
        return 2 + len(self.members)

    @property
    def shape(self):
        """Of the rows: (*members, B)."""
        return (*self.members, len(self.row_starts) // math.prod(self.members))

    def to_dense(self, n_features, wanted=None):
        """The same rows, or of them the columns ``wanted``, as (..., B, D) numbers."""
        row = self._repeat(torch.arange(len(self.row_starts)), self._row_sizes())
        columns, values = self.columns, self.values
        if wanted is not None:
            place = columns.new_full((n_features,), -1)
            place[wanted] = torch.arange(len(wanted), device=place.device).to(place)
            columns = place[columns]
            kept = columns >= 0
            row, columns, values = row[kept], columns[kept], values[kept]
            n_features = len(wanted)
        dense = values.new_zeros(len(self.row_starts), n_features)
        dense.index_put_((row, columns), values, accumulate=True)
        return dense.reshape(*self.shape, n_features)

    def spread(self, n_members, n_features):
        """The rows as those of one table with a block of columns a member.

        Rows that all members share become rows of each.
        """
        columns, row_starts, values = self.columns, self.row_starts, self.values
        if not self.members:
            sizes = columns.new_full((n_members,), len(columns))
            columns, values = columns.repeat(n_members), values.repeat(n_members)
            shift = len(self.columns) * torch.arange(n_members, device=columns.device)
            row_starts = (shift[:, None] + row_starts).flatten().to(row_starts.dtype)
        else:
            sizes = self._row_sizes().reshape(self.shape).sum(dim=1)
        member = self._repeat(torch.arange(n_members), sizes)
        columns = columns + n_features * member
        return SparseRows(columns, row_starts, values, (n_members,))

    def _row_sizes(self):
        end = self.row_starts.new_tensor([len(self.values)])
        return torch.diff(self.row_starts, append=end)

    def _repeat(self, numbers, times):
        return torch.repeat_interleave(numbers.to(times.device), times)


def uniform(*shape, bound):
    """A parameter drawn evenly from [-bound, bound]."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Linear(nn.Module):
    """A linear layer, or one a member.

    It starts as :class:`torch.nn.Linear` does. The weight is stored (in, out).

    Shape
    -----
    (..., *members, N, in) -> (..., *members, N, out); (N, in) is what all members
    share.
    """

    def __init__(self, in_features, out_features, *, members=()):
        super().__init__()
        bound = in_features**-0.5
        self.weight = uniform(*members, in_features, out_features, bound=bound)
        self.bias = uniform(*members, out_features, bound=bound)

    def forward(self, x):
        return product(x, self.weight, self.bias)


class InputLinear(nn.Module):
    """A linear layer that takes dense rows or :class:`SparseRows`.

    Dense and sparse rows of the same numbers give the same output. The weight is
    stored (*members, D, out), so that sparse rows gather whole rows of it.

    Parameters
    ----------
    n_features, out_features : int
    offset : tensor of shape (D,), optional
        Subtracted from sparse rows, after the product: the centre that dense rows
        have already lost and sparse rows could only lose by turning dense.
    bias : bool
    members : tuple of int

    Shape
    -----
    (B, D) or (*members, B, D) -> (*members, B, out)
    """

    def __init__(self, n_features, out_features, *, offset=None, bias=True, members=()):
        super().__init__()
        bound = n_features**-0.5
        self.weight = uniform(*members, n_features, out_features, bound=bound)
        self.bias = None
        if bias:
            self.bias = nn.Parameter(torch.zeros(*members, out_features))
        self.register_buffer("offset", offset, persistent=offset is not None)

    def forward(self, x):
        return self.by(self.weight, self.bias, x)

    def by(self, weight, bias, x):
        """What the layer would give with these in the place of its parameters."""
        if not isinstance(x, SparseRows):
            return product(x, weight, bias)
        out = self._sparse(weight, x)
        return out if bias is None else out + bias[..., None, :]

    def _sparse(self, weight, x):
        *members, n_features, out_features = weight.shape
        parts = [x]
        if self.offset is not None:
            # One more row of the same product: few columns are centred, and the
            # gradient of a product of its own would be dense.
            columns = self.offset.nonzero().squeeze(1)
            start = columns.new_zeros(1)
            parts.append(SparseRows(columns, start, self.offset[columns]))
        if members:
            parts = [part.spread(*members, n_features) for part in parts]
        starts, n_stored = [], 0
        for part in parts:
            starts.append(part.row_starts + n_stored)
            n_stored += len(part.columns)
        sums = F.embedding_bag(
            torch.cat([part.columns for part in parts]),
            weight.flatten(0, -2),
            torch.cat(starts),
            mode="sum",
            per_sample_weights=torch.cat([part.values for part in parts]),
        )
        sums = sums.split([math.prod(part.shape) for part in parts])
        out, *offset = (
            product.reshape(*part.shape, out_features)
            for part, product in zip(parts, sums, strict=True)
        )
        return out - offset[0] if offset else out


class Dropout(nn.Module):
    """Dropout, as :class:`torch.nn.Dropout`.

    To draw random numbers costs a CPU more than to use them. Here two bytes are drawn
    for each value, so that ``p`` is rounded to a multiple of 2^-16.

    Shape
    -----
    any -> the same
    """

    def __init__(self, p):
        super().__init__()
        self.n_dropped = 0 if p == 0 else min(max(round(p * 2**16), 1), 2**16 - 1)

    def forward(self, x):
        if not self.training or self.n_dropped == 0:
            return x
        bits = random_int16(x.shape, x.device)
        kept = bits.to(x.dtype).ge_(self.n_dropped - 2**15)
        return x * kept.mul_(2**16 / (2**16 - self.n_dropped))


def random_int16(shape, device):
    """Numbers drawn evenly from [-2^15, 2^15), four from each of the generator's."""
    size = math.prod(shape)
    drawn = torch.randint(-(2**63), 2**63 - 1, (-(-size // 4),), device=device)
    return drawn.view(torch.int16)[:size].view(shape)


class FeatureLayers(nn.Module):
    """Hidden layers for features: the first takes dense rows or :class:`SparseRows`.

    Shape
    -----
    (B, D) or (*members, B, D) -> (*members, B, sizes[-1])
    """

    def __init__(self, n_features, sizes, activation, dropout, offset, *, members=()):
        super().__init__()
        first, *rest = sizes
        self.input = InputLinear(n_features, first, offset=offset, members=members)
        self.hidden = nn.Sequential(
            activation(),
            Dropout(dropout),
            *hidden_layers(first, rest, activation, dropout, members=members),
        )

    def forward(self, x):
        return self.hidden(self.input(x))


class MultivariateProbit(nn.Module):
    """Labels that are set where a correlated Gaussian of mean ``mean`` is positive.

    Its covariance is I + R R', with a factor R (L, r) that is the same for all rows
    (Chen, Xue and Gomes, ICML 2018). Given a sample of the part R brings in, the labels
    are independent: label l is set with probability Phi(score of l).

    Parameters
    ----------
    n_labels : int
    rank : int
        Columns r of the factor.
    members : tuple of int
    """

    def __init__(self, n_labels, rank, *, members=()):
        super().__init__()
        bound = math.sqrt(6 / (n_labels + rank))
        self.factor = uniform(*members, n_labels, rank, bound=bound)

    def noise(self, n_samples, mean):
        """What R brings in, to be added to ``mean`` (B, L); (S, B, L)."""
        shape = n_samples, *mean.shape[:-1], self.factor.shape[-1]
        noise = torch.randn(shape, device=mean.device, dtype=mean.dtype)
        return noise @ self.factor.mT

    def logits(self, mean):
        """The log-odds of each label by itself, without samples; (B, L) -> (B, L)."""
        deviation = torch.sqrt(1 + self.factor.square().sum(dim=-1))  # (L,)
        score = mean / deviation[..., None, :]
        return normal_cdf(score)[1] - normal_cdf(-score)[1]


class _WithSquares(torch.autograd.Function):
    """See :func:`with_squares`."""

    @staticmethod
    def forward(ctx, weight):
        ctx.save_for_backward(weight)
        return weight.view_as(weight), torch.linalg.vector_norm(weight, dim=-1).square()

    @staticmethod
    def backward(ctx, gradient, squares_gradient):
        (weight,) = ctx.saved_tensors
        return gradient.addcmul_(weight, squares_gradient[..., None], value=2)


def with_squares(weight):
    """A weight, to be used in one product, and the sum of each row's squares.

    The gradient of the sums is added to that of the product where that is: a penalty of
    a wide layer takes no memory, where autograd would take that of the layer thrice.

    Shape
    -----
    (*members, in, out) -> (*members, in, out), (*members, in)
    """
    # The compiler joins the two by itself; of a small weight copies are quicker.
    if torch.compiler.is_compiling() or weight.numel() < 2**16:
        return weight, weight.square().sum(dim=-1)
    return _WithSquares.apply(weight)


def product(x, weight, bias=None):
    """``x @ weight + bias``.

    Under torch.autocast the factors are rounded, and the sum of their products; all
    that is made of it is float32 again.
    """
    if bias is None:
        return (x @ weight).to(weight.dtype)
    if bias.ndim > 1:
        bias = bias.unsqueeze(-2)
    # Under autocast these would round the bias too, and the sum with it.
    if x.ndim == weight.ndim and not torch.is_autocast_enabled(x.device.type):
        with_bias = torch.addmm if x.ndim == 2 else torch.baddbmm
        return with_bias(bias, x, weight)
    return (x @ weight).to(weight.dtype).add_(bias)


def side_by_side(x):
    """What each member makes of a row, in one row: (M, N, k) -> (N, M * k)."""
    return x.transpose(0, 1).flatten(1) if x.ndim == 3 else x


def hidden_layers(in_features, sizes, activation, dropout, *, members=()):
    """Linear, activation and dropout for each size; (N, in) -> (N, sizes[-1])."""
    layers = []
    for size in sizes:
        linear = Linear(in_features, size, members=members)
        layers += [linear, activation(), Dropout(dropout)]
        in_features = size
    return nn.Sequential(*layers)
