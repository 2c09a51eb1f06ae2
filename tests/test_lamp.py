"""LaMP: attention against loops, the graph of its labels, labels drawn at random."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import toy
from scipy.special import erf, expit

from skcgmvae._labels import cooccurrence
from skcgmvae.baselines import LaMPClassifier
from skcgmvae.baselines.lamp import LaMP, LaMPLoss, LaMPOutput

X, Y = toy()
SMALL = {
    "d_model": 8,
    "dim_feedforward": 12,
    "feature_layer_sizes": (16,),
    "activation": "gelu",
    "max_iter": 2,
    "min_steps_per_epoch": 5,
    "random_state": 0,
    "device": "cpu",
}


def fitted(Y=Y, **parameters):
    return LaMPClassifier(**(SMALL | parameters)).fit(X, Y)


def linear(layer, x):
    return x @ layer.weight.detach().numpy() + layer.bias.detach().numpy()


def messages_by_loops(layer, nodes, senders, neighbours):
    """Of one row: what each node gathers, head by head and sender by sender."""
    query = linear(layer.query, nodes)
    key, value = linear(layer.key, senders), linear(layer.value, senders)
    size = query.shape[1] // layer.n_heads
    gathered = np.zeros_like(query)
    for node in range(len(nodes)):
        for head in range(layer.n_heads):
            part = slice(head * size, (head + 1) * size)
            weights = {
                sender: math.exp(query[node, part] @ key[sender, part] / size**0.5)
                for sender in range(len(senders))
                if neighbours[node, sender]
            }
            for sender, weight in weights.items():
                share = weight / sum(weights.values())
                gathered[node, part] += share * value[sender, part]
    return linear(layer.output, gathered)


def updated_by_loops(update, nodes, senders, neighbours):
    def normed(x):
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)

    nodes = normed(
        nodes + messages_by_loops(update.messages, nodes, senders, neighbours)
    )
    first, _, last = update.feed_forward
    hidden = linear(first, nodes)
    hidden = hidden * (1 + erf(hidden / 2**0.5)) / 2
    return normed(nodes + linear(last, hidden))


@pytest.mark.parametrize("label_graph", ["full", "cooccurrence"])
def test_prediction_is_that_of_a_loop_over_labels(label_graph):
    Y = toy(random_state=3)[1] * np.array([1, 1, 1, 0, 0])
    Y[:9, 3], Y[:9, [0, 1, 4]] = 1, 0  # only ever with label 2; 4 is never there
    clf = fitted(Y, label_graph=label_graph, n_rounds=2)
    module = clf.net_.module_.eval()
    x = torch.from_numpy(clf._scaler.transform(X[:3]))
    with torch.no_grad():
        tokens = module.tokens(x).numpy()

    graph = np.ones((5, 5), dtype=bool)
    if label_graph == "cooccurrence":
        pairs = [(a, b) for a in range(5) for b in range(5)]
        graph = np.reshape(
            [a == b or (Y[:, a] & Y[:, b]).any() for a, b in pairs], (5, 5)
        )
        assert 5 < graph.sum() < 25
    parameters = [p.detach().numpy() for p in (module.weight, module.bias)]
    for row in range(3):
        nodes = module.embedding.detach().numpy()
        for number, update in enumerate(module.updates):
            if number % 2 == 0:
                everyone = np.ones((5, len(tokens[row])), dtype=bool)
                nodes = updated_by_loops(update, nodes, tokens[row], everyone)
            else:
                nodes = updated_by_loops(update, nodes, nodes, graph)
        logits = (parameters[0] * nodes).sum(axis=1) + parameters[1]
        found = clf.decision_function(X[row : row + 1])[0]
        expected = clf.logit_scale_[0] * logits + clf.logit_shift_
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def module(label_cooccurrence, **parameters):
    torch.manual_seed(0)
    n_labels = len(label_cooccurrence)
    return LaMP(
        n_features=4,
        n_labels=n_labels,
        label_log_odds=torch.zeros(n_labels),
        label_cooccurrence=torch.as_tensor(label_cooccurrence),
        **({"label_graph": "cooccurrence", "dropout": 0.0} | parameters),
    )


def test_a_label_hears_its_neighbours_only():
    """In one round those it is joined to, in two those that they are joined to."""
    chain = np.eye(5, k=1, dtype=bool) | np.eye(5, k=-1, dtype=bool)
    chain[3:, 3:] = chain[2, 3] = chain[3, 2] = False  # 3 and 4 by themselves
    joined = (chain | np.eye(5, dtype=bool)).astype(int)
    for n_rounds, reach in ((1, joined), (2, joined @ joined)):
        net = module(chain, n_rounds=n_rounds)
        for label in range(5):
            net.zero_grad()
            net(torch.randn(3, 4))[..., label].sum().backward()
            heard = net.embedding.grad.abs().sum(dim=1).numpy() > 0
            np.testing.assert_array_equal(heard, reach[label] > 0)


def test_labels_without_neighbours_learn():
    Y = np.eye(5, dtype=int)[np.arange(len(X)) % 5]  # no two come together
    clf = fitted(Y, label_graph="cooccurrence")
    assert np.isfinite(clf.decision_function(X)).all()
    weights = clf.net_.module_.state_dict().values()
    assert all(torch.isfinite(weight).all() for weight in weights)


def test_the_graph_is_saved_with_the_model(tmp_path):
    clf = fitted(Y * [1, 1, 1, 0, 0], label_graph="cooccurrence")
    clf.save_model(tmp_path / "model")
    loaded = LaMPClassifier.load_model(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert not loaded.net_.module_.neighbours.all()


def test_which_labels_come_together_is_counted_for_that_graph_only():
    for label_graph, told in (("full", False), ("cooccurrence", True)):
        parameters = fitted(label_graph=label_graph).net_.get_params_for("module")
        assert ("label_cooccurrence" in parameters) == told


def test_messages_need_no_matrix_of_pairs():
    """The weights of 2,000 labels, 2 heads and 16 rows would take 512 MB each way."""
    graph = np.zeros((2000, 2000), dtype=bool)
    net = module(graph, d_model=8, n_rounds=1, max_labels_per_step=2000)
    y = torch.zeros(16, 2000)
    with torch.profiler.profile(profile_memory=True) as profile:
        output = net.training_output(torch.randn(16, 4), y)
        LaMPLoss()(output, y)["loss"].sum().backward()
    assert output.readouts.shape == (2, 16, 2000)
    assert max(e.self_cpu_memory_usage for e in profile.key_averages()) < 1.5e8


def test_cooccurrence_counts_no_wider_than_its_rows():
    """300 rows of two labels: a count in eight bits would come out as 44, 256 as 0."""
    Y = np.zeros((256, 3), dtype=np.uint8)
    Y[:, :2] = 1
    expected = [[True, True, False], [True, True, False], [False, False, False]]
    np.testing.assert_array_equal(cooccurrence(Y), expected)
    np.testing.assert_array_equal(cooccurrence(sp.csr_matrix(Y)), expected)


def test_loss_is_of_the_last_readout_and_less_of_those_before():
    torch.manual_seed(0)
    readouts = torch.randn(4, 6, 3, dtype=torch.float64)
    y = (torch.rand(6, 5) < 0.5).double()
    labels = torch.tensor([4, 0, 2])
    terms = LaMPLoss(intermediate_weight=0.3)(
        LaMPOutput(readouts, labels, torch.zeros(6, 5)), y
    )
    seen, p = y.numpy()[:, [4, 0, 2]], expit(readouts.numpy())
    each = -np.log(np.where(seen > 0, p, 1 - p)).sum(axis=2) * 5 / 3  # 3 of 5 labels
    np.testing.assert_allclose(terms["cross_entropy"], each[3])
    np.testing.assert_allclose(terms["intermediate"], each[:3].sum(axis=0))
    np.testing.assert_allclose(terms["loss"], each[3] + 0.3 * each[:3].sum(axis=0))


def test_of_many_labels_a_step_takes_some_at_random():
    graph = np.random.RandomState(0).rand(30, 30) < 0.3
    net = module(graph, max_labels_per_step=7, n_members=2)
    net.bias.data.normal_()
    x, y = torch.randn(2, 9, 4), torch.zeros(2, 9, 30)
    counts = np.zeros(30)
    for _ in range(200):
        with torch.no_grad():
            output = net.training_output(x, y)
        assert output.readouts.shape == (4, 2, 9, 7)
        counts[np.unique(output.labels)] += 1
    assert counts.sum() == 200 * 7
    assert 20 < counts.min() and counts.max() < 80  # 47 are expected
    # What is looked at in training: the biases of the labels that were not seen.
    rest = np.setdiff1d(np.arange(30), output.labels)
    biases = net.bias[:, None].expand(2, 9, 30)
    torch.testing.assert_close(output.logits[..., rest], biases[..., rest])
    torch.testing.assert_close(output.logits[..., output.labels], output.readouts[-1])
    # They are a graph by themselves; in predicting all are there.
    part = module(graph[output.labels][:, output.labels], n_members=2)
    weights = net.state_dict()
    for name in ("embedding", "weight", "bias"):
        weights[name] = weights[name][:, output.labels]
    part.load_state_dict(weights)
    torch.testing.assert_close(part(x)[..., 0, :], output.readouts[-1])
    assert net(x).shape == (2, 9, 1, 30)


def test_more_labels_than_a_step_takes_are_learnt():
    clf = fitted(max_labels_per_step=2, max_iter=20, min_steps_per_epoch=10, lr=1e-2)
    always = np.maximum(Y.mean(axis=0), 1 - Y.mean(axis=0))
    right = (clf.predict(X) == Y).mean(axis=0)
    assert (right - always).mean() > 0.05


def test_readouts_start_at_the_frequencies_of_the_labels():
    probabilities = Y.mean(axis=0)
    clf = fitted(max_iter=1, lr=1e-9, early_stopping=False)
    bias = clf.net_.module_.bias.detach().numpy()
    np.testing.assert_allclose(expit(bias), probabilities, atol=0.01)


def test_heads_that_do_not_share_evenly():
    with pytest.raises(ValueError, match="n_heads=3 does not divide d_model=8"):
        fitted(n_heads=3)
