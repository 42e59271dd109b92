"""Reasons to doubt a result although nothing failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Codes of warnings about the inputs, the likeliest cause of a bad result first.
WRONG_INPUTS = ("missing_lattices", "rescored_input", "first_pass_wer", "old_lm", "oov", "new_lm")
# Codes of milder warnings, of what may only follow from wrong inputs: edges of grids last.
MILD = (
    "skipped_lattices",
    "short_lists",
    "flat_lmwt",
    "lm_weight_zero",
    "lm_weight_one",
    "lmwt_edge",
    "first_pass_lmwt_edge",
    "wip_edge",
)


@dataclass(frozen=True)
class ReportWarning:
    """A reason to doubt a result although nothing failed.

    Attributes:
        code: the kind of warning, for programs.
        text: what was found and what can be done, for people.
        numbers: the numbers in the text: name → number.
    """

    code: str
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def rank(code: str) -> int:
    """The place of a warning wherever several are shown: causes, then kinds that are not known here, then the mild."""
    if code in MILD:
        return len(WRONG_INPUTS) + 1 + MILD.index(code)
    return (*WRONG_INPUTS, code).index(code)


def ranked(warnings: Iterable[ReportWarning]) -> tuple[ReportWarning, ...]:
    """Warnings by :func:`rank`, so that the first one is that to look into first."""
    return tuple(sorted(warnings, key=lambda warning: rank(warning.code)))


@dataclass(frozen=True)
class OovCount:
    """How many words of the first pass's hypotheses a language model does not know.

    An OOV word is neither in the model's vocabulary nor in its class of rare words.

    Attributes:
        lm: name of the model.
        tokens, oov_tokens: number of words, and how many of them are OOV.
        words, oov_words: number of distinct words, and how many of them are OOV.
    """

    lm: str
    tokens: int
    oov_tokens: int
    words: int
    oov_words: int

    @property
    def rate(self) -> float:
        """OOV tokens in percent of all tokens; 0 if there are none."""
        return 100 * self.oov_tokens / self.tokens if self.tokens else 0.0

    def __str__(self) -> str:
        return (
            f"{self.oov_tokens} of {self.tokens} words ({self.rate:.2f} %), {self.oov_words} of {self.words} "
            f"distinct words; {self.lm}"
        )


@dataclass(frozen=True)
class LmFit:
    """How likely language models find the first pass's best hypotheses, sentence ends included.

    Attributes:
        lm: name of the new model.
        ppl: its perplexity.
        old_ppl: that of the old LM, which has chosen these hypotheses and therefore likes them.
    """

    lm: str
    ppl: float
    old_ppl: float

    def __str__(self) -> str:
        return (
            f"{self.lm} has perplexity {self.ppl:.4g} on the first pass's best hypotheses, where the old LM has "
            f"{self.old_ppl:.4g}"
        )


def with_flags(text: str) -> str:
    """The text with the options of the commands in place of the library's names of its fields."""
    return re.sub(r"`(\w+)`", lambda field: "--" + field[1].replace("_", "-"), text)
