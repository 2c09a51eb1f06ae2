"""How sure to be: the scale of the logits, told by rows that were held out."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from torch.nn.functional import logsigmoid


class HeldOut(NamedTuple):
    """What K heads say of rows that they were not trained on."""

    logits: np.ndarray  # (N, K, L)
    y: np.ndarray  # (N, L)
    weight: np.ndarray | None  # (N,)

    def best_scale(self, heads=slice(None)):
        """The log-loss of some heads at their best scale, and the scale."""
        return best_logit_scale(self.logits[:, heads], self.y, self.weight)


def best_logit_scale(logits, y, weight=None):
    """The weight of each head's logits in the sum that has the lowest log-loss.

    A network goes on to learn to rank labels long after it has begun to be too sure
    of itself; with the scale free, the log-loss of held-out rows tells the two apart
    (temperature scaling: Guo et al., ICML 2017). With several heads it also says how
    far to trust each. The loss is convex. A unit Gaussian around the plain average of
    the heads keeps a handful of rows from deciding alone.

    Parameters
    ----------
    logits : ndarray of shape (N, K, L)
    y : ndarray of shape (N, L)
    weight : ndarray of shape (N,), optional

    Returns
    -------
    loss : float
        The mean log-loss over rows and labels; NaN if the logits are not finite.
    scale : list of K floats in [0.01, 10]
    """
    if not np.isfinite(logits).all():
        return float("nan"), [1.0] * logits.shape[1]
    logits, n_heads = logits.astype(np.float64), logits.shape[1]
    if weight is None or not weight.sum() > 0:  # a weight may vanish in float32
        weight = np.ones(len(y))
    weight = weight[:, None] / weight.sum() / y.shape[1]
    prior = 0.5 / y.size

    def log_loss(scale):
        total = np.einsum("k,nkl->nl", scale, logits)
        loss = (weight * (np.logaddexp(0, total) - y * total)).sum()
        slope = np.einsum("nkl,nl->k", logits, weight * (expit(total) - y))
        away = scale - 1 / n_heads
        return loss, slope, prior * away @ away, 2 * prior * away

    def objective(scale):
        loss, slope, penalty, penalty_slope = log_loss(scale)
        return loss + penalty, slope + penalty_slope

    start = np.full(n_heads, 1 / n_heads)
    best = minimize(objective, start, jac=True, bounds=[(0.01, 10)] * n_heads).x
    return float(log_loss(best)[0]), best.tolist()


def logit_of_mean_probability(logits):
    """What the members of an ensemble say together; (M, ...) -> (...).

    Probabilities are averaged, their logit is taken without making them: far from 0
    they would be 0 or 1.
    """
    total = logsigmoid(logits).logsumexp(dim=0)
    return total - logsigmoid(-logits).logsumexp(dim=0)
