"""The plots of the page, as SVG: error rates by system and by size, and all others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from asr_rescore.report.experiment import Experiment
from asr_rescore.report.plots.figure import COLOURS, FAINT, MARKERS, drawing, legend_text
from asr_rescore.report.plots.search import depth_plot, grid_plot, weights_plot
from asr_rescore.report.plots.training import training_plot
from asr_rescore.report.table import FIRST_PASS

LABELLED = 4  # systems of one size whose names are shown


def plots(experiment: Experiment) -> dict[str, str]:
    """Name → SVG of each plot that the experiment has the data for."""
    drawn = {
        "systems": _systems(experiment),
        "sizes": _sizes(experiment),
        "training": training_plot(experiment.curves),
        "weights": weights_plot(experiment),
        "grid": grid_plot(experiment),
        "depth": depth_plot(experiment),
        "utterances": _utterances(experiment),
        "reliability": _reliability(experiment),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def _systems(experiment: Experiment) -> str:
    """WER by system with 95 % intervals, one colour for each first pass."""
    comparison = experiment.comparison
    names = [FIRST_PASS, *comparison.systems]
    wheres = experiment.first_passes
    with drawing("systems", 8, 1.2 + len(names) * (0.22 + 0.1 * len(wheres))) as (_, [axes], svg):
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
                label=legend_text(comparison.label(where)),
                linestyle="",
                capsize=2,
                markersize=5,
                marker=MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)],
            )
        axes.set_yticks(range(len(names)), [legend_text(name) for name in names])
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
    with drawing("sizes", 8, 4.2) as (_, [axes], svg):
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
                label=legend_text(comparison.label(where)),
            )
            before = comparison.of_first_pass(where)[0].first_pass_total.wer
            axes.axhline(before, color=colour, linestyle="--", linewidth=1)
            axes.text(
                1, before, f"{FIRST_PASS} ", fontsize=8, ha="right", va="bottom", transform=axes.get_yaxis_transform()
            )
        axes.set_xscale("log")
        axes.margins(x=0.2, y=0.15)
        by_size = _by_size(sizes)
        labels = [_size_label(size, sizes[largest], largest, by_size[size]) for size in by_size]
        axes.set_xticks(list(by_size), [legend_text(label) for label in labels])
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


def _utterances(experiment: Experiment) -> str:
    """How many utterances had how many errors before, and have how many with the best system."""
    pairs: Counter[tuple[int, int]] = Counter()
    for report in experiment.verdict.reports.values():
        pairs.update((report.first_pass[utt].errors, count.errors) for utt, count in report.rescored.items())
    if len(pairs) < 2:
        return ""
    before, after = zip(*pairs, strict=True)
    most = max(*before, *after)
    with drawing("utterances", 8, 4.2) as (_, [axes], svg):
        axes.plot([0, most], [0, most], linestyle="--", linewidth=1, color=FAINT)
        axes.scatter(
            before, after, s=[12 * math.sqrt(number) for number in pairs.values()], color=COLOURS[0], alpha=0.6
        )
        axes.set_xlabel(f"errors of an utterance in the {FIRST_PASS}")
        axes.set_ylabel(legend_text(f"errors with {experiment.verdict.system}"))
        axes.set_aspect("equal")
    return svg[0]


def _reliability(experiment: Experiment) -> str:
    """The share of correct words over their confidence, for each result with a ctm."""
    found = experiment.findings.reliability
    if not found:
        return ""
    with drawing("reliability", 8, 4) as (_, [axes], svg):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for number, ((system, where), reliability) in enumerate(found.items()):
            label = f"{system}, {experiment.comparison.label(where)}: mean gap {reliability.calibration_error:.3f}"
            axes.plot(
                reliability.confidences,
                reliability.right,
                label=legend_text(label),
                marker=MARKERS[number % len(MARKERS)],
                markersize=4,
                color=COLOURS[number % len(COLOURS)],
            )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("share of correct words")
        axes.legend(loc="upper left", fontsize=8)
    return svg[0]
