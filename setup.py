"""A shim for tools that still look for it; pyproject.toml holds the metadata."""

from setuptools import setup

setup()
