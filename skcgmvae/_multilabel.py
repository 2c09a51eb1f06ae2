"""What every multi-label classifier of this package shares: the door in and out."""

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_consistent_length, validate_data

from skcgmvae._errors import naming
from skcgmvae._labels import LabelCoder


class MultiLabelClassifier(ClassifierMixin, BaseEstimator):
    """Base of all classifiers that learn from a label matrix or a 1-D ``y``.

    A subclass calls :meth:`_validate_features` and :meth:`_encode_labels` at the
    beginning of ``fit``, and works on a 0/1 matrix from there on. It defines
    ``predict_proba``; :meth:`predict` follows, in the kind of the ``Y`` of the fit.
    """

    _doc_link_module = "skcgmvae"
    _doc_link_template = (
        "https://skcgmvae.readthedocs.io/en/latest/api.html"
        "#{estimator_module}.{estimator_name}"
    )

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
        probabilities = self.predict_proba(X)
        return self._labels.decide(probabilities, 0.5)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags


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
