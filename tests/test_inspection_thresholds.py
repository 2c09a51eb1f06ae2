"""ThresholdDisplay: curves, their maxima, and the thresholds that were chosen."""

import builtins
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
from common import toy
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skcgmvae import TunedThresholdClassifier
from skcgmvae.baselines import BinaryRelevance
from skcgmvae.inspection import ThresholdDisplay
from skcgmvae.metrics import label_probabilities

ALL = ["f1_samples", "f1_micro", "f1_macro", "hamming"]


def evaluate(name, Y, predicted):
    if name == "hamming":
        return np.mean(Y == predicted)
    return f1_score(Y, predicted, average=name.removeprefix("f1_"), zero_division=0)


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.fixture(scope="module")
def made_up():
    """A label matrix, and probabilities with ties that know something of it."""
    rng = np.random.RandomState(0)
    Y = rng.binomial(1, [0.1, 0.3, 0.6], (40, 3))
    Y[:3] = 0
    return Y, np.round(0.7 * rng.uniform(size=Y.shape) + 0.3 * Y, 1)


@pytest.fixture(scope="module")
def data():
    X, Y = toy(n_samples=120, n_labels=3)
    return X[:80], X[80:], Y[:80], Y[80:]


@pytest.fixture(scope="module")
def forest():
    return RandomForestClassifier(n_estimators=5, random_state=0)


# -- curves ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_curve_is_the_score_at_each_threshold(made_up, name):
    Y, P = made_up
    display = ThresholdDisplay.from_predictions(Y, P, scoring=name)
    assert list(display.scores) == [name]
    thresholds, scores = display.thresholds, display.scores[name]
    assert (np.diff(thresholds) > 0).all()
    assert set(np.unique(P)) <= set(thresholds), "that is where curves jump"
    some = slice(None, None, 20)
    expected = [evaluate(name, Y, threshold <= P) for threshold in thresholds[some]]
    np.testing.assert_allclose(scores[some], expected, rtol=1e-12)
    best = display.best_thresholds[name]
    assert scores.max() == pytest.approx(evaluate(name, Y, best <= P), rel=1e-12)


def test_what_is_drawn(made_up):
    Y, P = made_up
    display = ThresholdDisplay.from_predictions(Y, P)
    assert list(display.lines_) == list(display.points_) == list(display.scores) == ALL
    for name in ALL:
        x, y = display.lines_[name].get_data()
        np.testing.assert_array_equal(x, display.thresholds)
        np.testing.assert_array_equal(y, display.scores[name])
        # A score holds from below a threshold up to it.
        assert display.lines_[name].get_drawstyle() == "steps-pre"
        (best,), (score,) = display.points_[name].get_data()
        assert best == display.best_thresholds[name]
        assert score == y.max()
    ax = display.ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Decision threshold", "Score")
    assert ax.get_xlim() == (0, 1)
    assert ax.get_ylim()[0] == 0
    assert display.chosen_ is None
    assert display.figure_ is ax.figure


def test_curves_can_be_told_apart_without_colours(made_up):
    display = ThresholdDisplay.from_predictions(*made_up)
    lines, points = display.lines_.values(), display.points_.values()
    # matplotlib calls all dashes "--"; what they are is private, and what there is.
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 4
    assert len({point.get_marker() for point in points}) == 4
    assert len({line.get_color() for line in lines}) == 4


def test_legend_goes_from_the_highest_maximum_to_the_lowest(made_up):
    display = ThresholdDisplay.from_predictions(*made_up)
    maxima = [float(text.split(": ")[1].split(" at ")[0]) for text in legend(display)]
    assert maxima == sorted(maxima, reverse=True)
    expected = {round(scores.max(), 3) for scores in display.scores.values()}
    assert set(maxima) == expected
    best = display.best_thresholds["f1_micro"]
    (entry,) = [text for text in legend(display) if text.startswith("Micro F1")]
    assert entry.endswith(f" at {best:.2f}")


