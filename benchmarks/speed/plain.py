"""What a training step is measured against: the same mathematics, by other hands.

:class:`PlainLoop` is torch and nothing else, for one configuration, the defaults of
:class:`skcgmvae.CGMVAEClassifier`, with the liberties that this gives: no modules, no
latent samples to average over, biases added in the products, what cancels left out,
losses summed at once. It draws as few random numbers, and is to be run with numbers
below 1e-38 as zeros, too. From the same start and the same random numbers it comes to
the same losses.
"""

import math

import torch
from skorch import NeuralNet
from skorch.utils import to_tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

LOG_2PI = math.log(2 * math.pi)


class PlainLoop:
    """AdamW and an average of the weights, over slices of tensors.

    Parameters
    ----------
    net : skorch.NeuralNet
        Of a CGMVAEClassifier with the defaults; weights and settings are copied.
    rows : Rows
        Dense, and in memory.
    """

    def __init__(self, net, rows):
        self.X, self.Y = rows.X, rows.y.float()
        self.members = net.module_.members
        self.weights = {
            name: _as_products_take_it(name, weight, self.members)
            for name, weight in net.module_.named_parameters()
        }
        self.parameters = list(self.weights.values())
        self.average = [w.detach().clone() for w in self.parameters]
        path = net.module_.linear_path
        self.penalty, self.cost = path.penalty, path.feature_cost[:, None]
        self.continuous = None if path.bin_weight is None else path.continuous
        edges = torch.special.ndtri(torch.linspace(0, 1, 9)).clamp(-2.5, 2.5)
        edges = edges.to(self.X.device)
        self.slope = 1 / edges.diff()
        self.start = -0.5 - edges[:-1] * self.slope
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=net.lr,
            weight_decay=net.optimizer_.param_groups[0]["weight_decay"],
            fused=True,
        )
        self.batch_size, self.ema_decay = net.batch_size, net.ema_decay
        self.n_averaged = 0
        self.product = torch.baddbmm if self.members else torch.addmm

    def epoch(self):
        """Pass over the rows once; the loss of each step."""
        n_rows = len(self.Y)
        n_batches = math.ceil(n_rows / self.batch_size)
        order = torch.rand((*self.members, n_rows), dtype=torch.float64).argsort(dim=-1)
        losses = []
        for rows in torch.tensor_split(order, n_batches, dim=-1):
            self.optimizer.zero_grad()
            rows = rows.to(self.X.device)
            loss = self.loss(self.X[rows], self.Y[rows])
            loss.backward()
            self.optimizer.step()
            self.n_averaged += 1
            decay = min(self.ema_decay, self.n_averaged / (self.n_averaged + 2))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
            losses.append(loss.detach())
        return torch.stack(losses).tolist()

    def linear(self, name, x):
        return self.product(
            self.weights[f"{name}.bias"], x, self.weights[f"{name}.weight"]
        )

    def gaussian(self, name, hidden):
        mean, raw = self.linear(f"{name}.linear", hidden).chunk(2, dim=-1)
        return mean, 6 * torch.tanh(raw / 6)

    def loss(self, x, y):
        """Eq. 7 with the linear path's own loss, a mean over rows."""
        E = self.weights["label_embedding"]
        n_rows = y[..., 0].numel()
        noisy = dropout(x)
        hidden = dropout(torch.relu(self.linear("feature_encoder.layers.input", noisy)))
        hidden = self.linear("feature_encoder.layers.hidden.2", hidden)
        hidden = dropout(torch.relu(hidden))
        mean, log_variance = self.gaussian("feature_encoder.head", hidden)
        mean = self.stretched(mean)
        noise = torch.randn_like(mean)
        z = mean + noise * torch.exp(0.5 * log_variance)

        hidden = dropout(torch.relu(self.linear("decoder.input", z)))
        embedding = self.linear("to_embedding", hidden)
        logits = embedding @ E.mT
        linear_logits = 10 * self.linear("linear_path", x)
        squares = (self.cost * self.weights["linear_path.weight"].square()).sum()
        if self.continuous is not None:
            bin_weight = self.weights["linear_path.bin_weight"]
            passed = torch.addcmul(
                self.start, x[..., self.continuous, None], self.slope
            )
            passed = passed.clamp_(-0.5, 0.5).flatten(-2)
            linear_logits = linear_logits + 10 * (passed @ bin_weight)
            squares = squares + bin_weight.square().sum()

        n_positive = y.sum(dim=-1)
        log_q = (-0.5 * (log_variance + noise.square() + LOG_2PI)).sum(dim=-1)
        kl = log_q - self.mixture(z, y, n_positive, E)

        norms = embedding.norm(dim=-1, keepdim=True) * E.norm(dim=-1)[..., None, :]
        similarity = logits / norms
        positive = (similarity * y).sum(dim=-1) / n_positive.clamp_min(1)
        contrastive = torch.logsumexp(similarity, dim=-1) - positive
        rows = 1e-3 * kl + contrastive * (n_positive > 0)

        entropy = sum(
            F.binary_cross_entropy_with_logits(part, y, reduction="sum")
            for part in (logits, linear_logits)
        )
        n_members = math.prod(self.members)
        return (rows.sum() + entropy) / n_rows + self.penalty * squares / n_members

    def stretched(self, mean):
        """What varies over the rows by less than the floor, as wide as that."""
        head = "feature_encoder.head"
        names = "mean", "log_variance", "n_batches"
        average, log_variance, count = (
            self.weights[f"{head}.min_std.{name}"].detach() for name in names
        )
        bias = self.weights[f"{head}.linear.bias"].detach().chunk(2, dim=-1)[0]
        variance, centre = torch.var_mean(mean, dim=-2, correction=0, keepdim=True)
        with torch.no_grad():
            count += 1
            share = (1 / count).clamp_min(0.1)
            n_rows = mean.shape[-2]
            of_all = variance.squeeze(-2) * (n_rows / (n_rows - 1))
            log_variance.copy_(log_variance.exp().lerp(of_all, share).log())
            average.lerp_((centre - bias).squeeze(-2), share)
        floor = 0.25 * (count / 2000).clamp_max(1) ** 2
        extra = (floor[..., None, :] / variance.sqrt()).clamp_min(1) - 1
        return mean + extra * (mean - centre)

    def mixture(self, z, y, n_positive, label_embedding):
        """log p(z|y), of which only labels that occur are encoded."""
        empty = -0.5 * (z.square() + LOG_2PI).sum(dim=-1)
        occurring = y.flatten(0, -2).any(dim=0).nonzero().squeeze(1)
        hidden = self.linear(
            "label_encoder.hidden.0", label_embedding.index_select(-2, occurring)
        )
        mean, log_variance = self.gaussian("label_encoder.head", torch.relu(hidden))
        centre = mean.detach().mean(dim=-2, keepdim=True)
        z, mean = z - centre, mean - centre
        precision = torch.exp(-log_variance)
        scaled = mean * precision
        constant = (mean * scaled + log_variance + LOG_2PI).sum(dim=-1)
        density = z.square() @ precision.mT - 2 * z @ scaled.mT
        density = -0.5 * (density + constant[..., None, :])
        is_empty = n_positive == 0
        absent = (y[..., occurring] == 0) & ~is_empty[..., None]
        mixed = torch.logsumexp(density.masked_fill(absent, -torch.inf), dim=-1)
        mixed = mixed - n_positive.clamp_min(1).log()
        return torch.where(is_empty, empty, mixed)


