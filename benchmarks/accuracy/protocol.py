"""Splits, thresholds and metrics: how a figure comes about."""

import numpy as np
from sklearn.metrics import f1_score

THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
METRICS = ("HA", "example-F1", "micro-F1", "macro-F1", "p@1")


def split(n_samples, seed):
    """80 % training, 10 % validation and 10 % test rows of a random permutation."""
    order = np.random.RandomState(seed).permutation(n_samples)
    a, b = int(0.8 * n_samples), int(0.9 * n_samples)
    return order[:a], order[a:b], order[b:]


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
    the paper's protocol and no fair estimate.
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
    return scores
