"""ctm files: words with their times, ``<recording> <channel> <begin> <duration> <word> [<confidence>]``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.kaldi.table import check_key, fields, read_table


@dataclass(frozen=True)
class TimedWord:
    """A line of a ctm.

    Attributes:
        recording: its name, or an utterance's where utterances are recordings.
        channel: ``1``, ``A``, …
        begin, end: seconds from the recording's start.
        word: its spelling.
        confidence: the probability that it is right; None where nobody says.
    """

    recording: str
    channel: str
    begin: float
    end: float
    word: str
    confidence: float | None = None


@dataclass(frozen=True)
class Place:
    """Where an utterance lies.

    Attributes:
        recording, channel: in a ctm's terms.
        offset: seconds from the recording's start.
    """

    recording: str
    channel: str = "1"
    offset: float = 0.0


def write_ctm(path: str | os.PathLike[str], words: Iterable[TimedWord]) -> int:
    """Write a ctm, whole or not at all: sorted by recording, channel and time, as NIST's sclite wants it.

    Times have two decimals, as from Kaldi's lattice-to-ctm-conf and convert_ctm.pl, confidences three. Begin and end
    are rounded, and the duration is what lies between, so that words that touch still do.

    Returns:
        How many words were written.

    Raises:
        RescoreError: a recording, channel or word that is empty or holds a blank.
    """
    lines = 0
    with atomic_text(path) as stream:
        for word in sorted(words, key=lambda word: (word.recording, word.channel, word.begin)):
            begin, end = round(word.begin * 100), round(word.end * 100)
            names = [check_key(name) for name in (word.recording, word.channel, word.word)]
            columns = [*names[:2], f"{begin / 100:.2f}", f"{(end - begin) / 100:.2f}", names[2]]
            if word.confidence is not None:
                columns.append(f"{word.confidence:.3f}")
            stream.write(" ".join(columns) + "\n")
            lines += 1
    return lines


def read_ctm(path: str | os.PathLike[str]) -> list[TimedWord]:
    """Read a ctm; comments (``;;``) and empty lines are passed over.

    Raises:
        InputError: a line of other than five or six fields, or with no number where one belongs.
    """
    words = []
    for number, line in read_lines(path):
        parts = fields(line)
        if not parts or line.startswith(";;"):
            continue
        numbers = [_number(part) for part in [*parts[2:4], *parts[5:]]]
        if len(parts) not in (5, 6) or None in numbers:
            raise InputError(
                f"{path}: line {number}",
                found=repr(line[:60]),
                expected="recording, channel, begin, duration, word and perhaps a confidence",
                remedy="correct the line",
            )
        begin, duration, *confidence = numbers
        words.append(TimedWord(*parts[:2], begin, begin + duration, parts[4], *confidence))
    return words


def read_places(data_dir: str | os.PathLike[str]) -> dict[str, Place] | None:
    """Utterance → where it lies, of a data directory with ``segments``; None where utterances are whole recordings.

    A ``reco2file_and_channel`` beside it renames recordings and gives their channel (Kaldi: convert_ctm.pl).

    Raises:
        InputError: a line that is not ``utterance recording begin end``, or a recording without file and channel.
    """
    segments, files = Path(data_dir) / "segments", Path(data_dir) / "reco2file_and_channel"
    if not segments.exists():
        return None
    names = read_table(files) if files.exists() else None
    places = {}
    for utt, parts in read_table(segments).items():
        begin = _number(parts[1]) if len(parts) == 3 else None
        if begin is None:
            raise InputError(
                f"{segments}: key {utt}",
                found=repr(" ".join(parts)),
                expected="a recording, and begin and end in seconds",
                remedy="run Kaldi's utils/fix_data_dir.sh",
            )
        place = [parts[0], "1"] if names is None else names.get(parts[0], [])
        if len(place) != 2:
            raise InputError(
                f"{files}: key {parts[0]}",
                found=repr(" ".join(place)) if place else "no such recording",
                expected="a file and a channel for each recording of segments",
                remedy="correct the line, or remove the file",
            )
        places[utt] = Place(*place, begin)
    return places


def _number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
