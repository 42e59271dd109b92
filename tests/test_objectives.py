"""The losses by hand, their gradients, and the identities between them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import objectives
from asr_rescore.config import ObjectiveConfig
from asr_rescore.errors import UsageError
from asr_rescore.models.mixture import mixture_log_probs
from asr_rescore.objectives import MIN_DOUBT, SoftLabels, trust, weigh_labels

KINDS = tuple(objectives.REGISTRY)
CROSS_ENTROPIES = ("ce", "kl", "fixed", "trust")  # with a target that does not depend on the student
# Two tokens over three words.
STUDENT = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]], dtype=torch.float64).log()
TEACHER = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], dtype=torch.float64).log()
LABELS = torch.tensor([0, 2])
CE = np.array([math.log(2), -math.log(0.375)])
KL = np.array(
    [
        -(0.6 * math.log(0.5) + 0.4 * math.log(0.25)),
        -(0.2 * math.log(0.125) + 0.7 * math.log(0.5) + 0.1 * math.log(0.375)),
    ]
)
TRUST = np.array([-0.1 * math.log(0.4), -0.1 * math.log(0.9)])  # −α ln(1 − Q(y)), α = 0.1


def loss(kind: str = "trust", student=STUDENT, teacher=TEACHER, labels=LABELS, **options) -> torch.Tensor:
    soft = None if teacher is None else SoftLabels.from_log_probs(teacher, labels)
    return objectives.build(ObjectiveConfig(kind, **options))(student, soft, labels)


def random_log_probs(seed: int, tokens: int = 4, vocabulary: int = 6, scale: float = 2.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(tokens, vocabulary, generator=draw, dtype=torch.float64)).log_softmax(-1)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("ce", {}, CE),
        ("kl", {}, KL),
        ("fixed", {"label_weight": 0.25, "teacher_weight": 0.75}, 0.25 * CE + 0.75 * KL),
        ("fixed", {}, 0.3 * CE + KL),
        ("trust", {}, TRUST * CE + KL),
        ("trust", {"alpha": 0.01}, 0.1 * TRUST * CE + KL),
    ],
)
def test_by_hand(kind, options, expected):
    np.testing.assert_allclose(loss(kind, **options), expected, rtol=1e-12)


def test_ce_needs_no_teacher():
    np.testing.assert_allclose(loss("ce", teacher=None), CE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_but_ce_needs_a_teacher(kind):
    needs_teacher = ObjectiveConfig(kind).needs_teacher
    assert needs_teacher == (kind != "ce")
    if needs_teacher:
        with pytest.raises(UsageError, match="needs the distribution of a teacher"):
            loss(kind, teacher=None)


@given(st.integers(0, 10_000))
def test_identities(seed):
    student, teacher = random_log_probs(seed), random_log_probs(seed + 1)
    inputs = {"student": student, "teacher": teacher, "labels": torch.tensor([0, 5, 2, 2])}
    assert torch.equal(loss("trust", **inputs, alpha=0.0), loss("kl", **inputs))
    assert torch.equal(loss("fixed", **inputs, label_weight=1.0, teacher_weight=0.0), loss("ce", **inputs))
    assert torch.equal(loss("fixed", **inputs, label_weight=0.0, teacher_weight=1.0), loss("kl", **inputs))
    # The loss is at least the entropy of Q, and equal to it if the student is the teacher.
    entropy = -(teacher.exp() * teacher).sum(-1)
    assert (loss("kl", **inputs) >= entropy).all()
    torch.testing.assert_close(loss("kl", **{**inputs, "student": teacher}), entropy)


def of_labels(log_probs: torch.Tensor) -> SoftLabels:
    """Soft labels of which only ln Q(y), (tokens,), is known."""
    return SoftLabels.from_log_probs(log_probs.unsqueeze(-1), torch.zeros(len(log_probs), dtype=torch.int64))


class TestTrust:
    def test_grows_with_the_teachers_belief(self):
        beliefs = torch.tensor([0.0, 0.1, 0.5, 0.9, 0.999], dtype=torch.float64)
        actual = trust(of_labels(beliefs.log()), ObjectiveConfig("trust"))
        assert actual.tolist() == pytest.approx([-0.1 * math.log1p(-b) for b in beliefs.tolist()])
        assert actual[0] == 0

    @pytest.mark.parametrize("doubt", [1e-2, 1e-4, 1e-6])
    def test_small_doubt_is_not_rounded_in_float32(self, doubt):
        teacher = of_labels(torch.tensor([math.log1p(-doubt)], dtype=torch.float32))
        assert trust(teacher, ObjectiveConfig("trust", alpha=1.0)).item() == pytest.approx(-math.log(doubt), rel=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("log_prob", [0.0, 1e-7])  # a log softmax may round to a hair above 0
    def test_certainty_is_bounded(self, dtype, log_prob):
        actual = trust(of_labels(torch.tensor([log_prob], dtype=dtype)), ObjectiveConfig("trust"))
        assert actual.item() == pytest.approx(-0.1 * math.log(MIN_DOUBT))
        assert actual.dtype == torch.promote_types(dtype, torch.float32)

    def test_a_certain_teacher_leaves_loss_and_gradient_finite(self):
        student = random_log_probs(1).float().requires_grad_()
        teacher = torch.full((4, 6), -torch.inf)
        teacher[:, 2] = 0.0
        actual = loss("trust", student, teacher, torch.tensor([2, 2, 0, 1]))
        actual.sum().backward()
        assert torch.isfinite(actual).all() and torch.isfinite(student.grad).all()


@pytest.mark.parametrize("kind", CROSS_ENTROPIES)
def test_half_precision_is_summed_in_float32(kind):
    student, teacher = random_log_probs(1), random_log_probs(2)
    labels = torch.tensor([0, 5, 2, 2])
    actual = loss(kind, student.half(), teacher.half(), labels)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), loss(kind, student, teacher, labels), rtol=3e-3, atol=0)


@pytest.mark.parametrize("kind", CROSS_ENTROPIES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradient_by_finite_differences(kind, temperature):
    logits = random_log_probs(3).requires_grad_()
    teacher, labels = random_log_probs(4), torch.tensor([1, 0, 3, 3])

    def of_logits(logits: torch.Tensor) -> torch.Tensor:
        return loss(kind, logits.log_softmax(-1), teacher, labels, alpha=0.7, temperature=temperature)

    assert torch.autograd.gradcheck(of_logits, (logits,))


@pytest.mark.parametrize("kind", ["kl", "fixed", "trust", "todi"])
def test_nothing_flows_into_the_teacher(kind):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss(kind, student, teacher).sum().backward()
    assert student.grad is not None and teacher.grad is None


@pytest.mark.parametrize("kind", CROSS_ENTROPIES)
@given(seed=st.integers(0, 1000))
def test_gradient_through_the_mixture_is_the_closed_form(kind, seed):
    """T = Q + R·onehot(y) for trust, likewise for the others; then
    ∂L/∂logitₖ(w) = pₖ(w)·sₖ − T(w)·rₖ(w) and ∂L/∂(prior logit k) = πₖ·ΣT − sₖ."""
    config = ObjectiveConfig(kind, alpha=0.4, label_weight=0.3, teacher_weight=0.8)
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 4, 3, 6, generator=draw, dtype=torch.float64, requires_grad=True)  # (1, tokens, experts, V)
    prior = torch.randn(1, 4, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    teacher, labels = random_log_probs(seed), torch.randint(6, (4,), generator=draw)
    # With W = identity and no bias the latent vectors are the logits.
    student = mixture_log_probs(logits, prior, torch.eye(6).double(), torch.zeros(6).double())[0]
    objectives.build(config)(student, SoftLabels.from_log_probs(teacher, labels), labels).sum().backward()

    with torch.no_grad():
        onehot = torch.eye(6).double()[labels]
        q, q_label = teacher.exp(), teacher.exp().gather(1, labels.unsqueeze(1))
        target = {
            "ce": onehot,
            "kl": q,
            "fixed": 0.3 * onehot + 0.8 * q,
            "trust": q - 0.4 * torch.log(1 - q_label) * onehot,
        }[kind].unsqueeze(1)  # (tokens, 1, V)
        pi, softmax = prior[0].softmax(-1), logits[0].softmax(-1)
        share = pi.unsqueeze(-1) * softmax / (pi.unsqueeze(-1) * softmax).sum(1, keepdim=True)
        seen = (target * share).sum(-1)  # sₖ
        torch.testing.assert_close(logits.grad[0], softmax * seen.unsqueeze(-1) - target * share)
        torch.testing.assert_close(prior.grad[0], pi * target.sum(-1) - seen)


class TestTemperature:
    def test_softens_both_and_scales_by_its_square(self):
        """τ = 2 takes square roots of probabilities: (0.64, 0.36) → (4/7, 3/7), (0.5, 0.5) stays."""
        student = torch.tensor([[0.5, 0.5]]).double().log()
        teacher = torch.tensor([[0.64, 0.36]]).double().log()
        actual = loss("kl", student, teacher, torch.tensor([0]), temperature=2.0)
        assert actual.item() == pytest.approx(4 * math.log(2))
        both = loss("kl", teacher, teacher, torch.tensor([0]), temperature=2.0)
        assert both.item() == pytest.approx(-4 * (4 / 7 * math.log(4 / 7) + 3 / 7 * math.log(3 / 7)))
        skewed = loss("kl", teacher, student, torch.tensor([0]), temperature=2.0)
        assert skewed.item() == pytest.approx(-4 * (0.5 * math.log(4 / 7) + 0.5 * math.log(3 / 7)))

    def test_a_low_temperature(self):
        """All powers of a flat distribution are 0 in float32 at τ = 0.05, and the normalised ones are not."""
        flat = torch.full((1, 40_000), 1 / 40_000).log()
        flat[0, 7] += 0.1
        actual = loss("kl", flat, flat, torch.tensor([0]), temperature=0.05)
        assert torch.isfinite(actual).all()
        # ln P(7) − ln P(x) is 0.1/τ = 2 for all others: the entropy times τ².
        normaliser = math.exp(2) + 39_999
        q, other = math.exp(2) / normaliser, 1 / normaliser
        entropy = -(q * math.log(q) + 39_999 * other * math.log(other))
        assert actual.item() == pytest.approx(entropy * 0.05**2, rel=1e-4)

    def test_leaves_label_and_trust_alone(self):
        config = ObjectiveConfig("trust", temperature=3.0)
        teacher = SoftLabels.from_log_probs(TEACHER, LABELS)
        hot = objectives.build(config)(STUDENT, teacher, LABELS)
        soft = objectives.build(replace(config, alpha=0.0))(STUDENT, teacher, LABELS)
        np.testing.assert_allclose(hot - soft, TRUST * CE)


class TestWeighedLabels:
    """R of the two tokens by hand, where Q(y) is 0.6 and 0.1."""

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, TRUST),
            ({"weigh_by": "doubt"}, [0.04, 0.09]),
            ({"weigh_by": "doubt", "weight_power": 2.0}, [0.016, 0.081]),
            ({"weight_power": 0.5}, 0.1 * np.sqrt(10 * TRUST)),
            ({"weight_power": 0.0}, [0.1, 0.1]),
            ({"weigh_by": "expected_doubt"}, [0.1 * (1 - 0.46), 0.1 * (1 - 0.54)]),
            (
                {"weigh_by": "expected_trust"},
                [
                    -0.1 * (0.6 * math.log(0.4) + 0.3 * math.log(0.7) + 0.1 * math.log(0.9)),
                    -0.1 * (0.2 * math.log(0.8) + 0.7 * math.log(0.3) + 0.1 * math.log(0.9)),
                ],
            ),
        ],
    )
    def test_by_hand(self, options, expected):
        np.testing.assert_allclose(loss("trust", **options), np.array(expected) * CE + KL, rtol=1e-12)

    def test_the_power_0_of_an_impossible_label(self):
        teacher = torch.tensor([[0.0, 1.0]], dtype=torch.float64).log()
        student = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
        actual = loss("trust", student, teacher, torch.tensor([0]), weight_power=0.0)
        assert actual.item() == pytest.approx(1.1 * math.log(2))

    @pytest.mark.parametrize("weigh_by", objectives.WEIGHTINGS)
    def test_certainty_stays_finite(self, weigh_by):
        teacher = torch.tensor([[0.0, 1.0]] * 2, dtype=torch.float32).log()
        soft = SoftLabels.from_log_probs(teacher, torch.tensor([0, 1]))
        config = ObjectiveConfig("trust", weigh_by=weigh_by, scale_weights=True)
        weights = weigh_labels(soft, config, (1,)).label_weights
        assert torch.isfinite(weights).all() and (weights >= 0).all()

    @pytest.mark.parametrize("weigh_by", ["expected_trust", "expected_doubt"])
    def test_what_is_expected_needs_all_words(self, weigh_by):
        config = ObjectiveConfig("trust", weigh_by=weigh_by)
        soft = SoftLabels(torch.ones(1, 1), torch.zeros(1), torch.zeros(1, 1, dtype=torch.int64))
        with pytest.raises(UsageError, match=f"weigh_by: {weigh_by} needs the teacher's distribution over all words"):
            trust(soft, config)

    @pytest.mark.parametrize("weigh_by", objectives.WEIGHTINGS)
    def test_scaled_weights_have_the_mean_alpha(self, weigh_by):
        soft = SoftLabels.from_log_probs(random_log_probs(3, 50), torch.arange(50) % 6)
        config = ObjectiveConfig("trust", alpha=0.3, weigh_by=weigh_by, scale_weights=True)
        weights = weigh_labels(soft, config, (1,)).label_weights
        assert weights.mean().item() == pytest.approx(0.3)
        plain = trust(soft, config)
        torch.testing.assert_close(weights / weights.sum(), plain / plain.sum())
        permuted = weigh_labels(soft, replace(config, shuffle_trust=True), (1,)).label_weights
        assert not torch.equal(permuted, weights) and sorted(permuted.tolist()) == sorted(weights.tolist())

    def test_scaled_weights_by_hand(self):
        config = ObjectiveConfig("trust", alpha=0.2, weigh_by="doubt", scale_weights=True)
        soft = weigh_labels(SoftLabels.from_log_probs(TEACHER, LABELS), config, (1,))
        actual = objectives.build(config)(STUDENT, soft, LABELS)
        np.testing.assert_allclose(actual, np.array([0.2 * 0.4 / 0.65, 0.2 * 0.9 / 0.65]) * CE + KL, rtol=1e-12)
        part = objectives.build(config)(STUDENT[1:], soft[1:], LABELS[1:])
        np.testing.assert_allclose(part, actual[1:], rtol=1e-12)

    def test_no_chunk_is_looked_at_without_need(self):
        soft = SoftLabels.from_log_probs(TEACHER, LABELS)
        assert weigh_labels(soft, ObjectiveConfig("trust", weigh_by="doubt"), (1,)) is soft

    @pytest.mark.parametrize(
        "options", [{"weigh_by": "doubt"}, {"weight_power": 2.0}, {"scale_weights": True}, {"shuffle_trust": True}]
    )
    def test_other_kinds_refuse_settings_of_trust(self, options):
        (name,) = options
        with pytest.raises(UsageError, match=f"{name} has no effect on kind fixed, expected kind: trust"):
            ObjectiveConfig("fixed", **options)


class TestToDi:
    """The mix of divergences by words; the sigmoid of ln Q − ln P is Q / (P + Q)."""

    def test_by_hand(self):
        def word(p: float, q: float) -> float:
            return (q * q - p * p) / (p + q) * math.log(q / p)

        expected = [
            word(0.5, 0.6) + word(0.25, 0.3) + word(0.25, 0.1),
            word(0.125, 0.2) + word(0.5, 0.7) + word(0.375, 0.1),
        ]
        np.testing.assert_allclose(loss("todi"), expected, rtol=1e-12)
        assert loss("todi", TEACHER).tolist() == pytest.approx([0, 0], abs=1e-12)

    def test_the_gradient_takes_the_mix_for_a_constant(self):
        """Of σ·Q·(ln Q − ln P) it is −σ·Q, and of (1 − σ)·P·(ln P − ln Q) it is (1 − σ)·P·(ln P − ln Q + 1)."""
        student = STUDENT.clone().requires_grad_()
        loss("todi", student).sum().backward()
        p, q = STUDENT.exp(), TEACHER.exp()
        forward = q / (p + q)
        expected = -forward * q + (1 - forward) * p * (STUDENT - TEACHER + 1)
        torch.testing.assert_close(student.grad, expected)

    def test_a_word_that_the_teacher_excludes(self):
        student = STUDENT.clone().requires_grad_()
        actual = loss("todi", student, torch.tensor([[1.0, 0.0, 0.0]] * 2, dtype=torch.float64).log())
        actual.sum().backward()
        assert torch.isfinite(actual).all() and torch.isfinite(student.grad).all()

    def test_it_needs_all_words_and_temperature_1(self):
        few = SoftLabels(torch.ones(1, 1), torch.zeros(1), torch.zeros(1, 1, dtype=torch.int64))
        with pytest.raises(UsageError, match="kind: todi needs the teacher's distribution over all words, found"):
            objectives.todi_loss(STUDENT[:1], few)
        with pytest.raises(UsageError, match=r"kind todi has temperature 1, found 2\.0"):
            ObjectiveConfig("todi", temperature=2.0)


class TestShuffledTrust:
    CONFIG = ObjectiveConfig("trust", shuffle_trust=True)

    def weights(self, soft: SoftLabels, key: tuple[int, ...] = (1, 7, 0)) -> torch.Tensor:
        return weigh_labels(soft, self.CONFIG, key).label_weights

    def soft(self, tokens: int = 6) -> SoftLabels:
        return SoftLabels.from_log_probs(random_log_probs(3, tokens), torch.arange(tokens) % 6)

    def test_all_values_of_r_remain_in_other_places(self):
        soft = self.soft()
        own = trust(soft, self.CONFIG)
        assert sorted(self.weights(soft).tolist()) == sorted(own.tolist())
        assert not torch.equal(self.weights(soft), own)
        assert torch.equal(weigh_labels(soft, self.CONFIG, (1,)).weights, soft.weights)

    def test_the_key_decides(self):
        soft = self.soft(50)
        assert torch.equal(self.weights(soft), self.weights(soft))
        assert all(
            not torch.equal(self.weights(soft), self.weights(soft, key)) for key in ((2, 7, 0), (1, 8, 0), (1, 7, 4))
        )

    def test_by_hand(self):
        """Two tokens whose R are exchanged."""
        keys = [(number,) for number in range(10)]
        found = [weigh_labels(SoftLabels.from_log_probs(TEACHER, LABELS), self.CONFIG, key) for key in keys]
        exchanged = [soft for soft in found if soft.label_weights[0].item() == pytest.approx(TRUST[1])]
        assert 0 < len(exchanged) < len(found)
        for soft in exchanged:
            actual = objectives.build(self.CONFIG)(STUDENT, soft, LABELS)
            np.testing.assert_allclose(actual, TRUST[::-1] * CE + KL, rtol=1e-12)

    def test_other_kinds_refuse_it(self):
        with pytest.raises(UsageError, match="shuffle_trust has no effect on kind kl"):
            ObjectiveConfig("kl", shuffle_trust=True)


class TestReducedTeachers:
    @pytest.mark.parametrize(
        ("settings", "what"),
        [
            ({"kind": "todi"}, "kind: todi"),
            ({"kind": "kl", "temperature": 2.0}, "a temperature other than 1"),
            ({"kind": "trust", "weigh_by": "expected_trust"}, "weigh_by: expected_trust"),
            ({"kind": "trust", "weigh_by": "expected_doubt"}, "weigh_by: expected_doubt"),
        ],
    )
    def test_objectives_that_need_all_words(self, settings, what):
        with pytest.raises(UsageError, match=f"{what} needs the teacher's distribution over all words"):
            objectives.check_reduced(ObjectiveConfig(**settings))

    @pytest.mark.parametrize("kind", ["ce", "kl", "fixed", "trust"])
    def test_objectives_that_do_not(self, kind):
        objectives.check_reduced(ObjectiveConfig(kind=kind))
        objectives.check_reduced(ObjectiveConfig(kind="trust", weigh_by="doubt", weight_power=0.5))
