"""What the neural baselines share with each other, and with CGMVAEClassifier."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from common import toy
from sklearn.base import clone
from sklearn.metrics import f1_score

from skcgmvae.baselines import C2AEClassifier, LaMPClassifier, MPVAEClassifier

X, Y = toy(300)
TRAIN, TEST = slice(0, 200), slice(200, 300)
CODES = {
    "latent_dim": 8,
    "label_encoder_layer_sizes": (16,),
    "decoder_layer_sizes": (16,),
}
SIZES = {
    C2AEClassifier: CODES | {"feature_layer_sizes": (16,)},
    MPVAEClassifier: CODES | {"encoder_layer_sizes": (16,)},
    LaMPClassifier: {
        "d_model": 8,
        "dim_feedforward": 8,
        "feature_layer_sizes": (16,),
    },
}
CLASSES = list(SIZES)
SMALL = {
    "lr": 1e-2,
    "max_iter": 4,
    "min_steps_per_epoch": 5,
    "random_state": 0,
    "device": "cpu",
}

each = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def small(kind, **parameters):
    """An estimator that trains in a tenth of a second."""
    return kind(**(SMALL | SIZES[kind] | parameters))


# Of each class, what is changed and to what; of all of them.
CHANGES = {
    "activation": "gelu",
    "dropout": 0.8,
    "n_members": 2,
    "scale_features": False,
    "lr": 1e-3,
    "weight_decay": 5.0,
    "ema_decay": 0.5,
    "batch_size": 16,
    "max_iter": 1,
    "min_steps_per_epoch": 20,
    "early_stopping": False,
    "validation_fraction": 0.3,
    "random_state": 1,
}
OTHER_CODES = {
    "latent_dim": 3,
    "label_encoder_layer_sizes": (16, 8),
    "decoder_layer_sizes": (16, 8),
}
OWN = {
    C2AEClassifier: OTHER_CODES
    | {
        "feature_layer_sizes": (16, 8),
        "alpha": 20.0,
        "orthonormality_weight": 5.0,
    },
    MPVAEClassifier: OTHER_CODES
    | {
        "encoder_layer_sizes": (16, 8),
        "skip_connection": True,
        "covariance_rank": 2,
        "n_samples": 2,
        "nll_weight": 5.0,
        "ranking_weight": 100.0,
        "beta": 50.0,
    },
    LaMPClassifier: {
        "d_model": 6,
        "n_tokens": 1,
        "n_rounds": 1,
        "n_heads": 1,
        "dim_feedforward": 3,
        "feature_layer_sizes": (16, 8),
        "label_graph": "cooccurrence",
        "max_labels_per_step": 2,
        "intermediate_weight": 0.0,
    },
}
# They are tested with the class that all of these share.
SHARED = {
    "n_iter_no_change",
    "tol",
    "threshold",
    "warm_start",
    "checkpoint",
    "callbacks",
    "device",
    "verbose",
}


@each
def test_every_parameter_changes_the_result(kind):
    changes = CHANGES | OWN[kind]
    assert changes.keys() | SHARED == kind().get_params().keys()
    X, Y = toy(120)
    X = X / X.max(axis=0)
    Y[Y[:, 0] == 1, 1] = 0  # two labels that never come together
    before = small(kind, max_iter=2).fit(X, Y).predict_proba(X)
    for name, value in changes.items():
        after = small(kind, **{"max_iter": 2, name: value}).fit(X, Y).predict_proba(X)
        assert np.abs(after - before).max() > 1e-6, name


@each
def test_it_learns(kind):
    clf = small(kind, max_iter=30, lr=3e-3).fit(X[TRAIN], Y[TRAIN])
    predicted = clf.predict(X[TEST])
    always = np.broadcast_to(Y[TRAIN].mean(axis=0) > 0.5, predicted.shape)
    score = f1_score(Y[TEST], predicted, average="micro")
    assert score > f1_score(Y[TEST], always, average="micro") + 0.05


@each
def test_dense_and_sparse_rows_are_the_same(kind):
    holes = np.where(X > np.median(X, axis=0), X, 0)
    dense = small(kind, dropout=0.0).fit(holes, Y)
    sparse = small(kind, dropout=0.0).fit(sp.csr_matrix(holes), sp.csr_matrix(Y))
    np.testing.assert_allclose(
        sparse.predict_proba(sp.csr_matrix(holes)),
        dense.predict_proba(holes),
        rtol=1e-3,
        atol=1e-5,
    )
    assert sp.issparse(sparse.predict(holes))


@each
def test_ensembles_average_probabilities(kind):
    clf = small(kind, n_members=3, early_stopping=False).fit(X, Y)
    module = clf.net_.module_.eval()
    with torch.no_grad():
        logits = module(torch.from_numpy(clf._scaler.transform(X)))
    assert logits.shape == (3, len(X), 1, Y.shape[1])
    expected = torch.sigmoid(logits.double()).mean(dim=0)[:, 0]
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@each
def test_files_and_checkpoints(kind, tmp_path):
    frame = pd.DataFrame(Y, columns=[f"y{i}" for i in range(Y.shape[1])])
    clf = small(kind).fit(X, frame)
    clf.save_model(tmp_path / "model")
    loaded = kind.load_model(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert loaded.label_names_in_.tolist() == frame.columns.tolist()

    kept = clone(clf).set_params(checkpoint=tmp_path / "training", max_iter=2)
    kept.fit(X, frame)
    kept.set_params(max_iter=SMALL["max_iter"]).fit(X, frame)
    np.testing.assert_array_equal(kept.predict_proba(X), clf.predict_proba(X))


@each
@pytest.mark.parametrize("y", [Y[:, 0], Y[:, :2].sum(axis=1)], ids=["two", "three"])
def test_vectors_of_classes(kind, y):
    clf = small(kind).fit(X, y)
    probabilities = clf.predict_proba(X)
    assert probabilities.shape == (len(X), len(np.unique(y)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    expected = clf.classes_[probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(clf.predict(X), expected)


@each
def test_goes_on(kind):
    clf = small(kind, warm_start=True).fit(X, Y)
    before = clf.predict_proba(X)
    clf.fit(X, Y)
    assert clf.n_iter_ == 2 * SMALL["max_iter"]
    clf.partial_fit(X, Y)
    assert clf.n_iter_ == 2 * SMALL["max_iter"] + 1
    assert np.abs(clf.predict_proba(X) - before).max() > 1e-4
    parts = small(kind)
    for _ in range(3):
        parts.partial_fit(X[TRAIN], Y[TRAIN])
    assert parts.n_iter_ == 3


@each
@pytest.mark.parametrize("fill", [0, 1])
def test_rows_without_pairs_of_labels(kind, fill):
    """C2AE's ranking loss learns nothing from them; none of the others is confused."""
    clf = small(kind).fit(X, np.full_like(Y, fill))
    probabilities = clf.predict_proba(X)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    if kind is not C2AEClassifier:
        assert (np.abs(probabilities - fill) < 0.5).mean() > 0.9


@each
@pytest.mark.parametrize("sizes", [(), (0,), (8, 2.5)])
def test_widths_that_are_none_are_refused(kind, sizes):
    for name in (n for n in kind().get_params() if n.endswith("_layer_sizes")):
        with pytest.raises(ValueError, match=f"{name} must list the widths of at"):
            small(kind, **{name: sizes}).fit(X, Y)
