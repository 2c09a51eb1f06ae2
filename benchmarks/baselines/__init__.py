"""Baselines beside scikit-multilearn-ng: time, memory and agreement."""
