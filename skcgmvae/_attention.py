"""Layers for sets of nodes, which gather messages by attention. Pure torch.

Each row of a batch has nodes of its own, of d dimensions. Shapes in the comments: B
batch rows, N nodes, M nodes that send; ``members`` as in :mod:`skcgmvae._layers`.
"""

from torch import nn
from torch.nn import functional as F

from skcgmvae._layers import Dropout, Linear


class NodeLinear(Linear):
    """A linear layer for nodes; (*members, B, N, in) -> (*members, B, N, out)."""

    def forward(self, nodes):
        return super().forward(nodes.flatten(-3, -2)).unflatten(-2, nodes.shape[-3:-1])


class Messages(nn.Module):
    """What nodes gather from senders: attention of several heads.

    ``neighbours`` (N, M), if there are any, says whom each node hears. The weights of
    the attention are never whole in memory, forwards or backwards.

    Shape
    -----
    (*members, B, N, d), (*members, B, M, d) -> (*members, B, N, d)
    """

    def __init__(self, d_model, n_heads, *, members=()):
        super().__init__()
        self.n_heads = n_heads
        self.query = NodeLinear(d_model, d_model, members=members)
        self.key = NodeLinear(d_model, d_model, members=members)
        self.value = NodeLinear(d_model, d_model, members=members)
        self.output = NodeLinear(d_model, d_model, members=members)

    def forward(self, nodes, senders, neighbours=None):
        heads = self.query(nodes), self.key(senders), self.value(senders)
        gathered = F.scaled_dot_product_attention(
            *map(self._by_head, heads), attn_mask=neighbours
        )
        return self.output(gathered.transpose(1, 2).reshape(nodes.shape))

    def _by_head(self, x):
        """(*members, B, N, d) -> (rows of all members, heads, N, d / heads)."""
        return x.flatten(0, -3).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class Update(nn.Module):
    """Nodes updated by messages, and then each by itself.

    Both with dropout, residual and norm. The norm has no weights: the linear layers
    that follow have them.

    Shape
    -----
    (*members, B, N, d), (*members, B, M, d) -> (*members, B, N, d)
    """

    def __init__(
        self, d_model, n_heads, dim_feedforward, activation, dropout, *, members=()
    ):
        super().__init__()
        self.messages = Messages(d_model, n_heads, members=members)
        self.feed_forward = nn.Sequential(
            NodeLinear(d_model, dim_feedforward, members=members),
            activation(),
            NodeLinear(dim_feedforward, d_model, members=members),
        )
        self.dropout = Dropout(dropout)

    def forward(self, nodes, senders, neighbours=None):
        nodes = self._add(nodes, self.messages(nodes, senders, neighbours))
        return self._add(nodes, self.feed_forward(nodes))

    def _add(self, nodes, change):
        return F.layer_norm(nodes + self.dropout(change), nodes.shape[-1:])
