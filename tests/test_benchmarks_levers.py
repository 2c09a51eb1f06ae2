"""What the accuracy benchmark measures that C-GMVAE has no parameter for."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import make_multilabel_classification
from skorch.callbacks import Callback

from benchmarks.accuracy.levers import (
    AsymmetricLoss,
    FreeBits,
    KLWarmUp,
    LabelSmoothing,
    cosine_schedule,
)
from benchmarks.accuracy.models import MODELS, cgmvae
from skcgmvae._losses import CGMVAELoss

SHORT = {"max_iter": 2, "min_steps_per_epoch": 1, "early_stopping": False}


@pytest.fixture(scope="module")
def data():
    return make_multilabel_classification(60, 5, n_classes=3, random_state=0)


@pytest.mark.parametrize(
    "name",
    [
        "labels drawn to a half",
        "asymmetric loss",
        "free bits",
        "KL warm-up",
        "cosine over 20 epochs",
    ],
)
def test_each_changes_what_is_learnt(name, data):
    plain = cgmvae(data[0], 0, **SHORT).fit(*data)
    model = MODELS[f"C-GMVAE, {name}"](data[0], 0)
    changed = model.set_params(**SHORT).fit(*data)
    assert not np.array_equal(
        changed.predict_proba(data[0]), plain.predict_proba(data[0])
    )


@pytest.mark.parametrize("loss", [LabelSmoothing, AsymmetricLoss, FreeBits])
def test_another_loss_leaves_the_linear_path_alone(loss, data):
    parts = [
        cgmvae(data[0], 0, loss=each, kl_weight=1.0, **SHORT).fit(*data).net_.module_
        for each in (None, loss)
    ]
    for path in zip(*(part.linear_path.parameters() for part in parts), strict=True):
        torch.testing.assert_close(*path, rtol=0, atol=0)
    encoders = (part.feature_encoder.head.linear.weight for part in parts)
    assert not torch.equal(*encoders)


@pytest.fixture
def output():
    """Some logits, and labels, as a loss is given them."""
    logits = 2 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]]).float()
    return SimpleNamespace(logits=logits.double(), sample=None), y.double()


def test_smooth_labels_are_flipped_half_as_often_as_that(output):
    loss = LabelSmoothing()._cross_entropy(*output)
    # In expectation, if each label of the first row is the other with probability .05.
    expected = 0.0
    for logit, label in zip(output[0].logits[0], (1, 0, 0), strict=True):
        p = 1 / (1 + math.exp(-logit))
        right, wrong = (p, 1 - p) if label else (1 - p, p)
        expected -= 0.95 * math.log(right) + 0.05 * math.log(wrong)
    assert float(loss[0]) == pytest.approx(expected)


def test_the_asymmetric_loss_label_by_label(output, monkeypatch):
    loss = AsymmetricLoss()._cross_entropy(*output)
    logits, y = output[0].logits, output[1]
    for i in range(4):
        expected = 0.0
        for logit, label in zip(logits[i].tolist(), y[i].tolist(), strict=True):
            p = 1 / (1 + math.exp(-logit))
            if label:
                expected -= math.log(p)
            elif p > 0.05:
                expected -= (p - 0.05) ** 4 * math.log(1 - (p - 0.05))
        assert float(loss[i]) == pytest.approx(expected)
    # Without focus and margin it is the cross-entropy.
    monkeypatch.setattr(AsymmetricLoss, "FOCUS", 0)
    monkeypatch.setattr(AsymmetricLoss, "MARGIN", 0.0)
    plain = CGMVAELoss()._cross_entropy(*output)
    torch.testing.assert_close(AsymmetricLoss()._cross_entropy(*output), plain)


def test_free_bits_are_free_of_a_batch_and_no_more():
    # Two members with two rows each. The KL is half the squared norms of the means: in
    # the mean over the rows of the first member below the two nats of two dimensions.
    mean = torch.tensor([[[0.1, 0.2], [1.0, 2.0]], [[0.1, 0.2], [3.0, 4.0]]])
    mean.requires_grad_()
    output = SimpleNamespace(mean=mean, log_variance=torch.zeros(2, 2, 2))
    loss = FreeBits(prior="gaussian")._kl(output, None)
    assert loss.flatten().tolist() == pytest.approx([2.0, 2.0, 0.025, 12.5])
    loss.sum().backward()
    expected = mean.detach().clone()
    expected[0] = 0
    torch.testing.assert_close(mean.grad, expected)


class Watch(Callback):
    """The weight of the KL term in each epoch."""

    def initialize(self):
        self.weights_ = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.weights_.append(net.criterion_.weights["kl"])


def test_the_kl_term_warms_up(data):
    model = cgmvae(data[0], 0, **SHORT | {"max_iter": 7}, kl_weight=0.5)
    model.set_params(callbacks=[KLWarmUp(), ("watch", Watch())]).fit(*data)
    weights = dict(model.net_.callbacks_)["watch"].weights_
    assert weights == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])


class Penalty(Callback):
    """How many times its own the penalty of the linear path is in each step."""

    def initialize(self):
        self.seen = []
        return self

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.seen.append(float(net.module_.linear_path.penalty_factor[0]))


def test_a_constant_penalty_does_not_fall(data):
    def penalties(model):
        watch = Penalty()
        model.set_params(max_iter=1, callbacks=[*(model.callbacks or []), watch])
        model.fit(*data)
        return watch.seen

    falling = penalties(cgmvae(data[0], 0))
    name = "C-GMVAE, equal costs, constant penalty"
    constant = penalties(MODELS[name](None, 0))
    assert falling[0] == pytest.approx(100) and falling[-1] == 1
    assert constant == [1] * len(falling)


def test_all_weights_cost_the_same(data):
    X, Y = data
    X = X > np.quantile(X, 0.8)
    usual, equal = (
        MODELS[name](X, 0).set_params(**SHORT).fit(X, Y)
        for name in ("C-GMVAE", "C-GMVAE, equal costs")
    )
    assert (equal.net_.module_.linear_path.feature_cost == 1).all()
    assert (usual.net_.module_.linear_path.feature_cost != 1).any()
    assert (usual.predict_proba(X) != equal.predict_proba(X)).any()


def test_the_learning_rate_falls_along_a_cosine(data):
    model = cgmvae(data[0], 0, **SHORT | cosine_schedule(4), lr=0.01).fit(*data)
    expected = [0.005 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]
    assert model.history_[:, "event_lr"] == pytest.approx(expected)
