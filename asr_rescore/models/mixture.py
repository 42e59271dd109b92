"""The mixture of softmaxes, exact in log space, with a forward and a backward pass that never hold all logits.

Of the logits [tokens × experts × vocabulary], those of only a few tokens are in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from asr_rescore.models.normaliser import LOG2_E, Normaliser

# Bytes of logits that are computed at once: little enough for a CPU's caches, and enough to keep a GPU busy.
CHUNK_BYTES = {"cpu": 12 << 20, "cuda": 1 << 30}

WORDS_AT_ONCE = 4096  # words looked up at once; each needs a copy of the vectors of all experts


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
        Log probabilities, (time, batch, vocabulary), float32 or better, even under autocast.
    """
    with _no_autocast(latent):
        flat = _flattened(latent, prior_logits, weight, bias)
        log_probs: torch.Tensor = _Mixture.apply(*flat)  # type: ignore[no-untyped-call]  # torch does not type apply
        return log_probs.view(*latent.shape[:2], len(weight))


def mixture_loss(
    latent: torch.Tensor,
    prior_logits: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    loss: Callable[[torch.Tensor, slice], torch.Tensor],
    self_normalization: float = 0.0,
) -> torch.Tensor:
    """The sum over all tokens of a loss of ln P; its gradient needs no second computation of the logits.

    Args:
        latent, prior_logits, weight, bias: see :func:`mixture_log_probs`.
        loss: maps ln P (chunk, vocabulary) of a slice of the time · batch tokens, and that slice, to losses (chunk,).
        self_normalization: weight of the mean over the experts of (ln Zₖ)², added to the loss of every token, so that
            scoring can do without the normalisers (Devlin et al. 2014).
    """
    with _no_autocast(latent):
        flat = _flattened(latent, prior_logits, weight, bias)
        total: torch.Tensor = _MixtureLoss.apply(*flat, loss, self_normalization)  # type: ignore[no-untyped-call]
        return total


@torch.no_grad()
def mixture_word_log_probs(
    latent: torch.Tensor,
    prior_logits: torch.Tensor,
    normaliser: Normaliser | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
    rows: torch.Tensor,
    words: torch.Tensor,
) -> torch.Tensor:
    """ln P of some words only; the normalisers of each context are computed once, and no distribution is written.

    Args:
        latent: (contexts, experts, embedding).
        prior_logits: (contexts, experts).
        normaliser: the normaliser for ``weight`` and ``bias``, which it may round. None: the model is self-normalised,
            so its normalisers are taken to be one.
        weight: (vocabulary, embedding), for the logits of the asked words.
        bias: (vocabulary,).
        rows: int64 (asked,), the index of the context of each word.
        words: int64 (asked,).

    Returns:
        ln P, (asked,), of the type of ``latent``.
    """
    offsets = prior_logits.log_softmax(-1)
    if normaliser is not None:
        offsets -= normaliser(latent.flatten(0, 1)).view_as(offsets)
    found = latent.new_empty(len(words))
    for begin in range(0, len(words), WORDS_AT_ONCE):
        here = slice(begin, begin + WORDS_AT_ONCE)
        row = rows[here]
        word = words[here]
        logits = torch.bmm(latent[row], weight[word].unsqueeze(-1)).squeeze(-1)  # (asked, experts)
        found[here] = torch.logsumexp(logits + bias[word].unsqueeze(-1) + offsets[row], dim=-1)
    return found


def _no_autocast(like: torch.Tensor) -> torch.autocast:
    """Turn autocast off: products in half precision would round ln P to two digits."""
    return torch.autocast(like.device.type, enabled=False)


