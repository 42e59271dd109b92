"""The vocabulary of a language model: its words, their ids, and one class for all other words."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from asr_rescore.errors import RescoreError

SENTENCE_END = "</s>"  # also the context before the first word of a sentence
RNN_UNK = "<RNN_UNK>"  # the class of all words that are not listed
PLAIN_UNK = "<unk>"  # its name if the text itself contains <unk>, as Penn Treebank does
OOV_PROBABILITY = 1e-7  # P(word | class) of an OOV word, neither listed nor in the class (rnnlm_compute_scores.sh)
# Entries of a Kaldi words.txt that are not words of the language: these, and those that begin like symbols of FSTs.
KALDI_SYMBOLS = frozenset({"<eps>", "<s>", "</s>", "!SIL", "<SIL>", "<SPOKEN_NOISE>", "<NOISE>", "<UNK>"})
_FST_SYMBOL = re.compile(r"#([0-9]+|nonterm.*)")  # #0 for back-off, #1, …, and #nonterm_begin, #nonterm:NAME, …
_BLANKS = frozenset(" \t\r\n\f\v")  # would break the files, which have one word per line


def is_word(symbol: str) -> bool:
    """Whether an entry of a Kaldi words.txt is a word of the language."""
    return symbol not in KALDI_SYMBOLS and not _FST_SYMBOL.fullmatch(symbol)


@dataclass(frozen=True)
class Vocabulary:
    """The listed words of a language model, and one class for all other words.

    P(w | h) is the model's own for a listed word, and P(class | h) · ``unk_probs[w]`` for a word of the class, so that
    the probabilities of all these words sum to one. An OOV word, which is neither listed nor in the class, gets
    P(class | h) · ``OOV_PROBABILITY`` in addition to that sum: its cost is high but finite.

    Attributes:
        words: id → word; id 0 is ``</s>``.
        unk: the entry of ``words`` that stands for the class.
        unk_probs: word → P(word | class); sums to one. If every word is listed, the class has only its own entry
            ``unk``.

    Raises:
        RescoreError: the words do not start with ``</s>``, contain blanks or duplicates, or lack ``unk``; or the
            probabilities do not sum to one, are not positive, or include a listed word.
    """

    words: tuple[str, ...]
    unk: str = RNN_UNK
    unk_probs: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.unk_probs:
            object.__setattr__(self, "unk_probs", {self.unk: 1.0})
        if not self.words or self.words[0] != SENTENCE_END:
            raise RescoreError(f"a vocabulary starts with {SENTENCE_END}, found {self.words[:1]}")
        unwritable = [word for word in (*self.words, *self.unk_probs) if not word or not _BLANKS.isdisjoint(word)]
        if unwritable:
            raise RescoreError(f"the vocabulary holds {unwritable[0]!r}, expected words without blanks")
        duplicates = [word for word, count in Counter(self.words).items() if count > 1]
        if duplicates:
            raise RescoreError(f"word {duplicates[0]!r} is in the vocabulary twice")
        if self.unk not in self.words:
            raise RescoreError(f"the class {self.unk!r} is not in the vocabulary")
        both = [word for word in self.unk_probs if word in self.ids and word != self.unk]
        if both:
            raise RescoreError(f"word {both[0]!r} is both in the vocabulary and in its class {self.unk}")
        total = math.fsum(self.unk_probs.values())
        if not math.isclose(total, 1.0, abs_tol=1e-9) or min(self.unk_probs.values()) <= 0:
            raise RescoreError(f"the probabilities in class {self.unk} sum to {total}, expected 1, each above 0")

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], size: int | None = None, lexicon: Iterable[str] = (), min_count: int = 1
    ) -> Vocabulary:
        """List the most frequent words; all other words form the class. Ties are broken by spelling.

        Args:
            counts: word → count in the training text.
            size: largest number of entries, including ``</s>`` and the class; None: list every word.
            lexicon: words that the recogniser can output; those that are not in the text join the class with a
                count of 1.
            min_count: a word that occurs less often joins the class, whatever ``size`` is.

        Raises:
            RescoreError: ``size``, ``min_count`` or the text leaves no word to list.
        """
        unk = PLAIN_UNK if PLAIN_UNK in counts else RNN_UNK
        ranked = sorted((word for word in counts if word not in (unk, SENTENCE_END)), key=lambda w: (-counts[w], w))
        kept = len(ranked) if size is None else size - 2
        if kept < 1:
            cause = "a text without words" if size is None else f"a vocabulary of {size} entries"
            raise RescoreError(f"{cause} leaves no word to list; expected 3 entries or more")
        kept = min(kept, sum(counts[word] >= min_count for word in ranked))
        if kept < 1:
            most = max((counts[word] for word in ranked), default=0)
            raise RescoreError(
                f"`min_count` {min_count} leaves no word to list; the most frequent word occurs {most} times"
            )
        class_counts = {word: counts[word] for word in ranked[kept:]}
        for word in lexicon:
            if word not in counts and is_word(word):
                class_counts[word] = 1
        if counts.get(unk):  # the <unk> of the text itself keeps its part of the class
            class_counts[unk] = counts[unk]
        return cls._of(ranked[:kept], unk, class_counts)

    @classmethod
    def from_words(cls, lexicon: Iterable[str], counts: Mapping[str, int]) -> Vocabulary:
        """List exactly the words that the recogniser can output, whether they are in the text or not.

        Args:
            lexicon: the words of a words.txt; its symbols that are not words are left out.
            counts: word → count in the training text; words that are not in the lexicon form the class.
        """
        unk = PLAIN_UNK if PLAIN_UNK in counts else RNN_UNK
        listed = sorted({word for word in lexicon if is_word(word) and word != unk})
        rest = {word: counts[word] for word in sorted(counts.keys() - set(listed) - {SENTENCE_END})}
        return cls._of(listed, unk, rest)

    @classmethod
    def _of(cls, listed: Sequence[str], unk: str, class_counts: Mapping[str, int]) -> Vocabulary:
        total = sum(class_counts.values())
        return cls((SENTENCE_END, unk, *listed), unk, {word: count / total for word, count in class_counts.items()})

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word → id, for the listed words."""
        return {word: index for index, word in enumerate(self.words)}

    @property
    def unk_id(self) -> int:
        """The id of the class."""
        return self.ids[self.unk]

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Sequence[str]) -> list[int]:
        """The ids of ``words``; a word that is not listed has the id of the class. No sentence end is added."""
        unk = self.unk_id
        return [self.ids.get(word, unk) for word in words]

    def is_listed(self, word: str) -> bool:
        """Whether the word has an id of its own. The entry of the class does not count as a word."""
        return word in self.ids and word != self.unk

    def class_cost(self, word: str) -> float:
        """What is added to −ln P of the word's id: 0 for a listed word, −ln P(word | class) for any other."""
        if self.is_listed(word):
            return 0.0
        return -math.log(self.unk_probs.get(word, OOV_PROBABILITY))

    def is_oov(self, word: str) -> bool:
        """Whether the word is neither listed nor in the class."""
        return not self.is_listed(word) and word not in self.unk_probs

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the listed words, the class and its words with their probabilities."""
        digest = hashlib.sha256()
        for word in self.words:
            digest.update(word.encode() + b"\n")
        digest.update(b"\0" + self.unk.encode() + b"\n")
        for word in sorted(self.unk_probs):
            digest.update(f"{word} {self.unk_probs[word]!r}\n".encode())
        return digest.hexdigest()
