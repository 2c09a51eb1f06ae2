"""The network of figure 1: its layers, its symmetries and its options."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.stats
import torch
from common import is_trained
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skcgmvae._gaussian_head import MinStd
from skcgmvae._layers import (
    Dropout,
    InputLinear,
    SparseRows,
    random_int16,
    with_squares,
)
from skcgmvae._linear_path import LINEAR_SPEED
from skcgmvae._losses import CGMVAELoss
from skcgmvae._network import (
    CGMVAE,
    GaussianMixture,
    LabelEncoder,
)

assert_close = torch.testing.assert_close

D, L, B = 7, 5, 6
SIZES = {
    "latent_dim": 3,
    "embedding_dim": 8,
    "encoder_layer_sizes": (9, 10),
    "label_encoder_layer_sizes": (11,),
    "decoder_layer_sizes": (12, 13),
}


def make(n_features=D, n_labels=L, seed=0, **options):
    """A small float64 network, the same for the same options."""
    torch.manual_seed(seed)
    plain = {"dropout": 0.0, "input_dropout": 0.0, "min_latent_std": 0.0, "n_rows": 20}
    options = SIZES | plain | options
    module = CGMVAE(n_features=n_features, n_labels=n_labels, **options).double()
    if module.linear_path is not None:
        # It starts at zero, where no test would see it.
        nn.init.normal_(module.linear_path.weight)
    return module


def features(rows=B, columns=D, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


# The fourth label never occurs, the first row has no labels.
Y = torch.tensor(
    [
        [0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [1, 1, 1, 0, 1],
        [0, 0, 0, 0, 1],
        [1, 0, 0, 0, 1],
    ]
).double()


def train_step(module, x, y, seed=2, **criterion_options):
    """The loss terms of a step and the gradients of all parameters by name."""
    torch.manual_seed(seed)
    module.zero_grad()
    output = module.training_output(x, y)
    terms = CGMVAELoss(kl_weight=1.0, **criterion_options)(output, y)
    terms["loss"].mean().backward()
    gradients = {
        name: None if p.grad is None else p.grad.clone()
        for name, p in module.named_parameters()
    }
    return output, terms, gradients


# -- rows as sparse matrices -----------------------------------------------------


def sparse_rows(matrix):
    return SparseRows(
        torch.from_numpy(matrix.indices).long(),
        torch.from_numpy(matrix.indptr[:-1]).long(),
        torch.from_numpy(matrix.data),
    )


def as_sparse(x):
    return sparse_rows(sp.csr_matrix(x.numpy()))


# Row 0 has its columns out of order, row 1 is empty, row 2 names column 4 twice, the
# last row is empty too.
RAGGED = SparseRows(
    torch.tensor([6, 0, 3, 4, 1, 4]),
    torch.tensor([0, 3, 3, 6]),
    torch.tensor([1.5, -2.0, 0.5, 1.0, 3.0, 2.5], dtype=torch.float64),
)
RAGGED_DENSE = torch.tensor(
    [
        [-2.0, 0, 0, 0.5, 0, 0, 1.5],
        [0.0, 0, 0, 0, 0, 0, 0],
        [0.0, 3.0, 0, 0, 3.5, 0, 0],
        [0.0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=torch.float64,
)
NOTHING = SparseRows(
    torch.empty(0, dtype=torch.long),
    torch.zeros(3, dtype=torch.long),
    torch.empty(0, dtype=torch.float64),
)


def test_to_dense_adds_duplicates_and_keeps_empty_rows():
    assert RAGGED.shape == (4,)
    assert_close(RAGGED.to_dense(D), RAGGED_DENSE)
    for wanted in ([4], [6, 0, 4], [2], []):
        wanted = torch.tensor(wanted, dtype=torch.long)
        assert_close(RAGGED.to_dense(D, wanted), RAGGED_DENSE[:, wanted])
    assert_close(NOTHING.to_dense(D), torch.zeros(3, D, dtype=torch.float64))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("offset", [None, features(1)[0]], ids=["plain", "offset"])
@pytest.mark.parametrize(
    ("rows", "dense"),
    [(RAGGED, RAGGED_DENSE), (NOTHING, torch.zeros(3, D, dtype=torch.float64))],
    ids=["ragged", "nothing stored"],
)
def test_input_linear_is_the_same_for_dense_and_sparse(rows, dense, offset, bias):
    layer = InputLinear(D, 4, offset=offset, bias=bias).double()
    if bias:
        nn.init.normal_(layer.bias)
    pull = features(len(dense), 4, seed=3)
    found = []
    centred = dense if offset is None else dense - offset
    for x in (centred, rows):
        layer.zero_grad()
        out = layer(x)
        (pull * out).sum().backward()
        found.append((out.detach(), layer.weight.grad.clone()))
    reference = nn.functional.linear(centred, layer.weight.T, layer.bias)
    assert_close(found[0][0], reference.detach())
    assert_close(found[1][0], found[0][0])
    assert_close(found[1][1], found[0][1])


@pytest.mark.parametrize("n_out", [4, 2**14])
@pytest.mark.parametrize("members", [(), (3,)])
def test_squares_are_those_of_autograd(members, n_out):
    torch.manual_seed(0)
    plain = torch.randn(*members, D, n_out, dtype=torch.float64, requires_grad=True)
    ours = plain.detach().clone().requires_grad_()
    x, pull = features(B), features(B, n_out, seed=3)
    strength = torch.rand(*members, D, dtype=torch.float64)
    squares = plain.square().sum(dim=-1)
    ((x @ plain * pull).sum() + (strength * squares).sum()).backward()
    weight, found = with_squares(ours)
    assert (weight is ours) == (n_out == 4)  # a small one has autograd's own way
    ((x @ weight * pull).sum() + (strength * found).sum()).backward()
    assert_close(found, squares)
    assert_close(ours.grad, plain.grad)


def test_many_squares_are_added_up_without_loss():
    """A float32 of 1e8 does not grow by 1."""
    weight = torch.ones(1000, 100)
    weight[0] = 1e4
    _, squares = with_squares(weight)
    assert squares.sum().item() == pytest.approx(1e10 + 999 * 100, rel=2e-6)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_input_linear_on_any_sparse_matrix(seed, density):
    matrix = sp.random(5, D, density=density, format="csr", random_state=seed)
    layer = InputLinear(D, 4).double()
    expected = torch.from_numpy(matrix.toarray()) @ layer.weight
    assert_close(layer(sparse_rows(matrix)), expected)


# -- layers ----------------------------------------------------------------------


def test_dropout_is_the_identity_out_of_training_and_without_p():
    x = features()
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_p_and_keeps_the_mean(p):
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(100_000))
    kept = out[out != 0]
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.01)
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert_close(kept, torch.full_like(kept, kept[0].item()))


def test_dropout_is_never_of_nothing_nor_of_everything():
    torch.manual_seed(0)
    x = torch.ones(2**20)
    few, most = Dropout(1e-9)(x), Dropout(1 - 1e-9)(x)
    assert 0 < (few == 0).sum() < 100
    assert 0 < (most != 0).sum() < 100
    assert few.isfinite().all() and most.isfinite().all()


def test_random_int16_are_even_and_each_by_itself():
    torch.manual_seed(0)
    drawn = random_int16((2**14 + 1, 4), "cpu").double()
    assert drawn.shape == (2**14 + 1, 4)
    # A column a quarter of the words that they are cut from.
    for column in drawn.T:
        assert scipy.stats.kstest(column, "uniform", (-(2**15), 2**16)).pvalue > 1e-3
    correlations = torch.corrcoef(torch.cat([drawn[1:], drawn[:-1]], dim=1).T)
    assert (correlations - torch.eye(8)).abs().max() < 0.04
    assert random_int16((3,), "cpu").shape == (3,)


def test_dropout_gradient_goes_where_the_values_went():
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    out = Dropout(0.3)(x)
    out.sum().backward()
    assert_close(x.grad, out.detach())


def test_label_encoder_has_no_dropout():
    torch.manual_seed(0)
    encoder = LabelEncoder(8, 3, (9,), nn.ReLU).train()
    x = torch.randn(4, 8)
    assert_close(encoder(x), encoder(x), rtol=0, atol=0)
    module = make(dropout=0.9).train()
    assert_close(module.label_gaussians(), module.label_gaussians(), rtol=0, atol=0)


# -- the whole network -----------------------------------------------------------


def test_logits_are_inner_products_of_the_embeddings():
    module, x = make(linear_path=False).eval(), features()
    assert_close(module(x)[:, 0], module.embed(x) @ module.label_embedding.T)
    assert module(x).shape == (B, 1, L)


def test_linear_path_is_a_head_of_its_own():
    module, x = make().eval(), features()
    network, linear = module(x).unbind(dim=1)
    assert_close(network, module.embed(x) @ module.label_embedding.T)
    path = module.linear_path
    assert_close(linear, LINEAR_SPEED * (x @ path.weight + path.bias))
    assert linear.abs().max() > 0.1


def test_linear_path_shares_no_training_with_the_rest():
    x = features()
    with_path, without = make(), make(linear_path=False)
    with torch.no_grad():
        # The same numbers everywhere else.
        without.load_state_dict(with_path.state_dict(), strict=False)
    _, terms, gradients = train_step(with_path, x, Y)
    _, other_terms, others = train_step(without, x, Y, linear_path=False)
    for name, expected in others.items():
        assert_close(gradients[name], expected, msg=name)
    assert_close(terms["loss"] - terms["linear"], other_terms["loss"])


def test_what_is_frozen_is_left_out_of_a_training_step():
    module, x = make(), features()
    whole, terms, _ = train_step(module, x, Y)
    module.requires_grad_(False)
    module.linear_path.requires_grad_(True)
    output, linear_terms, _ = train_step(module, x, Y)
    assert output.logits is output.prior is None
    assert_close(output.heads, whole.heads[:, 1:])
    assert set(linear_terms) == {"loss", "linear"}
    assert_close(linear_terms["loss"], terms["linear"])

    module.requires_grad_(True)
    module.linear_path.requires_grad_(False)
    output, network_terms, _ = train_step(module, x, Y)
    assert output.linear_logits is output.linear_penalty is None
    assert output.heads.shape == (B, 1, L)
    assert set(terms) - set(network_terms) == {"linear"}


def test_linear_path_learns_the_ridge_logistic_regression_of_scikit_learn():
    """On all rows at once, with the penalty that scikit-learn's C = 1 stands for."""
    rng = np.random.RandomState(0)
    x = rng.randn(60, D)
    y = (x @ rng.randn(D, 2) + rng.randn(60, 2) > 0).astype(float)
    module = make(n_labels=2, n_rows=60, linear_penalty=1.0)
    optimizer = torch.optim.LBFGS(
        module.linear_path.parameters(), max_iter=200, tolerance_change=1e-12
    )
    x_tensor, y_tensor = torch.from_numpy(x), torch.from_numpy(y)

    def closure():
        optimizer.zero_grad()
        output = module.training_output(x_tensor, y_tensor)
        loss = CGMVAELoss()._linear(output, y_tensor).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    for label in range(2):
        reference = LogisticRegression(C=1.0, tol=1e-10).fit(x, y[:, label])
        found = LINEAR_SPEED * module.linear_path.weight[:, label].detach().numpy()
        np.testing.assert_allclose(found, reference.coef_[0], rtol=1e-3, atol=1e-3)


