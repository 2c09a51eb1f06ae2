"""Ensembles: M networks in one are M networks, trained apart and averaged."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import as_its_network_sees, as_sparse, is_trained
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from skorch.callbacks import Callback, EpochScoring

from skcgmvae import CGMVAEClassifier
from skcgmvae._batches import Batches, Rows
from skcgmvae._gaussian_head import MinStd
from skcgmvae._layers import InputLinear, Linear, SparseRows, side_by_side
from skcgmvae._losses import CGMVAELoss
from skcgmvae._network import CGMVAE
from skcgmvae._training import logit_of_mean_probability

assert_close = torch.testing.assert_close

M, B, D, L = 3, 6, 7, 5
VARIANTS = [
    {},
    {"skip_connection": True},
    {"reconstruction": "gaussian"},
    {"min_latent_std": 2.0},
    {"prior": "gaussian"},
    {"prior": None},
    {"label_branch": True, "n_samples": 2},
    {"linear_path": False, "normalize": "feature"},
]


def make(n_members, **options):
    options = {
        "n_rows": 20,
        "n_features": D,
        "n_labels": L,
        "latent_dim": 3,
        "embedding_dim": 8,
        "encoder_layer_sizes": (9, 10),
        "label_encoder_layer_sizes": (11,),
        "decoder_layer_sizes": (12, 13),
        "dropout": 0.0,
        "input_dropout": 0.0,
    } | options
    return CGMVAE(n_members=n_members, **options).double()


def ensemble_and_parts(**options):
    """An ensemble, and each of its members as a network alone."""
    torch.manual_seed(0)
    ensemble = make(M, **options)
    for parameter in ensemble.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for name, parameter in ensemble.named_parameters():
        if name.endswith(".n_batches"):
            parameter.data.fill_(MinStd.n_growing)
    parts = []
    for m in range(M):
        part = make(1, **options)
        part.load_state_dict(
            {
                name: value if name.endswith("offset") else value[m]
                for name, value in ensemble.state_dict().items()
            }
        )
        parts.append(part)
    return ensemble, parts


def draw(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def thinned(x):
    return x * (x > 0.2)


# The last label never occurs, and a row of each member has none.
Y = (draw(M, B, L, seed=5) > 0.3).double()
Y[..., -1] = 0
Y[:, 0] = 0


# -- the network -----------------------------------------------------------------


def test_linear_layers_are_those_of_torch_a_member_each():
    torch.manual_seed(0)
    layer = Linear(4, 3, members=(M,))
    x = torch.randn(M, B, 4)
    for m in range(M):
        alone = torch.nn.Linear(4, 3)
        alone.weight.data, alone.bias.data = layer.weight[m].T, layer.bias[m]
        assert_close(layer(x)[m], alone(x[m]))
        assert_close(layer(x[0])[m], alone(x[0]))  # shared rows
        assert layer.weight[m].abs().max() <= alone.in_features**-0.5


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), share=st.booleans(), offset=st.booleans())
def test_sparse_rows_of_members_meet_their_own_weights(seed, share, offset):
    x = thinned(draw(*(() if share else (M,)), B, D, seed=seed))
    layer = InputLinear(
        D, 4, offset=draw(D, seed=2) if offset else None, members=(M,)
    ).double()
    dense = x - layer.offset if offset else x
    assert_close(layer(as_sparse(x)), layer(dense))
    assert_close(as_sparse(x).to_dense(D), x)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("form", [torch.clone, as_sparse], ids=["dense", "sparse"])
def test_an_ensemble_predicts_what_its_members_predict(options, form):
    ensemble, parts = ensemble_and_parts(**options)
    own, shared = thinned(draw(M, B, D)), thinned(draw(B, D))
    for m, part in enumerate(parts):
        for method in ("forward", "encode", "embed"):
            found = getattr(ensemble, method)
            alone = getattr(part, method)
            assert_close(found(form(own))[m], alone(form(own[m])))
            assert_close(found(form(shared))[m], alone(form(shared)))
    if ensemble.label_encoder is not None:
        for m, part in enumerate(parts):
            assert_close(ensemble.label_gaussians()[0][m], part.label_gaussians()[0])


@pytest.mark.parametrize("options", VARIANTS)
def test_losses_and_gradients_are_those_of_the_members(options, monkeypatch):
    """Losses are averaged over the members, so that each has a share of 1/M."""
    ensemble, parts = ensemble_and_parts(**options)
    x = draw(M, B, D)
    # Without noise there is nothing that ensemble and members draw differently.
    monkeypatch.setattr(torch, "randn", torch.zeros)
    criterion = CGMVAELoss(
        **{
            k: v
            for k, v in options.items()
            if k not in ("skip_connection", "n_samples", "min_latent_std")
        }
    )
    together = criterion(ensemble.training_output(x, Y), Y)
    together["loss"].mean().backward()
    for m, part in enumerate(parts):
        alone = criterion(part.training_output(x[m], Y[m]), Y[m])
        for name, term in alone.items():
            assert_close(together[name][m], term)
        (alone["loss"].mean() / M).backward()
        gradients = dict(part.named_parameters())
        for name, parameter in ensemble.named_parameters():
            expected = gradients[name].grad
            if expected is None:
                assert not is_trained(name)
                assert parameter.grad is None
                assert_close(parameter[m], gradients[name])
            else:
                assert_close(parameter.grad[m], expected)


def test_side_by_side_keeps_rows_together():
    x = draw(M, B, 4)
    for row in range(B):
        assert_close(side_by_side(x)[row], torch.cat([x[m, row] for m in range(M)]))
    assert side_by_side(x[0]) is x[0] or torch.equal(side_by_side(x[0]), x[0])


# -- what they say together ------------------------------------------------------


def test_probabilities_are_averaged():
    logits = draw(M, 40, L) * 4
    expected = logit(expit(logits.numpy()).mean(axis=0))
    assert_close(logit_of_mean_probability(logits).numpy(), expected)


def test_average_of_sure_members_stays_finite_and_ordered():
    logits = torch.tensor([[400.0, -400.0, 900.0], [800.0, -800.0, 900.0]]).double()
    # Of two, the one that is less sure of it decides, up to a factor of two.
    expected = torch.tensor([400.0, -400.0, 900.0]).double()
    found = logit_of_mean_probability(logits)
    assert (found - expected).abs().max() <= np.log(2) + 1e-9


# -- batches ---------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_each_member_is_dealt_its_own_rows_once_in_its_own_order(sparse):
    X = np.arange(1, 41, dtype=np.float32)[:, None] * [1, 2]
    labels = (np.arange(40)[:, None] >> np.arange(6) & 1).astype(np.uint8)
    form = sp.csr_matrix if sparse else np.asarray
    rows = Rows(form(X.astype(np.float32)), form(labels), np.arange(40.0))
    index = np.array([np.arange(0, 40, 2), np.arange(1, 40, 2)])
    part = rows.only(index)
    assert len(part) == 20 and len(rows) == 40
    dealt = []
    torch.manual_seed(0)
    for x, y in Batches(part, 6, shuffle=True):
        features = x["x"].to_dense(2) if sparse else x["x"]
        number = features[..., 0] - 1
        assert number.shape[0] == 2
        assert (features[..., 1] == 2 * (number + 1)).all()
        assert (y @ 2.0 ** torch.arange(6) == number).all()
        assert (x["sample_weight"] == number).all()
        dealt.append(number)
    dealt = torch.cat(dealt, dim=1)
    np.testing.assert_array_equal(dealt.sort(dim=1).values, index)
    assert ((dealt[0] // 2) != (dealt[1] // 2)).any()


# -- the estimator ---------------------------------------------------------------

SMALL = {
    "latent_dim": 4,
    "embedding_dim": 8,
    "encoder_layer_sizes": (16,),
    "label_encoder_layer_sizes": (8,),
    "decoder_layer_sizes": (16,),
    "max_iter": 4,
    "min_steps_per_epoch": 5,
    "batch_size": 32,
    "device": "cpu",
    "random_state": 0,
}


def table(n_rows=150):
    rng = np.random.RandomState(0)
    X = rng.randn(n_rows, D)
    return X, (X @ rng.randn(D, L) > 0.5).astype(int)


@pytest.fixture(scope="module")
def fitted():
    return CGMVAEClassifier(n_members=M, **SMALL).fit(*table())


def test_the_classifier_averages_probabilities_of_calibrated_members(fitted):
    X, _ = table()
    with torch.no_grad():
        scaled = as_its_network_sees(fitted, X)
        heads = fitted.net_.module_.eval()(scaled).double().numpy()  # (M, n, K, L)
    logits = np.einsum("kl,mnkl->mnl", fitted.logit_scale_, heads)
    logits += fitted.logit_shift_
    expected = expit(logits).mean(axis=0)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-4)
    apart = np.abs(expit(logits) - expected).max(axis=(1, 2))
    assert (apart > 1e-3).all()  # no two members are the same


def test_learnt_spaces_lie_side_by_side(fitted):
    X, _ = table()
    assert fitted.transform(X).shape == (150, M * 4)
    assert len(fitted.get_feature_names_out()) == M * 4
    assert fitted.embed(X).shape == (150, M * 8)
    assert fitted.label_embeddings_.shape == (L, M * 8)
    assert fitted.label_means_.shape == fitted.label_variances_.shape == (L, M * 4)
    with torch.no_grad():
        scaled = as_its_network_sees(fitted, X)
        heads = fitted.net_.module_.eval()(scaled).numpy()
    total = fitted.embed(X) @ fitted.label_embeddings_.T
    np.testing.assert_allclose(total, heads[:, :, 0].sum(axis=0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_members_see_ranks(form):
    X, Y_ = table()
    clf = CGMVAEClassifier(n_members=M, **SMALL)
    scores = norm.ppf((rankdata(X, axis=0) - 0.5) / len(X))
    found = []
    for values in (X, np.exp(3 * X)):  # a table of other numbers in the same order
        clf.fit(form(values), Y_)
        seen = as_its_network_sees(clf, form(values))
        if isinstance(seen, SparseRows):
            seen = seen.to_dense(D) - clf.net_.module_.linear_path.offset
        np.testing.assert_allclose(seen, scores, atol=2e-4)
        found.append(clf.predict_proba(form(values)))
    np.testing.assert_allclose(*found, atol=5e-3)


def test_ranks_are_the_same_dense_sparse_and_in_a_file(tmp_path):
    X, Y_ = table()
    X[:, :3] *= X[:, :3] > 0.5  # some columns by rank, some not
    np.save(tmp_path / "X.npy", X)
    parameters = SMALL | {"input_dropout": 0.0, "reconstruction": "gaussian"}
    clf = CGMVAEClassifier(n_members=M, **parameters)
    expected = clf.fit(X, Y_).predict_proba(X)
    in_file = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(clf.predict_proba(in_file), expected)
    np.testing.assert_allclose(clf.predict_proba(sp.csr_matrix(X)), expected, atol=1e-5)
    np.testing.assert_array_equal(clf.fit(in_file, Y_).predict_proba(X), expected)
    clf.fit(sp.csr_matrix(X), Y_)
    np.testing.assert_allclose(clf.predict_proba(X), expected, atol=1e-4)
    assert np.isfinite(clf.partial_fit(X[:20], Y_[:20]).transform(X)).all()


def test_members_hold_out_different_rows_and_between_them_learn_from_all():
    seen = {}

    def watch(net, X, y=None, **_):
        seen["train"], seen["valid"] = X.index, net.train_split(None)[1].index

    class Watch(Callback):
        on_train_begin = staticmethod(watch)

    X, Y_ = table()
    clf = CGMVAEClassifier(n_members=M, callbacks=[Watch()], **SMALL).fit(X, Y_)
    train, valid = seen["train"].numpy(), seen["valid"].numpy()
    assert train.shape[0] == valid.shape[0] == M
    for m in range(M):
        assert not set(train[m]) & set(valid[m])
    assert len({tuple(part) for part in valid}) == M
    assert set(train.ravel()) == set(range(150))
    assert clf.n_iter_ == 4


@pytest.mark.parametrize("sparse", [False, True])
def test_members_go_on_learning(sparse):
    X, Y_ = table()
    X = sp.csr_matrix(X * (X > 0)) if sparse else X
    clf = CGMVAEClassifier(n_members=2, warm_start=True, **SMALL).fit(X, Y_)
    before = clf.predict_proba(X)
    again = clf.fit(X, Y_).predict_proba(X)
    assert np.abs(again - before).max() > 1e-4
    clf.partial_fit(X[:40], Y_[:40])
    assert np.isfinite(clf.predict_proba(X)).all()
    fresh = CGMVAEClassifier(n_members=2, **SMALL).partial_fit(X, Y_)
    assert fresh.transform(X).shape == (150, 8)


def test_callbacks_see_rows_and_predictions_that_belong_together():
    X, Y_ = table()
    scoring = [
        EpochScoring("f1_micro", name="valid_f1", lower_is_better=False),
        EpochScoring("f1_micro", name="train_f1", on_train=True),
    ]
    parameters = SMALL | {"max_iter": 40, "batch_size": 7}
    clf = CGMVAEClassifier(n_members=M, callbacks=scoring, **parameters).fit(X, Y_)
    # Chance, which is what rows and predictions out of step would give, is below .5.
    assert clf.history_[-1, "train_f1"] > 0.6
    assert clf.history_[-1, "valid_f1"] > 0.6
    shared = clf.net_.predict_proba(clf._scaler.transform(X))
    assert ((shared >= 0.5) == clf.predict(X)).mean() > 0.95


def test_weights_count_for_members_too():
    X, Y_ = table()
    heavy = np.where(Y_[:, 0] == 1, 5.0, 0.2)
    plain = CGMVAEClassifier(n_members=2, **SMALL).fit(X, Y_)
    weighted = CGMVAEClassifier(n_members=2, **SMALL).fit(X, Y_, heavy)
    gain = weighted.predict_proba(X)[:, 0].mean() - plain.predict_proba(X)[:, 0].mean()
    assert gain > 0.02


def test_members_are_no_worse_than_one_alone():
    X, Y_ = table(600)
    train, test = slice(0, 300), slice(300, None)

    def log_loss(seed, n_members):
        parameters = SMALL | {"max_iter": 60, "random_state": seed}
        parameters["linear_path"] = False  # which would find what there is by itself
        clf = CGMVAEClassifier(n_members=n_members, **parameters)
        p = clf.fit(X[train], Y_[train]).predict_proba(X[test])
        y = Y_[test]
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()

    alone = np.mean([log_loss(seed, 1) for seed in range(3)])
    assert log_loss(0, 4) < alone
