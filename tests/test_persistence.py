"""Models in files: equal predictions, no data, no code, and clear refusals."""

import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import skops.io
import torch
from common import DEVICE, small, toy
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

import skcgmvae
from skcgmvae import CGMVAEClassifier
from skcgmvae._files import read_tree, write_tree

X, Y = toy()
COLUMNS = [f"x{i}" for i in range(X.shape[1])]
LABELS = [f"y{i}" for i in range(Y.shape[1])]
SOME = np.where(X > np.median(X, axis=0), X, 0)

# What is fitted: parameters, X, Y.
FITTED = {
    "label matrix": ({}, X, Y),
    "ensemble": ({"n_members": 2}, X, Y),
    "data frames": (
        {},
        pd.DataFrame(X, columns=COLUMNS),
        pd.DataFrame(Y, columns=LABELS),
    ),
    "sparse": ({}, sp.csr_matrix(SOME), sp.csr_matrix(Y)),
    "booleans": ({}, X, Y > 0),
    "two classes": ({}, X, Y[:, 0]),
    "words": ({}, X, np.array(["none", "one", "two"])[Y[:, :2].sum(axis=1)]),
    "objects": ({}, X, np.array(["a", "b"], dtype=object)[Y[:, 0]]),
    "no scaling": ({"scale_features": False}, X / X.max(axis=0), Y),
    "nothing held out": ({"early_stopping": False}, X, Y),
    "no linear path": ({"linear_path": False}, X, Y),
    "latent means stretched": ({"min_latent_std": 1e4}, X, Y),
    "labels smoothed": ({"label_smoothing": 0.3}, X, Y),
    "published code": (skcgmvae.paper_configuration("published_code"), X, Y),
    "reconstruction": ({"reconstruction": "gaussian"}, X, Y),
    "own thresholds": ({"threshold": np.linspace(0.2, 0.8, 5)}, X, Y),
    "numpy's numbers": ({"lr": np.float64(0.01), "max_iter": np.int64(2)}, X, Y),
    "torch's device": ({"device": torch.device(DEVICE)}, X, Y),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def saved(path, clf=None):
    (clf or small().fit(X, Y)).save_model(path)
    return path


def assert_predict_the_same(found, expected, X):
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))
    labels = found.predict(X), expected.predict(X)
    assert type(labels[0]) is type(labels[1])
    assert labels[0].dtype == labels[1].dtype
    assert (labels[0] != labels[1]).sum() == 0


# -- what is saved is loaded -----------------------------------------------------


@pytest.mark.parametrize("name", FITTED)
def test_loaded_models_are_the_saved_ones(path, name):
    parameters, X, Y = FITTED[name]
    clf = small(**parameters).fit(X, Y)
    loaded = CGMVAEClassifier.load_model(saved(path, clf))
    assert_predict_the_same(loaded, clf, X)
    # All that the fit has set is there, and so are the parameters.
    assert vars(loaded).keys() == vars(clf).keys()
    assert list(loaded.history_) == list(clf.history_)
    assert loaded.n_iter_ == clf.n_iter_ and loaded.best_epoch_ == clf.best_epoch_
    ours, theirs = loaded.get_params(), clf.get_params()
    assert {n for n in ours if str(ours[n]) != str(theirs[n])} <= {"device"}
    for names in ("feature_names_in_", "label_names_in_", "classes_"):
        if hasattr(clf, names):
            found, expected = getattr(loaded, names), getattr(clf, names)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


def test_a_model_is_what_was_fitted_not_what_was_set_since(path):
    clf = small().fit(X, Y)
    clf.set_params(latent_dim=3, scale_features=False, n_members=3)
    assert_predict_the_same(CGMVAEClassifier.load_model(saved(path, clf)), clf, X)


def test_a_loaded_model_goes_on(path):
    clf = small(lr=0.05).fit(X, Y)
    loaded = CGMVAEClassifier.load_model(saved(path, clf))
    before = loaded.predict_proba(X)
    loaded.partial_fit(X, Y)
    assert loaded.n_iter_ == clf.n_iter_ + 1
    np.testing.assert_array_equal(loaded.logit_scale_, clf.logit_scale_)
    np.testing.assert_array_equal(loaded.logit_shift_, clf.logit_shift_)
    assert not np.array_equal(loaded.predict_proba(X), before)
    loaded.set_params(warm_start=True, max_iter=2).fit(X, Y)
    assert loaded.n_iter_ == clf.n_iter_ + 3


def test_loading_leaves_torchs_generator_alone(path):
    saved(path)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    CGMVAEClassifier.load_model(path)
    assert torch.equal(torch.rand(3), expected)


def test_device_is_chosen_when_loading(path):
    saved(path)
    assert CGMVAEClassifier.load_model(path).device == "auto"
    assert CGMVAEClassifier.load_model(path, device="cpu").device == "cpu"
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=f"device='{absent}' was asked for"):
        CGMVAEClassifier.load_model(path, device=absent)


