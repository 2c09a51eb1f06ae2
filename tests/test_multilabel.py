"""What all classifiers share in predicting: many labels in parts, and the best few."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from common import small, toy
from sklearn.base import clone
from test_network import LargestTensor

from skcgmvae import TunedThresholdClassifier
from skcgmvae.baselines import BinaryRelevance, LaMPClassifier, MLkNN

X, Y = toy(300, n_labels=6)
X = X / X.max(axis=0)
Y = Y.astype(np.int16)

NETWORK = small(max_iter=2)
CLASSIFIERS = {
    "network": NETWORK,
    "ensemble": small(n_members=2, max_iter=2),
    "LaMP": LaMPClassifier(max_iter=1, min_steps_per_epoch=1, random_state=0),
    "MLkNN": MLkNN(),
    "BinaryRelevance": BinaryRelevance(),
    "thresholds": TunedThresholdClassifier(NETWORK, cv=0.3, random_state=0),
}


def ranked(probabilities):
    """All columns of each row by probability, of equal ones the first first."""
    return np.array(
        [
            sorted(range(len(p)), key=lambda column: (-p[column], column))
            for p in probabilities
        ]
    )


# -- the best few ----------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_top_k_are_the_first_of_all_sorted(name):
    clf = CLASSIFIERS[name].fit(X, Y)
    everything = clf.predict_proba(X)
    order = ranked(everything)
    for k in (1, 4, 6):
        labels, probabilities = clf.predict_top_k(X, k)
        np.testing.assert_array_equal(labels, order[:, :k])
        expected = np.take_along_axis(everything, order[:, :k], axis=1)
        np.testing.assert_array_equal(probabilities, expected)


class Given(MLkNN):
    """Says of each row what the row says."""

    def predict_proba(self, X):
        return np.asarray(X)


def test_of_equal_probabilities_the_first_labels_are_taken():
    clf = Given(k=1).fit(X, Y)
    given = np.random.RandomState(0).randint(4, size=(200, 6)) / 4
    given[0], given[1] = 0, 1
    order = ranked(given)
    assert (order[:2] == np.arange(6)).all()
    for k in range(1, 7):
        np.testing.assert_array_equal(clf.predict_top_k(given, k)[0], order[:, :k])


@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c"]])
def test_of_a_vector_the_classes_by_probability(classes):
    y = np.array(classes)[Y[:, :2].sum(axis=1) % len(classes)]
    clf = small().fit(X, y)
    labels, probabilities = clf.predict_top_k(X, len(classes))
    assert set(labels.ravel()) == set(classes)
    np.testing.assert_array_equal(labels[:, 0], clf.predict(X))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (np.diff(probabilities, axis=1) <= 0).all()


@pytest.mark.parametrize("k", [0, -1, 7, 1.0, None])
def test_impossible_k(k):
    clf = MLkNN().fit(X, Y)
    message = f"k must be a whole number from 1 to 6, the number of labels; got {k!r}"
    with pytest.raises(ValueError, match=message):
        clf.predict_top_k(X, k)


# -- in parts --------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.3, np.linspace(0.1, 0.6, 6)])
@pytest.mark.parametrize("n_rows", [1, 128, 300])
def test_sparse_predictions_are_the_dense_ones(n_rows, threshold):
    dense = small(threshold=threshold).fit(X, Y)
    sparse = small(threshold=threshold).fit(X, sp.csr_matrix(Y))
    expected = dense.predict_proba(X[:n_rows]) >= threshold
    assert expected.any()
    for clf, kind in ((dense, np.ndarray), (sparse, sp.csr_matrix)):
        labels = clf.predict(X[:n_rows])
        assert type(labels) is kind
        assert labels.dtype == np.int16
        labels = labels.toarray() if kind is sp.csr_matrix else labels
        np.testing.assert_array_equal(labels, expected)


N_MANY = 5000  # so many that a chunk of rows is more than one block


@pytest.fixture(scope="module")
def many():
    """A fitted ensemble, 1,200 rows, and 5,000 labels of each."""
    rng = np.random.RandomState(0)
    rows = np.tile(X, (4, 1))
    labels = sp.random(len(rows), N_MANY, density=1e-3, random_state=rng, format="csr")
    clf = small(
        n_members=2, max_iter=1, min_steps_per_epoch=1, max_labels_per_step=2000,
        early_stopping=False,
    )  # fmt: skip
    labels = labels.astype(bool).astype(np.int8)
    return clf.fit(rows, labels), rows, labels


def test_blocks_of_rows_are_what_they_are_together(many, monkeypatch):
    clf, rows, _ = many
    found = clf.decision_function(rows[:200])
    monkeypatch.setattr("skcgmvae._training.BLOCK", 128 * 2 * 2 * N_MANY)
    expected = clf.decision_function(rows[:200])
    assert len(found) == 200  # 128, and 72 in blocks of 52
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def peaks(function, *arguments):
    """Entries of the largest tensor, and bytes of all that NumPy held at a time."""
    with LargestTensor() as recorder:
        tracemalloc.start()
        try:
            function(*arguments)
            return recorder.numel, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_training_makes_no_array_of_all_rows_and_labels(many, monkeypatch):
    # It allocates a block that nothing is ever written to.
    monkeypatch.setattr("skcgmvae._training.reuse_freed_memory", lambda: None)
    clf, rows, labels = many
    entries, n_bytes = peaks(clone(clf).fit, rows, labels)
    # 128 rows, two heads and two members.
    assert entries <= 128 * 2 * 2 * N_MANY < labels.shape[0] * N_MANY / 2
    assert n_bytes < labels.shape[0] * N_MANY <= peaks(labels.toarray)[1]


@pytest.mark.parametrize("method", ["predict", "predict_top_k"])
def test_prediction_makes_no_array_of_all_rows_and_labels(many, method):
    clf, rows, labels = many
    k = (5,) if method == "predict_top_k" else ()
    entries, n_bytes = peaks(getattr(clf, method), rows, *k)
    assert entries <= 128 * 2 * 2 * N_MANY < labels.shape[0] * N_MANY / 2
    in_full = 8 * labels.shape[0] * N_MANY
    assert n_bytes < in_full / 4 < in_full <= peaks(clf.predict_proba, rows)[1]
