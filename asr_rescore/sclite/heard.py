"""The words of a ctm as pieces of transcripts, and their places in the segments of an stm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.files import fields
from asr_rescore.kaldi import TimedWord
from asr_rescore.sclite.global_map import GlobalMap
from asr_rescore.sclite.network import NOTHING, ScliteConfig
from asr_rescore.sclite.stm import Segment

Channel = tuple[str, str]  # recording, channel
ALT_BEGIN, ALT, ALT_END = "<alt_begin>", "<alt>", "<alt_end>"


@dataclass(frozen=True)
class Piece:
    """A word, or an alternation of words, that was recognised.

    Attributes:
        text: as in a transcript.
        middle: seconds; of an alternation, the latest middle of its words.
    """

    text: str
    middle: float


def pieces_by_channel(
    words: Iterable[TimedWord], config: ScliteConfig, rules: GlobalMap | None = None
) -> dict[Channel, list[Piece]]:
    """What was recognised in each channel, in the order of time.

    Args:
        words: a ctm.
        config: for the case in which words are compared.
        rules: rewrite each word; what replaces it shares its time.

    Raises:
        RescoreError: an alternation of the ctm has no end.
    """
    channels: dict[Channel, list[TimedWord]] = {}
    for word in words:
        channel = (config.fold(word.recording), config.fold(word.channel))
        channels.setdefault(channel, []).append(word)
    return {channel: _pieces(channel, found, config, rules) for channel, found in channels.items()}


def _pieces(channel: Channel, words: Sequence[TimedWord], config: ScliteConfig, rules: GlobalMap | None) -> list[Piece]:
    pieces: list[Piece] = []
    alternatives: list[list[Piece]] | None = None  # of the alternation that has begun
    for word in words:
        mark = word.word.lower()
        if mark == ALT_BEGIN:
            alternatives = [[]]
        elif mark == ALT and alternatives is not None:
            alternatives.append([])
        elif mark == ALT_END and alternatives is not None:
            pieces += _alternation(alternatives)
            alternatives = None
        else:
            into = pieces if alternatives is None else alternatives[-1]
            into += _mapped(word, config, rules)
    if alternatives is not None:
        raise RescoreError(f"recording {channel[0]}, channel {channel[1]}: <ALT_BEGIN> without <ALT_END>")
    return sorted(pieces, key=lambda piece: piece.middle)


def _alternation(alternatives: Sequence[Sequence[Piece]]) -> list[Piece]:
    middles = [piece.middle for pieces in alternatives for piece in pieces]
    if not middles:
        return []
    texts = [" ".join(piece.text for piece in pieces) or NOTHING for pieces in alternatives]
    return [Piece("{ " + " / ".join(texts) + " }", max(middles))]


def _mapped(word: TimedWord, config: ScliteConfig, rules: GlobalMap | None) -> list[Piece]:
    """A word, or what the rules put in its place; several words get equal parts of its time."""
    text = word.word if rules is None else rules(word.word, config.case_sensitive)
    duration = round(word.end - word.begin, 6)  # as it was written: middles at the end of a segment are frequent
    alternatives = text.replace("{", " ").replace("}", " ").split("/") if "{" in text else [text]
    timed = []
    for alternative in alternatives:
        parts = fields(alternative)
        begins, step = _equal_parts(word.begin, duration, len(parts))
        timed.append([Piece(config.fold(part), begin + step / 2) for begin, part in zip(begins, parts, strict=True)])
    return timed[0] if len(timed) == 1 else _alternation([pieces for pieces in timed if pieces])


def _equal_parts(begin: float, duration: float, parts: int) -> tuple[list[float], float]:
    """Begins and duration of equal parts of a word's time, in milliseconds as csrfilt writes them."""
    if parts < 2:
        return [begin] * parts, duration
    step = duration / parts
    return [round(begin + part * step, 3) for part in range(parts)], round(step, 3)


def heard_in_segments(segments: Sequence[Segment], channels: Mapping[Channel, Sequence[Piece]]) -> list[str]:
    """The transcript of what was recognised in each segment.

    A piece belongs to the first segment of its channel that ends after the piece's middle, or else to the last one.

    Args:
        segments: of any number of channels; those of a channel in the order of time.
        channels: what was recognised, in the order of time.
    """
    last = {(segment.recording, segment.channel): place for place, segment in enumerate(segments)}
    following = dict.fromkeys(last, 0)  # the first piece that no segment has got
    texts = []
    for place, segment in enumerate(segments):
        channel = (segment.recording, segment.channel)
        pieces = channels.get(channel, ())
        # sclite holds this time in single precision, which matters where a middle is at the end itself.
        end = math.inf if place == last[channel] else float(np.float32(segment.end))
        begin = stop = following[channel]
        while stop < len(pieces) and pieces[stop].middle < end:
            stop += 1
        following[channel] = stop
        texts.append(" ".join(piece.text for piece in pieces[begin:stop]))
    return texts