def test_what_a_file_cannot_hold_is_said(path):
    clf = small(callbacks=[Callback()], random_state=np.random.RandomState(0))
    clf.fit(X, Y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf.save_model(path)
    assert [str(w.message).split("=")[0] for w in caught] == [
        "callbacks",
        "random_state",
    ]
    assert caught[0].filename == __file__
    loaded = CGMVAEClassifier.load_model(path)
    assert loaded.callbacks is None and loaded.random_state is None
    assert_predict_the_same(loaded, clf, X)


def test_classes_that_a_file_cannot_hold(path):
    days = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]")
    clf = small().fit(X, days[Y[:, 0]])
    content = saved(path).read_bytes()
    with pytest.raises(TypeError, match="classes_ must be numbers or text"):
        clf.save_model(path)
    assert path.read_bytes() == content  # the file that was there


def test_nothing_to_save(path):
    with pytest.raises(NotFittedError):
        small().save_model(path)


# -- what is in the file ---------------------------------------------------------


def n_bytes(clf):
    module = clf.net_.module_
    return sum(weight.numel() * 4 for weight in module.state_dict().values())


@pytest.mark.parametrize("sparse", [False, True])
def test_size_is_that_of_the_weights(path, sparse):
    """Not that of the data: 2,000 rows are 400 kB, the weights 20."""
    X, Y = toy(2_000, n_features=25)
    if sparse:
        X, Y = sp.csr_matrix(X), sp.csr_matrix(Y)
    clf = small(max_iter=2).fit(X, Y)
    assert saved(path, clf).stat().st_size < n_bytes(clf) + 13_000
    # Beside the weights a pickle has the two moments of the optimiser.
    assert len(pickle.dumps(clf)) < 3 * n_bytes(clf) + 60_000
    for content in (path.read_bytes(), pickle.dumps(clf)):
        for array in (X.data, Y.data) if sparse else (X, Y):
            assert np.ascontiguousarray(array)[:20].tobytes() not in content


def test_checkpoint_and_device_stay_behind(path, tmp_path):
    clf = small(checkpoint=tmp_path / "training", device="cpu").fit(X, Y)
    loaded = CGMVAEClassifier.load_model(saved(path, clf))
    assert loaded.checkpoint is None
    assert str(tmp_path).encode() not in path.read_bytes()


# -- files that are refused ------------------------------------------------------


class Touch:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_not_executed(path, tmp_path):
    trap = tmp_path / "executed"
    for dump in (pickle.dump, torch.save, joblib.dump):
        with open(path, "wb") as file:
            dump({"model": Touch(trap)}, file)
        with pytest.raises(ValueError, match="no file of this package"):
            CGMVAEClassifier.load_model(path)
    assert not trap.exists()


def test_a_pickle_among_the_arrays_is_not_executed(path, tmp_path):
    trap = tmp_path / "executed"
    payload = np.frombuffer(pickle.dumps(Touch(trap)), np.uint8)
    tree = read_tree(saved(path))
    tree["parameters"]["callbacks"] = payload
    write_tree(path, tree)
    with pytest.raises(ValueError, match="'callbacks' parameter .* must be"):
        CGMVAEClassifier.load_model(path)
    assert not trap.exists()


def change(*keys, to):
    def alter(tree):
        for key in keys[:-1]:
            tree = tree[key]
        tree[keys[-1]] = to

    return alter


def drop(*keys):
    def alter(tree):
        for key in keys[:-1]:
            tree = tree[key]
        del tree[keys[-1]]

    return alter


