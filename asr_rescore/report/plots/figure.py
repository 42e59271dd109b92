"""Figures as SVG for a page, or as a picture in a file."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from warnings import catch_warnings, filterwarnings
from xml.etree import ElementTree

from asr_rescore.errors import UsageError, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010101"  # the page's style sheet replaces this colour by that of its text
FAINT = "#020202"  # and this one by that of its lines
# Okabe and Ito's colours without black, which the colour-blind can tell apart; they are seen on white and on black.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = "os^Dv*PX"
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
STYLE: Any = {  # matplotlib 3.11 and earlier ones have different types for it
    "svg.fonttype": "none",  # text stays text: small, readable, searchable
    "svg.hashsalt": "asr_rescore",  # the same plot always has the same ids
    "text.parse_math": False,  # a $ in a name is a $
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), "none"),
    "legend.frameon": False,
}
# What is left out of a file of each format: dates above all, so that the same figures always give the same file.
METADATA: dict[str, dict[str, Any]] = {
    "png": {},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None},
}
PAPER = {INK: "#000000", FAINT: "#d0d0d0"}  # a file has no style sheet to give it colours
WHITE = ("figure.facecolor", "axes.facecolor", "legend.facecolor")


def legend_text(name: str) -> str:
    """A name as a plot shows it: a legend leaves out what begins with ``_``, and not every character can be drawn."""
    text = printable(name, kept="\n")
    return f" {text}" if text.startswith("_") else text


@contextmanager
def drawing(
    name: str, width: float, height: float, panels: int = 1
) -> Iterator[tuple[Figure, Sequence[Axes], list[str]]]:
    """A figure with some panels side by side; its SVG is in the list when the block is left."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure((width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        svg: list[str] = []
        yield figure, list(axes), svg
        raw = io.BytesIO()
        figure.savefig(raw, format="svg", metadata=METADATA["svg"])
        svg.append(_inline(raw.getvalue(), name))


def picture_format(path: Path) -> str:
    """The format that a file name asks for: png, svg or pdf.

    Raises:
        UsageError: it asks for none that can be drawn.
    """
    name = path.suffix.removeprefix(".").lower()
    if name not in METADATA:
        raise UsageError(f"{path}: expected a picture, named *.{', *.'.join(METADATA)}; add one of these endings")
    return name


@contextmanager
def picture(stream: BinaryIO, kind: str, width: float, height: float, **panels: Any) -> Iterator[list[Axes]]:
    """The panels of a figure in black on white, which is written when the block is left.

    Args:
        stream: gets the picture.
        kind: see :func:`picture_format`.
        width, height: in inches.
        panels: ``nrows`` and others of matplotlib's ``subplots``.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        key: PAPER.get(value, value) if isinstance(value, str) else value for key, value in STYLE.items()
    }
    style |= {**dict.fromkeys(WHITE, "#ffffff"), "legend.frameon": True}
    with rc_context(style), catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from font")  # a box takes the place of the character
        figure = Figure((width, height), layout="constrained")
        yield list(figure.subplots(squeeze=False, **panels).flat)
        figure.savefig(stream, format=kind, dpi=150, metadata=METADATA[kind])


def _inline(raw: bytes, name: str) -> str:
    """The SVG as an element of a page: ids that no other plot has, no metadata, any width."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(raw)  # written by matplotlib, not read from anywhere
    for found in root.findall(f"{{{SVG}}}metadata"):
        root.remove(found)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == f"{{{XLINK}}}href" and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    root.set("width", "100%")
    root.attrib.pop("height", None)
    root.set("aria-hidden", "true")  # the figure around it has the words
    return ElementTree.tostring(root, encoding="unicode")
