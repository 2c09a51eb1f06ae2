"""LaMP: labels are nodes that gather messages, from the features and each other."""

from numbers import Integral, Real
from typing import NamedTuple

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skcgmvae._attention import Update
from skcgmvae._labels import cooccurrence
from skcgmvae._layers import ACTIVATIONS, FeatureLayers, Linear, uniform
from skcgmvae._losses import cross_entropy_loss
from skcgmvae._neural import BaseNeuralClassifier

# Shapes: B rows, L labels, T rounds, d = d_model. A row's nodes are its tokens or its
# labels.


class LaMPOutput(NamedTuple):
    """What one training step computes; of L labels it may have seen K."""

    readouts: torch.Tensor  # (2T, B, K), after each update
    labels: torch.Tensor  # (K,), which labels these are
    logits: torch.Tensor  # (B, L); of labels that were not seen, their biases

    @property
    def heads(self):
        """The logits of the prediction, as the only head; (B, 1, L)."""
        return self.logits[..., None, :]


class LaMP(nn.Module):
    """The tokens of x, the nodes of the labels, the rounds and the read-out.

    The parameters are those of :class:`LaMPClassifier`, and what
    :class:`skcgmvae._network.CGMVAE` is told of the data; ``label_cooccurrence`` (L, L)
    says which labels come together.

    Shape
    -----
    (B, D) or (*members, B, D) -> (*members, B, 1, L)
    """

    def __init__(
        self,
        *,
        n_features,
        n_labels,
        label_log_odds,
        label_cooccurrence=None,
        offset=None,
        d_model=32,
        n_tokens=4,
        n_rounds=2,
        n_heads=2,
        dim_feedforward=64,
        feature_layer_sizes=(512,),
        activation="relu",
        dropout=0.2,
        label_graph="full",
        max_labels_per_step=128,
        n_members=1,
    ):
        super().__init__()
        act = ACTIVATIONS[activation]
        self.members = members = () if n_members == 1 else (n_members,)
        self.max_labels_per_step = max_labels_per_step
        self.tokens = nn.Sequential(
            FeatureLayers(
                n_features, feature_layer_sizes, act, dropout, offset, members=members
            ),
            Linear(feature_layer_sizes[-1], n_tokens * d_model, members=members),
            nn.Unflatten(-1, (n_tokens, d_model)),
        )
        self.embedding = nn.Parameter(torch.randn(*members, n_labels, d_model))
        self.updates = nn.ModuleList(  # from tokens, from labels, from tokens, ...
            Update(d_model, n_heads, dim_feedforward, act, dropout, members=members)
            for _ in range(2 * n_rounds)
        )
        self.weight = uniform(*members, n_labels, d_model, bound=d_model**-0.5)
        self.bias = nn.Parameter(label_log_odds.expand(*members, -1).clone())
        neighbours = None
        if label_graph == "cooccurrence":
            # A label hears itself, so that none hears nobody.
            neighbours = label_cooccurrence.clone().fill_diagonal_(True)
        self.register_buffer("neighbours", neighbours, persistent=False)

    def forward(self, x):
        """The read-out after the last round; (B, D) -> (B, 1, L)."""
        labels = torch.arange(self.bias.shape[-1], device=self.bias.device)
        *_, last = self._readouts(x, labels)
        return last[..., None, :]

    def training_output(self, x, y):
        """The read-outs after all updates; where labels are many, of some at random."""
        labels = torch.arange(y.shape[-1], device=y.device)
        if len(labels) > self.max_labels_per_step:
            shuffled = torch.randperm(len(labels), device=y.device)
            labels = shuffled[: self.max_labels_per_step]
        readouts = torch.stack(list(self._readouts(x, labels)))
        with torch.no_grad():  # to be looked at
            logits = self.bias[..., None, :].expand(y.shape).clone()
            logits[..., labels] = readouts[-1]
        return LaMPOutput(readouts, labels, logits)

    def _readouts(self, x, labels):
        """The logits of these labels after each update, (B, K) each."""
        tokens = self.tokens(x)
        weight, bias = self.weight[..., None, labels, :], self.bias[..., None, labels]
        neighbours = self.neighbours
        if neighbours is not None:
            neighbours = neighbours[labels][:, labels]
        nodes = self.embedding[..., None, labels, :]
        nodes = nodes.expand(*tokens.shape[:-2], -1, -1)
        for number, update in enumerate(self.updates):
            if number % 2 == 0:
                nodes = update(nodes, tokens)
            else:
                nodes = update(nodes, nodes, neighbours)
            yield (nodes * weight).sum(dim=-1) + bias


class LaMPLoss(nn.Module):
    """Cross-entropy of the last read-out, and less of those before.

    Called with a :class:`LaMPOutput` and y (B, L), it returns the terms, (B,) each. Of
    some labels it estimates the sum over all.
    """

    def __init__(self, *, intermediate_weight=0.2):
        super().__init__()
        self.intermediate_weight = intermediate_weight

    def forward(self, output, y):
        *before, last = cross_entropy_loss(output.readouts, y[..., output.labels])
        part = len(output.labels) / y.shape[-1]
        terms = {"cross_entropy": last / part, "intermediate": sum(before) / part}
        weighted = self.intermediate_weight * terms["intermediate"]
        return {"loss": terms["cross_entropy"] + weighted, **terms}


