"""Training that diverges, or fails: what is left is finite, and was there before."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from test_training import TINY, Recorder, X, Y, assert_same_weights, copy_weights

from skcgmvae import CGMVAEClassifier
from skcgmvae._losses import CGMVAELoss


def all_finite(clf):
    return all(torch.isfinite(p).all() for p in clf.net_.module_.parameters())


# Far outside of what was trained on, as far as scaling lets through.
ROWS = np.concatenate([X, 1e300 * X])


def assert_usable(clf):
    assert all_finite(clf)
    assert np.isfinite(clf.decision_function(ROWS)).all()
    p = clf.predict_proba(ROWS)
    assert ((p > 0) & (p < 1)).all()


def diverging(step, kind="loss"):
    """A classifier whose ``kind`` is not finite from training step ``step`` on."""

    class Loss(CGMVAELoss):
        n_steps = 0

        def forward(self, output, y):
            terms = super().forward(output, y)
            self.n_steps += 1
            if self.n_steps < step:
                return terms
            if kind == "gradient":
                # The root of zero: its value is 0 and its slope infinite.
                zero = output.mean.sum() - output.mean.sum()
                return terms | {"loss": terms["loss"] + torch.sqrt(zero.abs())}
            return terms | {"loss": terms["loss"] * math.nan}

    class Diverging(CGMVAEClassifier):
        _criterion_class = Loss

    return Diverging(**TINY, max_iter=8, lr=0.05)


STEPS_PER_EPOCH = 4


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_divergence_keeps_the_weights_of_the_best_epoch(early_stopping, ema_decay):
    recorder = Recorder()
    clf = diverging(2 * STEPS_PER_EPOCH + 3).set_params(
        early_stopping=early_stopping, ema_decay=ema_decay, callbacks=[recorder]
    )
    with pytest.warns(
        ConvergenceWarning, match=r"diverged in epoch 3.*lr \(it is 0.05"
    ):
        clf.fit(X, Y)
    assert clf.n_iter_ == 3
    assert clf.best_epoch_ <= 2
    assert not math.isfinite(clf.history_[-1, "train_loss"])
    assert all_finite(clf)
    best = [clf.best_epoch_ - 1] * 2
    if early_stopping:  # by itself, of the linear path too
        best[1] = np.argmin(clf.history_[:2, "valid_head_loss"], axis=0)[1]
    kept = {
        name: recorder.epochs[best[clf.net_.module_.head_of(name)]][name]
        for name in recorder.epochs[0]
    }
    assert_same_weights(copy_weights(clf.net_), kept, rtol=0, atol=0)
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize("early_stopping", [True, False])
def test_divergence_in_the_first_epoch_is_an_error(early_stopping):
    clf = diverging(2).set_params(early_stopping=early_stopping)
    with pytest.raises(ValueError, match=r"diverged in epoch 1.*Lower lr \(it is 0.05"):
        clf.fit(X, Y)
    assert not hasattr(clf, "net_")


class RaiseRate(Callback):
    """Multiplies the learning rate when an epoch begins."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            net.optimizer_.param_groups[0]["lr"] = 100.0


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_loss_that_explodes_is_noticed_while_it_is_finite(early_stopping, same_fall):
    shape = {"max_iter": 6, "lr": 0.01, "early_stopping": early_stopping}
    clf = CGMVAEClassifier(**TINY, **shape, callbacks=[RaiseRate(3)])
    with pytest.warns(ConvergenceWarning, match=r"in epoch 3: the loss rose from \d"):
        clf.fit(X, Y)
    assert math.isfinite(clf.history_[-1, "train_loss"])
    assert clf.n_iter_ == 3 and clf.best_epoch_ <= 2
    before = CGMVAEClassifier(**TINY, **shape | {"max_iter": 2}).fit(X, Y)
    np.testing.assert_array_equal(clf.predict_proba(X), before.predict_proba(X))
    clf.set_params(callbacks=[RaiseRate(1)])
    with pytest.raises(ValueError, match=r"in epoch 1: the loss rose .* Lower lr"):
        clf.fit(X, Y)


