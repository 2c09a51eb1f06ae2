"""Some labels in place of all: what bounds a training step where labels are many."""

from typing import NamedTuple

import torch


class LabelSample(NamedTuple):
    """The labels that a step looks at, of L labels A; none that occurs is left out.

    A sum over these, weighted, is on average the sum over all.
    """

    labels: torch.Tensor  # (A,), which labels these are
    weight: torch.Tensor  # (A,), how many labels each stands for
    n_labels: int

    def spread(self, logits):
        """Logits of all labels, to be looked at; (..., A) -> (..., L).

        Those of labels that were not seen are the mean of the row.
        """
        with torch.no_grad():
            mean = logits.mean(dim=-1, keepdim=True)
            spread = mean.expand(*logits.shape[:-1], self.n_labels).clone()
            return spread.index_copy_(-1, self.labels, logits)


def draw_labels(y, size):
    """All labels that occur in a batch and, up to ``size`` labels, others at random.

    The others are drawn evenly and without replacement, and stand for all that do not
    occur. Members of an ensemble share the draw.

    y (..., B, L) of 0 and 1 -> :class:`LabelSample`.
    """
    occurs = y.flatten(0, -2).any(dim=0)  # (L,)
    occurring, absent = (m.nonzero().squeeze(1) for m in (occurs, ~occurs))
    order = torch.randperm(len(absent), device=y.device)
    drawn = absent[order[: max(size - len(occurring), 0)]]
    weight = y.new_ones(len(occurring) + len(drawn))
    weight[len(occurring) :] = len(absent) / max(len(drawn), 1)
    return LabelSample(torch.cat([occurring, drawn]), weight, y.shape[-1])
