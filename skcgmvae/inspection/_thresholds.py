"""ThresholdDisplay: how well a classifier scores, by its decision threshold."""

from itertools import cycle

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skcgmvae.inspection._matplotlib import import_matplotlib
from skcgmvae.inspection._threshold_curves import (
    as_labels,
    as_matrix,
    check_chosen,
    check_probabilities,
    check_scoring,
    is_exact,
    threshold_curves,
)
from skcgmvae.metrics import label_probabilities

NAMES = {
    "f1_samples": "Samples F1",
    "f1_micro": "Micro F1",
    "f1_macro": "Macro F1",
    "hamming": "Hamming accuracy",
}
# Dark enough for white paper, told apart by the colour-blind (Okabe and Ito), and by
# their markers and dashes where there is no colour at all.
COLOURS = {
    "f1_samples": "#0072B2",
    "f1_micro": "#D55E00",
    "f1_macro": "#009E73",
    "hamming": "0.25",
}
MARKERS = {"f1_samples": "o", "f1_micro": "s", "f1_macro": "^", "hamming": "D"}
DASHES = ["-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1.5, 1, 1.5))]
MARK = "0.3"
# In points: the legend's lines, and what is left free around it.
LEGEND_LINE, LEGEND_MARGIN, LEGEND_COLUMN = 12.5, 12, 170


class ThresholdDisplay:
    """Curves of scores against the decision threshold, one for all labels.

    They show what another threshold than 0.5 would gain, and how much depends on
    meeting the best one. The maximum of each curve is marked by a point, and the legend
    says how high it is and where.

    It is best made with :meth:`from_estimator` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    thresholds : ndarray of shape (n_thresholds,)
        The thresholds, ascending.
    scores : dict of str to ndarray of shape (n_thresholds,)
        Curves, by ``"f1_samples"``, ``"f1_micro"``, ``"f1_macro"`` or ``"hamming"``.
    best_thresholds : dict of str to float
        The threshold of the maximum of each curve, one of ``thresholds``.
    chosen_thresholds : float or ndarray of shape (n_labels,), default=None
        What a classifier decides by, to be marked too: a number as a vertical line,
        one threshold a label as a rug of short marks on the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : dict of str to matplotlib Line2D
        The curves.
    points_ : dict of str to matplotlib Line2D
        Their maxima.
    chosen_ : matplotlib Line2D or LineCollection, or None
        The vertical line, or the rug.

    See Also
    --------
    skcgmvae.TunedThresholdClassifier : Choose the thresholds by cross-validation.

    Examples
    --------
    >>> from skcgmvae.inspection import ThresholdDisplay
    >>> display = ThresholdDisplay.from_predictions(
    ...     [[1, 0], [0, 1], [1, 1]],
    ...     [[0.4, 0.1], [0.3, 0.6], [0.4, 0.7]],
    ...     scoring="f1_micro",
    ... )
    >>> display.best_thresholds
    {'f1_micro': 0.35}
    """

    def __init__(self, *, thresholds, scores, best_thresholds, chosen_thresholds=None):
        self.thresholds = thresholds
        self.scores = scores
        self.best_thresholds = best_thresholds
        self.chosen_thresholds = chosen_thresholds

    @classmethod
    def from_estimator(cls, estimator, X, Y, *, scoring=None, ax=None, line_kw=None):
        """Draw the scores of a fitted classifier on rows that it was not trained on.

        .. warning::
            ``X`` and ``Y`` must be held-out rows. Of the rows of its training a
            classifier is surer than of any others, so that their curves, and the best
            thresholds above all, say nothing of new rows.

        Parameters
        ----------
        estimator : estimator instance
            Fitted classifier, pipeline or search with ``predict_proba``: of this
            package, or of scikit-learn as in
            :func:`~skcgmvae.metrics.label_probabilities`. The ``thresholds_`` of a
            :class:`~skcgmvae.TunedThresholdClassifier` are marked.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Held-out rows.
        Y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Their label matrix of 0 and 1, or the class of each row, one of two.
        scoring : str or list of str, default=None
            ``"f1_samples"``, ``"f1_micro"``, ``"f1_macro"``, ``"hamming"`` (share of
            entries that are right), or several of these. None: what a
            :class:`~skcgmvae.TunedThresholdClassifier` has been tuned for, if it is
            one of these, else all.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's ``plot``, for all curves.

        Returns
        -------
        display : ThresholdDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``predict_proba``.
        sklearn.exceptions.NotFittedError
            If it has not been fitted.
        ValueError
            If ``scoring`` is unknown, ``y`` has more than two classes, ``Y`` does not
            fit the probabilities, or these are not in [0, 1].

        Examples
        --------
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> from skcgmvae import TunedThresholdClassifier
        >>> from skcgmvae.datasets import load_digit_attributes
        >>> from skcgmvae.inspection import ThresholdDisplay
        >>> X, Y = load_digit_attributes(return_X_y=True)
        >>> forest = RandomForestClassifier(n_estimators=20, random_state=0)
        >>> clf = TunedThresholdClassifier(forest, cv=3, random_state=0)
        >>> clf = clf.fit(X[:500], Y[:500])
        >>> display = ThresholdDisplay.from_estimator(clf, X[500:], Y[500:])
        >>> list(display.scores)  # what the classifier was tuned for
        ['f1_samples']
        """
        check_is_fitted(estimator)
        coder, labels = as_labels(Y)
        tuned, chosen = _innermost(estimator), None
        if hasattr(tuned, "thresholds_"):
            per_label = tuned.strategy == "per_label"
            chosen = tuned.thresholds_ if per_label else float(tuned.thresholds_[0])
            if scoring is None and is_exact(tuned.scoring):
                scoring = tuned.scoring
        scoring = check_scoring(scoring, coder.n_labels_)
        probabilities = label_probabilities(estimator, X, n_labels=coder.n_labels_)
        name = f"predict_proba of {type(estimator).__name__} for X"
        display = cls._from_labels(coder, labels, probabilities, name, scoring, chosen)
        return display.plot(ax=ax, line_kw=line_kw)

    @classmethod
    def from_predictions(
        cls,
        Y,
        probabilities,
        *,
        scoring=None,
        chosen_thresholds=None,
        ax=None,
        line_kw=None,
    ):
        """Draw the scores of probabilities of rows that were not trained on.

        Parameters
        ----------
        Y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Label matrix of 0 and 1, or the class of each row, one of two.
        probabilities : {array-like, sparse matrix} of shape (n_samples, n_labels)
            The probability of each label, learnt from other rows. For a 1-D ``y``
            that of its second class, (n_samples,), or those of both (n_samples, 2).
        scoring : str or list of str, default=None
            ``"f1_samples"``, ``"f1_micro"``, ``"f1_macro"``, ``"hamming"`` (share of
            entries that are right), or several of these. None: all.
        chosen_thresholds : float or array-like of shape (n_labels,), default=None
            Thresholds to be marked.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's ``plot``, for all curves.

        Returns
        -------
        display : ThresholdDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If ``scoring`` is unknown, ``y`` has more than two classes, the shape of
            ``probabilities`` or ``chosen_thresholds`` does not fit ``Y``, or
            probabilities are not in [0, 1].
        """
        coder, labels = as_labels(Y)
        scoring = check_scoring(scoring, coder.n_labels_)
        chosen = check_chosen(chosen_thresholds, coder.n_labels_)
        probabilities = as_matrix(probabilities, coder)
        display = cls._from_labels(
            coder, labels, probabilities, "probabilities", scoring, chosen
        )
        return display.plot(ax=ax, line_kw=line_kw)

    @classmethod
    def _from_labels(cls, coder, labels, probabilities, name, scoring, chosen):
        """The display; ``name`` is what the probabilities are, for the messages."""
        probabilities = check_probabilities(probabilities, name, labels.shape)
        thresholds, scores, best = threshold_curves(
            coder, labels, probabilities, scoring, chosen
        )
        return cls(
            thresholds=thresholds,
            scores=scores,
            best_thresholds=best,
            chosen_thresholds=chosen,
        )

    def plot(self, ax=None, *, line_kw=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure.
        line_kw : dict, default=None
            Keyword arguments of matplotlib's ``plot``, for all curves.

        Returns
        -------
        display : ThresholdDisplay
            The display itself, with its attributes set.
        """
        plt, _ = import_matplotlib(self)
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        line_kw = normalize_kwargs(line_kw, Line2D)
        if ax is None:
            figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
            figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_, self.points_ = {}, {}
        for dashes, scorer in zip(cycle(DASHES), self.scores, strict=False):
            self._draw_curve(scorer, {"linestyle": dashes} | line_kw)
        ax.set(
            xlabel="Decision threshold",
            ylabel="Score",
            xlim=(0, min(1, self.thresholds[-1])),
        )
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color="0.92", linewidth=0.8)
        ax.set_axisbelow(True)
        top = self._draw_legend()
        self.chosen_ = self._draw_chosen(top)
        return self

    def _draw_curve(self, scorer, line_kw):
        scores, best = self.scores[scorer], self.best_thresholds[scorer]
        # Up to and including each threshold the score is the one there.
        style = {"drawstyle": "steps-pre", "color": COLOURS[scorer], "linewidth": 1.8}
        (line,) = self.ax_.plot(self.thresholds, scores, **(style | line_kw))
        (point,) = self.ax_.plot(
            best,
            scores[np.searchsorted(self.thresholds, best)],
            linestyle="none",
            marker=MARKERS[scorer],
            markersize=7,
            color=line.get_color(),
            markeredgecolor="white",
            clip_on=False,
            zorder=3,
        )
        self.lines_[scorer], self.points_[scorer] = line, point

    def _draw_legend(self):
        """A legend above the curves; where these end, as a share of the height."""
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        entries = []
        for scorer, point in self.points_.items():
            (best,), (score,) = point.get_data()
            handle = Line2D([], [])
            handle.update_from(self.lines_[scorer])
            handle.set(marker=point.get_marker(), markeredgecolor="white", markersize=7)
            handle.set_label(f"{NAMES[scorer]}: {score:.3f} at {_short(best)}")
            entries.append((-score, handle))
        handles = [handle for _, handle in sorted(entries, key=lambda entry: entry[0])]
        if np.ndim(self.chosen_thresholds):
            mark = Line2D([], [], color=MARK, linestyle="none", marker="|")
            mark.set(markersize=8, label="chosen threshold of each label")
            handles.append(mark)
        ax = self.ax_
        inches = ax.get_window_extent().transformed(
            ax.figure.dpi_scale_trans.inverted()
        )
        columns = int(np.clip(72 * inches.width // LEGEND_COLUMN, 1, 2))
        lines = -(-len(handles) // columns)
        share = (LEGEND_LINE * lines + LEGEND_MARGIN) / (72 * inches.height)
        top = 1 - min(share, 0.6)
        highest = ax.dataLim.y1 or 1
        ax.set_ylim(0, highest / top)
        # The axis ends with the curves, below the legend.
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, highest)
        ax.set_yticks(ticks[ticks <= highest * (1 + 1e-9)])
        ax.spines["left"].set_bounds(0, highest)
        ax.legend(
            handles=handles,
            loc="upper left",
            ncols=columns,
            frameon=False,
            fontsize="small",
            handlelength=2.6,
            borderaxespad=0,
        )
        return top

    def _draw_chosen(self, top):
        """The vertical line with its value, or the rug."""
        chosen, ax = self.chosen_thresholds, self.ax_
        if chosen is None:
            return None
        across = ax.get_xaxis_transform()
        if np.ndim(chosen):
            # So many that they overlap show where they crowd.
            alpha = float(np.clip(80 / len(chosen), 0.1, 1))
            kw = {"linewidth": 1.3, "alpha": alpha, "clip_on": False}
            return ax.vlines(chosen, 0, 0.05, MARK, transform=across, **kw)
        left = chosen < 0.75 * ax.get_xlim()[1]
        ax.annotate(
            f"chosen {_short(chosen)}",
            (chosen, 0.03),
            xycoords=across,
            xytext=(4 if left else -4, 0),
            textcoords="offset points",
            ha="left" if left else "right",
            color=MARK,
            fontsize="small",
        )
        return ax.axvline(chosen, ymax=top, color=MARK, linewidth=1, zorder=1)


def _short(threshold):
    """Two digits, or what they are where it is small."""
    return f"{threshold:.2f}" if threshold >= 0.1 else f"{threshold:.2g}"


def _innermost(estimator):
    """What a pipeline ends in, or a search has found."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator
