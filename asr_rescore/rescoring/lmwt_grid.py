"""The LMWTs to score, as the user writes them: ``7:17``, ``0.7:1.5:0.1``, or ``8,10,12.5``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from asr_rescore.errors import UsageError, shown
from asr_rescore.ranges import POSITIVE, Range

LEAST = Decimal("0.001")
MOST = Decimal(1000)
LMWT = Range(least=float(LEAST), most=float(MOST))
MOST_LMWTS = 1000  # each is scored
LONGEST = 20  # characters of a number: Decimal would compute with as many digits as it is given
USUAL = range(7, 18)  # the LMWTs of Kaldi's score.sh, and the default
CHAIN_GRID = "0.5:2:0.1"  # for lattices whose acoustic costs are those that a chain model was decoded with


def lmwt_grid(text: str) -> tuple[float, ...]:
    """The LMWTs that ``text`` stands for, in ascending order; whole ones are integers, as in Kaldi's file names.

    ``first:last`` has a step of 1. The sums are decimal, so that 0.7 + 0.1 is 0.8. If the last one is not reached
    exactly, the grid ends before it.

    Raises:
        UsageError: ``text`` is none of the three forms, or a number is not an LMWT.
    """
    if ":" not in text:
        values = {_number(part, text) for part in text.split(",")}
    else:
        parts = text.split(":")
        if len(parts) > 3:
            raise _refused(text)
        first, last = (_number(part, text) for part in parts[:2])
        steps = [_number(part, text, POSITIVE) for part in parts[2:]]
        step = steps[0] if steps else Decimal(1)
        if first > last:
            raise UsageError(f"`lmwt` is {shown(text)}: it begins above its end, expected first:last:step")
        count = int((last - first) / step) + 1
        if count > MOST_LMWTS:
            raise UsageError(f"`lmwt` is {shown(text)}: {count} LMWTs, expected at most {MOST_LMWTS}")
        values = {first + number * step for number in range(count)}
    return tuple(int(value) if value == int(value) else float(value) for value in sorted(values))


def grid_beyond(grid: Sequence[float], *, below: bool) -> str:
    """The grid, as text, that continues ``grid`` below its first or above its last LMWT.

    It has the step of ``grid`` and at most as many LMWTs; a smaller step if there is no room for it up to the least or
    the largest LMWT. If ``grid`` has a step of 1 and is narrower than 7:17, the new one has as many LMWTs as 7:17
    and, if the two touch or overlap, all of these, so that one more tuning is likely to be enough.
    """
    values = [Decimal(repr(value)) for value in grid]
    step = values[1] - values[0]
    room = values[0] - LEAST if below else MOST - values[-1]
    if step > room:
        step = min(values[0] / 10, room) if below else room
    narrow = step == values[1] - values[0] == 1 and len(values) < len(USUAL)
    steps = (len(USUAL) if narrow else len(values)) - 1
    if below:
        last = values[0]
        first = max(last - step * steps, min(step, last - step), LEAST)
    else:
        first = values[-1]
        last = min(first + step * steps, MOST)
    if narrow and first <= USUAL[-1] and last >= USUAL[0]:
        first = min(first, Decimal(USUAL[0]))
        last = max(last, Decimal(USUAL[-1]))
    parts = (first, last) if step == 1 else (first, last, step)
    return ":".join(f"{part.normalize():f}" for part in parts)


def _number(part: str, text: str, allowed: Range = LMWT) -> Decimal:
    try:
        value = Decimal(part) if len(part) <= LONGEST else None
    except InvalidOperation:
        value = None
    if value is None:
        raise _refused(text)
    allowed.check("`lmwt`", float(value))
    return value


def _refused(text: str) -> UsageError:
    return UsageError(f"`lmwt` is {shown(text)}, expected first:last such as 7:17, first:last:step, or 8,10,12.5")
