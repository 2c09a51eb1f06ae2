"""A training kept in a file, epoch by epoch, to go on from after a kill."""

import json
import warnings
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from skorch.callbacks import Callback, LRScheduler
from skorch.history import History

from skcgmvae._batches import is_memory_mapped
from skcgmvae._files import (
    DamagedFileError,
    as_tensors,
    read_tree,
    remove_drafts,
    write_tree,
)
from skcgmvae._random import generator_states, set_generator_states

# Raised when a checkpoint comes to hold something else, or when a version did what no
# parameter's default says today: 3, all members see ranks, and the linear path bins; 4,
# a training ends with a calibration by the labels' frequencies; 5, latent means have a
# least width; 6, the penalty of the linear path falls; 7, of many rows those that are
# ranked are drawn; 8, weights of rare counts cost less.
FORMAT = 8

# MiB of rows that are copied to see whether they are the same.
CHUNK_MEMORY = 8

# Parameters on which the weights after so many epochs do not depend, but for a max_iter
# of so few steps that the penalty of the linear path falls faster.
FREE = {
    "callbacks",
    "checkpoint",
    "device",  # the one that is meant is compared, not its name
    "max_iter",
    "threshold",
    "verbose",
    "warm_start",
}


def training_file(estimator, device, data, *, goes_on):
    """The file that a fit is to be kept in, or None without ``estimator.checkpoint``.

    ``goes_on``: whether the fit goes on from an earlier one.
    """
    if estimator.checkpoint is None:
        return None
    if goes_on:
        raise ValueError(
            f"checkpoint={str(estimator.checkpoint)!r} cannot keep a fit that goes on "
            "from an earlier one; set checkpoint=None or warm_start=False."
        )
    return TrainingFile(estimator.checkpoint, estimator, device, data)


class TrainingFile:
    """The file of one training: of which estimator on which data, and how far it is.

    Parameters
    ----------
    path : path-like
    estimator : object
        What is trained, as its parameters say.
    device : torch.device
    data : tuple of ndarray, CSR matrix or None
        What it is trained on.

    Attributes
    ----------
    state : dict or None
        What an earlier training left after its last whole epoch; None if there was
        none.

    Raises
    ------
    ValueError
        If the file is of another training, or damaged. It is left as it is.
    """

    def __init__(self, path, estimator, device, data):
        self.path = Path(path)
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ValueError(
                f"checkpoint={str(path)!r} must name a file in a folder that is there."
            )
        remove_drafts(self.path)
        self.training = {
            "format": FORMAT,
            "estimator": type(estimator).__name__,
            "parameters": _described(estimator.get_params(deep=False)),
            "device": device.type,
            "data": joblib.hash([_content(array) for array in data]),
        }
        # What a version that did not have a parameter yet did is its default.
        self.defaults = _described(type(estimator)().get_params(deep=False))
        self.state = self._read() if self.path.exists() else None

    def _read(self):
        try:
            tree = read_tree(self.path)
        except DamagedFileError as error:
            self.refuse(str(error))
        found = tree.get("training", {})
        if "parameters" in found:
            found["parameters"] = self.defaults | found["parameters"]
        for name, wanted in self.training.items():
            if found.get(name) == wanted:
                continue
            if name == "data":
                self.refuse("It is of a training on other data.")
            if name == "parameters" and found.get(name):
                self.refuse(f"It was written with {_differences(found[name], wanted)}.")
            self.refuse(f"Its {name} is {found.get(name)!r}, and {wanted!r} is wanted.")
        return tree["state"]

    def refuse(self, reason):
        """Say why nothing can go on from the file."""
        raise ValueError(
            f"checkpoint={str(self.path)!r} cannot be gone on from. {reason} Give "
            "another path, or delete the file to train anew."
        )

    def random_state(self, given):
        """The generator that the training began with: the kept one, or the given."""
        if self.state is not None:
            begun = self.state["random_state"]
            given = np.random.RandomState()
            given.set_state(("MT19937", begun["key"], *begun["rest"]))
        _, key, *rest = given.get_state()
        self.begun_with = {"key": key, "rest": rest}
        return given

    def write(self, state):
        """Keep a later state; a file that cannot be written costs a warning."""
        state = {"random_state": self.begun_with, **state}
        try:
            write_tree(self.path, {"training": self.training, "state": state})
        except OSError as error:
            warnings.warn(
                f"checkpoint={str(self.path)!r} could not be written after epoch "
                f"{len(state['history'])} ({error}). Training goes on.",
                UserWarning,
                stacklevel=2,
            )


