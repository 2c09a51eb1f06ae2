"""Small estimators and data for the tests."""

import os

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.datasets import make_multilabel_classification

from skcgmvae import CGMVAEClassifier
from skcgmvae._batches import Rows
from skcgmvae._layers import SparseRows

# Where most tests train.
DEVICE = os.environ.get("SKCGMVAE_TEST_DEVICE", "cpu")

SMALL = {
    "latent_dim": 8,
    "embedding_dim": 16,
    "encoder_layer_sizes": (32,),
    "label_encoder_layer_sizes": (16,),
    "decoder_layer_sizes": (32,),
    "lr": 1e-2,
    "max_iter": 5,
    "min_steps_per_epoch": 5,
    "random_state": 0,
    "n_members": 1,
    "device": DEVICE,
}


def small(**parameters):
    """An estimator that trains in a tenth of a second."""
    return CGMVAEClassifier(**(SMALL | parameters))


def toy(n_samples=200, n_features=12, n_labels=5, random_state=0):
    """Features on several scales and a label matrix with empty rows."""
    X, Y = make_multilabel_classification(
        n_samples, n_features, n_classes=n_labels, random_state=random_state
    )
    return X * np.logspace(-2, 2, n_features), Y


def as_its_network_sees(clf, X):
    """The rows as a fitted estimator hands them to its network."""
    return Rows(clf._scaled(X)).take(torch.arange(X.shape[0]))[0]["x"]


def is_trained(name):
    """Whether a parameter has a gradient, and is not only kept with those that have."""
    return ".min_std." not in name and not name.endswith(".log_factor")


def as_sparse(x):
    """Rows (..., B, D) as SparseRows."""
    *members, _, n_features = x.shape
    matrix = sp.csr_matrix(x.reshape(-1, n_features).numpy())
    return SparseRows(
        torch.from_numpy(matrix.indices).long(),
        torch.from_numpy(matrix.indptr[:-1]).long(),
        torch.from_numpy(matrix.data),
        tuple(members),
    )
