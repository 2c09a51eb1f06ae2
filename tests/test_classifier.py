"""CGMVAEClassifier through its public methods."""

import pickle
import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from common import small, toy
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import estimator_html_repr
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    TrainEndCheckpoint,
)

from skcgmvae import CGMVAEClassifier, paper_configuration
from skcgmvae._gaussian_head import MinStd

X, Y = toy()


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X, Y)


# Every parameter, and a value under which the model must come out different.
CHANGES = {
    "latent_dim": 4,
    "embedding_dim": 8,
    "encoder_layer_sizes": (16, 8),
    "label_encoder_layer_sizes": (8,),
    "decoder_layer_sizes": (16, 8),
    "activation": "gelu",
    "dropout": 0.1,
    "input_dropout": 0.0,
    "min_latent_std": 1e4,
    "prior": "gaussian",
    "normalize": "feature",
    "reconstruction": "gaussian",
    "skip_connection": True,
    "linear_path": False,
    "linear_penalty": 100.0,
    "n_bins": 3,
    "label_branch": True,
    "n_samples": 3,
    "n_members": 2,
    "alpha": 0.2,
    "beta": 0.2,
    "kl_weight": 0.5,
    "temperature": 0.3,
    "label_smoothing": 0.3,
    "scale_features": False,
    "quantile_features": False,
    "lr": 1e-3,
    "weight_decay": 3.0,
    "ema_decay": 0.0,
    "batch_size": 16,
    "max_iter": 2,
    "min_steps_per_epoch": 20,
    "early_stopping": False,
    "validation_fraction": 0.4,
    "precision": "bfloat16",
    "random_state": 1,
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_parameter_changes_the_model(fitted, name):
    value = CHANGES[name]
    assert value != fitted.get_params()[name]
    changed = small(**{name: value}).fit(X, Y)
    difference = np.abs(changed.predict_proba(X) - fitted.predict_proba(X)).max()
    assert difference > 1e-4


def test_recon_weight_changes_the_model_with_a_reconstruction():
    one = small(reconstruction="gaussian").fit(X, Y)
    two = small(reconstruction="gaussian", recon_weight=0.01).fit(X, Y)
    assert np.abs(one.predict_proba(X) - two.predict_proba(X)).max() > 1e-4


def test_likelihoods_of_the_reconstruction_differ():
    unit = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    models = [
        small(reconstruction=kind, scale_features=False).fit(unit, Y)
        for kind in ("gaussian", "bernoulli")
    ]
    probabilities = [model.predict_proba(unit) for model in models]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-4


def test_max_labels_per_step_changes_the_model_where_more_labels_are_left_out():
    options = {"batch_size": 2, "min_steps_per_epoch": 1, "max_iter": 1}
    models = [
        small(**options, max_labels_per_step=size).fit(X[:60], Y[:60])
        for size in (None, 4, 3)
    ]
    for one, two in combinations(models, 2):
        assert np.abs(one.predict_proba(X) - two.predict_proba(X)).max() > 1e-4


def test_stopping_parameters_change_when_training_stops():
    patient = small(max_iter=40, n_iter_no_change=30).fit(X, Y)
    hasty = small(max_iter=40, n_iter_no_change=1).fit(X, Y)
    strict = small(max_iter=40, n_iter_no_change=3, tol=10.0).fit(X, Y)
    assert hasty.n_iter_ < patient.n_iter_
    assert strict.n_iter_ == 4  # the first epoch, and three that did not beat it


def test_parameters_that_the_tests_change_are_all_there_are():
    elsewhere = {
        "recon_weight",
        "max_labels_per_step",
        "n_iter_no_change",
        "tol",
        "threshold",
        "warm_start",
        "checkpoint",
        "callbacks",
        "compile",
        "device",
        "verbose",
    }
    assert set(CHANGES) | elsewhere == set(CGMVAEClassifier().get_params())


def test_threshold_is_where_predict_cuts(fitted):
    probabilities = fitted.predict_proba(X)
    for threshold in (0.2, np.linspace(0.1, 0.9, 5)):
        model = clone(fitted).set_params(threshold=threshold).fit(X, Y)
        expected = (probabilities >= threshold).astype(Y.dtype)
        np.testing.assert_array_equal(model.predict(X), expected)


def test_warm_start_heeds_new_training_parameters():
    model = small(warm_start=True).fit(X, Y)
    model.set_params(lr=1e-6, weight_decay=0.5, batch_size=10, n_iter_no_change=1)
    model.fit(X, Y)
    group = model.net_.optimizer_.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (1e-6, 0.5)
    assert len(model.history_[-1]) and model.n_iter_ <= 5 + 5
    steps = model.net_.get_iterator([0] * 180, training=True)
    assert len(steps) == 18


def test_warm_start_heeds_a_new_average_of_the_weights():
    def trained(**changed):
        model = small(warm_start=True, early_stopping=False, ema_decay=0.9).fit(X, Y)
        return model.set_params(**changed).fit(X, Y).predict_proba(X)

    assert np.abs(trained(ema_decay=0.0) - trained()).max() > 1e-4


def test_warm_start_heeds_a_new_lr_under_a_schedule():
    schedule = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.5)
    model = small(warm_start=True, callbacks=[schedule], max_iter=2).fit(X, Y)
    (group,) = model.net_.optimizer_.param_groups
    assert group["lr"] == 0.5e-2
    model.set_params(lr=1e-6).fit(X, Y)
    assert group["lr"] == 0.5e-6


