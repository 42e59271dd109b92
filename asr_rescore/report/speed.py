"""How long the rescorings took, from what their jobs noted when they finished."""

from __future__ import annotations

from pathlib import Path

from asr_rescore.errors import RescoreError
from asr_rescore.ranges import NON_NEGATIVE
from asr_rescore.records import read_json


def seconds_of_jobs(out_dir: Path) -> float | None:
    """The time that all jobs of a rescoring took together; None if one of them did not note it."""
    total = 0.0
    markers = sorted(out_dir.glob("job.*.json"))
    for path in markers:
        try:
            marker = read_json(path, "the marker of a finished job", "")
            total += marker.number("seconds", NON_NEGATIVE)
        except RescoreError:  # of an earlier version
            return None
    return total if markers else None
