"""Whether words that are not known, to a language model for example, are known in another spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from asr_rescore.errors import InputError
from asr_rescore.vocab import is_word

_MARK = re.compile(r"<.*>|\[.*\]")  # <unk>, [laughter]: written alike by all who use them
# If words are known at least so many times more often in another spelling, those known as they are do not count.
NEARLY_ALL = 19
WARN_WER = 90.0  # percent; from here on, hypotheses and references have next to nothing in common


@dataclass(frozen=True)
class Spelling:
    """One way to write all words.

    Attributes:
        name: as it is told.
        respell: writes a word so.
        command: writes a text so.
        command_after_ids: writes a text so whose lines begin with utterance ids.
    """

    name: str
    respell: Callable[[str], str]
    command: str
    command_after_ids: str


LOWER = Spelling("lower case", str.lower, r"sed 's/.*/\L&/'", r"sed 's/[[:blank:]].*/\L&/'")
UPPER = Spelling("upper case", str.upper, r"sed 's/.*/\U&/'", r"sed 's/[[:blank:]].*/\U&/'")
NFC = Spelling("Unicode form NFC", lambda word: unicodedata.normalize("NFC", word), *["uconv -x NFC"] * 2)
NFD = Spelling("Unicode form NFD", lambda word: unicodedata.normalize("NFD", word), *["uconv -x NFD"] * 2)
# How words may be known → how they are then most likely written.
SPELLINGS = ((LOWER, UPPER), (UPPER, LOWER), (NFC, NFD), (NFD, NFC))


@dataclass(frozen=True)
class Respelling:
    """The spelling in which most of some unknown words are known.

    Attributes:
        unknown: the number of words.
        known: how many of them are known in ``known_in``; at least one.
        known_in: that spelling.
        written_in: how most of the words are written; None if in no one spelling.
    """

    unknown: int
    known: int
    known_in: Spelling
    written_in: Spelling | None

    @classmethod
    def of(cls, unknown: Sequence[str], is_known: Callable[[str], bool]) -> Respelling | None:
        """Find the spelling; None if no word is known in any.

        Args:
            unknown: words that are not known as they are.
            is_known: whether a word is.
        """
        counts = [sum(is_known(known_in.respell(word)) for word in unknown) for known_in, _ in SPELLINGS]
        if not any(counts):
            return None
        known_in, written_in = SPELLINGS[counts.index(max(counts))]
        as_it_is = sum(written_in.respell(word) == word for word in unknown)  # not all need be: symbols differ
        return cls(len(unknown), max(counts), known_in, written_in if 2 * as_it_is > len(unknown) else None)

    @property
    def is_of_most(self) -> bool:
        """Whether most of the words are known in this spelling."""
        return 2 * self.known > self.unknown

    def remedy(self, text: str, *, after_ids: bool = False) -> str:
        """How to write ``text``, in which the words should be; its lines begin with utterance ids if ``after_ids``."""
        if self.written_in is None:
            return f"write {text} in the spelling of words.txt"
        command = self.written_in.command_after_ids if after_ids else self.written_in.command
        return f"write {text} in {self.written_in.name} ({command})"

    def hint(self) -> str:
        """What to do if the words are the recogniser's, and it is a language model that does not know them."""
        remedy = f"{self.remedy('the text of the language model')}, then prepare and train again"
        return f"{self.known} of these {self.unknown} words are known in {self.known_in.name}; {remedy}"


def spelling_hint(unknown: Sequence[str], is_oov: Callable[[str], bool]) -> str:
    """What to do if most of the unknown words are known in another spelling; else empty.

    Args:
        unknown: words of the recogniser that a language model does not know.
        is_oov: whether the model does not know a word.
    """
    found = Respelling.of(unknown, lambda word: not is_oov(word))
    return found.hint() if found is not None and found.is_of_most else ""


def respellable(words: Iterable[str]) -> list[str]:
    """The words that can be written in several ways: neither symbols of a words.txt, nor marks, digits and signs."""
    return [
        word
        for word in words
        if is_word(word)
        and not _MARK.fullmatch(word)
        and any(spelling.respell(word) != word for spelling, _ in SPELLINGS)
    ]


def misspelling(words: Collection[str], is_known: Callable[[str], bool]) -> Respelling | None:
    """The spelling in which words are known that are most likely only written in another way; else None.

    That is so if less than half of the words are known as they are, and in one other spelling most would be, or far
    more than as they are.

    Args:
        words: of the recogniser, all different; those that are not :func:`respellable` do not count.
        is_known: whether a word is known.
    """
    words = respellable(words)
    unknown = [word for word in words if not is_known(word)]
    if 2 * len(unknown) <= len(words):
        return None
    known = len(words) - len(unknown)
    found = Respelling.of(unknown, is_known)
    if found is None or (2 * (known + found.known) <= len(words) and found.known < NEARLY_ALL * max(known, 1)):
        return None
    return found


def reference_hint(hypotheses: Iterable[Sequence[str]], references: Iterable[Sequence[str]]) -> str:
    """What to do if the references seem to be in another spelling than the hypotheses; else empty."""
    said = set(chain.from_iterable(references))
    found = misspelling(sorted(set(chain.from_iterable(hypotheses))), said.__contains__)
    if found is None:
        return ""
    remedy = found.remedy("the references", after_ids=True)
    spelling = found.known_in.name
    return (
        f"{found.known} of {found.unknown} words of the hypotheses are in the references only in {spelling}; {remedy}"
    )


def check_lexicon(path: object, lexicon: Iterable[str], text: Container[str], *, after_ids: bool = False) -> str:
    """Compare the words of a recogniser with those of the training text.

    Args:
        path: the words.txt, for the messages.
        lexicon: its words.
        text: the words of the text.
        after_ids: whether lines of the text begin with utterance ids.

    Returns:
        a warning if most words seem to be in the text in another spelling; else empty.

    Raises:
        InputError: none is in the text, but some are in another spelling.
    """
    words = respellable(lexicon)
    unknown = [word for word in words if word not in text]
    if len(unknown) < len(words):
        found = misspelling(words, text.__contains__)
        if found is None:
            return ""
        remedy = found.remedy("the text", after_ids=after_ids)
        return (
            f"{path}: {len(unknown)} of its {len(words)} words are not in the text, {found.known} of them only in "
            f"{found.known_in.name}, so a language model learns nothing of them: {remedy}, then prepare again"
        )
    found = Respelling.of(unknown, text.__contains__)
    if found is not None:
        raise InputError(
            path,
            found=f"none of its {len(words)} words in the text as it is written, and {found.known} in "
            f"{found.known_in.name}",
            expected="words in the spelling of the text",
            remedy=found.remedy("the text", after_ids=after_ids) + ", then prepare again",
        )
    return ""
