"""
==========
Quickstart
==========

Train :class:`~skcgmvae.CGMVAEClassifier` on data with several labels a row, compare it
with the classic baselines on rows that none of them has seen, and draw which labels the
model holds to be related.

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
from pathlib import Path

import matplotlib
from scipy.sparse import issparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from skcgmvae import CGMVAEClassifier, TunedThresholdClassifier
from skcgmvae.baselines import HARAM, BinaryRelevance, MLkNN
from skcgmvae.datasets import load_digit_attributes, load_npz
from skcgmvae.inspection import LabelSimilarityDisplay
from skcgmvae.metrics import multilabel_scorers
from skcgmvae.model_selection import label_balanced_split

# %%
# The classifiers
# ---------------
# C-GMVAE and HARAM scale features by themselves. The other two are given a scaler, one
# that keeps zeros where the data are sparse.
#
# A label is predicted where its probability reaches a threshold, which is chosen for
# all classifiers alike: on a tenth of the training rows that they do not learn from.


def make_classifiers(sparse, seed):
    """The classifiers to compare, by name."""
    scaler = MaxAbsScaler() if sparse else StandardScaler()
    metric = "cosine" if sparse else "euclidean"
    classifiers = {
        "C-GMVAE": CGMVAEClassifier(verbose=1, random_state=seed),
        "BR": make_pipeline(scaler, BinaryRelevance()),
        "MLkNN": make_pipeline(scaler, MLkNN(exclude_self=True, metric=metric)),
        "HARAM": HARAM(),
    }
    return {
        name: TunedThresholdClassifier(
            classifier, scoring="f1_micro", cv=0.1, refit=False, random_state=seed
        )
        for name, classifier in classifiers.items()
    }


# %%
# The metrics
# -----------
# Those of the C-GMVAE paper. Precision@1 is how often the most probable label is right.

METRICS = {
    "Hamming acc.": "hamming_accuracy",
    "example-F1": "f1_samples",
    "micro-F1": "f1_micro",
    "macro-F1": "f1_macro",
    "precision@1": "precision_at_1",
}


def compare(data, seed):
    """Fit on four fifths of the rows, print a table for the rest; return C-GMVAE."""
    X, Y = data.data, data.target
    train, test = label_balanced_split(Y, test_size=0.2, random_state=seed)
    rows, fitted = [], {}
    for name, classifier in make_classifiers(issparse(X), seed).items():
        print(f"fitting {name} ...", flush=True)
        start = time.perf_counter()
        classifier.fit(X[train], Y[train])
        seconds = time.perf_counter() - start
        scores = multilabel_scorers()(classifier, X[test], Y[test])
        values = [scores[metric] for metric in METRICS.values()]
        rows.append((name, *values, classifier.thresholds_[0], seconds))
        fitted[name] = classifier.estimator_
    print_table(rows, f"{len(test)} held-out rows")
    return fitted["C-GMVAE"]


def print_table(rows, title):
    """Print the metrics, a line a classifier."""
    columns = (*METRICS, "threshold", "fit (s)")
    print(f"\n{title}\n")
    print(f"{'':10}" + "".join(f"{column:>13}" for column in columns))
    for name, *values, seconds in rows:
        print(f"{name:10}" + "".join(f"{v:13.3f}" for v in values) + f"{seconds:13.1f}")


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
