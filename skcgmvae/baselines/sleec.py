"""SLEEC: neighbours in embeddings that keep the inner products of label vectors."""

import warnings
from numbers import Integral, Real

import numpy as np
from joblib import effective_n_jobs
from scipy.sparse import csr_matrix, hstack
from sklearn.base import _fit_context
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Ridge
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from skcgmvae._multilabel import MultiLabelClassifier
from skcgmvae.baselines._projection import (
    nearest_label_products,
    singular_value_projection,
)

ROWS_OF_A_CLUSTER = 6000


class SLEECClassifier(MultiLabelClassifier):
    """Sparse local embeddings for extreme multi-label classification.

    The training rows are split into clusters. In each, rows get embeddings whose inner
    products are those of their label vectors, for the nearest label vectors only, and
    a linear map takes features to embeddings. A new row is mapped by the cluster that
    it is nearest to, and has the labels of its nearest neighbours there. Several such
    models, over different clusterings, are averaged.

    Parameters
    ----------
    n_components : int, default=50
        Dimension of the embeddings; at most the number of rows in a cluster is used.
    n_neighbors : int, default=15
        Neighbours of a new row whose labels are averaged; at most its whole cluster.
    n_label_neighbors : int, default=50
        Nearest label vectors of each row, itself included, whose inner products with
        its own are kept (n-bar in the paper); at most those of its whole cluster.
    n_clusters : int, default=None
        None: one for each 6,000 training rows, rounded up.
    n_estimators : int, default=5
        Models that are averaged, each of a clustering of its own.
    alpha : float, default=1.0
        Penalty of the linear map (lambda in the paper), greater than 0, in units of
        the total variance of the features in the cluster.
    l1_ratio : float, default=0.0
        Share of the L1 norm in the penalty, in [0, 1], as in
        :class:`sklearn.linear_model.ElasticNet`. Above 0 the map is sparse; at 0 it
        is a ridge regression, which is the quicker to fit.
    metric : {"cosine", "euclidean"}, default="cosine"
        Distance between embeddings.
    max_iter : int, default=30
        Most steps of the singular value projection.
    tol : float, default=0.01
        It ends where a step makes the root mean square error of the inner products
        fall by less than this share of the one it began with.
    n_jobs : int, default=None
        Models that are fitted in parallel, and threads that predict. None: 1, unless
        in a :obj:`joblib.parallel_backend` context; -1: one a processor.
    random_state : int, RandomState instance or None, default=None
        Draws the first centres of the clusters, and the nearest label vectors among
        those that are equally near.

    Attributes
    ----------
    estimators_ : list of n_estimators models
        Each with ``centers_`` (n_clusters, n_features), and in ``embeddings_``, for
        each cluster, ``coef_``, ``intercept_`` and the mapped rows ``embedding_``.
    n_iter_ : int
        Steps of the longest singular value projection.
    classes_, label_names_in_, n_features_in_, feature_names_in_
        As of :class:`MLkNN`.

    See Also
    --------
    MLkNN : Neighbours in the space of the features.
    skcgmvae.TunedThresholdClassifier : Choose the thresholds of any classifier.

    Notes
    -----
    Features are used as they are: scale them first, unless they are of one kind.
    Multiplying all of them by one number changes nothing.

    The paper's L1 penalty is on the mapped rows, by ADMM; here it is on the map, which
    is what is large where there are many features, by scikit-learn's solver. Of label
    vectors that are equally near, which are many where rows have few labels, those
    that are kept are drawn. Rows without labels share one of their own.

    Rows by rows is a dense matrix in chunks only, by scikit-learn's ``working_memory``.

    References
    ----------
    Bhatia, Jain, Kar, Varma and Jain, "Sparse local embeddings for extreme multi-label
    classification", NIPS 2015, algorithms 1 to 3.

    Examples
    --------
    >>> from skcgmvae.baselines import SLEECClassifier
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = SLEECClassifier(n_estimators=1, random_state=0).fit(X[:1000], Y[:1000])
    >>> clf.predict_proba(X[1000:]).shape
    (797, 7)
    """

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_label_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "metric": [StrOptions({"cosine", "euclidean"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=50,
        n_neighbors=15,
        *,
        n_label_neighbors=50,
        n_clusters=None,
        n_estimators=5,
        alpha=1.0,
        l1_ratio=0.0,
        metric="cosine",
        max_iter=30,
        tol=0.01,
        n_jobs=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.n_label_neighbors = n_label_neighbors
        self.n_clusters = n_clusters
        self.n_estimators = n_estimators
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.metric = metric
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Cluster the rows, and learn embeddings and maps to them.

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
        X = self._validate_features(X, dtype=np.float64)
        Y = csr_matrix(self._encode_labels(self._check_targets(X, y)), dtype=np.float32)
        n_clusters = self.n_clusters or -(-X.shape[0] // ROWS_OF_A_CLUSTER)
        if n_clusters > X.shape[0]:
            raise ValueError(
                f"n_clusters={n_clusters} clusters were asked for, but there are "
                f"n_samples = {X.shape[0]} training rows."
            )
        seeds = check_random_state(self.random_state).randint(
            np.iinfo(np.int32).max, size=self.n_estimators
        )
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(Clustering().fit)(X, Y, n_clusters, seed, self.get_params())
            for seed in seeds
        )
        parts = [part for one in self.estimators_ for part in one.embeddings_]
        self.n_iter_ = max(part.n_iter_ for part in parts)
        n_unfinished = sum(not part.converged_ for part in parts)
        if n_unfinished:
            warnings.warn(
                f"{n_unfinished} of {len(parts)} singular value projections did not "
                f"converge within max_iter={self.max_iter} steps; raise max_iter or "
                f"tol={self.tol}.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict_proba(self, X):
        """The share of the neighbours that have each label, over all models.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            In (0, 1). For a 1-D ``y`` (n_samples, n_classes), rows adding up to 1.
        """
        check_is_fitted(self)
        X = self._validate_features(X, reset=False, dtype=np.float64)
        n_samples, n_labels = X.shape[0], self._labels.n_labels_
        chunk = get_chunk_n_rows(
            row_bytes=16 * (n_labels + self.n_components + self.n_neighbors),
            max_n_rows=-(-n_samples // effective_n_jobs(self.n_jobs)),
        )
        shares = np.zeros((n_samples, n_labels))

        def add(rows):
            for model in self.estimators_:
                model.add_shares(X[rows], shares[rows])

        Parallel(n_jobs=self.n_jobs, require="sharedmem")(
            delayed(add)(rows) for rows in gen_batches(n_samples, chunk)
        )
        return self._labels.probabilities(shares / self.n_estimators)


class Clustering:
    """Clusters of rows, with embeddings of their own."""

    def fit(self, X, Y, n_clusters, seed, parameters):
        """Cluster the rows, and embed those of each; the estimator's parameters."""
        rng = np.random.RandomState(seed)
        kmeans = KMeans(n_clusters, n_init=1, random_state=rng).fit(X)
        # Where rows are the same there may be too few to fill all clusters.
        filled = np.unique(kmeans.labels_)
        self.centers_ = kmeans.cluster_centers_[filled]
        rows_of = (np.flatnonzero(kmeans.labels_ == cluster) for cluster in filled)
        self.embeddings_ = [
            LocalEmbedding().fit(X[rows], Y[rows], rng, parameters) for rows in rows_of
        ]
        return self

    def add_shares(self, X, shares):
        """Add to each row, in place, the share of its neighbours that have a label."""
        nearest = pairwise_distances_argmin(X, self.centers_)
        for cluster in np.unique(nearest):
            rows = np.flatnonzero(nearest == cluster)
            part = self.embeddings_[cluster].shares(X[rows]).tocoo()
            shares[rows[part.row], part.col] += part.data


class LocalEmbedding:
    """Embeddings of the rows of one cluster, and the map to them."""

    def fit(self, X, Y, rng, p):
        """Embed the rows by their labels, and map their features there."""
        # Inner products say nothing of rows without labels: these share one of theirs.
        without = np.diff(Y.indptr)[:, None] == 0
        embedded = hstack([Y, without], "csr", np.float32)
        targets, self.n_iter_, self.converged_ = singular_value_projection(
            nearest_label_products(embedded, p["n_label_neighbors"], rng),
            p["n_components"],
            p["max_iter"],
            p["tol"],
            rng,
        )
        # Not centred, which would make a dense matrix and does not change the variance.
        scale = np.sqrt(StandardScaler(with_mean=False).fit(X).var_.sum()) or 1.0
        alpha, l1_ratio = p["alpha"], p["l1_ratio"]
        elastic_net = ElasticNet(alpha / X.shape[0], l1_ratio=l1_ratio)
        linear = (elastic_net if l1_ratio else Ridge(alpha)).fit(X / scale, targets)
        coef = linear.coef_.reshape(targets.shape[1], -1).T / scale
        self.coef_ = csr_matrix(coef) if l1_ratio else coef
        self.intercept_ = linear.intercept_
        self._is_normed = p["metric"] == "cosine"
        self.embedding_ = self.transform(X)
        n_neighbors = min(p["n_neighbors"], X.shape[0])
        self._neighbors = NearestNeighbors(n_neighbors=n_neighbors)
        self._neighbors.fit(self.embedding_)
        self._Y = Y
        return self

    def transform(self, X):
        """Rows as embeddings, of length 1 where their angles are compared."""
        embedded = safe_sparse_dot(X, self.coef_, dense_output=True) + self.intercept_
        return normalize(embedded) if self._is_normed else embedded

    def shares(self, X):
        """The share of the neighbours that have each label, CSR (n_rows, n_labels)."""
        index = self._neighbors.kneighbors(self.transform(X), return_distance=False)
        n_rows, k = index.shape
        shape = n_rows, self._Y.shape[0]
        picks = np.full(index.size, 1 / k), index.ravel(), np.arange(n_rows + 1) * k
        return csr_matrix(picks, shape) @ self._Y
