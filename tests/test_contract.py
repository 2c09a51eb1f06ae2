"""scikit-learn's own checks of all classifiers, and input that asks for trouble."""

from inspect import signature

import numpy as np
import pytest
import scipy.sparse as sp
from common import toy
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcgmvae import CGMVAEClassifier, TunedThresholdClassifier
from skcgmvae.baselines import (
    HARAM,
    MLARAM,
    BinaryRelevance,
    C2AEClassifier,
    LaMPClassifier,
    MLkNN,
    MPVAEClassifier,
    SLEECClassifier,
)

REPEATED_ROWS = (
    "A weight of 2 is not bit for bit a repeated row: repeated rows fall into "
    "different mini-batches and draw different dropout masks."
)

NOT_REPEATED = {
    "check_sample_weight_equivalence_on_dense_data": REPEATED_ROWS,
    "check_sample_weight_equivalence_on_sparse_data": REPEATED_ROWS,
}

# By class, or by class and what it wraps: the checks that fail, and why.
EXPECTED_FAILURES = {
    CGMVAEClassifier: NOT_REPEATED,
    C2AEClassifier: NOT_REPEATED,
    MPVAEClassifier: NOT_REPEATED,
    LaMPClassifier: NOT_REPEATED,
    TunedThresholdClassifier: {
        "check_classifiers_train": (
            "A tuned threshold is not 0.5, so that what is predicted is not the most "
            "probable of two classes."
        ),
    },
    (TunedThresholdClassifier, BinaryRelevance): {
        "check_supervised_y_2d": (
            "A column of 0 and 1 is the matrix of one label, not a vector of two "
            "classes that has to be ravelled."
        ),
    },
}


def expected_failures(estimator):
    """The checks that fail, and why."""
    wrapped = type(getattr(estimator, "estimator", None))
    kinds = type(estimator), (type(estimator), wrapped)
    return EXPECTED_FAILURES.get(kinds[0], {}) | EXPECTED_FAILURES.get(kinds[1], {})


# Older versions of scikit-learn leave it to pytest's own setting, which is strict too.
STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in signature(parametrize_with_checks).parameters
    else {}
)


# Networks that learn the checks' toy data in a fraction of a second.
TRAINING = {
    "dropout": 0.0,
    "lr": 3e-2,
    "max_iter": 4,
    "min_steps_per_epoch": 6,
    "device": "cpu",
}


# And what all but LaMP have.
LATENT = {
    "latent_dim": 8,
    "label_encoder_layer_sizes": (16,),
    "decoder_layer_sizes": (32,),
}

ESTIMATORS = [
    CGMVAEClassifier(embedding_dim=16, encoder_layer_sizes=(32,), **TRAINING, **LATENT),
    C2AEClassifier(feature_layer_sizes=(32,), **TRAINING, **LATENT),
    MPVAEClassifier(encoder_layer_sizes=(32,), **TRAINING, **LATENT),
    LaMPClassifier(
        d_model=8,
        n_rounds=1,
        dim_feedforward=8,
        feature_layer_sizes=(16,),
        **TRAINING,
    ),
    BinaryRelevance(),
    MLkNN(),
    MLARAM(),
    HARAM(),
    SLEECClassifier(n_estimators=2),
    TunedThresholdClassifier(BinaryRelevance(), cv=2, random_state=0),
]
# It takes two classes only, and warns of a column, as it is to.
BINARY = TunedThresholdClassifier(LogisticRegression(), cv=2, random_state=0)


