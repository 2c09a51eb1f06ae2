"""Multi-label classification the scikit-learn way."""

from skcgmvae._classifier import CGMVAEClassifier
from skcgmvae._configurations import paper_configuration
from skcgmvae._thresholds import TunedThresholdClassifier

__version__ = "0.1.0"

__all__ = ["CGMVAEClassifier", "TunedThresholdClassifier", "paper_configuration"]
