"""Whether confidences are right: how often words of each confidence are correct, from a ctm in an out-dir."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.errors import RescoreError
from asr_rescore.kaldi import read_ctm
from asr_rescore.report.word_changes import aligned

CTM_FILE = "ctm"  # what `lattice_to_ctm … <out-dir>/ctm` writes
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Words by confidence.

    Attributes:
        confidences: mean confidence of the words of each bin, in ascending order; empty bins are left out.
        right: the share of them that are correct.
        words: how many they are.
    """

    confidences: tuple[float, ...]
    right: tuple[float, ...]
    words: tuple[int, ...]

    @property
    def calibration_error(self) -> float:
        """The mean difference of confidence and share of correct words, weighted by words (ECE)."""
        gaps = zip(self.confidences, self.right, self.words, strict=True)
        return sum(abs(confidence - right) * words for confidence, right, words in gaps) / sum(self.words)

    @classmethod
    def of(cls, words: Sequence[tuple[float, bool]]) -> Reliability:
        """From the confidence of each word, and whether it is correct; at least one word."""
        bins: dict[int, list[tuple[float, bool]]] = {}
        for confidence, right in words:
            bins.setdefault(min(int(BINS * confidence), BINS - 1), []).append((confidence, right))
        ordered = [bins[number] for number in sorted(bins)]
        return cls(
            tuple(sum(confidence for confidence, _ in entries) / len(entries) for entries in ordered),
            tuple(sum(right for _, right in entries) / len(entries) for entries in ordered),
            tuple(map(len, ordered)),
        )


def read_reliability(out_dir: Path, references: Mapping[str, Sequence[str]]) -> Reliability | None:
    """The reliability of the confidences in the ctm of an out-dir.

    Args:
        out_dir: the output directory of a rescoring.
        references: utterance → words, as they are compared.

    Returns:
        None if there is no ctm with confidences.

    Raises:
        RescoreError: the ctm is damaged, or its recordings are not the utterances.
    """
    path = out_dir / CTM_FILE
    if not path.is_file():
        return None
    heard: dict[str, list[tuple[str, float]]] = {}
    for word in read_ctm(path):
        if word.confidence is not None:
            heard.setdefault(word.recording, []).append((word.word, word.confidence))
    if not heard:
        return None
    unknown = [utt for utt in heard if utt not in references]
    if unknown:
        raise RescoreError(
            f"{path}: {unknown[0]} is not an utterance that was scored, so confidences are not shown; make it without "
            "`data_dir`, so that each utterance is a recording of its own"
        )
    found = []
    for utt, words in heard.items():
        confidences = iter([confidence for _, confidence in words])
        for said, text in aligned(references[utt], [text for text, _ in words]):
            if text is not None:
                found.append((next(confidences), said == text))
    return Reliability.of(found)
