"""Equations as MathML, which browsers draw by themselves: no script, no font and no network when a page is viewed."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

TAG = re.compile(r"\\tag\{([^}]*)\}")


def visit_inline(page: Any, node: nodes.Element) -> None:
    """Write an inline formula."""
    page.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def visit_block(page: Any, node: nodes.Element) -> None:
    """Write an equation on a line of its own."""
    tag = TAG.search(node.astext())
    page.body.append(page.starttag(node, "div", CLASS="math"))
    if tag:
        page.body.append(f'<span class="eqno">({tag[1]})</span>')
    page.body.append(convert(TAG.sub("", node.astext()), display="block"))
    page.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer ``mathml`` to conf.py."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
