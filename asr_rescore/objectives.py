"""What a model is trained to minimise; distillation is an objective, not another trainer."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from asr_rescore.config import ObjectiveConfig

# (student ln P (tokens, vocabulary), teacher ln Q (tokens, vocabulary) or None, labels (tokens,)) → loss (tokens,)
Objective = Callable[[torch.Tensor, "torch.Tensor | None", torch.Tensor], torch.Tensor]

# The least 1 − Q(y) that R(y) sees. In float32 a probability is 1 from 1 − 6e-8 on, and R would be infinite.
LEAST_DOUBT = 1e-7


def label_loss(student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """−ln P(y), (tokens,)."""
    return -student.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def teacher_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """−Σ Q ln P, (tokens,): the KL divergence from Q up to Q's own entropy, which the student cannot change.

    At a temperature τ other than 1, both distributions are raised to 1/τ and normalised again, and the loss is
    multiplied by τ² so that its gradient keeps its size (Hinton et al. 2015).
    """
    if temperature != 1.0:
        student = F.log_softmax(student / temperature, dim=-1)
        teacher = F.log_softmax(teacher / temperature, dim=-1)
    return -(teacher.exp() * student).sum(-1) * temperature**2


def trust(teacher: torch.Tensor, labels: torch.Tensor, alpha: float) -> torch.Tensor:
    """R(y) = −α ln(1 − Q(y)), (tokens,): how far the hard label is trusted, by the teacher's own belief in it."""
    label_log_prob = teacher.gather(-1, labels.unsqueeze(-1)).squeeze(-1).float()
    return -alpha * torch.log((-torch.expm1(label_log_prob)).clamp_min(LEAST_DOUBT))


def _cross_entropy(config: ObjectiveConfig) -> Objective:
    return lambda student, teacher, labels: label_loss(student, labels)


def _distillation(config: ObjectiveConfig) -> Objective:
    return lambda student, teacher, labels: teacher_loss(student, teacher, config.temperature)


def _fixed_interpolation(config: ObjectiveConfig) -> Objective:
    def loss(student: torch.Tensor, teacher: torch.Tensor | None, labels: torch.Tensor) -> torch.Tensor:
        soft = teacher_loss(student, teacher, config.temperature)
        return config.label_weight * label_loss(student, labels) + config.teacher_weight * soft

    return loss


def _trust_regularization(config: ObjectiveConfig) -> Objective:
    def loss(student: torch.Tensor, teacher: torch.Tensor | None, labels: torch.Tensor) -> torch.Tensor:
        soft = teacher_loss(student, teacher, config.temperature)
        return trust(teacher, labels, config.alpha) * label_loss(student, labels) + soft

    return loss


REGISTRY: dict[str, Callable[[ObjectiveConfig], Objective]] = {
    "ce": _cross_entropy,
    "kl": _distillation,
    "fixed": _fixed_interpolation,
    "trust": _trust_regularization,
}


def build(config: ObjectiveConfig) -> Objective:
    """The loss per token that ``config`` describes; log probabilities in, nothing flows back into the teacher."""
    return REGISTRY[config.kind](config)
