"""Word errors, keyed by utterance: Kaldi's counts to the digit, and distances in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from asr_rescore.errors import RescoreError

if TYPE_CHECKING:
    import jiwer

Mode = Literal["all", "present"]
Ties = tuple[str, str, str]
# What an alignment prefers among equally cheap steps.
COMPUTE_WER: Ties = ("ins", "del", "sub")
ALIGN_TEXT: Ties = ("sub", "del", "ins")


@dataclass(frozen=True)
class ErrorCount:
    """Errors of a set of utterances; counts of several sets add up.

    Attributes:
        insertions, deletions, substitutions: words.
        reference_words: words that were said.
        sentences: utterances scored.
        wrong_sentences: those of them with an error.
        missing: utterances with a reference but no hypothesis.
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
            raise RescoreError(f"{self}: a count is negative")
        if self.deletions + self.substitutions > self.reference_words or self.wrong_sentences > self.sentences:
            raise RescoreError(f"{self}: more errors than there is to err on")

    def __add__(self, other: ErrorCount) -> ErrorCount:
        return ErrorCount(*(getattr(self, count.name) + getattr(other, count.name) for count in fields(self)))

    @property
    def errors(self) -> int:
        """All word errors."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def wer(self) -> float:
        """Percent of the reference words; nan where there are none."""
        return 100 * self.errors / self.reference_words if self.reference_words else float("nan")

    @property
    def ser(self) -> float:
        """Percent of the sentences with an error; nan where there are none."""
        return 100 * self.wrong_sentences / self.sentences if self.sentences else float("nan")

    def wer_line(self) -> str:
        """Kaldi's %WER line."""
        return (
            f"%WER {self.wer:.2f} [ {self.errors} / {self.reference_words}, {self.insertions} ins, "
            f"{self.deletions} del, {self.substitutions} sub ]" + (" [PARTIAL]" if self.missing else "")
        )

    def lines(self) -> str:
        """What Kaldi's compute-wer prints."""
        return (
            f"{self.wer_line()}\n%SER {self.ser:.2f} [ {self.wrong_sentences} / {self.sentences} ]\n"
            f"Scored {self.sentences} sentences, {self.missing} not present in hyp.\n"
        )


def align(
    reference: Sequence[str], hypothesis: Sequence[str], ties: Ties = COMPUTE_WER
) -> list[tuple[str | None, str | None]]:
    """The cheapest alignment as (reference word, hypothesis word); None for an insertion's or deletion's other side.

    Args:
        reference, hypothesis: words.
        ties: which step is preferred among equally cheap ones: ``COMPUTE_WER`` gives compute-wer's counts,
            ``ALIGN_TEXT`` align-text's alignments. The errors are as many either way.
    """
    rows = [list(range(len(reference) + 1))]  # rows[h][r]: errors of the first h words against the first r
    for number, word in enumerate(hypothesis, 1):
        above, row = rows[-1], [number]
        for place, said in enumerate(reference, 1):
            row.append(min(above[place - 1] + (word != said), row[-1] + 1, above[place] + 1))
        rows.append(row)
    pairs: list[tuple[str | None, str | None]] = []
    h, r = len(hypothesis), len(reference)
    while h or r:
        here = rows[h][r]
        steps = {
            "ins": h > 0 and rows[h - 1][r] + 1 == here,
            "del": r > 0 and rows[h][r - 1] + 1 == here,
            "sub": h > 0 and r > 0 and rows[h - 1][r - 1] + (hypothesis[h - 1] != reference[r - 1]) == here,
        }
        step = next(name for name in ties if steps[name])
        pairs.append((None if step == "ins" else reference[r - 1], None if step == "del" else hypothesis[h - 1]))
        h, r = h - (step != "del"), r - (step != "ins")
    return pairs[::-1]


@lru_cache(maxsize=1 << 16)  # a hypothesis wins at many operating points
def _count(reference: tuple[str, ...], hypothesis: tuple[str, ...], ties: Ties) -> ErrorCount:
    pairs = align(reference, hypothesis, ties)
    insertions = sum(said is None for said, _ in pairs)
    deletions = sum(heard is None for _, heard in pairs)
    substitutions = sum(said != heard for said, heard in pairs) - insertions - deletions
    return ErrorCount(insertions, deletions, substitutions, len(reference), 1, int(reference != hypothesis))


def count(reference: Sequence[str], hypothesis: Sequence[str], ties: Ties = COMPUTE_WER) -> ErrorCount:
    """The errors of one utterance, split into kinds as :func:`align` does with these ``ties``."""
    return _count(tuple(reference), tuple(hypothesis), ties)


def score_by_utterance(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    mode: Mode = "all",
    ties: Ties = COMPUTE_WER,
) -> dict[str, ErrorCount]:
    """Errors of each utterance that has a reference.

    Args:
        references, hypotheses: utterance → words. A hypothesis without a reference is not looked at.
        mode: ``all`` counts a missing hypothesis as an empty one, ``present`` leaves its utterance out of all but
            ``missing``. Both are compute-wer's ``--mode``.
        ties: see :func:`align`.
    """
    counts = {}
    for utt, reference in references.items():
        if utt in hypotheses:
            counts[utt] = count(reference, hypotheses[utt], ties)
        elif mode == "present":
            counts[utt] = ErrorCount(missing=1)
        else:
            counts[utt] = replace(count(reference, (), ties), missing=1)
    return counts


def score(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]], mode: Mode = "all"
) -> ErrorCount:
    """The sum of :func:`score_by_utterance`."""
    return sum(score_by_utterance(references, hypotheses, mode).values(), ErrorCount())


def edit_distances(reference: Sequence[str], hypotheses: Sequence[Sequence[str]]) -> np.ndarray:
    """Word errors of each hypothesis against one reference, int64 (hypotheses,).

    Only the sum of insertions, deletions and substitutions, which no tie can change; jiwer computes it.
    """
    if not reference:  # which jiwer reserves the right to refuse
        return np.array([len(words) for words in hypotheses], dtype=np.int64)
    if not len(hypotheses):
        return np.empty(0, dtype=np.int64)
    import jiwer

    # jiwer's default would also strip and merge wide blanks, which are words to Kaldi.
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
