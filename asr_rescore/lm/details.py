"""The cost of each word of a text, as SRILM's ``ngram -debug 2`` tells it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

import numpy as np
import torch

from asr_rescore.checkpoint import LoadedModel
from asr_rescore.errors import printable
from asr_rescore.lm.neural_scorer import NeuralScorer, refuse_string
from asr_rescore.lm.text_cost import CHUNK, TextCost, perplexity
from asr_rescore.models import State
from asr_rescore.vocab import SENTENCE_END, Vocabulary

WordKind = Literal["listed", "class", "oov", "end"]
HEADER = ("kind", "sentence", "token", "word", "cost", "probability", "ppl")


@dataclass(frozen=True)
class SentenceCosts:
    """What each word of a sentence costs under a language model.

    Attributes:
        words: the words, and the sentence end.
        kinds: of each word: ``listed`` in the vocabulary, in its ``class`` of rare words, ``oov`` (neither), or the
            ``end`` of the sentence.
        costs: float64 (words,), −ln P of each word after all before it, with the class costs of words that are not
            listed.
    """

    words: tuple[str, ...]
    kinds: tuple[WordKind, ...]
    costs: np.ndarray

    @property
    def total(self) -> float:
        """−ln P of the sentence."""
        return float(self.costs.sum())

    @property
    def ppl(self) -> float:
        """The perplexity of the sentence, its end included."""
        return perplexity(self.total / len(self.words))


@torch.inference_mode()
def word_costs(
    lm: LoadedModel,
    sentences: Iterable[Sequence[str]],
    device: torch.device | str = "cpu",
    *,
    by_sentence: bool = False,
) -> Iterator[SentenceCosts]:
    """Cost every word of a text. Sentences are read as they are needed.

    Args:
        lm: see :func:`~asr_rescore.checkpoint.load_model`; it must be on ``device``.
        sentences: words of each sentence.
        device: where the model is.
        by_sentence: predict each sentence by itself, as rescoring does, instead of the text as a whole.

    Raises:
        RescoreError: with ``by_sentence``, the model's probability of a word is not a number.
        UsageError: a sentence is a string instead of a sequence of words.
    """
    vocabulary = lm.vocabulary
    scorer = NeuralScorer(lm.model, vocabulary, device)
    state = scorer.initial_state()
    for group in _groups(sentences):
        if by_sentence:
            found = scorer.word_costs(group)
        else:
            found, state = _of_running_text(lm, group, device, state)
        for words, costs in zip(group, found, strict=True):
            kinds: tuple[WordKind, ...] = (*(_kind(word, vocabulary) for word in words), "end")
            yield SentenceCosts((*words, SENTENCE_END), kinds, costs)


def _of_running_text(
    lm: LoadedModel, sentences: Sequence[Sequence[str]], device: torch.device | str, state: State
) -> tuple[list[np.ndarray], State]:
    """The costs of each sentence's words and end, each after all before it, and the state after them."""
    vocabulary = lm.vocabulary
    end = vocabulary.ids[SENTENCE_END]
    ids = [index for words in sentences for index in (*vocabulary.encode(words), end)]
    costs, state = _costs(lm, torch.tensor(ids, device=device), state)
    costs += [cost for words in sentences for cost in (*map(vocabulary.class_cost, words), 0.0)]
    ends = np.cumsum([len(words) + 1 for words in sentences])
    return np.split(costs, ends[:-1]), state


def _groups(sentences: Iterable[Sequence[str]]) -> Iterator[list[tuple[str, ...]]]:
    """Sentences that go through the network together: at least ``CHUNK`` tokens, except at the end."""
    group: list[tuple[str, ...]] = []
    size = 0
    for words in sentences:
        refuse_string(words)
        group.append(tuple(words))
        size += len(words) + 1
        if size >= CHUNK:
            yield group
            group = []
            size = 0
    if group:
        yield group


def _costs(lm: LoadedModel, labels: torch.Tensor, state: State) -> tuple[np.ndarray, State]:
    """−ln P of some ids, which end with ``</s>`` and follow one, float64 (ids,), and the state after all but the last.

    Long sentences are read in parts, so that memory does not depend on their length.
    """
    inputs = torch.cat([labels[-1:], labels[:-1]]).unsqueeze(1)  # (ids, 1)
    costs = []
    for begin in range(0, len(labels), CHUNK):
        here = slice(begin, begin + CHUNK)
        contexts, state = lm.model.read(inputs[here], state)
        asked = labels[here]
        rows = torch.arange(len(asked), device=asked.device)
        costs.append(-lm.model.word_log_probs(contexts, rows, asked).double().cpu().numpy())
    return np.concatenate(costs), state


def _kind(word: str, vocabulary: Vocabulary) -> WordKind:
    if vocabulary.is_listed(word):
        return "listed"
    return "oov" if vocabulary.is_oov(word) else "class"


def write_word_costs(stream: TextIO, sentences: Iterable[SentenceCosts]) -> TextCost:
    """Write a table with a line for each word, for each sentence and for the text; see docs/formats.md.

    Returns:
        What the text costs.
    """
    stream.write("\t".join(HEADER) + "\n")
    total = 0.0
    tokens = 0
    for number, sentence in enumerate(sentences, 1):
        for place, (word, kind, cost) in enumerate(
            zip(sentence.words, sentence.kinds, sentence.costs.tolist(), strict=True), 1
        ):
            probability = f"{math.exp(-cost):.6g}"
            stream.write(f"{kind}\t{number}\t{place}\t{printable(word)}\t{cost:.6f}\t{probability}\t\n")
        length = len(sentence.words)
        stream.write(f"sentence\t{number}\t{length}\t\t{sentence.total:.6f}\t\t{sentence.ppl:.6g}\n")
        total += sentence.total
        tokens += length
    cost = TextCost(total, tokens)
    stream.write(f"total\t\t{tokens}\t\t{total:.6f}\t\t{cost.ppl:.6g}\n")
    return cost
