"""The mixture of softmaxes, exact in log space."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def mixture_log_probs(
    latent: torch.Tensor, prior_logits: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """ln Σₖ πₖ softmax(W·zₖ + b), normalised exactly (Yang et al. 2018, equation 3).

    Args:
        latent: expert vectors zₖ, (..., experts, embedding).
        prior_logits: (..., experts); their softmax is π.
        weight: (vocabulary, embedding).
        bias: (vocabulary,).

    Returns:
        Log probabilities, (..., vocabulary).
    """
    logits = F.linear(latent, weight, bias)  # (..., experts, vocabulary)
    # ln πₖ − ln Zₖ is one number an expert: adding it to the logits spares a normalised copy of them.
    offset = F.log_softmax(prior_logits, dim=-1) - torch.logsumexp(logits, dim=-1)  # (..., experts)
    return torch.logsumexp(logits + offset.unsqueeze(-1), dim=-2)
