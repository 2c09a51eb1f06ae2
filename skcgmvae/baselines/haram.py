"""HARAM: MLARAM that asks only the neurons of the most active clusters."""

from numbers import Real

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.utils._param_validation import Interval

from skcgmvae._ranking import is_top_k
from skcgmvae.baselines._art import Boxes, StoredColumns
from skcgmvae.baselines.mlaram import MLARAM


class HARAM(MLARAM):
    """MLARAM with a second layer that finds the neurons worth asking.

    A second ART module clusters the neurons, again into boxes. A new row is compared
    with the clusters first, and then only with the neurons of those that it activates
    most. With many neurons, predicting takes a fraction of the time.

    Parameters
    ----------
    vigilance, threshold, max_neurons, shuffle, n_jobs, random_state
        As of :class:`MLARAM`.
    cluster_vigilance : float, default=0.7
        How much a neuron must have in common with a cluster to join it, in (0, 1].
        The higher, the smaller the clusters and the more of them.
    search : float, default=0.1
        Share of the clusters, in (0, 1], whose neurons are asked, at least one. With
        1 predictions are those of :class:`MLARAM`. It is read in predicting only.

    Attributes
    ----------
    neuron_clusters_ : ndarray of int of shape (n_neurons,)
        The cluster of each neuron, from 0.
    neuron_labels_, neuron_counts_, n_rows_left_out_
        As of :class:`MLARAM`.
    classes_, label_names_in_, n_features_in_, feature_names_in_
        As of :class:`MLARAM`.

    See Also
    --------
    MLARAM : All neurons are asked.

    References
    ----------
    Benites and Sapozhnikova, "HARAM: a hierarchical ARAM neural network for large-scale
    text classification", ICDM Workshops 2015.

    Examples
    --------
    >>> from skcgmvae.baselines import HARAM
    >>> from skcgmvae.datasets import load_digit_attributes
    >>> X, Y = load_digit_attributes(return_X_y=True)
    >>> clf = HARAM(search=0.2).fit(X[:1000], Y[:1000])
    >>> clf.predict_proba(X[1000:]).shape
    (797, 7)
    """

    _parameter_constraints = {
        **MLARAM._parameter_constraints,
        "cluster_vigilance": [Interval(Real, 0, 1, closed="right")],
        "search": [Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        vigilance=0.9,
        threshold=0.02,
        *,
        cluster_vigilance=0.7,
        search=0.1,
        max_neurons=None,
        shuffle=False,
        n_jobs=None,
        random_state=None,
    ):
        super().__init__(
            vigilance,
            threshold,
            max_neurons=max_neurons,
            shuffle=shuffle,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.cluster_vigilance = cluster_vigilance
        self.search = search

    def _keep(self, low, high):
        columns = StoredColumns(high)
        layer = columns.layer(self.cluster_vigilance)
        self.neuron_clusters_ = np.empty(low.shape[0], dtype=int)
        for neuron in range(low.shape[0]):
            corners = columns.dense(low, neuron), columns.dense(high, neuron)
            cluster = layer.winner(*corners)
            if cluster is None:
                cluster = layer.found(*corners)
            else:
                layer.grow(cluster, *corners)
            self.neuron_clusters_[neuron] = cluster
        self._clusters = Boxes(columns.spread(layer.low), columns.spread(layer.high))
        self._members = [
            np.flatnonzero(self.neuron_clusters_ == cluster)
            for cluster in range(layer.n_boxes)
        ]
        self._boxes = [Boxes(low[members], high[members]) for members in self._members]

    def _bytes_of_row(self):
        n_clusters, n_neurons = len(self._members), len(self.neuron_counts_)
        return 50 * (n_clusters + self.search * n_neurons)

    def _activation(self, X):
        asked = self._asked_clusters(X)
        # Where the neurons of each asked cluster are stored, row by row.
        sizes = np.where(asked, [len(members) for members in self._members], 0)
        first = np.cumsum(sizes, axis=1) - sizes
        indptr = np.append(0, np.cumsum(sizes.sum(axis=1)))
        first += indptr[:-1, None]
        data = np.empty(indptr[-1])
        neurons = np.empty(indptr[-1], dtype=int)
        for cluster, (boxes, members) in enumerate(
            zip(self._boxes, self._members, strict=True)
        ):
            rows = np.flatnonzero(asked[:, cluster])
            if len(rows):
                place = first[rows, cluster, None] + np.arange(len(members))
                data[place] = boxes.activation(X[rows])
                neurons[place] = members
        return csr_matrix(
            (data, neurons, indptr), (X.shape[0], len(self.neuron_counts_))
        )

    def _asked_clusters(self, X):
        """Whether each row asks the neurons of a cluster, (n_rows, n_clusters)."""
        activation = self._clusters.activation(X)
        n_asked = max(1, round(self.search * activation.shape[1]))
        # Of clusters that are level, as where a row is inside of several: the oldest.
        return is_top_k(activation, n_asked)
