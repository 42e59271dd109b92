"""What is compared when errors are counted: the transcripts as they are or filtered, in words or in characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from asr_rescore.text_filter import TextFilter

Item = TypeVar("Item")
Words = Sequence[str]
Texts = Mapping[str, Words]  # utterance → words
# Kaldi's int2sym.pl leaves a blank after the last word, and rules of filters such as "s/ a / one /" rely on it.
HYPOTHESIS_END = " "
MARK = re.compile(r"\[.*\]|<.*>|!SIL")  # words that are one character: [noise], <UNK>


@dataclass(frozen=True)
class ScoringConfig:
    """How errors are counted. The ``help`` of each field is the command line's."""

    filter: str = field(
        default="",
        metadata={
            "help": "program that rewrites references and hypotheses before errors are counted, such as "
            "local/wer_output_filter",
            "metavar": "F",
        },
    )
    ref_filter: str = field(
        default="",
        metadata={"help": "the same for references only, in place of --filter (local/wer_ref_filter)", "metavar": "F"},
    )
    hyp_filter: str = field(
        default="",
        metadata={"help": "the same for hypotheses only, in place of --filter (local/wer_hyp_filter)", "metavar": "F"},
    )
    cer: bool = field(default=False, metadata={"help": "also count character errors; tune for the fewest of these"})


@dataclass(frozen=True)
class Scoring:
    """How errors are counted, with the programs found.

    Attributes:
        ref_filter, hyp_filter: rewrite references and hypotheses; None: these are compared as they are.
        cer: whether character errors count, too.
    """

    ref_filter: TextFilter | None = None
    hyp_filter: TextFilter | None = None
    cer: bool = False

    @classmethod
    def open(cls, config: ScoringConfig) -> Scoring:
        """Find the programs.

        Raises:
            InputError: one of them does not exist or cannot be executed.
        """
        ref = config.ref_filter or config.filter
        hyp = config.hyp_filter or config.filter
        return cls(
            TextFilter(Path(ref)) if ref else None,
            TextFilter(Path(hyp), HYPOTHESIS_END) if hyp else None,
            config.cer,
        )

    def __str__(self) -> str:
        """The filters in one line, for reports; empty if words are compared as they are."""
        if self.ref_filter is not None and self.hyp_filter is not None and self.ref_filter.path == self.hyp_filter.path:
            return f"references and hypotheses through {self.ref_filter}"
        sides = {"references": self.ref_filter, "hypotheses": self.hyp_filter}
        return ", ".join(f"{side} through {program}" for side, program in sides.items() if program is not None)

    def references(self, texts: Texts) -> Texts:
        """The references as they are compared."""
        return _filtered(self.ref_filter, texts)

    def hypotheses(self, texts: Texts) -> Texts:
        """The hypotheses as they are compared."""
        return _filtered(self.hyp_filter, texts)

    def each(self, items: Iterable[tuple[Item, str, Sequence[Words]]]) -> Iterator[tuple[Item, Sequence[Words]]]:
        """Hypotheses as they are compared, in a stream; see :meth:`TextFilter.each`."""
        if self.hyp_filter is not None:
            return self.hyp_filter.each(items)
        return ((item, texts) for item, _, texts in items)

    def each_for_tuning(
        self, items: Iterable[tuple[Item, str, Sequence[Words]]]
    ) -> Iterator[tuple[Item, Sequence[Words]]]:
        """As :meth:`each`, in the unit whose errors are tuned for: characters if they count."""
        for item, texts in self.each(items):
            yield item, [characters(words) for words in texts] if self.cer else texts


def _filtered(program: TextFilter | None, texts: Texts) -> Texts:
    if program is None:
        return texts
    return {utt: words for utt, [words] in program.each((utt, utt, [words]) for utt, words in texts.items())}


def characters(words: Words) -> list[str]:
    """The characters of some words, without any mark between words.

    A mark such as ``[noise]``, ``<UNK>`` or ``!SIL`` stays whole, and blanks of any width are left out (Kaldi:
    score_kaldi_cer.sh).
    """
    return [
        character
        for word in words
        for piece in word.split()
        for character in ([piece] if MARK.search(piece) else piece)
    ]


class InCharacters(Mapping[str, Sequence[str]]):
    """Transcripts in characters, made when they are asked for."""

    def __init__(self, texts: Texts):
        self._texts = texts

    def __getitem__(self, utt: str) -> list[str]:
        return characters(self._texts[utt])

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __contains__(self, utt: object) -> bool:
        return utt in self._texts

    def __len__(self) -> int:
        return len(self._texts)
