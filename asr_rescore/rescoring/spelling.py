"""Whether words that a language model does not know are known to it in another spelling."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spelling:
    """One way to write all words.

    Attributes:
        name: as it is told.
        respell: writes a word so.
        command: writes a text so.
    """

    name: str
    respell: Callable[[str], str]
    command: str


LOWER = Spelling("lower case", str.lower, r"sed 's/.*/\L&/'")
UPPER = Spelling("upper case", str.upper, r"sed 's/.*/\U&/'")
NFC = Spelling("Unicode form NFC", lambda word: unicodedata.normalize("NFC", word), "uconv -x NFC")
NFD = Spelling("Unicode form NFD", lambda word: unicodedata.normalize("NFD", word), "uconv -x NFD")
# How a model may know words → how the recogniser then most likely writes them.
SPELLINGS = ((LOWER, UPPER), (UPPER, LOWER), (NFC, NFD), (NFD, NFC))


def spelling_hint(unknown: Sequence[str], is_oov: Callable[[str], bool]) -> str:
    """What to do if most of the unknown words are known in another spelling; else empty.

    Args:
        unknown: words of the recogniser that a language model does not know.
        is_oov: whether the model does not know a word.
    """
    for known_in, written_in in SPELLINGS:
        known = sum(not is_oov(known_in.respell(word)) for word in unknown)
        if 2 * known > len(unknown):
            found = f"{known} of these {len(unknown)} words are known in {known_in.name}"
            if 2 * sum(written_in.respell(word) == word for word in unknown) > len(unknown):  # not all: symbols differ
                remedy = f"write the text of the language model in {written_in.name} ({written_in.command})"
            else:
                remedy = "write the text of the language model in the spelling of words.txt"
            return f"{found}; {remedy}, then prepare and train again"
    return ""
