"""MPVAE: two Gaussian posteriors in one latent space, and a multivariate probit."""

from numbers import Integral, Real
from typing import NamedTuple

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skcgmvae._gaussian_head import GaussianHead
from skcgmvae._layers import (
    ACTIVATIONS,
    Linear,
    MultivariateProbit,
    hidden_layers,
)
from skcgmvae._losses import (
    gaussian_kl,
    normal_cdf,
    pairwise_ranking_loss,
    probit_log_likelihood,
    weighted_sum,
)
from skcgmvae._network import Decoder, FeatureEncoder
from skcgmvae._neural import BaseNeuralClassifier

# How steep the ranking loss is in the difference of two probabilities (source: 5).
STEEPNESS = 5.0


class MPVAEOutput(NamedTuple):
    """What one training step computes; B rows, d latent dimensions, S samples."""

    label_gaussian: tuple  # mean and log-variance of q(z|y), (B, d) each
    feature_gaussian: tuple  # and of q(z|x)
    label_scores: torch.Tensor  # (S, B, L), of the probit, decoded from q(z|y)
    feature_scores: torch.Tensor  # (S, B, L), decoded from q(z|x)
    logits: torch.Tensor  # (B, L)

    @property
    def heads(self):
        """The logits of the prediction, as the only head; (B, 1, L)."""
        return self.logits[..., None, :]


class MPVAE(nn.Module):
    """The encoders of features and of labels, the decoder and the probit.

    The parameters are those of :class:`MPVAEClassifier`, and what
    :class:`skcgmvae._network.CGMVAE` is told of the data.

    Shape
    -----
    (B, D) or (*members, B, D) -> (*members, B, 1, L)
    """

    def __init__(
        self,
        *,
        n_features,
        n_labels,
        offset=None,
        latent_dim=64,
        encoder_layer_sizes=(256, 512, 256),
        label_encoder_layer_sizes=(512, 256),
        decoder_layer_sizes=(256, 512),
        activation="relu",
        dropout=0.3,
        skip_connection=False,
        covariance_rank=32,
        n_samples=10,
        n_members=1,
    ):
        super().__init__()
        act = ACTIVATIONS[activation]
        self.members = members = () if n_members == 1 else (n_members,)
        self.n_samples = n_samples
        self.feature_encoder = FeatureEncoder(
            n_features, latent_dim, encoder_layer_sizes, act, dropout, offset, members
        )
        sizes = label_encoder_layer_sizes
        self.label_encoder = nn.Sequential(
            hidden_layers(n_labels, sizes, act, dropout, members=members),
            GaussianHead(sizes[-1], latent_dim, members=members),
        )
        self.decoder = Decoder(
            n_features,
            latent_dim,
            decoder_layer_sizes,
            act,
            0.0,
            offset,
            skip_connection,
            members,
        )
        self.to_labels = Linear(decoder_layer_sizes[-1], n_labels, members=members)
        self.probit = MultivariateProbit(n_labels, covariance_rank, members=members)

    def forward(self, x):
        """Each label's own log-odds at the mean of q(z|x); (B, D) -> (B, 1, L)."""
        mean, _ = self.feature_encoder(x)
        return self.probit.logits(self._decoded(mean, x))[..., None, :]

    def training_output(self, x, y):
        """One pass with sampled z, and scores that share the samples of the probit."""
        gaussians = self.label_encoder(y), self.feature_encoder(x)
        of_labels, of_features = (
            self._decoded(mean + torch.randn_like(mean) * torch.exp(0.5 * spread), x)
            for mean, spread in gaussians
        )
        noise = self.probit.noise(self.n_samples, of_features)
        return MPVAEOutput(
            *gaussians,
            label_scores=of_labels + noise,
            feature_scores=of_features + noise,
            logits=self.probit.logits(of_features.detach()),
        )

    def _decoded(self, z, x):
        """The mean of the probit; (B, d) -> (B, L)."""
        return self.to_labels(self.decoder(z, x))


class MPVAELoss(nn.Module):
    """Eq. 5 of the paper: likelihood and ranking loss of both branches, and their KL.

    Called with an :class:`MPVAEOutput` and y (B, L), it returns the terms, (B,) each.
    """

    def __init__(self, *, nll_weight=1.0, ranking_weight=10.0, beta=0.1):
        super().__init__()
        self.weights = {
            "nll": nll_weight,
            "ranking": ranking_weight,
            "kl": beta,
        }

    def forward(self, output, y):
        # How likely each label is to come out as in y, given a sample; (S, B, L).
        branches = [
            normal_cdf((2 * y - 1) * scores)
            for scores in (output.label_scores, output.feature_scores)
        ]
        terms = {
            "nll": -sum(probit_log_likelihood(log_right) for _, log_right in branches),
            "ranking": sum(self._ranking(right, y) for right, _ in branches),
            "kl": gaussian_kl(*output.label_gaussian, *output.feature_gaussian),
        }
        return {"loss": weighted_sum(terms, self.weights), **terms}

    @staticmethod
    def _ranking(right, y):
        probabilities = (1 - y) + (2 * y - 1) * right
        each = pairwise_ranking_loss(STEEPNESS * probabilities, y)  # (S, B)
        return each.mean(dim=0) / STEEPNESS


