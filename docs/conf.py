"""Sphinx: pages in MyST Markdown, the furo theme, reference pages made from the code."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent))

from generated import PARTS

project = "Unpickled"
author = "The Unpickled authors"
copyright = "The Unpickled authors"
version = release = installed("unpickled")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Every link has to lead somewhere. Python types are left out: they are those of other projects.
nitpicky = True
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


class Generated(SphinxDirective):
    """``{generated} NAME``: the Markdown that the function PARTS[NAME] returns."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(PARTS[self.arguments[0]](), allow_section_headings=True)


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.add_directive("generated", Generated)
    app.connect("env-before-read-docs", _read_again)


def _read_again(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Read pages with generated parts in each build, for Sphinx does not watch the code that they show."""
    generated = (name for name in env.found_docs if "{generated}" in env.doc2path(name).read_text("utf-8"))
    names.extend(name for name in generated if name not in names)
