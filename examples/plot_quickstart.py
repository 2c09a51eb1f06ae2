"""
==========
Quickstart
==========

Train :class:`~skcgmvae.CGMVAEClassifier` on data with several labels a row, compare it
with two simple classifiers on rows that none of them has seen, and draw which labels
the model holds to be related.

The built-in data are images of handwritten digits, and the labels are properties of
the digit: a 9 is odd, a square, a multiple of three, greater than four, and has a
closed loop. So anyone can check by hand which labels belong together: no prime is a
square, and most multiples of three have a closed loop.

As a script it takes other data, too: ``python plot_quickstart.py --dataset yeast``
reads ``yeast.npz`` in the folder that the environment variable ``SKCGMVAE_DATA``
names (:func:`~skcgmvae.datasets.load_npz` describes the format).
"""

import argparse
import time
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from skcgmvae import CGMVAEClassifier
from skcgmvae.datasets import load_digit_attributes, load_npz
from skcgmvae.inspection import LabelSimilarityDisplay
from skcgmvae.model_selection import label_balanced_split

# %%
# The classifiers
# ---------------
# C-GMVAE scales features by itself. The other two are given a scaler, one that keeps
# zeros where the data are sparse, and, as they ask for it, a dense label matrix.


def make_classifiers(sparse, seed):
    """The classifiers to compare, by name."""
    scaler = MaxAbsScaler() if sparse else StandardScaler()
    neighbours = KNeighborsClassifier(
        n_neighbors=10,
        weights="distance",
        metric="cosine" if sparse else "euclidean",
    )
    return {
        "C-GMVAE": CGMVAEClassifier(verbose=1, random_state=seed),
        "logistic regression a label": make_pipeline(
            scaler, OneVsRestClassifier(LogisticRegression(max_iter=1000))
        ),
        "10 nearest neighbours": make_pipeline(scaler, neighbours),
    }


def label_probabilities(classifier, X):
    """The probability of each label, (n_samples, n_labels), of any classifier."""
    probabilities = classifier.predict_proba(X)
    if not isinstance(probabilities, list):
        return probabilities
    # One array a label, with a column for each value of the label in the training
    # rows: for a label that was always 0, or always 1, it has a single column.
    columns = []
    for values, of_label in zip(classifier.classes_, probabilities, strict=True):
        is_one = np.flatnonzero(np.asarray(values) == 1)
        columns.append(of_label[:, is_one].sum(axis=1))
    return np.column_stack(columns)


# %%
# The metrics
# -----------
# A label is predicted where its probability is at least 0.5, for all classifiers
# alike. No threshold is tuned, least of all on the rows held out.

THRESHOLD = 0.5
METRICS = ("Hamming acc.", "example-F1", "micro-F1", "macro-F1", "precision@1")


def five_metrics(Y, probabilities):
    """The five metrics of the C-GMVAE paper, in the order of ``METRICS``."""
    predicted = (probabilities >= THRESHOLD).astype(int)
    best = probabilities.argmax(axis=1)
    f1 = [
        f1_score(Y, predicted, average=average, zero_division=0)
        for average in ("samples", "micro", "macro")
    ]
    return [np.mean(predicted == Y), *f1, np.mean(Y[np.arange(len(Y)), best])]


def dense(Y):
    """A label matrix as an ndarray."""
    return Y.toarray() if issparse(Y) else Y


def compare(data, seed):
    """Fit on four fifths of the rows, print a table for the rest; return C-GMVAE."""
    X, Y = data.data, data.target
    train, test = label_balanced_split(Y, test_size=0.2, random_state=seed)
    Y_test = dense(Y[test])
    rows, fitted = [], {}
    for name, classifier in make_classifiers(issparse(X), seed).items():
        print(f"fitting {name} ...", flush=True)
        start = time.perf_counter()
        with warnings.catch_warnings():
            # Labels that all training rows have, or none of them, are no fault.
            warnings.filterwarnings("ignore", "Label .* is present in all training")
            warnings.filterwarnings("ignore", "Label not .* is present in all")
            warnings.filterwarnings(
                "ignore", "lbfgs failed to converge", ConvergenceWarning
            )
            own_labels = isinstance(classifier, CGMVAEClassifier)
            classifier.fit(X[train], Y[train] if own_labels else dense(Y[train]))
        seconds = time.perf_counter() - start
        metrics = five_metrics(Y_test, label_probabilities(classifier, X[test]))
        rows.append((name, *metrics, seconds))
        fitted[name] = classifier
    print_table(rows, f"{len(test)} held-out rows, threshold {THRESHOLD}")
    return fitted["C-GMVAE"]


def print_table(rows, title):
    """Print the metrics, a line a classifier."""
    columns = (*METRICS, "fit (s)")
    print(f"\n{title}\n")
    print(f"{'':28}" + "".join(f"{column:>13}" for column in columns))
    for name, *metrics, seconds in rows:
        print(
            f"{name:28}" + "".join(f"{m:13.3f}" for m in metrics) + f"{seconds:13.1f}"
        )


# %%
# All together
# ------------


def main():
    parser = argparse.ArgumentParser(
        description="Train C-GMVAE, compare it, and draw the similarity of the labels."
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="NAME.npz in the folder that SKCGMVAE_DATA names "
        "(default: the built-in attributes of handwritten digits)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="folder for the picture (default: the current one)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    name = arguments.dataset or "digit_attributes"
    try:
        data = load_npz(name) if arguments.dataset else load_digit_attributes()
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    matplotlib.use("Agg")  # the picture goes to a file, no screen is needed

    (n_samples, n_features), n_labels = data.data.shape, data.target.shape[1]
    print(f"{name}: {n_samples} rows, {n_features} features, {n_labels} labels")
    classifier = compare(data, arguments.seed)

    display = LabelSimilarityDisplay.from_estimator(
        classifier, label_names=data.target_names
    )
    display.ax_.set_title(f"Which labels go together: {name}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = (arguments.output / f"label_similarity_{name}.png").resolve()
    display.figure_.savefig(path, dpi=150)
    print(f"\nlabel similarity: {path}")


if __name__ == "__main__":
    main()
