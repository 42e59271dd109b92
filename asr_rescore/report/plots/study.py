"""The plot of a study: the paired difference of each objective with its interval, one panel for each regime."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import BinaryIO

from asr_rescore.report.plots.figure import COLOURS, legend_text, picture
from asr_rescore.report.study import RegimeResult

# Percent or points on either side of 0 up to which the axis is linear; then logarithmic: CE alone is 100 times worse.
LINEAR = 1.0
TITLE_WIDTH = 41  # characters of a line above a panel


def draw_study(results: Sequence[RegimeResult], stream: BinaryIO, kind: str) -> None:
    """Draw the panels side by side; without results, one empty panel.

    Args:
        results: the regimes.
        stream: gets the picture.
        kind: see :func:`~asr_rescore.report.plots.figure.picture_format`.
    """
    from matplotlib.ticker import SymmetricalLogLocator

    labels = list(dict.fromkeys(arm.label for result in results for arm in result.arms))
    places = {label: -number for number, label in enumerate(labels)}
    panels = max(1, len(results))
    with picture(stream, kind, 3 + 3.5 * panels, 1.2 + 0.35 * len(labels), ncols=panels, sharey=True) as figure:
        for axes, result in zip(figure, results, strict=False):
            measure = result.regime.measure
            axes.axvline(0, color="0.5", linewidth=1)
            for arm in result.arms:
                place = places[arm.label]
                half = arm.test.half_width
                error = None if math.isnan(half) else half
                axes.plot(arm.test.values, [place] * len(arm.seeds), "|", color="0.6")
                axes.errorbar([arm.test.mean], [place], xerr=error, fmt="o", capsize=3, color=COLOURS[0])
            if _farthest(result) > LINEAR:  # else the logarithmic axis would have no numbers but 0
                axes.set_xscale("symlog", linthresh=LINEAR)
                axes.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR, subs=[1, 3]))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
            axes.set_title(legend_text(textwrap.fill(result.regime.title, TITLE_WIDTH)), fontsize="medium")
            axes.set_xlabel(legend_text(f"test {measure.long_name}, {measure.unit} over {result.baseline[0]}"))
            shown = [legend_text(label.replace(", compared with ", "\nvs. ")) for label in labels]
            axes.set_yticks(list(places.values()), shown)
            axes.grid(axis="y", visible=False)


def _farthest(result: RegimeResult) -> float:
    """The largest distance from 0 of anything in a panel."""
    ends = [end for arm in result.arms for end in (*arm.test.values, *arm.test.interval) if not math.isnan(end)]
    return max(map(abs, ends))
