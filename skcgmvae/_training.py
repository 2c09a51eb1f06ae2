"""How a network is trained: the skorch net.

The seam to a model is two torch modules. The module has ``training_output(x, y)``
and ``forward(x)``, which gives label logits (B, K, L) from each of its K heads, as does
``heads`` of that output. Heads share no parameters; where there are several,
``head_of(name)`` says whose a parameter is. The criterion takes the output and ``y``
and returns a dict of loss terms, one value a row, with their sum under ``"loss"``. A
module may be an ensemble: its ``members`` is (), or (M,), which then leads the shapes
of all of these. Nothing here knows which model it is.
"""

import math
import warnings
from contextlib import nullcontext

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import EpochTimer
from torch.func import functional_call
from torch.utils.data import Dataset

from skcgmvae._batches import Batches, Chunks, Rows
from skcgmvae._calibration import HeldOut, combined, logit_of_mean_probability
from skcgmvae._devices import reuse_freed_memory, subnormals_as_zero
from skcgmvae._step import CompiledLosses, explain_compiler, step_losses

# Logits of all heads and members that are in memory in float64 at a time.
BLOCK = 2**20


class MultiLabelNet(NeuralNet):
    """A skorch net for label matrices.

    It differs from :class:`skorch.NeuralNet` in four ways: batches are slices
    (:mod:`skcgmvae._batches`); losses come in terms, one value a row, and are read
    from the device once an epoch; validation is by log-loss, at the best scale of
    each head's logits; and what is validated, and kept at the end, is an average of
    the weights over the last steps.

    Parameters
    ----------
    ema_decay : float
        Weight of the past in the exponential moving average of the weights; 0
        keeps the weights themselves.
    precision : {"float32", "bfloat16"}
        Of the matrix products that a module makes in training.
    compile : bool
        Compile the losses of a step (:mod:`skcgmvae._step`), where skorch would compile
        the ``forward`` of module and criterion.
    callbacks, **kwargs
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(self, *args, ema_decay=0.0, precision="float32", **kwargs):
        self.ema_decay = ema_decay
        self.precision = precision
        self.average_weights_ = None
        self.held_out_ = None
        self.compiled_ = None
        self.stop_requested_ = False
        kwargs.setdefault("iterator_train", Batches)
        kwargs.setdefault("iterator_valid", Batches)
        kwargs.setdefault("predict_nonlinearity", _mean_probabilities)
        super().__init__(*args, **kwargs)

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer())]

    def torch_compile(self, module, name):
        return module

    def get_dataset(self, X, y=None):
        """What a callback asks about is put where the network is."""
        return X if isinstance(X, Dataset) else Rows(X, y, device=self.device)

    # -- the loop ----------------------------------------------------------------

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """skorch's; an error leaves a net that was trained before as it was then."""
        n_epochs = len(self.history) if self.initialized_ else 0
        before = _copy(self.module_.named_parameters()) if n_epochs else None
        try:
            with explain_compiler() if self.compile else nullcontext():
                return super().partial_fit(X, y, classes, **fit_params)
        except BaseException:
            self.average_weights_ = self.held_out_ = None
            for _, callback in getattr(self, "callbacks_", ()):
                if hasattr(callback, "release"):
                    callback.release()
            if before is not None:
                self.load_weights(before)
                self.forget_steps()
                del self.history[n_epochs:]
            raise
        finally:
            # The model does not keep the data, nor how they were seen.
            self.train_split = self.compiled_ = None

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """skorch's loop over epochs; an interruption keeps the weights, and says so."""
        self.stop_requested_ = False
        reuse_freed_memory()
        try:
            with subnormals_as_zero():
                return super().fit_loop(X, y, epochs, **fit_params)
        except KeyboardInterrupt:
            if not self.stop_requested_:
                warnings.warn(
                    f"Training was interrupted in epoch {len(self.history)}; the "
                    "weights so far are kept.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
                # It may have come in the middle of a step.
                self.forget_steps()
            return self

    def request_stop(self):
        """End the training when all callbacks have seen the epoch that ends."""
        self.stop_requested_ = True

    def notify(self, method_name, **cb_kwargs):
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            # How skorch's own callbacks end the training, EarlyStopping for one.
            self.stop_requested_ |= method_name == "on_epoch_end"
            raise
        if method_name == "on_epoch_end" and self.stop_requested_:
            raise KeyboardInterrupt  # what ends skorch's loop

    # -- one step ----------------------------------------------------------------

    def train_step(self, batch, **fit_params):
        step = super().train_step(batch, **fit_params)
        self.n_steps_ += 1
        self._update_average()
        return step

    def train_step_single(self, batch, **fit_params):
        x, y = batch
        model = self.module_, self.criterion_, self.precision
        weight = x.get("sample_weight")
        compute = self.compiled_ or step_losses
        loss, terms, means, heads = compute(*model, x["x"], y, weight)
        loss.backward()
        return {
            "loss": loss.detach(),
            "terms": terms,
            "means": means,
            "y_pred": heads.flatten(0, -3),
        }

    def validation_step(self, batch, **fit_params):
        x, y = batch
        with torch.no_grad():
            return {"loss": None, "y_pred": self.infer(x)}

    def infer(self, x, **fit_params):
        """Logits (N, K, L) of a batch; by the average weights while training.

        Of rows that members have to themselves, what each says of its own, those of the
        first member first; of shared rows what the members say together.
        """
        if self.average_weights_ is not None and not self.module_.training:
            logits = functional_call(self.module_, self.average_weights_, (x["x"],))
        else:
            logits = self.module_(x["x"])
        if logits.ndim == 3:
            return logits
        own = x["x"].ndim == 3
        return logits.flatten(0, 1) if own else logit_of_mean_probability(logits)

    # -- one epoch ---------------------------------------------------------------

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run all batches and record the losses of the epoch in the history."""
        if iterator is None:
            return
        self._set_training(training)
        sums, n_seen, held_out = 0, 0, []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            # Callbacks, and the log-loss, see the rows of all members as one lot.
            x, y = batch
            batch = x, y.flatten(0, -2)
            n_rows = len(batch[1])
            if training:
                # In place: a new tensor a step, among large ones that come and go,
                # would keep the memory between from being used again.
                terms = n_rows * step["means"]
                sums = sums.add_(terms) if n_seen else terms
                n_seen += n_rows
            else:
                held_out.append(_held_out(batch, step))
            self.history.record_batch(f"{prefix}_batch_size", n_rows)
            self.notify("on_batch_end", batch=batch, training=training, **step)
            names = step.get("terms")
            del batch, x, y, step  # or they would stay until the next step is done
        if training:  # room for copies of the weights, which are as large
            self.optimizer_.zero_grad()
            means = (sums / n_seen).tolist()  # the one wait for the device
            losses = dict(zip(names, means, strict=True))
            # A term of what is no longer trained stays in the history, as NaN.
            before = self.history[-2] if len(self.history) > 1 else {}
            for name in before:
                if name.startswith("train_"):
                    self.history.record(name, float("nan"))
        else:
            losses = self._log_losses(held_out)
        for name, loss in losses.items():
            self.history.record(f"{prefix}_{name}", loss)
        # What skorch's Checkpoint goes by.
        so_far = [e[f"{prefix}_loss"] for e in self.history if f"{prefix}_loss" in e]
        self.history.record(f"{prefix}_loss_best", so_far[-1] == min(so_far))

    def _log_losses(self, steps):
        """The log-loss of the validation rows at the best scale of the logits.

        Of the heads together, and of each alone. What the heads said stays at hand for
        the callbacks, until the training ends.
        """
        parts = [list(part) for part in zip(*steps, strict=True)]
        steps.clear()
        self.held_out_ = HeldOut(*map(_rows, parts))
        loss, scale = self.held_out_.best_scale()
        alone = [(loss, scale)]
        if len(scale) > 1:
            heads = (slice(k, k + 1) for k in range(len(scale)))
            alone = [self.held_out_.best_scale(head) for head in heads]
        return {
            "loss": loss,
            "logit_scale": scale,
            "head_loss": [loss for loss, _ in alone],
            "head_scale": [scale for _, (scale,) in alone],
        }

    # -- the average of the weights ----------------------------------------------

    def on_train_begin(self, net, **kwargs):
        super().on_train_begin(net, **kwargs)
        self.compiled_ = CompiledLosses() if self.compile else None
        self.n_steps_ = 0
        if self.ema_decay:
            self.average_weights_ = _copy(self.module_.named_parameters())

    def on_train_end(self, net, **kwargs):
        super().on_train_end(net, **kwargs)
        if self.average_weights_ is not None:
            self.load_weights(self.average_weights_)
            self.average_weights_ = None
        self.held_out_ = None

    def current_weights(self, head=None):
        """A copy of the weights that a prediction would use now, by name.

        All of them, or those of one head.
        """
        weights = self._weights()
        if head is not None:
            head_of = self._head_of()
            weights = {name: w for name, w in weights.items() if head_of(name) == head}
        return _copy(weights.items())

    def _weights(self):
        return self.average_weights_ or dict(self.module_.named_parameters())

    def is_finite(self, dataset):
        """Whether all weights are numbers, and what they say of a batch of rows too."""
        x, _ = dataset.take(dataset.index[..., : self.batch_size])
        self._set_training(False)
        with torch.no_grad():
            numbers = [*self._weights().values(), self.infer(x)]
            # The extremes are NaN if any number is; isfinite of all would need memory.
            extremes = [torch.stack(part.aminmax()) for part in numbers]
        return bool(torch.cat(extremes).isfinite().all())

    def forget_steps(self):
        """Let the optimiser begin anew: its averages may not be numbers."""
        self.optimizer_.state.clear()

    def freeze(self, heads):
        """Train all heads but these."""
        head_of = self._head_of()
        for name, parameter in self.module_.named_parameters():
            parameter.requires_grad_(head_of(name) not in heads)

    @property
    def n_heads(self):
        """K, whose logits the module gives."""
        return len(set(map(self._head_of(), dict(self.module_.named_parameters()))))

    def _head_of(self):
        return getattr(self.module_, "head_of", lambda name: 0)

    def load_weights(self, weights):
        """Put weights, by name, into the module; the others stay."""
        parameters = dict(self.module_.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(weight)

    def _update_average(self):
        if self.average_weights_ is None:
            return
        # A shorter memory at first, so that the random start is soon forgotten.
        decay = min(self.ema_decay, self.n_steps_ / (self.n_steps_ + 2))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average_weights_.values()),
                # Those of the module; to walk through it takes longer than this sum.
                self.optimizer_.param_groups[0]["params"],
                1 - decay,
            )

    # -- prediction --------------------------------------------------------------

    def predict(self, X):
        """The labels of probability 1/2 or more, for skorch's scoring callbacks."""
        return (self.predict_proba(X) >= 0.5).astype(int)

    def apply(self, X, function):
        """A function of the features of a chunk, on all rows of ``X``.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features), float32
        function : callable
            Takes the features of a chunk, returns a tensor of as many rows.

        Returns
        -------
        ndarray of shape (n_samples, ...)
        """
        return np.concatenate(
            [part[:n_rows].cpu().numpy() for part, n_rows in self._chunks(X, function)]
        )

    def logits(self, X, calibration=None):
        """The logit of each label's probability, on all rows of ``X``.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features), float32
        calibration : Calibration, optional
            The plain average of the heads without.

        Returns
        -------
        ndarray of shape (n_samples, n_labels), float64
            The members of an ensemble are averaged by their probabilities.
        """
        return np.concatenate(list(self.logits_by_rows(X, calibration)))

    def logits_by_rows(self, X, calibration=None):
        """Yield what :meth:`logits` returns, so few rows at a time as memory wants."""
        for heads, n_rows in self._chunks(X, self.module_):
            size = max(1, BLOCK * Chunks.size // heads.numel())
            # Cut off last: results must not depend on how many rows are sent.
            for block in heads.split(size, dim=-3)[: math.ceil(n_rows / size)]:
                yield combined(block.double(), calibration)[:n_rows].cpu().numpy()
                n_rows -= size

    def _chunks(self, X, function):
        """Yield a function of the features of each chunk, and how many rows count."""
        self._set_training(False)
        n_rows = X.shape[0]
        for x, _ in Chunks(Rows(X, device=self.device)):
            with torch.inference_mode():
                part = function(x["x"])
            yield part, min(n_rows, Chunks.size)
            n_rows -= Chunks.size


def _mean_probabilities(logits):
    """Of the plain average of the heads: for skorch's callbacks, during training."""
    return torch.sigmoid(logits.mean(dim=1))


def _held_out(batch, step):
    """What is kept of a batch of validation rows: logits, labels, weights or None."""
    x, y = batch
    weight = x.get("sample_weight")
    return step["y_pred"], y.byte(), None if weight is None else weight.flatten()


def _rows(parts):
    """The rows of all parts in one array; a part is let go of when it is copied."""
    if parts[0] is None:
        return None
    end = sum(map(len, parts))
    rows = parts[0].new_empty(end, *parts[0].shape[1:], device="cpu")
    while parts:
        part = parts.pop()
        rows[end - len(part) : end] = part
        end -= len(part)
    return rows.numpy()


def _copy(named_tensors):
    return {name: tensor.detach().clone() for name, tensor in named_tensors}
