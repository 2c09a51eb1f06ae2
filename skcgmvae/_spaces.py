"""What a C-GMVAE has learnt: where rows and labels lie in its two spaces."""

import math

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skcgmvae._layers import side_by_side
from skcgmvae._memory import explain_out_of_memory, in_predicting


class LearntSpaces(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Mixin of a classifier whose network is a :class:`~skcgmvae._network.CGMVAE`.

    Rows and labels lie in the latent space, and as embeddings in the space where they
    are compared. Of an ensemble, the dimensions of all members are there, side by side.
    """

    def transform(self, X):
        """The posterior mean of q(z|x) of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_members * latent_dim), float32
            Those of the members side by side.
        """
        return self._apply(X, "encode")

    def embed(self, X):
        """The feature embedding w_x of each row, in the space of the labels'.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_members * embedding_dim), float32
            Its product with ``label_embeddings_.T`` gives the network's logits, summed
            over the members. ``decision_function`` multiplies each member's by
            ``logit_scale_[0]``, and adds the linear path's and ``logit_shift_``, if
            rows were held out.
        """
        return self._apply(X, "embed")

    @explain_out_of_memory(in_predicting)
    def _apply(self, X, method):
        """A method of the network on the rows of ``X``; the members side by side."""
        scaled = self._scaled(X)
        function = getattr(self.net_.module_, method)
        return self.net_.apply(scaled, lambda x: side_by_side(function(x)))

    def label_similarity(self, *, cosine=False):
        """The inner products of the label embeddings, without the diagonal.

        Figure 3 of the paper: labels that occur together lie close together.

        Parameters
        ----------
        cosine : bool, default=False
            Divide by the norms, which gives values in [-1, 1].

        Returns
        -------
        ndarray of shape (n_labels, n_labels)
            Symmetric, 0 on the diagonal.
        """
        embeddings = self.label_embeddings_.astype(np.float64)
        if cosine:
            norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
            embeddings = embeddings / np.where(norms > 0, norms, 1)
        similarity = embeddings @ embeddings.T
        np.fill_diagonal(similarity, 0)
        return similarity

    @property
    def label_embeddings_(self):
        """The label embeddings w_l, (n_labels, n_members * embedding_dim)."""
        check_is_fitted(self)
        embeddings = side_by_side(self.net_.module_.label_embedding.detach())
        return embeddings.cpu().numpy().copy()

    @property
    def label_means_(self):
        """The means of the labels' Gaussians, (n_labels, n_members * latent_dim)."""
        return self._label_gaussians()[0]

    @property
    def label_variances_(self):
        """The variances of the labels' Gaussians, of the shape of their means."""
        return np.exp(self._label_gaussians()[1])

    def _label_gaussians(self):
        check_is_fitted(self)
        if self.net_.module_.label_encoder is None:
            raise AttributeError(
                f"With prior={self.prior!r} labels have no Gaussians; they have with "
                "prior='mixture' or label_branch=True."
            )
        with torch.inference_mode():
            gaussians = self.net_.module_.label_gaussians()
        return [side_by_side(part).cpu().numpy() for part in gaussians]

    @property
    def _n_features_out(self):
        check_is_fitted(self)
        module = self.net_.module_
        return module.feature_encoder.head.latent_dim * math.prod(module.members)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32 always
        return tags