def test_names_of_the_output_follow_the_model_not_the_parameter(fitted):
    model = clone(fitted).fit(X, Y).set_params(latent_dim=3)
    assert len(model.get_feature_names_out()) == 8
    with pytest.raises(NotFittedError):
        small().get_feature_names_out()


def test_warm_start_goes_on(fitted):
    model = small(warm_start=True).fit(X, Y)
    first = model.predict_proba(X)
    np.testing.assert_array_equal(first, fitted.predict_proba(X))
    model.fit(X, Y)
    assert model.n_iter_ > fitted.n_iter_
    assert np.abs(model.predict_proba(X) - first).max() > 1e-4
    cold = small().fit(X, Y).fit(X, Y)
    np.testing.assert_array_equal(cold.predict_proba(X), first)


def test_outputs_agree_with_each_other(fitted):
    model = small(linear_path=False).fit(X, Y)
    logits = model.decision_function(X)
    of_network = model.embed(X) @ model.label_embeddings_.T
    expected = model.logit_scale_[0] * of_network + model.logit_shift_
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X), expit(logits), rtol=1e-6)
    np.testing.assert_array_equal(model.predict(X), (logits >= 0).astype(int))
    accuracy = (model.predict(X) == Y).all(axis=1).mean()
    assert model.score(X, Y) == pytest.approx(accuracy)


@pytest.mark.parametrize("ema_decay", [0.0, 0.998])
@pytest.mark.parametrize("convert", [np.asarray, sp.csr_matrix])
def test_no_dimension_collapses_below_min_latent_std(convert, ema_decay, monkeypatch):
    """However the KL term presses: of means of variance s^2 it is d s^2 / 2 or more."""
    monkeypatch.setattr(MinStd, "n_growing", 50)
    model = small(
        kl_weight=100.0,
        prior="gaussian",
        max_iter=30,
        early_stopping=False,
        ema_decay=ema_decay,
        min_latent_std=0,
    )
    features = convert(X * (X > 3))
    collapsed = model.fit(features, Y)
    assert collapsed.history_[-1, "train_kl"] < 0.5
    assert collapsed.transform(features).std(axis=0).max() < 0.05
    alive = model.set_params(min_latent_std=1).fit(features, Y)
    grown = alive.history_[10:, "train_kl"]
    assert min(grown) > 0.999 * 8 / 2
    # Less than 1, which it is in training: there units are dropped besides.
    deviation = alive.transform(features).std(axis=0)
    assert 0.2 < deviation.min() and deviation.max() < 1


