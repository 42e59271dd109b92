"""Which words a rescoring mends and spoils."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from asr_rescore.word_alignment import ALIGN_TEXT, Alignment, align

Texts = Mapping[str, Sequence[str]]
NOTHING = "∅"  # stands for the word that is missing in a deletion or an insertion


@dataclass
class WordChanges:
    """The errors of a system, word by word, next to those of its first pass.

    Attributes:
        fixed: words that the first pass has wrong and the system right → how often.
        broken: the other way round.
        confusions: (reference word, hypothesis word) → errors of the system; ``∅`` for a missing one.
        confusions_before: the same in the first pass.
        wrong: reference words that the system has wrong → how often.
        said: reference words → how often.
    """

    fixed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    confusions_before: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)

    def add(self, references: Texts, before: Texts, after: Texts) -> None:
        """Count the words of some utterances.

        Args:
            references: utterance → words.
            before, after: likewise, of the first pass and the system; a missing utterance is empty.
        """
        for utt, reference in references.items():
            self.said.update(reference)
            pairs_before = aligned(reference, before.get(utt, ()))
            pairs_after = aligned(reference, after.get(utt, ()))
            right_before = right_words(pairs_before)
            right_after = right_words(pairs_after)
            for word, was_right, is_right in zip(reference, right_before, right_after, strict=True):
                if is_right and not was_right:
                    self.fixed[word] += 1
                elif was_right and not is_right:
                    self.broken[word] += 1
                if not is_right:
                    self.wrong[word] += 1
            self.confusions_before.update(_confusions(pairs_before))
            self.confusions.update(_confusions(pairs_after))

    def oov(self, is_oov: Callable[[str], bool]) -> list[tuple[str, int, int]]:
        """The reference words that are OOV, how often they were said, and how often they are wrong."""
        words = [word for word in self.said if is_oov(word)]
        return sorted(((word, self.said[word], self.wrong[word]) for word in words), key=lambda row: (-row[1], row[0]))


def most(counts: Counter[str], limit: int) -> list[tuple[str, int]]:
    """The most frequent entries; of equally frequent ones, the alphabetically first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


@lru_cache(maxsize=1 << 15)  # three views show the same ones; an entry takes a few kilobytes
def _aligned(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> Alignment:
    return align(reference, hypothesis, ALIGN_TEXT)


def aligned(reference: Sequence[str], hypothesis: Sequence[str]) -> Alignment:
    """The alignment that is shown: that of Kaldi's align-text, as in wer_details/per_utt."""
    return _aligned(tuple(reference), tuple(hypothesis))


def right_words(pairs: Alignment) -> list[bool]:
    """For each reference word, whether it was recognised."""
    return [said == heard for said, heard in pairs if said is not None]


def _confusions(pairs: Alignment) -> Iterable[tuple[str, str]]:
    return ((said or NOTHING, heard or NOTHING) for said, heard in pairs if said != heard)
