"""Transcripts with alternatives ``{ a / b c / @ }``, as networks of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase

from asr_rescore.errors import RescoreError
from asr_rescore.files import fields

START = -1  # stands for the arc before the first word
NOTHING = "@"  # an alternative without a word
LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
DEEPEST = 100  # alternations inside alternations


@dataclass(frozen=True)
class ScliteConfig:
    """What the marks in transcripts mean. The defaults are sclite's; the ``help`` is the command line's."""

    deletable: bool = field(
        default=False, metadata={"help": "a word in parentheses, (uh), may be missing (sclite: -D)"}
    )
    fragments: bool = field(
        default=False,
        metadata={"help": "a fragment such as fra- or -ment matches a word that begins or ends so (sclite: -F)"},
    )
    case_sensitive: bool = field(default=False, metadata={"help": "A and a are different words (sclite: -s)"})

    def fold(self, text: str) -> str:
        """The text in the case in which it is compared. As in sclite, only the letters of ASCII have cases."""
        return text if self.case_sensitive else text.translate(LOWER)


@dataclass(frozen=True)
class WordNetwork:
    """The transcripts that count as correct, as an acyclic network with one word on each arc.

    Attributes:
        words: the word of each arc; ``@`` is no word. Arcs come after all arcs that precede them.
        before: for each arc, the arcs that can precede it, or ``START``. Those of the first alternative come first.
        last: the arcs that end a transcript, or ``START`` if there may be no words at all.
    """

    words: tuple[str, ...]
    before: tuple[tuple[int, ...], ...]
    last: tuple[int, ...]

    @classmethod
    def of_words(cls, words: Sequence[str]) -> WordNetwork:
        """The network of a single transcript."""
        return cls(tuple(words), tuple((arc - 1,) for arc in range(len(words))), (len(words) - 1,))

    @classmethod
    def parse(cls, text: str) -> WordNetwork:
        """Read a transcript in which ``{ a b / c }`` stands for ``a b`` or ``c``.

        A brace opens an alternation only where a word could begin. An alternative without words is left out.

        Raises:
            RescoreError: an alternation has no end, or there are too many inside each other.
        """
        if "{" not in text:
            return cls.of_words(fields(text))
        builder = _Builder()
        last = builder.add(text, (START,), 0)
        return cls(tuple(builder.words), tuple(builder.before), last)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def linear(self) -> bool:
        """Whether there is only one transcript."""
        return self.last == (len(self) - 1,) and all(arcs == (arc - 1,) for arc, arcs in enumerate(self.before))


class _Builder:
    def __init__(self) -> None:
        self.words: list[str] = []
        self.before: list[tuple[int, ...]] = []

    def add(self, text: str, before: tuple[int, ...], depth: int) -> tuple[int, ...]:
        """Append the words of ``text`` after the arcs ``before``; returns the arcs that end it."""
        if depth > DEEPEST:
            raise RescoreError(f"more than {DEEPEST} alternations inside each other")
        for item in _items(text):
            if isinstance(item, str):
                self.words.append(item)
                self.before.append(before)
                before = (len(self.words) - 1,)
                continue
            last = [arc for alternative in item for arc in self.add(alternative, before, depth + 1)]
            before = tuple(dict.fromkeys(last)) or before
        return before


def _items(text: str) -> Iterable[str | list[str]]:
    """The words of a text, and in place of an alternation the texts of its alternatives."""
    while text := text.lstrip(" \t\r\n\f\v"):
        if text[0] != "{":
            word = fields(text)[0]
            yield word
            text = text[len(word) :]
            continue
        end = _end_of_alternation(text)
        alternatives = _split(text[1:end])
        yield [alternative for alternative in alternatives if fields(alternative)]
        text = text[end + 1 :]


def _end_of_alternation(text: str) -> int:
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return place
    raise RescoreError(f"the alternation {text[:40]!r} has no }}")


def _split(text: str) -> list[str]:
    """The parts of a text between slashes that are in no inner alternation."""
    parts = [""]
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "/" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts
