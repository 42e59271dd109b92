"""The mixture of softmaxes, exact in log space."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Logits of this many bytes are taken at a time on a CPU, whose caches then hold them from pass to pass: with Penn
# Treebank's sizes training is about twice as fast as with all tokens at once. A GPU gets them all.
CPU_CHUNK_BYTES = 16 << 20


def mixture_log_probs(
    latent: torch.Tensor, prior_logits: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """ln Σₖ πₖ softmax(W·zₖ + b), normalised exactly (Yang et al. 2018).

    Args:
        latent: expert vectors zₖ, (time, batch, experts, embedding).
        prior_logits: (time, batch, experts); their softmax is π.
        weight: W, (vocabulary, embedding).
        bias: b, (vocabulary,).

    Returns:
        Log probabilities, (time, batch, vocabulary).
    """
    shape = latent.shape[:2]
    latent, prior_logits = latent.flatten(0, 1), prior_logits.flatten(0, 1)  # (tokens, experts, …)
    if latent.device.type == "cpu":
        token_bytes = latent.shape[1] * len(weight) * latent.element_size()
        tokens = max(1, CPU_CHUNK_BYTES // token_bytes)
    else:
        tokens = max(1, len(latent))
    pieces = zip(latent.split(tokens), prior_logits.split(tokens), strict=True)
    return torch.cat([_log_probs(*piece, weight, bias) for piece in pieces]).unflatten(0, shape)


def _log_probs(
    latent: torch.Tensor, prior_logits: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    logits = F.linear(latent, weight, bias)  # (tokens, experts, vocabulary)
    # ln πₖ − ln Zₖ is one number an expert: adding it to the logits spares a normalised copy of them.
    offset = F.log_softmax(prior_logits, dim=-1) - torch.logsumexp(logits, dim=-1)  # (tokens, experts)
    return torch.logsumexp(logits + offset.unsqueeze(-1), dim=-2)
