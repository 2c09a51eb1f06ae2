"""Threads and processes side by side, and one fit after another."""

import gc
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from common import small, toy
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.naive_bayes import GaussianNB

from skcgmvae.baselines import HARAM, MLARAM, BinaryRelevance, MLkNN

X, Y = toy(400)
KINDS = {"dense": X, "sparse": sp.csr_matrix(X * (X > 1))}


@pytest.fixture(scope="module", params=[1, 2], ids=["one member", "two members"])
def fitted(request):
    return small(n_members=request.param).fit(X, Y)


# -- threads ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_predict_get_what_one_gets(fitted, kind):
    """On one model, at once, rows in parts of any size, while another is fitted."""
    given = KINDS[kind]
    methods = ["predict_proba", "transform", "decision_function", "embed"]

    def predict(number):
        method, size = getattr(fitted, methods[number % 4]), 7 + 40 * number
        parts = [method(given[i : i + size]) for i in range(0, 400, size)]
        return np.concatenate(parts)

    def at_once(number):
        start.wait()
        return [predict(number) for _ in range(3)]

    def fit():
        start.wait()
        while not done.is_set():
            small(max_iter=1).fit(X, Y)

    expected = [predict(number) for number in range(16)]
    start, done = threading.Barrier(17), threading.Event()
    with ThreadPoolExecutor(17) as pool:
        fitting = pool.submit(fit)
        try:
            results = list(pool.map(at_once, range(16)))
        finally:
            done.set()
        fitting.result()
    for found, alone in zip(results, expected, strict=True):
        for repeat in found:
            np.testing.assert_array_equal(repeat, alone)


def test_fits_in_threads_are_those_of_one_after_another():
    expected = small().fit(X, Y).predict_proba(X)
    with ThreadPoolExecutor(4) as pool:
        for model in pool.map(lambda _: small().fit(X, Y), range(4)):
            np.testing.assert_array_equal(model.predict_proba(X), expected)


# -- processes -------------------------------------------------------------------

BASELINES = [BinaryRelevance(GaussianNB()), MLkNN(), MLARAM(), HARAM()]


def _fit_and_predict(estimator, X, Y, writeable):
    assert X.flags.writeable == Y.flags.writeable == writeable
    return clone(estimator).fit(X, Y).predict_proba(X)


def _predict(estimator, X):
    return estimator.predict_proba(X)


def test_workers_of_joblib_fit_and_predict_on_memory_that_is_read_only(fitted):
    estimators = [fitted, *(clone(estimator).fit(X, Y) for estimator in BASELINES)]
    expected = [estimator.predict_proba(X) for estimator in estimators]
    with parallel_config("loky", inner_max_num_threads=1, max_nbytes=1000):
        again = Parallel(n_jobs=2)(
            delayed(_fit_and_predict)(estimator, X, Y, False)
            for estimator in estimators
        )
        # The arrays of the models themselves are read-only there, too.
        predicted = Parallel(n_jobs=2)(
            delayed(_predict)(estimator, X) for estimator in estimators
        )
    for ours, theirs, same in zip(again, predicted, expected, strict=True):
        np.testing.assert_array_equal(ours, same)
        np.testing.assert_array_equal(theirs, same)


# Two threads in the parent, in products large enough for torch to share them.
FORKING = """
import multiprocessing
import sys
import threading

import numpy as np
import torch
from common import small, toy
from skorch.callbacks import Callback


def fit(_=None):
    return make().fit(X, Y).predict_proba(X)


def make(**parameters):
    sizes = {"encoder_layer_sizes": (512, 512), "max_iter": 1, "min_steps_per_epoch": 2}
    return small(**sizes | parameters)


def predict(model):
    return model.predict_proba(X)


class Waiting(Callback):
    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()

    def on_train_begin(self, net, **kwargs):
        self.begun.set()
        self.may_end.wait(60)


X, Y = toy(400, n_features=300)

if __name__ == "__main__":
    (method,) = sys.argv[1:]
    torch.set_num_threads(2)
    model = make().fit(X, Y)  # OpenMP has its threads from here on
    predict(model)
    torch.set_num_threads(1)  # as in the child
    expected = fit(), predict(model)
    torch.set_num_threads(2)
    waiting = Waiting()
    fitting = threading.Thread(target=make(callbacks=[waiting]).fit, args=(X, Y))
    fitting.start()
    waiting.begun.wait(60)
    context = multiprocessing.get_context(method)
    initializer = None if method == "fork" else torch.set_num_threads
    with context.Pool(2, initializer, (1,) * (method != "fork")) as pool:
        fits = pool.map_async(fit, range(2))
        predictions = pool.map_async(predict, [model] * 2)
        for results, wanted in zip((fits, predictions), expected, strict=True):
            assert all(np.array_equal(found, wanted) for found in results.get(60))
    waiting.may_end.set()
    fitting.join()
    assert torch.get_num_threads() == 2  # the parent's are its own
    print("the same")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_a_process_that_has_trained(method, tmp_path):
    """Also of one that is training, in another thread."""
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("processes do not fork here")
    script = tmp_path / "forking.py"
    script.write_text(FORKING)
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here)])
    result = subprocess.run(
        [sys.executable, "-W", "ignore", script, method],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert result.stdout == "the same\n", result.stderr


# -- one after another -----------------------------------------------------------


def held():
    """Megabytes in memory, threads and open files of this process."""
    gc.collect()
    with open("/proc/self/status") as status:
        (resident,) = (line for line in status if line.startswith("VmRSS"))
    files = len(os.listdir("/proc/self/fd"))
    return int(resident.split()[1]) / 1024, len(os.listdir("/proc/self/task")), files


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_fifty_fits_leave_nothing_behind(tmp_path):
    wide = np.tile(X, (2, 10))  # 0.8 MB
    labels = np.tile(Y, (2, 1))
    model = small(max_iter=1, min_steps_per_epoch=1, batch_size=2000)
    model.set_params(verbose=1, checkpoint=tmp_path / "training")

    def fit(n_fits):
        for seed in range(n_fits):
            clone(model).set_params(random_state=seed).fit(wide, labels).predict(wide)
            model.checkpoint.unlink()
            with warnings.catch_warnings(), pytest.raises(ValueError, match="too lar"):
                clone(model).set_params(scale_features=False).fit(wide * 1e9, labels)

    fit(10)
    megabytes, *others = held()
    fit(50)
    more_megabytes, *same = held()
    assert same == others
    assert more_megabytes - megabytes < 20  # the rows alone would be 40
