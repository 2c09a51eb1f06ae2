"""A hundred thousand labels: seconds a step, seconds to predict, peak memory.

python -m benchmarks.speed.many_labels
"""

import argparse
import json
import resource
import time

import numpy as np
import scipy.sparse as sp

from skcgmvae import CGMVAEClassifier


def draw(n_rows, n_features, n_labels, seed=0, labels_a_row=5, features_a_label=4):
    """Rows that have the features of their labels; labels as rare as in texts (Zipf).

    X (n_rows, n_features) and Y (n_rows, n_labels), both CSR.
    """
    rng = np.random.default_rng(seed)
    signs = rng.integers(n_features, size=(n_labels, features_a_label))
    share = 1 / np.arange(10, n_labels + 10)
    drawn = rng.choice(n_labels, size=(n_rows, labels_a_row), p=share / share.sum())
    starts = np.arange(n_rows + 1)

    def binary(columns, n_columns):
        columns = columns.reshape(n_rows, -1)
        ones = np.ones(columns.size, dtype=np.float32)
        parts = ones, columns.ravel(), columns.shape[1] * starts
        matrix = sp.csr_matrix(parts, shape=(n_rows, n_columns))
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    return binary(signs[drawn], n_features), binary(drawn, n_labels).astype(np.int8)


def measure(
    n_labels=100_000, n_rows=20_000, n_features=1_000, n_test=1_000, **parameters
):
    """Fit and predict once; to be called in a process of its own, for the peak.

    Parameters
    ----------
    n_labels, n_rows, n_features, n_test : int
        Shapes of the training rows, and how many more rows are predicted.
    **parameters
        Of :class:`CGMVAEClassifier`, in place of those chosen here.

    Returns
    -------
    dict
        ``step_seconds``, ``predict_seconds`` and ``top_k_seconds`` for all test rows,
        ``precision_at_1`` of these, and ``peak_mib``.
    """
    X, Y = draw(n_rows + n_test, n_features, n_labels)
    train, test = slice(n_rows), slice(n_rows, None)
    clf = CGMVAEClassifier(
        **{
            "n_members": 1,
            "early_stopping": False,
            "max_labels_per_step": 4_096,
            "max_iter": 1,
            "min_steps_per_epoch": 1,
            "random_state": 0,
        }
        | parameters
    ).fit(X[train], Y[train])
    clocks = [time.perf_counter()]
    labels = clf.predict(X[test])
    clocks.append(time.perf_counter())
    best, _ = clf.predict_top_k(X[test], 5)
    clocks.append(time.perf_counter())
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n_steps = -(-n_rows // clf.batch_size)
    return {
        "step_seconds": float(np.mean(clf.history_[:, "dur"])) / n_steps,
        "predict_seconds": clocks[1] - clocks[0],
        "top_k_seconds": clocks[2] - clocks[1],
        "predicted_labels": labels.nnz,
        "precision_at_1": float(Y[test][np.arange(n_test), best[:, 0]].mean()),
        "peak_mib": kib / 1024,
    }


def main():
    """Print the measurements as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parameters",
        nargs="*",
        metavar="NAME=VALUE",
        help="arguments of measure, values as in JSON",
    )
    given = (item.split("=", 1) for item in parser.parse_args().parameters)
    measured = measure(**{name: json.loads(value) for name, value in given})
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
