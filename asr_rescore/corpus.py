"""Text to token ids: one sentence per line, words separated by blanks, one sentence end after each sentence."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np

from asr_rescore.errors import InputError
from asr_rescore.files import fields, read_lines
from asr_rescore.vocab import SENTENCE_END, Vocabulary
from asr_rescore.vocab_files import UNK_PROBS_FILE

# If at least this many lines start with words that all differ and all contain a digit, these are utterance ids.
MIN_LINES_WITH_IDS = 10
MAX_LINES_WITH_IDS = 100_000  # after so many lines there is no doubt, and their first words need not be kept any more
# The texts that prepare_text writes, next to UNK_PROBS_FILE.
TRAIN_FILE = "train.txt"
VALID_FILE = "valid.txt"
BLOCK = 1 << 20  # tokens that are encoded or hashed at once


def read_sentences(path: str | Path, *, kaldi_text: bool | None = None) -> Iterator[list[str]]:
    """Yield the words of each line of a text; blank lines are skipped.

    Words are separated by ASCII blanks, as in Kaldi's tables. A no-break space or another wide space is part of a word.

    Args:
        path: the text, plain or gzipped.
        kaldi_text: whether each line starts with an utterance id, as in a Kaldi ``text``; it is left out. None: there
            should be no utterance ids, and a text that seems to have them is refused. The texts of a directory that
            prepare_text made are not refused: their words have been looked at before.

    Raises:
        InputError: a line contains ``</s>`` or ``<s>``; or, after the last line or ``MAX_LINES_WITH_IDS`` lines, all
            lines seem to start with utterance ids although ``kaldi_text`` is None.
    """
    first_words: set[str] | None = set() if kaldi_text is None and not _wrote_it(Path(path)) else None
    for number, line in read_lines(path):
        words = fields(line)
        if SENTENCE_END in words or "<s>" in words:
            raise InputError(
                f"{path}: line {number}",
                found=f"{SENTENCE_END} or <s> among the words",
                expected="words only",
                remedy="remove these marks; sentence ends are added automatically",
            )
        if first_words is not None and words:
            first = words[0]
            if first in first_words or not any(map(str.isdigit, first)):
                first_words = None
            else:
                first_words.add(first)
                if len(first_words) == MAX_LINES_WITH_IDS:
                    break
        if kaldi_text:
            del words[:1]
        if words:
            yield words
    if first_words and len(first_words) >= MIN_LINES_WITH_IDS:
        raise InputError(
            path,
            found=f"{len(first_words)} lines whose first words, such as {min(first_words)!r}, all differ",
            expected="sentences without utterance ids",
            remedy="pass `kaldi_text` if they are utterance ids, or `no_utterance_ids` if they are words "
            "(to prepare_text or compute_ppl; in Python: kaldi_text=True or False)",
        )


def _wrote_it(path: Path) -> bool:
    """Whether the text was written by prepare_text."""
    return path.name in (TRAIN_FILE, VALID_FILE) and is_prepared(path)


def is_prepared(path: Path) -> bool:
    """Whether the text is in a directory that prepare_text made."""
    return (path.parent / UNK_PROBS_FILE).exists()


def count_words(sentences: Iterable[list[str]]) -> Counter[str]:
    """Count each word."""
    counts: Counter[str] = Counter()
    for words in sentences:
        counts.update(words)
    return counts


@dataclass
class Encoder:
    """Maps words to ids, and counts the words that have none of their own.

    Attributes:
        unlisted: word → count, for all words read so far that are not listed.
    """

    vocabulary: Vocabulary
    unlisted: Counter[str] = field(default_factory=Counter)

    def blocks(self, sentences: Iterable[list[str]]) -> Iterator[np.ndarray]:
        """Yield the ids of whole sentences, int64, in blocks of ``BLOCK`` tokens or a sentence more."""
        end = self.vocabulary.ids[SENTENCE_END]
        unk = self.vocabulary.unk_id
        ids: list[int] = []
        for words in sentences:
            encoded = self.vocabulary.encode(words)
            if unk in encoded:
                self.unlisted.update(word for word, index in zip(words, encoded, strict=True) if index == unk)
            ids += encoded
            ids.append(end)
            if len(ids) >= BLOCK:
                yield np.array(ids, np.int64)
                ids.clear()
        yield np.array(ids, np.int64)

    @property
    def class_cost(self) -> float:
        """Sum of −ln P(word | class) over all unlisted words."""
        return sum(times * self.vocabulary.class_cost(word) for word, times in self.unlisted.items())

    @property
    def oov(self) -> Counter[str]:
        """Word → count, for the words that are neither listed nor in the class."""
        return Counter({word: times for word, times in self.unlisted.items() if self.vocabulary.is_oov(word)})


@dataclass(frozen=True, eq=False)
class TokenStream:
    """A text as one sequence of ids.

    Attributes:
        ids: integers (tokens,), each sentence followed by ``</s>``; int64, or smaller ones if they are in a file
            (:mod:`asr_rescore.id_file`).
        ends: int64 (sentences,), where each sentence ends: the position after its ``</s>``.
        class_cost: sum of −ln P(word | class) over all words that are not listed.
        oov: word → count, for the words that are neither listed nor in the class.
        known_hash: what :attr:`hash` returns, if it has been computed before.
    """

    ids: np.ndarray
    ends: np.ndarray
    class_cost: float
    oov: Counter[str]
    known_hash: str | None = None

    @classmethod
    def encode(cls, sentences: Iterable[list[str]], vocabulary: Vocabulary) -> TokenStream:
        """Map the words of all sentences to ids, in memory."""
        encoder = Encoder(vocabulary)
        ids = np.concatenate(list(encoder.blocks(sentences)))
        return cls(ids, sentence_ends(ids, vocabulary), encoder.class_cost, encoder.oov)

    @classmethod
    def read(cls, path: str | Path, vocabulary: Vocabulary, *, kaldi_text: bool | None = None) -> TokenStream:
        """Encode a text file, in memory.

        Args:
            path: the text, plain or gzipped, with one sentence per line.
            vocabulary: the vocabulary of the language model.
            kaldi_text: see :func:`read_sentences`.

        Raises:
            InputError: the file has no sentence, or :func:`read_sentences` refuses it.
        """
        stream = cls.encode(read_sentences(path, kaldi_text=kaldi_text), vocabulary)
        if not stream.sentences:
            raise no_sentence(path)
        return stream

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sentences(self) -> int:
        """The number of sentences."""
        return len(self.ends)

    def sentence(self, number: int) -> np.ndarray:
        """The ids of one sentence, counted from 0, with its ``</s>``."""
        begin = self.ends[number - 1] if number else 0
        return self.ids[begin : self.ends[number]]

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the ids as int64, whatever integers they are."""
        if self.known_hash is not None:
            return self.known_hash
        digest = hashlib.sha256()
        for begin in range(0, len(self.ids), BLOCK):
            digest.update(self.ids[begin : begin + BLOCK].astype(np.int64).tobytes())
        return digest.hexdigest()


