"""How sure to be: the scale of the logits, told by rows that were held out."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.utils import gen_batches
from torch.nn.functional import logsigmoid, softplus

# Labels of rows that are in memory in float64 at a time; a processor's cache has room
# for them.
BLOCK = 2**16


class HeldOut(NamedTuple):
    """What K heads say of rows that they were not trained on."""

    logits: np.ndarray  # (N, K, L), float32
    y: np.ndarray  # (N, L), of 0 and 1
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
    n_rows, n_heads, n_labels = logits.shape
    parts = list(gen_batches(n_rows, max(1, BLOCK // n_labels)))
    if not all(np.isfinite(logits[part]).all() for part in parts):
        return float("nan"), [1.0] * n_heads
    if weight is None or not weight.sum() > 0:  # a weight may vanish in float32
        weight = np.ones(n_rows)
    weight = torch.from_numpy(weight).double()
    weight = weight / weight.sum() / n_labels
    prior = 0.5 / y.size

    def block(array, part):
        return torch.from_numpy(array[part]).double()

    def weighted(heads, values, part):  # (n, K, L), (n, L) -> (K,)
        return weight[part] @ (heads @ values[..., None]).squeeze(-1)

    # Of the loss, softplus(total) - y * total, the second half is linear in the scale.
    linear = sum(weighted(block(logits, part), block(y, part), part) for part in parts)

    def log_loss(scale):
        factors = torch.from_numpy(scale)
        loss, slope = -factors @ linear, -linear
        for part in parts:
            heads = block(logits, part)
            total = factors @ heads  # (n, L)
            loss = loss + weight[part] @ softplus(total, threshold=40).sum(dim=-1)
            slope = slope + weighted(heads, total.sigmoid(), part)
        away = scale - 1 / n_heads
        return loss.item(), slope.numpy(), prior * away @ away, 2 * prior * away

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
