"""What a model is trained to minimise; distillation is an objective, not another trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from asr_rescore.config import ObjectiveConfig
from asr_rescore.errors import UsageError


@dataclass(frozen=True)
class SoftLabels:
    """A teacher's distributions Q, one a token, in full or as some words that stand for it.

    Attributes:
        weights: Q(x) / scale, (tokens, vocabulary); or the weights of ``words``, (tokens, n). Of any precision: they
            are converted where they are used, some tokens at a time.
        label: ln Q(y), (tokens,), float32 or better.
        words: int64 (tokens, n), which words ``weights`` are of; None: all, in their order.
        scale: what ``weights`` are to be multiplied by.
    """

    weights: torch.Tensor
    label: torch.Tensor
    words: torch.Tensor | None = None
    scale: float = 1.0

    @classmethod
    def from_log_probs(cls, log_probs: torch.Tensor, labels: torch.Tensor) -> SoftLabels:
        """Of ln Q (tokens, vocabulary); nothing flows back into the teacher."""
        log_probs = _at_least_float32(log_probs.detach())
        return cls(log_probs.exp(), _gather(log_probs, labels))

    def __getitem__(self, tokens: slice) -> SoftLabels:
        """Of some of the tokens."""
        words = None if self.words is None else self.words[tokens]
        return SoftLabels(self.weights[tokens], self.label[tokens], words, self.scale)

    def cross_entropy(self, student: torch.Tensor) -> torch.Tensor:
        """−Σₓ Q(x) ln P(x), (tokens,), of ``student`` ln P (tokens, vocabulary)."""
        if self.words is not None:
            student = student.gather(-1, self.words)
        # Not as a product of matrices, of which there would be one a token: on a CPU those are many times slower.
        return (self.weights.to(student.dtype) * student).sum(-1) * -self.scale

    def softened(self, temperature: float) -> SoftLabels:
        """Q to the power 1/τ, normalised again; ``label`` stays that of Q.

        Raises:
            UsageError: some words stand for the rest of Q, whose powers cannot be known.
        """
        if self.words is not None:
            raise UsageError("objective: a temperature other than 1 needs the teacher's whole distribution, not top-k")
        powers = (_at_least_float32(self.weights) * self.scale).pow(1 / temperature)
        return SoftLabels(powers / powers.sum(-1, keepdim=True), self.label)


# (student ln P (tokens, vocabulary), the teacher's Q or None, labels (tokens,)) → loss (tokens,)
Objective = Callable[[torch.Tensor, "SoftLabels | None", torch.Tensor], torch.Tensor]

# The least 1 − Q(y) that R(y) sees, so that R ≤ 16.1·α. In float32 Q rounds to 1 above 1 − 6e-8, in float16 above
# 0.9998, and R would be infinite.
LEAST_DOUBT = 1e-7


def label_loss(student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """−ln P(y), (tokens,)."""
    return -_at_least_float32(_gather(student, labels))


def teacher_loss(student: torch.Tensor, teacher: SoftLabels, temperature: float = 1.0) -> torch.Tensor:
    """−Σₓ Q(x) ln P(x), (tokens,): the KL divergence from Q plus Q's own entropy, which the student cannot change.

    At a temperature τ other than 1, P and Q are raised to the power 1/τ and normalised again, and the loss is
    multiplied by τ² so that its gradient keeps its size (Hinton et al. 2015).
    """
    student = _at_least_float32(student)
    if temperature != 1.0:
        student = F.log_softmax(student / temperature, dim=-1)
        teacher = teacher.softened(temperature)
    return teacher.cross_entropy(student) * temperature**2


def trust(teacher: SoftLabels, alpha: float) -> torch.Tensor:
    """R(y) = −α ln(1 − Q(y)), (tokens,): how far the hard label is trusted, by the teacher's own belief in it.

    From ln Q at temperature 1, without the rounding of 1 − exp(ln Q); ``LEAST_DOUBT`` bounds it.
    """
    doubt = -torch.expm1(teacher.label)
    return -alpha * torch.log(doubt.clamp_min(LEAST_DOUBT))


def _gather(log_probs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _cross_entropy(config: ObjectiveConfig) -> Objective:
    return lambda student, teacher, labels: label_loss(student, labels)


def _distillation(config: ObjectiveConfig) -> Objective:
    return lambda student, teacher, labels: teacher_loss(student, teacher, config.temperature)


def _fixed_interpolation(config: ObjectiveConfig) -> Objective:
    def loss(student: torch.Tensor, teacher: SoftLabels, labels: torch.Tensor) -> torch.Tensor:
        soft = teacher_loss(student, teacher, config.temperature)
        return config.label_weight * label_loss(student, labels) + config.teacher_weight * soft

    return loss


def _trust_regularization(config: ObjectiveConfig) -> Objective:
    def loss(student: torch.Tensor, teacher: SoftLabels, labels: torch.Tensor) -> torch.Tensor:
        soft = teacher_loss(student, teacher, config.temperature)
        return trust(teacher, config.alpha) * label_loss(student, labels) + soft

    return loss


REGISTRY: dict[str, Callable[[ObjectiveConfig], Objective]] = {
    "ce": _cross_entropy,  # −ln P(y)
    "kl": _distillation,  # −Σ Q ln P
    "fixed": _fixed_interpolation,  # label_weight · CE + teacher_weight · KL
    "trust": _trust_regularization,  # R(y) · CE + KL, the paper's
}


def build(config: ObjectiveConfig) -> Objective:
    """The loss per token that ``config`` describes: log probabilities in, float32 or better out."""
    return REGISTRY[config.kind](config)
