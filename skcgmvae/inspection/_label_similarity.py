"""LabelSimilarityDisplay: which labels a model holds to be related."""

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skcgmvae.inspection._matplotlib import import_matplotlib

# More names than this along an axis are not legible.
MAX_TICK_LABELS = 60
# Longer names would leave no room for the cells.
MAX_NAME_LENGTH = 32
# The colours end at this percentile, so that one pair cannot fade all others.
LIMIT_PERCENTILE = 99.5


class LabelSimilarityDisplay:
    """Heat map of the similarity of labels, Figure 3 of the C-GMVAE paper.

    Red pairs of labels have similar embeddings: the model predicts the two together.
    Blue pairs rule each other out. The diagonal, each label with itself, is grey.

    It is best made with :meth:`from_estimator`. All parameters are stored as
    attributes.

    Parameters
    ----------
    similarity : ndarray of shape (n_labels, n_labels)
        Similarity of each pair of labels; the diagonal is not looked at.
    label_names : sequence of str of shape (n_labels,)
        Names, in the order of ``similarity``.
    order : ndarray of int of shape (n_labels,)
        The labels from left to right and from top to bottom.
    cosine : bool, default=False
        Whether ``similarity`` is a cosine, which the colour bar then says.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        Their figure.
    im_ : matplotlib AxesImage
        The heat map.
    colorbar_ : matplotlib Colorbar
        The colour bar.

    See Also
    --------
    skcgmvae.CGMVAEClassifier.label_similarity : The numbers behind the picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skcgmvae.inspection import LabelSimilarityDisplay
    >>> similarity = np.array([[0.0, -0.5, 2.0], [-0.5, 0.0, 0.1], [2.0, 0.1, 0.0]])
    >>> display = LabelSimilarityDisplay(
    ...     similarity=similarity,
    ...     label_names=["beach", "snow", "sea"],
    ...     order=[0, 2, 1],
    ... ).plot()
    >>> [text.get_text() for text in display.ax_.get_yticklabels()]
    ['beach', 'sea', 'snow']
    """

    def __init__(self, *, similarity, label_names, order, cosine=False):
        self.similarity = similarity
        self.label_names = label_names
        self.order = order
        self.cosine = cosine

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        label_names=None,
        order="cluster",
        cosine=False,
        ax=None,
        cmap="RdBu_r",
    ):
        """Draw the label similarity of a fitted estimator.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted estimator with a method ``label_similarity(*, cosine)``, such as
            :class:`~skcgmvae.CGMVAEClassifier`, or a pipeline that ends in one.
        label_names : sequence of str of shape (n_labels,), default=None
            Names of the labels. None: ``label_names_in_`` of the estimator, or the
            classes if it was fitted on a 1-D ``y``, or "label 0", "label 1", ...
        order : "cluster", None or array-like of int of shape (n_labels,), \
default="cluster"
            ``"cluster"`` puts related labels side by side: average linkage by the
            cosine distance of the embeddings, with optimal leaf order. None keeps
            the order of the columns of ``Y``. Else the numbers of the labels, each
            once, from left to right.
        cosine : bool, default=False
            Draw cosines, in [-1, 1], instead of the inner products of the paper.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure whose size fits the number of labels.
        cmap : str or matplotlib Colormap, default="RdBu_r"
            Diverging colours; their middle is 0.

        Returns
        -------
        display : LabelSimilarityDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``label_similarity``.
        sklearn.exceptions.NotFittedError
            If it has not been fitted.
        ValueError
            If ``label_names`` or ``order`` do not fit the number of labels.

        Examples
        --------
        >>> from skcgmvae import CGMVAEClassifier
        >>> from skcgmvae.datasets import load_digit_attributes
        >>> from skcgmvae.inspection import LabelSimilarityDisplay
        >>> X, Y = load_digit_attributes(return_X_y=True, as_frame=True)
        >>> clf = CGMVAEClassifier(max_iter=1, random_state=0).fit(X, Y)
        >>> display = LabelSimilarityDisplay.from_estimator(clf)
        >>> sorted(display.label_names) == sorted(Y.columns)
        True
        """
        while isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        if not hasattr(estimator, "label_similarity"):
            raise TypeError(
                f"{type(estimator).__name__} has no method label_similarity, whose "
                "result is drawn; CGMVAEClassifier has one."
            )
        check_is_fitted(estimator)
        similarity = estimator.label_similarity(cosine=cosine)
        n_labels = len(similarity)
        label_names = _check_label_names(label_names, estimator, n_labels)
        if isinstance(order, str) and order == "cluster":
            order = _cluster_order(estimator.label_similarity(cosine=True))
        else:
            order = _check_order(order, n_labels)
        display = cls(
            similarity=similarity, label_names=label_names, order=order, cosine=cosine
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, ax=None, *, cmap="RdBu_r"):
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a figure whose size fits the number of labels.
        cmap : str or matplotlib Colormap, default="RdBu_r"
            Diverging colours; their middle is 0.

        Returns
        -------
        display : LabelSimilarityDisplay
            The display itself, with its attributes set.
        """
        plt, colormaps = import_matplotlib(self)
        order = np.asarray(self.order)
        n_labels = len(order)
        if ax is None:
            # Grows with the labels, but not beyond what fits a screen.
            width = float(np.clip(3.6 + 0.28 * n_labels, 5, 12))
            figure, ax = plt.subplots(
                figsize=(width, 0.86 * width), layout="compressed"
            )
            figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
        values = np.asarray(self.similarity, dtype=float)[np.ix_(order, order)]
        diagonal = np.eye(n_labels, dtype=bool)
        off_diagonal = np.abs(values[~diagonal])
        limit, largest = _colour_limit(off_diagonal)
        self.im_ = ax.imshow(
            np.ma.masked_array(values, mask=diagonal),
            cmap=colormaps.get_cmap(cmap).with_extremes(bad="0.82"),
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
            aspect="equal",
        )
        self._draw_ticks(ax, order)
        self.colorbar_ = ax.figure.colorbar(
            self.im_,
            ax=ax,
            fraction=0.046,
            pad=0.03,
            extend="both" if largest > limit else "neither",
            label="Cosine similarity of label embeddings"
            if self.cosine
            else "Inner product of label embeddings",
        )
        self.colorbar_.outline.set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_ticks(self, ax, order):
        """Names along both axes, or only what the axes are where names are too many."""
        ax.spines[:].set_visible(False)
        n_labels = len(order)
        if n_labels > MAX_TICK_LABELS:
            ax.set(xticks=[], yticks=[])
            ax.set(xlabel=f"{n_labels} labels", ylabel="The same labels")
            return
        names = [_shortened(str(self.label_names[label])) for label in order]
        size = float(np.clip(11 - 0.11 * n_labels, 5, 10))
        ax.set_xticks(range(n_labels), names, fontsize=size)
        ax.set_yticks(range(n_labels), names, fontsize=size)
        steep = 90 if n_labels > 25 else 45
        for text in ax.get_xticklabels():
            text.set(rotation=steep, ha="right", rotation_mode="anchor")
            if steep == 90:
                text.set_va("center")
        ax.tick_params(length=0)
        # White lines between the cells, while cells are larger than lines.
        ax.set_xticks(np.arange(n_labels - 1) + 0.5, minor=True)
        ax.set_yticks(np.arange(n_labels - 1) + 0.5, minor=True)
        ax.grid(which="minor", color="white", linewidth=1)
        ax.tick_params(which="minor", length=0)


def _shortened(name):
    if len(name) <= MAX_NAME_LENGTH:
        return name
    return name[: MAX_NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _colour_limit(magnitudes):
    """Where the colours end, and the largest of the magnitudes."""
    if magnitudes.size == 0 or magnitudes.max() == 0:
        return 1.0, 0.0
    largest = float(magnitudes.max())
    if magnitudes.size < MAX_TICK_LABELS**2:
        return largest, largest
    limit = float(np.percentile(magnitudes, LIMIT_PERCENTILE))
    return limit or largest, largest


def _cluster_order(cosines):
    """The labels in an order that has similar ones side by side."""
    n_labels = len(cosines)
    if n_labels < 3:
        return np.arange(n_labels)
    distances = np.clip(1 - cosines, 0, 2)
    np.fill_diagonal(distances, 0)
    condensed = squareform(distances, checks=False)
    return leaves_list(linkage(condensed, method="average", optimal_ordering=True))


def _check_order(order, n_labels):
    if order is None:
        return np.arange(n_labels)
    given = np.asarray(order)
    if given.shape != (n_labels,) or not np.array_equal(
        np.sort(given), np.arange(n_labels)
    ):
        raise ValueError(
            f"order must be 'cluster', None or each of the numbers 0 to {n_labels - 1} "
            f"once; got {order!r}."
        )
    return given.astype(int)


def _check_label_names(label_names, estimator, n_labels):
    if label_names is None:
        return _default_label_names(estimator, n_labels)
    label_names = [str(name) for name in label_names]
    if len(label_names) != n_labels:
        raise ValueError(
            f"label_names must hold one name for each of the {n_labels} labels; got "
            f"{len(label_names)} names."
        )
    return label_names


def _default_label_names(estimator, n_labels):
    names = getattr(estimator, "label_names_in_", None)
    if names is not None:
        return [str(name) for name in names]
    classes = getattr(estimator, "classes_", np.arange(n_labels))
    if len(classes) == n_labels and not np.array_equal(classes, np.arange(n_labels)):
        return [str(value) for value in classes]
    return [f"label {label}" for label in range(n_labels)]
