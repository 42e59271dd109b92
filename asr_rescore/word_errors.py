"""Word errors by utterance, counted exactly as Kaldi counts them, and edit distances in bulk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.word_alignment import COMPUTE_WER, AlignmentRule, align

if TYPE_CHECKING:
    import jiwer

Mode = Literal["all", "present"]


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Errors of a set of utterances; counts of disjoint sets can be added.

    Attributes:
        insertions, deletions, substitutions: number of words.
        reference_words: number of words in the references.
        sentences: number of utterances scored.
        wrong_sentences: number of utterances with an error.
        missing: number of utterances that have a reference but no hypothesis.
    """

    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    reference_words: int = 0
    sentences: int = 0
    wrong_sentences: int = 0
    missing: int = 0

    def __post_init__(self) -> None:
        if min(getattr(self, count.name) for count in fields(self)) < 0:
            raise RescoreError(f"{self!r}: a count is negative")
        if self.deletions + self.substitutions > self.reference_words or self.wrong_sentences > self.sentences:
            raise RescoreError(f"{self!r}: more errors than words or sentences")

    def __add__(self, other: ErrorCount) -> ErrorCount:
        return ErrorCount(*(getattr(self, count.name) + getattr(other, count.name) for count in fields(self)))

    @classmethod
    def total(cls, counts: Iterable[ErrorCount]) -> ErrorCount:
        """The sum of any number of counts; equal ones, which are frequent, are added at once."""
        return _total(Counter(counts))

    def __str__(self) -> str:
        return self.wer_line()

    @property
    def errors(self) -> int:
        """Insertions, deletions and substitutions."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def wer(self) -> float:
        """Word error rate, in percent of the reference words. If there are none: inf with errors, else nan."""
        if not self.reference_words:
            return math.inf if self.errors else math.nan
        return 100 * self.errors / self.reference_words

    @property
    def ser(self) -> float:
        """Sentence error rate, in percent of the sentences; nan if there are none."""
        return 100 * self.wrong_sentences / self.sentences if self.sentences else math.nan

    def wer_line(self, rate: str = "WER") -> str:
        """Kaldi's %WER line; ``rate`` is the name of the rate."""
        return (
            f"%{rate} {self.wer:.2f} [ {self.errors} / {self.reference_words}, {self.insertions} ins, "
            f"{self.deletions} del, {self.substitutions} sub ]" + (" [PARTIAL]" if self.missing else "")
        )

    def lines(self) -> str:
        """The output of Kaldi's compute-wer."""
        return (
            f"{self.wer_line()}\n%SER {self.ser:.2f} [ {self.wrong_sentences} / {self.sentences} ]\n"
            f"Scored {self.sentences} sentences, {self.missing} not present in hyp.\n"
        )


def _total(times: Mapping[ErrorCount, int]) -> ErrorCount:
    """The sum of counts of which each occurs some times."""
    return ErrorCount(
        *(sum(number * getattr(count, entry.name) for count, number in times.items()) for entry in fields(ErrorCount))
    )


@lru_cache(maxsize=1 << 12)
def _shared(*counts: int) -> ErrorCount:
    """The same value for equal counts, so that many utterances take little memory."""
    return ErrorCount(*counts)


@lru_cache(maxsize=1 << 14)  # a hypothesis wins at many operating points; an entry takes half a kilobyte
def _count(reference: tuple[str, ...], hypothesis: tuple[str, ...], rule: AlignmentRule) -> ErrorCount:
    pairs = align(reference, hypothesis, rule)
    insertions = sum(said is None for said, _ in pairs)
    deletions = sum(heard is None for _, heard in pairs)
    substitutions = sum(said != heard for said, heard in pairs) - insertions - deletions
    return _shared(insertions, deletions, substitutions, len(reference), 1, int(reference != hypothesis))


