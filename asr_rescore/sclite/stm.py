"""stm files: ``recording channel speaker begin end [<labels>] transcript``, one line for each segment."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from asr_rescore.errors import InputError, RescoreError, shown
from asr_rescore.files import atomic_text, fields, read_lines
from asr_rescore.sclite.network import ScliteConfig
from asr_rescore.sclite.trn import is_comment

IGNORED = ("ignore_time_segment_in_scoring", "ignoretimesegmentinscoring")


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording, and what was said in it.

    Attributes:
        recording, channel, speaker: their names.
        begin, end: seconds from the start of the recording.
        text: the transcript, with alternatives and other marks.
        labels: the conditions that it belongs to, ``O``, ``F0``, …
    """

    recording: str
    channel: str
    speaker: str
    begin: float
    end: float
    text: str
    labels: tuple[str, ...] = ()

    @property
    def ignored(self) -> bool:
        """Whether its words, and what is recognised at its time, do not count."""
        return any(mark in self.text.lower() for mark in IGNORED)


@dataclass(frozen=True)
class Stm:
    """An stm.

    Attributes:
        segments: in the file's order.
        label_names: label → its title, from the file's comments ``;; LABEL "label" "title" "description"``.
    """

    segments: tuple[Segment, ...]
    label_names: Mapping[str, str]


def read_stm(path: str | os.PathLike[str], config: ScliteConfig | None = None) -> Stm:
    """Read an stm in the case in which transcripts are compared, names too.

    Raises:
        InputError: a line lacks a field before the transcript, a time is not finite, or the end is too early.
    """
    config = config or ScliteConfig()
    segments = []
    label_names = {}
    for number, line in read_lines(path):
        if is_comment(line):
            parts = line.split('"')
            if parts[0].split()[1:] == ["LABEL"] and len(parts) >= 4:
                label_names[config.fold(parts[1])] = parts[3]
            continue
        segment = _segment(config.fold(line))
        if segment is None:
            raise InputError(
                f"{path}: line {number}",
                found=shown(line),
                expected="recording, channel, speaker, begin and a later end in seconds, and a transcript",
                remedy="correct the line",
            )
        segments.append(segment)
    return Stm(tuple(segments), label_names)


def _segment(line: str) -> Segment | None:
    """The segment of a line; None if the line is wrong."""
    parts = line.split(None, 5)
    try:
        begin, end = float(parts[3]), float(parts[4])
    except (IndexError, ValueError):
        return None
    if not (math.isfinite(begin) and math.isfinite(end)) or end < begin:
        return None
    text = parts[5] if len(parts) > 5 else ""
    labels: tuple[str, ...] = ()
    if text.startswith("<"):
        first, *rest = text.split(None, 1)
        labels = tuple(filter(None, first.strip("<>").split(",")))
        text = rest[0] if rest else ""
    return Segment(parts[0], parts[1], parts[2], begin, end, text.strip(), labels)


def write_stm(
    path: str | os.PathLike[str], segments: Iterable[Segment], label_names: Mapping[str, str] | None = None
) -> None:
    """Write an stm, sorted by recording, channel and time as sclite requires. It appears only when it is complete.

    Args:
        path: the file.
        segments: in any order. One without labels must not begin with a word such as ``<noise>``.
        label_names: label → its title.

    Raises:
        RescoreError: a name is empty or contains a blank.
    """
    ordered = sorted(segments, key=lambda segment: (segment.recording, segment.channel, segment.begin))
    with atomic_text(path) as stream:
        for label, title in (label_names or {}).items():
            stream.write(f';; LABEL "{label}" "{title}" "{title}"\n')
        for segment in ordered:
            names = [segment.recording, segment.channel, segment.speaker]
            if fields(" ".join(names)) != names or is_comment(names[0]):
                raise RescoreError(f"{names!r} cannot be written into an stm: a name is empty or contains a blank")
            if not segment.labels and segment.text.startswith("<"):
                raise RescoreError(f"{names!r}: the first word of {segment.text!r} would be read as a label; give one")
            labels = [f"<{','.join(segment.labels)}>"] if segment.labels else []
            times = [f"{segment.begin:.3f}", f"{segment.end:.3f}"]
            stream.write(" ".join([*names, *times, *labels, *fields(segment.text)]) + "\n")
