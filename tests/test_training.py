"""The training loop: averages, the best epoch, going on, devices."""

import copy
import weakref

import numpy as np
import pytest
import torch
from common import is_trained
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from skorch.callbacks import Callback
from test_calibration import best_by_search

from skcgmvae import CGMVAEClassifier
from skcgmvae._calibration import HeldOut
from skcgmvae._callbacks import KeepBest
from skcgmvae._devices import resolve_device
from skcgmvae._training import MultiLabelNet

TINY = {
    "n_members": 1,
    "latent_dim": 2,
    "embedding_dim": 4,
    "encoder_layer_sizes": (8,),
    "label_encoder_layer_sizes": (8,),
    "decoder_layer_sizes": (8,),
    # Network and linear path are to be at their best in different epochs.
    "quantile_features": False,
    "min_steps_per_epoch": 1,
    "batch_size": 16,
    "random_state": 0,
    "device": "cpu",
}


def data(n_rows=64):
    rng = np.random.RandomState(0)
    X = rng.randn(n_rows, 5)
    Y = (X @ rng.randn(5, 3) + rng.randn(n_rows, 3) > 0).astype(int)
    return X, Y


X, Y = data()


def copy_weights(net):
    return {name: p.detach().clone() for name, p in net.module_.named_parameters()}


def assert_same_weights(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], **tolerance)


# -- devices ---------------------------------------------------------------------


def test_devices_that_are_there():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    has_cuda = torch.cuda.is_available()
    assert resolve_device("auto").type == ("cuda" if has_cuda else "cpu")


@pytest.mark.parametrize("has_cuda", [True, False])
def test_auto_is_cuda_where_torch_has_it(monkeypatch, has_cuda):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert resolve_device("auto").type == ("cuda" if has_cuda else "cpu")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "cpu cpu"])
def test_unknown_device(device):
    message = f"device={device!r} is no device that torch knows; use 'auto'"
    with pytest.raises(ValueError, match=message):
        resolve_device(device)
    with pytest.raises(ValueError, match=message):
        CGMVAEClassifier(**TINY | {"device": device}).fit(X, Y)


def test_device_that_is_not_there():
    device = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=f"device='{device}' was asked for, but torch"):
        resolve_device(device)
    with pytest.raises(ValueError, match=r"Use device='auto' or 'cpu'"):
        CGMVAEClassifier(**TINY | {"device": device}).fit(X, Y)


# -- the average of the weights --------------------------------------------------


class Recorder(Callback):
    """Keeps the weights before training, after each step and after each epoch."""

    def __init__(self):
        self.steps, self.epochs = [], []

    def on_train_begin(self, net, **kwargs):
        self.start = copy_weights(net)

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.steps.append(copy_weights(net))

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(net.current_weights())


def recorded(**parameters):
    recorder = Recorder()
    clf = CGMVAEClassifier(**TINY | {"callbacks": [recorder]} | parameters)
    return clf.fit(X, Y), recorder


def test_rows_of_callbacks_are_put_where_the_network_is():
    net = MultiLabelNet(torch.nn.Identity, criterion=torch.nn.Identity, device="meta")
    rows = net.get_dataset(X.astype(np.float32), Y)
    assert rows.X.device == rows.y.device == torch.device("meta")


def test_young_average_weighs_each_step_by_its_number():
    """The short memory of the first steps is the same as weights 1, 2, ..., n + 1."""
    clf, recorder = recorded(early_stopping=False, max_iter=2, ema_decay=0.999, lr=0.05)
    past = [recorder.start, *recorder.steps]
    assert len(past) == 9
    expected = {
        name: sum((k + 1) * weights[name] for k, weights in enumerate(past)) / 45
        for name in recorder.start
    }
    assert_same_weights(copy_weights(clf.net_), expected)


def test_old_average_forgets_by_the_decay():
    clf, recorder = recorded(early_stopping=False, max_iter=5, ema_decay=0.5, lr=0.05)
    assert len(recorder.steps) == 20
    average = recorder.start
    for number, weights in enumerate(recorder.steps):
        decay = 0.5 if number > 0 else 1 / 3
        average = {
            name: decay * average[name] + (1 - decay) * weights[name]
            for name in average
        }
    assert_same_weights(copy_weights(clf.net_), average)
    # The last step alone would be something else.
    last = recorder.steps[-1]["label_embedding"]
    assert not torch.allclose(average["label_embedding"], last)


