"""One job of a rescoring: which lattices are its own, and the marker it leaves when it is finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_rescore.errors import InputError
from asr_rescore.failures import Failures
from asr_rescore.files import atomic_text
from asr_rescore.fingerprint import Fingerprint, file_stamp
from asr_rescore.ranges import JOBS, NON_NEGATIVE, Range
from asr_rescore.records import Record, read_json

FILES_OF_A_JOB = ("job.{}.json", "lat.{}.gz", "archives.{}")


@dataclass(frozen=True)
class Job:
    """One of ``jobs`` equal parts of a decode directory, as Kaldi's ``$cmd JOB=1:$nj`` hands them out.

    Attributes:
        number: from 1 to ``jobs``.
        jobs: how many there are.
    """

    number: int
    jobs: int

    def __post_init__(self) -> None:
        JOBS.check("`jobs`", self.jobs)
        Range(least=1, most=self.jobs, whole=True).check("`job`", self.number)

    @classmethod
    def all(cls, jobs: int) -> list[Job]:
        """Every one of ``jobs`` jobs."""
        JOBS.check("`jobs`", jobs)
        return [cls(number, jobs) for number in range(1, jobs + 1)]

    def parts(self, files: int) -> list[tuple[int, int, int]]:
        """Which entries of lat.1.gz … lat.``files``.gz are this job's.

        Returns:
            (file number, offset, step): entries offset, offset + step, … of that file. If there are more jobs than
            files, several jobs take turns in one file, and each reads only that file.
        """
        if self.jobs <= files:
            return [(number, 0, 1) for number in range(self.number, files + 1, self.jobs)]
        file = (self.number - 1) % files + 1
        takes_turns = range(file, self.jobs + 1, files)
        return [(file, takes_turns.index(self.number), len(takes_turns))]


class JobMarker:
    """job.JOB.json: written last, it says that a job is finished, what its results were made from and what failed.

    Args:
        out_dir: directory of the rescoring.
        number: of the job.
    """

    def __init__(self, out_dir: Path, number: int):
        self.out_dir = out_dir
        self.path = out_dir / f"job.{number}.json"

    def write(
        self, fingerprint: Fingerprint, results: Iterable[Path], failures: Failures, seconds: float | None = None
    ) -> None:
        """Say that a job is finished.

        Args:
            fingerprint: what the results were made from.
            results: the files that the job wrote.
            failures: what the job could not do.
            seconds: the time it took.
        """
        stamps = {str(file.relative_to(self.out_dir)): file_stamp(file) for file in results}
        tree: dict[str, Any] = {"made_from": fingerprint.facts, "results": stamps, "failures": failures.reasons}
        if seconds is not None:
            tree["seconds"] = round(seconds, 3)
        with atomic_text(self.path) as stream:
            json.dump(tree, stream, indent=1)

    def matches(self, fingerprint: Fingerprint) -> bool:
        """Whether the job is finished, made from just this, and its results are still the files that it wrote.

        A job that is killed while it runs again leaves new results next to the old marker, which then does not match.
        """
        if not self.path.exists():
            return False
        marker = self._read()
        for name, stamp in marker.record("results").values.items():
            file = self.out_dir / name
            if not file.exists() or list(file_stamp(file)) != stamp:
                return False
        return Fingerprint(marker.record("made_from").values) == fingerprint

    def failures(self, fingerprint: Fingerprint) -> dict[str, str]:
        """What the finished job could not do: utterance or file → reason.

        Raises:
            InputError: the job is not finished, or its results were made from something else.
        """
        if not self.matches(fingerprint):
            found = "the marker of other results" if self.path.exists() else "no such file"
            raise InputError(self.path, found=found, expected="a finished job", remedy="run this job again")
        return self._read().texts_by_name("failures")

    def seconds(self) -> float:
        """The time that the finished job took; 0 if the marker does not tell, as that of an earlier version."""
        marker = self._read()
        return marker.number("seconds", NON_NEGATIVE) if "seconds" in marker else 0.0

    def _read(self) -> Record:
        marker = read_json(self.path, "the marker of a finished job", "remove the file; the job is then run again")
        for name in ("made_from", "results"):
            marker.record(name)
        marker.texts_by_name("failures")
        return marker


def remove_jobs_beyond(jobs: int, out_dir: Path) -> None:
    """Remove what an earlier run with more jobs left in ``out_dir``, which readers would take for part of this run."""
    for name in FILES_OF_A_JOB:
        for path in out_dir.glob(name.format("*")):
            number = path.name[len(name.partition("{}")[0]) : len(path.name) - len(name.partition("{}")[2])]
            if not number.isdigit() or int(number) <= jobs:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