@pytest.mark.parametrize("scale_features", [True, False])
def test_rows_that_are_all_alike_get_the_frequencies_of_the_labels(
    scale_features, monkeypatch
):
    """There is nothing to stretch, and what is not there must not be stretched."""
    monkeypatch.setattr(MinStd, "n_growing", 50)
    options = {"scale_features": scale_features, "linear_path": False, "max_iter": 40}
    rows = np.ones_like(X)
    clf = small(**options, dropout=0.0, input_dropout=0.0, ema_decay=0.0, lr=3e-3)
    probabilities = clf.fit(rows, Y).predict_proba(rows)
    np.testing.assert_allclose(probabilities[0], Y.mean(axis=0), atol=0.1)


def test_min_latent_std_changes_nothing_where_means_vary_by_themselves(monkeypatch):
    monkeypatch.setattr(MinStd, "n_growing", 100)
    options = {"max_iter": 25, "early_stopping": False, "ema_decay": 0.0}
    plain, held = (small(**options, min_latent_std=s).fit(X, Y) for s in (0, 0.25))
    assert plain.transform(X).std(axis=0).min() > 0.25
    np.testing.assert_array_equal(held.predict_proba(X), plain.predict_proba(X))


def test_it_learns():
    model = small(max_iter=40).fit(X[:150], Y[:150])
    base_rate = np.maximum(Y[150:].mean(axis=0), 1 - Y[150:].mean(axis=0)).mean()
    assert (model.predict(X[150:]) == Y[150:]).mean() > base_rate + 0.05


def test_label_similarity(fitted):
    similarity = fitted.label_similarity()
    embeddings = fitted.label_embeddings_.astype(float)
    for i in range(5):
        for j in range(5):
            expected = 0 if i == j else embeddings[i] @ embeddings[j]
            assert similarity[i, j] == pytest.approx(expected)
    cosine = fitted.label_similarity(cosine=True)
    norms = np.sqrt((embeddings**2).sum(axis=1))
    assert cosine[0, 1] == pytest.approx(similarity[0, 1] / norms[0] / norms[1])


def test_label_gaussians(fitted):
    assert fitted.label_means_.shape == fitted.label_variances_.shape == (5, 8)
    assert (fitted.label_variances_ > 0).all()
    assert not hasattr(small(prior=None).fit(X, Y), "label_means_")


def test_feature_names_and_pandas_output(fitted):
    names = fitted.get_feature_names_out()
    assert list(names[:2]) == ["cgmvaeclassifier0", "cgmvaeclassifier1"]
    frame = clone(fitted).set_output(transform="pandas").fit(X, Y).transform(X)
    assert list(frame.columns) == list(names)
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(X))


# -- what may come as X and Y --------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda Y: Y.astype(bool),
        lambda Y: Y.astype(float),
        lambda Y: Y.tolist(),
        sp.csr_matrix,
        sp.csc_array,
        lambda Y: pd.DataFrame(Y, columns=list("abcde")),
    ],
    ids=["bool", "float", "list", "csr", "csc array", "DataFrame"],
)
def test_kinds_of_Y(fitted, convert):
    given = convert(Y)
    model = small().fit(X, given)
    np.testing.assert_array_equal(model.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(model.classes_, np.arange(5))
    predicted = model.predict(X)
    if sp.issparse(given):
        assert sp.issparse(predicted)
        predicted = predicted.toarray()
    np.testing.assert_array_equal(predicted, fitted.predict(X))
    if isinstance(given, pd.DataFrame):
        assert list(model.label_names_in_) == list("abcde")
    else:
        assert not hasattr(model, "label_names_in_")


@pytest.mark.parametrize(
    "convert",
    [sp.csr_matrix, sp.csc_matrix, sp.csr_array, pd.DataFrame, np.asfortranarray],
)
def test_kinds_of_X(convert):
    rng = np.random.default_rng(0)
    words = X * (rng.random(X.shape) < 0.3)
    words[:, 0] = X[:, 0] + 5  # a column that is centred
    # Dropped features are drawn among the stored ones, so other ones are if dense.
    model = small(input_dropout=0.0)
    dense = clone(model).fit(words, Y).predict_proba(words)
    given = convert(words)
    np.testing.assert_allclose(
        model.fit(given, Y).predict_proba(given), dense, atol=1e-4
    )


@pytest.mark.parametrize("n_members", [1, 2])
def test_sparse_training_is_dense_training_to_five_digits(n_members):
    rng = np.random.default_rng(0)
    words = X * (rng.random(X.shape) < 0.3)
    model = small(input_dropout=0.0, lr=1e-3, n_members=n_members, n_iter_no_change=9)
    dense = clone(model).fit(words, Y).predict_proba(words)
    sparse = sp.csr_matrix(words), sp.csr_matrix(Y)
    found = model.fit(*sparse).predict_proba(sparse[0])
    np.testing.assert_allclose(found, dense, rtol=0, atol=1e-5)


def test_duplicate_entries_count_as_their_sum():
    once = sp.csr_matrix(X)
    given = sp.csr_matrix(
        (np.repeat(once.data / 2, 2), np.repeat(once.indices, 2), once.indptr * 2),
        X.shape,
    )
    stored = given.nnz
    assert stored == 2 * once.nnz
    expected = small().fit(sp.csr_matrix(X), Y).predict_proba(sp.csr_matrix(X))
    model = small().fit(given, Y)
    np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-3)
    assert given.nnz == stored


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e12, 1e30])
def test_scale_of_X_does_not_matter(fitted, scale):
    model = small().fit(X * scale, Y)
    np.testing.assert_allclose(
        model.predict_proba(X * scale), fitted.predict_proba(X), atol=1e-3
    )


