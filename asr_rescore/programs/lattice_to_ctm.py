"""Kaldi's lattice-to-ctm-conf: words with times and confidences from the lattices of a decode directory."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.failures import Failures
from asr_rescore.lattice import Decoding, Lattice, mbr_decode, scale
from asr_rescore.ranking import OperatingPoint


@dataclass(frozen=True)
class CtmConfig:
    """How words are chosen and timed.

    Attributes:
        point: LMWT and word insertion penalty, at which paths become probabilities.
        posterior_scale: multiplies all costs before they become probabilities; below 1, confidences fall.
        mbr: the words with the fewest expected errors; else those of the best path.
        frame_shift: seconds a frame; three times the features' own where the model skips frames (Kaldi's chain).
    """

    point: OperatingPoint
    posterior_scale: float = 1.0
    mbr: bool = True
    frame_shift: float = 0.01

    def __post_init__(self) -> None:
        for name in ("posterior_scale", "frame_shift"):
            if not 0 < getattr(self, name) < math.inf:
                option = "--" + name.replace("_", "-")
                raise UsageError(f"{option} is {getattr(self, name)}, expected a number above 0")


@dataclass(frozen=True)
class CtmSummary:
    """What came of it.

    Attributes:
        utterances, words: how many there are in the ctm.
        risk: expected word errors in them.
        failures: utterances that are not in it, or not with times.
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
        config: how.
        places: where each utterance lies; default: each is a recording of its own, of channel 1.
        allow_pipes: run commands that ``source`` names.
    """
    failures, lines, utterances, risk = Failures(), [], 0, 0.0

    def refuse(key: str, error: InputError) -> None:
        failures.add(key or error.where, error)

    lattices = kaldi.read_lattices(source, allow_pipes=allow_pipes, on_error=refuse)
    for utt, lattice in tqdm(lattices, unit="utt", disable=None):
        try:
            place = kaldi.Place(utt) if places is None else places[utt]
            decoding = _decode(lattice, config)
            if decoding is None:
                failures.add_empty(utt)
                continue
            lines += _timed_words(decoding, words, place, config.frame_shift)
        except KeyError:
            failures.add(utt, "the data directory's segments do not have it; give the one that was decoded")
            continue
        except RescoreError as error:
            failures.add(utt, error)
            continue
        utterances, risk = utterances + 1, risk + decoding.risk
        if decoding.words and np.diff(lattice.alignment.offsets).max() < 2:
            failures.add(
                utt,
                "no arc of its lattice has two transition ids, so that words have no ends, or no times at all; "
                "make CompactLattices with alignments (Kaldi: lattice-copy, of state-level ones)",
            )
    return CtmSummary(utterances, kaldi.write_ctm(path, lines), risk, failures)


def _decode(lattice: Lattice, config: CtmConfig) -> Decoding | None:
    """Minimum Bayes risk decoding at the configuration's costs; None without a path."""
    factor = config.posterior_scale
    flattened = lattice if factor == 1 else scale(lattice, factor, factor)
    return mbr_decode(flattened, config.point.acoustic_scale, factor * config.point.wip, refine=config.mbr)


def _timed_words(
    decoding: Decoding, words: kaldi.SymbolTable, place: kaldi.Place, frame_shift: float
) -> list[kaldi.TimedWord]:
    seconds = (decoding.times * frame_shift + place.offset).tolist()
    return [
        kaldi.TimedWord(place.recording, place.channel, begin, end, words.word(index), confidence)
        for index, (begin, end), confidence in zip(decoding.words, seconds, decoding.confidences.tolist(), strict=True)
    ]