def _flattened(
    latent: torch.Tensor, prior_logits: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """latent (tokens, experts, embedding), ln π (tokens, experts), W and b; all of one type, float32 or better."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    log_prior = prior_logits.log_softmax(-1, dtype=dtype)
    return latent.flatten(0, 1).to(dtype), log_prior.flatten(0, 1), weight.to(dtype), bias.to(dtype)


class _Mixture(torch.autograd.Function):
    """Map latent (tokens, experts, embedding) and ln π (tokens, experts) to ln P (tokens, vocabulary).

    It keeps ln P and the normaliser of each expert; the backward pass computes the logits again.
    """

    @staticmethod
    def forward(
        ctx: Any, latent: torch.Tensor, log_prior: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        layer = _Layer(latent, log_prior, weight, bias)
        log_probs = latent.new_empty(len(latent), len(weight))
        normalisers = torch.empty_like(log_prior)
        for here, logits in layer.chunks():
            probs, normalisers[here] = _softmax(logits)
            log_probs[here] = layer.log_mixture(here, probs)
        ctx.save_for_backward(latent, log_prior, weight, bias, log_probs, normalisers)
        return log_probs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *inputs, log_probs, normalisers = ctx.saved_tensors
        layer = _Layer(*inputs)
        with _no_autocast(grad):
            for here, logits in layer.chunks():
                probs = logits.sub_(normalisers[here].unsqueeze(-1)).exp2_()
                layer.add_gradient(here, probs, log_probs[here], grad[here], None)
        return layer.gradients


class _MixtureLoss(torch.autograd.Function):
    """The sum of a loss of ln P over all tokens, computed together with its gradient, one chunk at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        latent: torch.Tensor,
        log_prior: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        loss: Callable[[torch.Tensor, slice], torch.Tensor],
        self_normalization: float,
    ) -> torch.Tensor:
        layer = (_OneSoftmax if latent.shape[1] == 1 else _Layer)(latent, log_prior, weight, bias)
        total = latent.new_zeros(())
        for here, logits in layer.chunks():
            log_probs, normalisers = layer.log_probs(here, logits)
            log_probs.requires_grad_()
            with torch.enable_grad():
                part = loss(log_probs, here).sum()
            (grad,) = torch.autograd.grad(part, log_probs)
            total += part.detach() + self_normalization * normalisers.square().mean(-1).sum()
            pull = normalisers * (2 * self_normalization / normalisers.shape[-1])
            layer.add_gradient(here, logits, log_probs.detach(), grad, pull)
        ctx.save_for_backward(*layer.gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (*(part * grad for part in ctx.saved_tensors), None, None)


class _Layer:
    """The output layer for some tokens, computed one chunk at a time, and its gradient, which adds up over the chunks.

    With pₖ = softmax(W·zₖ + b), rₖ = πₖ·pₖ / P and a gradient G with respect to ln P, the gradient with respect to the
    logits of expert k is rₖ·G − pₖ·sₖ, and that with respect to ln πₖ is sₖ, where sₖ = Σ rₖ·G over the vocabulary.
    """

    unit = LOG2_E  # of logits: they are in bits, since 2ˣ is computed faster than eˣ

    def __init__(self, latent: torch.Tensor, log_prior: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor):
        self.latent = latent
        self.log_prior = log_prior
        self.weight = weight
        self.bias = bias
        self.prior = log_prior.exp()
        # Sums of exponentials are exact to the last digits down to this ln P: about ln 1e-30 in float32.
        self.min_log_prob = 0.8 * math.log(torch.finfo(latent.dtype).tiny)
        self.scratch: torch.Tensor | None = None

    @cached_property
    def gradients(self) -> tuple[torch.Tensor, ...]:
        """The gradients of the four inputs. Each chunk sets those of its tokens and adds to those of W and b."""
        return (
            torch.empty_like(self.latent),
            torch.empty_like(self.log_prior),
            torch.zeros_like(self.weight),
            torch.zeros_like(self.bias),
        )

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield slices of tokens and their logits, (chunk, experts, vocabulary), which all share one buffer."""
        tokens, experts, _ = self.latent.shape
        size = experts * len(self.weight) * self.latent.element_size()
        chunk = max(1, CHUNK_BYTES[self.latent.device.type] // size)
        buffer = self.latent.new_empty(min(chunk, tokens) * experts, len(self.weight))
        for begin in range(0, tokens, chunk):
            here = slice(begin, min(begin + chunk, tokens))
            vectors = self.latent[here].flatten(0, 1)
            rows = buffer[: len(vectors)]
            logits = torch.addmm(self.bias, vectors, self.weight.t(), beta=self.unit, alpha=self.unit, out=rows)
            yield here, logits.view(-1, experts, len(self.weight))

    def log_probs(self, here: slice, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """ln P (chunk, vocabulary) and ln Zₖ (chunk, experts); ``logits`` becomes what :meth:`add_gradient` needs."""
        probs, bits = _softmax(logits)
        return self.log_mixture(here, probs), bits / LOG2_E

    def log_mixture(self, here: slice, probs: torch.Tensor) -> torch.Tensor:
        """ln P (chunk, vocabulary) from the experts' distributions (chunk, experts, vocabulary)."""
        mixed = torch.bmm(self.prior[here].unsqueeze(-2), probs).squeeze(-2)
        log_probs = mixed.log2_().div_(LOG2_E)
        rows = self.rare(log_probs)
        if len(rows):
            log_probs[rows] = self.log_joint(here, rows).logsumexp(-2)
        return log_probs

    def rare(self, log_probs: torch.Tensor) -> torch.Tensor:
        """The tokens of a chunk that must be computed in log space, since exp underflows for at least one word."""
        return (log_probs.amin(-1) < self.min_log_prob).nonzero().squeeze(-1)

    def log_joint(self, here: slice, rows: torch.Tensor) -> torch.Tensor:
        """ln(πₖ·pₖ) for some tokens of a chunk, (rows, experts, vocabulary)."""
        logits = self.latent[here][rows] @ self.weight.t() + self.bias
        return logits.log_softmax(-1) + self.log_prior[here][rows].unsqueeze(-1)

    def add_gradient(
        self,
        here: slice,
        probs: torch.Tensor,
        log_probs: torch.Tensor,
        grad: torch.Tensor,
        on_normalisers: torch.Tensor | None,
    ) -> None:
        """Add the part of a chunk.

        Args:
            here: the tokens of the chunk.
            probs: pₖ, (chunk, experts, vocabulary).
            log_probs: ln P, (chunk, vocabulary).
            grad: G, (chunk, vocabulary).
            on_normalisers: a further gradient with respect to ln Zₖ, (chunk, experts), or None.
        """
        rows = self.rare(log_probs)
        ratio = torch.mul(log_probs, -LOG2_E).exp2_().mul_(grad)  # G / P, (chunk, vocabulary)
        ratio[rows] = 0.0
        prior = self.prior[here]
        # sₖ, (chunk, experts). On a CPU, this product is ten times as fast with the vector on the left.
        seen = prior * torch.bmm(ratio.unsqueeze(-2), probs.transpose(-1, -2)).squeeze(-2)
        if len(rows):
            rare_part = (self.log_joint(here, rows) - log_probs[rows].unsqueeze(-2)).exp_()
            rare_part *= grad[rows].unsqueeze(-2)  # rₖ·G
            seen[rows] = rare_part.sum(-1)
        if self.scratch is None:
            self.scratch = torch.empty_like(probs)
        slopes = torch.mul(prior.unsqueeze(-1), ratio.unsqueeze(-2), out=self.scratch[: len(probs)])
        away = seen if on_normalisers is None else seen - on_normalisers
        slopes.sub_(away.unsqueeze(-1)).mul_(probs)  # with respect to the logits
        if len(rows):
            slopes[rows] += rare_part
        self._add(here, slopes.flatten(0, 1), seen)

    def _add(self, here: slice, slopes: torch.Tensor, seen: torch.Tensor) -> None:
        """Add gradients with respect to logits (chunk · experts, vocabulary) and to ln π (chunk, experts)."""
        latent, log_prior, weight, bias = self.gradients
        torch.mm(slopes, self.weight, out=latent[here].flatten(0, 1))
        log_prior[here] = seen
        weight.addmm_(slopes.t(), self.latent[here].flatten(0, 1))
        bias += slopes.sum(0)


class _OneSoftmax(_Layer):
    """The same with one expert, in about a third of the passes over the vocabulary: P is a softmax, and r = 1."""

    unit = 1.0

    def log_probs(self, here: slice, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """ln P (chunk, vocabulary) and ln Z (chunk, 1)."""
        log_probs = logits.squeeze(1).log_softmax(-1)
        return log_probs, logits[..., 0] - log_probs[:, :1]  # ln Z, from any word of some weight

    def add_gradient(
        self,
        here: slice,
        probs: torch.Tensor,
        log_probs: torch.Tensor,
        grad: torch.Tensor,
        on_normalisers: torch.Tensor | None,
    ) -> None:
        """Add the part of a chunk; ``probs`` is only a buffer."""
        seen = grad.sum(-1, keepdim=True)
        away = seen if on_normalisers is None else seen - on_normalisers
        slopes = torch.exp(log_probs, out=probs.squeeze(1)).mul_(-away).add_(grad)
        self._add(here, slopes, seen)


def _softmax(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn logits in bits into distributions over the last dimension, in place.

    Returns:
        The distributions, and the normalisers in bits.
    """
    top = logits.amax(-1, keepdim=True)
    exps = logits.sub_(top).exp2_()
    sums = exps.sum(-1, keepdim=True)
    return exps.div_(sums), sums.log2_().add_(top).squeeze(-1)
