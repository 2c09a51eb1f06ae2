"""Generated input: a finite model, or an error that names what is wrong.

``SKCGMVAE_FUZZ_CASES=2000`` tries so many cases, new ones each time; without it, the
same 120 are tried. A case says by name what it is made of (:mod:`hostile`).
"""

import copy
import os
import re
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from common import small
from hostile import DENSE, FAULTS, INFINITE, cases, seldom
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing

from skcgmvae import TunedThresholdClassifier
from skcgmvae.baselines import HARAM, MLARAM, BinaryRelevance, MLkNN

CASES = os.environ.get("SKCGMVAE_FUZZ_CASES")


def share(percent):
    """Settings of a test that has this share of the cases."""
    return settings(
        max_examples=int(CASES or 120) * percent // 100,
        derandomize=CASES is None,
        database=None,
        print_blob=CASES is not None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def network(**parameters):
    shape = {
        "latent_dim": 2,
        "embedding_dim": 4,
        "encoder_layer_sizes": (8,),
        "label_encoder_layer_sizes": (4,),
        "decoder_layer_sizes": (8,),
        "max_iter": 2,
        "min_steps_per_epoch": 2,
    }
    return small(**shape | parameters)


NETWORKS = st.builds(
    network,
    n_members=st.integers(1, 2),
    early_stopping=st.booleans(),
    batch_size=st.sampled_from([1, 2, 3, 4, 128]),
    input_dropout=st.sampled_from([0.0, 0.5]),
    min_latent_std=st.sampled_from([0.0, 0.25, 1e5]),
    label_smoothing=st.sampled_from(["auto", 0.0, 0.9]),
    prior=st.sampled_from(["mixture", "gaussian", None]),
    normalize=st.sampled_from(["contrastive", "feature", None]),
    reconstruction=st.sampled_from([None, "gaussian"]),
    label_branch=st.booleans(),
    skip_connection=st.booleans(),
    linear_path=st.booleans(),
    ema_decay=st.sampled_from([0.0, 0.998]),
    scale_features=seldom(st.just(False), often=True),
)
BASELINES = st.sampled_from(
    [
        MLkNN(k=1),
        MLkNN(k=2),
        MLARAM(),
        MLARAM(vigilance=0.5),
        HARAM(cluster_vigilance=0.5),
    ]
)
WRAPPERS = st.sampled_from(
    [
        BinaryRelevance(),
        TunedThresholdClassifier(MLkNN(k=1), cv=2, random_state=0),
        TunedThresholdClassifier(BinaryRelevance(), cv=2, random_state=0),
        TunedThresholdClassifier(network(), cv=0.4, random_state=0),
    ]
)


def buffers(data):
    """Copies of all that an array, a frame or a sparse matrix is made of."""
    if sp.issparse(data):
        names = "data", "indices", "indptr", "row", "col", "rows", "coords"
        parts = [getattr(data, name, None) for name in names]
        return copy.deepcopy([part for part in parts if part is not None])
    return copy.deepcopy(data)


def assert_same(found, expected):
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(found, expected)
    else:
        np.testing.assert_equal(found, expected)


def quiet(method, *given, **more):
    """Call it; what numpy has to say of overflow or NaN is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
        return method(*given, **more)


def check_predictions(clf, X, Y):
    """Probabilities in (0, 1), predictions of the kind of Y, each row by itself."""
    p = quiet(clf.predict_proba, X)
    n_rows = len(p)
    assert ((p > 0) & (p < 1)).all(), p
    found = quiet(clf.predict, X)
    if np.ndim(Y) == 1:
        np.testing.assert_allclose(p.sum(axis=1), 1)
        assert set(found) <= set(Y)
    else:
        wanted = Y if sp.issparse(Y) else np.asarray(Y)
        assert p.shape == found.shape == wanted.shape
        assert sp.issparse(found) == sp.issparse(Y)
        assert found.dtype == (wanted.dtype if wanted.dtype != object else float)
        found = found.toarray() if sp.issparse(found) else found
        assert set(np.unique(found)) <= {0, 1}
    indexable = X.tocsr() if sp.issparse(X) else X
    for row in (0, n_rows - 1):
        alone = quiet(clf.predict_proba, _safe_indexing(indexable, [row]))
        np.testing.assert_allclose(alone, p[[row]], rtol=1e-6, atol=1e-12)
    return p


def attempt(clf, case):
    """Fit a case and predict it; the model, or None where it was refused."""
    X, Y, weights, message = case.made()
    before = [buffers(part) for part in (X, Y, weights)]
    weighted = {} if weights is None else {"sample_weight": weights}
    try:
        quiet(clf.fit, X, Y, **weighted)
    except (ValueError, TypeError) as error:
        refused = str(error)
    else:
        refused = None
    after = [buffers(part) for part in (X, Y, weights)]
    for found, expected in zip(after, before, strict=True):
        assert_same(found, expected)
    return X, Y, message, refused


def is_finite(case):
    with np.errstate(over="ignore"):
        return np.isfinite(case.tidy()[0].astype(float)).all()


def is_refused(case, message, refused):
    """Whether a case was refused; an error if it was not as the message says."""
    if not is_finite(case):  # what float16 makes of 1e30
        message = INFINITE if message is None else f"{message}|{INFINITE}"
    if message is None:
        assert refused is None, refused
        return False
    assert refused is not None, "not refused"
    assert re.search(message, refused, re.DOTALL), refused
    return True


@share(50)
@given(case=cases(), clf=NETWORKS)
def test_network(case, clf):
    # Rows of weight 0 are left out, and their faults of Y with them.
    assume(case.fault is None or case.weights != "zeros but for two")
    X, Y, message, refused = attempt(clf, case)
    if not clf.scale_features and case.fault is None:
        assume(case.weights != "zeros but for two")  # of what size are the others?
        if abs(case.tidy()[0].astype(float)).max() > 1e6:
            message = "X holds values up to .* scale_features=False"
        elif refused is not None and "Training diverged" in refused:
            return
    if is_refused(case, message, refused):
        return
    assert all(torch.isfinite(p).all() for p in clf.net_.module_.parameters())
    p = check_predictions(clf, X, Y)
    if case.X_in == "C":
        return
    X, Y, weights = case.tidy()
    weighted = {} if weights is None else {"sample_weight": weights}
    X = X if case.X_in in DENSE else sp.csr_matrix(X)
    tidy = clone(clf).fit(X, Y, **weighted)
    np.testing.assert_array_equal(tidy.predict_proba(X), p)


def baseline_message(clf, X):
    """What only baselines refuse."""
    if isinstance(clf, MLARAM) and sp.issparse(X) and (X.data < 0).any():
        return "a sparse X must not hold negative values"
    if isinstance(clf, MLkNN) and abs(X).max() > np.float64(1e150):
        return "X holds values up to .* too large for distances"
    return None


@share(25)
@given(case=cases(weighted=False), clf=BASELINES)
def test_baselines(case, clf):
    clf = clone(clf)
    given_X, Y, message, refused = attempt(clf, case)
    X, tidy_Y, _ = case.tidy()
    X = X if case.X_in in DENSE or case.fault else sp.csr_matrix(X)
    own = baseline_message(clf, X)
    message = "|".join(filter(None, (message, own))) or None
    if is_refused(case, message, refused):
        return
    p = check_predictions(clf, given_X, Y)
    np.testing.assert_array_equal(clone(clf).fit(X, tidy_Y).predict_proba(X), p)


@share(10)
@given(case=cases(weighted=False, n_rows=st.integers(5, 25)), clf=WRAPPERS)
def test_wrappers(case, clf):
    """X is the business of the estimator inside, which tells of faults as it will."""
    # scikit-learn forgets to convert it, for its own classifiers too.
    assume(case.X_in != "sparse DataFrame" or case.X_dtype != "bool")
    assume(is_finite(case))
    clf = clone(clf)
    X, Y, message, refused = attempt(clf, case)
    if case.fault is None:
        message = wrapper_message(clf, case)
    elif "X" in case.fault:
        return
    if not is_refused(case, message, refused):
        check_predictions(clf, X, Y)


def wrapper_message(clf, case):
    """What only wrappers, or the estimators inside, refuse."""
    if isinstance(clf, TunedThresholdClassifier) and case.y_kind == "three classes":
        return "3 classes that exclude one another"
    return baseline_message(clf.estimator, case.tidy()[0])


# -- new rows -----------------------------------------------------------------------

TABLE, KNOWN = np.random.RandomState(0).randn(30, 4), np.eye(30, 3, dtype=int)
ESTIMATORS = {
    "network": network(input_dropout=0.0),
    "two networks": network(n_members=2, early_stopping=False, normalize="feature"),
    "MLkNN": MLkNN(k=2),
    "MLARAM": MLARAM(),
    "HARAM": HARAM(),
    "BinaryRelevance": BinaryRelevance(),
    "thresholds": TunedThresholdClassifier(network(), cv=0.4, random_state=0),
}
NEW_FAULTS = {name for name in FAULTS if name.startswith("X")} - {"X too short"}
NEW_ROWS = cases(
    weighted=False,
    n_rows=st.integers(1, 150),
    n_features=st.just(4),
    fault=seldom(st.sampled_from(sorted(NEW_FAULTS))),
)


@cache
def fitted(name):
    return quiet(clone(ESTIMATORS[name]).fit, TABLE, KNOWN)


@share(15)
@given(case=NEW_ROWS, name=st.sampled_from(sorted(ESTIMATORS)))
def test_new_rows(case, name):
    if name == "BinaryRelevance":  # as above
        assume(case.fault is None and is_finite(case))
        assume(case.X_in != "sparse DataFrame" or case.X_dtype != "bool")
    clf = fitted(name)
    X, _, _, message = case.made()
    before = buffers(X)
    try:
        p = quiet(clf.predict_proba, X)
    except (ValueError, TypeError) as error:
        if name == "MLkNN" and case.fault is None:
            message = baseline_message(clf, case.tidy()[0])
        assert is_refused(case, message, str(error))
    else:
        assert not is_refused(case, message, None)
        assert ((p > 0) & (p < 1)).all()
    assert_same(buffers(X), before)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_shuffled_columns_are_refused(name):
    frame = pd.DataFrame(TABLE, columns=list("abcd"))
    clf = quiet(clone(ESTIMATORS[name]).fit, frame, KNOWN)
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict_proba(frame[list("badc")])
