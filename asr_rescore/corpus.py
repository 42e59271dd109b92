"""Text in, token ids out: one sentence a line, words between blanks, one sentence end behind each."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.vocab import SENTENCE_END, Vocabulary

# From so many lines on, first words that are all different and all hold a digit are taken for utterance ids.
TELLING_LINES = 10


def read_sentences(path: str | Path, *, kaldi_text: bool = False) -> Iterator[list[str]]:
    """Yield the words of each line of a plain or gzipped text; blank lines are passed over.

    Args:
        path: the text.
        kaldi_text: whether it is a Kaldi ``text``, whose lines start with an utterance id that is no word.

    Raises:
        InputError: a line holds ``</s>`` or ``<s>``, since sentence ends are added here, once; or, at the end, the
            lines seem to start with utterance ids and ``kaldi_text`` was not given.
    """
    first_words: set[str] | None = None if kaldi_text else set()
    for number, line in read_lines(path):
        words = line.split()
        if SENTENCE_END in words or "<s>" in words:
            raise InputError(
                f"{path}: line {number}",
                found=f"{SENTENCE_END} or <s> among the words",
                expected="words only",
                remedy="remove the sentence marks, which are added by themselves",
            )
        if first_words is not None and words:
            first = words[0]
            if first in first_words or not any(map(str.isdigit, first)):
                first_words = None
            else:
                first_words.add(first)
        if kaldi_text:
            del words[:1]
        if words:
            yield words
    if first_words and len(first_words) >= TELLING_LINES:
        raise InputError(
            path,
            found=f"{len(first_words)} lines that start with {min(first_words)!r} and the like, none of them twice",
            expected="sentences without utterance ids",
            remedy="pass --kaldi-text to prepare_text or compute_ppl, or remove the first column",
        )


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
        class_cost: what the words outside the vocabulary cost beyond their class, summed, in nats.
        oov: word → count of the words in neither the vocabulary nor its class.
        sentences: how many.
    """

    ids: np.ndarray
    class_cost: float
    oov: Counter[str]
    sentences: int

    @classmethod
    def encode(cls, sentences: Iterable[list[str]], vocabulary: Vocabulary) -> TokenStream:
        """Map words to ids, one sentence after the other."""
        ids = array("q")  # int64; a list would take four times the memory
        outside: Counter[str] = Counter()
        end, unk, count = vocabulary.ids[SENTENCE_END], vocabulary.unk_id, 0
        for words in sentences:
            encoded = vocabulary.encode(words)
            ids.extend(encoded)
            ids.append(end)
            outside.update(word for word, index in zip(words, encoded, strict=True) if index == unk)
            count += 1
        cost = sum(count * vocabulary.class_cost(word) for word, count in outside.items())
        oov = Counter({word: count for word, count in outside.items() if vocabulary.is_oov(word)})
        return cls(np.array(ids, dtype=np.int64), cost, oov, count)

    @classmethod
    def read(cls, path: str | Path, vocabulary: Vocabulary, *, kaldi_text: bool = False) -> TokenStream:
        """Encode a text file.

        Raises:
            InputError: the file holds no sentence, or what :func:`read_sentences` refuses.
        """
        stream = cls.encode(read_sentences(path, kaldi_text=kaldi_text), vocabulary)
        if not stream.sentences:
            raise InputError(path, found="no sentence", expected="text", remedy="check how the file was made")
        return stream

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the ids."""
        return hashlib.sha256(self.ids.tobytes()).hexdigest()


def hold_out(sentences: Iterable[list[str]], every: int, *, valid: bool) -> Iterator[list[str]]:
    """Yield each ``every``-th sentence for the valid text, or else the others.

    Spread over the whole text, the held-out part has its topics, whichever way the text is ordered.
    """
    return (words for number, words in enumerate(sentences, 1) if (number % every == 0) == valid)


def write_sentences(path: str | Path, sentences: Iterable[list[str]]) -> Counter[str]:
    """Write a sentence a line; returns word → count, with the number of sentences under ``</s>``."""
    counts: Counter[str] = Counter()
    with atomic_text(path) as stream:
        for words in sentences:
            stream.write(" ".join(words) + "\n")
            counts.update(words)
            counts[SENTENCE_END] += 1
    return counts
