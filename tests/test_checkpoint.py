"""Training kept in a file: what goes on ends as what never stopped."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import DEVICE, SMALL, small, toy
from skorch.callbacks import Callback, LRScheduler
from torch.optim.lr_scheduler import OneCycleLR

from skcgmvae._files import read_tree, write_tree

X, Y = toy()
WEIGHT = np.linspace(0.5, 2, len(X))
MAX_ITER = 8

# Name: parameters.
TRAININGS = {
    "defaults": {},
    "ensemble": {"n_members": 2},
    "nothing held out": {"early_stopping": False},
    "plain weights": {"ema_decay": 0.0},
    "stops early": {"lr": 0.1, "n_iter_no_change": 2, "max_iter": 30},
    "reconstruction": {"reconstruction": "gaussian"},
    "latent means stretched": {"min_latent_std": 1e4, "n_members": 2},
    "too sure": {
        "label_smoothing": "auto",
        "lr": 0.05,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "ema_decay": 0.0,
    },
}


class CrashError(Exception):
    """Stands for whatever ends a process."""


class CrashAt(Callback):
    """Ends the training at its nth step."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, net, training, **kwargs):
        self.step -= training
        if not self.step:
            raise CrashError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "training"


def train(path=None, crash_at=None, data=(X, Y), callbacks=(), **parameters):
    """A fit that may crash; the estimator, or None if it did."""
    callbacks = [*callbacks, *([CrashAt(crash_at)] if crash_at else [])]
    clf = small(
        **{"max_iter": MAX_ITER} | parameters, checkpoint=path, callbacks=callbacks
    )
    try:
        return clf.fit(*data)
    except CrashError:
        return None


def assert_same_end(found, expected):
    ours, theirs = found.net_.module_.state_dict(), expected.net_.module_.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    np.testing.assert_array_equal(found.logit_scale_, expected.logit_scale_)
    np.testing.assert_array_equal(found.logit_shift_, expected.logit_shift_)
    assert found.best_epoch_ == expected.best_epoch_
    without_clock = [
        [{k: v for k, v in epoch.items() if k != "dur"} for epoch in clf.history_]
        for clf in (found, expected)
    ]
    assert repr(without_clock[0]) == repr(without_clock[1])  # they may hold NaN
    optimizers = [
        clf.net_.optimizer_.state_dict()["state"] for clf in (found, expected)
    ]
    for number, state in optimizers[1].items():
        assert all(torch.equal(optimizers[0][number][k], state[k]) for k in state)


# -- the same end ----------------------------------------------------------------


@pytest.mark.parametrize("name", TRAININGS)
def test_what_goes_on_ends_as_what_never_stopped(path, name):
    parameters = TRAININGS[name]
    expected = train(**parameters)
    for crash_at in (1, 7, 13):  # in the 1st epoch, the 2nd, two epochs after that
        assert train(path, crash_at, **parameters) is None
    seen = len(read_tree(path)["state"]["history"])
    assert seen == 3
    clf = train(path, **parameters)
    assert_same_end(clf, expected)
    # What had come to its end ends at once, with the same.
    assert_same_end(train(path, crash_at=1, **parameters), expected)
    # It can be gone on with as ever, without the file.
    content = path.read_bytes()
    assert_same_end(clf.partial_fit(X, Y), expected.partial_fit(X, Y))
    assert path.read_bytes() == content


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_and_sparse_data(path, sparse):
    x, y = (sp.csr_matrix(X), sp.csr_matrix(Y)) if sparse else (X, Y)
    data = x, y, WEIGHT
    assert train(path, 12, data) is None
    if sparse:
        x.has_sorted_indices  # noqa: B018  the matrix remembers that it was asked
    assert_same_end(train(path, data=data), train(data=data))


@pytest.mark.parametrize("random_state", [None, 0])
def test_without_a_seed_the_file_remembers(path, random_state):
    """Rows are held out again as in the beginning, whatever generator drew them."""
    if random_state is not None:
        random_state = np.random.RandomState(random_state)
    assert train(path, 8, random_state=random_state) is None
    begun = read_tree(path)["state"]["random_state"]
    generator = np.random.RandomState()
    generator.set_state(("MT19937", begun["key"], *begun["rest"]))
    expected = train(random_state=generator)
    other = None if random_state is None else np.random.RandomState(7)
    clf = train(path, random_state=other)
    assert clf.n_iter_ == MAX_ITER
    assert_same_end(clf, expected)


