"""What every multi-label classifier of this package shares: the door in and out."""

from numbers import Integral

import numpy as np
from scipy.sparse import issparse, vstack
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skcgmvae._errors import naming
from skcgmvae._labels import LabelCoder
from skcgmvae._ranking import is_top_k


class MultiLabelClassifier(ClassifierMixin, BaseEstimator):
    """Base of all classifiers that learn from a label matrix or a 1-D ``y``.

    A subclass calls :meth:`_validate_features` and :meth:`_encode_labels` at the
    beginning of ``fit``, and works on a 0/1 matrix from there on. It defines
    ``predict_proba``; :meth:`predict` follows, in the kind of the ``Y`` of the fit.
    """

    def _validate_features(self, X, dtype="numeric", **checks):
        """``X`` as an ndarray or a CSR matrix without duplicate or zero entries."""
        # Infinities of both signs have no sum; they are told of without it.
        with naming("X"), np.errstate(invalid="ignore"):
            X = validate_data(self, X, accept_sparse="csr", dtype=dtype, **checks)
        if issparse(X) and not (X.has_canonical_format and X.data.all()):
            X = X.copy()  # it may be the caller's
            X.sum_duplicates()
            X.eliminate_zeros()
        if issparse(X) and X.dtype == bool:
            # scikit-learn forgets to convert a sparse DataFrame of them.
            X = X.astype(np.float64)
        return X

    def _check_targets(self, X, Y):
        """``Y``, there at all and as long as ``X``, in a form that can be indexed."""
        if X is None:
            raise ValueError(f"{type(self).__name__} requires X, but it is None.")
        if Y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        Y = Y.tocsr() if issparse(Y) else Y
        with naming("X and Y"):
            check_consistent_length(X, Y)
        return Y

    def _encode_labels(self, Y, classes=None, copy=True):
        """``Y`` as a 0/1 matrix (n_samples, n_labels); its kind and names are kept.

        A classifier that keeps the matrix takes a copy.
        """
        labels = LabelCoder(classes)
        encoded = labels.fit_transform(Y, copy)
        self._keep_labels(labels)
        return encoded

    def _keep_labels(self, labels):
        """Keep a fitted LabelCoder, and what of it is public."""
        vars(self).pop("label_names_in_", None)
        self._labels = labels
        self.classes_ = labels.classes_
        if labels.label_names_ is not None:
            self.label_names_in_ = labels.label_names_

    def predict(self, X):
        """The labels whose probability is at least 0.5.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        {ndarray, CSR matrix} of shape (n_samples, n_labels)
            0 and 1, in the dtype of the ``y`` of :meth:`fit`, and sparse if that was.
            For a 1-D ``y`` (n_samples,), the classes.
        """
        return self._predict(X, 0.5)

    def _predict(self, X, threshold):
        """The targets of the rows, decided on part by part."""
        parts = self._map_probabilities(
            X, lambda part: self._labels.decide(part, threshold)
        )
        return vstack(parts, format="csr") if issparse(parts[0]) else _joined(parts)

    def _map_probabilities(self, X, function):
        """What a function makes of ``predict_proba``, a list with a part of rows each.

        Here of all rows at once. A subclass that need not hold the probabilities of all
        rows and labels together makes parts of it.
        """
        return [function(self.predict_proba(X))]

    def predict_top_k(self, X, k):
        """The most probable labels of each row, and their probabilities.

        For label matrices of many labels: what is returned has ``k`` columns, however
        many labels there are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        k : int
            How many labels, from 1 to all.

        Returns
        -------
        labels : ndarray of shape (n_samples, k)
            Values of ``classes_``, the most probable first: for a label matrix its
            column numbers, for a 1-D ``y`` classes. Of equal probabilities, that which
            comes first in ``classes_`` comes first.
        probabilities : ndarray of shape (n_samples, k)
            What :meth:`predict_proba` says of these.

        Raises
        ------
        ValueError
            If there are no ``k`` labels.

        Examples
        --------
        >>> from skcgmvae.baselines import MLkNN
        >>> from skcgmvae.datasets import load_digit_attributes
        >>> X, Y = load_digit_attributes(return_X_y=True)
        >>> clf = MLkNN().fit(X[:1000], Y[:1000])
        >>> labels, probabilities = clf.predict_top_k(X[1000:1002], k=3)
        >>> labels
        array([[0, 3, 2],
               [3, 2, 0]])
        >>> probabilities[1].round(3)
        array([0.997, 0.997, 0.002])
        """
        check_is_fitted(self)
        n_classes = len(self.classes_)
        if not isinstance(k, Integral) or not 1 <= k <= n_classes:
            raise ValueError(
                f"k must be a whole number from 1 to {n_classes}, the number of "
                f"labels; got {k!r}."
            )
        parts = self._map_probabilities(X, lambda part: _top_k(part, k))
        columns, probabilities = map(_joined, zip(*parts, strict=True))
        return self.classes_[columns], probabilities

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags


def _joined(parts):
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _top_k(probabilities, k):
    """The columns of the k largest in each row, and these; of equal ones the first."""
    columns = is_top_k(probabilities, k).nonzero()[1].reshape(-1, k)
    values = np.take_along_axis(probabilities, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return tuple(np.take_along_axis(a, order, axis=1) for a in (columns, values))


def check_threshold(threshold, labels):
    """``threshold`` as a number or an array (n_labels,), in [0, 1].

    Parameters
    ----------
    threshold : float or array-like
    labels : LabelCoder
    """
    try:
        checked = np.asarray(threshold, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"threshold must be a number or one a label, in [0, 1]; got {threshold!r}."
        ) from error
    if checked.ndim and checked.shape != (labels.n_labels_,):
        raise ValueError(
            f"threshold must be a number or one a label, shape "
            f"({labels.n_labels_},); got an array of shape {checked.shape}."
        )
    if labels.is_multiclass_ and (checked.ndim or checked != 0.5):
        raise ValueError(
            f"threshold={threshold!r} has no meaning for a multiclass y, whose "
            "prediction is the most probable class; leave it at 0.5."
        )
    if not ((checked >= 0) & (checked <= 1)).all():
        raise ValueError(f"threshold must lie in [0, 1]; got {threshold!r}.")
    return checked
