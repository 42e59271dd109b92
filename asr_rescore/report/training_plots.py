"""Plots of trainings, and of whether confidences are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asr_rescore.report.experiment import Experiment
from asr_rescore.report.figure import COLOURS, FAINT, MARKERS, drawing
from asr_rescore.report.training_curve import TrainingCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MARKERS = 30


def training_plot(experiment: Experiment) -> str:
    """Perplexity of the valid text by epoch, and the training loss and learning rate where the log has them."""
    curves = [curve for curve in experiment.curves if curve.epochs]
    if not curves:
        return ""
    noted = any(len(curve.times) > 1 for curve in curves)
    varied = any(len(set(curve.lr)) > 1 for curve in curves)
    panels = 1 + noted + varied
    with drawing("training", 8, 3.4, panels=panels) as (figure, [axes, *others], svg):
        for number, curve in enumerate(curves):
            style = _style(number, len(curve.epochs))
            axes.plot(curve.epochs, curve.valid_ppl, label=curve.name, **style)
            if curve.averaging is not None:
                _mark_averaging(axes, curve, style)
        _label(axes, "valid perplexity", logarithmic=True)
        if noted:
            _over_time(others[0], curves, "train_loss", "training loss")
        if varied:
            _over_time(others[-1], curves, "lr", "learning rate", logarithmic=True)
        figure.legend(loc="outside upper center", ncols=min(4, len(curves)))
    return svg[0]


def _style(number: int, points: int) -> dict[str, Any]:
    return {
        "markersize": 4,
        "marker": MARKERS[number % len(MARKERS)] if points <= MOST_MARKERS else None,
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": "-" if number < len(COLOURS) else "--",
    }


def _mark_averaging(axes: Axes, curve: TrainingCurve, style: dict[str, Any]) -> None:
    """A ring around the first measurement with averaged weights."""
    after = [place for place, epoch in enumerate(curve.epochs) if epoch >= (curve.averaging or 0)]
    if after:
        place = after[0]
        axes.plot(
            [curve.epochs[place]],
            [curve.valid_ppl[place]],
            marker="o",
            markersize=11,
            fillstyle="none",
            color=style["color"],
        )


def _over_time(axes: Axes, curves: Sequence[TrainingCurve], name: str, label: str, logarithmic: bool = False) -> None:
    for number, curve in enumerate(curves):
        if curve.times:
            axes.plot(curve.times, getattr(curve, name), **_style(number, len(curve.times)))
    _label(axes, label, logarithmic)


def _label(axes: Axes, label: str, logarithmic: bool = False) -> None:
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(label + (", logarithmic" if logarithmic else ""))


def reliability_plot(experiment: Experiment) -> str:
    """The share of correct words over their confidence, for each result with a ctm."""
    found = experiment.findings.reliability
    if not found:
        return ""
    with drawing("reliability", 8, 4) as (_, [axes], svg):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for number, ((system, where), reliability) in enumerate(found.items()):
            label = f"{system}, {experiment.comparison.label(where)}: mean gap {reliability.calibration_error:.3f}"
            axes.plot(reliability.confidences, reliability.right, label=label, **_style(number, 1))
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("share of correct words")
        axes.legend(loc="upper left", fontsize=8)
    return svg[0]
