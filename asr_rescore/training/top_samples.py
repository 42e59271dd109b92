"""The most probable words of a distribution, and samples that stand for the others."""

from __future__ import annotations

import torch


def top_and_samples(
    probs: torch.Tensor, top: int, samples: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep the ``top`` words of each distribution, and ``samples`` draws from the others, which share their mass.

    Args:
        probs: (tokens, vocabulary).
        top: number of words that keep their probability.
        samples: number of draws, with replacement, from the other words in proportion to their probabilities.
        generator: for the draws.

    Returns:
        Weights (tokens, top + samples) with the same sum as ``probs``, and their words, int64 of the same shape. For
        any f, the expectation of Σ weights · f(words) is Σ probs · f.
    """
    kept, words = probs.topk(top, dim=-1)
    rest = probs.scatter(-1, words, 0.0)
    mass = rest.sum(-1, keepdim=True)
    # If no mass is left, any word will do: its weight is zero. torch adds the probabilities up in their own precision,
    # and in float32 the rarest words would not be drawn as often as they should be.
    chances = torch.where(mass > 0, rest, 1.0).double()
    drawn = torch.multinomial(chances, samples, replacement=True, generator=generator)
    return torch.cat([kept, (mass / samples).expand(-1, samples)], -1), torch.cat([words, drawn], -1)