class MPVAEClassifier(BaseNeuralClassifier):
    """Multivariate-probit variational autoencoder for multi-label classification.

    One encoder makes a Gaussian in a latent space of a row's labels, another of its
    features; the first is drawn towards the second. What is decoded from a sample of
    either is the mean of a multivariate probit, whose covariance, the same for all
    rows, says how labels come together [1]_.

    Parameters
    ----------
    latent_dim : int, default=64
        Dimensions d of the latent space (source: 50).
    encoder_layer_sizes : tuple of int, default=(256, 512, 256)
        Widths of the feature encoder's hidden layers (source: 256, 512, 256).
    label_encoder_layer_sizes : tuple of int, default=(512, 256)
        Widths of the label encoder's hidden layers (source: 512, 256).
    decoder_layer_sizes : tuple of int, default=(256, 512)
        Widths of the decoder's hidden layers (source: 256, 512).
    activation : {"relu", "leaky_relu", "gelu"}, default="relu"
        Activation of all hidden layers (source: ReLU).
    dropout : float, default=0.3
        Probability, in [0, 1), with which a hidden unit of an encoder is dropped in
        training (source: 0.5).
    skip_connection : bool, default=False
        Let ``x`` enter the decoder beside z, as in the published code.
    covariance_rank : int, default=32
        Columns of the factor R of the covariance I + R R' (source: one a label).
    n_samples : int, default=10
        Samples of the probit a row and step.
    nll_weight : float, default=1.0
        Weight of the negative log-likelihood, Eq. 3 of [1]_ (source: 0.5).
    ranking_weight : float, default=10.0
        Weight of the ranking loss, Eq. 4 of [1]_ (source: 10).
    beta : float, default=0.1
        Weight of the KL divergence of the two posteriors (source: 1.1, under which
        the latent space collapses unless x enters the decoder, too).
    n_members : int, default=1
        Networks whose probabilities are averaged; see
        :class:`~skcgmvae.CGMVAEClassifier`, as for all that follow.
    scale_features : bool, default=True
        Scale the features inside.
    lr : float, default=0.001
        Learning rate of AdamW.
    weight_decay : float, default=0.01
        Decoupled weight decay of AdamW.
    ema_decay : float, default=0.998
        Weight of the past in the moving average of the weights.
    batch_size : int, default=128
        Largest number of rows a step.
    max_iter : int, default=100
        Largest number of epochs. If the last of them was the best, and there are more
        than ``n_iter_no_change``, a ConvergenceWarning says so.
    min_steps_per_epoch : int, default=50
        Smallest number of steps an epoch.
    early_stopping : bool, default=True
        Hold out rows, and stop when their log-loss no longer improves.
    validation_fraction : float, default=0.1
        Fraction of the rows that is held out.
    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops.
    tol : float, default=0.0
        By how much the log-loss must fall to count as an improvement.
    threshold : float or array-like of shape (n_labels,), default=0.5
        Probability from which :meth:`predict` sets a label.
    warm_start : bool, default=False
        Let another call of :meth:`fit` go on from the weights of the last.
    checkpoint : path-like, default=None
        A file that :meth:`fit` keeps its training in.
    callbacks : list of skorch callbacks, default=None
        For the net inside.
    device : str or torch.device, default="auto"
        ``"auto"`` is CUDA if torch has it, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Seeds all that is random.
    verbose : int, default=0
        1 shows a progress bar with the losses, 2 prints a line an epoch.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    classes_, label_names_in_, history_, n_iter_, best_epoch_, n_features_in_
        As of :class:`~skcgmvae.CGMVAEClassifier`.

    Notes
    -----
    For a single label the probit can be integrated exactly, so that predictions need no
    samples.

    References
    ----------
    .. [1] J. Bai, S. Kong and C. Gomes, "Disentangled Variational Autoencoder based
       Multi-Label Classification with Covariance-Aware Multivariate Probit Model",
       IJCAI 2020.

    Examples
    --------
    >>> from skcgmvae.baselines import MPVAEClassifier
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = MPVAEClassifier(max_iter=5, random_state=0).fit(X[:1000], Y[:1000])
    >>> bool((clf.predict(X[1000:]) == Y[1000:]).mean() > 0.9)
    True
    """

    _module_class = MPVAE
    _criterion_class = MPVAELoss

    _parameter_constraints = {
        **BaseNeuralClassifier._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "encoder_layer_sizes": ["array-like"],
        "label_encoder_layer_sizes": ["array-like"],
        "decoder_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "skip_connection": ["boolean"],
        "covariance_rank": [Interval(Integral, 1, None, closed="left")],
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "nll_weight": [Interval(Real, 0, None, closed="neither")],
        "ranking_weight": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        latent_dim=64,
        encoder_layer_sizes=(256, 512, 256),
        label_encoder_layer_sizes=(512, 256),
        decoder_layer_sizes=(256, 512),
        activation="relu",
        dropout=0.3,
        skip_connection=False,
        covariance_rank=32,
        n_samples=10,
        nll_weight=1.0,
        ranking_weight=10.0,
        beta=0.1,
        n_members=1,
        scale_features=True,
        lr=1e-3,
        weight_decay=1e-2,
        ema_decay=0.998,
        batch_size=128,
        max_iter=100,
        min_steps_per_epoch=50,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=0.0,
        threshold=0.5,
        warm_start=False,
        checkpoint=None,
        callbacks=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.latent_dim = latent_dim
        self.encoder_layer_sizes = encoder_layer_sizes
        self.label_encoder_layer_sizes = label_encoder_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.skip_connection = skip_connection
        self.covariance_rank = covariance_rank
        self.n_samples = n_samples
        self.nll_weight = nll_weight
        self.ranking_weight = ranking_weight
        self.beta = beta
        self.n_members = n_members
        self.scale_features = scale_features
        self.lr = lr
        self.weight_decay = weight_decay
        self.ema_decay = ema_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.min_steps_per_epoch = min_steps_per_epoch
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.threshold = threshold
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.callbacks = callbacks
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
