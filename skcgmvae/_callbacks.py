"""The callbacks of the training: best weights, progress, scikit-learn's own."""

import copy
import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, PrintLog
from tqdm import tqdm

from skcgmvae._calibration import HeldOut

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    class CallbackSupportMixin:
        """Stands in where there are none."""

        def _init_callback_context(self, **_):
            return None

    def with_callbacks(method):
        return method


# A mean loss of an epoch that is so many times that of the first step is no detour:
# the steps lead away. With the default learning rate it falls in the first epoch on all
# data tried, with ten times that it at most doubles, with a hundred times it explodes.
EXPLODED = 1e3

# How many times its own the penalty of a linear path is at first, and over how many
# steps it falls, or over half of those that there are at most. On no data tried is ten
# times as strong a one better, or twice as many steps; with half as many, word counts
# lose a little, whose weights have far to go.
PENALTY_START = 100.0
PENALTY_STEPS = 2000

# A network whose logits are best multiplied by less is too sure of itself. Labels that
# are smoothed then gain on validation rows of scene, from 0.9 on as much as from 1. On
# yeast and bibtex they gain nothing, and the best epoch mostly comes before.
TOO_SURE = 0.9


class KeepBest(Callback):
    """Early stopping, the best weights, and an end to training that diverges.

    The heads of a network share no parameters, so each is stopped by itself: a linear
    path can be at its best, and soon past it, when the network beside it has hardly
    begun. Of each head those weights are kept with which it alone had the lowest
    log-loss; in the end all are calibrated together. A head that is stopped is not
    trained any more while others are.

    Parameters
    ----------
    patience : int
        Stop when no head has improved for so many epochs, and restore the best weights
        of each. Without validation rows, the last epoch is the best.
    tol : float
        How much better, in log-loss, counts as an improvement.

    Attributes
    ----------
    label_log_odds : ndarray of shape (L,)
        Of the labels among the training rows; to be set before a training with
        validation rows.
    best_epoch_ : int
        Of the first head.
    best_calibration_ : Calibration or None
        Of the heads, at their best; None without validation rows.
    """

    def __init__(self, patience, tol):
        self.patience = patience
        self.tol = tol
        self.label_log_odds = None

    def initialize(self):
        self.best_epoch_ = self.best_calibration_ = None
        return self

    def on_train_begin(self, net, **kwargs):
        # What an earlier training left is better than nothing.
        self.best_weights_ = net.current_weights() if net.history else None
        self.held_out_ = self.first_loss_ = None
        self.misses_ = []
        self.has_diverged_ = False

    def on_epoch_begin(self, net, **kwargs):
        net.freeze([head for head in range(len(self.misses_)) if self._stopped(head)])

    def _stopped(self, head):
        return self.misses_[head] >= self.patience

    def on_batch_end(self, net, training, loss=None, **kwargs):
        if training and self.first_loss_ is None:
            self.first_loss_ = loss  # still on the device, which is not waited for

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        epoch = net.history[-1]
        self.first_loss_ = float(self.first_loss_)
        losses = [epoch["train_loss"], epoch.get("valid_loss", 0.0)]
        # Losses are older than the last step, or do not tell of all weights.
        if not (np.isfinite(losses).all() and net.is_finite(dataset_train)):
            self._diverged(net, epoch["epoch"], "the loss is not finite")
        elif epoch["train_loss"] > EXPLODED * max(self.first_loss_, 1):
            rise = f"from {self.first_loss_:.3g} to {epoch['train_loss']:.3g}"
            self._diverged(net, epoch["epoch"], f"the loss rose {rise}")
        elif "valid_loss" in epoch:
            self._compare(net, epoch)
        else:
            self.best_epoch_ = epoch["epoch"]
            self.best_weights_ = net.current_weights()

    def on_train_end(self, net, **kwargs):
        net.freeze([])
        if self.best_weights_ is not None:
            net.load_weights(self.best_weights_)
        if self.has_diverged_:
            net.forget_steps()
        if self.held_out_ is not None:
            self.best_calibration_ = self.held_out_.calibration(self.label_log_odds)
        self.release()

    def release(self):
        """Let go of what is needed in training only."""
        self.best_weights_ = self.held_out_ = None

    def state(self):
        """What has been kept so far, as a tree of arrays and plain values."""
        state = {name: value for name, value in vars(self).items() if name[-1] == "_"}
        state["best_weights_"] = self.best_weights_ or {}
        state["held_out_"] = self.held_out_ and self.held_out_._asdict()
        return state

    def set_state(self, state):
        """Go on from a state that :meth:`state` gave."""
        vars(self).update(state)
        if self.held_out_ is not None:
            self.held_out_ = HeldOut(**self.held_out_)

    def _compare(self, net, epoch):
        losses = epoch["valid_head_loss"]
        if self.held_out_ is None:  # the first epoch
            self.best_losses_ = [np.inf] * len(losses)
            self.misses_ = [0] * len(losses)
            self.best_weights_ = {}
            self.held_out_ = net.held_out_  # the net's next are others
        for head, loss in enumerate(losses):
            if self._stopped(head):
                continue
            best = self.best_losses_[head]
            self.misses_[head] = 0 if loss < best - self.tol else self.misses_[head] + 1
            if loss < best:
                self._keep(net, epoch, head)
        if all(map(self._stopped, range(len(losses)))):
            net.request_stop()

    def _keep(self, net, epoch, head):
        self.best_losses_[head] = epoch["valid_head_loss"][head]
        self.best_weights_ |= net.current_weights(head)
        self.held_out_.logits[:, head] = net.held_out_.logits[:, head]
        if head == 0:
            self.best_epoch_ = epoch["epoch"]

    def _diverged(self, net, epoch, sign):
        lr = net.lr
        self.has_diverged_ = True
        if self.best_weights_ is None:
            raise ValueError(
                f"Training diverged in epoch {epoch}: {sign}. "
                f"Lower lr (it is {lr}), or weight_decay, alpha, beta, kl_weight, "
                "recon_weight and linear_penalty, raise temperature, or leave "
                "scale_features=True."
            )
        warnings.warn(
            f"Training diverged in epoch {epoch}: {sign}. The "
            f"weights of epoch {self.best_epoch_} are kept. Lower lr (it is {lr}) or "
            "weight_decay.",
            ConvergenceWarning,
            stacklevel=2,
        )
        net.request_stop()


