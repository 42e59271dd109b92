"""Plots of error rates over what a rescoring searches: weights, operating points, and the length of the lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_rescore.report.experiment import Experiment
from asr_rescore.report.plots.figure import COLOURS, INK, MARKERS, drawing, legend_text
from asr_rescore.report.searched_weights import SearchedWeights
from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FirstPass

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 10  # colours of a heat map: few enough to tell apart
PANELS = 3  # side by side


def weights_plot(experiment: Experiment) -> str:
    """WER over LM weight and LMWT, of the best system whose weights were tuned, where they were."""
    searched = experiment.findings.searched
    best = _best(experiment, lambda system: any(tuned == system for tuned, _ in searched))
    places = [where for where in experiment.first_passes if (best, where) in searched][:PANELS]
    if not places:
        return ""
    with drawing("weights", 8, 3.6, panels=len(places)) as (_, panels, svg):
        for axes, where in zip(panels, places, strict=True):
            cell = (best, where)
            _heat_map(axes, experiment.comparison.cells[cell], searched[cell])
            axes.set_title(legend_text(f"{best}: {experiment.comparison.label(where)}"), fontsize=10)
        panels[0].set_ylabel("weight of the new language models")
    return svg[0]


def _heat_map(axes: Axes, report: SystemReport, searched: SearchedWeights) -> None:
    """The error rates at the chosen word insertion penalty, and a ring around the chosen weights."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap

    sums, lmwts, errors = searched.by_weight_and_lmwt(report.point.wip)
    total = report.total if report.characters is None else report.characters.rescored
    rates = 100 * errors / max(1, total.reference_words)
    # Most of the range is far from the best, where it does not matter: the colours are finest near the best.
    levels = np.unique(np.quantile(rates[np.isfinite(rates)], np.linspace(0, 1, LEVELS + 1)).round(4))
    if len(levels) < 2:
        levels = np.array([levels[0], levels[0] + 1])
    colours = ListedColormap(colormaps["viridis_r"](np.linspace(0, 1, len(levels) - 1)))
    norm = BoundaryNorm(levels, colours.N)
    mesh = axes.pcolormesh(_edges(lmwts), _edges(sums), np.nan_to_num(rates, nan=levels[-1]), cmap=colours, norm=norm)
    bar = axes.figure.colorbar(mesh, ax=axes, ticks=levels[:: max(1, len(levels) // 5)], format="%.1f")
    bar.ax.set_title("% CER" if report.characters is not None else "% WER", fontsize=8)
    bar.ax.minorticks_off()
    ring: dict[str, Any] = {"marker": "o", "markersize": 11, "fillstyle": "none", "linestyle": "", "markeredgewidth": 2}
    axes.plot([report.point.lmwt], [sum(report.lm_weights)], color="#ffffff", **ring)
    axes.plot([report.point.lmwt], [sum(report.lm_weights)], color="#d55e00", **{**ring, "markersize": 14})
    axes.grid(visible=False)
    axes.set_xlabel(f"LMWT, at WIP {report.point.wip:g}")


def _edges(centres: np.ndarray) -> np.ndarray:
    """The borders of cells around some centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def depth_plot(experiment: Experiment) -> str:
    """WER of the best system of lists over the number of hypotheses considered, and that of the best of them."""
    system = depth_system(experiment)
    if not system:
        return ""
    comparison = experiment.comparison
    with drawing("depth", 8, 3.6) as (_, [axes], svg):
        for where in _with_depths(experiment, system):
            report = comparison.cells[system, where]
            number = experiment.first_passes.index(where)
            style: dict[str, Any] = {
                "color": COLOURS[number % len(COLOURS)],
                "marker": MARKERS[number % len(MARKERS)],
                "markersize": 4,
            }
            words = max(1, report.total.reference_words)
            depths = [depth.n for depth in report.depths]
            label = legend_text(comparison.label(where))
            axes.plot(depths, [100 * depth.errors / words for depth in report.depths], label=label, **style)
            axes.plot(depths, [100 * depth.oracle / words for depth in report.depths], linestyle=":", **style)
            if report.lattice_oracle is not None:
                axes.axhline(report.lattice_oracle.wer, color=style["color"], linestyle=(0, (1, 4)), linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("hypotheses considered, in the order of the first pass; logarithmic")
        axes.set_ylabel(legend_text(f"WER in % of {system}"))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return svg[0]


def depth_system(experiment: Experiment) -> str:
    """The best of the systems that have errors by depth on all evaluation sets; empty: none."""
    number = len(experiment.verdict.reports)
    return _best(experiment, lambda system: len(_with_depths(experiment, system)) == number)


def _best(experiment: Experiment, suits: Callable[[str], object]) -> str:
    """The system with the fewest errors on the evaluation sets, of those that were run on all of them and suit."""
    cells = experiment.comparison.cells
    errors = {
        system: sum(cells[system, where].total.errors for where in experiment.verdict.reports)
        for system in experiment.comparison.systems
        if all((system, where) in cells for where in experiment.verdict.reports) and suits(system)
    }
    return min(errors, key=errors.__getitem__, default="")


def _with_depths(experiment: Experiment, system: str) -> list[FirstPass]:
    cells = experiment.comparison.cells
    return [
        where
        for where in experiment.verdict.reports
        if (system, where) in cells and len(cells[system, where].depths) > 1
    ]


def grid_plot(experiment: Experiment) -> str:
    """WER of the best system over LMWT, one line for each word insertion penalty."""
    grids = {where: experiment.grid(where) for where in experiment.verdict.reports}
    grids = {where: grid for where, grid in grids.items() if len({lmwt for lmwt, *_ in grid}) > 1}
    if not grids:
        return ""
    with drawing("grid", 8, 3.2, panels=len(grids)) as (_, panels, svg):
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
            axes.set_title(legend_text(experiment.comparison.label(where)), fontsize=10)
            axes.set_xlabel("LMWT")
        panels[0].set_ylabel("WER in %")
        panels[-1].legend(loc="upper right")
    return svg[0]
