"""Sphinx: pages in MyST Markdown, the furo theme, reference pages made from the code."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Unpickled"
author = "The Unpickled authors"
copyright = "The Unpickled authors"
version = release = installed("unpickled")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "generated"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Every cross-reference has to lead somewhere.
nitpicky = True
# Types of other projects: their documentation is not read while this one is built.
nitpick_ignore_regex = [("py:.*", r".*")]
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "Unpickled"
html_show_copyright = False
html_show_sphinx = False
html_static_path = ["drawings"]
html_css_files = ["pages.css"]
exclude_patterns = ["_build"]