def test_linear_path_starts_at_the_log_odds_given():
    log_odds = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
    torch.manual_seed(0)
    module = CGMVAE(
        n_rows=20, n_features=D, n_labels=L, label_log_odds=log_odds, **SIZES
    ).eval()
    x = features().float()
    assert_close(module(x)[:, 1], log_odds.expand(B, L), rtol=0, atol=1e-5)


def test_prediction_uses_the_posterior_mean():
    module, x = make().eval(), features()
    mean, _ = module.feature_encoder(x)
    assert_close(module.encode(x), mean)
    assert_close(module(x), module(x), rtol=0, atol=0)
    embedding = module.to_embedding(module.decoder(mean, x))
    assert_close(module.embed(x), embedding)


@pytest.mark.parametrize("n_members", [1, 3])
def test_min_latent_std_is_of_the_posterior_mean_alone(n_members, monkeypatch):
    monkeypatch.setattr(MinStd, "n_growing", 1)
    options = {"n_members": n_members, "label_branch": True}
    plain = make(**options, min_latent_std=0).training_output(features(), Y)
    wide = make(**options, min_latent_std=5).training_output(features(), Y)
    centre = plain.mean.mean(dim=-2, keepdim=True)
    deviation = plain.mean.std(dim=-2, correction=0, keepdim=True)
    expected = centre + 5 * (plain.mean - centre) / deviation
    assert_close(wide.mean, expected, rtol=0.01, atol=1e-6)
    assert_close(wide.log_variance, plain.log_variance)
    assert_close(wide.prior, plain.prior)