@pytest.mark.parametrize("chosen", [None, 0.3, [0.2, 0.3, 0.4]])
def test_legend_covers_no_curve(made_up, chosen):
    # Not even in a small picture, nor does it stick out to the right.
    for size in [(6.4, 4.4), (3.2, 3.2)]:
        _, ax = plt.subplots(figsize=size)
        ThresholdDisplay.from_predictions(*made_up, chosen_thresholds=chosen, ax=ax)
        ax.figure.canvas.draw()
        box = ax.get_legend().get_window_extent()
        highest = max(line.get_ydata().max() for line in ax.lines[:8])
        assert box.y0 > ax.transData.transform((0, highest))[1]
        assert box.x1 <= ax.figure.bbox.x1


def test_low_probabilities_fill_the_picture(made_up):
    Y, P = made_up
    display = ThresholdDisplay.from_predictions(Y, 0.01 * P)
    right = display.ax_.get_xlim()[1]
    assert 0.01 * P.max() < right < 0.02
    assert max(display.best_thresholds.values()) < right
    display = ThresholdDisplay.from_predictions(Y, 0.01 * P, chosen_thresholds=0.4)
    assert 0.4 < display.ax_.get_xlim()[1] <= 1


def test_one_name_or_several_in_their_order(made_up):
    display = ThresholdDisplay.from_predictions(
        *made_up, scoring=("hamming", "f1_macro", "hamming")
    )
    assert list(display.scores) == ["hamming", "f1_macro"]


def test_ax_and_line_kw(made_up):
    figure, (left, right) = plt.subplots(1, 2)
    display = ThresholdDisplay.from_predictions(
        *made_up, scoring="hamming", ax=right, line_kw={"lw": 5, "c": "red"}
    )
    assert display.ax_ is right
    assert display.figure_ is figure
    assert not left.lines
    line = display.lines_["hamming"]
    assert (line.get_linewidth(), line.get_color()) == (5, "red")
    assert display.points_["hamming"].get_color() == "red"
    assert display.plot(left) is display
    assert display.ax_ is left
    assert left.lines


@pytest.mark.parametrize(
    ("Y", "P"),
    [
        (np.zeros((3, 2)), [[0.2, 0.7]] * 3),
        (np.ones((3, 2)), [[0.2, 0.7]] * 3),
        (np.eye(3), np.zeros((3, 3))),
        (np.eye(3), np.ones((3, 3))),
        (1 - np.eye(3), np.eye(3)),
        ([[1, 0]], [[0.3, 0.4]]),
    ],
    ids=["none", "all", "scores 0", "scores 1", "all wrong", "one row"],
)
def test_labels_and_scores_that_say_nothing(Y, P):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        display = ThresholdDisplay.from_predictions(Y, P)
        display.figure_.canvas.draw()
    for name, scores in display.scores.items():
        predicted = display.best_thresholds[name] <= np.asarray(P)
        assert scores.max() == pytest.approx(evaluate(name, np.asarray(Y), predicted))


# -- chosen thresholds -------------------------------------------------------------


def test_one_chosen_threshold_is_a_line_with_its_value(made_up):
    display = ThresholdDisplay.from_predictions(*made_up, chosen_thresholds=0.314)
    assert set(display.chosen_.get_xdata()) == {0.314}
    assert [text.get_text() for text in display.ax_.texts] == ["chosen 0.31"]


def test_a_chosen_threshold_for_each_label_is_a_rug(made_up):
    chosen = [0.1, 0.25, 0.9]
    display = ThresholdDisplay.from_predictions(*made_up, chosen_thresholds=chosen)
    marks = display.chosen_.get_segments()
    assert [mark[0][0] for mark in marks] == chosen
    # Short, and on the axis: their heights are shares of the picture's.
    assert all(mark[0][1] == 0 and mark[1][1] <= 0.1 for mark in marks)
    across = display.ax_.get_xaxis_transform().transform((0.1, 0.1))
    drawn = display.chosen_.get_transform().transform((0.1, 0.1))
    np.testing.assert_allclose(drawn, across)
    assert legend(display)[-1] == "chosen threshold of each label"
    assert not display.ax_.texts


# -- kinds of targets --------------------------------------------------------------


def test_sparse(made_up):
    Y, P = made_up
    dense = ThresholdDisplay.from_predictions(Y, P)
    sparse = ThresholdDisplay.from_predictions(sp.csr_matrix(Y), sp.csr_matrix(P))
    np.testing.assert_equal(sparse.scores, dense.scores)


