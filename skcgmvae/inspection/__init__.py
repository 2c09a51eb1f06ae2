"""Pictures of what a model has learnt, and of how it decides."""

from skcgmvae.inspection._label_similarity import LabelSimilarityDisplay
from skcgmvae.inspection._thresholds import ThresholdDisplay

__all__ = ["LabelSimilarityDisplay", "ThresholdDisplay"]