def _as_products_take_it(name, weight, members):
    """A copy to be trained; a bias (M, out) of members as (M, 1, out)."""
    weight = weight.detach().clone()
    if members and name.endswith(".bias"):
        weight = weight.unsqueeze(-2)
    return weight.requires_grad_()


def dropout(x, p=0.3):
    n_words = math.ceil(x.numel() / 4)
    words = torch.randint(-(2**63), 2**63 - 1, (n_words,), device=x.device)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    n_dropped = round(p * 2**16)
    kept = bits.to(x.dtype).ge_(n_dropped - 2**15)
    return x * kept.mul_(2**16 / (2**16 - n_dropped))


class SkorchLoop(NeuralNet):
    """skorch as it comes, around our network: it only has to be shown the labels.

    Rows are drawn and collated one by one, AdamW is torch's default, the loss is waited
    for at each step. There is no average of the weights.
    """

    def __init__(self, net, X, Y):
        super().__init__(
            lambda: net.module_,
            criterion=lambda: net.criterion_,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=net.optimizer_.param_groups[0]["weight_decay"],
            lr=net.lr,
            batch_size=net.batch_size,
            iterator_train__shuffle=True,
            max_epochs=1,
            train_split=None,
            verbose=0,
            device=net.device,
        )
        self.rows = TensorDataset(X, Y)

    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        x, y = to_tensor(batch, self.device)
        output = self.module_.training_output(x, y)
        loss = self.criterion_(output, y)["loss"].mean()
        loss.backward()
        return {"loss": loss, "y_pred": output.logits}

    def epoch(self):
        """Pass over the rows once."""
        self.partial_fit(self.rows)