def test_without_decay_the_last_weights_are_kept():
    clf, recorder = recorded(early_stopping=False, max_iter=3, ema_decay=0.0, lr=0.05)
    assert_same_weights(copy_weights(clf.net_), recorder.steps[-1], rtol=0, atol=0)
    assert clf.best_epoch_ == clf.n_iter_ == 3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_average_is_what_is_validated(precision):
    """The log-loss in the history is the log-loss of the weights that would be kept."""
    held_out = {}

    class HoldOut(Callback):
        def on_train_begin(self, net, **kwargs):
            held_out["rows"] = net.train_split(None)[1]

    clf, _ = recorded(
        max_iter=1,
        ema_decay=0.9,
        lr=0.05,
        precision=precision,
        callbacks=[HoldOut()],
        batch_size=4,  # several of the rows that are held out, too
    )
    rows = held_out["rows"]
    x, y = rows.take(rows.index)
    with torch.no_grad():
        logits = clf.net_.module_.eval()(x["x"]).double().numpy()
    y = y.numpy().astype(float)
    expected = best_by_search(logits, y).x
    scale = clf.history_[-1, "valid_logit_scale"]
    np.testing.assert_allclose(scale, expected, rtol=0.02, atol=0.01)
    p = 1 / (1 + np.exp(-np.einsum("k,nkl->nl", scale, logits)))
    losses = [log_loss(y[:, i], p[:, i], labels=[0, 1]) for i in range(3)]
    assert clf.history_[-1, "valid_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    for head, loss in enumerate(clf.history_[-1, "valid_head_loss"]):
        (scale,) = best_by_search(logits[:, [head]], y).x
        found = clf.history_[-1, "valid_head_scale"][head]
        assert found == pytest.approx(scale, rel=0.02, abs=0.01)
        p = 1 / (1 + np.exp(-scale * logits[:, head]))
        losses = [log_loss(y[:, i], p[:, i], labels=[0, 1]) for i in range(3)]
        assert loss == pytest.approx(np.mean(losses), rel=1e-4)


# -- the best epoch --------------------------------------------------------------


def is_of_linear_path(name):
    return name.startswith("linear_path.")


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_each_head_gets_the_weights_of_its_own_best_epoch(ema_decay):
    clf, recorder = recorded(
        max_iter=60, lr=0.1, ema_decay=ema_decay, dropout=0.0, n_iter_no_change=5
    )
    losses = np.array(clf.history_[:, "valid_head_loss"])
    network, linear = losses.argmin(axis=0)
    assert network != linear
    assert max(network, linear) < len(losses) - 1
    assert clf.best_epoch_ == network + 1
    assert clf.n_iter_ == len(losses) == max(network, linear) + 6
    found = copy_weights(clf.net_)
    expected = {
        name: recorder.epochs[linear if is_of_linear_path(name) else network][name]
        for name in found
    }
    assert_same_weights(found, expected, rtol=0, atol=0)
    last = recorder.epochs[-1]
    assert not all(torch.equal(found[name], last[name]) for name in found)


def test_heads_are_calibrated_at_their_best():
    """By the weights that are kept, whenever each was the best."""
    held_out = {}

    class HoldOut(Callback):
        def on_train_begin(self, net, **kwargs):
            held_out["rows"] = net.train_split(None)[1]

    clf, _ = recorded(max_iter=40, lr=0.1, n_iter_no_change=5, callbacks=[HoldOut()])
    rows = held_out["rows"]
    x, y = rows.take(rows.index)
    with torch.no_grad():
        logits = clf.net_.module_.eval()(x["x"]).double().numpy()
    kept = HeldOut(logits, y.numpy(), None)
    # The rows of a single network that are held out are no training rows.
    others = np.setdiff1d(np.arange(len(Y)), rows.index)
    n_positive = Y[others].sum(axis=0)
    log_odds = np.log((n_positive + 0.5) / (len(others) - n_positive + 0.5))
    scale, shift = kept.calibration(log_odds)
    np.testing.assert_allclose(clf.logit_scale_, scale, rtol=1e-3)
    np.testing.assert_allclose(clf.logit_shift_, shift, rtol=1e-3, atol=1e-5)
    assert np.ptp(shift) > 1e-4


# Labels and weights of what is held out from it.
YES = np.ones((50, 1)), None
LOG_ODDS = np.array([0.5])


class ScriptedNet:
    """As much of a net as KeepBest needs; its weights are the number of the epoch.

    ``losses`` are those of each epoch: of one head, a list of several, or None.
    """

    lr = 0.1

    def __init__(self, keep_best, losses):
        self.history, self.stopped, self.loaded = [], False, None
        self.frozen = []
        keep_best.label_log_odds = LOG_ODDS
        keep_best.on_train_begin(self)
        for number, loss in enumerate(losses, start=1):
            keep_best.on_epoch_begin(self)
            epoch = {"epoch": number, "train_loss": 1.0}
            if loss is not None:
                alone = loss if isinstance(loss, list) else [loss]
                epoch |= {"valid_loss": sum(alone), "valid_head_loss": alone}
                # The more rows are right, the larger the best scale.
                right = (np.arange(50) < 30 + number).astype(float)[:, None]
                logits = np.where(right, 1.0, -1.0)[:, None].repeat(len(alone), axis=1)
                self.held_out_ = HeldOut(logits, *YES)
            self.history.append(epoch)
            keep_best.on_batch_end(self, training=True, loss=1.0)
            keep_best.on_epoch_end(self)
            if self.stopped:
                break
        keep_best.on_train_end(self)

    def request_stop(self):
        self.stopped = True

    def freeze(self, heads):
        self.frozen.append(heads)

    def is_finite(self, dataset):
        return True

    def current_weights(self, head=None):
        heads = [0, 1] if head is None else [head]
        return {f"weight of head {head}": len(self.history) for head in heads}

    def load_weights(self, weights):
        self.loaded = list(weights.values())


@pytest.mark.parametrize(
    ("losses", "patience", "tol", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1], 2, 0.0, 5, 5),
        ([5, 4, 6, 6, 1], 2, 0.0, 4, 2),
        ([5, 4, 6, 3, 6, 6, 1], 2, 0.0, 6, 4),
        ([5, 5, 5, 5], 3, 0.0, 4, 1),
        # Too small a gain counts as none, but the better weights are kept.
        ([5, 4.9, 4.8, 1], 2, 0.5, 3, 3),
        ([5, 4.9, 4, 3.9, 1], 2, 0.5, 5, 5),
    ],
)
def test_patience(losses, patience, tol, epochs, best):
    keep_best = KeepBest(patience, tol).initialize()
    net = ScriptedNet(keep_best, losses)
    assert len(net.history) == epochs
    assert net.loaded == [keep_best.best_epoch_] == [best]
    kept = HeldOut(np.where(np.arange(50) < 30 + best, 1.0, -1.0)[:, None, None], *YES)
    found = keep_best.best_calibration_
    for ours, theirs in zip(found, kept.calibration(LOG_ODDS), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("losses", "epochs", "best"),
    [
        ([[5, 1], [5, 2], [4, 2], [4, 2], [3, 2], [3, 2], [3, 2], [1, 1]], 7, [5, 1]),
        ([[1, 5], [2, 5], [2, 4], [2, 4], [2, 4], [0, 0]], 5, [1, 3]),
        ([[5, 5], [4, 6], [6, 4], [6, 6], [6, 6], [1, 1]], 5, [2, 3]),
    ],
)
def test_training_ends_when_no_head_improves(losses, epochs, best):
    keep_best = KeepBest(2, 0.0).initialize()
    net = ScriptedNet(keep_best, losses)
    assert len(net.history) == epochs
    assert net.loaded == best
    assert keep_best.best_epoch_ == best[0]


