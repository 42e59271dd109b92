"""The words of utterances under several choices, for example at every operating point, in little memory."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

# Utterance → which text is that of each choice, and the texts.
_Held: TypeAlias = "dict[str, tuple[array[int], tuple[tuple[str, ...], ...]]]"


class ChosenTexts:
    """The words of each utterance under several choices. Equal texts of an utterance are held once."""

    def __init__(self) -> None:
        self._held: _Held = {}

    def add(self, utt: str, texts: Sequence[Sequence[str]]) -> None:
        """Hold an utterance's words under the first ``len(texts)`` choices."""
        place: dict[tuple[str, ...], int] = {}
        which = array("H", [place.setdefault(tuple(words), len(place)) for words in texts])
        self._held[utt] = which, tuple(tuple(map(sys.intern, words)) for words in place)

    def of(self, choice: int) -> Mapping[str, Sequence[str]]:
        """Utterance → words under a choice, from 0; utterances that were added with fewer choices are left out."""
        return _Choice(self._held, choice)


class _Choice(Mapping[str, Sequence[str]]):
    def __init__(self, held: _Held, choice: int):
        self._held = held
        self._choice = choice

    def __getitem__(self, utt: str) -> Sequence[str]:
        which, texts = self._held[utt]
        if self._choice >= len(which):
            raise KeyError(utt)
        return texts[which[self._choice]]

    def __iter__(self) -> Iterator[str]:
        return (utt for utt, (which, _) in self._held.items() if self._choice < len(which))

    def __len__(self) -> int:
        return sum(1 for _ in self)
