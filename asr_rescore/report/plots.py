"""The plots of the page, as SVG. Only this file and training_plot use matplotlib."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from asr_rescore.report.experiment import Experiment
from asr_rescore.report.table import FIRST_PASS

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
LABELLED = 4  # systems of one size whose names are shown
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


def plots(experiment: Experiment) -> dict[str, str]:
    """Name → SVG of each plot that the experiment has the data for."""
    drawn = {
        "systems": _systems(experiment),
        "sizes": _sizes(experiment),
        "training": _training(experiment),
        "grid": _grid(experiment),
    }
    return {name: svg for name, svg in drawn.items() if svg}


@contextmanager
def _figure(
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
        figure.savefig(raw, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        svg.append(_inline(raw.getvalue(), name))


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


def _systems(experiment: Experiment) -> str:
    """WER by system with 95 % intervals, one colour for each first pass."""
    comparison = experiment.comparison
    names = [FIRST_PASS, *comparison.systems]
    wheres = experiment.first_passes
    with _figure("systems", 8, 1.2 + len(names) * (0.22 + 0.1 * len(wheres))) as (_, [axes], svg):
        step = 0.7 / len(wheres)
        for number, where in enumerate(wheres):
            places, rates, halves = [], [], []
            for row, name in enumerate(names):
                rates_here = experiment.tests[where].rates
                if name in rates_here:
                    rate, half = rates_here[name]
                    places.append(row + (number - (len(wheres) - 1) / 2) * step)
                    rates.append(rate)
                    halves.append(half)
            axes.errorbar(
                rates,
                places,
                xerr=halves,
                label=comparison.label(where),
                linestyle="",
                capsize=2,
                markersize=5,
                marker=MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)],
            )
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("WER in %, with 95 % interval")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
    return svg[0]


def _sizes(experiment: Experiment) -> str:
    """Parameters against WER: how small a model may become."""
    comparison = experiment.comparison
    wheres = list(experiment.verdict.reports)
    sizes = {system: sum(lm.parameters for lm in report.lms) for (system, _), report in comparison.cells.items()}
    if len(set(sizes.values()) - {0}) < 2:
        return ""
    largest = max(sizes, key=lambda system: sizes[system])
    with _figure("sizes", 8, 4.2) as (_, [axes], svg):
        for where in wheres:
            number = experiment.first_passes.index(where)
            colour = COLOURS[number % len(COLOURS)]
            known = [(sizes[r.system], r.total.wer) for r in comparison.of_first_pass(where) if sizes[r.system]]
            axes.scatter(
                [size for size, _ in known],
                [rate for _, rate in known],
                color=colour,
                zorder=3,
                marker=MARKERS[number % len(MARKERS)],
                label=comparison.label(where),
            )
            before = comparison.of_first_pass(where)[0].first_pass_total.wer
            axes.axhline(before, color=colour, linestyle="--", linewidth=1)
            axes.text(
                1, before, f"{FIRST_PASS} ", fontsize=8, ha="right", va="bottom", transform=axes.get_yaxis_transform()
            )
        axes.set_xscale("log")
        axes.margins(x=0.2, y=0.15)
        by_size = _by_size(sizes)
        axes.set_xticks(list(by_size), [_size_label(size, sizes[largest], largest, by_size[size]) for size in by_size])
        axes.set_xticks([], minor=True)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlabel("parameters of the language models, logarithmic")
        axes.set_ylabel("WER in %")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return svg[0]


def _size_label(size: int, largest: int, name: str, systems: Sequence[str]) -> str:
    """The size, what part of the largest it is, and the systems that have it, not more than a reader can tell apart."""
    share = "" if size == largest else f"\n{100 * size / largest:.3g} % of {name}"
    more = [f"and {len(systems) - LABELLED} more"] if len(systems) > LABELLED else []
    return "\n".join([f"{size:,}{share}", *systems[:LABELLED], *more])


def _by_size(sizes: Mapping[str, int]) -> dict[int, list[str]]:
    systems: dict[int, list[str]] = {}
    for system, size in sizes.items():
        if size:
            systems.setdefault(size, []).append(system)
    return systems


def _training(experiment: Experiment) -> str:
    """Perplexity of the valid text by epoch."""
    curves = [curve for curve in experiment.curves if curve.epochs]
    if not curves:
        return ""
    with _figure("training", 8, 3.4) as (_, [axes], svg):
        for number, curve in enumerate(curves):
            axes.plot(
                curve.epochs,
                curve.valid_ppl,
                label=curve.name,
                markersize=4,
                marker=MARKERS[number % len(MARKERS)] if len(curve.epochs) <= 30 else None,
                color=COLOURS[number % len(COLOURS)],
                linestyle="-" if number < len(COLOURS) else "--",
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("valid perplexity, logarithmic")
        axes.legend(loc="upper right", ncols=2)
    return svg[0]


def _grid(experiment: Experiment) -> str:
    """WER of the best system over LMWT, one line for each word insertion penalty."""
    grids = {where: experiment.grid(where) for where in experiment.verdict.reports}
    grids = {where: grid for where, grid in grids.items() if len({lmwt for lmwt, *_ in grid}) > 1}
    if not grids:
        return ""
    with _figure("grid", 8, 3.2, panels=len(grids)) as (_, panels, svg):
        for axes, (where, grid) in zip(panels, grids.items(), strict=True):
            for number, wip in enumerate(sorted({wip for _, wip, _ in grid})):
                line = [(lmwt, rate) for lmwt, other, rate in grid if other == wip]
                axes.plot(
                    *zip(*line, strict=True),
                    label=f"WIP {wip:g}",
                    color=COLOURS[number % len(COLOURS)],
                    marker=MARKERS[number % len(MARKERS)],
                    markersize=4,
                )
            report = experiment.comparison.cells[experiment.verdict.system, where]
            axes.plot([report.point.lmwt], [report.total.wer], marker="o", markersize=13, color=INK, fillstyle="none")
            axes.set_title(experiment.comparison.label(where), fontsize=10)
            axes.set_xlabel("LMWT")
        panels[0].set_ylabel("WER in %")
        panels[-1].legend(loc="upper right")
    return svg[0]
