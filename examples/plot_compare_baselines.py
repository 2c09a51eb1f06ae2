"""
=========================
C-GMVAE and the baselines
=========================

Compare :class:`~skcgmvae.CGMVAEClassifier` with binary relevance, MLkNN and HARAM by
cross-validation, on images of handwritten digits that are labelled with properties of
the digit.

Which threshold is best depends on the metric, and a classifier whose threshold is left
at 0.5 is compared unfairly. So each classifier gets the threshold that is best for the
metric that is looked at, by :class:`~skcgmvae.TunedThresholdClassifier`, chosen on rows
that are neither trained on nor tested on.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skcgmvae import CGMVAEClassifier, TunedThresholdClassifier
from skcgmvae.baselines import HARAM, BinaryRelevance, MLkNN
from skcgmvae.datasets import load_digit_attributes
from skcgmvae.metrics import multilabel_scorers
from skcgmvae.model_selection import LabelBalancedKFold, label_balanced_split

# %%
# The classifiers
# ---------------
# C-GMVAE is trained for some epochs only, so that all this takes about a minute; by
# default it goes on until held-out rows are predicted no better.

CLASSIFIERS = {
    "C-GMVAE": CGMVAEClassifier(max_iter=20, random_state=0),
    "BR": make_pipeline(StandardScaler(), BinaryRelevance()),
    "MLkNN": make_pipeline(StandardScaler(), MLkNN(exclude_self=True)),
    "HARAM": HARAM(),
}

# %%
# The metrics
# -----------
# Each with the name under which a threshold is chosen for it, and that of its scorer.

METRICS = {
    "Hamming accuracy": ("hamming", "hamming_accuracy"),
    "example-F1": ("f1_samples", "f1_samples"),
    "micro-F1": ("f1_micro", "f1_micro"),
    "macro-F1": ("f1_macro", "f1_macro"),
}

# %%
# Cross-validation
# ----------------
# In each of three folds every label is as frequent as in the others. A fifth of the
# training rows is kept for the thresholds.


def evaluate(classifier, X, Y):
    """Scores on the test folds, tuned and at 0.5, each (n_metrics, n_folds)."""
    scorers = multilabel_scorers()
    tuned, plain = [], []
    folds = LabelBalancedKFold(3, shuffle=True, random_state=0)
    for train, test in folds.split(X, Y):
        fit, tune = label_balanced_split(Y[train], test_size=0.2, random_state=0)
        fitted = clone(classifier).fit(X[train[fit]], Y[train[fit]])
        at_half, at_best = [], []
        for scoring, scorer in METRICS.values():
            model = TunedThresholdClassifier(fitted, scoring=scoring, cv="prefit")
            model.fit(X[train[tune]], Y[train[tune]])
            at_best.append(scorers[scorer](model, X[test], Y[test]))
            model.thresholds_ = np.full(Y.shape[1], 0.5)
            at_half.append(scorers[scorer](model, X[test], Y[test]))
        tuned.append(at_best)
        plain.append(at_half)
    return np.transpose(tuned), np.transpose(plain)


# %%
# The picture
# -----------
# A bar is the mean of the folds with the threshold tuned, its whisker their range, and
# the black line the mean at a threshold of 0.5. These labels are about as often 1 as 0,
# so that 0.5 does well; with rare labels the two are far apart.

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#bbbbbb")


def draw(results):
    """A bar a classifier, metric by metric."""
    figure, ax = plt.subplots(figsize=(9, 4.2), layout="constrained")
    width = 0.8 / len(results)
    for number, (name, (tuned, plain)) in enumerate(results.items()):
        place = np.arange(len(METRICS)) + (number - (len(results) - 1) / 2) * width
        mean = tuned.mean(axis=1)
        reach = np.abs([tuned.min(axis=1) - mean, tuned.max(axis=1) - mean])
        ax.bar(place, mean, 0.92 * width, color=COLOURS[number], label=name)
        ax.errorbar(place, mean, reach, fmt="none", ecolor="0.35", elinewidth=1)
        for x, value, top in zip(place, mean, tuned.max(axis=1), strict=True):
            ax.annotate(
                f"{value:.3f}",
                (x, top),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        ax.hlines(
            plain.mean(axis=1),
            place - 0.46 * width,
            place + 0.46 * width,
            color="black",
            linewidth=1.5,
            label=None if number else "at 0.5",
        )
    ax.set(
        xticks=range(len(METRICS)),
        xticklabels=METRICS,
        ylim=(0, 1.05),
        ylabel="Score on test folds",
        title="Attributes of handwritten digits",
    )
    ax.tick_params(axis="x", length=0)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(results) + 1, frameon=False)
    return figure


# %%
# All together
# ------------


def main():
    parser = argparse.ArgumentParser(description="Compare C-GMVAE with baselines.")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="folder for the picture (default: the current one)",
    )
    arguments = parser.parse_args()
    plt.switch_backend("Agg")  # the picture goes to a file, no screen is needed
    X, Y = load_digit_attributes(return_X_y=True)
    results = {}
    print(f"{'':18}" + "".join(f"{metric:>18}" for metric in METRICS))
    for name, classifier in CLASSIFIERS.items():
        results[name] = tuned, plain = evaluate(classifier, X, Y)
        for at, scores in (("tuned", tuned), ("at 0.5", plain)):
            means = "".join(f"{mean:18.3f}" for mean in scores.mean(axis=1))
            print(f"{f'{name}, {at}':18}{means}", flush=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = (arguments.output / "compare_baselines.png").resolve()
    draw(results).savefig(path, dpi=150)
    print(f"\nbar chart: {path}")


if __name__ == "__main__":
    main()
