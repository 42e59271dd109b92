"""The words of utterances under several choices, for example at every operating point, in little memory."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence


class ChosenTexts:
    """The words of each utterance under several choices.

    Equal texts of an utterance are held once, and a word takes four bytes: the texts of all utterances are one array
    of numbers, and so are the choices.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._choices = array("H")  # row after row: which of its texts an utterance has under each choice
        self._choice_ends = array("Q", [0])  # where the choices of a row begin, and those of the one before it end
        self._first_texts = array("Q")  # the number of a row's first text
        self._words = array("I")  # text after text, as numbers in _names
        self._word_ends = array("Q", [0])
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._read: tuple[int, tuple[str, ...]] = (-1, ())  # the text read last, which is often wanted again

    def add(self, utt: str, texts: Sequence[Sequence[str]]) -> None:
        """Hold an utterance's words under the first ``len(texts)`` choices. An utterance may be added only once."""
        self._rows[sys.intern(utt)] = len(self._rows)
        self._first_texts.append(len(self._word_ends) - 1)
        place: dict[tuple[str, ...], int] = {}
        self._choices.extend(place.setdefault(tuple(words), len(place)) for words in texts)
        self._choice_ends.append(len(self._choices))
        for words in place:
            self._words.extend(map(self._number, words))
            self._word_ends.append(len(self._words))

    def of(self, choice: int) -> Mapping[str, Sequence[str]]:
        """Utterance → words under a choice, from 0; utterances that were added with fewer choices are left out."""
        return _Choice(self, choice)

    def _number(self, word: str) -> int:
        number = self._numbers.setdefault(word, len(self._names))
        if number == len(self._names):
            self._names.append(word)
        return number

    def utterances(self, choice: int) -> Iterator[str]:
        """The utterances that were added with this choice."""
        ends = self._choice_ends
        return (utt for utt, row in self._rows.items() if ends[row] + choice < ends[row + 1])

    def words(self, utt: str, choice: int) -> tuple[str, ...]:
        """The words of an utterance under a choice; KeyError if it was not added, or with fewer choices."""
        row = self._rows[utt]
        place = self._choice_ends[row] + choice
        if place >= self._choice_ends[row + 1]:
            raise KeyError(utt)
        text = self._first_texts[row] + self._choices[place]
        if text != self._read[0]:
            numbers = self._words[self._word_ends[text] : self._word_ends[text + 1]]
            self._read = text, tuple(map(self._names.__getitem__, numbers))
        return self._read[1]


class _Choice(Mapping[str, Sequence[str]]):
    def __init__(self, texts: ChosenTexts, choice: int):
        self._texts = texts
        self._choice = choice

    def __getitem__(self, utt: str) -> Sequence[str]:
        return self._texts.words(utt, self._choice)

    def __iter__(self) -> Iterator[str]:
        return self._texts.utterances(self._choice)

    def __len__(self) -> int:
        return sum(1 for _ in self)
