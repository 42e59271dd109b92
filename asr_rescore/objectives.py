"""The losses that training minimises. Distillation is one of them, so it needs no trainer of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from asr_rescore.config import ObjectiveConfig, ObjectiveKind, Weighting
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
        label_weights: R of each token, (tokens,), where it depends on other tokens, too; see :func:`weigh_labels`.
    """

    weights: torch.Tensor
    label: torch.Tensor
    words: torch.Tensor | None = None
    scale: float = 1.0
    label_weights: torch.Tensor | None = None

    @classmethod
    def from_log_probs(cls, log_probs: torch.Tensor, labels: torch.Tensor) -> SoftLabels:
        """Take ln Q (tokens, vocabulary) and labels y (tokens,). No gradient flows back into the teacher."""
        log_probs = _at_least_float32(log_probs.detach())
        return cls(log_probs.exp(), _gather(log_probs, labels))

    def __getitem__(self, tokens: slice) -> SoftLabels:
        """The distributions of some of the tokens."""
        words = None if self.words is None else self.words[tokens]
        label_weights = None if self.label_weights is None else self.label_weights[tokens]
        return SoftLabels(self.weights[tokens], self.label[tokens], words, self.scale, label_weights)

    def cross_entropy(self, student: torch.Tensor) -> torch.Tensor:
        """−Σₓ Q(x) ln P(x), (tokens,), where ``student`` is ln P (tokens, vocabulary)."""
        if self.words is not None:
            student = student.gather(-1, self.words)
        # A batched matrix product, with one matrix per token, would be many times slower on a CPU.
        return (self.weights.to(student.dtype) * student).sum(-1) * -self.scale

    def whole(self, purpose: str) -> torch.Tensor:
        """Q(x), (tokens, vocabulary), float32 or better.

        Args:
            purpose: what needs it, for the error.

        Raises:
            UsageError: Q is reduced to some words.
        """
        if self.words is not None:
            raise _needs_all_words(purpose)
        return _at_least_float32(self.weights) * self.scale

    def softened(self, temperature: float) -> SoftLabels:
        """Q to the power 1/τ, normalised again; ``label`` and ``label_weights`` stay those of Q.

        Raises:
            UsageError: Q is reduced to some words, so the normaliser is unknown.
        """
        # In log space: at a low temperature all powers of a flat distribution would be 0 in float32.
        log_probs = torch.log(self.whole("a temperature other than 1"))
        return replace(self, weights=torch.softmax(log_probs / temperature, dim=-1), scale=1.0)


# From the student's ln P (tokens, vocabulary), the teacher's Q or None, and labels (tokens,), to a loss (tokens,).
Objective = Callable[[torch.Tensor, SoftLabels | None, torch.Tensor], torch.Tensor]

# Lower bound of 1 − Q(y), so that R(y) ≤ 16.1·α. Q rounds to 1 above 1 − 6e-8 in float32 and above 0.9998 in float16,
# and R(y) would be infinite.
MIN_DOUBT = 1e-7

# Lower bound of Q(x) in ln Q(x): a cache rounds less than 1e-12 to 0.
MIN_PROBABILITY = 1e-12


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


def doubt(teacher: SoftLabels) -> torch.Tensor:
    """1 − Q(y), (tokens,), without cancellation, at least ``MIN_DOUBT``. Q is always taken at temperature 1."""
    return (-torch.expm1(teacher.label)).clamp_min(MIN_DOUBT)


def expected_trust(teacher: SoftLabels) -> torch.Tensor:
    """Σₓ −Q(x) ln(1 − Q(x)), (tokens,): the trust in the label that the teacher expects, whatever the label is."""
    probs = teacher.whole("weigh_by: expected_trust")
    return -(probs * torch.log1p(-probs.clamp_max(1 - MIN_DOUBT))).sum(-1)


def expected_doubt(teacher: SoftLabels) -> torch.Tensor:
    """1 − Σₓ Q(x)², (tokens,): the doubt that the teacher expects, whatever the label is."""
    return (1 - teacher.whole("weigh_by: expected_doubt").square().sum(-1)).clamp_min(MIN_DOUBT)


