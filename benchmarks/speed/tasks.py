"""What is timed: a function a task, which measures one case in a process of its own.

Whatever is compared is measured in the same call, one after the other, in another order
each round. A task returns its measurements as a dict of numbers.
"""

import math
import os
import time
from itertools import count
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits

from benchmarks.accuracy.protocol import evaluate_probabilities, split
from benchmarks.speed import many_labels, memory, on_gpu, wide_sparse
from benchmarks.speed.plain import PlainLoop, SkorchLoop
from benchmarks.speed.timing import ONE_PASS, SIZES, in_turns, medians, random_data
from skcgmvae import CGMVAEClassifier
from skcgmvae._devices import subnormals_as_zero
from skcgmvae.baselines import BinaryRelevance, MLkNN
from skcgmvae.datasets import load_npz
from skcgmvae.metrics import label_probabilities

# -- the training step ---------------------------------------------------------


def step(case, number, device):
    """Milliseconds a training step; by hand, compiled, by skorch, of a whole fit."""
    data, n_members = case.split()[0], int(case.split()[1])
    X, Y = random_data(*SIZES[data])
    n_steps = math.ceil(len(X) / 128)
    n_passes = math.ceil(50 / n_steps)  # an epoch is at least 50 steps, by default
    # Short steps are felt by a busy moment, and by memory asked for in a first epoch.
    n_turns, n_epochs = (10, 2) if data == "yeast" else (1, 1)
    alone = {
        "n_members": n_members,
        "early_stopping": False,
        "max_iter": n_epochs,
        "random_state": 0,
        "device": device,
    }
    clf = CGMVAEClassifier(**alone).fit(X[:256], Y[:256])
    rows = clf._rows(clf.net_, X, Y, None)
    by_hand = PlainLoop(clf.net_, rows)
    whole_fit = []

    def trained(**parameters):
        start = time.perf_counter()
        model = clone(clf).set_params(**parameters).fit(X, Y)
        if not parameters:
            whole_fit.append((time.perf_counter() - start) / n_epochs)
        return model.history_[-1, "dur"]

    def repeated(loop):
        for _ in range(n_passes):
            loop.epoch()

    contestants = {
        "ours": trained,
        "by_hand": subnormals_as_zero()(lambda: repeated(by_hand)),
        "bfloat16": lambda: trained(precision="bfloat16"),
        "compiled": lambda: trained(compile=True),
    }
    start = time.perf_counter()
    with TemporaryDirectory() as cache:
        with patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=cache):
            trained(compile=True)
    first_compiled_fit = time.perf_counter() - start
    if n_members == 1:  # skorch's loader has one batch for all
        by_skorch = SkorchLoop(clf.net_, rows.X.cpu(), rows.y.float().cpu())
        by_skorch.initialize()
        contestants["skorch"] = lambda: repeated(by_skorch)
    seconds = in_turns(contestants, number, n_turns)
    scale = 1000 / n_steps / n_passes
    return medians(seconds, scale) | {
        "ratio": float(np.median(seconds["ours"] / seconds["by_hand"])),
        "whole_fit": scale * float(np.median(whole_fit[1:])),
        "first_compiled_fit": first_compiled_fit,
        "validation_share": validation_share(X, Y, n_members, device),
    }


class ValidationTimer(Callback):
    """Where the time of the epochs goes: all of it, and what comes after the steps."""

    def __init__(self):
        self.total = self.validation = 0.0

    def on_epoch_begin(self, net, **kwargs):
        self.begun = time.perf_counter()

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.trained = time.perf_counter()

    def on_epoch_end(self, net, **kwargs):
        now = time.perf_counter()
        self.total += now - self.begun
        self.validation += now - self.trained


def validation_share(X, Y, n_members, device):
    """The part of the epochs that validates, where one passes over the rows once."""
    timer = ValidationTimer()
    CGMVAEClassifier(
        n_members=n_members,
        max_iter=2,
        min_steps_per_epoch=1,
        random_state=0,
        device=device,
        callbacks=[timer],
    ).fit(X, Y)
    return timer.validation / timer.total


# -- against rows, features and labels -----------------------------------------

CURVES = {
    "rows": (300, 1000, 3000, 10_000, 30_000),
    "features": (30, 100, 300, 1000, 3000),
    "labels": (10, 30, 100, 300, 1000),
}
FIXED = {"rows": 2000, "features": 100, "labels": 20}


def curves(case, number, device):
    """Seconds of two epochs, and the memory that a fit adds to that of the process."""
    axis, size = case.split()
    size = FIXED | {axis: int(size)}
    X, Y = random_data(*size.values())
    clf = CGMVAEClassifier(**ONE_PASS, max_iter=2, device=device)
    clone(clf).fit(*random_data(200, 10, 3))  # what is loaded at the first fit
    before = memory.held()
    memory.forget_peak()
    start = time.perf_counter()
    clf.fit(X, Y)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "added": (memory.peak() - before) / 2**20}


# -- predictions ---------------------------------------------------------------


def predict(case, number, device):
    """Rows a second of predict_proba with the defaults, yeast-sized data."""
    n_rows = int(case.split()[0])
    X, Y = random_data(*SIZES["yeast"])
    clf = CGMVAEClassifier(
        max_iter=1, min_steps_per_epoch=1, random_state=0, device=device
    ).fit(X, Y)
    rows = np.resize(X, (n_rows, X.shape[1]))
    clf.predict_proba(rows)
    start = time.perf_counter()
    for times in count(1):
        clf.predict_proba(rows)
        seconds = time.perf_counter() - start
        if seconds > 0.3:
            return {"rows_a_second": n_rows * times / seconds}


