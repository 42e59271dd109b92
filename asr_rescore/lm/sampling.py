"""Text drawn from a language model, sentence after sentence, as further training text of a student."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.models import LanguageModel, select_state
from asr_rescore.vocab import SENTENCE_END, Vocabulary


def sample_sentences(
    model: LanguageModel,
    vocabulary: Vocabulary,
    device: torch.device | str,
    *,
    sentences: int | None = None,
    tokens: int | None = None,
    seed: int = 1,
    temperature: float = 1.0,
    streams: int = 64,
    max_tokens: int = 200,
    tally: Counter[str] | None = None,
) -> Iterator[list[str]]:
    """Draw running text: each word from softmax(ln P(· | all before it in its stream) / temperature).

    The state is carried over sentence ends, as in training, so a stream's sentences are yielded one behind the other,
    then those of the next stream; until then the text is held in memory, four bytes a token. The same arguments give
    the same text on the same device and version of torch.

    Each stream has its own share to draw and then stops behind a sentence. Were the first ``sentences`` that any
    stream ends taken instead, short ones would be too frequent, being ended sooner.

    A stream never ends a sentence before its first word: a training text has no empty sentence, so a network that
    read one would go on from a state it was not trained for, and readers pass over blank lines. Drawing without
    ``</s>`` there is the same as drawing again until a word comes.

    A word of the class is drawn from ``vocabulary.unk_probs``; where no word was left out, that is the class itself.

    Args:
        model: put into evaluation mode; on ``device``.
        vocabulary: the model's.
        device: where the words are drawn.
        sentences: so many exactly; this or ``tokens``.
        tokens: so many at least, sentence ends counted; at most a sentence a stream more.
        seed: of all draws.
        temperature: above 0; 1 is the model's own distribution, towards 0 its likeliest word.
        streams: texts drawn side by side, each from the zero state on; fewer where there is less to draw.
        max_tokens: words at which a sentence is cut; the stream goes on as if it had ended there.
        tally: gets the number of such sentences under ``cut``.

    Yields:
        The words of a sentence, one at least.

    Raises:
        UsageError: an argument is out of its range.
        RescoreError: the model's distribution is none.
    """
    if (sentences is None) == (tokens is None):
        raise UsageError("sampling takes a number of sentences or one of tokens, expected just one of the two")
    asked = {"sentences": sentences, "tokens": tokens, "streams": streams, "max_tokens": max_tokens}
    for name, value in asked.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}, expected 1 or more")
    if not 0 < temperature < math.inf:
        raise UsageError(f"temperature {temperature}, expected a finite number above 0")
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed {seed}, expected 0 or more, and below 2^63")
    unit, total = ("sentence", sentences) if tokens is None else ("token", tokens)
    share, over = divmod(total, min(streams, total))
    quotas = [share + (stream < over) for stream in range(min(streams, total))]
    return _sentences(model, vocabulary, torch.device(device), quotas, unit, seed, temperature, max_tokens, tally)


def _sentences(
    model: LanguageModel,
    vocabulary: Vocabulary,
    device: torch.device,
    quotas: list[int],
    unit: str,
    seed: int,
    temperature: float,
    max_tokens: int,
    tally: Counter[str] | None,
) -> Iterator[list[str]]:
    end, unk = vocabulary.ids[SENTENCE_END], vocabulary.unk_id
    texts, cut = _draw_streams(model, end, device, quotas, unit, seed, temperature, max_tokens)
    if tally is not None:
        tally["cut"] += cut
    members, probabilities = list(vocabulary.unk_probs), np.array(list(vocabulary.unk_probs.values()))
    probabilities /= probabilities.sum()
    generator = np.random.default_rng(seed)  # another algorithm than torch's, so its numbers are others
    for text in texts:
        chosen = iter(generator.choice(len(members), size=text.count(unk), p=probabilities))
        words: list[str] = []
        for index in text:
            if index == end:
                yield words
                words = []
            else:
                words.append(members[next(chosen)] if index == unk else vocabulary.words[index])


@torch.inference_mode()
def _draw_streams(
    model: LanguageModel,
    end: int,
    device: torch.device,
    quotas: list[int],
    unit: str,
    seed: int,
    temperature: float,
    max_tokens: int,
) -> tuple[list[array], int]:
    """The ids of each stream, whole sentences with their ends, and how many sentences were cut."""
    model.eval()
    generator = torch.Generator(device).manual_seed(seed)
    texts = [array("i") for _ in quotas]
    left, length, cut = list(quotas), [0] * len(quotas), 0  # length: words of the sentence a stream is in
    active = list(range(len(quotas)))
    state = model.initial_state(len(active), device)
    last = torch.full((len(active),), end, device=device)
    with tqdm(total=sum(quotas), desc="sample", unit=unit, disable=None) as bar:
        while active:
            output = model(last.unsqueeze(0), state)
            state = output.state
            # multinomial races exponential draws of the weights' type. On a GPU none in float32 is below 6e-8 (ATen's
            # TransformationHelper.h), too coarse for the many words of such probabilities.
            log_probs = output.log_probs[0].double()  # (streams, vocabulary)
            log_probs[last == end, end] = -math.inf
            weights = torch.softmax(log_probs / temperature, dim=-1)
            if weights.sum().isnan():
                raise RescoreError(
                    "the language model gives probabilities that are no numbers, or sentences without a word; its "
                    "weights may be damaged: check its training log"
                )
            words = torch.multinomial(weights, 1, generator=generator).squeeze(1).tolist()
            kept, drawn = [], 0
            for row, stream in enumerate(active):
                if words[row] != end and length[stream] == max_tokens:
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
                state, last, active = select_state(state, rows), last[rows], [active[row] for row in kept]
    return texts, cut