class FallingPenalty(Callback):
    """Let the penalty of a linear path begin high and fall, step by step, to its own.

    Early stopping keeps the path's best epoch, with the penalty it had then, and so
    chooses how strong it is to be: a regularization path in one training. What goes on
    from there begins with the penalty that was chosen. Without held-out rows there is
    nothing to choose by, and the penalty stays what it is.

    Parameters
    ----------
    linear_penalty : float
        Its own. It begins at 100 times as much, but at no more than 100; one of 100 or
        more does not fall.
    """

    def __init__(self, linear_penalty):
        self.linear_penalty = linear_penalty

    def on_train_begin(self, net, **kwargs):
        self.falls_ = net.train_split is not None
        self.start_ = max(PENALTY_START / max(self.linear_penalty, 1), 1)
        if any("valid_loss" in epoch for epoch in net.history):
            self.start_ = net.module_.linear_path.penalty_factor.max().item()
        self.n_epochs_ = net.max_epochs  # before a checkpoint takes off what is done

    def on_epoch_begin(self, net, dataset_train, **kwargs):
        n_steps = self.n_epochs_ * len(net.get_iterator(dataset_train, training=True))
        self.n_falling_ = min(PENALTY_STEPS, n_steps / 2)

    def on_batch_begin(self, net, training, **kwargs):
        if training and self.falls_:
            to_come = max(1 - net.n_steps_ / self.n_falling_, 0)
            net.module_.linear_path.multiply_penalty(self.start_**to_come)

    def on_train_end(self, net, **kwargs):
        # Interrupted before held-out rows could choose one.
        if not any("valid_loss" in epoch for epoch in net.history):
            net.module_.linear_path.multiply_penalty(1)


