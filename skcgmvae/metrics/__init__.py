"""Measures of multi-label predictions that scikit-learn lacks, and scorers."""

from skcgmvae.metrics._measures import (
    hamming_accuracy_score,
    label_propensities,
    precision_at_k_score,
    propensity_scored_precision_at_k,
    recall_at_k_score,
)
from skcgmvae.metrics._scorers import label_probabilities, multilabel_scorers

__all__ = [
    "hamming_accuracy_score",
    "label_probabilities",
    "label_propensities",
    "multilabel_scorers",
    "precision_at_k_score",
    "propensity_scored_precision_at_k",
    "recall_at_k_score",
]
