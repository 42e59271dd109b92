"""The losses that training minimises. Distillation is one of them, so it needs no trainer of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from asr_rescore.config import ObjectiveConfig, ObjectiveKind
from asr_rescore.errors import UsageError


@dataclass(frozen=True)
class SoftLabels:
    """A teacher's distribution Q for each token, complete or reduced to some words.

    Attributes:
        weights: Q(x) / scale, (tokens, vocabulary); or the weights of ``words``, (tokens, n). They can have any
            precision and are converted when they are used, some tokens at a time.
        label: ln Q(y), (tokens,), float32 or better.
        words: int64 (tokens, n), the words that ``weights`` belong to; None: the whole vocabulary, in the order of ids.
        scale: factor of ``weights``.
    """

    weights: torch.Tensor
    label: torch.Tensor
    words: torch.Tensor | None = None
    scale: float = 1.0

    @classmethod
    def from_log_probs(cls, log_probs: torch.Tensor, labels: torch.Tensor) -> SoftLabels:
        """Take ln Q (tokens, vocabulary) and labels y (tokens,). No gradient flows back into the teacher."""
        log_probs = _at_least_float32(log_probs.detach())
        return cls(log_probs.exp(), _gather(log_probs, labels))

    def __getitem__(self, tokens: slice) -> SoftLabels:
        """The distributions of some of the tokens."""
        words = None if self.words is None else self.words[tokens]
        return SoftLabels(self.weights[tokens], self.label[tokens], words, self.scale)

    def with_trust_of(self, others: torch.Tensor) -> SoftLabels:
        """The same distributions, but each token gets R(y) of another one.

        Args:
            others: int64 (tokens,), the token whose ``label`` a token gets.
        """
        return replace(self, label=self.label[others])

    def cross_entropy(self, student: torch.Tensor) -> torch.Tensor:
        """−Σₓ Q(x) ln P(x), (tokens,), where ``student`` is ln P (tokens, vocabulary)."""
        if self.words is not None:
            student = student.gather(-1, self.words)
        # A batched matrix product, with one matrix per token, would be many times slower on a CPU.
        return (self.weights.to(student.dtype) * student).sum(-1) * -self.scale

    def softened(self, temperature: float) -> SoftLabels:
        """Q to the power 1/τ, normalised again; ``label`` stays ln Q(y).

        Raises:
            UsageError: Q is reduced to some words, so the normaliser is unknown.
        """
        if self.words is not None:
            raise UsageError("objective: a temperature other than 1 needs the teacher's whole distribution, not top-k")
        # In log space: at a low temperature all powers of a flat distribution would be 0 in float32.
        log_probs = torch.log(_at_least_float32(self.weights) * self.scale)
        return SoftLabels(torch.softmax(log_probs / temperature, dim=-1), self.label)


# From the student's ln P (tokens, vocabulary), the teacher's Q or None, and labels (tokens,), to a loss (tokens,).
Objective = Callable[[torch.Tensor, SoftLabels | None, torch.Tensor], torch.Tensor]

# Lower bound of 1 − Q(y), so that R(y) ≤ 16.1·α. Q rounds to 1 above 1 − 6e-8 in float32 and above 0.9998 in float16,
# and R(y) would be infinite.
MIN_DOUBT = 1e-7


def label_loss(student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """−ln P(y), (tokens,)."""
    return -_at_least_float32(_gather(student, labels))


def teacher_loss(student: torch.Tensor, teacher: SoftLabels, temperature: float = 1.0) -> torch.Tensor:
    """−Σₓ Q(x) ln P(x), (tokens,): the KL divergence plus the entropy of Q, which the student cannot change.

    At a temperature τ other than 1, P and Q are raised to the power 1/τ and normalised again. The loss is then
    multiplied by τ², so that its gradient keeps its size (Hinton et al. 2015).
    """
    student = _at_least_float32(student)
    if temperature != 1.0:
        student = F.log_softmax(student / temperature, dim=-1)
        teacher = teacher.softened(temperature)
    return teacher.cross_entropy(student) * temperature**2


def trust(teacher: SoftLabels, alpha: float) -> torch.Tensor:
    """R(y) = −α ln(1 − Q(y)), (tokens,): the weight of the hard label, which grows with the teacher's belief in it.

    Q is always taken at temperature 1. 1 − Q(y) is computed without cancellation and is at least ``MIN_DOUBT``.
    """
    doubt = -torch.expm1(teacher.label)
    return -alpha * torch.log(doubt.clamp_min(MIN_DOUBT))


def shuffled_trust(teacher: SoftLabels, key: Sequence[int]) -> SoftLabels:
    """The same distributions with R(y) permuted over the tokens, so that all values of R are there, in other places.

    Training with it shows whether it matters which tokens R picks, or only how much weight hard labels get in all.

    Args:
        teacher: of one chunk.
        key: whole numbers that name the chunk; the same key gives the same permutation.
    """
    order = np.random.default_rng(key).permutation(len(teacher.label))
    return teacher.with_trust_of(torch.from_numpy(order).to(teacher.label.device))


def _gather(log_probs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _given(teacher: SoftLabels | None) -> SoftLabels:
    if teacher is None:
        raise UsageError("objective: every kind except ce needs the distribution of a teacher")
    return teacher


def _cross_entropy(config: ObjectiveConfig) -> Objective:
    return lambda student, teacher, labels: label_loss(student, labels)


def _distillation(config: ObjectiveConfig) -> Objective:
    return lambda student, teacher, labels: teacher_loss(student, _given(teacher), config.temperature)


def _fixed_interpolation(config: ObjectiveConfig) -> Objective:
    def loss(student: torch.Tensor, teacher: SoftLabels | None, labels: torch.Tensor) -> torch.Tensor:
        soft = teacher_loss(student, _given(teacher), config.temperature)
        return config.label_weight * label_loss(student, labels) + config.teacher_weight * soft

    return loss


def _trust_regularization(config: ObjectiveConfig) -> Objective:
    def loss(student: torch.Tensor, teacher: SoftLabels | None, labels: torch.Tensor) -> torch.Tensor:
        given = _given(teacher)
        soft = teacher_loss(student, given, config.temperature)
        return trust(given, config.alpha) * label_loss(student, labels) + soft

    return loss


REGISTRY: dict[ObjectiveKind, Callable[[ObjectiveConfig], Objective]] = {
    "ce": _cross_entropy,  # −ln P(y)
    "kl": _distillation,  # −Σ Q ln P
    "fixed": _fixed_interpolation,  # label_weight · CE + teacher_weight · KL
    "trust": _trust_regularization,  # R(y) · CE + KL, the paper's objective
}


def build(config: ObjectiveConfig) -> Objective:
    """The objective that ``config`` describes.

    Its loss is float32, or float64 if the log probabilities are. It raises UsageError if it needs a teacher and gets
    None.
    """
    return REGISTRY[config.kind](config)
