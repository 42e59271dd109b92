"""Kaldi's lattice-to-ctm-conf: words with times and confidences from the lattices of a decode directory."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.failures import Failures
from asr_rescore.lattice import Decoding, Lattice, mbr_decode, scale
from asr_rescore.outputs import check_outputs
from asr_rescore.programs.sources import ReadFiles, files_of
from asr_rescore.progress import progress_bar
from asr_rescore.ranges import FINITE, POSITIVE
from asr_rescore.ranking import USUAL_LMWT

logger = logging.getLogger(__name__)
DecodeKind = Literal["mbr", "best"]


@dataclass(frozen=True)
class CtmConfig:
    """How words are chosen and timed."""

    inv_acwt: float = field(default=USUAL_LMWT, metadata={"help": "inverse acoustic scale (LMWT)"})
    word_ins_penalty: float = field(default=0.0, metadata={"help": "cost added for each word"})
    decode: DecodeKind = field(
        default="mbr",
        metadata={
            "help": "mbr: the words with the fewest expected errors; best: the words of the best path",
            "choices": get_args(DecodeKind),
        },
    )
    posterior_scale: float = field(
        default=1.0, metadata={"help": "factor for all costs; below 1, confidences become lower"}
    )
    frame_shift: float = field(
        default=0.01,
        metadata={
            "help": "seconds per frame; if not given, what frame_shift or frame_subsampling_factor of the model "
            "(in the directory above decode-dir) says"
        },
    )

    def __post_init__(self) -> None:
        for name in ("inv_acwt", "posterior_scale", "frame_shift"):
            POSITIVE.check(f"`{name}`", getattr(self, name))
        FINITE.check("`word_ins_penalty`", self.word_ins_penalty)
        if self.decode not in get_args(DecodeKind):
            raise UsageError(f"`decode` is {self.decode}, expected mbr or best")


@dataclass(frozen=True)
class CtmSummary:
    """What was written.

    Attributes:
        utterances, words: how many are in the ctm.
        risk: expected number of word errors in them.
        failures: utterances that are not in the ctm, or not with times.
    """

    utterances: int
    words: int
    risk: float
    failures: Failures


def write_ctm(
    source: str | os.PathLike[str],
    words: kaldi.SymbolTable,
    path: Path,
    config: CtmConfig,
    places: Mapping[str, kaldi.Place] | None = None,
    *,
    allow_pipes: bool = False,
) -> CtmSummary:
    """Write a ctm of all lattices.

    Args:
        source: a decode directory, or anything :func:`kaldi.read_lattices` reads.
        words: the lattices' words.txt.
        path: the ctm.
        config: how words are chosen and timed.
        places: where each utterance is; by default each is a recording of its own, of channel 1.
        allow_pipes: run commands that ``source`` names.

    Raises:
        UsageError: the ctm is a file of ``source``.
        RescoreError: the ctm cannot be written.
    """
    check_outputs([path], files_of(os.fspath(source)))
    failures = Failures()
    lines: list[kaldi.TimedWord] = []
    utterances = 0
    risk = 0.0
    for _, decoding, timed in timed_words(source, words, config, places, failures, allow_pipes=allow_pipes):
        lines += timed
        utterances += 1
        risk += decoding.risk
    return CtmSummary(utterances, kaldi.write_ctm(path, lines), risk, failures)


def timed_words(
    source: str | os.PathLike[str],
    words: kaldi.SymbolTable,
    config: CtmConfig,
    places: Mapping[str, kaldi.Place] | None,
    failures: Failures,
    *,
    allow_pipes: bool = False,
) -> Iterator[tuple[str, Decoding, list[kaldi.TimedWord]]]:
    """Decode lattices one after the other; see :func:`write_ctm`.

    Args:
        source, words, config, places, allow_pipes: as there.
        failures: gets what fails.

    Yields:
        Utterance, its decoding, and its words with their times.
    """

    def refuse(key: str, error: InputError) -> None:
        failures.add(key or error.where, error)

    sources = kaldi.lattice_files(source) if Path(source).is_dir() else [source]
    files = ReadFiles(sources, progress_bar("ctm", unit="utterances"))
    seen: set[str] = set()
    entries = (
        (file, utt, lattice)
        for _, file in files.each()
        for utt, lattice in kaldi.read_lattices(file, allow_pipes=allow_pipes, on_error=refuse)
    )
    for file, utt, lattice in files.bar.passing(entries):
        if utt in seen:
            failures.add(utt, f"{file}: a second lattice of this utterance; the first one was used")
            continue
        seen.add(utt)
        place = kaldi.Place(utt) if places is None else places.get(utt)
        if place is None:
            failures.add(utt, "it is not in the data directory's segments; give the data directory that was decoded")
            continue
        try:
            decoding = _decode(lattice, config)
            if decoding is None:
                failures.add_empty(utt)
                continue
            if decoding.beam < math.inf:
                logger.warning(
                    "%s: its lattice of %d arcs is too large and was pruned with a beam of %.2f",
                    utt,
                    lattice.num_arcs,
                    decoding.beam,
                )
            timed = _timed_words(decoding, words, place, config.frame_shift)
        except RescoreError as error:
            failures.add(utt, error)
            continue
        yield utt, decoding, timed
        if decoding.words and np.diff(lattice.alignment.offsets).max() < 2:
            failures.add(
                utt,
                "no arc of its lattice has two transition ids, so words have no end times, or no times at all; "
                "make CompactLattices with alignments (Kaldi: lattice-copy, of state-level lattices)",
            )


def _decode(lattice: Lattice, config: CtmConfig) -> Decoding | None:
    """Minimum Bayes risk decoding at the config's costs; None if there is no path."""
    factor = config.posterior_scale
    scaled = lattice if factor == 1 else scale(lattice, factor, factor)
    return mbr_decode(scaled, 1.0 / config.inv_acwt, factor * config.word_ins_penalty, refine=config.decode == "mbr")


def _timed_words(
    decoding: Decoding, words: kaldi.SymbolTable, place: kaldi.Place, frame_shift: float
) -> list[kaldi.TimedWord]:
    seconds = (decoding.times * frame_shift + place.offset).tolist()
    return [
        kaldi.TimedWord(place.recording, place.channel, begin, end, words.word(index), confidence)
        for index, (begin, end), confidence in zip(decoding.words, seconds, decoding.confidences.tolist(), strict=True)
    ]