def test_latent_samples_have_the_moments_of_the_posterior():
    output = make(n_samples=20_000).training_output(features(), Y)
    sd = torch.exp(output.log_variance / 2)
    assert_close(output.z.mean(dim=0), output.mean, rtol=0, atol=0.05 * sd.max().item())
    assert_close(output.z.std(dim=0), sd, rtol=0.05, atol=0)
    assert not torch.allclose(output.z[0], output.z[1])


def test_samples_pass_gradients_to_mean_and_variance():
    module = make(n_samples=2)
    output = module.training_output(features(), Y)
    gradients = torch.autograd.grad(
        output.logits.sum(), [output.mean, output.log_variance]
    )
    assert all((gradient != 0).any() for gradient in gradients)


class AllLabels(CGMVAE):
    """Encodes every label for every batch, as figure 1 draws it."""

    def _batch_gaussians(self, y, label_embedding):
        return GaussianMixture(*self.label_gaussians(label_embedding), y > 0)


@pytest.mark.parametrize("label_branch", [False, True])
@pytest.mark.parametrize("y", [Y, torch.zeros_like(Y)], ids=["some", "no labels"])
def test_encoding_the_occurring_labels_only_is_exact(y, label_branch):
    some, every = make(label_branch=label_branch), make(label_branch=label_branch)
    every.__class__ = AllLabels
    output, terms, gradients = train_step(some, features(), y)
    all_output, all_terms, all_gradients = train_step(every, features(), y)
    assert len(output.prior.mean) == int(y.any(dim=0).sum()) < L
    assert len(all_output.prior.mean) == L
    assert_close(terms, all_terms)
    for name, expected in all_gradients.items():
        found = gradients[name]
        if expected is None:
            assert not is_trained(name) and found is None
            continue
        if found is None:  # nothing to encode, nothing to train
            assert not y.any()
            found = torch.zeros_like(expected)
        assert_close(found, expected, msg=name)