@pytest.mark.parametrize("both_columns", [False, True])
def test_two_classes(made_up, both_columns):
    Y, P = made_up
    p = P[:, 1]
    y = np.array(["no", "yes"])[Y[:, 1]]
    display = ThresholdDisplay.from_predictions(
        y, np.column_stack([1 - p, p]) if both_columns else p
    )
    # Of one label there is one F1, so that there are no four curves.
    assert list(display.scores) == ["f1_micro", "hamming"]
    at = display.thresholds[::50]
    for name, score in [("f1_micro", f1_score), ("hamming", accuracy_score)]:
        expected = [score(Y[:, 1], threshold <= p) for threshold in at]
        np.testing.assert_allclose(display.scores[name][::50], expected)


def test_one_column(made_up):
    Y, P = made_up
    column = ThresholdDisplay.from_predictions(Y[:, 1:2], P[:, 1:2], scoring=ALL)
    micro = column.scores["f1_micro"]
    np.testing.assert_array_equal(column.scores["f1_samples"], micro)
    np.testing.assert_array_equal(column.scores["f1_macro"], micro)


# -- estimators --------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=5, random_state=0),
        KNeighborsClassifier(),
        make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())),
        BinaryRelevance(KNeighborsClassifier()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_any_classifier(data, estimator):
    X, X_new, Y, Y_new = data
    estimator.fit(X, Y)
    display = ThresholdDisplay.from_estimator(estimator, X_new, Y_new)
    P = label_probabilities(estimator, X_new)
    expected = ThresholdDisplay.from_predictions(Y_new, P)
    np.testing.assert_equal(display.scores, expected.scores)
    assert list(display.scores) == ALL
    assert display.chosen_thresholds is None


def test_classifier_of_two_classes(data):
    X, X_new, Y, Y_new = data
    clf = KNeighborsClassifier().fit(X, Y[:, 0])
    display = ThresholdDisplay.from_estimator(clf, X_new, Y_new[:, 0])
    p = clf.predict_proba(X_new)[:, 1]
    expected = ThresholdDisplay.from_predictions(Y_new[:, 0], p)
    np.testing.assert_equal(display.scores, expected.scores)


@pytest.mark.parametrize("wrap", [None, "pipeline", "search"])
@pytest.mark.parametrize("strategy", ["global", "per_label"])
def test_tuned_thresholds_are_marked(data, forest, strategy, wrap):
    X, X_new, Y, Y_new = data
    tuned = TunedThresholdClassifier(
        forest, scoring="f1_macro", strategy=strategy, cv=0.3, random_state=0
    )
    estimator, innermost = tuned, lambda fitted: fitted
    if wrap == "pipeline":
        estimator, innermost = make_pipeline(tuned), lambda fitted: fitted[-1]
    if wrap == "search":
        # Its own scoring is another matter.
        estimator = GridSearchCV(tuned, {"refit": [True]}, cv=2, scoring="f1_micro")
        innermost = lambda fitted: fitted.best_estimator_  # noqa: E731
    estimator.fit(X, Y)
    display = ThresholdDisplay.from_estimator(estimator, X_new, Y_new)
    thresholds = innermost(estimator).thresholds_
    assert list(display.scores) == ["f1_macro"]
    if strategy == "global":
        assert set(display.chosen_.get_xdata()) == set(thresholds)
    else:
        marks = [mark[0][0] for mark in display.chosen_.get_segments()]
        assert marks == thresholds.tolist()


def test_scoring_may_be_another_than_what_was_tuned_for(data, forest):
    X, X_new, Y, Y_new = data
    clf = TunedThresholdClassifier(forest, scoring="f1_micro", cv=0.3).fit(X, Y)
    display = ThresholdDisplay.from_estimator(clf, X_new, Y_new, scoring="hamming")
    assert list(display.scores) == ["hamming"]
    assert display.chosen_thresholds == clf.thresholds_[0]


@pytest.mark.parametrize("scoring", ["jaccard_samples", lambda *args: 0.0])
def test_tuned_for_a_score_that_has_no_curve(data, forest, scoring):
    X, X_new, Y, Y_new = data
    clf = TunedThresholdClassifier(forest, scoring="f1_micro", cv=0.3).fit(X, Y)
    clf.scoring = scoring
    assert list(ThresholdDisplay.from_estimator(clf, X_new, Y_new).scores) == ALL


# -- errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scoring", ["f1", "jaccard_samples", [], ["hamming", "recall"], f1_score, 3]
)
def test_unknown_scoring(made_up, data, forest, scoring):
    with pytest.raises(ValueError, match=r"scoring must be one of \['f1_samples'"):
        ThresholdDisplay.from_predictions(*made_up, scoring=scoring)
    with pytest.raises(ValueError, match=r"scoring must be one of \['f1_samples'"):
        ThresholdDisplay.from_estimator(
            forest.fit(data[0], data[2]), data[1], data[3], scoring=scoring
        )


