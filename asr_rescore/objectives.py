"""What a model is trained to minimise; distillation is an objective, not another trainer."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from asr_rescore.config import ObjectiveConfig

# (student ln P (tokens, vocabulary), teacher ln Q (tokens, vocabulary) or None, labels (tokens,)) → loss (tokens,)
Objective = Callable[[torch.Tensor, "torch.Tensor | None", torch.Tensor], torch.Tensor]

# The least 1 − Q(y) that R(y) sees, so that R ≤ 16.1·α. In float32 Q rounds to 1 above 1 − 6e-8, in float16 above
# 0.9998, and R would be infinite.
LEAST_DOUBT = 1e-7


def label_loss(student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """−ln P(y), (tokens,)."""
    return -_at_least_float32(_gather(student, labels))


def teacher_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """−Σₓ Q(x) ln P(x), (tokens,): the KL divergence from Q plus Q's own entropy, which the student cannot change.

    At a temperature τ other than 1, P and Q are raised to the power 1/τ and normalised again, and the loss is
    multiplied by τ² so that its gradient keeps its size (Hinton et al. 2015). Nothing flows back into the teacher.
    """
    student, teacher = _at_least_float32(student), _at_least_float32(teacher.detach())
    if temperature != 1.0:
        student = F.log_softmax(student / temperature, dim=-1)
        teacher = F.log_softmax(teacher / temperature, dim=-1)
    return -(teacher.exp() * student).sum(-1) * temperature**2


def trust(teacher: torch.Tensor, labels: torch.Tensor, alpha: float) -> torch.Tensor:
    """R(y) = −α ln(1 − Q(y)), (tokens,): how far the hard label is trusted, by the teacher's own belief in it.

    From ln Q at temperature 1, without the rounding of 1 − exp(ln Q); ``LEAST_DOUBT`` bounds it.
    """
    doubt = -torch.expm1(_at_least_float32(_gather(teacher.detach(), labels)))
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
    def loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        soft = teacher_loss(student, teacher, config.temperature)
        return config.label_weight * label_loss(student, labels) + config.teacher_weight * soft

    return loss


def _trust_regularization(config: ObjectiveConfig) -> Objective:
    def loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        soft = teacher_loss(student, teacher, config.temperature)
        return trust(teacher, labels, config.alpha) * label_loss(student, labels) + soft

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