def test_constant_columns_do_no_harm(fitted):
    padded = np.column_stack([X, np.full(len(X), 7.0), np.zeros(len(X))])
    model = small(max_iter=2).fit(padded, Y)
    before = model.predict_proba(padded)
    padded[:, -2:] = 1e9
    np.testing.assert_array_equal(model.predict_proba(padded), before)


def test_one_label_column():
    model = small().fit(X, Y[:, [0]])
    assert model.predict_proba(X).shape == model.predict(X).shape == (200, 1)


@pytest.mark.parametrize("classes", [[0, 1], ["cat", "dog"], ["a", "b", "c"]])
def test_one_dimensional_y(classes):
    y = np.asarray(classes)[(X[:, :3].argsort(axis=1)[:, 0]) % len(classes)]
    y[:3] = classes[-1]
    model = small(max_iter=30).fit(X, y)
    np.testing.assert_array_equal(model.classes_, classes)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    most_probable = np.asarray(classes)[probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), most_probable)
    assert model.score(X, y) > pd.Series(y).value_counts(normalize=True).max()


def test_labels_that_never_or_always_occur_and_empty_rows():
    odd = Y.copy()
    odd[:, 0], odd[:, 1] = 0, 1
    odd[:20] = 0
    model = small(max_iter=20).fit(X, odd)
    probabilities = model.predict_proba(X)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert probabilities[:, 0].max() < 0.5 < np.median(probabilities[:, 1])
    nothing = small().fit(X, np.zeros_like(Y))
    assert nothing.predict(X).sum() == 0


def test_input_is_left_as_it_was():
    for given in (X.copy(), sp.csr_matrix(X)):
        before = given.copy()
        small().fit(given, Y).predict(given)
        assert (before != given).sum() == 0


# -- sample weights ------------------------------------------------------------------


def test_rows_of_weight_zero_are_as_if_absent():
    weight = np.ones(200)
    weight[150:] = 0
    spoilt = X.copy()
    spoilt[150:] = 1e6
    weighted = small().fit(spoilt, Y, sample_weight=weight)
    without = small().fit(X[:150], Y[:150])
    np.testing.assert_allclose(
        weighted.predict_proba(X), without.predict_proba(X), rtol=1e-6
    )


def test_weights_matter_and_their_unit_does_not(fitted):
    weight = np.where(Y[:, 0] == 1, 20.0, 1.0)
    heavy = small().fit(X, Y, sample_weight=weight).predict_proba(X)
    assert heavy[:, 0].mean() > fitted.predict_proba(X)[:, 0].mean() + 0.02
    same = small().fit(X, Y, sample_weight=weight * 1e6).predict_proba(X)
    np.testing.assert_allclose(same, heavy, atol=1e-6)
    even = small().fit(X, Y, sample_weight=np.full(200, 3.0)).predict_proba(X)
    np.testing.assert_allclose(even, fitted.predict_proba(X), atol=1e-6)


