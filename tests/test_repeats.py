"""The same seed gives the same result, whatever happens around the fit."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from common import small, toy
from joblib import parallel_config
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict
from skorch.callbacks import EpochScoring

from skcgmvae import TunedThresholdClassifier
from skcgmvae.baselines import HARAM, MLARAM, BinaryRelevance, MLkNN

X, Y = toy()
X = X / X.max(axis=0)
# Dropped features are drawn among the stored ones, so other ones are if dense.
NETWORK = small(n_members=2, input_dropout=0.0, max_iter=3)
FOREST = RandomForestClassifier(5, random_state=0)

ESTIMATORS = {
    "network": NETWORK,
    "BinaryRelevance": BinaryRelevance(FOREST),
    "MLkNN": MLkNN(),
    "MLARAM": MLARAM(shuffle=True, random_state=0),
    "HARAM": HARAM(shuffle=True, random_state=0),
    "thresholds": TunedThresholdClassifier(BinaryRelevance(FOREST), random_state=0),
    "thresholds of a network": TunedThresholdClassifier(NETWORK, cv=2, random_state=0),
}


def result(estimator, X=X, Y=Y):
    """What a fit comes to."""
    return estimator.fit(X, Y).predict_proba(X), estimator.predict(X)


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def results():
    return {name: result(clone(estimator)) for name, estimator in ESTIMATORS.items()}


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X, Y)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)  # as conftest.py has it


# -- in one process --------------------------------------------------------------


@pytest.mark.parametrize("name", ESTIMATORS)
def test_global_generators_neither_matter_nor_change(results, name):
    np.random.seed(7)
    torch.manual_seed(7)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    assert_same(result(clone(ESTIMATORS[name])), results[name])
    np.testing.assert_array_equal(np.random.get_state()[1], states[0])
    assert torch.equal(torch.get_rng_state(), states[1])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_an_estimator_has_been_through_does_not_matter(results, name):
    estimator = clone(ESTIMATORS[name]).fit(X[:90, :7] ** 2, Y[:90, :3])
    estimator.set_params(**estimator.get_params())
    assert_same(result(estimator), results[name])  # fitted anew
    assert_same(result(clone(estimator)), results[name])
    assert_same(result(pickle.loads(pickle.dumps(estimator))), results[name])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_dense_and_sparse_rows_give_the_same_model(name):
    """The same numbers; sums are taken in another order, and so differ by rounding."""
    holes = X * (X > 0.3)
    dense = result(clone(ESTIMATORS[name]), holes)[0]
    sparse = result(clone(ESTIMATORS[name]), sp.csr_matrix(holes))[0]
    np.testing.assert_allclose(sparse, dense, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_dense_and_sparse_labels_give_the_same_model_bit_for_bit(results, name):
    probabilities, labels = result(clone(ESTIMATORS[name]), X, sp.csr_matrix(Y))
    assert_same((probabilities, labels.toarray()), results[name])


class Watching:
    """A callback of scikit-learn's that predicts after each epoch."""

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        if fitted_estimator is not None:
            fitted_estimator.predict_proba(X)


def watched(**parameters):
    model = small(**parameters)
    model.set_callbacks(Watching())
    return model


def scored(on_train):
    return EpochScoring("f1_micro", lower_is_better=False, on_train=on_train, name="f1")


SPECTATORS = {
    "progress bar": lambda path: small(verbose=1),
    "lines": lambda path: small(verbose=2),
    "scores": lambda path: small(callbacks=[scored(False)]),
    "training scores": lambda path: small(callbacks=[scored(True)]),
    "scikit-learn": lambda path: watched(),
    "checkpoint": lambda path: small(checkpoint=path),
    "all": lambda path: watched(verbose=1, callbacks=[scored(True)], checkpoint=path),
}


@pytest.mark.parametrize("name", SPECTATORS)
def test_spectators_do_not_change_the_result(fitted, name, tmp_path, capsys):
    if name in ("scikit-learn", "all"):
        pytest.importorskip("sklearn.callback")
    model = SPECTATORS[name](tmp_path / "training").fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(model.transform(X), fitted.transform(X))
    out, err = capsys.readouterr()
    assert ("cross_entropy" in err) == (name in ("progress bar", "all"))
    assert ("train_loss" in out) == (name == "lines")
    assert "[" not in out.replace("\x1b[", "")  # columns that hold lists


# -- threads and processes -------------------------------------------------------


def with_n_jobs(estimator, n_jobs):
    names = [name for name in estimator.get_params() if name.endswith("n_jobs")]
    return clone(estimator).set_params(**dict.fromkeys(names, n_jobs))


@pytest.mark.parametrize("name", list(ESTIMATORS)[1:])
def test_n_jobs_does_not_matter(results, name):
    with parallel_config("loky", inner_max_num_threads=1):
        assert_same(result(with_n_jobs(ESTIMATORS[name], 2)), results[name])


def test_folds_in_workers_are_those_of_one_after_another():
    def predicted(n_jobs):
        return cross_val_predict(
            NETWORK, X, Y, cv=2, method="predict_proba", n_jobs=n_jobs
        )

    with parallel_config("loky", inner_max_num_threads=1):
        in_workers = predicted(2)
    np.testing.assert_array_equal(in_workers, predicted(1))


def test_the_number_of_threads_matters_by_rounding_only(two_threads):
    """Products and sums are cut elsewhere; a long training makes more of it."""
    model = small(max_iter=1)
    two, again = result(model)[0], result(clone(model))[0]
    torch.set_num_threads(1)
    np.testing.assert_array_equal(again, two)
    np.testing.assert_allclose(result(model)[0], two, rtol=0, atol=1e-5)


ELSEWHERE = """
import pickle
import sys
import numpy as np
import torch
import test_repeats

torch.set_num_threads(1)
np.random.seed(3)
torch.manual_seed(3)
results = {n: test_repeats.result(e) for n, e in test_repeats.ESTIMATORS.items()}
sys.stdout.buffer.write(pickle.dumps(results))
"""


def test_another_process_comes_to_the_same(results):
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here)])
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE],
        # The order of sets of text is drawn anew in each process.
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "1"},
        capture_output=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    found = pickle.loads(process.stdout)
    assert found.keys() == results.keys()
    for name, expected in results.items():
        assert_same(found[name], expected)
