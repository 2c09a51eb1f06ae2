"""Labels are smoothed as far as held-out rows say that the network is too sure."""

import numpy as np
import pytest
from common import DEVICE, small
from sklearn.metrics import log_loss
from skorch.callbacks import Callback


def noisy(n_rows, random_state=0):
    """Labels that nothing tells for certain, and more features than it takes."""
    rng = np.random.RandomState(random_state)
    X, weight = rng.randn(n_rows, 40), np.random.RandomState(9).randn(40, 4) / 4
    return X, (X @ weight + rng.logistic(size=(n_rows, 4)) > 0).astype(int)


# A network that soon knows its training rows by heart.
GREEDY = {"dropout": 0.0, "input_dropout": 0.0, "min_steps_per_epoch": 20}


class Watch(Callback):
    """How far labels are smoothed in each epoch."""

    def initialize(self):
        self.amounts = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.amounts.append(net.criterion_.smoothing.item())


def watched(**parameters):
    parameters = {"label_smoothing": "auto"} | GREEDY | parameters
    clf = small(**parameters, callbacks=[("watch", Watch())])
    return clf, lambda: dict(clf.net_.callbacks_)["watch"].amounts


def test_labels_are_drawn_to_how_frequent_they_are(tmp_path):
    X, Y = noisy(200)
    Y[:, 0] &= Y[:, 1]  # rarer than the others
    clf = small(early_stopping=False).fit(X, Y)
    expected = (Y.sum(axis=0) + 0.5) / (len(Y) + 1)
    clf.save_model(tmp_path / "model")
    for each in (clf, type(clf).load_model(tmp_path / "model", device=DEVICE)):
        found = each.net_.criterion_.frequency.cpu()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("parameters", [{}, {"n_members": 2}, {"linear_path": False}])
def test_by_what_the_factor_of_the_logits_lacks_to_one(parameters):
    clf, amounts = watched(max_iter=8, **parameters)
    clf.fit(*noisy(200))
    factors = [epoch["valid_head_scale"][0] for epoch in clf.history_]
    first = next(number for number, c in enumerate(factors) if c < 0.9) + 1
    expected = [max(1 - c, 0) for c in factors[first - 1 : -1]]
    np.testing.assert_allclose(amounts(), [0.0] * first + expected, atol=1e-6)
    np.testing.assert_allclose(clf.history_[:, "label_smoothing"], amounts(), atol=1e-6)
    assert max(expected) > 0.1


def test_a_number_holds_throughout():
    clf, amounts = watched(label_smoothing=0.25, early_stopping=False)
    clf.fit(*noisy(200)).partial_fit(*noisy(200))
    assert amounts() == [0.25] * 6


def test_without_held_out_rows_labels_stay_as_they_are():
    X, Y = noisy(200)
    clf, amounts = watched(warm_start=True)
    clf.fit(X, Y)
    before = len(amounts())
    assert clf.history_[-1, "valid_head_scale"][0] < 0.9
    clf.partial_fit(X, Y)
    clf.set_params(early_stopping=False).fit(X, Y)
    assert amounts()[before:] == [0.0] * 6


def test_a_fit_that_goes_on_begins_with_what_held_out_rows_said_of_its_weights():
    X, Y = noisy(200)
    clf, amounts = watched(warm_start=True, max_iter=8)
    clf.fit(X, Y)
    said = [epoch["valid_head_scale"][0] for epoch in clf.history_]
    of_best = said[clf.best_epoch_ - 1]
    assert of_best < 0.9 and abs(of_best - said[-1]) > 0.01
    clf.fit(X, Y)
    assert amounts()[8] == pytest.approx(1 - of_best)


def test_where_the_network_is_not_too_sure_nothing_changes():
    X, Y = noisy(1000)
    plain, auto = (
        small(label_smoothing=amount, max_iter=3).fit(X, Y) for amount in (0, "auto")
    )
    assert min(epoch["valid_head_scale"][0] for epoch in auto.history_) > 0.9
    np.testing.assert_array_equal(auto.predict_proba(X), plain.predict_proba(X))


def one_of_many(n_rows, random_state):
    """One label a row, of which one in ten is wrong; few rows are known by heart."""
    rng = np.random.RandomState(random_state)
    centres = np.random.RandomState(9).randn(6, 60) / 2
    label = rng.randint(6, size=n_rows)
    X = centres[label] + rng.randn(n_rows, 60)
    wrong = rng.rand(n_rows) < 0.1
    label = np.where(wrong, rng.randint(6, size=n_rows), label)
    return X, np.eye(6, dtype=int)[label]


def test_where_it_is_too_sure_it_predicts_better():
    losses = np.zeros((3, 2))
    for seed in range(3):
        X, Y = one_of_many(2000, 10 + seed)
        for number, amount in enumerate((0.0, "auto")):
            clf = small(
                **GREEDY,
                label_smoothing=amount,
                max_iter=20,
                linear_path=False,
                random_state=seed,
            ).fit(*one_of_many(400, seed))
            losses[seed, number] = log_loss(Y.ravel(), clf.predict_proba(X).ravel())
    assert (losses[:, 1] <= losses[:, 0]).all()
    assert losses[:, 1].mean() < losses[:, 0].mean() - 0.005
