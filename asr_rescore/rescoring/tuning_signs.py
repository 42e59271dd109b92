"""Signs that a grid of LM weights, LMWT and word insertion penalty does not fit the lattices that are tuned on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from asr_rescore.ranking import OperatingPoint
from asr_rescore.report import ReportWarning, SearchedWeights
from asr_rescore.rescoring.lmwt_grid import CHAIN_GRID, LEAST, MOST, grid_beyond
from asr_rescore.rescoring.weights import ChosenWeights

LARGEST_UNSCALED = 2  # LMWT of a chain model whose acoustic costs are those that it was decoded with
UNSCALED = (
    "if the acoustic costs of a chain model were not multiplied by 10 after decoding (post-decode-acwt), try "
    f"`inv_acwt` 1 and `lmwt` {CHAIN_GRID}"
)


def tuning_warnings(
    weights: ChosenWeights, points: Sequence[OperatingPoint], names: Sequence[str]
) -> Iterator[ReportWarning]:
    """A warning for each tuned weight that is on the edge of its grid, where the best value may lie beyond.

    A grid of word insertion penalties that begins at 0 ends there by nature: to reward words is unusual.

    Args:
        weights: tuned.
        points: the grid of LMWT and WIP.
        names: the language models.
    """
    lmwts = sorted({point.lmwt for point in points})
    wips = sorted({point.wip for point in points})
    tuned = weights.weights
    for name, weight in zip(names, tuned.lm, strict=True):
        if weight == 0:
            yield ReportWarning("lm_weight_zero", f"{name} was tuned to weight 0: it does not help on this data")
    if sum(tuned.lm) > 1 - 1e-9:
        useless = "graph cost does" if weights.no_old_lm else "old LM does"
        yield ReportWarning(
            "lm_weight_one",
            f"the LM weights were tuned to a sum of 1, the edge of their grid: the {useless} not help on this data",
        )
    edge = _lmwt_edge(tuned.point.lmwt, lmwts)
    if edge:
        yield ReportWarning("lmwt_edge", f"the tuned LMWT {edge}", {"lmwt": tuned.point.lmwt})
    edge_of_first = _lmwt_edge(weights.first_pass.lmwt, lmwts)
    if edge_of_first:
        if edge and weights.first_pass.lmwt == tuned.point.lmwt:  # the range to try need not be told twice
            edge_of_first = f"{_end(tuned.point.lmwt, lmwts)}, too; its error rate may be lower elsewhere"
        yield ReportWarning(
            "first_pass_lmwt_edge", f"the first pass's LMWT {edge_of_first}", {"lmwt": weights.first_pass.lmwt}
        )
    edge = _edge(tuned.point.wip, wips)
    if edge and not tuned.point.wip == wips[0] == 0:
        yield ReportWarning(
            "wip_edge",
            f"the tuned word insertion penalty {edge}: try `word_ins_penalty` {_wips_beyond(tuned.point.wip, wips)}",
            {"wip": tuned.point.wip},
        )


def flat_warnings(searched: SearchedWeights) -> Iterator[ReportWarning]:
    """A warning if every LMWT, with the best other weights, gives the same errors: then the choice says nothing."""
    lmwts = np.unique(searched.lmwt)
    least = {int(searched.errors[searched.lmwt == lmwt].min()) for lmwt in lmwts}
    if len(lmwts) < 2 or len(least) > 1 or least == {0}:
        return
    [errors] = least
    yield ReportWarning(
        "flat_lmwt",
        f"every LMWT from {lmwts[0]:g} to {lmwts[-1]:g} gives the same errors ({errors}), so the tuned one is no "
        f"better than the others: tune on more utterances; {UNSCALED}",
        {"errors": errors},
    )


def _edge(value: float, grid: Sequence[float]) -> str:
    """What to say of a value that is the first or last of its grid; empty for any other."""
    if len(grid) < 2 or grid[0] < value < grid[-1]:
        return ""
    return f"{_end(value, grid)}; a better one may lie beyond"


def _end(value: float, grid: Sequence[float]) -> str:
    end = "smallest" if value <= grid[0] else "largest"
    return f"{value:g} is the {end} of its grid, {grid[0]:g} to {grid[-1]:g}"


def _lmwt_edge(value: float, grid: Sequence[float]) -> str:
    """As :func:`_edge`, with the grid to try next; empty also for the least and the largest LMWT that there are."""
    edge = _edge(value, grid)
    if not edge or value in (float(LEAST), float(MOST)):
        return ""
    lowest = value <= grid[0]
    unscaled = f"; {UNSCALED}" if lowest and grid[0] > LARGEST_UNSCALED else ""
    return f"{edge}: try `lmwt` {grid_beyond(grid, below=lowest)}{unscaled}"


def _wips_beyond(value: float, grid: Sequence[float]) -> str:
    """Word insertion penalties to try next, from the one on the edge on, with the step that the grid has there."""
    below = value <= grid[0]
    step = grid[1] - grid[0] if below else grid[-1] - grid[-2]
    beyond = [value + (-step if below else step) * number for number in range(3)]
    return ",".join(f"{penalty:g}" for penalty in sorted(beyond))
