"""MLARAM: prototypes of label sets, boxes in feature space."""

from numbers import Integral, Real

import numpy as np
from joblib import effective_n_jobs
from scipy.sparse import csr_matrix, issparse, vstack
from sklearn.base import _fit_context
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._param_validation import Interval
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skcgmvae._multilabel import MultiLabelClassifier
from skcgmvae.baselines._art import ALPHA, Boxes, StoredColumns, UnitRange

FLOATS = [np.float64, np.float32]

# Shares of votes are held to be equal if they differ by less.
SHARE_ATOL = 1e-9


class MLARAM(MultiLabelClassifier):
    """Multi-label fuzzy adaptive resonance associative map (ARAM).

    Each neuron is a box in feature space that belongs to one set of labels. In a
    single pass, a training row makes the best box of its own label set grow around
    it, if the two have enough in common (``vigilance``), and founds a new one else. A
    new row activates boxes by how much of each it meets; the most active ones vote
    with their label sets.

    Parameters
    ----------
    vigilance : float, default=0.9
        How much a row must have in common with a box to make it grow, in (0, 1]. The
        higher, the smaller the boxes and the more of them; at 1, each row is a neuron.
    threshold : float, default=0.02
        Neurons vote whose activation is less than that of the best by at most this
        share of the range of activations, in [0, 1]. It is read in predicting only.
    max_neurons : int, default=None
        Upper bound on the number of neurons. Once there are as many, a row joins the
        best box of its label set however little they have in common, and a row whose
        label set is new is left out. None: no bound but the number of rows.
    shuffle : bool, default=False
        Whether to learn the rows in a random order instead of the given one.
    n_jobs : int, default=None
        Threads that predict. None: 1, unless in a :obj:`joblib.parallel_backend`
        context; -1: one a processor.
    random_state : int, RandomState instance or None, default=None
        Draws the order of the rows if ``shuffle``.

    Attributes
    ----------
    neuron_labels_ : CSR matrix of shape (n_neurons, n_labels)
        The label set of each neuron, 0 and 1.
    neuron_counts_ : ndarray of int of shape (n_neurons,)
        Rows that each neuron has won.
    n_rows_left_out_ : int
        Rows that ``max_neurons`` left out.
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, the classes for a 1-D ``y``.
    label_names_in_ : ndarray of str of shape (n_labels,)
        Column names of ``y``, if it was a DataFrame of named columns.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Column names of ``X``, if it was a DataFrame of named columns.

    See Also
    --------
    HARAM : The same, faster in predicting where there are many neurons.

    Notes
    -----
    What is learnt depends on the order of the rows.

    Features are brought to [0, 1] inside: the range of each in the training rows is
    kept, and values outside of it are clipped. A sparse ``X`` stays sparse, and for
    that may not hold negative values. float32 features are computed on in float32.

    ``predict_proba`` is the share of the training rows behind the voting neurons that
    have the label, each neuron weighted with its activation. Within a row it ranks
    labels as the scores of scikit-multilearn do, which are not bounded by 1.
    ``predict`` does not go by 0.5: labels are ranked by their score and cut where the
    next score is the furthest below.

    References
    ----------
    Sapozhnikova, "ART-based neural networks for multi-label classification", IDA 2009;
    Benites and Sapozhnikova, "HARAM: a hierarchical ARAM neural network for large-scale
    text classification", ICDM Workshops 2015.

    Examples
    --------
    >>> from skcgmvae.baselines import MLARAM
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = MLARAM(vigilance=0.8).fit(X[:1000], Y[:1000])
    >>> clf.predict_proba(X[1000:]).shape
    (797, 7)
    >>> len(clf.neuron_counts_) < 1000
    True
    """

    _parameter_constraints = {
        "vigilance": [Interval(Real, 0, 1, closed="right")],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "max_neurons": [Interval(Integral, 1, None, closed="left"), None],
        "shuffle": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        vigilance=0.9,
        threshold=0.02,
        *,
        max_neurons=None,
        shuffle=False,
        n_jobs=None,
        random_state=None,
    ):
        self.vigilance = vigilance
        self.threshold = threshold
        self.max_neurons = max_neurons
        self.shuffle = shuffle
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the neurons in one pass over the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Label matrix of 0 and 1, or the class of each row.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        X = self._validate_features(X, dtype=FLOATS)
        Y = csr_matrix(self._encode_labels(self._check_targets(X, y)))
        self._is_sparse = issparse(X)
        self._range = UnitRange().fit(X)
        low, high, won_by = self._learn(self._range.transform(X), Y)
        self.n_rows_left_out_ = int((won_by < 0).sum())
        self.neuron_counts_ = np.bincount(won_by[won_by >= 0], minlength=low.shape[0])
        # Any row of a neuron has its labels.
        row_of_neuron = np.empty(low.shape[0], dtype=int)
        row_of_neuron[won_by[won_by >= 0]] = np.flatnonzero(won_by >= 0)
        self.neuron_labels_ = Y[row_of_neuron]
        self._keep(low, high)
        return self

    def _learn(self, X, Y):
        """Present all rows; corners of the boxes, and the neuron that won each row."""
        label_sets, set_of_row = _label_sets(X, Y, self.vigilance)
        order = np.arange(X.shape[0])
        if self.shuffle:
            check_random_state(self.random_state).shuffle(order)
        bound = np.inf if self.max_neurons is None else self.max_neurons
        n_neurons = 0
        won_by = np.full(len(order), -1)
        for row in order:
            label_set = label_sets[set_of_row[row]]
            boxes, x = label_set.boxes, label_set.columns.dense(X, row)
            is_full = n_neurons >= bound
            box = boxes.winner(x, x, whatever_the_match=is_full)
            if box is not None:
                boxes.grow(box, x, x)
            elif is_full:
                continue
            else:
                box = boxes.found(x, x)
                label_set.neurons.append(n_neurons)
                n_neurons += 1
            won_by[row] = label_set.neurons[box]
        low = _in_order(label_sets, [s.columns.spread(s.boxes.low) for s in label_sets])
        high = _in_order(
            label_sets, [s.columns.spread(s.boxes.high) for s in label_sets]
        )
        return low, high, won_by

    def _keep(self, low, high):
        """Make the neurons ready for predicting."""
        self._boxes = Boxes(low, high)

    def _bytes_of_row(self):
        """About the memory that predicting a row takes."""
        return 50 * len(self.neuron_counts_)

    def _activation(self, X):
        """Activations of the neurons that are asked, CSR (n_rows, n_neurons)."""
        activation = self._boxes.activation(X)
        n_rows, n_neurons = activation.shape
        return csr_matrix(
            (
                activation.ravel(),
                np.tile(np.arange(n_neurons), n_rows),
                np.arange(n_rows + 1) * n_neurons,
            ),
            activation.shape,
        )

    def predict_proba(self, X):
        """The share of the voting neurons' training rows that have each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            In (0, 1). For a 1-D ``y`` (n_samples, n_classes), rows adding up to 1.
        """
        shares = self._shares(X)
        return self._labels.probabilities(shares)

    def _shares(self, X):
        check_is_fitted(self)
        X = self._validate_features(X, reset=False, dtype=FLOATS)
        chunk = get_chunk_n_rows(
            row_bytes=self._bytes_of_row(),
            max_n_rows=-(-X.shape[0] // effective_n_jobs(self.n_jobs)),
        )
        shares = Parallel(n_jobs=self.n_jobs, require="sharedmem")(
            delayed(self._vote)(X[rows]) for rows in gen_batches(X.shape[0], chunk)
        )
        return np.vstack(shares)

    def _vote(self, X):
        if self._is_sparse != issparse(X):
            X = csr_matrix(X) if self._is_sparse else X.toarray()
        votes = self._activation(self._range.transform(X))
        first, n_asked = votes.indptr[:-1], np.diff(votes.indptr)
        best = np.maximum.reduceat(votes.data, first)
        worst = np.minimum.reduceat(votes.data, first)
        least = best - self.threshold * (best - worst) * best
        # Neurons that are as active but for rounding vote alike.
        least -= 64 * np.finfo(X.dtype).eps * best
        silent = votes.data < np.repeat(least, n_asked)
        # No row is without votes, even where it meets no box at all.
        votes.data = (votes.data + ALPHA) * self.neuron_counts_[votes.indices]
        votes.data[silent] = 0
        votes.eliminate_zeros()
        shares = (votes @ self.neuron_labels_).toarray()
        return np.minimum(shares / np.asarray(votes.sum(axis=1)), 1)

    def predict(self, X):
        """The labels above the largest drop in their ranking.

        With one label, or a 1-D ``y``: those whose probability is at least 0.5, or the
        most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        {ndarray, CSR matrix} of shape (n_samples, n_labels)
            0 and 1, in the dtype of the ``y`` of :meth:`fit`, and sparse if that was.
            For a 1-D ``y`` (n_samples,), the classes.
        """
        shares = self._shares(X)
        if not self._labels.is_matrix_ or self._labels.n_labels_ == 1:
            return self._labels.decide(self._labels.probabilities(shares), 0.5)
        ranked = -np.sort(-shares, axis=1)
        drops = -np.diff(ranked, axis=1)
        # The first of the largest, whatever rounding has made of equal ones.
        largest = drops.max(axis=1, keepdims=True)
        last = (drops >= largest - SHARE_ATOL).argmax(axis=1)
        lowest = np.take_along_axis(ranked, last[:, None], axis=1) - SHARE_ATOL
        return self._labels.inverse_transform((shares >= lowest) & (shares > 0))


class _LabelSet:
    """The boxes of one label set, as they are learnt."""

    def __init__(self, columns, vigilance):
        self.columns = columns
        self.boxes = columns.layer(vigilance)
        self.neurons = []  # the number that each box has among all neurons


def _label_sets(X, Y, vigilance):
    """The label sets that occur, and the number of each row's."""
    numbers = {}
    set_of_row = np.empty(Y.shape[0], dtype=int)
    for row, (start, stop) in enumerate(zip(Y.indptr, Y.indptr[1:], strict=False)):
        labels = Y.indices[start:stop].tobytes()
        set_of_row[row] = numbers.setdefault(labels, len(numbers))
    by_set = np.split(
        np.argsort(set_of_row, kind="stable"), np.cumsum(np.bincount(set_of_row))[:-1]
    )
    return [_LabelSet(StoredColumns(X, rows), vigilance) for rows in by_set], set_of_row


def _in_order(label_sets, corners):
    """Corners by label set, in the order of the neurons."""
    neurons = np.concatenate([label_set.neurons for label_set in label_sets])
    stacked = vstack(corners, "csr") if issparse(corners[0]) else np.vstack(corners)
    return stacked[np.argsort(neurons)]
