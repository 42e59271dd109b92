"""The plot of a study: the paired difference of each objective with its interval, one panel for each regime."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from asr_rescore.report.study import RegimeResult

# Percent or points on either side of 0 up to which the axis is linear; then logarithmic: CE alone is 100 times worse.
LINEAR = 1.0


def to_svg(results: Sequence[RegimeResult]) -> str:
    """The plot as SVG. Without results it is empty."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(arm.label for result in results for arm in result.arms))
    places = {label: -number for number, label in enumerate(labels)}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "asr_rescore", "text.parse_math": False}):
        figure = Figure((3 + 3.5 * max(1, len(results)), 1.2 + 0.35 * len(labels)), layout="constrained")
        FigureCanvasSVG(figure)
        panels = figure.subplots(1, max(1, len(results)), squeeze=False, sharey=True)[0]
        for axes, result in zip(panels, results, strict=False):
            measure = result.regime.measure
            axes.axvline(0, color="0.5", linewidth=1)
            for arm in result.arms:
                place = places[arm.label]
                half = arm.test.half_width
                error = None if math.isnan(half) else half
                axes.plot(arm.test.values, [place] * len(arm.seeds), "|", color="0.6")
                axes.errorbar([arm.test.mean], [place], xerr=error, fmt="o", capsize=3, color="#0072b2")
            if _farthest(result) > LINEAR:  # else the logarithmic axis would have no numbers but 0
                axes.set_xscale("symlog", linthresh=LINEAR)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
            axes.set_title(result.regime.title, fontsize="medium", wrap=True)
            axes.set_xlabel(f"test {measure.long_name}, {measure.unit} over {result.baseline[0]}")
            axes.set_yticks(list(places.values()), [label.replace(", compared with ", "\nvs. ") for label in labels])
            axes.grid(axis="x", linewidth=0.5)
        raw = io.BytesIO()
        figure.savefig(raw, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return raw.getvalue().decode()


def _farthest(result: RegimeResult) -> float:
    """The largest distance from 0 of anything in a panel."""
    ends = [end for arm in result.arms for end in (*arm.test.values, *arm.test.interval) if not math.isnan(end)]
    return max(map(abs, ends))
