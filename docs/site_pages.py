"""What the site adds to Markdown files when they are read, so that the files themselves stay plain Markdown.

README.md gets the table of contents of the whole site. In api.md, each line ``- `asr_rescore.name`: …`` is replaced
by the signature and the docstring of this name. A link to a directory leads to its README.md.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

CONTENTS = {
    "Start": {
        "Tutorial": "docs/tutorial",
        "Troubleshooting": "docs/troubleshooting",
        "Coming from Kaldi": "docs/from-kaldi",
        "Coming from SRILM": "docs/from-srilm",
        "Coming from icefall": "docs/from-icefall",
        "Coming from ESPnet": "docs/from-espnet",
    },
    "Use": {
        "From Python": "docs/python",
        "Recipes and commands": "docs/recipes",
        "Scoring": "docs/scoring",
        "Reports": "docs/reports",
        "Formats": "docs/formats",
        "Large texts": "docs/large",
        "Python reference": "docs/api",
    },
    "Background": {
        "The method": "docs/method",
        "Results: Wall Street Journal recipe": "recipes/wsj/RESULTS",
        "Results: Penn Treebank": "recipes/ptb/RESULTS",
        "The embedded corpus": "recipes/wsj/mini/README",
    },
    "Work on it": {
        "Contributing": "CONTRIBUTING",
        "Architecture": "docs/architecture",
        "Changes": "CHANGELOG",
    },
}
NAME = re.compile(r"^- `(asr_rescore[.\w]*\.(\w+))`.*$(\n  .*$)*", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)\)")


def contents() -> str:
    """The table of contents as hidden directives."""
    lines = []
    for caption, pages in CONTENTS.items():
        entries = "\n".join(f"{title} </{page}>" for title, page in pages.items())
        lines.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n")
    return "".join(lines)


def reference(match: re.Match[str]) -> str:
    """The directive that shows a name's docstring."""
    module, _, name = match[1].rpartition(".")
    value = getattr(import_module(module), name)
    directive = (
        f".. autoclass:: {match[1]}\n   :members:" if inspect.isclass(value) else f".. autofunction:: {match[1]}"
    )
    return f"```{{eval-rst}}\n{directive}\n```"


def linked_to_pages(text: str, folder: Path) -> str:
    """Let links to a directory lead to its README.md, which a forge shows there; without one, leave its name."""

    def page(match: re.Match[str]) -> str:
        label, target = match.groups()
        if not (folder / target).is_dir():
            return match[0]
        readme = Path(target) / "README.md"
        return f"[{label}]({readme})" if (folder / readme).is_file() else f"`{label}`"

    return LINK.sub(page, text)


def complete(app: Sphinx, docname: str, content: list[str]) -> None:
    """Change the text of a page before it is parsed."""
    content[0] = linked_to_pages(content[0], Path(app.srcdir, docname).parent)
    if docname == "README":
        content[0] += contents()
    elif docname == "docs/api":
        content[0] = NAME.sub(reference, content[0])
    elif docname not in {page for pages in CONTENTS.values() for page in pages.values()}:
        content[0] = f"---\norphan: true\n---\n\n{content[0]}"  # reached by links only


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to the reading of pages."""
    app.connect("source-read", complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