@pytest.mark.parametrize(
    ("policy", "parameters"),
    [
        ("CosineAnnealingLR", {"T_max": MAX_ITER}),
        ("StepLR", {"step_size": 3, "gamma": 0.5, "step_every": "batch"}),
        ("ReduceLROnPlateau", {"patience": 0, "monitor": "train_loss"}),
        (OneCycleLR, {"max_lr": 0.05, "total_steps": 50, "step_every": "batch"}),
    ],
)
def test_schedules_go_on(path, policy, parameters):
    def schedule():
        return LRScheduler(policy, **parameters)

    expected = train(callbacks=[schedule()])
    assert train(path, 23, callbacks=[schedule()]) is None
    assert_same_end(train(path, callbacks=[schedule()]), expected)
    # The schedule does something.
    with pytest.raises(AssertionError):
        assert_same_end(train(), expected)


def test_more_epochs_may_be_asked_for(path, same_fall):
    train(path, max_iter=3)
    assert_same_end(train(path), train())
    with pytest.raises(ValueError, match=r"max_iter=3, but checkpoint=.* 8 epochs"):
        train(path, max_iter=3)


def test_what_does_not_matter_may_change(path):
    train(path, 8)
    clf = train(path, verbose=0, threshold=0.3, device=torch.device(DEVICE))
    assert_same_end(clf, train())


def test_interrupted_training_goes_on(path):
    class Interrupt(CrashAt):
        def on_batch_end(self, net, training, **kwargs):
            self.step -= training
            if not self.step:
                raise KeyboardInterrupt

    with pytest.warns(match="interrupted in epoch 3"):
        clf = train(path, callbacks=[Interrupt(13)])
    assert np.isfinite(clf.predict_proba(X)).all()
    assert_same_end(train(path), train())


def test_without_checkpoint_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train()
    assert os.listdir(tmp_path) == []


def test_a_file_from_before_there_were_bins_is_refused(path):
    train(path, 8)
    tree = read_tree(path)
    del tree["training"]["parameters"]["n_bins"]
    tree["training"]["format"] = 2
    write_tree(path, tree)
    with pytest.raises(ValueError, match="Its format is 2, and 8 is wanted"):
        train(path)


def test_other_schedules_are_refused(path):
    schedule = LRScheduler("ExponentialLR", gamma=0.9)
    train(path, 8)
    with pytest.raises(ValueError, match="no LRScheduler in callbacks.*is LRScheduler"):
        train(path, callbacks=[schedule])
    path.unlink()
    train(path, 8, callbacks=[schedule])
    with pytest.raises(ValueError, match=r"with LRScheduler in.*is no LRScheduler\."):
        train(path)


# -- killed processes ------------------------------------------------------------

KILLED = """
import os, signal, sys
from common import small, toy
from skorch.callbacks import Callback

class KillAt(Callback):
    def on_batch_end(self, net, training, **kwargs):
        if len(net.history) == 4:
            os.kill(os.getpid(), signal.SIGKILL)

path, when = sys.argv[1:]
if when == "writing":
    fsync, writes = os.fsync, []
    def fsync_or_die(file):
        writes.append(file)
        if len(writes) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(file)
    os.fsync = fsync_or_die
callbacks = [KillAt()] if when == "training" else None
small(max_iter=8, checkpoint=path, callbacks=callbacks).fit(*toy())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_killed_processes_leave_what_can_be_gone_on_from(path):
    """One is killed in the middle of writing the file, one between two epochs."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    for when, n_epochs in [("writing", 1), ("training", 3)]:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, path, when],
            env=environment,
            capture_output=True,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert len(read_tree(path)["state"]["history"]) == n_epochs
        drafts = len(os.listdir(path.parent)) - 1
        assert drafts == (when == "writing")
    assert_same_end(train(path), train())
    assert os.listdir(path.parent) == [path.name]


