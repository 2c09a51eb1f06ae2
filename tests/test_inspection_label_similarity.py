"""LabelSimilarityDisplay: what is drawn, in which order, under which names."""

import builtins

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skcgmvae import CGMVAEClassifier
from skcgmvae.datasets import load_digit_attributes
from skcgmvae.inspection import LabelSimilarityDisplay

QUICK = {
    "embedding_dim": 8,
    "encoder_layer_sizes": (8,),
    "label_encoder_layer_sizes": (8,),
    "decoder_layer_sizes": (8,),
    "min_steps_per_epoch": 1,
    "max_iter": 1,
    "random_state": 0,
}


class Embeddings(BaseEstimator):
    """An estimator with the label embeddings that it is given."""

    def __init__(self, embeddings):
        self.embeddings = embeddings

    def fit(self, X=None, y=None):
        self.fitted_ = True
        return self

    def label_similarity(self, *, cosine=False):
        w = np.asarray(self.embeddings, dtype=float)
        if cosine:
            w = w / np.linalg.norm(w, axis=1, keepdims=True)
        similarity = w @ w.T
        np.fill_diagonal(similarity, 0)
        return similarity


def names_along(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


@pytest.fixture
def two_groups():
    """Labels 0, 2, 4 point one way and 1, 3, 5 another, with lengths 1 to 6."""
    rng = np.random.RandomState(0)
    directions = np.tile([[1.0, 0.0], [0.0, 1.0]], (3, 1))
    directions += 0.1 * rng.standard_normal((6, 2))
    return Embeddings(directions * np.arange(1, 7)[:, None]).fit()


def test_cluster_puts_related_labels_side_by_side(two_groups):
    display = LabelSimilarityDisplay.from_estimator(two_groups)
    halves = {frozenset(display.order[:3]), frozenset(display.order[3:])}
    assert halves == {frozenset([0, 2, 4]), frozenset([1, 3, 5])}
    # The lengths of the embeddings do not matter to the order.
    cosine = LabelSimilarityDisplay.from_estimator(two_groups, cosine=True)
    np.testing.assert_array_equal(cosine.order, display.order)


def test_what_is_drawn(two_groups):
    order = [3, 1, 5, 0, 2, 4]
    names = list("abcdef")
    display = LabelSimilarityDisplay.from_estimator(
        two_groups, label_names=names, order=order
    )
    similarity = two_groups.label_similarity()
    np.testing.assert_array_equal(display.similarity, similarity)
    drawn = display.im_.get_array()
    np.testing.assert_array_equal(drawn.mask, np.eye(6, dtype=bool))
    expected = similarity[order][:, order]
    off_diagonal = ~np.eye(6, dtype=bool)
    np.testing.assert_array_equal(drawn.data[off_diagonal], expected[off_diagonal])
    assert names_along(display.ax_.xaxis) == list("dbface")
    assert names_along(display.ax_.yaxis) == list("dbface")
    assert display.im_.get_clim() == (-np.abs(expected).max(), np.abs(expected).max())
    assert display.ax_.get_aspect() == 1
    assert display.ax_.figure is display.figure_
    assert display.colorbar_.ax.get_ylabel() == "Inner product of label embeddings"


def test_diagonal_is_neutral(two_groups):
    display = LabelSimilarityDisplay.from_estimator(two_groups)
    red, green, blue, _ = display.im_.to_rgba(display.im_.get_array())[0, 0]
    assert red == green == blue == pytest.approx(0.82)


def test_cosine(two_groups):
    display = LabelSimilarityDisplay.from_estimator(two_groups, cosine=True)
    np.testing.assert_array_equal(
        display.similarity, two_groups.label_similarity(cosine=True)
    )
    assert "Cosine" in display.colorbar_.ax.get_ylabel()


def test_order_none_keeps_the_order(two_groups):
    display = LabelSimilarityDisplay.from_estimator(two_groups, order=None)
    np.testing.assert_array_equal(display.order, range(6))
    assert names_along(display.ax_.yaxis) == [f"label {i}" for i in range(6)]


@pytest.mark.parametrize(
    "order",
    [
        "clusters",
        [0, 1, 2],
        [0, 1, 2, 3, 4, 4],
        [1, 2, 3, 4, 5, 6],
        [0.5, 1, 2, 3, 4, 5],
        np.arange(6)[None],
    ],
)
def test_wrong_order(two_groups, order):
    with pytest.raises(ValueError, match="order must be 'cluster', None or each"):
        LabelSimilarityDisplay.from_estimator(two_groups, order=order)


def test_wrong_number_of_names(two_groups):
    with pytest.raises(ValueError, match="label_names .* 6 labels; got 2 names"):
        LabelSimilarityDisplay.from_estimator(two_groups, label_names=["a", "b"])


def test_ax_and_cmap(two_groups):
    figure, (left, right) = plt.subplots(1, 2)
    display = LabelSimilarityDisplay.from_estimator(two_groups, ax=right, cmap="PuOr")
    assert display.ax_ is right
    assert display.figure_ is figure
    assert display.im_.get_cmap().name == "PuOr"
    assert not left.images
    assert display.plot(left) is display
    assert display.ax_ is left


@pytest.mark.parametrize("n_labels", [1, 2, 3, 30, 200])
def test_any_number_of_labels(n_labels):
    rng = np.random.RandomState(0)
    estimator = Embeddings(rng.standard_normal((n_labels, 4))).fit()
    names = [f"the label with number {i}, and a long name" for i in range(n_labels)]
    display = LabelSimilarityDisplay.from_estimator(estimator, label_names=names)
    assert sorted(display.order) == list(range(n_labels))
    display.figure_.canvas.draw()
    low, high = display.im_.get_clim()
    assert low == -high < 0
    ticks = [*display.ax_.get_xticklabels(), *display.ax_.get_yticklabels()]
    assert len(ticks) == (2 * n_labels if n_labels <= 60 else 0)
    page = display.figure_.bbox
    for text in ticks:
        assert len(text.get_text()) <= 32
        box = text.get_window_extent()
        assert box.x0 >= page.x0 and box.y0 >= page.y0, "a name is cut off"
    cells = display.ax_.get_window_extent()
    assert cells.width == pytest.approx(cells.height, rel=0.01)


def test_zero_similarity():
    display = LabelSimilarityDisplay.from_estimator(Embeddings(np.eye(2)).fit())
    assert display.im_.get_clim() == (-1, 1)


def test_one_pair_does_not_fade_all_others():
    rng = np.random.RandomState(0)
    similarity = rng.uniform(-1, 1, (100, 100))
    similarity = similarity + similarity.T
    similarity[3, 7] = similarity[7, 3] = 1000
    display = LabelSimilarityDisplay(
        similarity=similarity, label_names=range(100), order=range(100)
    ).plot()
    assert display.im_.get_clim()[1] <= 2
    assert display.colorbar_.extend == "both"


# -- estimators --------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    X, Y = load_digit_attributes(return_X_y=True)
    return X[:100], Y[:100]


def test_names_of_a_data_frame(digits):
    pd = pytest.importorskip("pandas")
    X, Y = digits
    names = [f"name {i}" for i in range(7)]
    clf = CGMVAEClassifier(**QUICK).fit(X, pd.DataFrame(Y, columns=names))
    assert LabelSimilarityDisplay.from_estimator(clf).label_names == names
    other = list("abcdefg")
    display = LabelSimilarityDisplay.from_estimator(clf, label_names=other)
    assert display.label_names == other


def test_names_of_classes(digits):
    X, Y = digits
    y = np.array(["sea", "beach", "snow"])[Y[:, 0] + Y[:, 1]]
    clf = CGMVAEClassifier(**QUICK).fit(X, y)
    display = LabelSimilarityDisplay.from_estimator(clf)
    assert display.label_names == ["beach", "sea", "snow"]


def test_pipeline(digits):
    X, Y = digits
    pipeline = make_pipeline(StandardScaler(), CGMVAEClassifier(**QUICK)).fit(X, Y)
    display = LabelSimilarityDisplay.from_estimator(pipeline)
    np.testing.assert_array_equal(display.similarity, pipeline[-1].label_similarity())
    assert display.label_names == [f"label {i}" for i in range(7)]


@pytest.mark.parametrize(
    "unfitted",
    [CGMVAEClassifier(), make_pipeline(StandardScaler(), CGMVAEClassifier())],
)
def test_not_fitted(unfitted):
    with pytest.raises(NotFittedError, match="CGMVAEClassifier"):
        LabelSimilarityDisplay.from_estimator(unfitted)


@pytest.mark.parametrize(
    "other", [LogisticRegression(), make_pipeline(LogisticRegression())]
)
def test_estimator_without_label_similarity(other):
    with pytest.raises(TypeError, match="LogisticRegression has no .*label_similarity"):
        LabelSimilarityDisplay.from_estimator(other)


def test_without_matplotlib(two_groups, monkeypatch):
    real_import = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        LabelSimilarityDisplay.from_estimator(two_groups)
