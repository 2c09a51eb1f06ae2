"""What is timed, each on data that is loaded before the clock starts.

A task returns its measurements as a dict; ``seconds`` is what ratios are made of.
"""

import resource
import time

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn.base import clone
from sklearn.metrics import f1_score

from benchmarks.accuracy.protocol import split
from benchmarks.peers import Peer
from skcgmvae._threshold_search import EXACT, best_thresholds
from skcgmvae.baselines import HARAM, MLARAM, MLkNN
from skcgmvae.datasets import load_npz


def given_split(dataset):
    """The data set, and the training and test rows that it comes with."""
    X, Y = load_npz(dataset, return_X_y=True)
    first = {"delicious": 12920, "tmc2007": 21519}[dataset]  # training rows come first
    return X, csr_matrix(Y), slice(first), slice(first, None)


def random_split(dataset):
    """The data set, and the training and test rows of the accuracy benchmark."""
    X, Y = load_npz(dataset, return_X_y=True)
    train, _, test = split(X.shape[0], 0)
    return X, Y.toarray() if issparse(Y) else Y, train, test


def fit_and_predict(classifier, X, Y, train, test):
    """Seconds to fit, and to predict, with the micro-F1 of the predictions."""
    # What is imported or compiled at the first call is not what is compared.
    few = slice(50)
    clone(classifier).fit(X[train][few], Y[train][few]).predict(X[test][few])
    start = time.perf_counter()
    classifier.fit(X[train], Y[train])
    fitted = time.perf_counter()
    predicted = classifier.predict(X[test])
    done = time.perf_counter()
    return {
        "seconds": done - start,
        "fit_seconds": fitted - start,
        "predict_seconds": done - fitted,
        "micro_f1": f1_score(Y[test], csr_matrix(predicted), average="micro"),
    }


def mlknn_ours():
    return fit_and_predict(MLkNN(), *given_split("delicious"))


def mlknn_peer():
    return fit_and_predict(Peer("MLkNN"), *given_split("delicious"))


def mlaram_ours():
    return fit_and_predict(MLARAM(), *random_split("scene"))


def mlaram_ours_two_threads():
    return fit_and_predict(MLARAM(n_jobs=2), *random_split("scene"))


def mlaram_peer():
    return fit_and_predict(Peer("MLARAM"), *random_split("scene"))


def predict_only(classifier):
    measured = fit_and_predict(classifier, *given_split("tmc2007"))
    return measured | {"seconds": measured["predict_seconds"]}


def mlaram_tmc():
    return predict_only(MLARAM())


def haram_tmc():
    return predict_only(HARAM())


def threshold_search():
    """One threshold for micro-F1, from 100,000 x 1,000 probabilities."""
    rng = np.random.RandomState(0)
    P = rng.random_sample((100_000, 1_000))
    Y = np.empty(P.shape, dtype=bool)
    for row, p in enumerate(P):
        np.power(p, 3, out=p)
        Y[row] = rng.random_sample(len(p)) < 0.1 * p
    start = time.perf_counter()
    best_thresholds(Y, P, EXACT["f1_micro"])
    return {"seconds": time.perf_counter() - start}


def measure(task):
    """Run a task in this process; its measurements and the peak memory in MiB."""
    measured = globals()[task]()
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return measured | {"peak_mib": kib / 1024}