# From Q to what the weight of a hard label grows with, (tokens,).
WEIGHTINGS: Mapping[Weighting, Callable[[SoftLabels], torch.Tensor]] = {
    "trust": lambda teacher: -torch.log(doubt(teacher)),  # the paper's: the teacher's belief in the label
    "doubt": doubt,  # the opposite
    "expected_trust": expected_trust,  # as the other two, but of the context alone
    "expected_doubt": expected_doubt,
}


def trust(teacher: SoftLabels, config: ObjectiveConfig) -> torch.Tensor:
    """R(y) = −α ln(1 − Q(y)), (tokens,): the weight of the hard label, which grows with the teacher's belief in it.

    Instead of −ln(1 − Q(y)) it is ``weight_power`` of ``WEIGHTINGS[weigh_by]``.
    """
    return config.alpha * WEIGHTINGS[config.weigh_by](teacher) ** config.weight_power


def weigh_labels(teacher: SoftLabels, config: ObjectiveConfig, key: Sequence[int]) -> SoftLabels:
    """The same distributions with R of all tokens of a chunk, if R depends on other tokens of the chunk.

    With ``scale_weights``, R is scaled so that its mean is α. With ``shuffle_trust``, it is permuted over the tokens,
    so that all values of R are there, in other places. Trainings with these show whether it matters which tokens get
    much weight, or only how much weight hard labels get in all.

    Args:
        teacher: of one chunk.
        config: the objective.
        key: whole numbers that name the chunk; the same key gives the same permutation.
    """
    if not (config.scale_weights or config.shuffle_trust):
        return teacher
    weights = trust(teacher, config)
    if config.scale_weights:
        weights = weights * (config.alpha / weights.mean().clamp_min(torch.finfo(weights.dtype).tiny))
    if config.shuffle_trust:
        order = np.random.default_rng(key).permutation(len(weights))
        weights = weights[torch.from_numpy(order).to(weights.device)]
    return replace(teacher, label_weights=weights)


def todi_loss(student: torch.Tensor, teacher: SoftLabels) -> torch.Tensor:
    """Σₓ σ(d)·Q·d − σ(−d)·P·d with d = ln Q(x) − ln P(x), (tokens,): ToDi (Jung et al. 2025, arXiv 2505.16297).

    For each word it mixes D(Q‖P) and D(P‖Q), the first where the student underestimates the word and the second where
    it overestimates it. The gradient takes σ(d) = Q / (P + Q) for a constant.
    """
    student = _at_least_float32(student)
    probs = teacher.whole("kind: todi")
    ratio = torch.log(probs.clamp_min(MIN_PROBABILITY)) - student
    forward = torch.sigmoid(ratio).detach()
    return ((forward * probs - (1 - forward) * student.exp()) * ratio).sum(-1)


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
        weights = trust(given, config) if given.label_weights is None else given.label_weights
        return weights * label_loss(student, labels) + soft

    return loss


def _token_wise_divergence(config: ObjectiveConfig) -> Objective:
    return lambda student, teacher, labels: todi_loss(student, _given(teacher))


REGISTRY: dict[ObjectiveKind, Callable[[ObjectiveConfig], Objective]] = {
    "ce": _cross_entropy,  # −ln P(y)
    "kl": _distillation,  # −Σ Q ln P
    "fixed": _fixed_interpolation,  # label_weight · CE + teacher_weight · KL
    "trust": _trust_regularization,  # R(y) · CE + KL, the paper's objective
    "todi": _token_wise_divergence,  # KL where the student gives a word too little, its reverse where too much
}


def build(config: ObjectiveConfig) -> Objective:
    """The objective that ``config`` describes.

    Its loss is float32, or float64 if the log probabilities are. It raises UsageError if it needs a teacher and gets
    None.
    """
    return REGISTRY[config.kind](config)


def check_reduced(config: ObjectiveConfig) -> None:
    """Check that ``config`` can do with distributions that are reduced to some words.

    Raises:
        UsageError: it needs those of all words.
    """
    if config.kind == "todi":
        raise _needs_all_words("kind: todi")
    if config.needs_teacher and config.temperature != 1:
        raise _needs_all_words("a temperature other than 1")
    if config.kind == "trust" and config.weigh_by in ("expected_trust", "expected_doubt"):
        raise _needs_all_words(f"weigh_by: {config.weigh_by}")


def _needs_all_words(purpose: str) -> UsageError:
    return UsageError(
        f"objective: {purpose} needs the teacher's distribution over all words, found a cache of some of them; "
        "make the cache without `top`, or train without a cache"
    )
