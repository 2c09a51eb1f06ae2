"""One epoch on wide sparse data, on one thread: its peak of memory, and its time.

    python -m benchmarks.speed.wide_sparse --batch-size 8192

The defaults are a million rows of 100,000 features, 20 of them stored, and 1,000
labels, of which each row has three. It takes 4 GiB of memory.
"""

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.speed import memory
from skcgmvae import CGMVAEClassifier

NETWORK = {
    "n_members": 1,
    "encoder_layer_sizes": (256,),
    "max_iter": 1,
    "min_steps_per_epoch": 1,
    "early_stopping": False,
    "device": "cpu",
    "random_state": 0,
}


def measure(
    n_rows=1_000_000,
    n_features=100_000,
    n_labels=1_000,
    n_stored=20,
    n_positive=3,
    **parameters,
):
    """Fit a CGMVAEClassifier for one epoch, in a fresh process.

    Parameters
    ----------
    n_rows, n_features, n_labels : int
    n_stored, n_positive : int
        Features stored, and labels set, in each row.
    **parameters
        Of the classifier, in place of those of ``NETWORK``.

    Returns
    -------
    dict
        ``epoch_s``; and bytes: ``peak`` of the process while it fits, what it held
        before there were data (``libraries``), and what the ``arrays`` of X and Y take,
        the ``model``, its ``gradient``, the ``optimizer`` and the ``average`` of the
        weights. ``ratio`` is what is left of the peak without libraries, model,
        gradient, optimiser and average, in units of the arrays.
    """
    shapes = (n_rows, n_features, n_stored), (n_rows, n_labels, n_positive)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(_fit, shapes, NETWORK | parameters).result()


def random_csr(n_rows, n_columns, n_stored, dtype, rng):
    """A CSR matrix with so many ones in each row, one in each stripe of columns."""
    width = n_columns // n_stored
    indices = rng.integers(width, size=(n_rows, n_stored), dtype=np.int32)
    indices += np.arange(n_stored, dtype=np.int32) * width
    data = np.ones(indices.size, dtype)
    indptr = np.arange(n_rows + 1, dtype=np.int32) * n_stored
    return sp.csr_matrix((data, indices.ravel(), indptr), (n_rows, n_columns))


def _fit(shapes, parameters):
    torch.set_num_threads(1)
    # The libraries load parts of themselves where they are used.
    _classifier_of_noise(parameters)
    libraries = memory.held()
    rng = np.random.default_rng(0)
    X = random_csr(*shapes[0], np.float32, rng)
    X.data *= rng.random(len(X.data), np.float32) + np.float32(0.5)
    Y = random_csr(*shapes[1], np.uint8, rng)
    memory.forget_peak()
    clf = CGMVAEClassifier(**parameters).fit(X, Y)
    peak = memory.peak()
    net = clf.net_
    state = [part for each in net.optimizer_.state.values() for part in each.values()]
    model = _n_bytes(net.module_.parameters()) + _n_bytes(net.module_.buffers())
    optimizer = _n_bytes(state)
    gradient = _n_bytes(net.module_.parameters())
    average = gradient if clf.ema_decay else 0
    arrays = sum(part.nbytes for A in (X, Y) for part in (A.data, A.indices, A.indptr))
    beside = peak - libraries - model - gradient - optimizer - average
    return {
        "epoch_s": clf.history_[-1, "dur"],
        "steps": -(-shapes[0][0] // clf.batch_size),
        "peak": peak,
        "libraries": libraries,
        "arrays": arrays,
        "model": model,
        "gradient": gradient,
        "optimizer": optimizer,
        "average": average,
        "ratio": beside / arrays,
    }


def _classifier_of_noise(parameters):
    rng = np.random.default_rng(0)
    X, Y = random_csr(64, 20, 4, np.float32, rng), random_csr(64, 4, 1, np.uint8, rng)
    return CGMVAEClassifier(**parameters).fit(X, Y)


def _n_bytes(tensors):
    return sum(tensor.nbytes for tensor in tensors)


def main():
    """Measure once, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, size in {
        "n-rows": 1_000_000,
        "n-features": 100_000,
        "n-labels": 1_000,
        "n-stored": 20,
        "n-positive": 3,
        "batch-size": 1024,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--no-linear-path", dest="linear_path", action="store_false")
    print(json.dumps(measure(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