HOSTILE = {
    "no header": (lambda tree: tree.clear(), "holds no model that save_model wrote"),
    "format of text": (change("format", to="2"), "holds no model"),
    "later format": (change("format", to=99), "in a format that version .* not know"),
    "only some saw ranks": (
        change("format", to=1),
        "early version.*Fit the model anew",
    ),
    "no scaler": (lambda tree: tree.pop("scaler"), "does not hold a whole"),
    "other class": (change("class", to="os.system"), "use os.system.load_model"),
    "parameter": (change("parameters", "__class__", to="x"), "unknown parameters"),
    "parameters": (change("parameters", to=[]), "does not hold a whole"),
    "wrong kind": (change("parameters", "lr", to="import os"), "'lr' parameter"),
    "activation": (change("module", "activation", to="system"), "does not hold"),
    "huge": (change("module", "embedding_dim", to=10**15), "does not hold a whole"),
    "many": (change("module", "n_members", to=10**9), "weights are not those"),
    "wide": (
        change("module", "encoder_layer_sizes", to=[2**31, 2**31]),
        "does not hold a whole",
    ),
    "module": (change("module", "self", to=1), "does not hold a whole"),
    "shape": (
        change("weights", "label_embedding", to=np.zeros((1, 1), "f4")),
        "weights are not those",
    ),
    "no weights": (drop("weights"), "does not hold a whole"),
    "missing weight": (drop("weights", "label_embedding"), "weights are not those"),
    "text as weight": (
        change("weights", "label_embedding", to="x"),
        "not hold a whole",
    ),
    "scaler": (change("scaler", "class", to="Popen"), "does not hold a whole"),
    "labels": (change("labels", "dtype_", to="x,y,z"), "does not hold a whole"),
    "labels of objects": (
        change("labels", "classes_", to={"dtype": "O,O", "text": ["a"]}),
        "does not hold a whole",
    ),
    "history": (change("training", "history", to="yesterday"), "not hold a whole"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(path, name):
    alter, message = HOSTILE[name]
    tree = read_tree(saved(path))
    alter(tree)
    write_tree(path, tree)
    with pytest.raises(ValueError, match=message) as caught:
        CGMVAEClassifier.load_model(path)
    assert str(path) in str(caught.value)


def test_the_class_that_reads_is_the_one_that_wrote(path):
    class OtherClassifier(CGMVAEClassifier):
        pass

    with pytest.raises(ValueError, match=r"holds a CGMVAEClassifier, not a Other"):
        OtherClassifier.load_model(saved(path))


# -- the ways of others ----------------------------------------------------------


def through_pickle(clf, folder):
    return pickle.loads(pickle.dumps(clf))


def through_joblib(clf, folder):
    joblib.dump(clf, folder / "joblib")
    return joblib.load(folder / "joblib")


def through_skops(clf, folder):
    data = skops.io.dumps(clf)
    kinds = skops.io.get_untrusted_types(data=data)
    # Nothing but the libraries that a model is made of.
    libraries = {kind.split(".")[0] for kind in kinds}
    assert libraries <= {"skcgmvae", "skorch", "torch", "functools", "numpy"}
    return skops.io.loads(data, trusted=kinds)


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
@pytest.mark.parametrize("name", ["ensemble", "data frames", "words", "sparse"])
def test_pickle_joblib_and_skops(tmp_path, name, through):
    parameters, X, Y = FITTED[name]
    clf = small(**parameters).fit(X, Y)
    loaded = through(clf, tmp_path)
    assert_predict_the_same(loaded, clf, X)
    # They keep the optimiser too: what follows is the same.
    assert_predict_the_same(loaded.partial_fit(X, Y), clf.partial_fit(X, Y), X)


# -- files of the past and of elsewhere ------------------------------------------


OLD = sorted((Path(__file__).parent / "models").glob("*.safetensors"))


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.stem)
def test_models_of_earlier_versions_open(old):
    """Rows and what they gave are kept beside it, by tests/models/make.py."""
    clf = CGMVAEClassifier.load_model(old, device="cpu")
    kept = json.loads(old.with_suffix(".json").read_text())
    X = np.array(kept["X"])
    # Other versions of torch, and other machines, round otherwise.
    np.testing.assert_allclose(clf.predict_proba(X), kept["probabilities"], rtol=1e-4)
    np.testing.assert_array_equal(clf.predict(X), kept["labels"])
    assert clf.label_names_in_.tolist() == kept["label_names"]
    assert clf.logit_scale_.shape == (2, 3) and clf.logit_shift_.shape == (3,)
    before_4 = int(old.stem[-1]) < 4
    assert clf.min_latent_std == (0 if before_4 else 100)
    before_5 = int(old.stem[-1]) < 5
    factors = clf.net_.module_.linear_path.penalty_factor
    assert torch.all(factors == 1 if before_5 else factors > 1)
    before_6 = int(old.stem[-1]) < 6
    cost = clf.net_.module_.linear_path.feature_cost
    assert (cost.unique().numel() == 1) == before_6
    before_7 = int(old.stem[-1]) < 7
    assert clf.label_smoothing == (0 if before_7 else 0.3)
    assert clf.net_.criterion_.label_smoothing == clf.label_smoothing


@pytest.mark.parametrize(
    ("name", "values", "linear_path"),
    [
        ("logit_shift", np.zeros(1), True),
        ("logit_shift", np.zeros((1, 5)), True),
        ("logit_shift", np.full(5, np.nan), True),
        ("logit_shift", None, True),
        ("logit_scale", np.full((2, 5), np.inf), True),
        ("logit_scale", np.ones(5), True),
        # They would be broadcast, or a head counted twice.
        ("logit_scale", np.ones((1, 5)), True),
        ("logit_scale", np.ones((2, 5)), False),
    ],
)
def test_a_calibration_of_another_network_is_refused(path, name, values, linear_path):
    clf = small(linear_path=linear_path).fit(X, Y)
    tree = read_tree(saved(path, clf))
    tree["training"][name] = values
    write_tree(path, tree)
    with pytest.raises(ValueError, match=f"does not hold a whole.*{name}"):
        CGMVAEClassifier.load_model(path)


def test_an_earlier_version_is_kept():
    assert OLD


ELSEWHERE = """
import sys
import numpy as np
from skcgmvae import CGMVAEClassifier

clf = CGMVAEClassifier.load_model(sys.argv[1])
X = np.load(sys.argv[2])
np.save(sys.argv[2], clf.predict_proba(X))
"""


def test_another_process_predicts_the_same(path, tmp_path):
    clf = small().fit(X, Y)
    rows = tmp_path / "rows.npy"
    np.save(rows, X)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, saved(path, clf), rows],
        check=True,
        env=environment,
    )
    np.testing.assert_array_equal(np.load(rows), clf.predict_proba(X))
