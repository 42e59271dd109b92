"""Plots of trainings: valid perplexity, train loss and learning rate of one or several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from asr_rescore.report.plots.figure import COLOURS, MARKERS, drawing, legend_text, picture
from asr_rescore.report.training_curve import TrainingCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 30  # epochs that are marked one by one
WIDTH = 8.0  # inches
HEIGHT = 2.4  # inches of each panel of a picture
LOGARITHMIC = 5.0  # ratio of learning rates from which their axis is logarithmic
DECADE = 10.0  # ratio of the figures on a logarithmic axis from which it has two powers of ten, or nearly


def training_plot(curves: Sequence[TrainingCurve]) -> str:
    """SVG for a page, with the panels side by side; empty if no perplexity was measured."""
    curves = [curve for curve in curves if curve.epochs]
    if not curves:
        return ""
    panels = _panels(curves)
    with drawing("training", WIDTH, 3.4, panels=len(panels)) as (figure, axes, svg):
        _draw(axes, panels, curves)
        figure.legend(loc="outside upper center", ncols=min(4, len(curves)))
    return svg[0]


def draw_training(curves: Sequence[TrainingCurve], stream: BinaryIO, kind: str) -> None:
    """Draw the panels one below the other, one colour for each model.

    Args:
        curves: the trainings.
        stream: gets the picture.
        kind: see :func:`~asr_rescore.report.plots.figure.picture_format`.
    """
    panels = _panels(curves)
    with picture(stream, kind, WIDTH, len(panels) * HEIGHT, nrows=len(panels), sharex=True) as axes:
        _draw(axes, panels, curves)
        for each in axes[:-1]:
            each.set_xlabel("")
        axes[0].legend(loc="upper right", ncols=2)


def _panels(curves: Sequence[TrainingCurve]) -> list[str]:
    """What there is to draw: a constant learning rate needs no panel, nor does a loss that was noted once."""
    panels = ["valid_ppl"]
    if any(len(curve.train_loss) > 1 for curve in curves):
        panels.append("train_loss")
    if any(len({rate for _, rate in curve.lr}) > 1 for curve in curves):
        panels.append("lr")
    return panels


def _draw(axes: Sequence[Axes], panels: Sequence[str], curves: Sequence[TrainingCurve]) -> None:
    """One line for each model in each panel, dotted where the averaging of its weights begins."""
    from matplotlib.ticker import MaxNLocator

    averaged = any(curve.averaging_from is not None for curve in curves)
    for here, panel in zip(axes, panels, strict=True):
        for number, curve in enumerate(curves):
            colour = COLOURS[number % len(COLOURS)]
            course = _course(curve, panel)
            here.plot(
                [time for time, _ in course],
                [figure for _, figure in course],
                label=legend_text(curve.name) if panel == "valid_ppl" else None,
                color=colour,
                linestyle="-" if number < len(COLOURS) else "--",
                marker=MARKERS[number % len(MARKERS)] if len(curve.epochs) <= FEW and panel != "lr" else None,
                markersize=4,
            )
            if curve.averaging_from is not None:
                here.axvline(curve.averaging_from, color=colour, linestyle=":", linewidth=1.5)
        here.set_xlabel("epoch" + (" (dotted: the averaging of weights begins)" if averaged else ""))
        here.xaxis.set_major_locator(MaxNLocator(integer=True))
        _label(here, panel, [figure for curve in curves for _, figure in _course(curve, panel)])


def _course(curve: TrainingCurve, panel: str) -> list[tuple[float, float]]:
    if panel == "valid_ppl":
        return list(zip(curve.epochs, curve.valid_ppl, strict=True))
    return list(curve.train_loss if panel == "train_loss" else curve.lr)


def _label(axes: Axes, panel: str, figures: Sequence[float]) -> None:
    label = {"valid_ppl": "valid perplexity", "train_loss": "train loss, nats per token", "lr": "learning rate"}[panel]
    logarithmic = panel == "valid_ppl" or (panel == "lr" and 0 < LOGARITHMIC * min(figures) < max(figures))
    if logarithmic:
        axes.set_yscale("log")
        if max(figures) < DECADE * min(figures):  # else the powers of ten are enough, and more would overlap
            axes.yaxis.set_minor_formatter("{x:g}")
    if panel != "train_loss":
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel(label + (", logarithmic" if logarithmic else ""))
