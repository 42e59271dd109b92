"""How Sphinx builds the site: `make docs` reads the Markdown files of the whole checkout where they are.

The source directory is the checkout's root, so that the relative links that work on a Git forge work on the site.
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

project = "asr_rescore"
author = "asr_rescore contributors"
copyright = "asr_rescore contributors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_pages", "site_mathml"]
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "recipes/*/README.md",
    "recipes/*/RESULTS.md",
    "recipes/wsj/mini/README.md",
    "benchmarks/results/*.md",
]
exclude_patterns = ["docs/_build"]

myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4  # the anchors that a Git forge makes, so that links with them are checked

smartquotes = False  # options keep their two hyphens
default_role = "code"  # `x` in a docstring is code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_display_short_literal_types = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "asr_rescore"
html_math_renderer = "mathml"
html_static_path = ["site_style"]
html_css_files = ["site.css"]
html_extra_path = ["site_start"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
