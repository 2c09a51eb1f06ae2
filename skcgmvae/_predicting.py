"""The way back of a neural estimator: logits become probabilities, these labels."""

import numpy as np
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from skcgmvae._batches import Streamed
from skcgmvae._calibration import Calibration
from skcgmvae._memory import explain_out_of_memory, in_predicting
from skcgmvae._multilabel import MultiLabelClassifier, check_threshold


class PredictsFromLogits(MultiLabelClassifier):
    """Base of classifiers whose fit sets a trained net, ``net_``.

    And beside it ``_scaler`` for its rows, ``logit_scale_`` and ``logit_shift_``, both
    None without a calibration. ``threshold`` is a parameter.
    """

    @explain_out_of_memory(in_predicting)
    def _map_logits(self, X, function):
        """What a function makes of calibrated logits, a list with a few rows each."""
        X = self._scaled(X)
        calibration = None
        if self.logit_scale_ is not None:
            calibration = Calibration(self.logit_scale_, self.logit_shift_)
        return list(map(function, self.net_.logits_by_rows(X, calibration)))

    def _scaled(self, X):
        """Validated rows, as the network takes them, scaled chunk by chunk."""
        check_is_fitted(self, "net_")
        X = self._validate_features(X, reset=False)
        return Streamed(X, self._scaler)

    def decision_function(self, X):
        """The logit of each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            Natural log-odds. For a 1-D ``y`` of two classes (n_samples,), of more
            (n_samples, n_classes).
        """
        logits = np.concatenate(self._map_logits(X, np.asarray))
        return (
            logits if self._labels.is_matrix_ or logits.shape[1] > 1 else logits[:, 0]
        )

    def predict_proba(self, X):
        """The probability of each label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            Strictly between 0 and 1. For a 1-D ``y`` (n_samples, n_classes), rows
            adding up to 1.
        """
        return np.concatenate(self._map_probabilities(X, np.asarray))

    def _map_probabilities(self, X, function):
        def of_logits(logits):
            return function(self._labels.probabilities(expit(logits)))

        return self._map_logits(X, of_logits)

    def predict(self, X):
        """The labels whose probability reaches ``threshold``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        {ndarray, CSR matrix} of shape (n_samples, n_labels)
            0 and 1, in the dtype of the ``y`` of :meth:`fit`, and sparse if that was.
            For a 1-D ``y`` (n_samples,), the classes.
        """
        check_is_fitted(self, "net_")
        return self._predict(X, check_threshold(self.threshold, self._labels))

    @property
    def history_(self):
        """Losses by epoch, a :class:`skorch.history.History`."""
        check_is_fitted(self, "net_")
        return self.net_.history

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")
