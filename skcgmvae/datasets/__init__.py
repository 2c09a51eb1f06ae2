"""Data with several labels a row: a built-in set, files of your own, and OpenML."""

from skcgmvae.datasets._arff import load_arff
from skcgmvae.datasets._digits import load_digit_attributes
from skcgmvae.datasets._npz import load_npz
from skcgmvae.datasets._openml import fetch_multilabel
from skcgmvae.datasets._xmc import load_xmc

__all__ = [
    "fetch_multilabel",
    "load_arff",
    "load_digit_attributes",
    "load_npz",
    "load_xmc",
]
