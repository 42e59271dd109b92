"""The progress of long work: a bar on a terminal, at most a line a minute in a log, and a file for other programs.

Only commands show it: a program that imports this package keeps its own output.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asr_rescore.temporary import temporary_path

if TYPE_CHECKING:
    from tqdm import tqdm

# The environment variable that names a file for the progress of a command. show_progress adds up those of several jobs.
PROGRESS_FILE = "ASR_RESCORE_PROGRESS"
LINE_EVERY = 60.0  # seconds between two lines in a log
FILE_EVERY = 2.0  # seconds between two states of the file
REFRESH_EVERY = 1.0  # seconds between two drawings of a bar that stands still

Item = TypeVar("Item")
Clock = Callable[[], float]

_enabled = False
_clock: Clock = time.monotonic
_open: list[Bar] = []  # the innermost last
# When it is time to say something again, whatever bars have come and gone since.
_next_file = 0.0
_next_line = 0.0


@dataclass(frozen=True)
class Status:
    """How far a piece of work has come.

    Attributes:
        name: what is done.
        unit: what is counted; "" if only the percentage means anything.
        done: how many of them are done.
        total: how many there are, perhaps estimated; None if nobody knows.
        left: seconds to the end of the work, estimated; None before anything is done.
        more: further figures, in words.
        work: what the command works on, usually its output directory.
        jobs: how many commands work on it at the same time.
        ended: whether the command has ended.
    """

    name: str = ""
    unit: str = ""
    done: int = 0
    total: int | None = None
    left: float | None = None
    more: str = ""
    work: str = ""
    jobs: int = 1
    ended: bool = False

    @property
    def share(self) -> float:
        """Which part of the work is done, from 0 to 1."""
        if self.ended:
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0

    def __str__(self) -> str:
        counted = f"{self.done:,} {self.unit}"
        if self.total:
            counted = f"{100 * self.share:.0f} %" + (f" of {self.total:,} {self.unit}" if self.unit else "")
        named = ": ".join(part for part in (self.work, self.name, counted) if part)
        parts = [named, self.more, time_left(self.left) if self.left and self.left >= 1 else ""]
        return ", ".join(part for part in parts if part)


_last = Status()  # of the innermost work that was shown


class Pace:
    """Estimates from the time that a part of the work took how long the rest will take.

    Args:
        done: what was done before now, in any unit.
    """

    def __init__(self, done: float = 0.0):
        self.first = done
        self.began = _clock()

    @property
    def seconds(self) -> float:
        """The time since the work began."""
        return _clock() - self.began

    def left(self, done: float, total: float | None) -> float | None:
        """Seconds until ``total`` is done; None if nothing has been done yet, or the total is not known."""
        if total is None or done <= self.first:
            return None
        return self.seconds * max(0.0, total - done) / (done - self.first)


class Bar:
    """The progress of one piece of work, to be used as a context; see :func:`progress_bar`."""

    def __init__(self, name: str, total: int | None, unit: str, initial: int):
        self.name = name
        self.total = total
        self.unit = unit
        self.done = initial
        self.more = ""
        self.pace = Pace(initial)
        self.left: float | None = None  # if the work goes on after this bar
        self._next_refresh = self.pace.began + REFRESH_EVERY
        self._drawn: tqdm[Any] | None = None
        if _enabled and sys.stderr.isatty():
            from tqdm import tqdm

            self._drawn = tqdm(
                desc=name, total=total, unit=f" {unit}", initial=initial, leave=False, dynamic_ncols=True
            )

    def __enter__(self) -> Bar:
        _open.append(self)
        self._tell()
        return self

    def __exit__(self, *_: object) -> None:
        if self in _open:
            _open.remove(self)
        if self._drawn is not None:
            self._drawn.close()
        _remember(self.status)

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield all ``items``, each of which is one unit of the work."""
        with self:
            yield from self.passing(items)

    def passing(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same, within the context of this bar."""
        for item in items:
            yield item
            self.update()

    def update(self, count: int = 1, more: str | None = None, left: float | None = None) -> None:
        """Say that more is done.

        Args:
            count: how many units.
            more: further figures, in words; None: as before.
            left: seconds to the end of the whole work, if it goes on after this bar.
        """
        self.done += count
        self.more = self.more if more is None else more
        self.left = left
        if self._drawn is not None:
            in_all = "" if left is None else time_left(left)
            self._drawn.set_postfix_str(", ".join(filter(None, [self.more, in_all])), refresh=False)
            self._drawn.update(count)
        self._tell()

    def expect(self, total: int) -> None:
        """Say how many units there are, as far as that is known by now."""
        self.total = total
        if self._drawn is not None:
            self._drawn.total = total

    def beat(self) -> None:
        """Show that the work goes on although nothing is finished."""
        now = _clock()
        if self._drawn is not None and now >= self._next_refresh:
            self._next_refresh = now + REFRESH_EVERY
            self._drawn.refresh()
        self._tell()

    @property
    def status(self) -> Status:
        """What others may know."""
        total = self.total if self.total is None else max(self.total, self.done)
        left = self.pace.left(self.done, total) if self.left is None else self.left
        return replace(
            _last, name=self.name, unit=self.unit, done=self.done, total=total, left=left, more=self.more, ended=False
        )

    def _tell(self) -> None:
        """Write the file, and a line into a log, if it is time to."""
        global _next_file, _next_line
        if not _enabled:
            return
        now = _clock()
        if now >= _next_file:
            _next_file = now + FILE_EVERY
            _remember(self.status)
        if now >= _next_line:
            _next_line = now + LINE_EVERY
            if self._drawn is None:
                print(self.status, file=sys.stderr, flush=True)


def progress_bar(name: str, total: int | None = None, unit: str = "", initial: int = 0) -> Bar:
    """The progress of long work, shown on stderr if :func:`show_progress` was called: a bar on a terminal, else lines.

    Args:
        name: what is done.
        total: how many units there are; an estimate if need be.
        unit: what is counted.
        initial: how many of them were done before.
    """
    return Bar(name, total, unit, initial)


def work_on(directory: Path, jobs: int = 1, parts: int = 2) -> None:
    """Say what this command works on, as lines in logs and other programs name it.

    Args:
        directory: usually that of the output.
        jobs: how many commands share the work.
        parts: how much of the end of its path names it.
    """
    _remember(replace(_last, work="/".join(directory.absolute().parts[-parts:]), jobs=jobs))


def beat() -> None:
    """Show that the innermost work that is in progress goes on; for parts of it that take long."""
    if _open:
        _open[-1].beat()


def show_progress(enabled: bool = True) -> None:
    """Let long work of this package show its progress; nothing is shown until this is called.

    When it is turned off, the file of ``ASR_RESCORE_PROGRESS`` says that the command has ended.
    """
    global _enabled, _last, _next_file, _next_line
    if _enabled and not enabled:
        _remember(replace(_last, ended=True))
        _last = Status()
    _enabled = enabled
    _next_file = _clock()
    _next_line = _next_file + LINE_EVERY


def _remember(status: Status) -> None:
    """Write a status to the file that other programs read. A file that cannot be written is no reason to stop."""
    global _last
    _last = status
    named = os.environ.get(PROGRESS_FILE)
    if not named or not _enabled:
        return
    path = Path(named)
    unfinished = temporary_path(path)
    with suppress(OSError, ValueError):
        try:
            unfinished.write_text(json.dumps(asdict(status)) + "\n", encoding="utf-8")
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def duration(seconds: float) -> str:
    """A time in words, as exact as a reader needs it."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 10 else f"{round(seconds / 3600):,} h"


def time_left(seconds: float, now: float | None = None) -> str:
    """How long some work still takes; and if that is minutes, also the time of day at which it ends.

    Args:
        seconds: estimated.
        now: seconds since the epoch; None: the present time.
    """
    text = f"about {duration(seconds)} left"
    if seconds < 100:
        return text
    try:
        end = time.localtime((time.time() if now is None else now) + seconds)
    except (OverflowError, OSError, ValueError):  # thousands of years
        return text
    return f"{text}, until {time.strftime('%H:%M' if seconds < 20 * 3600 else '%d %b %H:%M', end)}"