def permute_labels(module, order):
    permuted = make(label_branch=module.label_branch)
    permuted.load_state_dict(module.state_dict())
    with torch.no_grad():
        permuted.label_embedding.copy_(module.label_embedding[order])
        permuted.linear_path.weight.copy_(module.linear_path.weight[:, order])
        permuted.linear_path.bias.copy_(module.linear_path.bias[order])
    return permuted


@pytest.mark.parametrize("label_branch", [False, True])
def test_relabelling_permutes_the_outputs_and_leaves_the_loss(label_branch):
    order = torch.tensor([4, 2, 0, 1, 3])
    module, x = make(label_branch=label_branch), features()
    permuted = permute_labels(module, order)
    assert_close(permuted(x), module(x)[..., order])
    assert_close(permuted.label_gaussians()[0], module.label_gaussians()[0][order])

    _, terms, gradients = train_step(module, x, Y, label_branch=label_branch)
    _, found, moved = train_step(permuted, x, Y[:, order], label_branch=label_branch)
    assert_close(found, terms)
    name = "label_embedding"
    assert_close(moved[name], gradients[name][order])
    assert (gradients[name] != 0).any()


def test_permuting_rows_permutes_the_outputs():
    module, x, order = make().eval(), features(), torch.randperm(B)
    for function in (module, module.encode, module.embed):
        assert_close(function(x[order]), function(x)[order])