@pytest.mark.parametrize("weight", [{"alpha": 1e4}, {"temperature": 1e-3}, {"lr": 0.1}])
def test_a_loss_that_is_large_from_the_start_is_none_that_explodes(weight):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CGMVAEClassifier(**TINY | weight, max_iter=5).fit(X, Y)


def fit_or_refuse(clf, method="fit"):
    """True if the fit warned of divergence or refused; the model if not refused."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            getattr(clf, method)(X, Y)
        except ValueError as error:
            assert "diverged" in str(error)
            return True, None
    return any("diverged" in str(w.message) for w in caught), clf


@pytest.mark.parametrize("max_iter", [2, 8])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_weights_lost_in_the_last_step_of_an_epoch_are_noticed(
    early_stopping, max_iter
):
    """The loss of the step is finite still; its gradient is not."""
    clf = diverging(2 * STEPS_PER_EPOCH, kind="gradient")
    clf.set_params(early_stopping=early_stopping, max_iter=max_iter)
    noticed, model = fit_or_refuse(clf)
    assert noticed
    assert model is not None  # epoch 1 was fine
    assert all_finite(model)


class Spoil(Callback):
    """Lets a weight that no prediction goes through be lost in the second epoch."""

    def on_batch_end(self, net, training, **kwargs):
        if training and len(net.history) == 2:
            net.module_.label_encoder.head.linear.bias.data[0] = math.inf


@pytest.mark.parametrize("early_stopping", [True, False])
def test_weights_that_predictions_do_not_need_are_looked_at(early_stopping):
    clf = CGMVAEClassifier(
        **TINY | {"batch_size": 64},  # one step: no loss has met the weight yet
        max_iter=2,
        lr=0.05,
        early_stopping=early_stopping,
        ema_decay=0.0,
        callbacks=[Spoil()],
    )
    with pytest.warns(ConvergenceWarning, match="weights of epoch 1 are kept"):
        clf.fit(X, Y)
    assert all_finite(clf)
    assert np.isfinite(clf.label_means_).all()


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("max_iter", [1, 5])
def test_absurd_learning_rate_never_ends_in_nan(early_stopping, max_iter):
    clf = CGMVAEClassifier(
        **TINY | {"batch_size": 64},
        lr=1e30,
        ema_decay=0.0,
        max_iter=max_iter,
        early_stopping=early_stopping,
    )
    noticed, model = fit_or_refuse(clf)
    assert noticed
    assert model is None or np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize("again", ["partial_fit", "fit"])
def test_model_survives_later_training_that_diverges(again):
    clf = diverging(STEPS_PER_EPOCH * 2 + 1).set_params(
        early_stopping=False, max_iter=2, warm_start=True
    )
    before = clf.fit(X, Y).predict_proba(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            getattr(clf, again)(X, Y)
        except ValueError as error:
            assert "diverged" in str(error)
    assert all_finite(clf)
    np.testing.assert_allclose(clf.predict_proba(X), before)


# -- extreme parameters ----------------------------------------------------------

# And whether they must be noticed, not only survived.
EXTREMES = {
    "lr=10": ({"lr": 10}, True),
    "lr=1e3": ({"lr": 1e3}, True),
    "lr=1e30": ({"lr": 1e30}, True),
    "lr=1e300": ({"lr": 1e300}, True),
    "alpha=1e4": ({"alpha": 1e4}, False),
    "alpha=1e30": ({"alpha": 1e30}, False),
    "alpha=1e300": ({"alpha": 1e300}, True),
    "beta=1e30": ({"beta": 1e30}, False),
    "kl_weight=1e30": ({"kl_weight": 1e30}, False),
    "kl_weight=1e300": ({"kl_weight": 1e300}, True),
    "recon_weight=1e30": ({"reconstruction": "gaussian", "recon_weight": 1e30}, False),
    "temperature=1e-3": ({"temperature": 1e-3}, False),
    "temperature=1e-30": ({"temperature": 1e-30}, False),
    "temperature=1e-300": ({"temperature": 1e-300}, True),
    "linear_penalty=1e30": ({"linear_penalty": 1e30}, False),
    "linear_penalty=1e300": ({"linear_penalty": 1e300}, True),
    "weight_decay=1e4": ({"weight_decay": 1e4}, True),
    "weight_decay=1e30": ({"weight_decay": 1e30}, True),
}


def extreme(name, **parameters):
    """A classifier with an extreme parameter, and whether it cannot but diverge."""
    parameter, must_be_noticed = EXTREMES[name]
    shape = TINY | {"min_steps_per_epoch": 24, "lr": 0.05, "max_iter": 2} | parameters
    return CGMVAEClassifier(**shape | parameter), must_be_noticed


@pytest.mark.parametrize("ema_decay", [0.0, 0.998])
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_parameters(name, early_stopping, ema_decay):
    clf, must_be_noticed = extreme(
        name, early_stopping=early_stopping, ema_decay=ema_decay
    )
    noticed, model = fit_or_refuse(clf)
    assert noticed or not must_be_noticed
    if model is not None:
        assert_usable(model)


@pytest.mark.parametrize("ema_decay", [0.0, 0.998])
@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_parameters_in_parts(name, ema_decay):
    clf, must_be_noticed = extreme(name, ema_decay=ema_decay)
    noticed = False
    for _ in range(8):
        now, model = fit_or_refuse(clf, "partial_fit")
        noticed |= now
        if model is not None:
            assert_usable(model)
    assert noticed or not must_be_noticed


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("heavy", [slice(3), slice(None)])
def test_weights_of_a_million(heavy, early_stopping, n_members):
    sample_weight = np.ones(len(X))
    sample_weight[heavy] = 1e6
    clf = CGMVAEClassifier(
        **TINY | {"n_members": n_members}, max_iter=3, early_stopping=early_stopping
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.fit(X, Y, sample_weight)
    assert_usable(clf)


# -- going on after it -----------------------------------------------------------


@pytest.mark.parametrize("again", ["fit", "partial_fit"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("extreme", [{"lr": 1e30}, {"weight_decay": 1e30}])
def test_training_goes_on_with_milder_parameters(
    extreme, early_stopping, ema_decay, again
):
    clf = CGMVAEClassifier(
        **TINY,
        lr=0.05,
        max_iter=2,
        warm_start=True,
        early_stopping=early_stopping,
        ema_decay=ema_decay,
    )
    before = clf.fit(X, Y).predict_proba(ROWS)
    kept = clf.best_epoch_
    message = f"weights of epoch {kept} are kept"
    for _ in range(2):
        with pytest.warns(ConvergenceWarning, match=message):
            getattr(clf.set_params(**extreme), again)(X, Y)
        assert clf.best_epoch_ == kept
        np.testing.assert_array_equal(clf.predict_proba(ROWS), before)
    clf.set_params(lr=0.05, weight_decay=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(clf, again)(X, Y)
    assert_usable(clf)
    assert np.abs(clf.predict_proba(X) - before[: len(X)]).max() > 1e-4


# -- errors in training ----------------------------------------------------------


class Failing(Callback):
    """Raises after a step, once it is told to."""

    fails = False

    def on_batch_end(self, net, training, **kwargs):
        if self.fails and training:
            raise MemoryError("no more")


@pytest.mark.parametrize("again", ["fit", "partial_fit"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_an_error_leaves_the_model_as_it_was(
    early_stopping, ema_decay, again, monkeypatch
):
    clf = CGMVAEClassifier(
        **TINY,
        lr=0.05,
        max_iter=2,
        warm_start=True,
        early_stopping=early_stopping,
        ema_decay=ema_decay,
        callbacks=[Failing()],
        verbose=1,
    ).fit(X, Y)
    before, weights = clf.predict_proba(X), copy_weights(clf.net_)
    size = len(pickle.dumps(clf))
    monkeypatch.setattr(Failing, "fails", True)
    with pytest.raises(MemoryError, match="no more"):
        getattr(clf, again)(np.tile(X, (100, 1)), np.tile(Y, (100, 1)))
    assert_same_weights(copy_weights(clf.net_), weights, rtol=0, atol=0)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert len(clf.history_) == clf.n_iter_ == 2
    # Neither the rows nor an open progress bar are kept.
    assert len(pickle.dumps(clf)) <= size
    monkeypatch.setattr(Failing, "fails", False)
    getattr(clf, again)(X, Y)
    assert clf.n_iter_ == len(clf.history_) > 2
    assert_usable(clf)
