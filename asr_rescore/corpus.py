"""Text to token ids: one sentence per line, words separated by blanks, one sentence end after each sentence."""

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
from asr_rescore.files import atomic_text, fields, read_lines
from asr_rescore.vocab import SENTENCE_END, Vocabulary
from asr_rescore.vocab_files import UNK_PROBS_FILE

# If at least this many lines start with words that all differ and all contain a digit, these are utterance ids.
MIN_LINES_WITH_IDS = 10
# The texts that prepare_text writes, next to UNK_PROBS_FILE.
TRAIN_FILE = "train.txt"
VALID_FILE = "valid.txt"


def read_sentences(path: str | Path, *, kaldi_text: bool | None = None) -> Iterator[list[str]]:
    """Yield the words of each line of a text; blank lines are skipped.

    Words are separated by ASCII blanks, as in Kaldi's tables. A no-break space or another wide space is part of a word.

    Args:
        path: the text, plain or gzipped.
        kaldi_text: whether each line starts with an utterance id, as in a Kaldi ``text``; it is left out. None: there
            should be no utterance ids, and a text that seems to have them is refused. The texts of a directory that
            prepare_text made are not refused: their words have been looked at before.

    Raises:
        InputError: a line contains ``</s>`` or ``<s>``; or, after the last line, all lines seem to start with
            utterance ids although ``kaldi_text`` is None.
    """
    first_words: set[str] | None = set() if kaldi_text is None and not _is_prepared(Path(path)) else None
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


def _is_prepared(path: Path) -> bool:
    """Whether the text was written by prepare_text."""
    return path.name in (TRAIN_FILE, VALID_FILE) and (path.parent / UNK_PROBS_FILE).exists()


def count_words(sentences: Iterable[list[str]]) -> Counter[str]:
    """Count each word."""
    counts: Counter[str] = Counter()
    for words in sentences:
        counts.update(words)
    return counts


@dataclass(frozen=True, eq=False)
class TokenStream:
    """A text as one sequence of ids.

    Attributes:
        ids: int64 (tokens,), each sentence followed by ``</s>``.
        class_cost: sum of −ln P(word | class) over all words that are not listed.
        oov: word → count, for the words that are neither listed nor in the class.
        sentences: number of sentences.
    """

    ids: np.ndarray
    class_cost: float
    oov: Counter[str]
    sentences: int

    @classmethod
    def encode(cls, sentences: Iterable[list[str]], vocabulary: Vocabulary) -> TokenStream:
        """Map the words of all sentences to ids."""
        ids = array("q")  # int64; a list would take four times the memory
        unlisted: Counter[str] = Counter()
        end = vocabulary.ids[SENTENCE_END]
        unk = vocabulary.unk_id
        count = 0
        for words in sentences:
            encoded = vocabulary.encode(words)
            ids.extend(encoded)
            ids.append(end)
            unlisted.update(word for word, index in zip(words, encoded, strict=True) if index == unk)
            count += 1
        cost = sum(times * vocabulary.class_cost(word) for word, times in unlisted.items())
        oov = Counter({word: times for word, times in unlisted.items() if vocabulary.is_oov(word)})
        return cls(np.array(ids, dtype=np.int64), cost, oov, count)

    @classmethod
    def read(cls, path: str | Path, vocabulary: Vocabulary, *, kaldi_text: bool | None = None) -> TokenStream:
        """Encode a text file.

        Args:
            path: the text, plain or gzipped, with one sentence per line.
            vocabulary: the vocabulary of the language model.
            kaldi_text: see :func:`read_sentences`.

        Raises:
            InputError: the file has no sentence, or :func:`read_sentences` refuses it.
        """
        stream = cls.encode(read_sentences(path, kaldi_text=kaldi_text), vocabulary)
        if not stream.sentences:
            raise InputError(path, found="no sentence", expected="text", remedy="check how the file was created")
        return stream

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the ids."""
        return hashlib.sha256(self.ids.tobytes()).hexdigest()


def hold_out(sentences: Iterable[list[str]], every: int, *, valid: bool) -> Iterator[list[str]]:
    """Split a text: yield every ``every``-th sentence if ``valid``, or else all others.

    The held-out sentences are spread over the whole text, so they have its topics even if the text is sorted.
    """
    return (words for number, words in enumerate(sentences, 1) if (number % every == 0) == valid)


def write_sentences(path: str | Path, sentences: Iterable[list[str]]) -> Counter[str]:
    """Write one sentence per line.

    Returns:
        Word → count; the count of ``</s>`` is the number of sentences.
    """
    counts: Counter[str] = Counter()
    with atomic_text(path) as stream:
        for words in sentences:
            stream.write(" ".join(words) + "\n")
            counts.update(words)
            counts[SENTENCE_END] += 1
    return counts