@parametrize_with_checks(
    [*ESTIMATORS, BINARY],
    expected_failed_checks=expected_failures,
    **STRICT,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# -- input that asks for trouble -------------------------------------------------

X, Y = toy(40, n_features=3, n_labels=4)
X = X / X.max(axis=0)


def read_only(array):
    sparse = sp.issparse(array)
    for part in (array.data, array.indices, array.indptr) if sparse else (array,):
        part.setflags(write=False)
    return array


def entries_in_disorder(X):
    """CSR of X in which each value is stored as two halves, in descending columns."""
    columns = [np.repeat(np.flatnonzero(x)[::-1], 2) for x in X]
    halves = [x[indices] / 2 for x, indices in zip(X, columns, strict=True)]
    ends = np.cumsum([0, *map(len, columns)])
    return sp.csr_matrix(
        (np.concatenate(halves), np.concatenate(columns), ends), X.shape
    )


def labels(*columns):
    """Labels of which some are never there (0), some always (1)."""
    return np.column_stack([Y[:, 0] if c is None else np.full(40, c) for c in columns])


UNUSUAL = {
    "constant features": (np.full_like(X, 3.5), Y),
    "one constant feature": (X * [1, 0, 1] + [0, -7, 0], Y),
    "rows of zeros": (X * (np.arange(40) % 3 > 0)[:, None], Y),
    "zeros only": (0 * X, Y),
    "zeros only, sparse": (sp.csr_matrix(X.shape), Y),
    "one feature": (X[:, :1], Y),
    "large": (X * 1e30, Y),
    "large, float32": ((X * 1e30).astype(np.float32), Y),
    "small": (X * 1e-30, Y),
    "small, float32": ((X * 1e-30).astype(np.float32), Y),
    "large and small": (X * [1e30, 1, 1e-30], Y),
    "large and small, sparse": (sp.csr_matrix(X * [1e30, 1, 1e-30]), Y),
    "labels never and always there": (X, labels(0, None, 1)),
    "no label anywhere": (X, labels(0, 0)),
    "all labels everywhere": (X, labels(1, 1)),
    "one label set": (X, labels(1, 0, 1)),
    "one label": (X, labels(None)),
    "integers": ((X * 100).astype(int), Y),
    "booleans": (X > 0.5, Y > 0),
    "float16": (X.astype(np.float16), Y),
    "lists": (X.tolist(), Y.tolist()),
    "objects": (X.astype(object), Y.astype(object)),
    "read-only": (read_only(X.copy()), read_only(Y.copy())),
    "read-only, sparse": (read_only(sp.csr_matrix(X)), read_only(sp.csr_matrix(Y))),
    "column-major": (np.asfortranarray(X), np.asfortranarray(Y)),
    "repeated rows": (X[np.maximum(np.arange(40) - 12, 0)], Y),
}


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_probabilities_lie_between_0_and_1(estimator, name):
    X, Y = UNUSUAL[name]
    clf = clone(estimator).fit(X, Y)
    probabilities = clf.predict_proba(X)
    assert probabilities.shape == np.shape(Y)
    assert ((probabilities > 0) & (probabilities < 1)).all()  # not NaN, either
    assert clf.predict(X).shape == np.shape(Y)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_arguments_have_scikit_learns_names(estimator):
    clf = clone(estimator).fit(X=X, y=Y)
    assert clf.predict_proba(X=X).shape == clf.predict(X=X).shape == Y.shape
    assert 0 <= clf.score(X=X, y=Y) <= 1
    if hasattr(clf, "partial_fit"):
        clf.partial_fit(X=X, y=Y)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_entries_of_a_sparse_matrix_may_be_in_disorder(estimator):
    holes = X * (X > 0.3)
    orderly, messy = sp.csr_matrix(holes), entries_in_disorder(holes)
    if "random_state" in estimator.get_params():
        estimator = clone(estimator).set_params(random_state=0)
    expected = clone(estimator).fit(orderly, Y).predict_proba(orderly)
    clf = clone(estimator).fit(messy, Y)
    np.testing.assert_allclose(clf.predict_proba(messy), expected, rtol=1e-5)
    # The matrix is the caller's.
    assert messy.nnz == 2 * orderly.nnz == 2 * np.count_nonzero(holes)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_stored_zeros_are_zeros(estimator):
    """Also where a network drops stored values, and no others, in training."""
    holes = X * (X > 0.3)
    n_rows, n_features = X.shape
    stored = sp.csr_matrix(
        (
            holes.ravel(),
            np.tile(np.arange(n_features), n_rows),
            np.arange(n_rows + 1) * n_features,
        )
    )
    if "random_state" in estimator.get_params():
        estimator = clone(estimator).set_params(random_state=0)
    expected = clone(estimator).fit(sp.csr_matrix(holes), Y).predict_proba(holes)
    np.testing.assert_array_equal(
        clone(estimator).fit(stored, Y).predict_proba(holes), expected
    )
    assert stored.nnz == X.size > np.count_nonzero(holes)


def with_one(value):
    bad = X.copy()
    bad[3, 1] = value
    return bad


IMPOSSIBLE = {
    "NaN": (with_one(np.nan), Y, "X contains NaN"),
    "infinity": (with_one(np.inf), Y, "X contains infinity"),
    "NaN, sparse": (sp.csr_matrix(with_one(np.nan)), Y, "X contains NaN"),
    "infinity, sparse": (sp.csr_matrix(with_one(-np.inf)), Y, "X contains infinity"),
    "no features": (X[:, :0], Y, r"0 feature\(s\)"),
    "no rows": (X[:0], Y[:0], r"0 sample\(s\)"),
    "one dimension": (X[:, 0], Y, "Expected 2D array, got 1D array"),
    "complex numbers": (X * 1j, Y, "Complex data not supported"),
    "twos": (X, 2 * Y, r"Y must hold 0 and 1 only.*\[2\]"),
    "twos, sparse": (X, sp.csr_matrix(2 * Y), r"Y must hold 0 and 1 only.*\[2\]"),
    "NaN labels": (X, np.where(Y, np.nan, 0), "Y contains NaN"),
    "NaN classes": (X, np.where(Y[:, 0], np.nan, 0), "y contains NaN"),
    "infinite classes": (X, np.where(Y[:, 0], np.inf, 0), "y contains infinity"),
    "labels of text objects": (X, Y.astype(str).astype(object) + "x", "Y: .*string"),
    "no labels": (X, Y[:, :0], r"0 feature\(s\)|at least one column"),
    "no Y": (X, None, "requires y to be passed"),
    "too few labels": (X, Y[:-1], r"inconsistent numbers of samples: \[40, 39\]"),
    "too few labels, sparse": (
        X,
        sp.csr_matrix(Y[:-1]),
        r"inconsistent numbers of samples: \[40, 39\]",
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_errors_say_what_is_wrong(estimator, name):
    X, Y, message = IMPOSSIBLE[name]
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X, Y)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (with_one(np.nan), "X contains NaN"),
        (with_one(np.inf), "X contains infinity"),
        (X[:, :2], "X has 2 features, but .* expecting 3 features"),
        (X[:0], r"0 sample\(s\)"),
        (X[0], "Expected 2D array, got 1D array"),
    ],
    ids=["NaN", "infinity", "features", "no rows", "one dimension"],
)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_errors_in_predicting_say_what_is_wrong(estimator, new, message):
    clf = clone(estimator).fit(X, Y)
    for method in (clf.predict, clf.predict_proba):
        with pytest.raises(ValueError, match=message):
            method(new)
