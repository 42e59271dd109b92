"""ctm files: words with their times, ``<recording> <channel> <begin> <duration> <word> [<confidence>]``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, fields, read_lines
from asr_rescore.kaldi.table import check_key, read_table

ALTERNATIVES = ("<ALT_BEGIN>", "<ALT>", "<ALT_END>")
UNKNOWN = "NA"  # a confidence


@dataclass(frozen=True)
class TimedWord:
    """One line of a ctm.

    Attributes:
        recording: the recording's name, or the utterance id where each utterance is a recording.
        channel: ``1``, ``A``, …
        begin, end: seconds from the start of the recording; nan for the marks of alternatives.
        word: the word itself, or a mark: ``<ALT_BEGIN>``, ``<ALT>`` or ``<ALT_END>``.
        confidence: the probability that the word is correct; None if unknown.
    """

    recording: str
    channel: str
    begin: float
    end: float
    word: str
    confidence: float | None = None


@dataclass(frozen=True)
class Place:
    """The place of an utterance in a recording.

    Attributes:
        recording, channel: as they are named in a ctm.
        offset: seconds from the start of the recording to the start of the utterance.
        end: seconds from the start of the recording to the end of the utterance; None if unknown.
    """

    recording: str
    channel: str = "1"
    offset: float = 0.0
    end: float | None = None


def write_ctm(path: str | os.PathLike[str], words: Iterable[TimedWord]) -> int:
    """Write a ctm, sorted by recording, channel and time as NIST's sclite requires. It appears only when complete.

    Times have two decimals, as written by Kaldi's lattice-to-ctm-conf and convert_ctm.pl; confidences have three.
    Begin and end are rounded and the duration is their difference, so that words that touch still touch.

    Returns:
        The number of words written.

    Raises:
        RescoreError: a recording, channel or word is empty or contains a blank.
    """
    lines = 0
    with atomic_text(path) as stream:
        for word in sorted(words, key=lambda word: (word.recording, word.channel, word.begin)):
            begin = round(word.begin * 100)
            end = round(word.end * 100)
            columns = [
                check_key(word.recording, "recording"),
                check_key(word.channel, "channel"),
                f"{begin / 100:.2f}",
                f"{(end - begin) / 100:.2f}",
                check_key(word.word, "word"),
            ]
            if word.confidence is not None:
                columns.append(f"{word.confidence:.3f}")
            stream.write(" ".join(columns) + "\n")
            lines += 1
    return lines


def read_ctm(path: str | os.PathLike[str]) -> list[TimedWord]:
    """Read a ctm. Comments (``;;``) and empty lines are skipped. The marks of alternatives have no times (``*``).

    Raises:
        InputError: a line does not have five or six fields, or a time or confidence is not a finite number.
    """
    words = []
    for number, line in read_lines(path):
        parts = fields(line)
        if not parts or line.startswith(";;"):
            continue
        word = _timed_word(parts)
        if word is None:
            raise InputError(
                f"{path}: line {number}",
                found=repr(line[:60]),
                expected="recording, channel, begin, duration, word and optionally a confidence",
                remedy="correct the line",
            )
        words.append(word)
    return words


def _timed_word(parts: list[str]) -> TimedWord | None:
    """The word of a line's fields; None if the line is wrong."""
    if len(parts) not in (5, 6):
        return None
    if parts[4].upper() in ALTERNATIVES:
        return TimedWord(parts[0], parts[1], math.nan, math.nan, parts[4])
    begin = _number(parts[2])
    duration = _number(parts[3])
    told = len(parts) == 6 and parts[5].upper() != UNKNOWN
    confidence = _number(parts[5]) if told else None
    if begin is None or duration is None or (told and confidence is None):
        return None
    return TimedWord(parts[0], parts[1], begin, begin + duration, parts[4], confidence)


def read_places(data_dir: str | os.PathLike[str]) -> dict[str, Place] | None:
    """Read utterance → place from the ``segments`` of a data directory; None if it has no ``segments``.

    A ``reco2file_and_channel`` in the same directory renames recordings and gives their channel (Kaldi:
    convert_ctm.pl).

    Raises:
        InputError: a line is not ``utterance recording begin end``, or a recording has no file and channel.
    """
    segments = Path(data_dir) / "segments"
    files = Path(data_dir) / "reco2file_and_channel"
    if not os.path.lexists(segments):  # a link to nowhere is an error, and not a missing file
        return None
    names = read_table(files) if os.path.lexists(files) else None
    places = {}
    for utt, parts in read_table(segments).items():
        begin = _number(parts[1]) if len(parts) == 3 else None
        end = _number(parts[2]) if len(parts) == 3 else None
        if begin is None or (end is not None and 0 <= end < begin):  # a negative end: that of the recording
            raise InputError(
                f"{segments}: key {utt}",
                found=repr(" ".join(parts)),
                expected="a recording, and begin and a later end in seconds",
                remedy="run Kaldi's utils/fix_data_dir.sh",
            )
        place = [parts[0], "1"] if names is None else names.get(parts[0], [])
        if len(place) != 2:
            raise InputError(
                f"{files}: key {parts[0]}",
                found=repr(" ".join(place)) if place else "no such recording",
                expected="a file and a channel for each recording in segments",
                remedy="correct the line, or remove the file",
            )
        places[utt] = Place(place[0], place[1], begin, end if end is None or end >= 0 else None)
    return places


def _number(text: str) -> float | None:
    """The finite number that ``text`` spells, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
