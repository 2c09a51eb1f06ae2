"""The network of C-GMVAE (figure 1): encoders, mixture prior, decoder.

Pure torch, read from top to bottom: the two encoders, the decoder, and
:class:`CGMVAE`, which joins them; the layers they are made of are in
:mod:`skcgmvae._layers`. Equation numbers are those of Bai, Kong and
Gomes (ICML 2022).

Shapes in the comments: B batch rows, D features, L labels, E embedding
dimensions, d latent dimensions, S latent samples a row, A labels that occur in
the batch. Those are of one network; with M members, M stands before the B, L or A of
each, as :mod:`skcgmvae._layers` says: (M, B, d), (S, M, B, E), (M, L, E). Where a
training step looks at some labels only, L is how many these are.
"""

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from skcgmvae._gaussian_head import GaussianHead
from skcgmvae._label_sample import LabelSample, draw_labels
from skcgmvae._layers import (
    ACTIVATIONS,
    Dropout,
    FeatureLayers,
    InputLinear,
    Linear,
    SparseRows,
    hidden_layers,
    product,
)
from skcgmvae._linear_path import LinearPath

# To learn which labels occur in a batch, a step would have to wait for a GPU. Up to so
# many labels it costs one less to encode all.
FEW_LABELS = 1024


class GaussianMixture(NamedTuple):
    """The prior p(z|y) of a batch (Eq. 1): an even mixture of its rows' labels."""

    mean: torch.Tensor  # (A, d)
    log_variance: torch.Tensor  # (A, d)
    membership: torch.Tensor  # (B, A), bool: the labels of each row


class CGMVAEOutput(NamedTuple):
    """What one training step computes, for the losses to judge.

    ``embedding`` and ``logits`` hold one block a latent sample and, with a label
    branch, one more block for it at the end. A single sample or block has no axis of
    its own: S is left out. What is not there, or no longer trained, is None.
    """

    mean: torch.Tensor | None = None  # (B, d), of q(z|x)
    log_variance: torch.Tensor | None = None  # (B, d)
    noise: torch.Tensor | None = None  # (S, B, d), of N(0, I), of which z is made
    z: torch.Tensor | None = None  # (S, B, d), samples of q(z|x)
    prior: GaussianMixture | None = None
    embedding: torch.Tensor | None = None  # (S or S + 1, B, E), w_x
    label_embedding: torch.Tensor | None = None  # (L, E), w_l
    logits: torch.Tensor | None = None  # (S or S + 1, B, L), w_x . w_l
    linear_logits: torch.Tensor | None = None  # (B, L), of the linear path
    linear_penalty: torch.Tensor | None = None  # (1,), its ridge penalty
    reconstruction: torch.Tensor | None = None  # (S, B, D)
    target: torch.Tensor | None = None  # (B, D), what is reconstructed
    sample: LabelSample | None = None  # which labels L are, if not all

    @property
    def heads(self):
        """Of all labels, the logits of the first sample and of the linear path.

        (B, K, L)
        """
        logits = self.logits
        if logits is not None and logits.ndim > self.mean.ndim:
            logits = logits[0]
        heads = stack_heads(logits, self.linear_logits)
        return heads if self.sample is None else self.sample.spread(heads)


def stack_heads(*logits):
    """The heads of a prediction that there are; (..., B, L) each -> (..., B, K, L)."""
    return torch.stack([head for head in logits if head is not None], dim=-2)


class FeatureEncoder(nn.Module):
    """q(z|x): a Gaussian in the latent space for each row.

    Shape
    -----
    (B, D) -> (B, d), (B, d)
    """

    def __init__(
        self,
        n_features,
        latent_dim,
        sizes,
        activation,
        dropout,
        offset,
        members=(),
        min_std=0.0,
    ):
        super().__init__()
        self.layers = FeatureLayers(
            n_features, sizes, activation, dropout, offset, members=members
        )
        self.head = GaussianHead(
            sizes[-1], latent_dim, members=members, min_std=min_std
        )

    def forward(self, x):
        return self.head(self.layers(x))


