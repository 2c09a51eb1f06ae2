"""The linear path: a ridge regression a label, of continuous features in bins."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import DEVICE, SMALL, as_sparse, small
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from skorch.callbacks import Callback
from torch.nn import functional as F

from skcgmvae import CGMVAEClassifier
from skcgmvae._label_sample import LabelSample
from skcgmvae._linear_path import (
    LINEAR_SPEED,
    MOST_BINS,
    LinearPath,
    PiecewiseLinearEncoding,
)

assert_close = torch.testing.assert_close

D, L, B, T = 5, 3, 40, 4
CONTINUOUS = torch.tensor([0, 2, 4])


def make(seed=0, **options):
    """A path in float64 with weights that are not zero."""
    torch.manual_seed(seed)
    options = {"penalty": 0.01, "continuous": CONTINUOUS, "n_bins": T} | options
    path = LinearPath(D, L, **options).double()
    for weight in (path.weight, path.bias, path.bin_weight):
        if weight is not None:
            torch.nn.init.normal_(weight)
    return path


def rows(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def encoded(x, n_bins):
    """The definition, number by number, by SciPy's quantiles and NumPy's lines."""
    edges = np.clip(norm.ppf(np.arange(n_bins + 1) / n_bins), -2.5, 2.5)
    return np.array(
        [
            [
                np.interp(score, edges[t : t + 2], [-0.5, 0.5])
                for score in row
                for t in range(n_bins)
            ]
            for row in x
        ]
    )


# -- the encoding ----------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6), st.integers(1, MOST_BINS)
)
def test_the_encoding_is_what_its_definition_says(scores, n_bins):
    x = torch.tensor([scores])
    found = PiecewiseLinearEncoding(n_bins)(x)
    np.testing.assert_allclose(found, encoded(x.numpy(), n_bins), atol=2e-5)


def test_bins_are_equally_probable():
    """Where a score lies is its rank in the normal distribution, to within a bin."""
    scores = torch.from_numpy(norm.ppf(np.linspace(0.01, 0.99, 99))[:, None])
    passed = PiecewiseLinearEncoding(10).double()(scores).add(0.5).sum(dim=1) / 10
    np.testing.assert_allclose(passed, np.linspace(0.01, 0.99, 99), atol=0.03)


# -- the path --------------------------------------------------------------------


@pytest.mark.parametrize("members, own", [((), False), ((2,), False), ((2,), True)])
def test_logits_are_linear_in_features_and_encoding(members, own):
    path = make(members=members)
    x = rows(*(members if own else ()), B, D)
    found = path(x)
    for m in range(len(found) if members else 1):
        one = x[m] if own and members else x
        weight, bins, bias = (
            p.detach().numpy() if not members else p[m].detach().numpy()
            for p in (path.weight, path.bin_weight, path.bias)
        )
        expected = one.numpy() @ weight + bias
        expected = expected + encoded(one[:, CONTINUOUS].numpy(), T) @ bins
        logits = found[m] if members else found
        np.testing.assert_allclose(
            logits.detach(), LINEAR_SPEED * expected, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("members, own", [((), False), ((2,), False), ((2,), True)])
@pytest.mark.parametrize("centred", [False, True])
def test_dense_and_sparse_rows_have_the_same_logits(members, own, centred):
    offset = rows(D, seed=2) if centred else None
    path = make(members=members, offset=offset)
    x = rows(*(members if own else ()), B, D)
    x = torch.where(x.abs() < 0.5, 0.0, x)
    assert_close(path(as_sparse(x)), path(x - offset if centred else x))


@pytest.mark.parametrize("cost", [None, (0.2, 1.0, 5.0, 1.0, 0.5)])
def test_all_rows_at_once_give_the_ridge_regression_of_scikit_learn(cost):
    """Of features divided by the root of their cost, which comes to that cost."""
    rng = np.random.RandomState(0)
    x = rng.randn(200, D)
    bumps = np.abs(x[:, CONTINUOUS]) @ rng.randn(len(CONTINUOUS), L)
    y = (bumps - bumps.mean(axis=0) + 0.3 * rng.randn(200, L) > 0).astype(float)
    feature_cost = None if cost is None else torch.tensor(cost)
    path = make(penalty=1 / (2 * len(x)), feature_cost=feature_cost)
    for weight in path.parameters():
        torch.nn.init.zeros_(weight)
    optimizer = torch.optim.LBFGS(
        path.parameters(), max_iter=1000, line_search_fn="strong_wolfe"
    )
    x_tensor, y_tensor = torch.from_numpy(x), torch.from_numpy(y)

    def closure():
        optimizer.zero_grad()
        logits, penalty = path.training_output(x_tensor)
        entropy = F.binary_cross_entropy_with_logits(logits, y_tensor, reduction="none")
        loss = entropy.sum(dim=1).mean() + penalty.squeeze()
        loss.backward()
        return loss

    optimizer.step(closure)
    root = np.ones(D) if cost is None else np.sqrt(cost)
    design = np.hstack([x / root, encoded(x[:, CONTINUOUS], T)])
    found = LINEAR_SPEED * torch.cat([path.weight, path.bin_weight]).detach().numpy()
    found[:D] *= root[:, None]
    for label in range(L):
        reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000)
        reference.fit(design, y[:, label])
        np.testing.assert_allclose(found[:, label], reference.coef_[0], atol=2e-3)


@pytest.mark.parametrize("members", [(), (2,)])
def test_some_labels_have_their_own_logits_and_stand_for_others_in_the_penalty(members):
    cost = torch.tensor([0.2, 1.0, 5.0, 1.0, 0.5])
    path, x = make(members=members, feature_cost=cost), rows(*members, B, D)
    labels, weight = torch.tensor([2, 0]), torch.tensor([1.0, 2.5]).double()
    logits, penalty = path.training_output(x, LabelSample(labels, weight, L))
    assert_close(logits, path(x)[..., labels])
    costly = path.weight * path.feature_cost.sqrt()[:, None]
    squares = sum(w.square().sum(dim=-2) for w in (costly, path.bin_weight))
    expected = 0.01 * LINEAR_SPEED**2 * (squares[..., 2] + 2.5 * squares[..., 0])
    assert_close(penalty, expected[..., None])
    _, whole = path.training_output(x)
    expected = 0.01 * LINEAR_SPEED**2 * squares.sum(dim=-1)
    assert_close(whole, expected[..., None])


@pytest.mark.parametrize("members", [(), (2,)])
@pytest.mark.parametrize("some", [False, True])
def test_a_lower_precision_leaves_the_penalty_as_it_is(members, some):
    weight = torch.tensor([1.0, 16.36])
    sample = LabelSample(torch.tensor([2, 0]), weight, L) if some else None
    path, x = make(members=members).float(), rows(*members, B, D).float()

    def penalty_and_gradient():
        path.zero_grad()
        _, penalty = path.training_output(x, sample)
        penalty.sum().backward()
        return penalty.detach(), path.weight.grad.clone()

    expected = penalty_and_gradient()
    with torch.autocast("cpu", torch.bfloat16):
        found = penalty_and_gradient()
    assert_close(found, expected)


def test_a_multiple_of_the_penalty_is_of_the_penalty_given():
    path, x = make(), rows(B, D)
    _, once = path.training_output(x)
    for factor in (3.0, 5.0, 1.0):
        path.multiply_penalty(factor)
        _, found = path.training_output(x)
        assert_close(found, factor * once)


def test_without_continuous_features_or_bins_it_is_linear():
    for options in ({"continuous": None}, {"n_bins": 0}):
        path = make(**options)
        x = rows(B, D)
        assert path.bin_weight is None
        assert_close(path(x), LINEAR_SPEED * (x @ path.weight + path.bias))


def test_bins_are_left_out_by_themselves_where_they_would_be_many():
    for n_continuous, n_labels, expected in (
        (32, 1024, (256, 1024)),  # 262,144 weights
        (32, 1025, None),
        (512, 4, (4096, 4)),  # 4,096 numbers a row
        (513, 4, None),
    ):
        continuous = torch.arange(n_continuous)
        path = LinearPath(n_continuous, n_labels, penalty=0.0, continuous=continuous)
        found = None if path.bin_weight is None else tuple(path.bin_weight.shape)
        assert found == expected
    path = LinearPath(32, 1025, penalty=0.0, continuous=torch.arange(32), n_bins=8)
    assert path.bin_weight.shape == (256, 1025)


# -- in the estimator ------------------------------------------------------------


@pytest.fixture(scope="module")
def bumps():
    """A label that is set in the middle of one feature: linear in no feature."""
    rng = np.random.RandomState(0)
    X = rng.randn(600, 4) + 3  # no zeros: all have ranks
    return X, (np.abs(X[:, :2] - 3) < 0.67).astype(int)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_a_linear_path_with_bins_learns_what_is_not_linear(bumps, form):
    X, Y = bumps
    X = form(X)
    accuracy = {}
    for n_bins in (0, "auto"):
        clf = small(n_bins=n_bins, max_iter=10, min_steps_per_epoch=50, lr=0.01)
        clf.fit(X[:400], Y[:400])
        clf.logit_scale_ = np.array([[0.0], [1.0]])  # of the linear path alone
        clf.logit_shift_ = np.zeros(2)
        accuracy[n_bins] = (clf.predict(X[400:]) == Y[400:]).mean()
    assert accuracy[0] < 0.65
    assert accuracy["auto"] > 0.85


class Watch(Callback):
    """How many times its own the penalty is in each step."""

    def initialize(self):
        self.steps = []
        return self

    def on_batch_end(self, net, training, **kwargs):
        if not training:
            return
        path = net.module_.linear_path
        squares = sum(
            path.get_parameter(name).detach().square().sum()
            for name in ("weight", "bin_weight")
        )
        x = torch.zeros(1, path.weight.shape[0], device=path.weight.device)
        _, penalty = path.training_output(x)
        self.steps.append(penalty.item() / (squares.item() * path.penalty))


def watched(**parameters):
    """An estimator, and a function that gives all factors since it was called last."""
    clf = small(callbacks=[("watch", Watch())], **parameters)

    def factors():
        steps = dict(clf.net_.callbacks_)["watch"].steps
        found = np.array(steps)
        steps.clear()
        return found

    return clf, factors


def fall(start, n_steps, length):
    """From ``start`` to 1 over ``n_steps`` of ``length``, by a factor each step."""
    return start ** np.clip(1 - np.arange(length) / n_steps, 0, 1)


def test_the_penalty_falls_a_hundredfold_in_two_thousand_steps():
    clf, factors = watched(max_iter=100, min_steps_per_epoch=50, n_iter_no_change=1)
    clf.fit(*hard_to_tell(0.0, 300))  # stops soon
    found = factors()
    assert len(found) >= 100
    np.testing.assert_allclose(found, fall(100, 2000, len(found)), rtol=1e-3)


@pytest.mark.parametrize("max_iter", [1, 4])
def test_in_a_short_training_the_penalty_falls_over_half_of_it(bumps, max_iter):
    clf, factors = watched(max_iter=max_iter, min_steps_per_epoch=20)
    clf.fit(*bumps)
    expected = fall(100, max_iter * 10, max_iter * 20)
    np.testing.assert_allclose(factors(), expected, rtol=1e-3)


def test_a_high_penalty_begins_at_a_hundred_or_where_it_is(bumps):
    for penalty, start in ((4.0, 25.0), (300.0, 1.0)):
        clf, factors = watched(max_iter=1, linear_penalty=penalty)
        clf.fit(*bumps)
        np.testing.assert_allclose(factors(), fall(start, 2.5, 5), rtol=1e-3)


def test_what_goes_on_begins_with_the_penalty_that_was_chosen():
    X, Y = hard_to_tell(0.1, 300)
    clf, factors = watched(max_iter=8, ema_decay=0.0, n_bins=1)
    clf.fit(X, Y)
    best = np.argmin([epoch["valid_head_loss"][1] for epoch in clf.history_])
    chosen = factors()[6 * best + 5]  # there are six steps an epoch
    assert 1 < chosen < 100
    clf.partial_fit(X, Y)
    np.testing.assert_allclose(factors(), chosen, rtol=1e-3)
    clf.set_params(warm_start=True).fit(X, Y)
    np.testing.assert_allclose(factors(), fall(chosen, 24, 48), rtol=1e-3)


def test_a_fit_that_was_interrupted_before_any_was_chosen_has_its_own(bumps):
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    clf, factors = watched(max_iter=9)
    clf.set_params(callbacks=[*clf.callbacks, Interrupt()])
    with pytest.warns(ConvergenceWarning, match="interrupted in epoch 1"):
        clf.fit(*bumps)
    assert factors() == pytest.approx([100])
    clf.net_.callbacks_.pop([n for n, _ in clf.net_.callbacks_].index("Interrupt"))
    clf.partial_fit(*bumps).partial_fit(*bumps)
    np.testing.assert_allclose(factors(), 1, rtol=1e-5)
    assert (clf.net_.module_.linear_path.penalty_factor == 1).all()


def test_what_was_fitted_and_saved_rules_the_penalty_not_what_was_set_since(
    tmp_path, bumps
):
    for fitted, since in (
        ({"linear_path": False}, {"linear_path": True}),
        ({"linear_penalty": 1.0}, {"linear_penalty": 50.0}),
    ):
        clf = small(**fitted, early_stopping=False, warm_start=True).fit(*bumps)
        clf.set_params(**since, early_stopping=True).save_model(tmp_path / "model")
        loaded = type(clf).load_model(tmp_path / "model", device=DEVICE)
        loaded.partial_fit(*bumps)
        callbacks = dict(loaded.net_.callbacks_)
        if "linear_path" in fitted:
            assert "falling_penalty" not in callbacks
        else:
            assert callbacks["falling_penalty"].linear_penalty == 1


def test_the_penalty_that_was_chosen_is_kept_in_a_file(tmp_path):
    X, Y = hard_to_tell(0.1, 300)
    clf = small(n_members=2).fit(X, Y)
    clf.save_model(tmp_path / "model")
    loaded = type(clf).load_model(tmp_path / "model", device=DEVICE)
    kept, found = (m.net_.module_.linear_path.penalty_factor for m in (clf, loaded))
    assert kept.shape == (2, 1) and (kept > 1).all()
    assert_close(found, kept, rtol=0, atol=0)


def test_the_penalty_is_its_own_until_rows_are_held_out(bumps):
    clf, factors = watched(early_stopping=False, max_iter=2, warm_start=True)
    clf.fit(*bumps).partial_fit(*bumps)
    np.testing.assert_allclose(factors(), np.ones(15), rtol=1e-3)
    clf.set_params(early_stopping=True).fit(*bumps)
    np.testing.assert_allclose(factors(), fall(100, 5, 10), rtol=1e-3)


def hard_to_tell(signal, n_rows=1000):
    rng = np.random.RandomState(0)
    X, weight = rng.randn(1000, 60), rng.randn(60, 4)
    Y = signal * X @ weight + rng.randn(1000, 4) > 0
    return X[:n_rows], Y[:n_rows].astype(int)


class WithConstantPenalty(CGMVAEClassifier):
    def _module_callbacks(self, module_parameters):
        callbacks = super()._module_callbacks(module_parameters)
        return [each for each in callbacks if each[0] != "falling_penalty"]


def test_where_labels_are_hard_to_tell_the_path_is_better_for_it():
    """Early stopping then chooses a strong penalty: weights are short."""
    X, Y = hard_to_tell(0.1)
    lengths, losses = [], []
    for kind in (CGMVAEClassifier, WithConstantPenalty):
        clf = kind(**SMALL | {"max_iter": 12, "min_steps_per_epoch": 50, "lr": 2e-3})
        clf.fit(X[:300], Y[:300])
        lengths.append(clf.net_.module_.linear_path.weight.norm().item())
        clf.logit_scale_ = np.array([[0.0] * 4, [1.0] * 4])  # of the path alone
        clf.logit_shift_ = np.zeros(4)
        losses.append(log_loss(Y[300:].ravel(), clf.predict_proba(X[300:]).ravel()))
    assert lengths[0] < 0.8 * lengths[1]
    assert losses[0] < losses[1] - 0.02


def test_a_fitted_model_that_learns_on_stays_as_well_calibrated():
    """Its factors are those of weights as short as the penalty had made them."""
    X, Y = hard_to_tell(0.1)
    clf = CGMVAEClassifier(
        **SMALL | {"max_iter": 12, "min_steps_per_epoch": 50, "lr": 2e-3}
    ).fit(X[:300], Y[:300])
    losses = []
    for _ in range(2):
        losses.append(log_loss(Y[300:].ravel(), clf.predict_proba(X[300:]).ravel()))
        for _ in range(30):
            clf.partial_fit(X[:300], Y[:300])
    assert losses[1] < losses[0] + 0.1


def test_bins_are_frozen_with_the_path_and_rounded_with_its_products(bumps):
    X, Y = bumps
    clf = small(precision="bfloat16").fit(X, Y)
    module = clf.net_.module_
    plain = small().fit(X, Y).net_.module_.linear_path.bin_weight
    difference = (module.linear_path.bin_weight - plain).abs().max()
    assert 0 < difference < 0.1 * plain.abs().max()
    clf.net_.freeze([1])
    assert not module.linear_path.bin_weight.requires_grad
    assert module.label_embedding.requires_grad


def test_features_mostly_zero_or_of_few_values_have_no_bins(bumps):
    X, Y = bumps
    clf = small().fit(X * (X > 3.5), Y)
    assert clf.net_.module_.linear_path.bin_weight is None
    few, many = np.round(X[:, :1]), X[:, 1:2]
    assert len(np.unique(few)) <= 8
    clf.fit(np.hstack([few, many, X * (X > 3.5)]), Y)
    assert clf.net_.module_.linear_path.bin_weight.shape == (8, 2)
    assert clf.net_.module_.linear_path.continuous.tolist() == [1]


def test_a_fitted_path_is_kept_in_a_file(bumps, tmp_path):
    X, Y = bumps
    clf = small(n_bins=3).fit(X, Y)
    clf.save_model(tmp_path / "model")
    loaded = type(clf).load_model(tmp_path / "model", device=DEVICE)
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    weights = loaded.net_.module_.linear_path.bin_weight
    assert_close(weights, clf.net_.module_.linear_path.bin_weight)
    assert weights.abs().max() > 0


# -- what a weight costs -----------------------------------------------------------


@pytest.fixture(scope="module")
def words():
    """A word of nearly half of the documents, and twenty that are rare."""
    rng = np.random.RandomState(0)
    X = (rng.rand(500, 21) < [0.45, *[0.03] * 20]).astype(float)
    return X, X[:, :2].astype(int)


def test_weights_cost_what_the_training_rows_say_of_their_indicators(words, tmp_path):
    X, Y = words
    clf = small(early_stopping=False).fit(X, Y)
    clf.save_model(tmp_path / "model")
    loaded = type(clf).load_model(tmp_path / "model", device=DEVICE)
    deviation = torch.from_numpy(X.std(axis=0)).float()
    for fitted in (clf, loaded):
        cost = fitted.net_.module_.linear_path.feature_cost.cpu()
        assert_close(cost / cost[0], deviation / deviation[0])
    clf.set_params(scale_features=False).fit(X, Y)
    assert (clf.net_.module_.linear_path.feature_cost == 1).all()


def test_a_rare_word_may_say_as_much_as_a_frequent_one(words):
    """It has few rows to learn a weight from, and would stay behind."""
    X, Y = words
    shrunk = {}
    for scale_features in (True, False):
        clf = small(
            scale_features=scale_features,
            early_stopping=False,
            linear_penalty=30.0,
            max_iter=40,
            min_steps_per_epoch=20,
        ).fit(X, Y)
        path = clf.net_.module_.linear_path
        frequent, rare = path.weight.detach().diagonal().tolist()
        shrunk[scale_features] = rare / frequent
    assert shrunk[True] > 2 * shrunk[False] > 0
