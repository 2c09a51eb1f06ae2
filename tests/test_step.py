"""Compiled steps: one graph for each shape, and the results of plain steps."""

import copy
import functools
import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import DEVICE, is_trained, small, toy
from sklearn.base import clone
from skorch.callbacks import Callback

from skcgmvae import CGMVAEClassifier, _step
from skcgmvae._batches import Rows

# What inductor imports.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

X, Y = toy()
# One that few batches have.
Y = np.column_stack([Y, np.arange(len(Y)) % 50 == 7])


@pytest.fixture
def graphs(monkeypatch):
    """A compiler that takes no time; what it has been given to compile, in a list."""
    given = []

    def backend(graph, inputs):
        given.append(graph)
        return graph.forward

    @functools.cache
    def compiled(device_type):
        # As its own, but for the backend.
        return torch.compile(
            _step.step_losses,
            backend=backend,
            fullgraph=True,
            dynamic=False,
            recompile_limit=_step.MOST_GRAPHS,
        )

    monkeypatch.setattr(_step, "compiled", compiled)
    return given


@pytest.fixture
def same_noise_for_all_rows(monkeypatch):
    """Else rows of a batch that is filled up would draw other random numbers."""

    def randn(*shape, **options):
        return torch.linspace(-1, 1, shape[-1], **options).expand(shape).clone()

    monkeypatch.setattr(torch, "randn", randn)


def assert_same_training(found, expected, atol=1e-5):
    weights = dict(expected.net_.module_.named_parameters())
    for name, weight in found.net_.module_.named_parameters():
        torch.testing.assert_close(weight, weights[name], rtol=1e-5, atol=atol)
    for epoch, other in zip(found.history_, expected.history_, strict=True):
        terms = [name for name in other if name.startswith(("train", "valid"))]
        assert "train_loss" in terms
        for name in terms:
            np.testing.assert_allclose(epoch[name], other[name], rtol=1e-4)
    np.testing.assert_allclose(
        found.predict_proba(X), expected.predict_proba(X), rtol=0, atol=atol
    )


