"""Text in, token ids out: one sentence a line, words between blanks, one sentence end behind each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.vocab import SENTENCE_END, Vocabulary


def read_sentences(path: str | Path) -> Iterator[list[str]]:
    """Yield the words of each line of a plain or gzipped text; blank lines are passed over.

    Raises:
        InputError: a line holds ``</s>`` or ``<s>``: sentence ends are added here, once.
    """
    for number, line in read_lines(path):
        words = line.split()
        if SENTENCE_END in words or "<s>" in words:
            raise InputError(
                f"{path}: line {number}",
                found=f"{SENTENCE_END} or <s> among the words",
                expected="words only",
                remedy="remove the sentence marks, which are added by themselves",
            )
        if words:
            yield words


def count_words(sentences: Iterable[list[str]]) -> Counter[str]:
    """Word → count."""
    counts: Counter[str] = Counter()
    for words in sentences:
        counts.update(words)
    return counts


@dataclass(frozen=True, eq=False)
class TokenStream:
    """A text as one sequence of ids.

    Attributes:
        ids: int64 (tokens,), each sentence followed by ``</s>``.
        member_cost: what the words outside the vocabulary cost beyond their class, summed, in nats.
        oov: word → count of the words in neither the vocabulary nor its class.
        sentences: how many.
    """

    ids: np.ndarray
    member_cost: float
    oov: Counter[str]
    sentences: int

    @classmethod
    def read(cls, path: str | Path, vocabulary: Vocabulary) -> TokenStream:
        """Encode a text file.

        Raises:
            InputError: the file holds no sentence.
        """
        ids: list[int] = []
        outside: Counter[str] = Counter()
        end, sentences = vocabulary.ids[SENTENCE_END], 0
        for words in read_sentences(path):
            ids.extend(vocabulary.encode(words))
            ids.append(end)
            outside.update(word for word in words if word not in vocabulary.ids or word in vocabulary.members)
            sentences += 1
        if not sentences:
            raise InputError(path, found="no sentence", expected="text", remedy="check how the file was made")
        cost = sum(count * vocabulary.member_cost(word) for word, count in outside.items())
        oov = Counter({word: count for word, count in outside.items() if vocabulary.is_oov(word)})
        return cls(np.array(ids, dtype=np.int64), cost, oov, sentences)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the ids."""
        return hashlib.sha256(self.ids.tobytes()).hexdigest()


def hold_out(sentences: Iterable[list[str]], every: int = 20) -> tuple[list[list[str]], list[list[str]]]:
    """Split a text: each ``every``-th sentence is valid, the rest train, both in their order.

    Spread over the whole text, the held-out part has its topics, whichever way the text is ordered.
    """
    train: list[list[str]] = []
    valid: list[list[str]] = []
    for number, words in enumerate(sentences, 1):
        (train if number % every else valid).append(words)
    return train, valid


def write_sentences(path: str | Path, sentences: Iterable[list[str]]) -> None:
    """Write a sentence a line."""
    with atomic_text(path) as stream:
        stream.writelines(" ".join(words) + "\n" for words in sentences)
