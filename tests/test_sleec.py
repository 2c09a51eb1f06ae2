"""SLEEC, step by step, against dense algebra and direct loops."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from common import toy
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score

from skcgmvae.baselines import MLkNN, SLEECClassifier, _projection, sleec

# One model of one cluster that keeps all inner products: nothing is left to chance.
WHOLE = {"n_estimators": 1, "n_clusters": 1, "n_label_neighbors": 10**6}


def small_data(n_samples=120, random_state=0):
    X, Y = toy(n_samples, random_state=random_state)
    return X / X.std(axis=0), Y


def random_labels(n_rows=60, n_labels=8, density=0.3, random_state=0):
    rng = np.random.RandomState(random_state)
    Y = (rng.rand(n_rows, n_labels) < density).astype(np.float32)
    Y[:2] = 0  # rows without labels
    return sp.csr_matrix(Y)


def near(Y, n_neighbors, seed=0):
    return _projection.nearest_label_products(
        Y, n_neighbors, np.random.RandomState(seed)
    )


# -- the nearest label vectors ---------------------------------------------------


@pytest.mark.parametrize("n_neighbors", [1, 2, 7, 60, 1000])
def test_inner_products_with_the_nearest_label_vectors(n_neighbors):
    Y = random_labels()
    G = near(Y, n_neighbors)
    products = (Y @ Y.T).toarray()
    n_rows = len(products)
    k = min(n_neighbors, n_rows)
    stored = np.zeros(products.shape, bool)
    stored[np.repeat(np.arange(n_rows), np.diff(G.indptr)), G.indices] = True
    assert G.nnz == stored.sum()
    np.testing.assert_array_equal(G.toarray(), np.where(stored, products, 0))
    assert stored.diagonal().all()
    np.testing.assert_array_equal(stored, stored.T)
    last = np.sort(products, axis=1)[:, -k]
    for i in range(n_rows):
        assert stored[i].sum() >= k
        assert stored[i, products[i] > last[i]].all()
        for j in np.flatnonzero(stored[i]):
            assert products[i, j] >= min(last[i], last[j])
    # At most k of its own, in both directions.
    assert stored.sum() <= n_rows * (2 * k - 1)


def test_which_equal_neighbours_are_kept_is_drawn():
    Y = sp.csr_matrix(np.ones((40, 1), np.float32))
    kept = [near(Y, 4, seed).toarray() for seed in (0, 0, 1)]
    assert (kept[0] == kept[1]).all()
    assert (kept[0] != kept[2]).any()
    # No row is everybody's neighbour.
    assert kept[0].sum(axis=0).max() < 20


def test_label_vectors_are_compared_in_chunks():
    Y = random_labels()
    whole = near(Y, 5)
    with sklearn.config_context(working_memory=0.01):
        chunked = near(Y, 5)
    assert (whole != chunked).nnz == 0 and whole.nnz == chunked.nnz


# -- singular value projection ---------------------------------------------------


def by_dense_algebra(G, rank, n_iter):
    """Projected gradient steps on whole matrices, and the error after each."""
    observed = np.zeros(G.shape)
    observed[np.repeat(np.arange(len(observed)), np.diff(G.indptr)), G.indices] = 1
    products, M, errors = G.toarray(), np.zeros(G.shape), []
    for _ in range(n_iter):
        values, vectors = np.linalg.eigh(M + observed * (products - M))
        values[np.argsort(values)[:-rank]] = 0
        M = (vectors * np.maximum(values, 0)) @ vectors.T
        error = np.linalg.norm(observed * (products - M))
        errors.append(error / np.linalg.norm(products))
    return M, errors


def project(G, rank, max_iter, tol=0.0):
    rng = np.random.RandomState(0)
    return _projection.singular_value_projection(G, rank, max_iter, tol, rng)


# 60 rows: up to 29 components by Lanczos' method, from 30 on by a dense one.
@pytest.mark.parametrize("rank", [1, 4, 29, 30, 59, 60])
@pytest.mark.parametrize("n_iter", [1, 2, 25])
def test_projection_is_that_of_dense_algebra(rank, n_iter):
    G = near(random_labels(), 6)
    Z, steps, _ = project(G, rank, n_iter)
    expected, errors = by_dense_algebra(G, rank, n_iter)
    assert Z.shape == (60, rank)
    assert np.linalg.norm(Z @ Z.T - expected) < 1e-3 * np.linalg.norm(expected)
    assert steps == n_iter and errors == sorted(errors, reverse=True)


def test_projection_ends_when_the_error_stands_still():
    G = near(random_labels(), 6)
    _, errors = by_dense_algebra(G, 4, 60)
    falls = -np.diff([1.0, *errors])
    for tol in (0.1, 0.01, 0.001):
        expected = 1 + np.flatnonzero(falls < tol)[0]
        _, n_iter, converged = project(G, 4, 60, tol)
        assert (n_iter, converged) == (expected, True)
        _, n_iter, converged = project(G, 4, expected - 1, tol)
        assert (n_iter, converged) == (expected - 1, False)


@pytest.mark.parametrize("rank", [8, 20, 40])
def test_inner_products_of_all_rows_are_kept_exactly(rank):
    Y = random_labels()  # of rank 8: the larger ones have no use for all dimensions
    Z, _, _ = project(near(Y, 60), rank, 1)
    np.testing.assert_allclose(Z @ Z.T, (Y @ Y.T).toarray(), atol=1e-4)


def test_projection_goes_over_the_pairs_in_chunks():
    G = near(random_labels(), 6)
    whole, _, _ = project(G, 4, 5)
    with sklearn.config_context(working_memory=0.001):
        chunked, _, _ = project(G, 4, 5)
    np.testing.assert_array_equal(chunked, whole)


# -- the map ---------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_map_is_the_ridge_regression_of_the_labels_themselves(kind, alpha):
    # All inner products are kept, so that the embeddings are a rotation of Y.
    X, Y = small_data()
    clf = SLEECClassifier(alpha=alpha, metric="euclidean", **WHOLE).fit(kind(X), Y)
    (part,) = clf.estimators_[0].embeddings_
    Y = np.column_stack([Y, ~Y.any(axis=1)])  # rows without labels share one
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    penalty = alpha * X.var(axis=0).sum()
    W = np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ Y)
    np.testing.assert_allclose(part.coef_ @ part.coef_.T, W @ W.T, rtol=0.01, atol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize(("l1_ratio", "alpha"), [(0.2, 20.0), (1.0, 4.0)])
def test_map_with_an_l1_penalty_is_at_its_optimum(kind, l1_ratio, alpha):
    # With one label and one component, what is mapped to is whether a row is of the
    # larger part, those with the label or those without, up to a sign.
    X, Y = small_data()
    y = Y[:, 0] == (Y[:, 0].mean() > 0.5)
    parameters = WHOLE | {"n_components": 1, "l1_ratio": l1_ratio, "alpha": alpha}
    clf = SLEECClassifier(metric="euclidean", **parameters).fit(kind(X), Y[:, :1])
    (part,) = clf.estimators_[0].embeddings_
    assert sp.issparse(part.coef_) and 0 < part.coef_.nnz < X.shape[1]
    scale = np.sqrt(X.var(axis=0).sum())
    v = part.coef_.toarray().ravel() * scale
    mapped = X @ v / scale + part.intercept_
    correlation = X.T @ (y * np.sign(mapped.sum()) - mapped) / scale
    # d/dv of |y - Xv|^2 / 2 + alpha (l1_ratio |v| + (1 - l1_ratio) v^2 / 2)
    slope = correlation - alpha * (1 - l1_ratio) * v
    used = v != 0
    level = alpha * l1_ratio
    np.testing.assert_allclose(slope[used], level * np.sign(v[used]), atol=0.02)
    assert (np.abs(slope[~used]) <= level + 0.02).all()


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_unit_of_the_features_changes_nothing(l1_ratio):
    X, Y = small_data()
    clf = SLEECClassifier(l1_ratio=l1_ratio, n_clusters=2, random_state=0)
    once, again = (clone(clf).fit(c * X, Y).predict_proba(c * X) for c in (1, 1024))
    np.testing.assert_allclose(again, once, atol=1e-10)


# -- neighbours ------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_prediction_is_that_of_a_direct_loop(kind, metric):
    X, Y = small_data(200)
    X, Z, Y = X[:150], X[150:], Y[:150]
    clf = SLEECClassifier(
        n_components=4, n_neighbors=7, n_clusters=3, n_estimators=2, metric=metric
    )
    clf.set_params(random_state=0).fit(kind(X), kind(Y))

    def nearest_center(model, x):
        return np.linalg.norm(model.centers_ - x, axis=1).argmin()

    expected = np.zeros((len(Z), Y.shape[1]))
    for model in clf.estimators_:
        assert len(model.centers_) == len(model.embeddings_) == 3
        cluster_of = np.array([nearest_center(model, x) for x in X])
        for row, z in enumerate(Z):
            cluster = nearest_center(model, z)
            part = model.embeddings_[cluster]
            rows = np.flatnonzero(cluster_of == cluster)
            e = z @ part.coef_ + part.intercept_
            distances = []
            for x in X[rows]:
                other = x @ part.coef_ + part.intercept_
                if metric == "euclidean":
                    distances.append(np.linalg.norm(e - other))
                else:
                    lengths = np.linalg.norm(e) * np.linalg.norm(other)
                    distances.append(1 - e @ other / lengths)
            neighbours = rows[np.argsort(distances)[:7]]
            expected[row] += Y[neighbours].mean(axis=0) / 2
    found = clf.predict_proba(kind(Z))
    np.testing.assert_allclose(found, np.clip(expected, 1e-15, 1 - 1e-15), atol=1e-12)


def test_features_without_meaning_do_not_disturb():
    rng = np.random.RandomState(0)
    X = rng.randn(600, 60)
    Y = X[:, :6] @ rng.randn(6, 10) > 0
    train, test = slice(400), slice(400, None)
    scores = [
        f1_score(Y[test], clf.fit(X[train], Y[train]).predict(X[test]), average="micro")
        for clf in (SLEECClassifier(random_state=0), MLkNN())
    ]
    assert scores[0] > 0.82 > 0.72 > scores[1]


# -- clusters --------------------------------------------------------------------


def test_one_cluster_for_so_many_rows(monkeypatch):
    X, Y = small_data(101)
    monkeypatch.setattr(sleec, "ROWS_OF_A_CLUSTER", 50)
    for n_clusters, expected in [(None, 3), (2, 2)]:
        clf = SLEECClassifier(n_clusters=n_clusters, n_estimators=1).fit(X, Y)
        assert clf.estimators_[0].centers_.shape == (expected, X.shape[1])


def test_more_clusters_than_rows():
    X, Y = small_data(20)
    with pytest.raises(ValueError, match=r"n_clusters=21 .* n_samples = 20 training"):
        SLEECClassifier(n_clusters=21).fit(X, Y)
    # A row in each, which is its only neighbour and component.
    clf = SLEECClassifier(n_clusters=20, random_state=0).fit(X, Y)
    assert (clf.predict(X) == Y).all()


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_fewer_distinct_rows_than_clusters():
    X, Y = np.repeat([[0.0], [1.0]], 10, axis=0), np.repeat([[1, 0], [0, 1]], 10, 0)
    clf = SLEECClassifier(n_clusters=4, random_state=0).fit(X, Y)
    assert (clf.predict(X) == Y).all()


# -- parameters ------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"n_components": 2},
        {"n_neighbors": 5},
        {"n_label_neighbors": 5},
        {"n_clusters": 2},
        {"n_estimators": 1},
        {"alpha": 100.0},
        {"l1_ratio": 0.5},
        {"metric": "euclidean"},
        {"max_iter": 1},
        {"tol": 0.5},
        {"random_state": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_parameters_change_the_probabilities(change):
    X, Y = small_data(200)
    usual = SLEECClassifier(
        n_components=8, n_estimators=2, max_iter=100, tol=1e-3, random_state=0
    )
    changed = clone(usual).set_params(**change)
    found = [clf.fit(X, Y).predict_proba(X) for clf in (usual, changed)]
    assert not np.allclose(*found, atol=1e-3)
    again = clone(changed).fit(X, Y).predict_proba(X)
    assert again.tolist() == found[1].tolist()


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_jobs_and_chunks_change_nothing(kind):
    X, Y = small_data(200)
    X = kind(X * (X > 1))
    clf = SLEECClassifier(8, n_clusters=2, n_estimators=2, random_state=0)
    expected = clf.fit(X, Y).predict_proba(X)
    parallel = clone(clf).set_params(n_jobs=2).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(parallel, expected, atol=1e-12)
    with sklearn.config_context(working_memory=0.01):
        chunked = clone(clf).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(chunked, expected, atol=1e-12)


def test_says_that_it_did_not_converge():
    X, Y = small_data()
    clf = SLEECClassifier(n_estimators=3, max_iter=2, tol=0, random_state=0)
    message = r"3 of 3 singular value projections did not .* max_iter=2 .* tol=0"
    with pytest.warns(ConvergenceWarning, match=message):
        assert clf.fit(X, Y).n_iter_ == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 2 < clf.set_params(max_iter=100, tol=0.01).fit(X, Y).n_iter_ < 100


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_components": 0},
        {"n_neighbors": 0},
        {"n_label_neighbors": 2.5},
        {"n_clusters": 0},
        {"n_estimators": 0},
        {"alpha": 0},
        {"l1_ratio": 1.5},
        {"metric": "manhattan"},
        {"max_iter": 0},
        {"tol": -1.0},
        {"n_jobs": "all"},
        {"random_state": "chance"},
    ],
    ids=str,
)
def test_parameters_out_of_range(parameters):
    X, Y = small_data(20)
    (name,) = parameters
    with pytest.raises(ValueError, match=f"'{name}' parameter of SLEECClassifier must"):
        SLEECClassifier(**parameters).fit(X, Y)


# -- kinds of input, and the life of an estimator ---------------------------------


def test_same_from_any_kind_of_labels():
    X, Y = small_data()
    clf = SLEECClassifier(random_state=0)
    expected = clf.fit(X, Y)
    for kind in (sp.csr_matrix, sp.csc_array, pd.DataFrame, lambda Y: Y.astype(bool)):
        found = clone(clf).fit(X, kind(Y))
        assert found.predict_proba(X).tolist() == expected.predict_proba(X).tolist()
        assert sp.issparse(found.predict(X)) == sp.issparse(kind(Y))


def test_classes_of_a_vector():
    rng = np.random.RandomState(0)
    y = np.repeat(["a", "b", "c"], 20)
    X = rng.randn(60, 2) + 9 * (y == "a")[:, None] - 9 * (y == "b")[:, None]
    clf = SLEECClassifier(random_state=0).fit(X, y)
    assert clf.predict(X).tolist() == y.tolist()
    one_each = clone(clf).fit(X, y[:, None] == ["a", "b", "c"]).predict_proba(X)
    expected = one_each / one_each.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba(X), expected)
    assert clf.fit(X, y == "a").predict(X).tolist() == (y == "a").tolist()


def test_fitted_again_and_pickled():
    X, Y = small_data()
    frame = pd.DataFrame(X).add_prefix("x")
    clf = SLEECClassifier(random_state=0)
    clf.fit(frame, pd.DataFrame(Y, columns=list("abcde")))
    assert clf.label_names_in_.tolist() == list("abcde")
    assert clf.feature_names_in_.tolist() == frame.columns.tolist()
    clf.fit(X[:50, :3], Y[:50, :2])
    assert not hasattr(clf, "label_names_in_")
    again = pickle.loads(pickle.dumps(clf)).predict_proba(X[:, :3])
    fresh = clone(clf).fit(X[:50, :3], Y[:50, :2]).predict_proba(X[:, :3])
    assert again.tolist() == fresh.tolist()