@pytest.mark.parametrize(
    ("P", "message"),
    [
        (np.full((4, 2), 0.5), r"shape of Y, \(4, 3\); got \(4, 2\)\.$"),
        (np.full((5, 3), 0.5), r"shape of Y, \(4, 3\); got \(5, 3\)\.$"),
        (np.full(4, 0.5), r"shape of Y, \(4, 3\); got \(4,\)\. .*label_probabilities"),
        ([np.full((4, 2), 0.5)] * 3, r"got \(3, 4, 2\)\. .*label_probabilities"),
        (
            [np.full((4, 2), 0.5), np.full((4, 1), 0.5)],
            "different lengths.*label_probabilities",
        ),
        (np.full((4, 3), 1.5), r"in \[0, 1\]; got values from 1.5 to 1.5"),
        (np.full((4, 3), -0.5), r"in \[0, 1\]; got values from -0.5 to -0.5"),
        (np.full((4, 3), np.nan), "contains NaN"),
    ],
)
def test_probabilities_that_are_none(P, message):
    with pytest.raises(ValueError, match=f"probabilities.*{message}"):
        ThresholdDisplay.from_predictions(np.eye(4, 3), P)


def test_last_digits_of_a_sum_are_forgiven():
    P = np.array([[1 + 1e-12, 0.2], [-1e-12, 0.3]])
    display = ThresholdDisplay.from_predictions([[1, 0], [0, 1]], P)
    assert display.thresholds[0] == 0


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([0.1, 0.2], r"shape \(3,\); got an array of shape \(2,\)"),
        (1.5, r"\[0, 1\]; got 1.5"),
        ([0.1, np.nan, 0.2], r"\[0, 1\]; got \[0.1, nan, 0.2\]"),
    ],
)
def test_chosen_thresholds_that_are_none(made_up, chosen, message):
    with pytest.raises(ValueError, match=f"chosen_thresholds must be .*{message}"):
        ThresholdDisplay.from_predictions(*made_up, chosen_thresholds=chosen)


def test_y_of_three_classes():
    with pytest.raises(ValueError, match="Y has 3 classes that exclude one another"):
        ThresholdDisplay.from_predictions([0, 1, 2], np.eye(3))


@pytest.mark.parametrize(
    "unfitted",
    [
        RandomForestClassifier(),
        TunedThresholdClassifier(RandomForestClassifier()),
        make_pipeline(StandardScaler(), KNeighborsClassifier()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_not_fitted(data, unfitted):
    with pytest.raises(NotFittedError, match="not fitted"):
        ThresholdDisplay.from_estimator(unfitted, data[1], data[3])


def test_estimator_without_predict_proba(data):
    clf = OneVsRestClassifier(LinearSVC()).fit(data[0], data[2])
    with pytest.raises(TypeError, match="estimator .*predict_proba; got OneVsRest"):
        ThresholdDisplay.from_estimator(clf, data[1], data[3])


def test_rows_or_labels_that_do_not_fit_the_estimator(data, forest):
    X, X_new, Y, Y_new = data
    forest.fit(X, Y)
    with pytest.raises(ValueError, match=r"for X must .* Y, \(39, 3\); got \(40, 3\)"):
        ThresholdDisplay.from_estimator(forest, X_new, Y_new[1:])
    with pytest.raises(ValueError, match=r"predict_proba of RandomForest.* 2\)"):
        ThresholdDisplay.from_estimator(forest, X_new, Y_new[:, :2])


def test_without_matplotlib(made_up, monkeypatch):
    real_import = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(ImportError, match="ThresholdDisplay .*pip install matplotlib"):
        ThresholdDisplay.from_predictions(*made_up)