def sentence_ends(ids: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """The positions after each ``</s>`` among ``ids``, int64."""
    return np.flatnonzero(ids == vocabulary.ids[SENTENCE_END]) + 1


def no_sentence(path: str | Path) -> InputError:
    """The error about a text without sentences."""
    return InputError(path, found="no sentence", expected="text", remedy="check how the file was created")


def every(count: int) -> Callable[[list[str]], bool]:
    """Hold out every ``count``-th sentence: a test for :func:`split_sentences`.

    The held-out sentences are spread over the whole text, so they have its topics even if the text is sorted.
    """
    numbers = itertools.count(1)
    return lambda words: next(numbers) % count == 0


def spread(wanted: int, total: int) -> Callable[[list[str]], bool]:
    """Hold out sentences with ``wanted`` of the ``total`` words of a text, spread over it: for :func:`split_sentences`.

    A sentence is held out if, of the words before it, less than the wanted part has been held out. Whether it is long
    or short does not matter, and the last of them may exceed ``wanted``.
    """
    seen = 0
    held = 0

    def is_held_out(words: list[str]) -> bool:
        nonlocal seen, held
        chosen = held * total < wanted * seen
        seen += len(words)
        held += len(words) * chosen
        return chosen

    return is_held_out


def split_sentences(
    sentences: Iterable[list[str]], train: TextIO, valid: TextIO, held_out: Callable[[list[str]], bool]
) -> tuple[Counter[str], int]:
    """Write each sentence to one of two texts, in one pass.

    Args:
        sentences: read as they are written.
        train, valid: the texts.
        held_out: whether a sentence goes to ``valid``; asked once for each sentence, in their order.

    Returns:
        What :func:`write_sentences` returns for the train text, and the number of valid sentences.
    """
    counts: Counter[str] = Counter()
    valid_sentences = 0
    for words in sentences:
        line = " ".join(words) + "\n"
        if held_out(words):
            valid.write(line)
            valid_sentences += 1
        else:
            train.write(line)
            counts.update(words)
            counts[SENTENCE_END] += 1
    return counts, valid_sentences


def refuse_empty(train: int, valid: int, source: Path) -> None:
    """Refuse a text that leaves no sentence to train on, or none to validate with.

    Raises:
        InputError: one of the numbers of sentences is zero.
    """
    if not (train and valid):
        raise InputError(
            source,
            found=f"{train} train and {valid} valid sentences",
            expected="at least one of each",
            remedy="give more text, or a valid text with --valid",
        )


def write_sentences(stream: TextIO, sentences: Iterable[list[str]]) -> Counter[str]:
    """Write one sentence per line.

    Returns:
        Word → count; the count of ``</s>`` is the number of sentences.
    """
    counts: Counter[str] = Counter()
    for words in sentences:
        stream.write(" ".join(words) + "\n")
        counts.update(words)
        counts[SENTENCE_END] += 1
    return counts