# -- training ------------------------------------------------------------------------


def test_partial_fit(fitted):
    model = small(max_iter=1)
    for _ in range(3):
        for part in (slice(0, 100), slice(100, 200)):
            model.partial_fit(X[part], Y[part])
    assert model.n_iter_ == 6
    losses = model.history_[:, "train_loss"]
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="5 columns"):
        model.partial_fit(X, Y[:, :3])
    classes = small().partial_fit(X[:20], np.arange(20) % 2, classes=[0, 1, 2])
    assert classes.predict_proba(X).shape == (200, 3)
    with pytest.raises(ValueError, match="not announced"):
        small().partial_fit(X, np.arange(200) % 3).partial_fit(X, np.arange(200) % 4)
    classes.partial_fit(X, np.arange(200) % 2, classes=[2, 0, 1])
    with pytest.raises(ValueError, match="differ from those of the first call"):
        classes.partial_fit(X, np.arange(200) % 2, classes=[0, 5])
    named = small().partial_fit(X, Y, classes=list("abcde"))
    named.partial_fit(X, Y, classes=list("abcde"))
    with pytest.raises(ValueError, match="differ from those of the first call"):
        named.partial_fit(X, Y, classes=list("abcd"))
    one_row = model.partial_fit(X[:1], Y[:1])
    assert one_row.n_iter_ == 7


def test_a_first_call_that_shows_no_feature_vary_is_refused():
    for rows in (X[:1], np.ones((5, 3)), sp.csr_matrix((4, 3))):
        with pytest.raises(ValueError, match=rf"X, of {rows.shape[0]} rows.*more rows"):
            small().partial_fit(rows, Y[: rows.shape[0]])
    one = small(scale_features=False).partial_fit(X[:1], Y[:1])
    assert np.isfinite(one.predict_proba(X)).all()


def test_history(fitted):
    epoch = fitted.history_[0]
    terms = epoch["train_cross_entropy"] + epoch["train_contrastive"]
    terms += epoch["train_linear"]
    assert epoch["train_loss"] == pytest.approx(
        terms + 1e-3 * epoch["train_kl"], rel=1e-4
    )
    assert fitted.n_iter_ == len(fitted.history_)
    of_network = [losses[0] for losses in fitted.history_[:, "valid_head_loss"]]
    assert fitted.best_epoch_ == 1 + int(np.argmin(of_network))


def test_skorch_callbacks_work():
    scores = EpochScoring("f1_micro", lower_is_better=False, name="f1")
    model = small(callbacks=[("scores", scores), LRScheduler("StepLR", step_size=1)])
    model.fit(X, Y)
    assert len(model.history_[:, "f1"]) == model.n_iter_
    assert all(0 <= f1 <= 1 for f1 in model.history_[:, "f1"])
    rates = model.net_.optimizer_.param_groups[0]["lr"]
    assert rates < 1e-2


