"""CGMVAEClassifier: C-GMVAE as a scikit-learn classifier and transformer."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from skcgmvae._callbacks import FallingPenalty, SmoothLabels
from skcgmvae._layers import ACTIVATIONS
from skcgmvae._linear_path import MOST_BINS
from skcgmvae._losses import CGMVAELoss
from skcgmvae._network import CGMVAE
from skcgmvae._neural import BaseNeuralClassifier
from skcgmvae._spaces import LearntSpaces
from skcgmvae._step import check_compilable


class CGMVAEClassifier(LearntSpaces, BaseNeuralClassifier):
    """Multi-label classifier: a Gaussian-mixture VAE with contrastive learning.

    Each label has a learnt embedding and, from it, a Gaussian in a latent space. The
    labels of a row make the mixture that its own latent Gaussian is drawn towards; a
    decoder turns a latent sample into a feature embedding, which a contrastive and a
    cross-entropy loss bring close to the embeddings of the row's labels. The
    probability of a label is the sigmoid of the inner product of the two [1]_.

    It accepts a label matrix as well as a 1-D ``y``, dense or sparse ``X``, trains on
    a GPU where there is one, and is a transformer too: :meth:`transform` gives the
    latent means. What is fitted is an ensemble of ``n_members`` such networks, whose
    probabilities are averaged.

    Parameters
    ----------
    latent_dim : int, default=64
        Dimensions d of the latent space (paper: 64).
    embedding_dim : int, default=256
        Dimensions E of the label and feature embeddings (paper: 512 to 3072).
    encoder_layer_sizes : tuple of int, default=(256, 256)
        Widths of the feature encoder's hidden layers (paper: 256, 512, 256).
    label_encoder_layer_sizes : tuple of int, default=(256,)
        Widths of the label encoder's hidden layers (paper: 512, 256).
    decoder_layer_sizes : tuple of int, default=(256,)
        Widths of the decoder's hidden layers (paper: 512, 512).
    activation : {"relu", "leaky_relu", "gelu"}, default="relu"
        Activation of all hidden layers (paper: ReLU).
    dropout : float, default=0.3
        Probability, in [0, 1), with which a hidden unit of the feature encoder or the
        decoder is dropped in training (paper: 0.3 or 0.5).
    input_dropout : float, default=0.3
        Probability, in [0, 1), with which a scaled feature is dropped in training, on
        its way into the feature encoder (paper: none). Of sparse rows only stored
        values are drawn, so that dense and sparse training agree to rounding only
        with 0.
    min_latent_std : float, default=0.25
        Least standard deviation, 0 or more, of the mean of q(z|x) in each latent
        dimension over the rows of a training step (paper: 0, none). A dimension that
        varies by less is stretched, as in batch normalisation [3]_, so that it cannot
        collapse; others are left alone. It grows to this value over the first 2000
        steps, with their square, so that dimensions that are of use get there by
        themselves; a training that ends sooner ends with less. Over the rows of
        :meth:`transform` it is less, too: in training dropout adds to it. Meant for a
        ``batch_size`` of some tens; with 1 nothing varies, and it has no effect.
    prior : {"mixture", "gaussian"} or None, default="mixture"
        ``"mixture"``: Eq. 1, the Gaussians of the row's labels, evenly mixed; N(0, I)
        for a row without labels. ``"gaussian"``: N(0, I) for every row, the
        uni-Gaussian of Table 4. None: no KL term, "contrastive only".
    normalize : {"contrastive", "feature"} or None, default="contrastive"
        ``"contrastive"``: the contrastive loss compares embeddings of unit norm
        (appendix A), predictions use the embeddings as they are. ``"feature"``: the
        decoder's output has unit norm everywhere, label embeddings are free (the
        published code). None: both losses take the plain inner product.
    reconstruction : {"gaussian", "bernoulli"} or None, default=None
        Likelihood of ``x`` given z in Eq. 4, on the scaled features, summed over
        them. ``"bernoulli"`` needs ``X`` in [0, 1] and ``scale_features=False``. None
        leaves the term out, as the published code does. It counts the zeros of a
        sparse ``X`` too, and makes each batch dense for that: ``batch_size *
        n_features`` numbers, several times, and a layer of as many outputs. Leave it
        at None for wide sparse data.
    skip_connection : bool, default=False
        Let ``x`` enter the decoder beside z, as in the published code. z is then worth
        less, and under a large ``kl_weight``, of 6 as there, :meth:`transform` is
        nearly constant.
    linear_path : bool, default=True
        Add A x + b, one logistic regression a label, to the logits of the prediction.
        It is trained beside the network, by a loss of its own, and shares nothing
        with it; held-out rows say how much each counts (not in the paper). Of some
        features it is not linear (``n_bins``).
    linear_penalty : float, default=1.0
        Strength of the L2 penalty of its weights, the 1/C of scikit-learn's
        LogisticRegression. In a fit with ``early_stopping`` it is the least: the
        penalty begins at 100 times as much, though at no more than 100 unless this is,
        and falls to it over the first 2,000 steps, or over half of ``max_iter`` epochs
        if that is sooner. Held-out rows choose the path's best epoch, and a training
        that goes on begins with the penalty of that epoch. Of counts and
        indicators, columns that are mostly 0 and else positive whole numbers, the
        weights of rare ones cost less, unless ``scale_features`` is False.
    n_bins : int or "auto", default="auto"
        Beside each feature that is seen by rank, and takes more than 8 values, the
        linear path has how far its score has come through each of so many bins, equally
        probable ones and at most 128 [2]_: it adds up a broken line a feature, and is a
        generalized additive model. For each such feature and label it has so many
        weights more. ``"auto"``: 8, or none where that would be more than 4,096 numbers
        a row or 262,144 weights a member. 0: none. Of no effect without ``linear_path``
        and ``quantile_features``.
    label_branch : bool, default=False
        Train the decoder also on the mean of the row's label means, as the published
        code does.
    n_samples : int, default=1
        Latent samples a row and step, over which losses are averaged (paper: 1).
    max_labels_per_step : int, default=None
        Of more labels than that, each training step takes so many: all that occur in
        its rows, those of any member, and of the others some at random, which are
        weighed as if they were all others. Network and losses then cost the same
        however many labels there are; the optimiser still passes over the weights of
        all. The cross-entropy is estimated without bias, the contrastive loss as by a
        sampled softmax; the fewer are drawn, the noisier. If more occur than that, all
        of these are taken and no others, and a step learns nothing of what its rows
        lack: let it be several times as many as occur in a batch. Predictions take
        all labels. None: all (paper: all).
    n_members : int, default=4
        Networks in the ensemble (paper: 1). They are trained side by
        side as one batched network and differ in where they start, in the order of
        their rows, in dropout and in the rows that are held out from them. Losses are
        averaged over them, and so are probabilities.
    alpha : float, default=1.0
        Weight of the contrastive loss, Eq. 5 (paper: 1 or 2).
    beta : float, default=1.0
        Weight of the cross-entropy loss, Eq. 6 (paper: 0.5 or 1).
    kl_weight : float, default=0.001
        Weight of the KL term, Eq. 3 (paper: 1, under which the latent space
        collapses).
    recon_weight : float, default=1.0
        Weight of the reconstruction, Eq. 4 (paper: 1); of no effect without one.
    temperature : float, default=1.0
        Temperature tau of the contrastive loss (published code: 1).
    label_smoothing : float or "auto", default=0.0
        How far, in [0, 1), the targets of the cross-entropy of Eq. 6 are drawn from 0
        and 1 to the frequency of the label among the training rows [4]_ (paper: 0, not
        at all). Worth a try where the network knows the training rows by heart.
        ``"auto"``: as far as the network is too sure of itself. After each epoch the
        logits that it gives to held-out rows are best multiplied by some factor c; once
        that has been below 0.9, each epoch's targets are smoothed by the 1 - c of the
        epoch before, if c is below 1, those of all members alike. Without held-out
        rows, ``early_stopping=False`` or :meth:`partial_fit`, not at all. Of no effect
        with ``beta=0``.
    scale_features : bool, default=True
        Scale the features inside, as the training rows say. Columns that are mostly
        non-zero are standardised, or seen by rank (``quantile_features``). Those that
        are mostly zero keep their zeros and, unless their non-zeros are of very
        different size, are divided by one number, the root mean square of all these
        non-zeros. The same numbers are scaled the same whether dense or sparse.
    quantile_features : bool, default=True
        Of columns that are mostly non-zero, see not the scaled values but the normal
        scores of their ranks among the training rows', of at most 10,000: an outlier or
        a skewed unit then means nothing (not in the paper). Of no effect on columns
        that are mostly zero, and with ``scale_features=False``.
    lr : float, default=0.002
        Learning rate of AdamW (paper: 0.001 to 0.005).
    weight_decay : float, default=0.01
        Decoupled weight decay of AdamW.
    ema_decay : float, default=0.998
        Weight of the past, a step, in the moving average of the weights that is
        validated and kept; 0 keeps the weights themselves.
    batch_size : int, default=128
        Largest number of rows a step (paper: 128). Rows are dealt out evenly.
    max_iter : int, default=100
        Largest number of epochs (paper: 100).
    min_steps_per_epoch : int, default=50
        An epoch passes over the training rows as often as it takes to make so many
        steps, so that small data are trained as long as large ones.
    early_stopping : bool, default=True
        Hold out rows from each member, label-balanced and drawn anew for each. Stop
        when the log-loss of what each member says of its own no longer improves,
        neither the network's nor the linear path's, and keep the weights of the best
        epoch of each. The log-loss is taken at the best scale of the logits. In the end
        the two are calibrated together (``logit_scale_``, ``logit_shift_``).
    validation_fraction : float, default=0.1
        Fraction of the rows held out from each member for early stopping, in (0, 1).
    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops: of the network, of the
        linear path, each by itself.
    tol : float, default=0.0
        By how much the log-loss must fall to count as an improvement.
    threshold : float or array-like of shape (n_labels,), default=0.5
        Probability from which :meth:`predict` sets a label, in [0, 1].
    warm_start : bool, default=False
        Let another call of :meth:`fit` go on from the weights of the last. ``lr``,
        ``weight_decay``, ``ema_decay``, ``batch_size``, ``min_steps_per_epoch``,
        ``precision``, ``compile`` and when to stop may have changed meanwhile; the
        network, its losses, how features are seen, ``device``, ``callbacks`` and
        ``verbose`` stay.
    checkpoint : path-like, default=None
        A file that :meth:`fit` keeps its training in, replaced at the end of each
        epoch. Started again with the same parameters on the same data, after a crash
        or a kill, it goes on from there and ends as if it had never stopped, on a CPU
        bit for bit; when it had come to its end, it ends at once. ``max_iter`` may be
        raised meanwhile; from one of fewer than 4,000 steps, 80 epochs of the least
        length, the end may be another, as the penalty of the linear path falls faster
        in these. A file of another training is refused. Of ``callbacks`` only the
        schedules of skorch's LRScheduler are kept.
    callbacks : list of skorch callbacks, default=None
        Instances, or pairs (name, instance), for the net inside.
    device : str or torch.device, default="auto"
        ``"auto"`` is CUDA if torch has it, else the CPU. Another device is used, or
        refused with an error.
    precision : {"float32", "bfloat16"}, default="float32"
        Of the matrix products of a training step. With ``"bfloat16"`` the factors of
        those of dense layers and of the logits are rounded to 8 binary digits, and so
        are their sums; weights, averages, Gaussians, losses, the optimiser, products
        with sparse rows, validation and predictions remain in float32. It pays where
        layers are wide and the device has units for it (GPUs since Ampere, CPUs with
        AMX or AVX512-BF16). A device that cannot do it is refused with an error.
    compile : bool, default=False
        Let torch.compile make one graph of the losses of a step, on CUDA a CUDA graph.
        Meant for GPUs, where a step of small networks is some hundred launches. On a
        CPU an ensemble gains by it where there are hundreds of labels. Compiling takes
        tens of seconds, once more when the network or the linear path has stopped. The
        results are the same up to rounding, except that a batch filled up to the size
        of the others, with a row of weight 0, draws other random numbers, and counts
        that row for ``min_latent_std``. All labels are encoded in each step.
        It needs a dense ``X``, ``max_labels_per_step=None`` and a compiler, C++ for a
        CPU, Triton for CUDA; an error says which of them is missing.
    random_state : int, RandomState instance or None, default=None
        Seeds the held-out rows, the weights, dropout, samples and the order of rows.
        The same seed gives the same model, bit for bit on a CPU with the same number
        of threads. Fits in several threads of one process take turns.
    verbose : int, default=0
        1 shows a progress bar with the losses, 2 prints a line an epoch.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, else the sorted classes.
    label_embeddings_ : ndarray of shape (n_labels, n_members * embedding_dim)
        The label embeddings w_l, those of the members side by side.
    label_means_, label_variances_ : ndarray of shape \
            (n_labels, n_members * latent_dim)
        The labels' Gaussians in the latent space; only with ``prior="mixture"`` or
        ``label_branch=True``.
    label_names_in_ : ndarray of str of shape (n_labels,)
        Column names of ``y``, if it was a DataFrame.
    logit_scale_ : ndarray of shape (n_heads, n_labels), or None
        Factors of the network's logits and of the linear path's, the two heads, for
        each label. With these, and with ``logit_shift_``, held-out rows had the lowest
        log-loss; for all labels they come from four numbers. None if rows were never
        held out: the plain average of the heads is taken.
    logit_shift_ : ndarray of shape (n_labels,), or None
        What is added to the logits.
    history_ : skorch.history.History
        Losses by epoch: ``history_[:, "valid_loss"]``. A term is NaN in the epochs
        after its part, the network or the linear path, has stopped. With
        ``label_smoothing="auto"`` how far labels were: ``"label_smoothing"``.
    n_iter_ : int
        Number of epochs trained.
    best_epoch_ : int
        The epoch, from 1, whose weights the network kept.
    n_features_in_ : int
        Number of features seen in :meth:`fit`.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features, if ``X`` was a DataFrame.

    Raises
    ------
    ValueError
        For ``X`` or ``y`` that cannot be trained on, for parameters that contradict
        each other, for an unknown or unusable device, and if the loss is not finite
        before any epoch has been completed.
    MemoryError
        If memory does not suffice, on the device or beside it; it says what to lower.
        A model that was to be trained further stays as it was.

    Warns
    -----
    ConvergenceWarning
        If training diverges later or is interrupted; the best weights are kept. Also
        if the last epoch was the network's best, of more than ``n_iter_no_change``.

    See Also
    --------
    paper_configuration : Parameters of the paper's variants.
    skcgmvae.inspection.LabelSimilarityDisplay : Figure 3 of the paper.

    Notes
    -----
    ``score`` is scikit-learn's for multi-label classifiers, the subset accuracy: a
    row counts only if all its labels are right.

    Another number of threads (``torch.set_num_threads``, ``OMP_NUM_THREADS``) changes
    the rounding of sums, and a long training makes more of it. joblib gives its workers
    fewer threads than the parent has, unless ``parallel_config`` is told
    ``inner_max_num_threads``. In a process that was forked off, torch uses one thread:
    with more it would wait for ever.

    With ``early_stopping=True`` each member is not trained on a tenth of the rows.

    References
    ----------
    .. [1] J. Bai, S. Kong and C. Gomes, "Gaussian Mixture Variational Autoencoder
       with Contrastive Learning for Multi-Label Classification", ICML 2022.
    .. [2] Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for Numerical
       Features in Tabular Deep Learning", NeurIPS 2022, section 3.2.
    .. [3] Q. Zhu, W. Bi, X. Liu, X. Ma, X. Li and D. Wu, "A Batch Normalized Inference
       Network Keeps the KL Vanishing Away", ACL 2020.
    .. [4] C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna, "Rethinking the
       Inception Architecture for Computer Vision", CVPR 2016, section 7.

    Examples
    --------
    >>> from sklearn.model_selection import train_test_split
    >>> from skcgmvae import CGMVAEClassifier
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> X_train, X_test, Y_train, Y_test = train_test_split(X, Y, random_state=0)
    >>> clf = CGMVAEClassifier(max_iter=3, random_state=0).fit(X_train, Y_train)
    >>> clf.predict(X_test).shape
    (450, 7)
    >>> bool((clf.predict(X_test) == Y_test).mean() > 0.9)
    True
    >>> clf.transform(X_test).shape  # 64 dimensions of each member
    (450, 256)
    """

    _module_class = CGMVAE
    _criterion_class = CGMVAELoss
    _values_before = {"min_latent_std": 0.0}
    _weights_since = {"linear_path.log_factor": 5}

    _parameter_constraints = {
        **BaseNeuralClassifier._parameter_constraints,
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "encoder_layer_sizes": ["array-like"],
        "label_encoder_layer_sizes": ["array-like"],
        "decoder_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "min_latent_std": [Interval(Real, 0, None, closed="left")],
        "prior": [StrOptions({"mixture", "gaussian"}), None],
        "normalize": [StrOptions({"contrastive", "feature"}), None],
        "reconstruction": [StrOptions({"gaussian", "bernoulli"}), None],
        "skip_connection": ["boolean"],
        "linear_path": ["boolean"],
        "linear_penalty": [Interval(Real, 0, None, closed="left")],
        "n_bins": [
            Interval(Integral, 0, MOST_BINS, closed="both"),
            StrOptions({"auto"}),
        ],
        "label_branch": ["boolean"],
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "max_labels_per_step": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_weight": [Interval(Real, 0, None, closed="left")],
        "recon_weight": [Interval(Real, 0, None, closed="left")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "label_smoothing": [
            Interval(Real, 0, 1, closed="left"),
            StrOptions({"auto"}),
        ],
    }

    def __init__(
        self,
        *,
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
        max_labels_per_step=None,
        n_members=4,
        alpha=1.0,
        beta=1.0,
        kl_weight=1e-3,
        recon_weight=1.0,
        temperature=1.0,
        label_smoothing=0.0,
        scale_features=True,
        quantile_features=True,
        lr=2e-3,
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
        precision="float32",
        compile=False,
        random_state=None,
        verbose=0,
    ):
        self.latent_dim = latent_dim
        self.embedding_dim = embedding_dim
        self.encoder_layer_sizes = encoder_layer_sizes
        self.label_encoder_layer_sizes = label_encoder_layer_sizes
        self.decoder_layer_sizes = decoder_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.min_latent_std = min_latent_std
        self.prior = prior
        self.normalize = normalize
        self.reconstruction = reconstruction
        self.skip_connection = skip_connection
        self.linear_path = linear_path
        self.linear_penalty = linear_penalty
        self.n_bins = n_bins
        self.label_branch = label_branch
        self.n_samples = n_samples
        self.max_labels_per_step = max_labels_per_step
        self.n_members = n_members
        self.alpha = alpha
        self.beta = beta
        self.kl_weight = kl_weight
        self.recon_weight = recon_weight
        self.temperature = temperature
        self.label_smoothing = label_smoothing
        self.scale_features = scale_features
        self.quantile_features = quantile_features
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
        self.precision = precision
        self.compile = compile
        self.random_state = random_state
        self.verbose = verbose

    def _module_callbacks(self, module_parameters):
        callbacks = [("smooth_labels", SmoothLabels())]
        if module_parameters["linear_path"]:
            penalty = FallingPenalty(module_parameters["linear_penalty"])
            callbacks.append(("falling_penalty", penalty))
        return callbacks

    def _check_parameters(self, X):
        """What the constraints of single parameters cannot say."""
        super()._check_parameters(X)
        if self.compile:
            check_compilable(X, self.max_labels_per_step)
        if self.alpha == 0 and self.beta == 0:
            raise ValueError(
                "alpha and beta are both 0: nothing would train the predictions."
            )
        if self.reconstruction == "bernoulli":
            if self.scale_features:
                raise ValueError(
                    "reconstruction='bernoulli' models X as it is; it needs "
                    "scale_features=False."
                )
            if X.min() < 0 or X.max() > 1:
                raise ValueError(
                    "reconstruction='bernoulli' needs X in [0, 1]; got values from "
                    f"{X.min():.3g} to {X.max():.3g}."
                )