def test_rows_do_not_influence_one_another():
    module, x = make().eval(), features()
    changed = x.clone()
    changed[2] += 1
    moved = (module(changed) != module(x)).flatten(1).any(dim=1)
    assert moved.tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("skip_connection", [False, True])
def test_dense_and_sparse_rows_train_the_same(skip_connection):
    offset = features(1, seed=5)[0]
    x = torch.where(features().abs() < 0.7, 0.0, features())
    module = make(
        offset=offset,
        skip_connection=skip_connection,
        reconstruction="gaussian",
    )
    nn.init.normal_(module.linear_path.weight)
    results = [
        train_step(module, rows, Y, reconstruction="gaussian")
        for rows in (x - offset, as_sparse(x))
    ]
    assert_close(results[0][0].target, x - offset)
    assert_close(results[1][0].target, x - offset)
    assert_close(results[1][1], results[0][1])
    assert_close(results[1][2], results[0][2])


def test_reconstruction_target_of_sparse_rows_without_offset():
    module = make(reconstruction="bernoulli")
    output = module.training_output(RAGGED, Y[:4])
    assert_close(output.target, RAGGED_DENSE)


# -- the options -----------------------------------------------------------------


def shapes(module):
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


@pytest.mark.parametrize(
    ("option", "value", "layer", "size"),
    [
        ("latent_dim", 4, "decoder.input.weight", (4, 12)),
        ("latent_dim", 4, "feature_encoder.head.linear.weight", (10, 8)),
        ("latent_dim", 4, "label_encoder.head.linear.weight", (11, 8)),
        ("embedding_dim", 17, "label_embedding", (L, 17)),
        ("embedding_dim", 17, "to_embedding.weight", (13, 17)),
        ("embedding_dim", 17, "label_encoder.hidden.0.weight", (17, 11)),
        ("encoder_layer_sizes", (6,), "feature_encoder.head.linear.weight", (6, 6)),
        ("label_encoder_layer_sizes", (6, 4), "label_encoder.hidden.3.weight", (6, 4)),
        ("decoder_layer_sizes", (6,), "to_embedding.weight", (6, 8)),
    ],
)
def test_sizes(option, value, layer, size):
    module = make(**{option: value})
    assert shapes(module)[layer] == size
    assert shapes(make()).get(layer) != size
    _, terms, _ = train_step(module, features(), Y)
    assert torch.isfinite(terms["loss"]).all()


@pytest.mark.parametrize("activation", ["leaky_relu", "gelu"])
def test_activation_changes_both_encoders_and_the_decoder(activation):
    relu, other, x = make(), make(activation=activation), features()
    assert shapes(relu) == shapes(other)
    assert not torch.allclose(relu.encode(x), other.encode(x))
    assert not torch.allclose(relu.label_gaussians()[0], other.label_gaussians()[0])
    z = features(columns=3)
    assert not torch.allclose(relu.decoder(z, x), other.decoder(z, x))


def test_dropout_is_active_in_encoder_and_decoder_in_training_only():
    module, x, z = make(dropout=0.5), features(), features(columns=3)
    module.train()
    assert not torch.allclose(module.encode(x), module.encode(x))
    assert not torch.allclose(module.decoder(z, x), module.decoder(z, x))
    module.eval()
    assert_close(module(x), make(dropout=0.0)(x))


