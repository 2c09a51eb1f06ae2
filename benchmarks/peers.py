"""Classifiers of scikit-multilearn-ng, so that they can be measured like ours."""

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn.base import BaseEstimator, ClassifierMixin


class Peer(ClassifierMixin, BaseEstimator):
    """A classifier of ``skmultilearn.adapt`` by name, with what it returns made dense.

    What MLARAM calls probabilities can be greater than 1.
    """

    def __init__(self, name):
        self.name = name

    def fit(self, X, Y):
        from skmultilearn import adapt  # slow to import

        # MLARAM writes into the labels that it is given, and MLkNN wants them sparse.
        Y = csr_matrix(Y, dtype=int)
        Y = Y if self.name == "MLkNN" else Y.toarray()
        self.model_ = getattr(adapt, self.name)().fit(X, Y)
        return self

    def predict(self, X):
        return _dense(self.model_.predict(X)).astype(int)

    def predict_proba(self, X):
        return _dense(self.model_.predict_proba(X))


def _dense(matrix):
    return matrix.toarray() if issparse(matrix) else np.asarray(matrix)