def test_skorch_callbacks_that_save_score_and_stop(tmp_path):
    checkpoint = Checkpoint(dirname=tmp_path)
    model = small(
        max_iter=30,
        callbacks=[
            ("checkpoint", checkpoint),
            ("end", TrainEndCheckpoint(dirname=tmp_path)),
            ("f1", EpochScoring("f1_micro", on_train=True, name="train_f1")),
            ("stop", EarlyStopping(patience=2, sink=lambda _: None)),
        ],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(X, Y)
    assert (tmp_path / "params.pt").exists()
    assert (tmp_path / "train_end_params.pt").exists()
    assert 0 < model.history_[-1, "train_f1"] <= 1
    assert model.n_iter_ < 30


def test_skorch_callbacks_may_predict_for_tensors():
    class Predict(Callback):
        def on_epoch_end(self, net, dataset_valid, **kwargs):
            rows = dataset_valid.X[:10]
            self.found = net.predict_proba(rows)
            self.expected = net.predict_proba(rows.numpy())

    predict = Predict()
    small(max_iter=1, callbacks=[predict]).fit(X, Y)
    np.testing.assert_array_equal(predict.found, predict.expected)


class Recorder:
    """A callback of scikit-learn's that scores each epoch, and may stop the fit."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.scores = []
        self.ended = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.ended += 1

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        if fitted_estimator is not None:
            self.scores.append(fitted_estimator.predict_proba(X).mean())
            return len(self.scores) == self.stop_after


def test_scikit_learn_callbacks_work():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    model = small(linear_path=False)
    expected = clone(model).fit(X, Y).predict_proba(X)
    model.set_callbacks(recorder)
    model.fit(X, Y)
    assert len(recorder.scores) == model.n_iter_ and recorder.ended == 1
    assert len(set(recorder.scores)) == model.n_iter_  # each epoch its own weights
    best = recorder.scores[model.best_epoch_ - 1]
    assert best == pytest.approx(model.predict_proba(X).mean(), abs=1e-6)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert X.tobytes() not in pickle.dumps(model)

    stopped = small()
    stopped.set_callbacks(Recorder(stop_after=2))
    assert stopped.fit(X, Y).n_iter_ == 2

    # What is not held out any more leaves the calibration as it was.
    gone_on = small(warm_start=True).fit(X, Y).set_params(early_stopping=False)
    recorder = Recorder()
    gone_on.set_callbacks(recorder)
    gone_on.fit(X, Y)
    mean = gone_on.predict_proba(X).mean()
    assert recorder.scores[-1] == pytest.approx(mean, abs=1e-6)


def test_a_training_that_was_best_at_its_end_says_so(tmp_path):
    slow = small(max_iter=4, n_iter_no_change=3, lr=1e-5)
    with pytest.warns(ConvergenceWarning, match=r"epoch, 4: .*max_iter \(it is 4\)"):
        slow.fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="epoch, 8: "):
        slow.set_params(warm_start=True).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        clone(slow).set_params(n_iter_no_change=4).fit(X, Y)  # meant to be short
        clone(slow).set_params(early_stopping=False).fit(X, Y)
        clone(slow).partial_fit(X, Y)
        stopped = small(max_iter=60, n_iter_no_change=3, lr=0.1).fit(X, Y)
        # Ended by its number of epochs, but past its best.
        longer = clone(stopped).set_params(max_iter=stopped.best_epoch_ + 2).fit(X, Y)
        # No epoch improves as much as is asked for, so that a best one ends it.
        path = tmp_path / "training"
        least = clone(slow).set_params(max_iter=20, tol=0.5, checkpoint=path).fit(X, Y)
        again = clone(least).fit(X, Y)
    assert longer.best_epoch_ == stopped.best_epoch_ < stopped.n_iter_ - 1
    assert longer.n_iter_ == stopped.best_epoch_ + 2 > 3
    assert again.best_epoch_ == again.n_iter_ == least.n_iter_ < 20


@pytest.mark.parametrize("lr", [1e3, 1e30])
def test_divergence_is_never_silent(lr):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model = small(lr=lr, max_iter=20, ema_decay=0.0).fit(X, Y)
        except (ConvergenceWarning, ValueError) as error:
            assert "diverged" in str(error)
            return
    assert np.isfinite(model.predict_proba(X)).all()


# -- bad input -----------------------------------------------------------------------

BAD_FITS = {
    "NaN in X": ({}, np.full_like(X, np.nan), Y, "X contains NaN"),
    "infinity in X": ({}, np.full_like(X, np.inf), Y, "X contains infinity"),
    "Y not 0/1": ({}, X, Y * 2, r"Y must hold 0 and 1 only.*\[2\]"),
    "NaN in Y": ({}, X, np.full(Y.shape, np.nan), "Y contains NaN"),
    "row counts": ({}, X[:-1], Y, r"inconsistent numbers of samples.*199, 200"),
    "ragged Y": ({}, X, [[0], [1, 2]] * 100, "MultiLabelBinarizer"),
    "one class": ({}, X, np.zeros(200), "one class only"),
    "one row": ({}, X[:1], Y[:1], "minimum of 2 is required"),
    "no Y": ({}, X, None, "requires y to be passed"),
    "device": ({"device": "abacus"}, X, Y, "device='abacus'"),
    "embedding_dim": ({"embedding_dim": 0}, X, Y, "'embedding_dim' parameter"),
    "validation_fraction": (
        {"validation_fraction": 1.5},
        X,
        Y,
        "'validation_fraction' parameter",
    ),
    "layer sizes": ({"decoder_layer_sizes": ()}, X, Y, "decoder_layer_sizes must"),
    "no loss": ({"alpha": 0, "beta": 0}, X, Y, "alpha and beta are both 0"),
    "min_latent_std": ({"min_latent_std": -1}, X, Y, "'min_latent_std' parameter"),
    "label_smoothing": ({"label_smoothing": 1.0}, X, Y, "'label_smoothing' parameter"),
    "threshold shape": ({"threshold": [0.5, 0.5]}, X, Y, r"threshold.*\(5,\).*\(2,\)"),
    "threshold kind": ({"threshold": [None] * 5}, X, Y, "threshold must"),
    "threshold text": ({"threshold": ["x"] * 5}, X, Y, "threshold must be a number"),
    "threshold of classes": (
        {"threshold": 0.3},
        X,
        np.arange(200) % 3,
        r"threshold=0\.3 has no meaning for a multiclass y.* leave it at 0\.5",
    ),
    "text": ({}, X, [["a", "b"]] * 200, "Y must hold 0 and 1 only.*'a'"),
    "threshold range": ({"threshold": [0.5] * 4 + [2]}, X, Y, r"in \[0, 1\]"),
    "bernoulli range": (
        {"reconstruction": "bernoulli", "scale_features": False},
        X,
        Y,
        r"X in \[0, 1\]",
    ),
    "bernoulli scaled": ({"reconstruction": "bernoulli"}, X, Y, "scale_features=False"),
    "unscaled and huge": ({"scale_features": False}, X * 1e9, Y, "too large"),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_input_of_fit(case):
    parameters, features, labels, message = BAD_FITS[case]
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(features, labels)


def test_an_absent_gpu_is_refused_not_replaced():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="device='cuda' was asked for"):
        small(device="cuda").fit(X, Y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-np.ones(200), "[Nn]egative"),
        (np.zeros(200), "at least one non-zero|positive for at least 2 rows"),
        (np.eye(200)[0], "positive for at least 2 rows; it is for 1 of 200"),
        (np.ones(3), "sample_weight"),
    ],
)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        small().fit(X, Y, sample_weight=weight)


def test_bad_input_of_predict(fitted):
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        with pytest.raises(NotFittedError):
            getattr(small(), method)(X)
    with pytest.raises(ValueError, match="3 features.*expecting 12"):
        fitted.predict(X[:, :3])
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(12)])
    model = small(max_iter=1).fit(frame, Y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"x3": "other"}))


def test_a_failed_fit_leaves_no_model():
    model = small().fit(X, Y)
    with pytest.raises(ValueError, match="too large"):
        model.set_params(scale_features=False).fit(X * 1e9, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)


# -- the paper's variants ------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "eq7",
        "published_code",
        "uni_gaussian",
        "gm_only",
        "contrastive_only",
        "gm_contrastive",
    ],
)
def test_paper_configurations_train(name):
    model = small(**paper_configuration(name)).fit(X / X.max(), Y)
    terms = {k.removeprefix("train_") for k in model.history_[0] if "train_" in k}
    terms -= {"loss", "loss_best"}
    expected = {
        "eq7": {"kl", "recon", "contrastive", "cross_entropy"},
        "published_code": {"kl", "contrastive", "cross_entropy"},
        "uni_gaussian": {"kl", "cross_entropy"},
        "gm_only": {"kl", "cross_entropy"},
        "contrastive_only": {"contrastive", "cross_entropy"},
        "gm_contrastive": {"kl", "contrastive", "cross_entropy"},
    }
    assert terms == expected[name]
    assert np.isfinite(model.predict_proba(X / X.max())).all()


def test_unknown_configuration():
    with pytest.raises(ValueError, match="'eq8'.*eq7"):
        paper_configuration("eq8")


def test_html_representation():
    html = estimator_html_repr(small())
    assert "CGMVAEClassifier" in html and "min_steps_per_epoch" in html
    assert "href" not in html  # its documentation is at no address yet