def test_decoder_sees_x_through_a_skip_connection_only():
    z, x = features(columns=3), features()
    plain, skip = make(), make(skip_connection=True)
    assert_close(plain.decoder(z, x), plain.decoder(z, 2 * x), rtol=0, atol=0)
    assert not torch.allclose(skip.decoder(z, x), skip.decoder(z, 2 * x))
    assert not torch.allclose(skip.decoder(z, x), skip.decoder(2 * z, x))


def test_skip_connection_reaches_samples_and_label_branch():
    module = make(skip_connection=True, label_branch=True, n_samples=2)
    torch.manual_seed(0)
    before = module.training_output(features(), Y)
    z = torch.cat([before.z, module._label_means(before.prior)[None]])
    skip = module.decoder.skip
    assert skip.bias is None
    expected = [module.to_embedding(module.decoder(block, features())) for block in z]
    assert_close(before.embedding, torch.stack(expected))


def test_label_branch_decodes_the_mean_of_the_row_labels_means():
    module = make(label_branch=True, n_samples=2)
    output = module.training_output(features(), Y)
    assert output.logits.shape == (3, B, L)
    means = module.label_gaussians()[0]
    for row, labels in enumerate(Y):
        chosen = [means[label] for label in range(L) if labels[label]]
        latent = torch.stack(chosen).mean(dim=0) if chosen else torch.zeros(3).double()
        expected = module.to_embedding(module.decoder(latent[None], None))[0]
        assert_close(output.embedding[-1, row], expected)


def test_one_block_a_latent_sample():
    output = make(n_samples=3, reconstruction="gaussian").training_output(features(), Y)
    assert len(output.z) == len(output.logits) == len(output.reconstruction) == 3
    for first, second in ((0, 1), (1, 2)):
        assert not torch.allclose(output.logits[first], output.logits[second])


def test_logits_of_a_training_step():
    module, x = make(label_branch=True), features()
    output = module.training_output(x, Y)
    for block in range(2):
        product = output.embedding[block] @ module.label_embedding.T
        assert_close(output.logits[block], product)
    path = module.linear_path
    assert_close(output.linear_logits, LINEAR_SPEED * (x @ path.weight + path.bias))
    without = make(linear_path=False).training_output(x, Y)
    assert without.linear_logits is without.linear_penalty is None


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_input_dropout_spares_the_linear_path_and_prediction(kind):
    x = features() if kind == "dense" else as_sparse(features())
    noisy, plain = make(input_dropout=0.5), make()
    means = [noisy.training_output(x, Y).mean for _ in range(2)]
    assert not torch.allclose(*means)
    output = noisy.training_output(x, Y)
    assert_close(output.linear_logits, plain.training_output(x, Y).linear_logits)
    assert_close(noisy.eval()(x), plain.eval()(x))
    assert_close(noisy.training_output(x, Y).mean, plain.encode(x))


def test_input_dropout_reaches_the_skip_connection_but_not_the_target():
    module = make(
        input_dropout=1 - 1e-9, skip_connection=True, reconstruction="gaussian"
    )
    output = module.training_output(features(), Y)
    dropped = module.decoder(output.z, torch.zeros_like(features()))
    assert_close(output.embedding, module.to_embedding(dropped))
    assert_close(output.target, features())


def test_normalize_feature_gives_unit_norms_everywhere():
    unit = make(normalize="feature", label_branch=True)
    ones = torch.ones(2, B, dtype=torch.float64)
    assert_close(unit.embed(features()).norm(dim=-1), ones[0])
    output = unit.training_output(features(), Y)
    assert_close(output.embedding.norm(dim=-1), ones)
    for normalize in ("contrastive", None):
        free = make(normalize=normalize)
        norms = free.embed(features()).norm(dim=-1)
        assert not torch.allclose(norms, ones[0], atol=0.01)
        direction = unit.embed(features())
        assert_close(free.embed(features()) / norms[:, None], direction)