class KeepTraining(Callback):
    """Keep at the end of each epoch all that training goes on from, and begin there.

    Of other callbacks only the schedules of skorch's LRScheduler are kept.
    """

    def initialize(self):
        self.file_ = None
        return self

    @contextmanager
    def attached(self, file):
        """Keep the training inside in a :class:`TrainingFile`, or not if it is None."""
        self.file_ = file
        try:
            yield
        finally:
            self.file_ = None  # the model keeps this callback

    def on_train_begin(self, net, **kwargs):
        if self.file_ is None or self.file_.state is None:
            return
        state = self.file_.state
        done = len(state["history"])
        if done > net.max_epochs:
            raise ValueError(
                f"max_iter={net.max_epochs}, but checkpoint={str(self.file_.path)!r} "
                f"has seen {done} epochs. Raise max_iter or delete the file."
            )
        found, wanted = set(state["schedules"]), {name for name, _ in _schedules(net)}
        if found != wanted:
            self.file_.refuse(
                f"It was written with {_named(found)} in callbacks, and there is "
                f"{_named(wanted)}."
            )
        net.max_epochs = 0 if state["finished"] else net.max_epochs - done
        _restore(net, state)

    def on_epoch_end(self, net, **kwargs):
        if self.file_ is not None:
            self.file_.write(_state(net))


def _state(net):
    """All that the next epoch depends on, as a tree."""
    return {
        "finished": net.stop_requested_,
        "history": [epoch | {"batches": []} for epoch in net.history],
        "weights": dict(net.module_.named_parameters()),
        "average": net.average_weights_ or {},
        "n_steps": net.n_steps_,
        "optimizer": _with_keys(str, net.optimizer_.state_dict()),
        "schedules": {
            name: {"batch": callback.batch_idx_, **callback.lr_scheduler_.state_dict()}
            for name, callback in _schedules(net)
        },
        "keep_best": dict(net.callbacks_)["keep_best"].state(),
        "generators": generator_states(torch.device(net.device)),
    }


def _restore(net, state):
    tensors = as_tensors(state)
    net.history = History(state["history"])
    net.load_weights(tensors["weights"])
    if tensors["average"]:
        net.average_weights_ = {
            name: tensors["average"][name].to(net.device)
            for name, _ in net.module_.named_parameters()
        }
    net.n_steps_ = state["n_steps"]
    net.optimizer_.load_state_dict(_with_keys(int, tensors["optimizer"]))
    for name, callback in _schedules(net):
        schedule = dict(state["schedules"][name])
        callback.batch_idx_ = schedule.pop("batch")
        callback.lr_scheduler_.load_state_dict(schedule)
    kept = state["keep_best"] | {"best_weights_": tensors["keep_best"]["best_weights_"]}
    dict(net.callbacks_)["keep_best"].set_state(kept)
    set_generator_states(tensors["generators"], torch.device(net.device))


def _schedules(net):
    return [(n, c) for n, c in net.callbacks_ if isinstance(c, LRScheduler)]


def _named(schedules):
    return ", ".join(sorted(schedules)) or "no LRScheduler"


def _with_keys(kind, optimizer_state):
    """An optimiser's state with the numbers of its parameters as text, or back."""
    return optimizer_state | {
        "state": {kind(k): state for k, state in optimizer_state["state"].items()}
    }


def _content(array):
    """What says whether two arrays are the same, without what they have cached."""
    if issparse(array):
        return array.shape, array.data, array.indices, array.indptr
    if is_memory_mapped(array) and not array.flags.forc:
        # joblib reads what is contiguous from where it is, and copies what is not.
        row_bytes = max(1, array.itemsize * array.shape[-1])
        n_rows = get_chunk_n_rows(row_bytes=row_bytes, working_memory=CHUNK_MEMORY)
        parts = gen_batches(len(array), n_rows)
        return array.shape, [joblib.hash(array[part]) for part in parts]
    return array


def _described(parameters):
    """The parameters that matter, in the form in which JSON gives them back."""

    def describe(value):
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        return type(value).__name__

    kept = {name: value for name, value in parameters.items() if name not in FREE}
    return json.loads(json.dumps(kept, default=describe))


def _differences(found, wanted):
    return ", ".join(
        f"{name}={found.get(name)!r} instead of {value!r}"
        for name, value in wanted.items()
        if found.get(name) != value
    )