class SmoothLabels(Callback):
    """Let a network that is too sure aim at less.

    Held-out rows tell it: by the factor c that its logits, alone, are best multiplied
    by. Once c has been below TOO_SURE, the targets of its cross-entropy are smoothed by
    1 - c, that of the epoch before. This is ``label_smoothing="auto"``; with a number
    the criterion is left alone.
    """

    def on_train_begin(self, net, **kwargs):
        self.n_before_ = len(net.history)

    def on_epoch_begin(self, net, **kwargs):
        if net.criterion_.label_smoothing != "auto":
            return
        before = net.history[:-1]  # the epoch that begins is there
        if before and len(before) == self.n_before_:
            # What goes on from a fit does so from the weights of its best epoch.
            before = before[: dict(net.callbacks_)["keep_best"].best_epoch_]
        # Of the network, the first head. Where nothing is held out they would grow old.
        scales = [e["valid_head_scale"][0] for e in before if "valid_head_scale" in e]
        too_sure = net.train_split is not None and min(scales, default=1) < TOO_SURE
        amount = max(1 - scales[-1], 0.0) if too_sure else 0.0
        net.criterion_.smooth(amount)
        net.history.record("label_smoothing", amount)


class ProgressBar(Callback):
    """A bar over the epochs that shows the losses by term."""

    def initialize(self):
        self.bar_ = None
        return self

    def on_train_begin(self, net, **kwargs):
        self.bar_ = tqdm(total=net.max_epochs, unit="epoch", leave=True)

    def on_epoch_end(self, net, **kwargs):
        epoch = net.history[-1]
        losses = {
            name.removeprefix("train_").removesuffix("_loss"): f"{value:.4g}"
            for name, value in epoch.items()
            if name == "valid_loss"
            or (name.startswith("train_") and name != "train_loss_best")
            if not np.isnan(value)  # no longer trained
        }
        self.bar_.set_postfix(losses, refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        self.release()

    def release(self):
        """Close the bar, after an error too."""
        if self.bar_ is not None:
            self.bar_.close()
        self.bar_ = None


class EpochLines(PrintLog):
    """skorch's line an epoch, without the columns that hold lists."""

    def __init__(self):
        lists = "valid_logit_scale", "valid_head_loss", "valid_head_scale"
        super().__init__(keys_ignored=list(lists))


class ScikitLearnCallbacks(Callback):
    """Let the callbacks of :mod:`sklearn.callback` see each epoch of a fit."""

    def initialize(self):
        self.context_ = None
        return self

    @contextmanager
    def attached(self, estimator, X, Y, sample_weight):
        """Report the epochs trained inside as tasks of ``estimator.fit(X, Y)``."""
        context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        if context is None:
            yield
            return
        weights = None if sample_weight is None else {"sample_weight": sample_weight}
        self.observed_ = {"estimator": estimator, "X": X, "y": Y, "metadata": weights}
        self.context_ = context.call_on_fit_task_begin(**self.observed_)
        try:
            yield
            context.call_on_fit_task_end(**self.observed_)
        finally:
            # The model keeps this callback; it must not keep the data.
            self.context_ = self.epoch_ = self.observed_ = None

    def on_epoch_begin(self, net, **kwargs):
        if self.context_ is not None:
            self.epoch_ = self.context_.subcontext(task_name="epoch")
            self.epoch_.call_on_fit_task_begin(**self.observed_)

    def on_epoch_end(self, net, **kwargs):
        if self.context_ is None:
            return
        stop = self.epoch_.call_on_fit_task_end(
            **self.observed_,
            reconstruction_attributes=lambda: {
                "net_": _snapshot(net),
                **_calibrated(net),
            },
        )
        if stop:
            net.request_stop()


def _calibrated(net):
    """What an estimator would keep of the calibration if training stopped now."""
    keep_best = dict(net.callbacks_)["keep_best"]
    calibration = keep_best.best_calibration_  # of an earlier training, or None
    if net.held_out_ is not None:
        calibration = net.held_out_.calibration(keep_best.label_log_odds)
    scale, shift = calibration or (None, None)
    return {"logit_scale_": scale, "logit_shift_": shift}


def _snapshot(net):
    """A copy of the net that predicts as if training stopped now."""
    snapshot = copy.copy(net)
    # Callbacks may hold what cannot be copied, the split holds the rows.
    snapshot.callbacks_, snapshot.train_split = [], None
    snapshot.history = copy.deepcopy(net.history)
    snapshot.module_ = copy.deepcopy(net.module_)
    snapshot.load_weights(net.current_weights())
    snapshot.average_weights_ = None
    return snapshot
