"""C2AE: its losses against direct loops, its prediction by hand."""

import numpy as np
import pytest
import torch
from common import toy

from skcgmvae._losses import pairwise_ranking_loss
from skcgmvae.baselines import C2AEClassifier
from skcgmvae.baselines.c2ae import C2AELoss, C2AEOutput, orthonormality_penalty

X, Y = toy()


def scores_and_labels(n_rows=6, n_labels=5):
    """Among the rows one without labels and one with all, which have no pairs."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(n_rows, n_labels, generator=generator, dtype=torch.float64)
    y = (torch.rand(n_rows, n_labels, generator=generator) < 0.4).double()
    y[0], y[1], y[2:, 0], y[2:, 1] = 0, 1, 0, 1
    return scores, y


def ranking_by_loops(scores, y):
    losses = []
    for row, labels in zip(scores, y, strict=True):
        positives = [p for p in range(len(labels)) if labels[p] == 1]
        negatives = [q for q in range(len(labels)) if labels[q] == 0]
        total = torch.zeros((), dtype=scores.dtype)
        for p in positives:
            for q in negatives:
                total = total + torch.exp(-(row[p] - row[q]))
        losses.append(total / max(1, len(positives) * len(negatives)))
    return torch.stack(losses)


def test_ranking_loss_is_the_mean_over_pairs():
    scores, y = scores_and_labels()
    found = pairwise_ranking_loss(scores, y)
    torch.testing.assert_close(found, ranking_by_loops(scores, y))
    assert (found[:2] == 0).all() and (found[2:] > 0).all()
    # Blocks of samples of the same rows.
    blocks = torch.stack([scores, 2 * scores])
    expected = torch.stack([ranking_by_loops(block, y) for block in blocks])
    torch.testing.assert_close(pairwise_ranking_loss(blocks, y), expected)


def test_ranking_loss_has_the_gradient_of_the_loop():
    scores, y = scores_and_labels()
    gradients = []
    for loss in (pairwise_ranking_loss, ranking_by_loops):
        leaf = scores.clone().requires_grad_()
        loss(leaf, y).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)
    assert torch.isfinite(gradients[0]).all()


def test_ranking_loss_makes_no_matrix_of_pairs():
    """One of 50,000 labels by as many would take 10 GB a row."""
    scores = torch.zeros(4, 50_000)
    y = torch.zeros(4, 50_000)
    y[:, ::3] = 1
    torch.testing.assert_close(pairwise_ranking_loss(scores, y), torch.ones(4))


def test_ranking_loss_of_large_scores_is_finite_while_it_can_be():
    scores, y = scores_and_labels()
    shifted = pairwise_ranking_loss((scores + 1000).float(), y.float())
    expected = pairwise_ranking_loss(scores, y).float()
    torch.testing.assert_close(shifted, expected, rtol=1e-3, atol=1e-5)


def test_orthonormality_is_the_distance_of_the_second_moments():
    code = np.random.RandomState(0).randn(30, 4)
    moments = sum(np.outer(row, row) for row in code) / 30
    expected = ((moments - np.eye(4)) ** 2).sum()
    found = orthonormality_penalty(torch.from_numpy(code))
    np.testing.assert_allclose(found, np.full(30, expected))
    # Orthonormal columns, scaled to unit variance, cost nothing.
    q, _ = np.linalg.qr(code)
    free = orthonormality_penalty(torch.from_numpy(q * np.sqrt(30)))
    np.testing.assert_allclose(free, 0, atol=1e-12)


def test_loss_is_the_weighted_sum_of_its_terms():
    logits, y = scores_and_labels()
    features, labels = torch.randn(2, 6, 3, dtype=torch.float64)
    output = C2AEOutput(features, labels, y, logits, logits)
    terms = C2AELoss(alpha=3.0, orthonormality_weight=0.7)(output, y)
    distance = torch.tensor(
        [
            sum(float(a - b) ** 2 for a, b in zip(f, e, strict=True))
            for f, e in zip(features, labels, strict=True)
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(terms["distance"], distance)
    bounded = 2 * torch.sigmoid(logits) - 1
    torch.testing.assert_close(terms["ranking"], ranking_by_loops(bounded, y))
    penalty = orthonormality_penalty(features) + orthonormality_penalty(labels)
    expected = distance + 0.7 * penalty + 3.0 * terms["ranking"]
    torch.testing.assert_close(terms["loss"], expected)


def dense_layers(layers, x):
    """A network of Linear layers and leaky ReLUs, in numpy."""
    linear = [layer for layer in layers.modules() if hasattr(layer, "weight")]
    for number, layer in enumerate(linear):
        x = x @ layer.weight.detach().numpy() + layer.bias.detach().numpy()
        if number < len(linear) - 1:
            x = np.where(x > 0, x, 0.01 * x)
    return x


def test_prediction_decodes_the_code_of_the_features():
    clf = C2AEClassifier(
        latent_dim=4,
        feature_layer_sizes=(8, 8),
        label_encoder_layer_sizes=(8,),
        decoder_layer_sizes=(8,),
        max_iter=2,
        random_state=0,
        device="cpu",
    ).fit(X, Y)
    module = clf.net_.module_
    code = dense_layers(module.feature_map, clf._scaler.transform(X))
    logits = dense_layers(module.decoder, code) * clf.logit_scale_[0]
    logits += clf.logit_shift_
    np.testing.assert_allclose(clf.decision_function(X), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", ["feature_map", "decoder"])
def test_the_decoder_learns_from_labels_the_map_from_codes(frozen):
    """The ranking loss does not reach F_x, nor the distance the decoder."""
    clf = C2AEClassifier(max_iter=1, random_state=0, device="cpu").fit(X, Y)
    module = clf.net_.module_
    module.zero_grad()
    x = torch.from_numpy(clf._scaler.transform(X))
    output = module.training_output(x, torch.from_numpy(Y).float())
    terms = C2AELoss()(output, torch.from_numpy(Y).float())
    term = terms["ranking" if frozen == "feature_map" else "distance"]
    term.sum().backward()
    gradients = [p.grad for p in getattr(module, frozen).parameters()]
    assert all(g is None or not g.any() for g in gradients)


def test_a_single_label_is_ranked_against_its_opposite():
    one = C2AEClassifier(max_iter=10, random_state=0, device="cpu").fit(X, Y[:, :1])
    assert one.predict_proba(X).shape == (len(X), 1)
    accuracy = (one.predict(X) == Y[:, :1]).mean()
    assert accuracy > max(Y[:, 0].mean(), 1 - Y[:, 0].mean()) + 0.1
