"""The layers of which networks for feature vectors are made. Pure torch.

Shapes in the comments: B batch rows, D features, d latent dimensions, N any rows.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

# A log-variance leaves [-MAX, MAX] for no input, so neither a variance nor its
# inverse can overflow in float32, and the KL term stays finite whatever its weight.
MAX_LOG_VARIANCE = 6.0

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU}


class SparseRows(NamedTuple):
    """A batch of CSR rows: the columns and values of the non-zeros, row after row."""

    columns: torch.Tensor  # (nnz,)
    row_starts: torch.Tensor  # (B,)
    values: torch.Tensor  # (nnz,)

    @property
    def n_rows(self):
        """B."""
        return len(self.row_starts)

    def to_dense(self, n_features):
        """The same rows as a dense (B, D) tensor."""
        row_ends = torch.cat(
            [self.row_starts[1:], self.row_starts.new_tensor([len(self.values)])]
        )
        row = torch.repeat_interleave(
            torch.arange(self.n_rows, device=self.values.device),
            row_ends - self.row_starts,
        )
        dense = self.values.new_zeros(self.n_rows, n_features)
        return dense.index_put_((row, self.columns), self.values, accumulate=True)


class InputLinear(nn.Module):
    """A linear layer that takes dense rows or :class:`SparseRows`.

    Dense and sparse rows of the same numbers give the same output. The weight is
    stored (D, out), so that sparse rows gather whole rows of it.

    Parameters
    ----------
    n_features, out_features : int
    offset : tensor of shape (D,), optional
        Subtracted from sparse rows, after the product: the centre that dense rows
        have already lost and sparse rows could only lose by turning dense.
    bias : bool

    Shape
    -----
    (B, D) -> (B, out)
    """

    def __init__(self, n_features, out_features, *, offset=None, bias=True):
        super().__init__()
        bound = n_features**-0.5
        weight = torch.empty(n_features, out_features).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.register_buffer("offset", offset, persistent=offset is not None)

    def forward(self, x):
        if not isinstance(x, SparseRows):
            out = x @ self.weight
        else:
            out = F.embedding_bag(
                x.columns,
                self.weight,
                x.row_starts,
                mode="sum",
                per_sample_weights=x.values,
            )
            if self.offset is not None:
                out = out - self.offset @ self.weight
        return out if self.bias is None else out + self.bias


class Dropout(nn.Module):
    """Dropout with probability ``p``, as :class:`torch.nn.Dropout`.

    It compares uniform numbers with ``p``: on a CPU torch draws those four times
    faster than the Bernoulli variables of its own layer, which would cost a fifth of
    a training step.

    Shape
    -----
    any -> the same
    """

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        return x * ((torch.rand_like(x) >= self.p) / (1 - self.p))


class GaussianHead(nn.Module):
    """The mean and the log-variance of a diagonal Gaussian.

    The log-variance is squashed smoothly into +-``MAX_LOG_VARIANCE``.

    Shape
    -----
    (N, in) -> (N, d), (N, d)
    """

    def __init__(self, in_features, latent_dim):
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * latent_dim)

    def forward(self, hidden):
        mean, raw = self.linear(hidden).chunk(2, dim=-1)
        return mean, MAX_LOG_VARIANCE * torch.tanh(raw / MAX_LOG_VARIANCE)


def hidden_layers(in_features, sizes, activation, dropout):
    """Linear, activation and dropout for each size; (N, in) -> (N, sizes[-1])."""
    layers = []
    for size in sizes:
        layers += [nn.Linear(in_features, size), activation(), Dropout(dropout)]
        in_features = size
    return nn.Sequential(*layers)
