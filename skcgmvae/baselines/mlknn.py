"""MLkNN: what the labels of the nearest neighbours say, by Bayes' rule."""

from numbers import Integral, Real

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn.base import _fit_context
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skcgmvae._multilabel import MultiLabelClassifier

# The squares of larger numbers, added up over the features, may overflow.
LARGEST = 1e150


class MLkNN(MultiLabelClassifier):
    """Multi-label k nearest neighbours.

    How many of the k nearest training rows have a label is an observation; Bayes' rule
    turns it into the probability that a row has the label itself. Prior and
    likelihoods are counted on the training rows, label by label.

    Parameters
    ----------
    k : int, default=10
        Neighbours looked at, at most the number of training rows (one less with
        ``exclude_self``).
    s : float, default=1.0
        Smoothing, greater than 0: counts start at ``s`` instead of 0.
    exclude_self : bool, default=False
        Whether the likelihoods are counted on the neighbours of a training row
        without the row itself, as in the paper, and as it will be for new rows. False
        counts a row as its own first neighbour, as scikit-multilearn does: more
        labels are predicted at 0.5, and the probabilities are less well calibrated.
    metric : str or callable, default="minkowski"
        Distance, as in :class:`sklearn.neighbors.NearestNeighbors`; the default is
        Euclidean.
    algorithm : {"auto", "ball_tree", "kd_tree", "brute"}, default="auto"
        How neighbours are found.
    n_jobs : int, default=None
        Parallel jobs of the search for neighbours. None: 1, unless in a
        :obj:`joblib.parallel_backend` context; -1: one a processor.

    Attributes
    ----------
    prior_ : ndarray of shape (n_labels,)
        P(H_l), the smoothed frequency of each label.
    posterior_ : ndarray of shape (n_labels, k + 1)
        P(H_l | C_l = c), the probability of each label where c neighbours have it.
    neighbors_ : NearestNeighbors
        The index of the training rows.
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
    sklearn.neighbors.KNeighborsClassifier : The share of neighbours that have a label.
    skcgmvae.TunedThresholdClassifier : Choose the thresholds of any classifier.

    Notes
    -----
    Distances are taken on the features as they are: scale them first, unless they are
    of one kind. Rows are worked on in chunks whose intermediate results keep to
    scikit-learn's ``working_memory``.

    scikit-multilearn's ``ignore_first_neighbours=1`` leaves a training row out of its
    own neighbours too, but also drops the nearest neighbour of a new row;
    ``exclude_self`` does the former alone.

    References
    ----------
    Zhang and Zhou, "ML-KNN: a lazy learning approach to multi-label learning", Pattern
    Recognition 40(7), 2007, equations (3) to (6).

    Examples
    --------
    >>> from skcgmvae.baselines import MLkNN
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = MLkNN(k=5).fit(X[:1000], Y[:1000])
    >>> clf.predict_proba(X[1000:]).shape
    (797, 7)
    >>> clf.posterior_.shape
    (7, 6)
    """

    _parameter_constraints = {
        "k": [Interval(Integral, 1, None, closed="left")],
        "s": [Interval(Real, 0, None, closed="neither")],
        "exclude_self": ["boolean"],
        "metric": [str, callable],
        "algorithm": [StrOptions({"auto", "ball_tree", "kd_tree", "brute"})],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        k=10,
        s=1.0,
        *,
        exclude_self=False,
        metric="minkowski",
        algorithm="auto",
        n_jobs=None,
    ):
        self.k = k
        self.s = s
        self.exclude_self = exclude_self
        self.metric = metric
        self.algorithm = algorithm
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Index the rows, and count how labels go with those of their neighbours.

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

        Raises
        ------
        ValueError
            If there are fewer than ``k`` neighbours to look at, or values of ``X`` are
            so large that distances would overflow.
        """
        X = self._features(X)
        Y = csr_matrix(self._encode_labels(self._check_targets(X, y)))
        n_neighbours = X.shape[0] - self.exclude_self
        if self.k > n_neighbours:
            raise ValueError(
                f"k={self.k} neighbours were asked for, but each of the "
                f"n_samples = {X.shape[0]} training rows has {n_neighbours}"
                f"{' besides itself' if self.exclude_self else ', itself included'}."
            )
        self.neighbors_ = NearestNeighbors(
            n_neighbors=self.k,
            metric=self.metric,
            algorithm=self.algorithm,
            n_jobs=self.n_jobs,
        ).fit(X)
        self._is_sparse = issparse(X)
        self._Y = Y
        positive, overall = self._count(X)
        self.prior_ = (self.s + positive.sum(axis=1)) / (2 * self.s + X.shape[0])
        joint = self.prior_[:, None] * self._likelihood(positive)
        joint_not = (1 - self.prior_[:, None]) * self._likelihood(overall - positive)
        self.posterior_ = joint / (joint + joint_not)
        return self

    def _features(self, X, **checks):
        """``X`` in float64, in whose range distances have to be."""
        X = self._validate_features(X, dtype=np.float64, **checks)
        largest = max(abs(float(X.min())), abs(float(X.max())))
        if largest > LARGEST:
            raise ValueError(
                f"X holds values up to {largest:.3g}, too large for distances; scale "
                f"X to at most {LARGEST:g}."
            )
        return X

    def _count(self, X):
        """How many rows have c neighbours with a label: those that have it, and all.

        Two arrays of shape (n_labels, k + 1).
        """
        n_labels, bins = self._Y.shape[1], self.k + 1
        positive = np.zeros(n_labels * bins)
        overall = np.zeros(n_labels * bins)
        for rows, index in self._neighbours(X, of_itself=True):
            among = self._labels_among(index)
            # One bin a label and count. Where no neighbour has a label nothing is
            # stored: those rows are what is missing in the end.
            overall += np.bincount(
                among.indices * bins + among.data, minlength=len(overall)
            )
            own = among.multiply(self._Y[rows]).tocsr()
            positive += np.bincount(
                own.indices * bins + own.data, minlength=len(positive)
            )
        positive, overall = positive.reshape(-1, bins), overall.reshape(-1, bins)
        having = np.bincount(self._Y.indices, minlength=n_labels)
        positive[:, 0] = having - positive.sum(axis=1)
        overall[:, 0] = X.shape[0] - overall.sum(axis=1)
        return positive, overall

    def _likelihood(self, counts):
        """P(C_l = c | H_l), equation (6), from the counts of rows."""
        n_bins = self.k + 1
        return (self.s + counts) / (self.s * n_bins + counts.sum(axis=1, keepdims=True))

    def _neighbours(self, X, of_itself=False):
        """Slices of rows, each with its rows' neighbours (n_rows, k)."""
        n_samples, (n_fitted, n_labels) = X.shape[0], self._Y.shape
        # The search among sparse rows holds all distances, and a number for each.
        held = n_labels + self.k + (n_fitted if issparse(X) else 0)
        chunk = get_chunk_n_rows(row_bytes=16 * held)
        for rows in gen_batches(n_samples, chunk):
            extra = int(of_itself and self.exclude_self)
            part = X[rows]
            if issparse(part) and not self._is_sparse:
                part = part.toarray()  # trees know dense rows only
            index = self.neighbors_.kneighbors(
                part, self.k + extra, return_distance=False
            )
            if extra:
                index = _without_itself(index, np.arange(n_samples)[rows])
            yield rows, index

    def _labels_among(self, index):
        """How many of the neighbours have each label, CSR (n_rows, n_labels)."""
        n_rows, k = index.shape
        picks = csr_matrix(
            (
                np.ones(index.size, dtype=np.int64),
                index.ravel(),
                np.arange(n_rows + 1) * k,
            ),
            shape=(n_rows, self._Y.shape[0]),
        )
        return picks @ self._Y

    def predict_proba(self, X):
        """The probability of each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            In (0, 1). For a 1-D ``y`` (n_samples, n_classes), rows adding up to 1.
        """
        check_is_fitted(self)
        X = self._features(X, reset=False)
        probabilities = np.empty((X.shape[0], self._Y.shape[1]))
        for rows, index in self._neighbours(X):
            among = self._labels_among(index).tocoo()
            chunk = probabilities[rows]
            chunk[:] = self.posterior_[:, 0]
            chunk[among.row, among.col] = self.posterior_[among.col, among.data]
        return self._labels.probabilities(probabilities)


def _without_itself(index, itself):
    """Drop each row's own number; the last where ties have crowded it out."""
    drop = index == itself[:, None]
    drop[~drop.any(axis=1), -1] = True
    return index[~drop].reshape(len(index), -1)
