"""Text drawn from a language model, as further training text for a student."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm_config import SamplingConfig
from asr_rescore.models import LanguageModel, select_state
from asr_rescore.progress import progress_bar
from asr_rescore.vocab import SENTENCE_END, Vocabulary


def sample_sentences(
    model: LanguageModel,
    vocabulary: Vocabulary,
    device: torch.device | str,
    *,
    sentences: int | None = None,
    tokens: int | None = None,
    config: SamplingConfig | None = None,
    tally: Counter[str] | None = None,
) -> Iterator[list[str]]:
    """Draw running text: each word from softmax(ln P(· | all words before it in its stream) / temperature).

    As in training, the state is carried over sentence ends. The sentences of the first stream are yielded one after
    the other, then those of the next stream; until then the text is in memory, at four bytes per token. The same
    arguments give the same text on the same device with the same version of torch.

    Each stream draws its own part of the text and stops after a whole sentence. If the first ``sentences`` that any
    stream finishes were taken instead, short ones would be too frequent, because they finish sooner.

    A stream never ends a sentence before its first word. A training text has no empty sentence, so a network that
    reads one would go on from a state for which it was not trained. Not drawing ``</s>`` there is the same as drawing
    again until a word comes.

    A word of the class is drawn from ``vocabulary.unk_probs``. If that is empty, the class itself is the word.

    Args:
        model: put into evaluation mode; on ``device``.
        vocabulary: the vocabulary of the model.
        device: where the words are drawn.
        sentences: exact number of sentences; give either this or ``tokens``.
        tokens: least number of tokens, sentence ends included; each stream draws at most one sentence more.
        config: random seed, temperature, number of streams and longest sentence; None for the defaults.
        tally: the number of sentences that were cut is added to its entry ``cut``.

    Yields:
        The words of a sentence, at least one.

    Raises:
        UsageError: an argument is out of range.
        RescoreError: the model does not give a distribution.
    """
    config = config or SamplingConfig()
    unit, total = _amount(sentences, tokens)
    streams = min(config.streams, total)
    least, more = divmod(total, streams)
    quotas = [least + 1 if stream < more else least for stream in range(streams)]
    return _sentences(model, vocabulary, torch.device(device), quotas, unit, config, tally)


def _amount(sentences: int | None, tokens: int | None) -> tuple[str, int]:
    """The unit in which text is counted, and the number of units to draw."""
    if sentences is not None and tokens is None:
        unit = "sentence"
        total = sentences
    elif tokens is not None and sentences is None:
        unit = "token"
        total = tokens
    else:
        raise UsageError("sampling needs either a number of sentences or a number of tokens")
    if total < 1:
        raise UsageError(f"`{unit}s` is {total}, expected 1 or more")
    return unit, total


def _sentences(
    model: LanguageModel,
    vocabulary: Vocabulary,
    device: torch.device,
    quotas: list[int],
    unit: str,
    config: SamplingConfig,
    tally: Counter[str] | None,
) -> Iterator[list[str]]:
    end = vocabulary.ids[SENTENCE_END]
    unk = vocabulary.unk_id
    texts, cut = _draw_streams(model, end, device, quotas, unit, config)
    if tally is not None:
        tally["cut"] += cut
    members = list(vocabulary.unk_probs)
    probabilities = np.array(list(vocabulary.unk_probs.values()))
    probabilities /= probabilities.sum()
    generator = np.random.default_rng(config.seed)  # another algorithm than torch's, so it draws other numbers
    for text in texts:
        chosen = iter(generator.choice(len(members), size=text.count(unk), p=probabilities))
        words: list[str] = []
        for index in text:
            if index == end:
                yield words
                words = []
            elif index == unk:
                words.append(members[next(chosen)])
            else:
                words.append(vocabulary.words[index])


@torch.inference_mode()
def _draw_streams(
    model: LanguageModel, end: int, device: torch.device, quotas: list[int], unit: str, config: SamplingConfig
) -> tuple[list[array[int]], int]:
    """The ids of each stream, whole sentences with their ends, and the number of sentences that were cut."""
    model.eval()
    generator = torch.Generator(device).manual_seed(config.seed)
    texts = [array("i") for _ in quotas]
    left = list(quotas)  # units that each stream still has to draw
    length = [0] * len(quotas)  # words of the sentence that each stream is in
    cut = 0
    active = list(range(len(quotas)))  # the streams in the batch, one per row
    state = model.initial_state(len(active), device)
    last = torch.full((len(active),), end, device=device)  # (streams,)
    with progress_bar("sample", sum(quotas), f"{unit}s") as bar:
        while active:
            output = model(last.unsqueeze(0), state)
            state = output.state
            # multinomial compares exponential draws of the weights' type. On a GPU no draw in float32 is below 6e-8
            # (ATen's TransformationHelper.h), which is too coarse for the many words that are as improbable as that.
            log_probs = output.log_probs[0].double()  # (streams, vocabulary)
            log_probs[last == end, end] = -math.inf
            weights = torch.softmax(log_probs / config.temperature, dim=-1)
            if weights.sum().isnan():
                raise RescoreError(
                    "the language model gives probabilities that are not numbers, or sentences without a word; its "
                    "weights may be damaged: check its training log"
                )
            words = torch.multinomial(weights, 1, generator=generator).squeeze(1).tolist()
            kept = []  # rows of the streams that go on
            drawn = 0
            for row, stream in enumerate(active):
                if words[row] != end and length[stream] == config.max_tokens:
                    words[row] = end
                    cut += 1
                ended = words[row] == end
                texts[stream].append(words[row])
                length[stream] = 0 if ended else length[stream] + 1
                if unit == "token" or ended:
                    drawn += left[stream] > 0
                    left[stream] -= 1
                if not ended or left[stream] > 0:
                    kept.append(row)
            bar.update(drawn)
            last = torch.tensor(words, device=device)
            if len(kept) < len(active):
                rows = torch.tensor(kept, dtype=torch.int64, device=device)
                state = select_state(state, rows)
                last = last[rows]
                active = [active[row] for row in kept]
    return texts, cut
