"""words.txt: the recogniser's words and their ids in its lattices."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, fields, read_lines

LONGEST_ID = 10  # digits; ids are 32-bit numbers in lattices and grammars


@dataclass(frozen=True, eq=False)
class SymbolTable:
    """Words ↔ ids. Two tables may give a word different ids, so convert between them through the word.

    Attributes:
        ids: word → id.
        name: the file it was read from, for error messages.
    """

    ids: Mapping[str, int]
    name: str = "words.txt"
    _words: dict[int, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_words", {index: word for word, index in self.ids.items()})

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, word: object) -> bool:
        return word in self.ids

    def word(self, index: int) -> str:
        """The word with an id.

        Raises:
            InputError: the table has no such id.
        """
        try:
            return self._words[index]
        except KeyError:
            raise InputError(
                self.name,
                found=f"no word for id {index}",
                expected="the words of all ids in the lattices",
                remedy="give the words.txt of the graph that produced the lattices",
            ) from None

    def id(self, word: str) -> int:
        """The id of a word.

        Raises:
            InputError: the table has no such word.
        """
        try:
            return self.ids[word]
        except KeyError:
            raise InputError(
                self.name,
                found=f"no id for {word!r}",
                expected="the ids of all words that are used",
                remedy="give the words.txt that contains the word",
            ) from None

    def get(self, word: str, default: int = -1) -> int:
        """The id of a word, or ``default`` if the table does not have it."""
        return self.ids.get(word, default)

    def to_words(self, ids: Iterable[int]) -> list[str]:
        """The words with some ids, for example those of a path.

        Raises:
            InputError: the table does not have one of the ids.
        """
        return [self.word(index) for index in ids]

    def to_ids(self, words: Iterable[str], default: int = -1) -> list[int]:
        """The ids of some words, with ``default`` for each word that the table does not have."""
        return [self.get(word, default) for word in words]


def read_words(path: str | os.PathLike[str]) -> SymbolTable:
    """Read a words.txt (lines ``word id``).

    Raises:
        InputError: a line is not a word and an id from 0, a word or an id occurs twice, or the file is empty.
    """
    ids: dict[str, int] = {}
    taken: dict[int, str] = {}
    for number, line in read_lines(path):
        parts = fields(line)
        where = f"{path}: line {number}"
        if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) <= LONGEST_ID):
            raise InputError(
                where, found=repr(line[:60]), expected="`word id`", remedy="give the words.txt of a lang directory"
            )
        word = parts[0]
        index = int(parts[1])
        if word in ids or index in taken:
            found = f"word {word!r} again" if word in ids else f"id {index} for {word!r} and {taken[index]!r}"
            raise InputError(
                where, found=found, expected="each word and each id once", remedy="make the lang directory again"
            )
        ids[word] = index
        taken[index] = word
    if not ids:
        raise InputError(path, found="an empty file", expected="lines `word id`", remedy="check the path")
    return SymbolTable(ids, str(path))


def write_words(path: str | os.PathLike[str], symbols: SymbolTable) -> None:
    """Write a words.txt, ordered by id."""
    with atomic_text(path) as stream:
        for word, index in sorted(symbols.ids.items(), key=lambda item: item[1]):
            stream.write(f"{word} {index}\n")