NETWORKS = {
    "default": {},
    "members": {"n_members": 3},
    "bfloat16": {"precision": "bfloat16"},
    "latent means stretched": {"min_latent_std": 1e4, "n_members": 2},
    "labels smoothed": {"label_smoothing": 0.3},
    "all terms": {"reconstruction": "gaussian", "label_branch": True, "n_samples": 2},
    "one head": {"prior": "gaussian", "linear_path": False, "normalize": "feature"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_are_those_of_plain_training(graphs, name):
    parameters = {"batch_size": 20, "max_iter": 2} | NETWORKS[name]
    plain = small(**parameters).fit(X, Y)
    compiled = small(**parameters, compile=True).fit(X, Y)
    assert len(graphs) == 1
    # A last digit of float32 may be what a number is rounded up by in bfloat16.
    assert_same_training(compiled, plain, atol=1e-3 if name == "bfloat16" else 1e-5)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_smaller_batches_are_filled_up(
    graphs, same_noise_for_all_rows, n_members, weighted
):
    """The means are those of the batch as it was."""
    seen = []

    class Look(Callback):
        def on_batch_end(self, net, batch, y_pred, training, **kwargs):
            assert len(y_pred) == len(batch[1])
            if training:
                seen.append(len(y_pred) // n_members)

    parameters = {
        "n_members": n_members,
        "early_stopping": False,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "min_latent_std": 0.0,  # the row that fills up counts there
        "linear_penalty": 30.0,
        "batch_size": 6,
        "max_iter": 2,
        "callbacks": [Look()],
    }
    weight = np.random.RandomState(0).rand(52) if weighted else None
    data = X[:52], Y[:52], weight
    plain = small(**parameters).fit(*data)
    compiled = small(**parameters, compile=True).fit(*data)
    assert seen == 4 * [*7 * [6], *2 * [5]]
    assert len(graphs) == 1
    assert_same_training(compiled, plain)


def test_a_head_that_has_stopped_is_another_graph(graphs):
    parameters = {"max_iter": 30, "lr": 0.1, "n_iter_no_change": 2}
    plain = small(**parameters).fit(X, Y)
    compiled = small(**parameters, compile=True).fit(X, Y)
    assert np.isnan(plain.history_[-1, "train_linear"]) != np.isnan(
        plain.history_[-1, "train_kl"]
    )
    assert len(graphs) == 2
    assert_same_training(compiled, plain, atol=1e-4)


def test_trainings_of_one_shape_share_a_graph(graphs):
    for lr in (1e-3, 1e-2, 1e-1):
        small(compile=True, lr=lr, max_iter=2).fit(X, Y)
    assert len(graphs) == 1
    clf = small(compile=True, early_stopping=False)
    for n_rows in (40, 30, 40):
        clf.partial_fit(X[:n_rows], Y[:n_rows])
    assert len(graphs) == 3


def test_it_may_change_between_trainings(graphs):
    clf = small(warm_start=True).fit(X, Y)
    assert not graphs
    clf.set_params(compile=True).fit(X, Y)
    assert len(graphs) == 1
    clf.set_params(compile=False, batch_size=7).partial_fit(X, Y)
    assert len(graphs) == 1


def test_models_are_copied_saved_and_trained_on(graphs, tmp_path):
    clf = small(compile=True).fit(X, Y)
    expected = clf.predict_proba(X)
    clf.save_model(tmp_path / "model")
    copies = [
        copy.deepcopy(clf),
        pickle.loads(pickle.dumps(clf)),
        clone(clf).fit(X, Y),
        CGMVAEClassifier.load_model(tmp_path / "model", device=DEVICE),
    ]
    for other in copies:
        np.testing.assert_array_equal(other.predict_proba(X), expected)
        assert other.partial_fit(X, Y).compile
    assert len(graphs) == 2  # of nine tenths of the rows, and of all


def test_a_training_goes_on_from_a_checkpoint(graphs, tmp_path, same_fall):
    path = tmp_path / "training"
    whole = small(compile=True, batch_size=9).fit(X, Y)
    parameters = {"batch_size": 9, "checkpoint": path}
    small(compile=True, **parameters, max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match="compile=True instead of False"):
        small(**parameters).fit(X, Y)
    rest = small(compile=True, **parameters).fit(X, Y)
    np.testing.assert_array_equal(rest.predict_proba(X), whole.predict_proba(X))


# -- plain steps ----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "bfloat16"])
def test_a_step_does_not_wait_for_its_device(monkeypatch, name, weighted):
    """On the device meta there are no numbers, so that none can be asked for."""
    with pytest.raises(NotImplementedError):
        torch.ones(3, device="meta").nonzero()
    clf = small(**NETWORKS[name]).fit(X, Y)
    net, rows = clf.net_, Rows(X.astype(np.float32), Y, np.ones(len(X)) * weighted)
    sizes = {n: v for n, v in net.get_params().items() if n.startswith("module__")}
    with torch.device("meta"):
        module = net.module(**{n.removeprefix("module__"): v for n, v in sizes.items()})
    rows.device = torch.device("meta")
    rows.X, rows.y = rows.X.to("meta"), rows.y.to("meta")
    criterion = net.criterion_.to("meta")
    rows.sample_weight = rows.sample_weight.to("meta") if weighted else None
    index = torch.arange(20).expand(*module.members, 20)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    x, y = rows.take(rows.near(index))
    loss, terms, means, heads = _step.step_losses(
        module, criterion, "float32", x["x"], y, x.get("sample_weight")
    )
    loss.backward()
    assert len(means) == len(terms) and heads.shape[:-2] == index.shape
    trained = [p for n, p in module.named_parameters() if is_trained(n)]
    assert all(p.grad.device.type == "meta" for p in trained)


# -- what cannot be compiled ----------------------------------------------------------


def test_batches_of_many_shapes_are_refused():
    with pytest.raises(ValueError, match=r"compile=True needs a dense X.*toarray"):
        small(compile=True).fit(sp.csr_matrix(X), Y)
    with pytest.raises(ValueError, match=r"compile=True.*max_labels_per_step=3 at"):
        small(compile=True, max_labels_per_step=3).fit(X, Y)
    with pytest.raises(ValueError, match="'compile' parameter.*'cuda'"):
        small(compile="cuda").fit(X, Y)


# -- torch's own compiler --------------------------------------------------------------


def test_without_a_compiler_the_error_says_what_is_wanted():
    from torch._inductor import config

    with (
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(RuntimeError, match=r"compile=True.*C\+\+ compiler.*no-such-c"),
    ):
        small(compile=True, prior=None, linear_path=False).fit(X, Y)


def test_an_error_in_compiling_leaves_a_trained_model_as_it_was(monkeypatch):
    clf = small(warm_start=True).fit(X, Y)
    expected = clf.predict_proba(X)

    def unsupported(*_):
        raise RuntimeError("torch.compile is not supported on Python 9")

    monkeypatch.setattr(_step, "compiled", unsupported)
    with pytest.raises(RuntimeError, match="compile=True, but.*Python 9"):
        clf.set_params(compile=True).fit(X, Y)
    np.testing.assert_array_equal(clf.predict_proba(X), expected)


def test_inductor_comes_to_the_same():
    # Every further term takes the compiler seconds.
    parameters = {"max_iter": 2, "alpha": 0.0, "linear_path": False}
    plain = small(**parameters).fit(X, Y)
    compiled = small(**parameters, compile=True).fit(X, Y)
    assert_same_training(compiled, plain)
    difference = compiled.predict_proba(X) - plain.predict_proba(X)
    assert np.abs(difference).max() > 0  # other kernels have other last digits
    again = small(**parameters, compile=True).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), compiled.predict_proba(X))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.filterwarnings("ignore:This process is multi:DeprecationWarning")
def test_a_process_that_was_forked_off_compiles_too():
    """Though the threads that compiled in its parent are not there."""

    def compile_something_new():
        number = time.time()  # so that it is in no cache
        found = torch.compile(lambda x: x.sin() * number, dynamic=False)(torch.ones(3))
        torch.testing.assert_close(found, torch.ones(3).sin() * number)

    compile_something_new()
    child = multiprocessing.get_context("fork").Process(target=compile_something_new)
    child.start()
    child.join(100)
    child.kill()
    assert child.exitcode == 0


def test_on_cuda_it_is_a_cuda_graph(monkeypatch):
    given = []
    monkeypatch.setattr(torch, "compile", lambda _, **k: given.append(k["options"]))
    for device_type in ("cpu", "cuda"):
        _step.compiled.__wrapped__(device_type)
    assert [options.get("triton.cudagraphs") for options in given] == [None, True]