# -- peers ---------------------------------------------------------------------


def real_data(name, n_rows=None):
    """The data set, or, where there is no folder of data sets, one of its size."""
    if os.environ.get("SKCGMVAE_DATA"):
        X, Y = load_npz(name, return_X_y=True)
        Y = Y.toarray() if issparse(Y) else Y
    else:
        X, Y = random_data(*SIZES[name])
    return X[:n_rows], Y[:n_rows]


PEERS = {
    "CGMVAEClassifier": lambda device: CGMVAEClassifier(random_state=0, device=device),
    "RandomForestClassifier": lambda _: RandomForestClassifier(random_state=0),
    "BinaryRelevance": lambda _: BinaryRelevance(LogisticRegression(max_iter=500)),
    "MLkNN": lambda _: MLkNN(),
}


def peers(case, number, device):
    """Seconds to fit 80 % of the rows and to predict the others, with the defaults."""
    data, n_rows = case.split()
    X, Y = real_data(data, int(n_rows))
    train, valid, test = split(len(Y), 0)
    test = np.concatenate([valid, test])
    measured = {}
    for name, make in PEERS.items():
        model = make(device)
        clone(model).fit(X[train][:100], Y[train][:100])
        start = time.perf_counter()
        model.fit(X[train], Y[train])
        fitted = time.perf_counter()
        label_probabilities(model, X[test])
        measured[f"{name}, fit"] = fitted - start
        measured[f"{name}, predict"] = time.perf_counter() - fitted
    return measured


# -- a search ------------------------------------------------------------------


def search(case, number, device):
    """Seconds of a grid search, one fit after another and two at a time.

    Its process has the threads that torch takes by itself. ``cold`` starts the workers,
    ``two`` has them. The files in which joblib keeps its arrays are its own affair.
    """
    X, Y = random_data(*SIZES["yeast"])
    clf = CGMVAEClassifier(
        n_members=1, max_iter=2, early_stopping=False, random_state=0, device="cpu"
    )
    grid = {"lr": [1e-3, 2e-3, 4e-3], "alpha": [0.5, 1.0]}

    def seconds(n_jobs):
        start = time.perf_counter()
        GridSearchCV(
            clf, grid, cv=3, n_jobs=n_jobs, refit=False, scoring=log_loss_score
        ).fit(X, Y)
        return time.perf_counter() - start

    clone(clf).fit(X, Y)
    measured = {"one": seconds(1), "threads": torch.get_num_threads()}
    measured |= {"cold": seconds(2), "two": seconds(2)}
    workers = Parallel(n_jobs=2)(delayed(torch.get_num_threads)() for _ in range(4))
    # A process that multiprocessing has made waits for them at its end, five minutes.
    get_reusable_executor().shutdown()
    torch.set_num_threads(1)
    return measured | {"one_thread": seconds(1), "threads_of_workers": max(workers)}


def log_loss_score(clf, X, Y):
    """To be maximised."""
    return -log_loss(Y.ravel(), clf.predict_proba(X).ravel())


# -- accuracy of the precisions ------------------------------------------------


def precision(case, number, device):
    """What validation rows say of a training in either precision; a split a round."""
    X, Y = real_data(case)
    train, valid, _ = split(len(Y), number)
    measured = {}
    for name in ("float32", "bfloat16"):
        clf = CGMVAEClassifier(
            n_members=1, precision=name, random_state=number, device=device
        ).fit(X[train], Y[train])
        P = clf.predict_proba(X[valid])
        ranking = evaluate_probabilities(Y[valid], P)
        measured[f"log-loss, {name}"] = ranking["log-loss"]
        measured[f"LRAP, {name}"] = ranking["LRAP"]
    return measured


# -- large data ----------------------------------------------------------------


def scale(case, number, device):
    """Training on a hundred thousand labels, or on a million wide sparse rows."""
    if case == "labels":
        return many_labels.measure(device=device)
    return wide_sparse.measure(device=device, batch_size=2048)


# -- a GPU ---------------------------------------------------------------------


def gpu(case, number, device):
    """Rows a second beside skorch; or the share of the device's own matrix products."""
    if case == "yeast":
        return on_gpu.beside_skorch(number, device)
    return on_gpu.million_rows(device, compile=case == "million, compiled")


# -- all of them ---------------------------------------------------------------

TASKS = {
    "step": [f"{d} {m}" for d in ("yeast", "delicious") for m in (1, 4)],
    "curves": [f"{axis} {size}" for axis, sizes in CURVES.items() for size in sizes],
    "predict": ["1 row", "100 rows", "10000 rows"],
    "peers": ["yeast 2417", "bibtex 1000"],
    "search": ["yeast"],
    "precision": ["yeast", "scene"],
    "scale": ["labels", "sparse"],
    "gpu": ["yeast", "million", "million, compiled"],
}

# Of these no more rounds are needed, or could be waited for.
MOST_ROUNDS = {"curves": 3, "peers": 1, "search": 3, "precision": 3, "scale": 1}


def measure(task, case, number, device):
    """Run a task in this process, on one thread unless the task is about threads."""
    function = globals()[task]
    if task == "search":
        return function(case, number, device)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return function(case, number, device)
