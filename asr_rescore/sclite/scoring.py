"""Word errors of trn files, and of ctm files against stm files, counted as NIST's sclite counts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from asr_rescore.errors import InputError, RescoreError
from asr_rescore.kaldi import read_ctm
from asr_rescore.sclite.global_map import GlobalMap, Kind
from asr_rescore.sclite.heard import heard_in_segments, pieces_by_channel
from asr_rescore.sclite.network import ScliteConfig, WordNetwork
from asr_rescore.sclite.network_alignment import AlignedWord, align_networks, count_errors
from asr_rescore.sclite.stm import Segment, read_stm
from asr_rescore.sclite.trn import read_trn, speaker_of
from asr_rescore.word_errors import ErrorCount, Mode

File: TypeAlias = "str | os.PathLike[str]"


@dataclass(frozen=True)
class ScoredSegment:
    """The errors of an utterance or a segment.

    Attributes:
        name: the utterance id, or recording, channel and times.
        speaker: who speaks.
        alignment: the words.
        errors: their counts.
        labels: the conditions that an stm puts the segment in.
    """

    name: str
    speaker: str
    alignment: tuple[AlignedWord, ...]
    errors: ErrorCount
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScliteResult:
    """The errors of a system.

    Attributes:
        segments: what was scored, in the order of the references.
        missing: utterances without a hypothesis.
        unexpected: utterances, or recordings with their channels, that have no reference.
        label_names: label → its title in the stm.
        silent: recordings with their channels that have words in the stm and none in the ctm. Nothing was recognised
            there, or the ctm is not complete: it does not tell which.
    """

    segments: tuple[ScoredSegment, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    label_names: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()

    @cached_property
    def total(self) -> ErrorCount:
        """The errors of all segments."""
        return ErrorCount.total(segment.errors for segment in self.segments)

    def by_speaker(self) -> dict[str, ErrorCount]:
        """Speaker → errors."""
        return self._by(lambda segment: (segment.speaker,))

    def by_label(self) -> dict[str, ErrorCount]:
        """Label → errors of the segments that have it."""
        return self._by(lambda segment: segment.labels)

    def _by(self, keys: Callable[[ScoredSegment], Sequence[str]]) -> dict[str, ErrorCount]:
        counts: dict[str, ErrorCount] = {}
        for segment in self.segments:
            for key in keys(segment):
                counts[key] = counts.get(key, ErrorCount()) + segment.errors
        return counts


def score_trn(
    reference: File,
    hypothesis: File,
    config: ScliteConfig | None = None,
    *,
    glm: File | None = None,
    mode: Mode = "all",
) -> ScliteResult:
    """Score a trn file against another one, as ``sclite -r reference trn -h hypothesis trn``.

    Args:
        reference, hypothesis: the files.
        config: what marks mean.
        glm: rules for both files.
        mode: ``all`` counts a missing hypothesis as an empty one; ``present`` leaves its utterance out, as sclite does.

    Raises:
        InputError: a file cannot be read, or a transcript has an alternation without an end.
    """
    config = config or ScliteConfig()
    said = _mapped(read_trn(reference, config), _rules(glm, "trn", True), config)
    heard = _mapped(read_trn(hypothesis, config), _rules(glm, "trn", False), config)
    segments = []
    for utt, text in said.items():
        if utt in heard or mode == "all":
            alignment = align_networks(
                _network(text, reference, utt), _network(heard.get(utt, ""), hypothesis, utt), config
            )
            errors = replace(count_errors(alignment), missing=int(utt not in heard))
        else:
            alignment, errors = [], ErrorCount(missing=1)
        segments.append(ScoredSegment(utt, speaker_of(utt), tuple(alignment), errors))
    return ScliteResult(
        tuple(segments),
        tuple(utt for utt in said if utt not in heard),
        tuple(utt for utt in heard if utt not in said),
    )


def score_stm(
    reference: File, hypothesis: File, config: ScliteConfig | None = None, *, glm: File | None = None
) -> ScliteResult:
    """Score a ctm file against an stm file, as ``sclite -r reference stm -h hypothesis ctm``.

    A word of the ctm belongs to the segment that its middle is in. Segments whose transcript is
    ``ignore_time_segment_in_scoring`` are left out with the words in them. A segment without words counts as deletions.

    Args:
        reference, hypothesis: the files.
        config: what marks mean.
        glm: rules for both files.

    Raises:
        InputError: a file cannot be read, or a transcript has an alternation without an end.
    """
    config = config or ScliteConfig()
    stm = read_stm(reference, config)
    segments = sorted(stm.segments, key=lambda segment: (segment.recording, segment.channel, segment.begin))
    try:
        channels = pieces_by_channel(read_ctm(hypothesis), config, _rules(glm, "ctm", False))
    except InputError:
        raise
    except RescoreError as error:
        raise InputError(hypothesis, found=str(error), expected="a ctm", remedy="correct the file") from error
    rules = _rules(glm, "stm", True)
    heard = heard_in_segments(segments, channels)
    scored = [
        _scored(segment, text, (reference, hypothesis), rules, config)
        for segment, text in zip(segments, heard, strict=True)
        if not segment.ignored
    ]
    known = {(segment.recording, segment.channel) for segment in segments}
    unexpected = tuple(" ".join(channel) for channel in channels if channel not in known)
    spoken = {(segment.recording, segment.channel) for segment in segments if segment.text and not segment.ignored}
    silent = tuple(" ".join(channel) for channel in sorted(spoken - channels.keys()))
    return ScliteResult(tuple(scored), unexpected=unexpected, label_names=stm.label_names, silent=silent)


def _scored(
    segment: Segment, heard: str, files: tuple[File, File], rules: GlobalMap | None, config: ScliteConfig
) -> ScoredSegment:
    name = f"{segment.recording} {segment.channel} {segment.begin:g} {segment.end:g}"
    said = segment.text if rules is None else config.fold(rules(segment.text, config.case_sensitive))
    alignment = align_networks(_network(said, files[0], name), _network(heard, files[1], name), config)
    return ScoredSegment(name, segment.speaker, tuple(alignment), count_errors(alignment), segment.labels)


def _rules(glm: File | None, kind: Kind, of_reference: bool) -> GlobalMap | None:
    return None if glm is None else GlobalMap.read(glm, kind, "ref" if of_reference else "hyp")


def _mapped(texts: Mapping[str, str], rules: GlobalMap | None, config: ScliteConfig) -> dict[str, str]:
    if rules is None:
        return dict(texts)
    return {utt: config.fold(rules(text, config.case_sensitive)) for utt, text in texts.items()}


def _network(text: str, path: File, name: str) -> WordNetwork:
    try:
        return WordNetwork.parse(text)
    except RescoreError as error:
        raise InputError(
            f"{path}: {name}", found=str(error), expected="{ a / b }, with blanks around", remedy="correct the line"
        ) from error
