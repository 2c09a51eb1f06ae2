"""Ways to train that C-GMVAE might have and has not, each to be measured as a variant.

Other losses are of the network only: the linear path has its own. They take all labels
in each step.
"""

import torch
from skorch.callbacks import Callback, LRScheduler
from torch.nn import functional as F

from skcgmvae import CGMVAEClassifier
from skcgmvae._losses import CGMVAELoss


class LabelSmoothing(CGMVAELoss):
    """The cross-entropy of labels that are drawn towards a half."""

    AMOUNT = 0.1

    def _cross_entropy(self, output, y):
        smooth = (1 - self.AMOUNT) * y + self.AMOUNT / 2
        return super()._cross_entropy(output, smooth)


class AsymmetricLoss(CGMVAELoss):
    """The asymmetric loss of Ridnik et al. (ICCV 2021) for the cross-entropy.

    The less likely an absent label is said to be, the less it counts, and below the
    margin not at all; present ones cost what they always do. All labels so come out too
    likely, which calibration, by scale, does not undo.
    """

    FOCUS = 4
    MARGIN = 0.05

    def _cross_entropy(self, output, y):
        p = torch.sigmoid(output.logits)
        shifted = (p - self.MARGIN).clamp_min(0)
        present = -F.logsigmoid(output.logits)
        absent = -(shifted**self.FOCUS) * torch.log1p(-shifted)
        return self._over_blocks((y * present + (1 - y) * absent).sum(dim=-1), y)


class FreeBits(CGMVAELoss):
    """A KL that costs nothing while its mean over the batch is below a nat a dimension.

    Kingma et al. (NeurIPS 2016, Eq. 15), with all dimensions in one group: the KL to a
    mixture is no sum over dimensions.
    """

    NATS = 1.0

    def _kl(self, output, y):
        kl = super()._kl(output, y)
        free = kl.new_tensor(self.NATS * output.mean.shape[-1])
        return torch.where(kl.mean(dim=-1, keepdim=True) > free, kl, free)


class KLWarmUp(Callback):
    """Let the weight of the KL term rise, evenly, over the first epochs."""

    EPOCHS = 5

    def on_train_begin(self, net, **kwargs):
        self.weight_ = net.criterion_.weights["kl"]

    def on_epoch_begin(self, net, **kwargs):
        part = min(len(net.history) / self.EPOCHS, 1)
        net.criterion_.weights["kl"] = part * self.weight_


class ConstantPenalty(Callback):
    """Let the penalty of the linear path be its own from the start."""

    def on_batch_begin(self, net, training, **kwargs):
        if training:
            net.module_.linear_path.multiply_penalty(1)


class EqualCosts(Callback):
    """Let the weights of all features cost the linear path the same."""

    def on_train_begin(self, net, **kwargs):
        net.module_.linear_path.feature_cost.fill_(1)


def cosine_schedule(n_epochs):
    """Parameters with which the learning rate, of all parts, falls along a cosine."""
    falling = LRScheduler("CosineAnnealingLR", T_max=n_epochs)
    return {"max_iter": n_epochs, "callbacks": [falling]}


def with_loss(loss):
    """The class of a C-GMVAE with another loss."""
    name = f"CGMVAEClassifierWith{loss.__name__}"
    return type(name, (CGMVAEClassifier,), {"_criterion_class": loss})
