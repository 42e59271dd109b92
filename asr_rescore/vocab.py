"""Words and their ids, decided once: stored with every model, hashed into every score."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from asr_rescore.errors import RescoreError

SENTENCE_END = "</s>"  # also the left context of a sentence's first word
RNN_UNK = "<RNN_UNK>"  # the class of all words outside the list
PLAIN_UNK = "<unk>"  # the class where the text itself writes it so, as Penn Treebank does
OOV_PROBABILITY = 1e-7  # P(word | class) of a word in neither list (Kaldi's rnnlm_compute_scores.sh)
# Entries of a Kaldi words.txt that are no words of the language.
KALDI_SYMBOLS = frozenset({"<eps>", "<s>", "</s>", "#0", "!SIL", "<SIL>", "<SPOKEN_NOISE>", "<NOISE>", "<UNK>"})
_BLANKS = frozenset(" \t\r\n")  # would break the files that hold one word a line


@dataclass(frozen=True)
class Vocabulary:
    """An LM's word list with one class for all other words.

    P(w | h) is the model's for a listed word and P(class | h) · ``unk_probs[w]`` for a member of the class, so that
    the probabilities of all words sum to one. A word in neither is charged P(class | h) · ``OOV_PROBABILITY``, on
    top of the distribution: dear, finite, never free.

    Attributes:
        words: id → word; id 0 is ``</s>``.
        unk: the class's own entry among ``words``.
        unk_probs: word → P(word | class); sums to one. Where no word had to be left out, the class's own
            entry is its only member.
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
        twice = [word for word, count in Counter(self.words).items() if count > 1]
        if twice:
            raise RescoreError(f"word {twice[0]!r} stands in the vocabulary twice")
        if self.unk not in self.words:
            raise RescoreError(f"the class {self.unk!r} is not in the vocabulary")
        both = [word for word in self.unk_probs if word in self.ids and word != self.unk]
        if both:
            raise RescoreError(f"word {both[0]!r} is both in the vocabulary and in its class {self.unk}")
        total = math.fsum(self.unk_probs.values())
        if not math.isclose(total, 1.0, abs_tol=1e-9) or min(self.unk_probs.values()) <= 0:
            raise RescoreError(f"the probabilities in class {self.unk} sum to {total}, expected 1, each above 0")

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], size: int | None = None, lexicon: Iterable[str] = ()) -> Vocabulary:
        """The ``size`` − 2 most frequent words (ties by spelling), ``</s>`` and the class of the rest.

        Args:
            counts: word → count in the training text.
            size: entries at most, ``</s>`` and the class included; None keeps every word.
            lexicon: further words the recogniser may put out; those not seen in the text join the class with
                the count of a word seen once.
        """
        unk = PLAIN_UNK if PLAIN_UNK in counts else RNN_UNK
        ranked = sorted((word for word in counts if word not in (unk, SENTENCE_END)), key=lambda w: (-counts[w], w))
        kept = len(ranked) if size is None else size - 2
        if kept < 1:
            what = "a text without words" if size is None else f"a vocabulary of {size} entries"
            raise RescoreError(f"{what} leaves no word to list; expected 3 entries or more")
        listed, rest = ranked[:kept], ranked[kept:]
        class_counts = {word: counts[word] for word in rest}
        for word in lexicon:
            if word not in counts and word not in KALDI_SYMBOLS:
                class_counts[word] = 1
        if counts.get(unk):  # the text's own <unk> keeps its share of the class
            class_counts[unk] = counts[unk]
        return cls._of(listed, unk, class_counts)

    @classmethod
    def from_words(cls, lexicon: Iterable[str], counts: Mapping[str, int]) -> Vocabulary:
        """Just the words the recogniser may put out, whether the text has them or not.

        Args:
            lexicon: the words of a words.txt; its symbols that are no words are left out.
            counts: word → count in the training text; words beyond the lexicon are the class.
        """
        unk = PLAIN_UNK if PLAIN_UNK in counts else RNN_UNK
        listed = sorted({word for word in lexicon if word not in KALDI_SYMBOLS and word != unk})
        rest = {word: counts[word] for word in sorted(counts.keys() - set(listed) - {SENTENCE_END})}
        return cls._of(listed, unk, rest)

    @classmethod
    def _of(cls, listed: Sequence[str], unk: str, class_counts: Mapping[str, int]) -> Vocabulary:
        total = sum(class_counts.values())
        return cls((SENTENCE_END, unk, *listed), unk, {word: count / total for word, count in class_counts.items()})

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word → id of the listed words."""
        return {word: index for index, word in enumerate(self.words)}

    @property
    def unk_id(self) -> int:
        """Id of the class."""
        return self.ids[self.unk]

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Sequence[str]) -> list[int]:
        """Ids of ``words``, the class's for every word outside the list; no sentence end added."""
        ids, unk = self.ids, self.unk_id
        return [ids.get(word, unk) for word in words]

    def is_listed(self, word: str) -> bool:
        """Whether the word has an id of its own; the class itself is no word."""
        return word in self.ids and word != self.unk

    def class_cost(self, word: str) -> float:
        """What a word costs beyond its id's −ln P: 0 for a listed one, −ln P(word | class) for any other."""
        if self.is_listed(word):
            return 0.0
        return -math.log(self.unk_probs.get(word, OOV_PROBABILITY))

    def is_oov(self, word: str) -> bool:
        """Whether the word is in neither list."""
        return not self.is_listed(word) and word not in self.unk_probs

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over words, class and members."""
        digest = hashlib.sha256()
        for word in self.words:
            digest.update(word.encode() + b"\n")
        digest.update(b"\0" + self.unk.encode() + b"\n")
        for word in sorted(self.unk_probs):
            digest.update(f"{word} {self.unk_probs[word]!r}\n".encode())
        return digest.hexdigest()
