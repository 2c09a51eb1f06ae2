"""The classifiers that people compare with: each a scikit-learn estimator."""

from skcgmvae.baselines.binary_relevance import BinaryRelevance
from skcgmvae.baselines.mlknn import MLkNN

__all__ = ["BinaryRelevance", "MLkNN"]
