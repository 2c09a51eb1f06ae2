"""The network of C-GMVAE (figure 1): encoders, mixture prior, decoder.

Pure torch, read from top to bottom: layers, the two encoders, the decoder, and
:class:`CGMVAE`, which joins them. Equation numbers are those of Bai, Kong and
Gomes (ICML 2022).

Shapes in the comments: B batch rows, D features, L labels, E embedding
dimensions, d latent dimensions, S latent samples a row, A labels that occur in
the batch.
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


class GaussianMixture(NamedTuple):
    """The prior p(z|y) of a batch (Eq. 1): an even mixture of its rows' labels."""

    mean: torch.Tensor  # (A, d)
    log_variance: torch.Tensor  # (A, d)
    membership: torch.Tensor  # (B, A), bool: the labels of each row


class CGMVAEOutput(NamedTuple):
    """What one training step computes, for the losses to judge.

    ``embedding``, ``product`` and ``logits`` hold one block a latent sample and,
    with a label branch, one more block for it at the end.
    """

    mean: torch.Tensor  # (B, d), of q(z|x)
    log_variance: torch.Tensor  # (B, d)
    z: torch.Tensor  # (S, B, d), samples of q(z|x)
    prior: GaussianMixture | None
    embedding: torch.Tensor  # (S or S + 1, B, E), w_x
    label_embedding: torch.Tensor  # (L, E), w_l
    product: torch.Tensor  # (S or S + 1, B, L), w_x . w_l
    logits: torch.Tensor  # (S or S + 1, B, L)
    reconstruction: torch.Tensor | None  # (S, B, D)
    target: torch.Tensor | None  # (B, D), what is reconstructed


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
    """Linear, activation and dropout for each of ``sizes``; (N, in) -> (N, sizes[-1])."""
    layers = []
    for size in sizes:
        layers += [nn.Linear(in_features, size), activation(), Dropout(dropout)]
        in_features = size
    return nn.Sequential(*layers)


class FeatureEncoder(nn.Module):
    """q(z|x): a Gaussian in the latent space for each row.

    Shape
    -----
    (B, D) -> (B, d), (B, d)
    """

    def __init__(self, n_features, latent_dim, sizes, activation, dropout, offset):
        super().__init__()
        first, *rest = sizes
        self.input = InputLinear(n_features, first, offset=offset)
        self.hidden = nn.Sequential(
            activation(),
            Dropout(dropout),
            *hidden_layers(first, rest, activation, dropout),
        )
        self.head = GaussianHead(sizes[-1], latent_dim)

    def forward(self, x):
        return self.head(self.hidden(self.input(x)))


class LabelEncoder(nn.Module):
    """N(mu_i, sigma_i^2): a Gaussian in the latent space for each label embedding.

    Without dropout: the prior is a function of the embeddings, not of chance.

    Shape
    -----
    (A, E) -> (A, d), (A, d)
    """

    def __init__(self, embedding_dim, latent_dim, sizes, activation):
        super().__init__()
        self.hidden = hidden_layers(embedding_dim, sizes, activation, 0.0)
        self.head = GaussianHead(sizes[-1], latent_dim)

    def forward(self, label_embedding):
        return self.head(self.hidden(label_embedding))


class Decoder(nn.Module):
    """From a latent sample z to the feature embedding w_x.

    Shape
    -----
    (..., B, d) -> (..., B, last of sizes), the hidden layer that the embedding and
    the reconstruction share. With a skip connection x enters the first layer too,
    as in the published code.
    """

    def __init__(
        self, n_features, latent_dim, sizes, activation, dropout, offset, skip
    ):
        super().__init__()
        first, *rest = sizes
        self.input = nn.Linear(latent_dim, first)
        self.skip = (
            InputLinear(n_features, first, offset=offset, bias=False) if skip else None
        )
        self.hidden = nn.Sequential(
            activation(),
            Dropout(dropout),
            *hidden_layers(first, rest, activation, dropout),
        )

    def forward(self, z, x):
        hidden = self.input(z)
        if self.skip is not None:
            hidden = hidden + self.skip(x)
        return self.hidden(hidden)


