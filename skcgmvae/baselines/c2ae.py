"""C2AE: features and labels mapped to one latent space, and labels decoded from it."""

from numbers import Integral, Real
from typing import NamedTuple

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skcgmvae._layers import ACTIVATIONS, FeatureLayers, Linear, hidden_layers
from skcgmvae._losses import pairwise_ranking_loss
from skcgmvae._neural import BaseNeuralClassifier


class C2AEOutput(NamedTuple):
    """What one training step computes; B rows, d latent dimensions, L labels."""

    feature_code: torch.Tensor  # (B, d), F_x(x)
    label_code: torch.Tensor  # (B, d), F_e(y)
    ranked: torch.Tensor  # (B, L), of 0 and 1: the labels that are ranked
    label_scores: torch.Tensor  # (B, L), F_d(F_e(y))
    logits: torch.Tensor  # (B, L), from F_d(F_x(x))

    @property
    def heads(self):
        """The logits of the prediction, as the only head; (B, 1, L)."""
        return self.logits[..., None, :]


class C2AE(nn.Module):
    """The three networks: F_x of the features, F_e of the labels, the decoder F_d.

    The parameters are those of :class:`C2AEClassifier`, and what
    :class:`skcgmvae._network.CGMVAE` is told of the data. A single label, which could
    not be ranked against another, is ranked against its opposite.

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
        latent_dim=32,
        feature_layer_sizes=(512, 512),
        label_encoder_layer_sizes=(512,),
        decoder_layer_sizes=(512,),
        activation="leaky_relu",
        dropout=0.5,
        n_members=1,
    ):
        super().__init__()
        act = ACTIVATIONS[activation]
        self.members = members = () if n_members == 1 else (n_members,)
        self.is_single = n_labels == 1
        n_ranked = 2 if self.is_single else n_labels

        def network(n_inputs, sizes, n_outputs):
            return nn.Sequential(
                hidden_layers(n_inputs, sizes, act, dropout, members=members),
                Linear(sizes[-1], n_outputs, members=members),
            )

        self.feature_map = nn.Sequential(  # F_x
            FeatureLayers(
                n_features, feature_layer_sizes, act, dropout, offset, members=members
            ),
            Linear(feature_layer_sizes[-1], latent_dim, members=members),
        )
        self.label_map = network(n_ranked, label_encoder_layer_sizes, latent_dim)  # F_e
        self.decoder = network(latent_dim, decoder_layer_sizes, n_ranked)  # F_d

    def forward(self, x):
        """Logits F_d(F_x(x)); (B, D) -> (B, 1, L)."""
        return self._logits(self.feature_map(x))[..., None, :]

    def training_output(self, x, y):
        """The codes of rows and of their labels, and what is decoded from them."""
        ranked = torch.cat([1 - y, y], dim=-1) if self.is_single else y
        feature_code, label_code = self.feature_map(x), self.label_map(ranked)
        with torch.no_grad():  # to be looked at: the decoder learns from label codes
            logits = self._logits(feature_code)
        scores = self.decoder(label_code)
        return C2AEOutput(feature_code, label_code, ranked, scores, logits)

    def _logits(self, code):
        scores = self.decoder(code)
        return scores[..., 1:] - scores[..., :1] if self.is_single else scores


class C2AELoss(nn.Module):
    """Eq. 1 of the paper: distance of the codes + penalty + alpha * ranking loss.

    Called with a :class:`C2AEOutput` and y (B, L), it returns the terms, (B,) each.
    """

    def __init__(self, *, alpha=10.0, orthonormality_weight=0.1):
        super().__init__()
        self.alpha = alpha
        self.orthonormality_weight = orthonormality_weight

    def forward(self, output, y):
        terms = {
            "distance": (output.feature_code - output.label_code).square().sum(dim=-1),
            "orthonormality": orthonormality_penalty(output.feature_code)
            + orthonormality_penalty(output.label_code),
            # Between -1 and 1, as the outputs that the ranking loss was made for.
            "ranking": pairwise_ranking_loss(
                torch.tanh(output.label_scores / 2), output.ranked
            ),
        }
        loss = (
            terms["distance"]
            + self.orthonormality_weight * terms["orthonormality"]
            + self.alpha * terms["ranking"]
        )
        return {"loss": loss, **terms}


def orthonormality_penalty(code):
    """How far the second moments of a batch of codes are from the identity.

    The squared Frobenius norm of C'C / B - I, the relaxed constraint of CCA, the same
    for every row; (B, d) -> (B,).
    """
    n_rows, n_dimensions = code.shape[-2:]
    identity = torch.eye(n_dimensions, device=code.device, dtype=code.dtype)
    penalty = (code.mT @ code / n_rows - identity).square().sum(dim=(-2, -1))
    return penalty[..., None].expand(code.shape[:-1])


class C2AEClassifier(BaseNeuralClassifier):
    """Canonical-correlated autoencoder for multi-label classification.

    Features and labels are mapped to codes in one latent space, where they are to be
    the same and their dimensions uncorrelated; a decoder learns to rank the labels of a
    row before all others, given the code of its labels. Predictions decode the code of
    the features [1]_.

    Parameters
    ----------
    latent_dim : int, default=32
        Dimensions of the codes (source: 0.8 times the number of labels).
    feature_layer_sizes : tuple of int, default=(512, 512)
        Widths of the hidden layers of F_x (source: 512, 512).
    label_encoder_layer_sizes : tuple of int, default=(512,)
        Widths of the hidden layers of F_e (source: 512).
    decoder_layer_sizes : tuple of int, default=(512,)
        Widths of the hidden layers of F_d (source: 512).
    activation : {"relu", "leaky_relu", "gelu"}, default="leaky_relu"
        Activation of all hidden layers (source: leaky ReLU).
    dropout : float, default=0.5
        Probability, in [0, 1), with which a hidden unit is dropped in training.
    alpha : float, default=10.0
        Weight of the ranking loss, Eq. 3 of [1]_.
    orthonormality_weight : float, default=0.1
        Weight of the relaxed constraint that codes have uncorrelated dimensions of unit
        variance, Eq. 2 of [1]_ (source: 0.5).
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
    What the decoder's outputs are is left to the ranking loss, which knows their
    order, not their size. Held-out rows scale and shift them (``logit_scale_``,
    ``logit_shift_``), so that they can be read as log-odds; thresholds are better
    chosen than left at 0.5.

    References
    ----------
    .. [1] C.-K. Yeh, W.-C. Wu, W.-J. Ko and Y.-C. F. Wang, "Learning Deep Latent Spaces
       for Multi-Label Classification", AAAI 2017.

    Examples
    --------
    >>> from skcgmvae.baselines import C2AEClassifier
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = C2AEClassifier(max_iter=5, random_state=0).fit(X[:1000], Y[:1000])
    >>> bool((clf.predict(X[1000:]) == Y[1000:]).mean() > 0.9)
    True
    """

    _module_class = C2AE
    _criterion_class = C2AELoss

    _parameter_constraints = {
        **BaseNeuralClassifier._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "feature_layer_sizes": ["array-like"],
        "label_encoder_layer_sizes": ["array-like"],
        "decoder_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "orthonormality_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        latent_dim=32,
        feature_layer_sizes=(512, 512),
        label_encoder_layer_sizes=(512,),
        decoder_layer_sizes=(512,),
        activation="leaky_relu",
        dropout=0.5,
        alpha=10.0,
        orthonormality_weight=0.1,
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
        self.feature_layer_sizes = feature_layer_sizes
        self.label_encoder_layer_sizes = label_encoder_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.alpha = alpha
        self.orthonormality_weight = orthonormality_weight
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