class LabelEncoder(nn.Module):
    """N(mu_i, sigma_i^2): a Gaussian in the latent space for each label embedding.

    Without dropout: the prior is a function of the embeddings, not of chance.

    Shape
    -----
    (A, E) -> (A, d), (A, d)
    """

    def __init__(self, embedding_dim, latent_dim, sizes, activation, members=()):
        super().__init__()
        self.hidden = hidden_layers(
            embedding_dim, sizes, activation, 0.0, members=members
        )
        self.head = GaussianHead(sizes[-1], latent_dim, members=members)

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
        self,
        n_features,
        latent_dim,
        sizes,
        activation,
        dropout,
        offset,
        skip,
        members=(),
    ):
        super().__init__()
        first, *rest = sizes
        self.input = Linear(latent_dim, first, members=members)
        self.skip = None
        if skip:
            self.skip = InputLinear(
                n_features, first, offset=offset, bias=False, members=members
            )
        self.hidden = nn.Sequential(
            activation(),
            Dropout(dropout),
            *hidden_layers(first, rest, activation, dropout, members=members),
        )

    def forward(self, z, x):
        hidden = self.input(z)
        if self.skip is not None:
            hidden = hidden + self.skip(x)
        return self.hidden(hidden)


class CGMVAE(nn.Module):
    """The whole network of figure 1, or an ensemble of such networks.

    ``module(x)`` gives the label logits of section 2.2.4, from the posterior mean, and
    beside them those of the linear path, if there is one: K is 1 or 2.
    :meth:`training_output` gives what the objective (Eq. 7) needs. The parameters
    are those of :class:`skcgmvae.CGMVAEClassifier`, and besides:

    ``members`` is () or (n_members,). Members share nothing, neither weights nor, in
    training, rows.

    Parameters
    ----------
    n_rows, n_features, n_labels : int
        Shapes of the training data.
    offset : tensor of shape (D,) or None
        See :class:`InputLinear`.
    label_log_odds : tensor of shape (L,) or None
        Where the bias of the linear path starts; zeros if None.
    feature_cost : tensor of shape (D,) or None
        How many times ``linear_penalty`` a feature's weights cost; ones if None.
    continuous : tensor of int of shape (R,) or None
        Which features are, as normal scores of ranks; the linear path has them in bins.

    Shape
    -----
    (B, D) or (*members, B, D) -> (*members, B, K, L)
    """

    def __init__(
        self,
        *,
        n_rows,
        n_features,
        n_labels,
        offset=None,
        label_log_odds=None,
        feature_cost=None,
        continuous=None,
        latent_dim=64,
        embedding_dim=256,
        encoder_layer_sizes=(256, 256),
        label_encoder_layer_sizes=(256,),
        decoder_layer_sizes=(256,),
        activation="relu",
        dropout=0.3,
        input_dropout=0.3,
        min_latent_std=0.25,
        prior="mixture",
        normalize="contrastive",
        reconstruction=None,
        skip_connection=False,
        linear_path=True,
        linear_penalty=1.0,
        n_bins="auto",
        label_branch=False,
        n_samples=1,
        n_members=1,
        max_labels_per_step=None,
    ):
        super().__init__()
        act = ACTIVATIONS[activation]
        self.members = members = () if n_members == 1 else (n_members,)
        self.max_labels_per_step = max_labels_per_step
        self.normalize = normalize
        self.label_branch = label_branch
        self.n_samples = n_samples
        self.n_features = n_features

        # Norms near 1, whatever E, so that logits start small.
        self.label_embedding = nn.Parameter(
            torch.randn(*members, n_labels, embedding_dim) * embedding_dim**-0.5
        )
        self.feature_encoder = FeatureEncoder(
            n_features,
            latent_dim,
            encoder_layer_sizes,
            act,
            dropout,
            offset,
            members,
            min_latent_std,
        )
        # Without a mixture prior or a label branch nothing would train these weights.
        needs_gaussians = prior == "mixture" or label_branch
        self.uses_mixture = prior == "mixture"
        self.label_encoder = (
            LabelEncoder(
                embedding_dim, latent_dim, label_encoder_layer_sizes, act, members
            )
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
            members,
        )
        width = decoder_layer_sizes[-1]
        self.to_embedding = Linear(width, embedding_dim, members=members)
        self.to_features = None
        if reconstruction:
            self.to_features = Linear(width, n_features, members=members)
        self.input_dropout = Dropout(input_dropout)
        self.linear_path = None
        if linear_path:
            self.linear_path = LinearPath(
                n_features,
                n_labels,
                penalty=linear_penalty / (2 * n_rows),
                feature_cost=feature_cost,
                offset=offset,
                label_log_odds=label_log_odds,
                continuous=continuous,
                n_bins=n_bins,
                members=members,
            )

    @staticmethod
    def head_of(name):
        """Whose a parameter is: the network's, 0, or the linear path's, 1."""
        return int(name.startswith("linear_path."))

    def encode(self, x):
        """The posterior mean of q(z|x); (B, D) -> (B, d)."""
        return self.feature_encoder(x)[0]

    def embed(self, x):
        """The feature embedding w_x at the posterior mean; (B, D) -> (B, E)."""
        return self._embedding(self.decoder(self.encode(x), x))

    def forward(self, x):
        """Logits: w_x . w_l, and those of the linear path; (B, D) -> (B, K, L)."""
        logits = self.embed(x) @ self.label_embedding.mT
        if self.linear_path is None:
            return stack_heads(logits)
        return stack_heads(logits, self.linear_path(x))

    def label_gaussians(self, label_embedding=None):
        """The mean and log-variance of each label's Gaussian; (A, d), (A, d)."""
        if label_embedding is None:
            label_embedding = self.label_embedding
        return self.label_encoder(label_embedding)

    def training_output(self, x, y):
        """One pass with sampled z; x (B, D), y (B, L) of 0 and 1.

        Of the network and the linear path, only what has parameters to train.
        """
        sample, label_embedding = None, self.label_embedding
        if y.shape[-1] > (self.max_labels_per_step or math.inf):
            sample = draw_labels(y, self.max_labels_per_step)
            label_embedding = label_embedding.index_select(-2, sample.labels)
            y = y.index_select(-1, sample.labels)

        linear = {}
        path = self.linear_path
        if path is not None and path.weight.requires_grad:
            logits, penalty = path.training_output(x, sample)
            linear = {"linear_logits": logits, "linear_penalty": penalty}
        if not self.label_embedding.requires_grad:
            return CGMVAEOutput(**linear, sample=sample)
        noisy = self._drop_features(x)
        mean, log_variance = self.feature_encoder(noisy)  # (B, d)
        samples = () if self.n_samples == 1 else (self.n_samples,)
        noise = torch.randn(*samples, *mean.shape, device=mean.device, dtype=mean.dtype)
        z = mean + noise * torch.exp(0.5 * log_variance)  # (S, B, d)

        gaussians = None
        if self.label_encoder is not None:
            gaussians = self._batch_gaussians(y, label_embedding)
        decoded = z
        if self.label_branch:
            branch = self._label_means(gaussians)[None]
            decoded = torch.cat([z.reshape(-1, *mean.shape), branch])
        hidden = self.decoder(decoded, noisy)  # (S or S + 1, B, h)
        embedding = self._embedding(hidden)
        logits = product(embedding, label_embedding.mT)  # the one (B, L) product

        reconstruction = target = None
        if self.to_features is not None:
            of_z = hidden[:-1] if self.label_branch else hidden
            reconstruction = self.to_features(of_z)
            target = self._dense(x)
        return CGMVAEOutput(
            mean=mean,
            log_variance=log_variance,
            noise=noise,
            z=z,
            prior=gaussians if self.uses_mixture else None,
            embedding=embedding,
            label_embedding=label_embedding,
            logits=logits,
            **linear,
            reconstruction=reconstruction,
            target=target,
            sample=sample,
        )

    def _drop_features(self, x):
        if isinstance(x, SparseRows):
            return x._replace(values=self.input_dropout(x.values))
        return self.input_dropout(x)

    def _embedding(self, hidden):
        embedding = self.to_embedding(hidden)
        if self.normalize == "feature":
            embedding = F.normalize(embedding, dim=-1)
        return embedding

    def _batch_gaussians(self, y, label_embedding):
        """Eq. 1 mixes positive labels only, so only those are encoded."""
        # A graph must not depend on how many these are.
        few = y.device.type != "cpu" and y.shape[-1] <= FEW_LABELS
        if few or torch.compiler.is_compiling():
            return GaussianMixture(*self.label_gaussians(label_embedding), y > 0)
        occurring = y.flatten(0, -2).any(dim=0).nonzero().squeeze(1)  # (A,)
        mean, log_variance = self.label_gaussians(
            label_embedding.index_select(-2, occurring)
        )
        membership = y.index_select(-1, occurring) > 0
        return GaussianMixture(mean, log_variance, membership)

    def _label_means(self, gaussians):
        """The mean of each row's label means; 0, the mean of N(0, I), for no labels."""
        membership = gaussians.membership.to(gaussians.mean.dtype)
        n_positive = membership.sum(dim=-1, keepdim=True).clamp_min(1)
        return membership @ gaussians.mean / n_positive  # (B, d)

    def _dense(self, x):
        if not isinstance(x, SparseRows):
            return x
        dense = x.to_dense(self.n_features)
        offset = self.feature_encoder.layers.input.offset
        return dense if offset is None else dense - offset