class CGMVAE(nn.Module):
    """The whole network of figure 1.

    ``module(x)`` gives the label logits of section 2.2.4, from the posterior mean;
    :meth:`training_output` gives what the objective (Eq. 7) needs. The parameters
    are those of :class:`skcgmvae.CGMVAEClassifier`, and besides:

    Parameters
    ----------
    n_features, n_labels : int
    offset : tensor of shape (D,) or None
        See :class:`InputLinear`.
    label_log_odds : tensor of shape (L,) or None
        Where the bias of the linear path starts; zeros if None.

    Shape
    -----
    (B, D) -> (B, L)
    """

    def __init__(
        self,
        *,
        n_features,
        n_labels,
        offset=None,
        label_log_odds=None,
        latent_dim=64,
        embedding_dim=512,
        encoder_layer_sizes=(256, 512, 256),
        label_encoder_layer_sizes=(512, 256),
        decoder_layer_sizes=(512, 512),
        activation="relu",
        dropout=0.5,
        prior="mixture",
        normalize="contrastive",
        reconstruction=None,
        skip_connection=False,
        linear_path=True,
        label_branch=False,
        n_samples=1,
    ):
        super().__init__()
        act = ACTIVATIONS[activation]
        self.normalize = normalize
        self.label_branch = label_branch
        self.n_samples = n_samples
        self.n_features = n_features

        # Norms near 1, whatever E, so that logits start small.
        self.label_embedding = nn.Parameter(
            torch.randn(n_labels, embedding_dim) * embedding_dim**-0.5
        )
        self.feature_encoder = FeatureEncoder(
            n_features, latent_dim, encoder_layer_sizes, act, dropout, offset
        )
        # Without a mixture prior or a label branch nothing would train these weights.
        needs_gaussians = prior == "mixture" or label_branch
        self.uses_mixture = prior == "mixture"
        self.label_encoder = (
            LabelEncoder(embedding_dim, latent_dim, label_encoder_layer_sizes, act)
            if needs_gaussians
            else None
        )
        self.decoder = Decoder(
            n_features,
            latent_dim,
            decoder_layer_sizes,
            act,
            dropout,
            offset,
            skip_connection,
        )
        self.to_embedding = nn.Linear(decoder_layer_sizes[-1], embedding_dim)
        self.to_features = (
            nn.Linear(decoder_layer_sizes[-1], n_features) if reconstruction else None
        )
        self.linear_path = None
        if linear_path:
            self.linear_path = InputLinear(n_features, n_labels, offset=offset)
            nn.init.zeros_(self.linear_path.weight)
            if label_log_odds is not None:
                self.linear_path.bias.data.copy_(label_log_odds)

    def encode(self, x):
        """The posterior mean of q(z|x); (B, D) -> (B, d)."""
        return self.feature_encoder(x)[0]

    def embed(self, x):
        """The feature embedding w_x at the posterior mean; (B, D) -> (B, E)."""
        return self._embedding(self.decoder(self.encode(x), x))

    def forward(self, x):
        """The label logits w_x . w_l, plus the linear path; (B, D) -> (B, L)."""
        logits = self.embed(x) @ self.label_embedding.T
        return logits if self.linear_path is None else logits + self.linear_path(x)

    def label_gaussians(self, label_embedding=None):
        """The mean and log-variance of each label's Gaussian; (A, d), (A, d)."""
        if label_embedding is None:
            label_embedding = self.label_embedding
        return self.label_encoder(label_embedding)

    def training_output(self, x, y):
        """One pass with sampled z; x (B, D), y (B, L) of 0 and 1."""
        mean, log_variance = self.feature_encoder(x)  # (B, d)
        noise = torch.randn(
            self.n_samples, *mean.shape, device=mean.device, dtype=mean.dtype
        )
        z = mean + noise * torch.exp(0.5 * log_variance)  # (S, B, d)

        gaussians = self._batch_gaussians(y) if self.label_encoder else None
        decoded = z
        if self.label_branch:
            decoded = torch.cat([z, self._label_means(gaussians)[None]])
        hidden = self.decoder(decoded, x)  # (S or S + 1, B, h)
        embedding = self._embedding(hidden)
        product = embedding @ self.label_embedding.T  # the one (B, L) product
        logits = product
        if self.linear_path is not None:
            logits = product + self.linear_path(x)

        reconstruction = target = None
        if self.to_features is not None:
            reconstruction = self.to_features(hidden[: self.n_samples])
            target = self._dense(x)
        return CGMVAEOutput(
            mean=mean,
            log_variance=log_variance,
            z=z,
            prior=gaussians if self.uses_mixture else None,
            embedding=embedding,
            label_embedding=self.label_embedding,
            product=product,
            logits=logits,
            reconstruction=reconstruction,
            target=target,
        )

    def _embedding(self, hidden):
        embedding = self.to_embedding(hidden)
        return (
            F.normalize(embedding, dim=-1)
            if self.normalize == "feature"
            else embedding
        )

    def _batch_gaussians(self, y):
        """Eq. 1 mixes positive labels only, so only those are encoded."""
        occurring = y.any(dim=0).nonzero().squeeze(1)  # (A,)
        mean, log_variance = self.label_gaussians(self.label_embedding[occurring])
        return GaussianMixture(mean, log_variance, y[:, occurring] > 0)

    def _label_means(self, gaussians):
        """The mean of each row's label means; 0, the mean of N(0, I), for no labels."""
        membership = gaussians.membership.to(gaussians.mean.dtype)
        n_positive = membership.sum(dim=1, keepdim=True).clamp_min(1)
        return membership @ gaussians.mean / n_positive  # (B, d)

    def _dense(self, x):
        if not isinstance(x, SparseRows):
            return x
        dense = x.to_dense(self.n_features)
        offset = self.feature_encoder.input.offset
        return dense if offset is None else dense - offset