# -- files that are refused ------------------------------------------------------


OTHER = {
    "features": ({"data": (X + 1e-9, Y)}, "of a training on other data"),
    "labels": ({"data": (X, Y[:, ::-1])}, "of a training on other data"),
    "order": ({"data": (X[::-1], Y[::-1])}, "of a training on other data"),
    "weights": ({"data": (X, Y, WEIGHT)}, "of a training on other data"),
    "parameters": (
        {"lr": 0.3, "alpha": 2.0},
        r"It was written with alpha=1.0 instead of 2.0, lr=0.01 instead of 0.3\.",
    ),
    "seed": ({"random_state": 1}, "random_state=0 instead of 1"),
    "array": (
        {"decoder_layer_sizes": np.array([7])},
        r"decoder_layer_sizes=\[32\] instead of \[7\]",
    ),
    "generator": (
        {"random_state": np.random.RandomState(0)},
        "random_state=0 instead of 'RandomState'",
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_trainings_are_refused(path, name):
    changed, message = OTHER[name]
    train(path, 8)
    content = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"checkpoint='.*' cannot be gone on"
    ) as caught:
        train(path, **changed)
    with pytest.raises(ValueError, match=message):
        raise caught.value
    assert path.read_bytes() == content


def test_parameters_that_a_file_does_not_know_were_at_their_defaults(path):
    train(path, 8)
    tree = read_tree(path)
    assert tree["training"]["parameters"].pop("max_labels_per_step") is None
    write_tree(path, tree)
    with pytest.raises(ValueError, match="with max_labels_per_step=None instead of 3."):
        train(path, max_labels_per_step=3)
    assert_same_end(train(path), train())


def test_another_device_is_refused(path, monkeypatch):
    train(path, 8)
    module = sys.modules["skcgmvae._neural"]
    monkeypatch.setattr(module, "resolve_device", lambda device: torch.device("meta"))
    with pytest.raises(ValueError, match=f"Its device is '{DEVICE}', and 'meta' is"):
        train(path)


@pytest.mark.parametrize("damage", ["cut", "altered", "of text", "empty", "model"])
def test_damaged_files_are_refused(path, damage):
    clf = train(path, max_iter=2)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-1000]
    elif damage == "altered":
        content[-1000] ^= 1
    elif damage == "model":
        clf.save_model(path)
        content = path.read_bytes()
    else:
        content = b"" if damage == "empty" else b"epoch 3 of 8"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint='.*' cannot be gone on from"):
        train(path)
    assert path.read_bytes() == content


def test_folders_that_are_not_there(tmp_path):
    for path in (tmp_path, tmp_path / "none" / "training"):
        with pytest.raises(ValueError, match=r"must name a file in a folder that is"):
            train(path)
    with pytest.raises(ValueError, match=r"'checkpoint' parameter .* must be"):
        train(3)


def test_warm_starts_cannot_be_kept(path):
    clf = train(path, warm_start=True)  # the first is a fit like any other
    with pytest.raises(ValueError, match=r"goes on from an earlier one; set checkp"):
        clf.fit(X, Y)
    clf.set_params(checkpoint=None, max_iter=1).fit(X, Y)
    assert clf.n_iter_ == MAX_ITER + 1


# -- a file that cannot be written -----------------------------------------------

FULL = """
import resource, sys, warnings
import numpy as np
from common import small, toy

X, Y = toy()
expected = small().fit(X, Y).predict_proba(X)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    clf = small(checkpoint=sys.argv[1]).fit(X, Y)
assert np.array_equal(clf.predict_proba(X), expected)
print(*(str(w.message) for w in caught), sep="\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_full_disk_costs_a_warning(path):
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", FULL, path],
        env=environment,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == SMALL["max_iter"], done.stderr
    for epoch, line in enumerate(lines, start=1):
        assert f"{str(path)!r} could not be written after epoch {epoch} (" in line
        assert "File too large" in line and "Training goes on" in line
    assert os.listdir(path.parent) == []


def test_what_was_kept_before_the_disk_was_full_stays(path, monkeypatch):
    train(path, 8)
    content = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        clf = train(path)
    assert path.read_bytes() == content
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_end(train(path), clf)
