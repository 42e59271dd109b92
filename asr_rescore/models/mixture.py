"""The mixture of softmaxes, exact in log space, forward and backward without ever holding all its logits.

Of [tokens × experts × vocabulary] only a few tokens' worth exists at a time. The forward pass keeps ln P and each
expert's normaliser; the backward pass computes the logits again, which costs a fourth matrix product instead of memory
that grows with the experts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

# Bytes of logits that are computed at once. A CPU's caches then hold them from pass to pass; a GPU is kept busy.
CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}
# Vectors and words of a tile of logits where only normalisers are wanted. On a Zen 4 core it was the fastest of shapes
# from 26 × 40,000 to 2048 × 512, up to 3.5 times as fast as whole rows.
TILE = {"cpu": (512, 1024), "cuda": (8192, 1 << 30)}
# Logits are made in bits: on a CPU torch's exp2 takes a third of the time of its exp.
LOG2_E = math.log2(math.e)


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
    log_prior = prior_logits.log_softmax(-1)
    log_probs = _Mixture.apply(latent.flatten(0, 1), log_prior.flatten(0, 1), weight, bias)
    return log_probs.unflatten(0, latent.shape[:2])


@torch.no_grad()
def mixture_word_log_probs(
    latent: torch.Tensor,
    prior_logits: torch.Tensor,
    rounded: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    rows: torch.Tensor,
    words: torch.Tensor,
) -> torch.Tensor:
    """ln P of some words only: each context's normalisers are computed once, and no distribution is written out.

    Args:
        latent: (contexts, experts, embedding).
        prior_logits: (contexts, experts).
        rounded: (vocabulary, embedding), the weights of the normalisers' logits: ``weight`` itself, or a copy in half
            precision, whose products are rounded to it and summed up in the type of ``latent``.
        weight: (vocabulary, embedding), of the asked words' logits.
        bias: (vocabulary,).
        rows: int64 (asked,), the context of each asked word.
        words: int64 (asked,).

    Returns:
        (asked,), of the type of ``latent``.
    """
    normalisers = _normalisers(latent.flatten(0, 1), rounded, bias).view_as(prior_logits)
    offsets = prior_logits.log_softmax(-1) - normalisers
    asked = torch.bmm(latent[rows], weight[words].unsqueeze(-1)).squeeze(-1)  # (asked, experts)
    return torch.logsumexp(asked + bias[words].unsqueeze(-1) + offsets[rows], dim=-1)


class _Mixture(torch.autograd.Function):
    """From latent (tokens, experts, embedding) and ln π (tokens, experts) to ln P (tokens, vocabulary).

    With pₖ = softmax(W·zₖ + b), rₖ = πₖ·pₖ / P and a gradient G on ln P, the gradient on expert k's logits is
    rₖ·G − pₖ·sₖ and the one on ln πₖ is sₖ, where sₖ = Σ rₖ·G over the vocabulary.
    """

    @staticmethod
    def forward(
        ctx: Any, latent: torch.Tensor, log_prior: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        log_probs = latent.new_empty(len(latent), len(weight))
        normalisers = torch.empty_like(log_prior)
        for here, logits in _logits(latent, weight, bias):
            top = logits.amax(-1, keepdim=True)
            exps = logits.sub_(top).exp2_()  # (chunk, experts, vocabulary)
            sums = exps.sum(-1)
            normalisers[here] = sums.log2() + top.squeeze(-1)
            shares = log_prior[here].exp() / sums
            probs = torch.bmm(shares.unsqueeze(-2), exps).squeeze(-2)  # P, (chunk, vocabulary)
            torch.mul(probs.log2_(), 1 / LOG2_E, out=log_probs[here])
        rare = log_probs.amin(-1) < _least(log_probs)  # tokens with some probability too small for exp
        for row in rare.nonzero().squeeze(-1).split(64):
            logits = torch.matmul(latent[row], weight.t()).add_(bias)
            offsets = log_prior[row] - normalisers[row] / LOG2_E
            log_probs[row] = torch.logsumexp(logits.add_(offsets.unsqueeze(-1)), dim=-2)
        ctx.save_for_backward(latent, log_prior, weight, bias, log_probs, normalisers, rare)
        return log_probs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        latent, log_prior, weight, bias, log_probs, normalisers, rare = ctx.saved_tensors
        grad_latent, grad_prior = torch.empty_like(latent), torch.empty_like(log_prior)
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        scratch = None
        for here, logits in _logits(latent, weight, bias):
            logits.sub_(normalisers[here].unsqueeze(-1))  # log₂ pₖ, (chunk, experts, vocabulary)
            rows = rare[here].nonzero().squeeze(-1)
            offsets = log_prior[here][rows].unsqueeze(-1) - log_probs[here][rows].unsqueeze(-2)
            seen_part = logits[rows].add_(offsets, alpha=LOG2_E).exp2_()
            seen_part *= grad[here][rows].unsqueeze(-2)  # rₖ·G of the rare rows
            probs, prior = logits.exp2_(), log_prior[here].exp()
            ratio = torch.mul(log_probs[here], -LOG2_E).exp2_().mul_(grad[here])  # G / P, (chunk, vocabulary)
            ratio[rows] = 0.0
            seen = prior * torch.bmm(probs, ratio.unsqueeze(-1)).squeeze(-1)  # sₖ, (chunk, experts)
            seen[rows] = seen_part.sum(-1)
            scratch = torch.empty_like(probs) if scratch is None else scratch
            slopes = torch.mul(prior.unsqueeze(-1), ratio.unsqueeze(-2), out=scratch[: len(probs)])
            slopes = slopes.sub_(seen.unsqueeze(-1)).mul_(probs)  # on the logits
            slopes[rows] += seen_part
            slopes = slopes.flatten(0, 1)
            grad_prior[here] = seen
            torch.mm(slopes, weight, out=grad_latent[here].flatten(0, 1))
            grad_weight.addmm_(slopes.t(), latent[here].flatten(0, 1))
            grad_bias += slopes.sum(0)
        return grad_latent, grad_prior, grad_weight, grad_bias


def _normalisers(vectors: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """ln Σ exp(W·z + b) of each of ``vectors`` (any, embedding), a tile of logits at a time."""
    rows, columns = TILE[vectors.device.type]
    in_bits, bias = (vectors * LOG2_E).to(weight.dtype), (bias * LOG2_E).to(weight.dtype)
    parts = vectors.new_empty(len(vectors), -(-len(weight) // columns))
    buffer = weight.new_empty(min(rows, len(vectors)) * min(columns, len(weight)))
    tiles = [
        (weight[begin : begin + columns].t(), bias[begin : begin + columns]) for begin in range(0, len(weight), columns)
    ]
    for begin in range(0, len(vectors), rows):
        some = in_bits[begin : begin + rows]
        for place, (part, shift) in enumerate(tiles):
            logits = buffer[: len(some) * len(shift)].view(len(some), len(shift))
            logits = torch.addmm(shift, some, part, out=logits).to(vectors.dtype)
            top = logits.amax(-1, keepdim=True)
            sums = logits.sub_(top).exp2_().sum(-1)
            torch.add(sums.log2_(), top.squeeze(-1), out=parts[begin : begin + rows, place])
    return torch.logsumexp(parts / LOG2_E, dim=-1)


def _logits(latent: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield slices of tokens and their logits in bits (chunk, experts, vocabulary), all in the same memory.

    They are of the type of ``weight``.
    """
    tokens, experts, _ = latent.shape
    chunk = max(1, CHUNK_BYTES[latent.device.type] // (experts * len(weight) * latent.element_size()))
    buffer = weight.new_empty(min(chunk, tokens) * experts, len(weight))
    in_bits, bias = (latent * LOG2_E).to(weight.dtype), (bias * LOG2_E).to(weight.dtype)
    for begin in range(0, tokens, chunk):
        here = slice(begin, min(begin + chunk, tokens))
        vectors = in_bits[here].flatten(0, 1)
        logits = torch.addmm(bias, vectors, weight.t(), out=buffer[: len(vectors)])
        yield here, logits.unflatten(0, (-1, experts))


def _least(like: torch.Tensor) -> float:
    """The ln P down to which sums of exponentials are exact to the last digits: about 1e-30 in float32."""
    return 0.8 * math.log(torch.finfo(like.dtype).tiny)