class LaMPClassifier(BaseNeuralClassifier):
    """Label message passing for multi-label classification.

    Labels are the nodes of a graph. In each of several rounds a label gathers messages
    by attention, first from the features of the row, then from other labels; in the
    end a linear function of its node is its logit [1]_.

    Parameters
    ----------
    d_model : int, default=32
        Dimensions of a node, label or token (source: 512).
    n_tokens : int, default=4
        Tokens that the features of a row are turned into (source: 1).
    n_rounds : int, default=2
        Rounds of messages (source: 2).
    n_heads : int, default=2
        Heads of each attention, a divisor of ``d_model`` (source: 4).
    dim_feedforward : int, default=64
        Width of the layer by which a node is updated on its own (source: 512).
    feature_layer_sizes : tuple of int, default=(512,)
        Widths of the hidden layers between features and tokens (source: none).
    activation : {"relu", "leaky_relu", "gelu"}, default="relu"
        Activation of all hidden layers (source: ReLU).
    dropout : float, default=0.2
        Probability, in [0, 1), with which a hidden unit, or an entry of what a node is
        changed by, is dropped in training (source: 0.2).
    label_graph : {"full", "cooccurrence"}, default="full"
        From which other labels a label gathers messages: from all, or from those that
        it shares a training row with. Rows of a later call add none.
    max_labels_per_step : int, default=128
        Of more labels than that, each training step takes so many at random: its time
        grows with their square. Predictions take all (source: always all).
    intermediate_weight : float, default=0.2
        Weight of the losses of the logits that nodes have before the end, after each
        half of a round (source: 0.2).
    n_members : int, default=1
        Networks whose probabilities are averaged; see
        :class:`~skcgmvae.CGMVAEClassifier`, as for all that follow.
    scale_features : bool, default=True
        Scale the features inside.
    lr : float, default=0.003
        Learning rate of AdamW.
    weight_decay : float, default=0.01
        Decoupled weight decay of AdamW.
    ema_decay : float, default=0.998
        Weight of the past in the moving average of the weights.
    batch_size : int, default=128
        Largest number of rows a step.
    max_iter : int, default=30
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
    The source's features are words, each a node. For other features it has a single
    node, a linear function of x: then all labels hear the same. Here ``n_tokens``
    nodes are learned: hidden layers and a linear map turn x into
    ``n_tokens * d_model`` numbers, ``d_model`` in a row for each token.

    References
    ----------
    .. [1] J. Lanchantin, A. Sekhon and Y. Qi, "Neural Message Passing for Multi-Label
       Classification", ECML-PKDD 2019.

    Examples
    --------
    >>> from skcgmvae.baselines import LaMPClassifier
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = LaMPClassifier(max_iter=5, random_state=0).fit(X[:1000], Y[:1000])
    >>> bool((clf.predict(X[1000:]) == Y[1000:]).mean() > 0.9)
    True
    """

    _module_class = LaMP
    _criterion_class = LaMPLoss

    _parameter_constraints = {
        **BaseNeuralClassifier._parameter_constraints,
        "d_model": [Interval(Integral, 1, None, closed="left")],
        "n_tokens": [Interval(Integral, 1, None, closed="left")],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dim_feedforward": [Interval(Integral, 1, None, closed="left")],
        "feature_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "label_graph": [StrOptions({"full", "cooccurrence"})],
        "max_labels_per_step": [Interval(Integral, 1, None, closed="left")],
        "intermediate_weight": [Interval(Real, 0, None, closed="left")],
    }

    def _check_parameters(self, X):
        super()._check_parameters(X)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads={self.n_heads} does not divide d_model={self.d_model}; the "
                "heads of an attention share the dimensions evenly."
            )

    def _label_facts(self, Y, rows):
        """Which labels come together, where the graph asks for it."""
        if self.label_graph == "full":
            return {}
        return {"label_cooccurrence": torch.from_numpy(cooccurrence(Y[rows]))}

    def __init__(
        self,
        *,
        d_model=32,
        n_tokens=4,
        n_rounds=2,
        n_heads=2,
        dim_feedforward=64,
        feature_layer_sizes=(512,),
        activation="relu",
        dropout=0.2,
        label_graph="full",
        max_labels_per_step=128,
        intermediate_weight=0.2,
        n_members=1,
        scale_features=True,
        lr=3e-3,
        weight_decay=1e-2,
        ema_decay=0.998,
        batch_size=128,
        max_iter=30,
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
        self.d_model = d_model
        self.n_tokens = n_tokens
        self.n_rounds = n_rounds
        self.n_heads = n_heads
        self.dim_feedforward = dim_feedforward
        self.feature_layer_sizes = feature_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.label_graph = label_graph
        self.max_labels_per_step = max_labels_per_step
        self.intermediate_weight = intermediate_weight
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
