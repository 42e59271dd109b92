"""The cost and perplexity of a text: as one running text, or sentence by sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from asr_rescore.corpus import TokenStream
from asr_rescore.lm.scorer import SentenceScorer
from asr_rescore.models import LanguageModel
from asr_rescore.progress import progress_bar

CHUNK = 256  # tokens in one pass; the result does not depend on it
SENTENCES_AT_ONCE = 1000  # bounds the memory for their hidden states


@dataclass(frozen=True)
class TextCost:
    """What a text costs under a language model.

    Attributes:
        total: Σ −ln P of all tokens in nats, with the class costs of the words outside the vocabulary.
        tokens: number of tokens, sentence ends included.
    """

    total: float
    tokens: int

    @property
    def ppl(self) -> float:
        """The perplexity."""
        return perplexity(self.total / self.tokens)


def evaluate_text(model: LanguageModel, text: TokenStream, device: torch.device | str) -> TextCost:
    """Predict every token of a running text once; see :func:`stream_cost`."""
    with progress_bar("perplexity", len(text), "tokens") as bar:
        total = stream_cost(model, text.ids, device, before_chunk=lambda: bar.update(CHUNK))
    return TextCost(total + text.class_cost, len(text))


def evaluate_sentences(scorer: SentenceScorer, sentences: Iterable[list[str]], expected: int | None = None) -> TextCost:
    """Predict every sentence by itself, as rescoring does: no sentence knows the one before it.

    Args:
        scorer: gives the cost of each sentence, its end included.
        sentences: at least one; they are read as they are needed.
        expected: how many there are, if that is known.
    """
    waiting = iter(sentences)
    total = 0.0
    tokens = 0
    with progress_bar("perplexity", expected, "sentences") as bar:
        while batch := list(islice(waiting, SENTENCES_AT_ONCE)):
            total += float(scorer.costs(batch).sum())
            tokens += sum(len(words) + 1 for words in batch)
            bar.update(len(batch))
    return TextCost(total, tokens)


@torch.inference_mode()
def stream_cost(
    model: LanguageModel,
    ids: np.ndarray,
    device: torch.device | str,
    chunk: int = CHUNK,
    before_chunk: Callable[[], None] = lambda: None,
) -> float:
    """Σ −ln P of all tokens of a running text, at batch size 1; the state is carried from its start to its end.

    The context of the first token is ``</s>``. The usual scripts instead read the text in ten rows and leave out the
    first token of each row, which makes the perplexity on Penn Treebank too good by about 0.03.

    Args:
        model: put into evaluation mode during the call.
        ids: int64 (tokens,), ending with ``</s>``.
        device: where the model is.
        chunk: tokens in one pass.
        before_chunk: called before each pass; what it raises ends the evaluation.

    Returns:
        Nats over all tokens; divide by their number for :func:`perplexity`.
    """
    training = model.training
    model.eval()
    labels = torch.from_numpy(ids).to(device).unsqueeze(1)  # (tokens, 1)
    inputs = torch.cat([labels[-1:], labels[:-1]])
    state = model.initial_state(1, device)
    cost = 0.0
    try:
        for begin in range(0, len(ids), chunk):
            before_chunk()
            asked = labels[begin : begin + chunk, 0]
            contexts, state = model.read(inputs[begin : begin + chunk], state)
            rows = torch.arange(len(asked), device=asked.device)
            cost -= model.word_log_probs(contexts, rows, asked).double().sum().item()
    finally:
        model.train(training)
    return cost


def perplexity(cost: float) -> float:
    """e to the power of ``cost``, in nats per token; infinite where it exceeds the largest float."""
    try:
        return math.exp(cost)
    except OverflowError:
        return math.inf
