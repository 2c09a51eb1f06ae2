"""Training steps that look at some labels: right on average, and cheaper."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import is_trained, small, toy
from skorch.callbacks import Callback
from test_members import as_sparse
from test_network import LargestTensor

from skcgmvae._label_sample import draw_labels
from skcgmvae._losses import CGMVAELoss
from skcgmvae._network import CGMVAE

assert_close = torch.testing.assert_close

B, D, L = 6, 7, 40
Y = torch.zeros(B, L, dtype=torch.float64)
for row, labels in enumerate(([3], [3, 7, 30], [], [12], [7, 12], [39])):
    Y[row, labels] = 1
OCCURRING = {3, 7, 12, 30, 39}


def make(size, **options):
    """A small float64 network without chance but the draw of labels."""
    torch.manual_seed(0)
    module = CGMVAE(
        n_rows=20,
        n_features=D,
        n_labels=L,
        max_labels_per_step=size,
        **{
            "latent_dim": 3,
            "embedding_dim": 8,
            "encoder_layer_sizes": (9,),
            "label_encoder_layer_sizes": (10,),
            "decoder_layer_sizes": (11,),
            "dropout": 0.0,
            "input_dropout": 0.0,
            "min_latent_std": 0.0,
        }
        | options,
    ).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def features(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.empty(*shape, dtype=torch.float64).normal_(generator=generator)


@pytest.fixture
def no_noise(monkeypatch):
    monkeypatch.setattr(torch, "randn", torch.zeros)


# -- the draw --------------------------------------------------------------------


@pytest.mark.parametrize("size", [6, 12, 39])
def test_all_that_occur_and_others_evenly(size):
    torch.manual_seed(0)
    counts = np.zeros(L)
    n_draws, n_drawn = 400, size - len(OCCURRING)
    for _ in range(n_draws):
        sample = draw_labels(Y, size)
        assert len(set(sample.labels.tolist())) == len(sample.labels) == size
        counts[sample.labels] += 1
        of_occurring = [label in OCCURRING for label in sample.labels.tolist()]
        expected = np.where(of_occurring, 1, (L - len(OCCURRING)) / n_drawn)
        np.testing.assert_allclose(sample.weight, expected)
    absent = sorted(set(range(L)) - OCCURRING)
    assert (counts[list(OCCURRING)] == n_draws).all()
    share = n_drawn / len(absent)
    deviation = (n_draws * share * (1 - share)) ** 0.5
    assert np.abs(counts[absent] - n_draws * share).max() < 4 * deviation + 1e-9


@pytest.mark.parametrize("size", [1, 5])
def test_where_more_occur_all_of_these_are_taken_and_no_others(size):
    sample = draw_labels(Y, size)
    assert set(sample.labels.tolist()) == OCCURRING
    assert (sample.weight == 1).all()


def test_members_share_the_draw():
    sample = draw_labels(torch.stack([Y, Y.roll(1, dims=1)]), 12)
    assert OCCURRING | {(label + 1) % L for label in OCCURRING} <= set(
        sample.labels.tolist()
    )
    assert len(sample.labels) == 12


# -- the losses ------------------------------------------------------------------

OPTIONS = [
    {},
    {"n_members": 2},
    {"label_branch": True, "n_samples": 2, "normalize": "feature"},
    {"prior": None, "normalize": None, "linear_path": False},
]


def step(module, x, y, **criterion):
    """The terms of the loss, and the gradients of its mean."""
    module.zero_grad()
    terms = CGMVAELoss(kl_weight=0.5, **criterion)(module.training_output(x, y), y)
    terms["loss"].mean().backward()
    trained = {n: p for n, p in module.named_parameters() if is_trained(n)}
    return terms, {name: p.grad.clone() for name, p in trained.items()}


def form(x, sparse):
    return as_sparse(x * (x > 0)) if sparse else x * (x > 0)


def criterion_of(options):
    names = ("prior", "normalize", "linear_path", "label_branch")
    return {name: options[name] for name in names if name in options}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_cross_entropies_and_penalty_are_right_on_average(options, sparse, no_noise):
    """And their gradients; a mean of draws, within what its own spread allows."""
    criterion = criterion_of(options) | {"alpha": 0.0}
    criterion |= {"label_smoothing": 0.3, "label_log_odds": features(L)}
    members = (2,) if options.get("n_members") else ()
    y = torch.stack([Y, Y.roll(1, dims=1)]) if members else Y
    x = form(features(*members, B, D), sparse)
    full, gradients = step(make(None, **options), x, y, **criterion)
    module = make(20, **options)
    draws = [step(module, x, y, **criterion) for _ in range(150)]

    def assert_unbiased(found, expected):
        found = torch.stack(found)
        error = found.std(dim=0) / len(found) ** 0.5
        assert ((found.mean(dim=0) - expected).abs() <= 5 * error + 1e-9).all()

    names = {"kl", "cross_entropy", "linear"} & full.keys()
    assert names >= {"cross_entropy"}
    for name in names:
        assert_unbiased([terms[name] for terms, _ in draws], full[name].detach())
    spread = torch.stack([terms["cross_entropy"] for terms, _ in draws]).std(dim=0)
    assert (spread > 0).all()
    for name, expected in gradients.items():
        assert_unbiased([found[name] for _, found in draws], expected)


def test_contrast_is_that_of_a_sampled_softmax(no_noise):
    module, x = make(15, prior=None), features(B, D)
    output = module.training_output(x, Y)
    found = CGMVAELoss(prior=None, beta=0.0, temperature=0.7)(output, Y)["contrastive"]
    embedding = output.embedding.detach().numpy()
    w = module.label_embedding.detach().numpy()
    labels, y = output.sample.labels.tolist(), Y.numpy()
    for row in range(B):
        if not y[row].any():
            assert found[row] == 0
            continue
        cosine = [
            embedding[row] @ v / np.linalg.norm(embedding[row]) / np.linalg.norm(v)
            for v in w
        ]
        total = sum(
            np.exp(cosine[label] / 0.7) * (1 if label in OCCURRING else 35 / 10)
            for label in labels
        )
        positive = [cosine[label] / 0.7 for label in np.flatnonzero(y[row])]
        assert found[row].item() == pytest.approx(np.log(total) - np.mean(positive))


def test_contrast_tends_to_that_of_all_labels(no_noise):
    """Its logarithm is not linear, so that only many labels make it right."""
    x = features(B, D)
    criterion = CGMVAELoss(prior=None, beta=0.0, linear_path=False)
    options = {"prior": None, "linear_path": False}
    expected = criterion(make(None, **options).training_output(x, Y), Y)["loss"]
    module = make(30, **options)
    found = torch.stack(
        [criterion(module.training_output(x, Y), Y)["loss"] for _ in range(300)]
    )
    assert_close(found.mean(dim=0), expected, rtol=0, atol=0.01)
    assert found.std(dim=0)[0] > 0.01


# -- the seam --------------------------------------------------------------------


@pytest.mark.parametrize("members", [(), (2,)])
def test_heads_are_of_all_labels(members, no_noise):
    n_members = {"n_members": 2} if members else {}
    x, y = features(*members, B, D), Y.expand(*members, B, L)
    everything = make(None, **n_members).training_output(x, y).heads
    output = make(12, **n_members).training_output(x, y)
    seen = output.sample.labels
    rest = np.setdiff1d(np.arange(L), seen)
    assert_close(output.heads[..., seen], everything[..., seen])
    mean = everything[..., seen].mean(dim=-1, keepdim=True)
    assert_close(output.heads[..., rest], mean.expand(*members, B, 2, len(rest)))


def test_no_tensor_of_rows_by_all_labels():
    module = make(12).float()
    y, x = Y.float().repeat(50, 1), features(50 * B, D).float()
    output = None

    def sampled():
        nonlocal output
        output = module.training_output(x, y)
        CGMVAELoss()(output, y)["loss"].mean().backward()

    with LargestTensor() as recorder:
        sampled()
    # That of y itself, which is given: which labels occur at all.
    n_rows, n_seen = len(x), len(output.sample.labels)
    assert output.logits.shape == (n_rows, n_seen)
    assert recorder.numel <= n_rows * n_seen


# -- the classifier --------------------------------------------------------------

X_TOY, Y_TOY = toy()


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("size", [5, 100])
def test_no_fewer_than_there_are_is_the_same_model(size, n_members):
    plain = small(n_members=n_members, max_iter=2).fit(X_TOY, Y_TOY)
    bounded = small(n_members=n_members, max_iter=2, max_labels_per_step=size)
    np.testing.assert_array_equal(
        bounded.fit(X_TOY, Y_TOY).predict_proba(X_TOY), plain.predict_proba(X_TOY)
    )


class Watching(Callback):
    """What callbacks see of each training step."""

    def __init__(self):
        self.shapes = set()

    def on_batch_end(self, net, batch, training, y_pred, **kwargs):
        if training:
            self.shapes.add((tuple(batch[1].shape), tuple(y_pred.shape)))


def many_labels(n_rows=300, n_labels=120):
    """A label or two of many for each row, told by the features."""
    rng = np.random.RandomState(0)
    X = rng.randn(n_rows, 10)
    scores = X @ rng.randn(10, n_labels)
    Y = np.zeros((n_rows, n_labels), dtype=int)
    for rank in (1, 2):
        Y[np.arange(n_rows), scores.argsort(axis=1)[:, -rank]] = 1
    return X, Y


@pytest.mark.parametrize("sparse", [False, True])
def test_it_learns_and_knows_how_rare_labels_are(sparse):
    X, Y = many_labels()
    X, given = (sp.csr_matrix(X), sp.csr_matrix(Y)) if sparse else (X, Y)
    watching = Watching()
    clf = small(
        n_members=2,
        batch_size=10,
        max_labels_per_step=60,
        max_iter=12,
        min_steps_per_epoch=27,
        callbacks=[watching],
    ).fit(X, given)
    assert watching.shapes == {((20, 120), (20, 2, 120))}
    probabilities = clf.predict_proba(X)
    best = probabilities.argmax(axis=1)
    assert Y[np.arange(len(Y)), best].mean() > 0.5  # 1.7 % by chance
    assert probabilities.mean() == pytest.approx(Y.mean(), rel=0.3)