def test_a_head_that_was_stopped_is_frozen_and_stays_as_it_was():
    keep_best = KeepBest(2, 0.0).initialize()
    net = ScriptedNet(keep_best, [[5, 9], [6, 8], [6, 7], [1, 6], [1, 8], [1, 8]])
    assert net.frozen == [[], [], [], [0], [0], [0], []]
    assert net.loaded == [1, 4]


def test_a_frozen_head_has_neither_steps_nor_losses():
    clf, recorder = recorded(max_iter=60, lr=0.1, dropout=0.0, n_iter_no_change=5)
    losses = np.array(clf.history_[:, "valid_head_loss"])
    stopped = losses.argmin(axis=0) + 6  # after so many epochs
    first = stopped.argmin()
    assert stopped.min() < stopped.max() == clf.n_iter_
    n_steps = len(recorder.steps) // clf.n_iter_
    then, last = recorder.steps[n_steps * stopped.min() - 1], recorder.steps[-1]
    for name, weight in filter(lambda item: is_trained(item[0]), then.items()):
        is_frozen = is_of_linear_path(name) == first
        assert torch.equal(weight, last[name]) == is_frozen
    for head, term in enumerate(["train_cross_entropy", "train_linear"]):
        has_losses = np.isfinite(clf.history_[:, term])
        assert has_losses.tolist() == [n < stopped[head] for n in range(clf.n_iter_)]
    assert all(weight.requires_grad for weight in clf.net_.module_.parameters())


