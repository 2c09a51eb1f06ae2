"""One fit, one record; each in a process of its own, with limits on time and memory."""

import multiprocessing
import resource
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

import numpy as np
import scipy
import sklearn
import skorch
import torch
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import skcgmvae
from benchmarks.accuracy.models import MODELS
from benchmarks.accuracy.protocol import (
    evaluate,
    evaluate_probabilities,
    split,
    thresholded_scores,
)
from benchmarks.records import append, read
from skcgmvae import CGMVAEClassifier
from skcgmvae._gaussian_head import MinStd
from skcgmvae.datasets import load_npz

GIB = 2**30

# Of the probe of a latent space.
PENALTIES = (1.0, 10.0, 100.0, 1000.0)


class Task(NamedTuple):
    """What a record is of."""

    dataset: str
    model: str
    split: int
    fraction: float = 1.0


class Setting(NamedTuple):
    """Where the data sets are, None for ``SKCGMVAE_DATA``, and what a fit may take."""

    folder: str | None = None
    max_seconds: float = 1800.0
    max_gib: float = 10.0


def run_all(tasks, path, setting, n_jobs=1):
    """Run the tasks that have no record yet, ``n_jobs`` at a time; record each.

    A model that fails on one split of a data set is not tried on the others.
    """
    records = read(path)
    done = {task_of(record) for record in records}
    failed = {task_of(r)._replace(split=None) for r in records if "failure" in r}

    def has_failed(task):
        return task._replace(split=None) in failed

    todo = [task for task in tasks if task not in done and not has_failed(task)]

    def run(task):
        if has_failed(task):
            return None
        record = run_apart(task, setting)
        if "failure" in record:
            failed.add(task._replace(split=None))
        return record

    with ThreadPoolExecutor(n_jobs) as pool, tqdm(total=len(todo), unit="fit") as bar:
        futures = {pool.submit(run, task): task for task in todo}
        for future in as_completed(futures):
            record = future.result()
            if record is not None:
                append(path, record)
                for kind in ("failure", "failure_of_probe"):
                    if kind in record:
                        bar.write(f"{task_of(record)}: {kind}: {record[kind]}")
            bar.set_postfix_str(" ".join(map(str, futures[future])), refresh=False)
            bar.update()


def task_of(record):
    """The task that a record is of."""
    return Task(*(record[field] for field in Task._fields))


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])
# Only one thread may be starting a process.
_START = threading.Lock()


def run_apart(task, setting):
    """:func:`run_one` in a new process; a record that says so where it fails.

    The limit of time is on fit and prediction. What is then looked at in the latent
    space is no cost of the model's, and what fails there leaves it its scores.
    """
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_send, args=(sender, task, setting), daemon=True)
    with _START:
        process.start()
    sender.close()
    record, failure = {}, f"not ended after {setting.max_seconds:g} s"
    try:
        if receiver.poll(setting.max_seconds):
            while "failure" not in (part := receiver.recv()):
                record |= part
            failure = part["failure"]
    except EOFError:
        process.join()
        if process.exitcode == 0:
            return record
        failure = f"ended with exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
    if record:
        return record | {"failure_of_probe": failure}
    return task._asdict() | {"failure": failure}


def _send(sender, task, setting):
    limit = int(setting.max_gib * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        for part in run_one(task, setting.folder):
            sender.send(part)
    except MemoryError:
        sender.send(task._asdict() | {"failure": f"more than {setting.max_gib:g} GiB"})
    except Exception as error:
        failure = f"{type(error).__name__}: {error}".splitlines()[0]
        sender.send(task._asdict() | {"failure": failure})


def run_one(task, folder=None):
    """Train and evaluate one model on one split, on one thread.

    Yields the parts of its record: what came of it, then what its latent space knows.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, Y = load_npz(task.dataset, folder=folder, return_X_y=True)
    Y = Y.toarray() if issparse(Y) else Y
    train, valid, test = split(len(Y), task.split, task.fraction)
    model = MODELS[task.model](X, task.split)
    with threadpool_limits(1):
        start = time.perf_counter()
        model.fit(X[train], Y[train])
        fitted = time.perf_counter()
        P_test = model.predict_proba(X[test])
        predicted = time.perf_counter()
        P_valid = model.predict_proba(X[valid])
        yield task._asdict() | {
            "scores": evaluate(Y[valid], P_valid, Y[test], P_test),
            "ranking": evaluate_probabilities(Y[test], P_test),
            "fit_seconds": round(fitted - start, 2),
            "predict_seconds": round(predicted - fitted, 3),
            "peak_mib": round(peak_mib()),
            "versions": versions(),
        }
        if isinstance(model, CGMVAEClassifier):
            yield about_training(model)
            if task.fraction == 1:  # where the report tells of it
                parts = [(X[rows], Y[rows]) for rows in (train, valid, test)]
                yield about_latent_space(model, parts)


def peak_mib():
    """The most memory this process has ever held, Python and libraries included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def about_training(model):
    """How long C-GMVAE was trained, and how much of it on smoothed labels."""
    training = {"epochs": model.n_iter_, "best_epoch": model.best_epoch_}
    if model.label_smoothing == "auto":
        amounts = model.history_[: model.best_epoch_, "label_smoothing"]
        training["smoothed_epochs"] = sum(amount > 0 for amount in amounts)
    return training


def about_latent_space(model, parts):
    """What ``transform`` knows: active dimensions, and a logistic probe on it.

    ``parts`` are the training, validation and test rows, (X, Y) each. A dimension is
    active if its mean differs between test rows, by a standard deviation of more than
    0.1. The probe is a logistic regression a label, whose penalty is the one of best
    micro-F1 on the validation rows, like its threshold.
    """
    Z_train, Z_valid, Z_test = (model.transform(X) for X, _ in parts)
    # scikit-learn casts the numbers of labels to their dtype: bytes end at 255.
    Y_train, Y_valid, Y_test = (Y.astype(int) for _, Y in parts)
    best = -1.0
    for penalty in PENALTIES:
        # Without hidden layers this is logistic regression, all labels at once.
        probe = MLPClassifier((), alpha=penalty, solver="lbfgs", max_iter=200)
        probe = make_pipeline(StandardScaler(), probe).fit(Z_train, Y_train)
        micro = thresholded_scores(Y_valid, probe.predict_proba(Z_valid))[:, 2]
        if micro.max() > best:
            best, at = micro.max(), micro.argmax()
            P_test = probe.predict_proba(Z_test)
    return {
        "latent_dimensions": Z_test.shape[1],
        "active_dimensions": int((Z_test.std(axis=0) > 0.1).sum()),
        "stretched_dimensions": stretched_dimensions(model),
        "probe_micro_F1": float(thresholded_scores(Y_test, P_test)[at, 2]),
    }


def stretched_dimensions(model):
    """How many latent means would vary by less than ``min_latent_std``."""
    layers = [m for m in model.net_.module_.modules() if isinstance(m, MinStd)]
    return sum(int(layer.stretched().sum()) for layer in layers)


def versions():
    """The versions of what a figure rests on."""
    modules = skcgmvae, np, scipy, sklearn, skorch, torch
    return {module.__name__: module.__version__ for module in modules}
