"""How sure to be: the size of the logits, told by rows that were held out."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.utils import gen_batches
from torch.nn.functional import logsigmoid, softplus

# Labels of rows that are in memory in float64 at a time; a processor's cache has room
# for them.
BLOCK = 2**16

# Standard deviation of what goes by the labels' frequencies. Few rows or labels, which
# tell little of it, leave it at 0; validation rows of yeast, emotions, bibtex and sider
# do not tell 0.03 from 0.1.
BY_FREQUENCY = 0.05

# By how much more the evidence for a rare label counts, for each unit of its log-odds.
# The log-loss of held-out rows hardly tells; chosen by macro-F1 on validation rows of
# yeast, emotions, bibtex and sider.
FOR_RARE = 0.1

SMALLEST, LARGEST = 0.01, 10.0  # scales of a head


class Calibration(NamedTuple):
    """A label's logit is ``(scale * heads).sum() + shift``."""

    scale: np.ndarray  # (K, L)
    shift: np.ndarray  # (L,)


class HeldOut(NamedTuple):
    """What K heads say of rows that they were not trained on."""

    logits: np.ndarray  # (N, K, L), float32
    y: np.ndarray  # (N, L), of 0 and 1
    weight: np.ndarray | None  # (N,)

    def best_scale(self, heads=slice(None)):
        """The log-loss of some heads at their best scale, and the scale."""
        return best_logit_scale(self.logits[:, heads], self.y, self.weight)

    def calibration(self, log_odds):
        """The best calibration, given the labels' log-odds."""
        return calibrate(self.logits, self.y, log_odds, self.weight)


def best_logit_scale(logits, y, weight=None):
    """The weight of each head's logits in the sum that has the lowest log-loss.

    A network goes on to learn to rank labels long after it has begun to be too sure
    of itself; with the scale free, the log-loss of held-out rows tells the two apart
    (temperature scaling: Guo et al., ICML 2017). With several heads it also says how
    far to trust each. A unit Gaussian around the plain average of the heads keeps a
    handful of rows from deciding alone.

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
    loss, scale = _best_factors(logits, y, weight)
    return loss, scale.tolist()


def calibrate(logits, y, log_odds, weight=None):
    """The scales by head, and the shift by a label's frequency, of lowest log-loss.

    A head that says h of a label of log-odds c has seen evidence h - c. For a label
    that is rarer than not it counts more::

        h + 0.1 max(-c, 0) (h - c)

    These are scaled, and added to ``a + b c``. Heads that add to each other count what
    both know twice, how frequent a label is: ``b`` takes it back. It and ``a`` are
    Gaussians around 0.

    Parameters
    ----------
    logits : ndarray of shape (N, K, L)
    y : ndarray of shape (N, L)
    log_odds : ndarray of shape (L,)
        Of the labels among the training rows.
    weight : ndarray of shape (N,), optional

    Returns
    -------
    Calibration
    """
    c = torch.from_numpy(log_odds).double()
    more = FOR_RARE * np.maximum(-log_odds, 0)

    def features(heads):
        emphasised = heads + torch.from_numpy(more) * (heads - c)
        constant = torch.stack([torch.ones_like(c), c]).expand(len(heads), -1, -1)
        return torch.cat([emphasised, constant], dim=1)

    # The usual tolerance ends a few ten-thousandths off in the probabilities.
    _, factors = _best_factors(logits, y, weight, features, tol=1e-10)
    *scale, a, b = factors
    shift = a + b * log_odds - sum(scale) * more * log_odds
    return Calibration(np.outer(scale, 1 + more), shift)


def _best_factors(logits, y, weight, features=lambda heads: heads, tol=None):
    """The mean log-loss of a weighted sum of features, and its best weights.

    ``features`` makes them of the heads, (n, K, L) -> (n, F, L), one of each in front.
    The loss is convex in the weights.
    """
    n_rows, n_heads, n_labels = logits.shape
    parts = list(gen_batches(n_rows, max(1, BLOCK // n_labels)))
    n_factors = features(torch.zeros(1, n_heads, n_labels)).shape[1]
    centre = np.zeros(n_factors)
    centre[:n_heads] = 1 / n_heads
    if not all(np.isfinite(logits[part]).all() for part in parts):
        return float("nan"), centre
    if weight is None or not weight.sum() > 0:  # a weight may vanish in float32
        weight = np.ones(n_rows)
    weight = torch.from_numpy(weight).double()
    weight = weight / weight.sum() / n_labels
    precision = np.full(n_factors, BY_FREQUENCY**-2)
    precision[:n_heads] = 1
    precision /= y.size

    def block(part):
        return features(torch.from_numpy(logits[part]).double())

    def weighted(part, block, values):  # (n, F, L), (n, L) -> (F,)
        return weight[part] @ (block @ values[..., None]).squeeze(-1)

    # Of the loss, softplus(total) - y * total, the second half is linear.
    labels = (torch.from_numpy(y[part]).double() for part in parts)
    linear = sum(map(weighted, parts, map(block, parts), labels))

    def log_loss(factors):
        factors = torch.from_numpy(factors)
        loss, slope = -factors @ linear, -linear
        for part in parts:
            values = block(part)
            total = factors @ values  # (n, L)
            loss = loss + weight[part] @ softplus(total, threshold=40).sum(dim=-1)
            slope = slope + weighted(part, values, total.sigmoid())
        return loss.item(), slope.numpy()

    def objective(factors):
        loss, slope = log_loss(factors)
        away = factors - centre
        return loss + precision @ away**2 / 2, slope + precision * away

    bounds = [(SMALLEST, LARGEST)] * n_heads + [(None, None)] * (n_factors - n_heads)
    best = minimize(objective, centre, jac=True, bounds=bounds, tol=tol).x
    return float(log_loss(best)[0]), best


def combined(heads, calibration):
    """What heads say together, a tensor (*members, B, K, L) -> (B, L).

    Without a calibration, None, their plain average.
    """
    if calibration is None:
        logits = heads.mean(dim=-2)
    else:
        scale, shift = map(heads.new_tensor, calibration)
        logits = (scale * heads).sum(dim=-2) + shift
    return logit_of_mean_probability(logits) if logits.ndim > 2 else logits


def logit_of_mean_probability(logits):
    """What the members of an ensemble say together; (M, ...) -> (...).

    Probabilities are averaged, their logit is taken without making them: far from 0
    they would be 0 or 1.
    """
    total = logsigmoid(logits).logsumexp(dim=0)
    return total - logsigmoid(-logits).logsumexp(dim=0)
