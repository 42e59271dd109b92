"""A picture of trainings: loss, perplexity and learning rate of one or several models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from asr_rescore.errors import UsageError
from asr_rescore.report.plots import COLOURS, FAINT, INK, MARKERS, STYLE
from asr_rescore.report.training_curve import TrainingCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The date is left out, so that the same trainings always give the same file.
METADATA: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
PAPER = {INK: "#000000", FAINT: "#d0d0d0"}  # a file has no style sheet to give it colours
WHITE = ("figure.facecolor", "axes.facecolor", "legend.facecolor")
FEW = 30  # epochs that are marked one by one
WIDTH = 8.0  # inches
HEIGHT = 2.4  # inches of each panel


def picture_format(path: Path) -> str:
    """The format that a file name asks for.

    Raises:
        UsageError: it asks for none that can be drawn.
    """
    name = path.suffix.removeprefix(".").lower()
    if name not in METADATA:
        raise UsageError(f"{path}: expected a picture, named *.{', *.'.join(METADATA)}; add one of these endings")
    return name


def draw_training(curves: Sequence[TrainingCurve], stream: BinaryIO, kind: str) -> None:
    """Draw the train loss, the valid perplexity and the learning rate over the epochs, one colour for each model.

    A dotted line shows when the averaging of a model's weights began.

    Args:
        curves: the trainings.
        stream: gets the picture.
        kind: png, svg or pdf.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    style: Any = {key: PAPER.get(value, value) if isinstance(value, str) else value for key, value in STYLE.items()}
    style |= {**dict.fromkeys(WHITE, "#ffffff"), "legend.frameon": True}
    with rc_context(style):
        figure = Figure((WIDTH, 3 * HEIGHT), layout="constrained")
        loss, ppl, rate = figure.subplots(3, 1, sharex=True)
        for number, curve in enumerate(curves):
            look = {"color": COLOURS[number % len(COLOURS)], "linestyle": "-" if number < len(COLOURS) else "--"}
            if len(curve.epochs) <= FEW:
                look |= {"marker": MARKERS[number % len(MARKERS)], "markersize": "4"}
            _line(loss, curve.train_loss, look, curve.name)
            _line(ppl, list(zip(curve.epochs, curve.valid_ppl, strict=True)), look)
            _line(rate, curve.lr, look | {"marker": ""})
            if curve.averaging_from is not None:
                for axes in (loss, ppl, rate):
                    axes.axvline(curve.averaging_from, color=look["color"], linestyle=":", linewidth=1.5)
        loss.set_ylabel("train loss, nats per token")
        ppl.set_ylabel("valid perplexity")
        rate.set_ylabel("learning rate")
        ppl.set_yscale("log")
        rates = [figure for curve in curves for _, figure in curve.lr]
        if rates and min(rates) > 0 and max(rates) > 5 * min(rates):
            rate.set_yscale("log")
        for axes in (ppl, rate):
            axes.yaxis.set_major_formatter("{x:g}")
        ppl.yaxis.set_minor_formatter("{x:g}")
        rate.xaxis.set_major_locator(MaxNLocator(integer=True))
        averaged = any(curve.averaging_from is not None for curve in curves)
        rate.set_xlabel("epoch" + (" (dotted: the averaging of weights begins)" if averaged else ""))
        loss.legend(loc="upper right", ncols=2)
        figure.savefig(stream, format=kind, dpi=150, metadata=METADATA[kind])


def _line(axes: Axes, course: Sequence[tuple[float, float]], look: dict[str, str], label: str | None = None) -> None:
    times = [time for time, _ in course]
    figures = [figure for _, figure in course]
    axes.plot(times, figures, label=label, **look)  # type: ignore[arg-type]  # all of them are texts that it takes
