"""Accuracy on real data: ``python -m benchmarks.accuracy run`` and ``report``."""