@pytest.mark.parametrize("prior", [None, "gaussian"])
def test_priors_without_a_mixture_have_no_label_encoder(prior):
    module = make(prior=prior)
    assert module.label_encoder is None
    assert not any("label_encoder" in name for name in shapes(module))
    assert module.training_output(features(), Y).prior is None
    branched = make(prior=prior, label_branch=True)
    output, terms, gradients = train_step(
        branched, features(), Y, prior=prior, label_branch=True
    )
    assert output.prior is None
    assert (gradients["label_encoder.head.linear.weight"] != 0).any()


@pytest.mark.parametrize("options", [
    {},
    {"prior": None},
    {"prior": "gaussian"},
    {"min_latent_std": 9.0},
    {"label_branch": True, "skip_connection": True, "n_samples": 2},
    {"reconstruction": "gaussian"},
    {"linear_path": False, "normalize": "feature"},
])  # fmt: skip
def test_every_parameter_is_trained(options, monkeypatch):
    monkeypatch.setattr(MinStd, "n_growing", 1)
    module = make(**options)
    shared = ("prior", "reconstruction", "label_branch", "normalize", "linear_path")
    criterion = {name: options[name] for name in shared if name in options}
    _, _, gradients = train_step(module, features(), Y, **criterion)
    idle = [n for n, g in gradients.items() if g is None or not (g != 0).any()]
    told = [n for n in gradients if not is_trained(n)]
    n_averages = 3 if "min_latent_std" in options else 0
    assert len(told) == n_averages + options.get("linear_path", True)
    assert idle == told


def test_reconstruction_reads_the_hidden_layer_of_the_samples():
    plain = make().training_output(features(), Y)
    assert plain.reconstruction is None
    assert plain.target is None
    module = make(reconstruction="gaussian", label_branch=True, n_samples=2)
    output = module.training_output(features(), Y)
    expected = module.to_features(module.decoder(output.z, features()))
    assert_close(output.reconstruction, expected)
    assert_close(output.target, features())


def test_offset_travels_with_the_state():
    offset = features(1)[0]
    fresh = make(offset=torch.zeros_like(offset))
    fresh.load_state_dict(make(offset=offset, seed=1).state_dict())
    x = as_sparse(features())
    assert_close(fresh(x), make(offset=offset, seed=1)(x))
    assert "offset" not in " ".join(make().state_dict())


# -- cost ------------------------------------------------------------------------


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.numel = max(self.numel, leaf.numel())
        return out


def test_recorder_of_the_largest_tensor_sees_forward_and_backward():
    with LargestTensor() as recorder:
        torch.ones(3, 1, 1) * torch.ones(4, 5)
    assert recorder.numel == 60
    x, y = torch.ones(10, 1, requires_grad=True), torch.ones(1, 10)
    product = x @ y
    with LargestTensor() as recorder:
        product.sum().backward()
    assert recorder.numel == 100


@pytest.mark.parametrize("options", [
    {},
    {"label_branch": True, "normalize": "feature"},
    {"reconstruction": "gaussian"},
])  # fmt: skip
def test_no_tensor_of_rows_by_labels_by_latent_dimensions(options):
    rows, labels, d = 32, 40, 30
    module = make(n_labels=labels, latent_dim=d, embedding_dim=24, **options)
    torch.manual_seed(0)
    y = (torch.rand(rows, labels) < 0.5).double()
    names = ("reconstruction", "label_branch", "normalize")
    criterion = {name: options[name] for name in names if name in options}
    with LargestTensor() as recorder:
        train_step(module, features(rows), y, **criterion)
    # The (B, L) products are the largest; a second block is the label branch's.
    assert rows * labels <= recorder.numel <= 2 * rows * labels
    assert recorder.numel < rows * labels * min(d, 24) / 10
