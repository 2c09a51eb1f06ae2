"""How Sphinx builds the documentation: `make docs`."""

from skcgmvae import __version__

project = "skcgmvae"
author = "the skcgmvae developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"skcgmvae {version}"
html_show_sourcelink = False

# api.rst lists the members, so that what is inherited from private or from
# scikit-learn's classes is there by choice.
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
default_role = "literal"
