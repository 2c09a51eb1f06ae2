"""The classifiers that people compare with: each a scikit-learn estimator."""

from skcgmvae.baselines.binary_relevance import BinaryRelevance
from skcgmvae.baselines.c2ae import C2AEClassifier
from skcgmvae.baselines.haram import HARAM
from skcgmvae.baselines.lamp import LaMPClassifier
from skcgmvae.baselines.mlaram import MLARAM
from skcgmvae.baselines.mlknn import MLkNN
from skcgmvae.baselines.mpvae import MPVAEClassifier
from skcgmvae.baselines.sleec import SLEECClassifier

__all__ = [
    "HARAM",
    "MLARAM",
    "BinaryRelevance",
    "C2AEClassifier",
    "LaMPClassifier",
    "MLkNN",
    "MPVAEClassifier",
    "SLEECClassifier",
]
