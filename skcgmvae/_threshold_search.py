"""The decision thresholds that score best, searched exactly.

Predictions change at the scores only, so a search over sorted scores misses nothing.
An F1 score can only fall where the threshold sinks below the score of a 0, so the
candidates of a threshold for all labels are the scores of the ones.
"""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer
from sklearn.utils import gen_batches

# Scores that are sorted at a time.
CHUNK = 2**22

# What a round over all labels has to gain for another one to follow.
LEAST_GAIN = 1e-9
MAX_ROUNDS = 20


class F1:
    """F1, averaged over rows, over labels, or of all entries at once.

    Parameters
    ----------
    average : {"samples", "macro", "micro"}
    """

    def __init__(self, average):
        self.average = average

    def score(self, Y, predicted):
        """F1 of 0/1 matrices; 0 where nothing is there and nothing predicted."""
        axis = {"samples": 1, "macro": 0, "micro": None}[self.average]
        hits = np.count_nonzero(Y & predicted, axis=axis)
        named = np.count_nonzero(Y, axis=axis) + np.count_nonzero(predicted, axis=axis)
        return float(np.mean(2 * hits / np.maximum(named, 1)))

    def curve(self, Y, P, at):
        """The score where the threshold is each of ``at``, which ascend."""
        if self.average == "micro":
            named = Y.sum() + _reaching(P, at)
            return 2 * _reaching(P[Y], at) / np.maximum(named, 1)
        if self.average == "macro":
            Y, P = Y.T, P.T
        total = np.zeros(len(at))
        for rows in gen_batches(len(P), max(1, CHUNK // P.shape[1])):
            order = np.argsort(-P[rows], axis=1, kind="stable")
            labels = np.take_along_axis(Y[rows], order, axis=1)
            n_named = labels.sum(axis=1, keepdims=True) + np.arange(1, P.shape[1] + 1)
            f1 = 2 * labels.cumsum(axis=1) / n_named
            scores = np.take_along_axis(P[rows], order, axis=1)
            gains = np.diff(f1, axis=1, prepend=0)
            total += _sum_reaching(scores.ravel(), gains.ravel(), at)
        return total / len(P)

    def by_label(self, Y, P, start):
        """Thresholds, one a label, that score best; ``start`` is one for all."""
        if self.average == "macro":
            return np.array([_best_f1_cut(y, p) for y, p in zip(Y.T, P.T, strict=True)])
        if self.average == "micro":
            return _best_micro_f1_cuts(Y, P, start)
        return _good_samples_f1_cuts(Y, P, start)


class Hamming:
    """Share of the entries that are predicted right."""

    def score(self, Y, predicted):
        """Hamming accuracy of 0/1 matrices."""
        return float(np.mean(Y == predicted))

    def curve(self, Y, P, at):
        """The score where the threshold is each of ``at``, which ascend."""
        right = Y.size - Y.sum() + 2 * _reaching(P[Y], at) - _reaching(P, at)
        return right / Y.size

    def by_label(self, Y, P, start):
        """Thresholds, one a label, that score best."""
        return np.array(
            [_best_cut(p, 2.0 * y - 1) for y, p in zip(Y.T, P.T, strict=True)]
        )


class AnyScorer:
    """A scorer that sees predictions only: candidates are quantiles of the scores.

    Parameters
    ----------
    scorer : callable
        With the signature ``scorer(estimator, X, Y)``.
    decode : callable
        From a matrix of 0 and 1 to targets as the scorer expects them.
    n_thresholds : int
        Candidates of a threshold.
    """

    def __init__(self, scorer, decode, n_thresholds):
        self._scorer = scorer
        self._decode = decode
        self._n_thresholds = n_thresholds

    def score(self, Y, predicted):
        """The score of 0/1 matrices."""
        predicted = self._decode(predicted)
        try:
            return float(
                self._scorer(_Predicted(predicted), predicted, self._decode(Y))
            )
        except AttributeError as error:
            raise ValueError(
                f"scoring must judge predictions, as thresholds change these only; "
                f"{self._scorer!r} asks for more: {error}"
            ) from error

    def curve(self, Y, P, at):
        """The score where the threshold is each of ``at``; -inf where it is NaN."""
        scores = np.array([self.score(Y, threshold <= P) for threshold in at])
        if np.isnan(scores).all():
            raise ValueError(
                f"scoring must be a number somewhere; {self._scorer!r} is NaN at each "
                f"of {len(at)} thresholds."
            )
        return np.where(np.isnan(scores), -np.inf, scores)

    def candidates(self, P):
        """Quantiles of the scores that differ, ascending."""
        scores = np.unique(P)
        if len(scores) <= self._n_thresholds:
            return scores
        return np.unique(np.quantile(scores, np.linspace(0, 1, self._n_thresholds)))

    def by_label(self, Y, P, start):
        """Thresholds, one a label, improved label by label until nothing is gained."""
        thresholds = np.full(P.shape[1], start, dtype=float)
        predicted = thresholds <= P
        best = self.score(Y, predicted)
        for _ in range(MAX_ROUNDS):
            before = best
            for label, p in enumerate(P.T):
                for candidate in self.candidates(p):
                    kept = predicted[:, label].copy()
                    predicted[:, label] = candidate <= p
                    value = self.score(Y, predicted)
                    if value > best:
                        best, thresholds[label] = value, candidate
                    else:
                        predicted[:, label] = kept
            if best - before < LEAST_GAIN:
                break
        return thresholds


class _Predicted(BaseEstimator):
    """What a scorer takes for an estimator: its predictions are known."""

    def __init__(self, predicted):
        self.predicted = predicted

    def predict(self, X):
        """The predictions."""
        return self.predicted


EXACT = {
    "f1_samples": F1("samples"),
    "f1_micro": F1("micro"),
    "f1_macro": F1("macro"),
    "hamming": Hamming(),
}


def as_criterion(scoring, labels, n_thresholds):
    """What :func:`best_thresholds` maximises, from a name or a scorer.

    Parameters
    ----------
    scoring : str or callable
    labels : LabelCoder
        Of the targets of the fit.
    n_thresholds : int
    """
    if isinstance(scoring, str) and scoring in EXACT:
        # Of a single label there is one F1, whatever the average.
        single = labels.n_labels_ == 1 and scoring.startswith("f1")
        return EXACT["f1_micro" if single else scoring]
    return AnyScorer(get_scorer(scoring), labels.inverse_transform, n_thresholds)


def best_thresholds(Y, P, criterion, per_label=False):
    """Thresholds (n_labels,) that score best, and their score.

    Parameters
    ----------
    Y : ndarray of bool of shape (n_samples, n_labels)
    P : ndarray of shape (n_samples, n_labels)
        Probabilities.
    criterion : F1, Hamming or AnyScorer
    per_label : bool
        One threshold for each label, not one for all.
    """
    P = np.asarray(P, dtype=float)
    threshold = _best_for_all(Y, P, criterion)
    thresholds = np.full(P.shape[1], threshold)
    if per_label:
        thresholds = criterion.by_label(Y, P, threshold)
    return thresholds, criterion.score(Y, thresholds <= P)


def _best_for_all(Y, P, criterion):
    if isinstance(criterion, AnyScorer):
        candidates = criterion.candidates(P)
        return candidates[_best(candidates, criterion.curve(Y, P, candidates))]
    # Above all scores there is nothing to predict.
    none = np.nextafter(max(float(P.max()), 1.0), np.inf)
    candidates = np.unique(np.append(P[Y], [0.5, none]))
    upper = candidates[_best(candidates, criterion.curve(Y, P, candidates))]
    lower = np.max(P, where=upper > P, initial=0.0)
    return _between(lower, upper)


def _best(candidates, values):
    """Number of the best candidate, of equal ones that closest to 0.5."""
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return best[np.abs(candidates[best] - 0.5).argmin()]


def _between(lower, upper):
    """A threshold above ``lower`` and at most ``upper``: 0.5 if it can be."""
    if lower < 0.5 <= upper:
        return 0.5
    middle = lower + (upper - lower) / 2
    return middle if lower < middle else upper


def _reaching(scores, at):
    """How many scores reach each of the thresholds ``at``, which ascend."""
    flat = scores.ravel()
    count = np.zeros(len(at), dtype=np.int64)
    for start in range(0, flat.size, CHUNK):
        chunk = np.sort(flat[start : start + CHUNK])
        count += len(chunk) - np.searchsorted(chunk, at)
    return count


def _sum_reaching(scores, gains, at):
    """The gains of the scores that reach each of ``at``, added up."""
    order = np.argsort(scores)
    above = np.append(np.cumsum(gains[order][::-1])[::-1], 0)
    return above[np.searchsorted(scores[order], at)]


def _best_cut(p, gains):
    """The threshold of a label whose gains, of the rows that reach it, are largest."""
    order = np.argsort(-p, kind="stable")
    return _cut(p[order], np.append(0, np.cumsum(gains[order])))


def _best_f1_cut(y, p):
    order = np.argsort(-p, kind="stable")
    named = y.sum() + np.arange(len(y) + 1)
    hits = np.append(0, np.cumsum(y[order]))
    return _cut(p[order], 2 * hits / np.maximum(named, 1))


def _cut(scores, values):
    """The threshold after so many of the descending scores as has the best value.

    ``values[k]`` is that of predicting the first k rows; equal scores are not parted.
    """
    upper = np.append(np.nextafter(max(float(scores[0]), 1.0), np.inf), scores)
    lower = np.append(scores, 0.0)
    possible = np.append(lower[:-1] < upper[:-1], True)
    upper, lower, values = upper[possible], lower[possible], values[possible]
    best = np.flatnonzero(values >= values.max() - 1e-12 * max(1, abs(values).max()))
    # Where 0.5 is as good as any, it stays.
    default = best[(lower[best] < 0.5) & (upper[best] >= 0.5)]
    middles = (lower[best] + upper[best]) / 2
    chosen = default[0] if len(default) else best[np.abs(middles - 0.5).argmin()]
    return _between(lower[chosen], upper[chosen])


def _best_micro_f1_cuts(Y, P, start):
    """Dinkelbach's method: each label by itself, at the price of the F1 so far.

    2 TP / (named) is at most F just if 2 TP - F * named is at most 0, and that is a sum
    over labels. Where no cuts make it positive, F is the best.
    """
    thresholds = np.full(P.shape[1], start, dtype=float)
    best = EXACT["f1_micro"].score(Y, thresholds <= P)
    for _ in range(MAX_ROUNDS):
        gains = zip(P.T, 2.0 * Y.T - best, strict=True)
        improved = np.array([_best_cut(p, gain) for p, gain in gains])
        gain = EXACT["f1_micro"].score(Y, improved <= P) - best
        if gain > -LEAST_GAIN:
            thresholds = improved
        if gain < LEAST_GAIN:
            break
        best += gain
    return thresholds


def _good_samples_f1_cuts(Y, P, start):
    """Label by label the best cut, the others as they are, until nothing is gained."""
    thresholds = np.full(P.shape[1], start, dtype=float)
    predicted = thresholds <= P
    n_true = Y.sum(axis=1)
    n_hits, n_predicted = (Y & predicted).sum(axis=1), predicted.sum(axis=1)
    for _ in range(MAX_ROUNDS):
        before = thresholds.copy()
        for label, (y, p) in enumerate(zip(Y.T, P.T, strict=True)):
            was = thresholds[label] <= p
            n_hits -= y & was
            n_predicted -= was
            named = n_true + n_predicted
            without = 2 * n_hits / np.maximum(named, 1)
            thresholds[label] = _best_cut(p, 2 * (n_hits + y) / (named + 1) - without)
            now = thresholds[label] <= p
            n_hits += y & now
            n_predicted += now
        if np.array_equal(thresholds, before):
            break
    return thresholds
