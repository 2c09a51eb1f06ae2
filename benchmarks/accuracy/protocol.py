"""Splits, thresholds and metrics: how a figure comes about."""

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    label_ranking_average_precision_score,
)

from skcgmvae._threshold_search import EXACT, best_thresholds

THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
METRICS = ("HA", "example-F1", "micro-F1", "macro-F1", "p@1")

# How a threshold is come by, and what a table calls it.
PROTOCOLS = {
    "validation": "threshold chosen on validation rows",
    "half": "threshold 0.5",
    "test": "threshold best on the test rows themselves, no fair estimate",
}

# log(0) is infinite; a model that is sure and wrong is charged this much instead.
SMALLEST_PROBABILITY = 1e-7


def split(n_samples, seed, fraction=1.0):
    """80 % training, 10 % validation and 10 % test rows of a random permutation.

    With a ``fraction``, only so much of the training rows, the first of them.
    """
    order = np.random.RandomState(seed).permutation(n_samples)
    a, b = int(0.8 * n_samples), int(0.9 * n_samples)
    return order[: max(1, round(fraction * a))], order[a:b], order[b:]


def thresholded_scores(Y, probabilities):
    """The first four metrics at every threshold, (len(THRESHOLDS), 4)."""
    rows = []
    for threshold in THRESHOLDS:
        predicted = (probabilities >= threshold).astype(int)
        f1 = [
            f1_score(Y, predicted, average=average, zero_division=0)
            for average in ("samples", "micro", "macro")
        ]
        rows.append([(Y == predicted).mean(), *f1])
    return np.array(rows)


def precision_at_1(Y, probabilities):
    """How often the most probable label is right."""
    return float(Y[np.arange(len(Y)), probabilities.argmax(axis=1)].mean())


def evaluate(Y_valid, P_valid, Y_test, P_test):
    """All metrics on the test rows, under three ways to choose the threshold.

    ``"half"``: 0.5. ``"validation"``: for each metric the threshold that is best on
    the validation rows. ``"test"``: the best on the test rows themselves, which is
    the paper's protocol and no fair estimate. Beside these, ``"per label"``: macro-F1,
    which is a mean over labels, with a threshold for each label, the one that is best
    for it on the validation rows.
    """
    on_valid = thresholded_scores(Y_valid, P_valid)
    on_test = thresholded_scores(Y_test, P_test)
    half = int(np.flatnonzero(THRESHOLDS == 0.5)[0])
    chosen = {
        "half": [half] * 4,
        "validation": on_valid.argmax(axis=0),
        "test": on_test.argmax(axis=0),
    }
    scores = {}
    for protocol, best in chosen.items():
        values = [*on_test[best, range(4)].tolist(), precision_at_1(Y_test, P_test)]
        scores[protocol] = dict(zip(METRICS, values, strict=True))
    macro = EXACT["f1_macro"]
    thresholds, _ = best_thresholds(Y_valid > 0, P_valid, macro, per_label=True)
    scores["per label"] = {"macro-F1": macro.score(Y_test > 0, P_test >= thresholds)}
    return scores


def evaluate_probabilities(Y, probabilities):
    """What no threshold is needed for: log-loss, macro average precision, LRAP.

    Average precision is of the labels that the test rows have at all.
    """
    Y = np.asarray(Y, dtype=float)
    P = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    log_loss = -(Y * np.log(P) + (1 - Y) * np.log1p(-P)).mean()
    occur = Y.any(axis=0)
    return {
        "log-loss": float(log_loss),
        "macro-AP": float(average_precision_score(Y[:, occur], P[:, occur])),
        "LRAP": float(label_ranking_average_precision_score(Y, P)),
    }
