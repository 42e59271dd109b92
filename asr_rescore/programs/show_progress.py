"""The progress of several jobs, added up from the files that they write."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from asr_rescore.errors import RescoreError, printable
from asr_rescore.files import read_lines
from asr_rescore.progress import LINE_EVERY, REFRESH_EVERY, Pace, Status
from asr_rescore.ranges import NON_NEGATIVE
from asr_rescore.records import parse_json

KIND = "the progress of a job"
REMEDY = "remove the file"
CLEAR = "\r\033[K"  # to the start of the line, which is emptied


def read_status(path: Path) -> Status:
    """Read the file that a command writes if ``ASR_RESCORE_PROGRESS`` names it.

    Raises:
        InputError: it is missing, or something else.
    """
    text = "".join(line for _, line in read_lines(path))
    record = parse_json(text, str(path), KIND, REMEDY)
    return Status(
        name=record.text("name"),
        unit=record.text("unit"),
        done=record.integer("done"),
        total=record.integer("total") if "total" in record else None,
        left=record.number("left", NON_NEGATIVE) if "left" in record else None,
        more=record.text("more"),
        work=record.text("work"),
        jobs=record.integer("jobs", least=1),
        ended=record.flag("ended"),
    )


@dataclass
class Watch:
    """Adds up what jobs say about their progress.

    Attributes:
        directory: holds a file for each job that has begun.
    """

    directory: Path
    _paces: dict[str, Pace] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """A line for each piece of work, with all jobs that share it."""
        works: defaultdict[str, list[Status]] = defaultdict(list)
        for path in sorted(self.directory.glob("[!.]*")):
            try:
                status = read_status(path)
            except (RescoreError, OSError):
                continue  # it has just been removed; what is not a progress is none of ours
            works[status.work].append(status)
        if not works:
            return ["waiting for jobs to begin"]
        lines = (self._line(statuses) for statuses in works.values())
        return [printable(line) for line in lines if line]

    def _line(self, statuses: list[Status]) -> str:
        """One line for the jobs of one piece of work, also for those that have not begun; none if it has ended."""
        jobs = max(len(statuses), *(status.jobs for status in statuses))
        running = [status for status in statuses if not status.ended]
        if not any(status.name for status in statuses):
            # Perhaps nothing is left to do: then a command ends when it has read its inputs.
            return f"{statuses[0].work}: reads its inputs" if running else ""
        if jobs == 1:
            return str(running[0]) if running else ""
        done = sum(status.share for status in statuses) / jobs
        pace = self._paces.setdefault(statuses[0].work, Pace(done))
        totals = [status.total for status in statuses if status.total]
        total = round(sum(totals) / len(totals) * jobs) if totals else None
        whole = replace(
            next((status for status in (*running, *statuses) if status.name), statuses[0]),
            done=round(done * total) if total else sum(status.done for status in statuses),
            total=total,
            left=pace.left(done, 1.0),
            more=f"{len(statuses) - len(running)} of {jobs} jobs done",
        )
        return str(whole)


def follow(watch: Watch, stream: TextIO, wait: Callable[[float], bool]) -> None:
    """Show the lines of a watch: in turn, in one line that changes, on a terminal; once a minute elsewhere.

    Args:
        watch: is asked again and again.
        stream: where they are shown.
        wait: waits for some seconds; true if nobody needs the lines any more.
    """
    on_terminal = stream.isatty()
    turn = 0
    while not wait(REFRESH_EVERY if on_terminal or not turn else LINE_EVERY):
        lines = watch.lines()
        turn += 1
        if on_terminal:
            stream.write(CLEAR + fitted(lines, turn, shutil.get_terminal_size().columns - 1))
        else:
            stream.writelines(f"{line}\n" for line in lines)
        stream.flush()
    if on_terminal:
        stream.write(CLEAR)
        stream.flush()


def fitted(lines: list[str], turn: int, width: int) -> str:
    """What one line of a terminal has room for: all of the lines, or else each for some turns."""
    together = " | ".join(lines)
    if len(together) > width and lines:
        together = lines[turn // 3 % len(lines)]
    return together if len(together) <= width else f"{together[: width - 1]}…"
