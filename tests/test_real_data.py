"""The estimator on real data, in the company that users put it in."""

import pickle

import joblib
import numpy as np
import pytest
from common import small
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy.protocol import split, thresholded_scores
from skcgmvae import CGMVAEClassifier


@pytest.fixture
def yeast(real_data):
    return real_data("yeast")


def test_grid_search_in_a_pipeline(yeast):
    X, Y = yeast
    X, Y = X[:600], Y[:600]
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", small(max_iter=8))])
    grid = {"clf__alpha": [0.0, 1.0], "clf__lr": [1e-3, 1e-2]}
    search = GridSearchCV(pipeline, grid, scoring="f1_micro", n_jobs=2, cv=2)
    search.fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) > 2 and search.best_score_ == scores.max() > 0.5
    # The best candidate, refitted alone, is the same model.
    alone = clone(pipeline).set_params(**search.best_params_).fit(X, Y)
    np.testing.assert_array_equal(search.predict(X), alone.predict(X))


def test_cross_val_predict(yeast):
    X, Y = yeast
    X, Y = X[:600], Y[:600]
    model = small(max_iter=8)
    probabilities = cross_val_predict(model, X, Y, cv=3, method="predict_proba")
    first_fold = clone(model).fit(X[200:], Y[200:]).predict_proba(X[:200])
    np.testing.assert_array_equal(probabilities[:200], first_fold)


def test_stacking(yeast):
    X, Y = yeast
    X, Y = X[:400], Y[:400]
    stack = StackingClassifier(
        [
            ("net", small(max_iter=8)),
            ("forest", RandomForestClassifier(20, random_state=0)),
        ],
        final_estimator=OneVsRestClassifier(LogisticRegression()),
        cv=2,
    ).fit(X, Y)
    assert f1_score(Y, stack.predict(X), average="micro") > 0.55


def test_saved_models_predict_the_same(yeast, tmp_path):
    X, Y = yeast
    model = small().fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    for loaded in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
    ):
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    # A clone is unfitted, and becomes the same model.
    again = clone(model).fit(X, Y)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


# One split, and bars that leave room for its noise: the figures themselves come from
# benchmarks/accuracy, as means over splits.
def test_defaults_reach_what_they_are_known_for(real_data):
    X, Y = real_data("emotions")
    train, valid, test = split(len(Y), 0)
    model = CGMVAEClassifier(random_state=0, device="cpu").fit(X[train], Y[train])
    on_valid = thresholded_scores(Y[valid], model.predict_proba(X[valid]))
    on_test = thresholded_scores(Y[test], model.predict_proba(X[test]))
    assert on_test[on_valid[:, 2].argmax(), 2] > 0.65
    assert on_test[on_valid[:, 3].argmax(), 3] > 0.63
    # The latent space is alive, and knows the labels.
    Z = model.transform(X[test])
    assert (Z.std(axis=0) > 0.1).sum() >= 32
    linear = OneVsRestClassifier(LogisticRegression(C=0.01, max_iter=300))
    linear.fit(model.transform(X[train]), Y[train])
    assert thresholded_scores(Y[test], linear.predict_proba(Z))[:, 2].max() > 0.65


def test_sparse_words_train_without_densifying(real_data):
    X, Y = real_data("bibtex")
    X, Y = X[:1500], Y[:1500, :20]
    # Dropped features are drawn among the stored ones, so other ones are if dense.
    model = small(max_iter=20, input_dropout=0.0)
    dense = clone(model).fit(X.toarray(), Y.toarray())
    model.fit(X, Y)
    predicted = model.predict(X)
    assert issparse(predicted) and f1_score(Y, predicted, average="micro") > 0.5
    np.testing.assert_allclose(
        model.predict_proba(X), dense.predict_proba(X.toarray()), atol=2e-2
    )
