"""Equations as MathML, which browsers draw by themselves: no script, no font and no network when a page is viewed."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

# Browsers leave no space after the name of a function without parentheses.
FUNCTION = re.compile(r"(<mi>(?:ln|exp|tanh)</mi>)(?=<m(?:i|sub|over))")
TAG = re.compile(r"\\tag\{([^}]*)\}")


def mathml(tex: str, display: str) -> str:
    """Convert a formula; an ``aligned`` block inside ``$$`` is what the converter calls ``align*``."""
    tex = tex.replace("{aligned}", "{align*}")
    return FUNCTION.sub(r'\1<mspace width="0.17em"/>', convert(tex, display=display))


def visit_inline(page: Any, node: nodes.Element) -> None:
    """Write an inline formula."""
    page.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(page: Any, node: nodes.Element) -> None:
    """Write an equation on a line of its own."""
    tag = TAG.search(node.astext())
    page.body.append(page.starttag(node, "div", CLASS="math"))
    if tag:
        page.body.append(f'<span class="eqno">({tag[1]})</span>')
    page.body.append(mathml(TAG.sub("", node.astext()), "block"))
    page.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer ``mathml`` to conf.py."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