def test_without_validation_the_last_epoch_and_the_calibration_so_far_are_kept():
    keep_best = KeepBest(1, 0.0).initialize()
    assert ScriptedNet(keep_best, [None, None, None]).loaded == [3, 3]
    assert keep_best.best_calibration_ is None
    ScriptedNet(keep_best, [2, 1])
    calibration = keep_best.best_calibration_
    assert ScriptedNet(keep_best, [None, None, None, None]).loaded == [4, 4]
    assert keep_best.best_calibration_ is calibration is not None


def test_neither_weights_nor_held_out_rows_are_kept_twice():
    clf, _ = recorded(max_iter=2)
    keep_best = dict(clf.net_.callbacks_)["keep_best"]
    assert keep_best.best_weights_ is keep_best.held_out_ is None
    assert clf.net_.average_weights_ is clf.net_.held_out_ is None


def test_gradients_are_gone_when_weights_are_copied():
    """Of a wide layer there is no room for both."""
    seen = []

    class Look(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.extend(weight.grad for weight in net.module_.parameters())

    recorded(max_iter=2, callbacks=[Look()])
    assert seen
    assert all(gradient is None for gradient in seen)


def test_a_step_is_gone_when_the_next_begins():
    kept, left = [], []

    class Look(Callback):
        def on_batch_begin(self, net, **kwargs):
            left.extend(ref() is not None for ref in kept)
            kept.clear()

        def on_batch_end(self, net, batch, y_pred, **kwargs):
            kept.extend(map(weakref.ref, (batch[0]["x"], batch[1], y_pred)))

    CGMVAEClassifier(**TINY, max_iter=2, callbacks=[Look()]).fit(X, Y)
    assert left and not any(left)


# -- going on --------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [True, False])
def test_partial_fit_goes_on_from_a_fit_and_from_nothing(early_stopping):
    clf = CGMVAEClassifier(**TINY, max_iter=2, early_stopping=early_stopping)
    fresh = copy.deepcopy(clf).partial_fit(X, Y)
    assert fresh.n_iter_ == 1
    clf.fit(X, Y)
    before = clf.predict_proba(X)
    clf.partial_fit(X, Y)
    assert clf.n_iter_ == 3
    assert np.abs(clf.predict_proba(X) - before).max() > 0


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_interruption_in_the_first_epoch_keeps_the_weights_so_far(ema_decay):
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history[-1, "batches"]) == 3:
                self.weights = net.current_weights()
                raise KeyboardInterrupt

    interrupt = Interrupt()
    clf = CGMVAEClassifier(**TINY, ema_decay=ema_decay, callbacks=[interrupt])
    with pytest.warns(ConvergenceWarning, match="interrupted in epoch 1"):
        clf.fit(X, Y)
    assert (clf.n_iter_, clf.best_epoch_, clf.logit_scale_) == (0, None, None)
    kept = copy_weights(clf.net_)
    for weights in (kept, interrupt.weights):  # the penalty is its own again
        del weights["linear_path.log_factor"]
    assert_same_weights(kept, interrupt.weights, rtol=0, atol=0)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_history_holds_the_terms_and_no_batches():
    clf, _ = recorded(
        max_iter=2, reconstruction="gaussian", kl_weight=1e-3, alpha=1.0, beta=1.0
    )
    epoch = clf.history_[-1]
    others = ("recon", "contrastive", "cross_entropy", "linear")
    total = 1e-3 * epoch["train_kl"] + sum(epoch[f"train_{name}"] for name in others)
    assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)
    assert all(epoch["batches"] == [] for epoch in clf.history_)