def count(reference: Sequence[str], hypothesis: Sequence[str], rule: AlignmentRule = COMPUTE_WER) -> ErrorCount:
    """The errors of one utterance; see :func:`~asr_rescore.word_alignment.align` for ``rule``.

    Raises:
        UsageError: a transcript is a string instead of a sequence of words.
    """
    _refuse_string(reference)
    _refuse_string(hypothesis)
    return _count(tuple(reference), tuple(hypothesis), rule)


def errors_by_utterance(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    mode: Mode = "all",
    rule: AlignmentRule = COMPUTE_WER,
) -> dict[str, ErrorCount]:
    """The errors of each utterance that has a reference.

    Args:
        references, hypotheses: utterance → words. A hypothesis without a reference is ignored.
        mode: as compute-wer's ``--mode``: ``all`` counts a missing hypothesis as an empty one, ``present`` counts its
            utterance only in ``missing``.
        rule: see :func:`~asr_rescore.word_alignment.align`.

    Returns:
        utterance → errors.

    Raises:
        UsageError: a transcript is a string instead of a sequence of words.
    """
    return {utt: _errors_of(utt, reference, hypotheses, mode, rule) for utt, reference in references.items()}


def _errors_of(
    utt: str, reference: Sequence[str], hypotheses: Mapping[str, Sequence[str]], mode: Mode, rule: AlignmentRule
) -> ErrorCount:
    hypothesis = hypotheses.get(utt)
    if hypothesis is not None:
        return count(reference, hypothesis, rule)
    return _shared(0, 0, 0, 0, 0, 0, 1) if mode == "present" else replace(count(reference, (), rule), missing=1)


def wer(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]], mode: Mode = "all"
) -> ErrorCount:
    """Word errors of hypotheses against references: the sum of :func:`errors_by_utterance`.

    Returns:
        The counts; their ``wer`` is the word error rate in percent.

    Raises:
        UsageError: a transcript is a string instead of a sequence of words.
    """
    [total] = wers(references, [hypotheses], mode)
    return total


def wers(
    references: Mapping[str, Sequence[str]], systems: Sequence[Mapping[str, Sequence[str]]], mode: Mode = "all"
) -> list[ErrorCount]:
    """Word errors of the hypotheses of several systems, or operating points: :func:`wer` of each.

    All hypotheses of an utterance are counted before those of the next one, so that equal ones are aligned once however
    many utterances there are.
    """
    times: list[Counter[ErrorCount]] = [Counter() for _ in systems]
    for utt, reference in references.items():
        for counter, hypotheses in zip(times, systems, strict=True):
            counter[_errors_of(utt, reference, hypotheses, mode, COMPUTE_WER)] += 1
    return [_total(counter) for counter in times]


def edit_distances(reference: Sequence[str], hypotheses: Sequence[Sequence[str]]) -> np.ndarray:
    """Word errors of each of many hypotheses of one utterance, int64 (hypotheses,).

    This is only the sum of insertions, deletions and substitutions, which does not depend on ties; jiwer computes it.

    Raises:
        UsageError: the reference is a string instead of a sequence of words.
    """
    _refuse_string(reference)
    if not reference:  # jiwer may refuse an empty reference
        return np.array([len(words) for words in hypotheses], dtype=np.int64)
    if not len(hypotheses):
        return np.empty(0, dtype=np.int64)
    import jiwer

    # jiwer's default would also split words at no-break and other wide spaces, which Kaldi does not.
    split = jiwer.Compose([jiwer.ReduceToListOfListOfWords()])
    output = jiwer.process_words(
        [" ".join(reference)] * len(hypotheses), [" ".join(words) for words in hypotheses], split, split
    )
    return np.array([_errors(chunks) for chunks in output.alignments], dtype=np.int64)


def _errors(chunks: Sequence[jiwer.AlignmentChunk]) -> int:
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in chunks
        if chunk.type != "equal"
    )


def _refuse_string(words: Sequence[str]) -> None:
    """A string is a sequence too, but its letters would be counted as words."""
    if isinstance(words, str):
        raise UsageError(f"a transcript is the string {words[:40]!r}, expected a sequence of words; split it")
