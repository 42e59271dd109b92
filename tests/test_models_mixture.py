"""The mixture of softmaxes: the definition, exactness where probabilities underflow, and its gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_rescore.models import mixture, normaliser
from asr_rescore.models.mixture import mixture_log_probs, mixture_loss, mixture_word_log_probs
from asr_rescore.models.normaliser import Normaliser


def arguments(time=3, batch=2, experts=4, embedding=5, vocabulary=7, scale=1.0, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return (scale * torch.randn(*shape, generator=draw, dtype=torch.float64)).to(dtype)

    return (
        normal(time, batch, experts, embedding),
        normal(time, batch, experts),
        normal(vocabulary, embedding),
        normal(vocabulary),
    )


def definition(latent, prior_logits, weight, bias):
    softmax = (latent @ weight.T + bias).softmax(-1)  # (time, batch, experts, vocabulary)
    return (prior_logits.softmax(-1).unsqueeze(-1) * softmax).sum(-2).log()


def test_is_the_definition():
    torch.testing.assert_close(mixture_log_probs(*arguments()), definition(*arguments()))


def test_by_hand():
    """Two experts, two words: π = (1/4, 3/4), p₁ = (1/2, 1/2), p₂ = (1/5, 4/5)."""
    latent = torch.tensor([[[[0.0], [1.0]]]]).double()
    prior = torch.tensor([[[1.0, 3.0]]]).double().log()
    weight = torch.tensor([[1.0], [4.0]]).double().log()
    actual = mixture_log_probs(latent, prior, weight, torch.zeros(2).double())
    torch.testing.assert_close(actual.exp(), torch.tensor([[[0.275, 0.725]]]).double())


@given(st.floats(0.1, 60), st.integers(0, 1000), st.sampled_from([1, 4]), st.sampled_from([1, 2, 50]))
def test_sums_to_one_and_stays_finite_at_any_scale(scale, seed, experts, vocabulary):
    """With logits of some thousands, probabilities far below the range of float32 are still right in log space."""
    single = arguments(experts=experts, vocabulary=vocabulary, scale=scale, dtype=torch.float32, seed=seed)
    log_probs = mixture_log_probs(*single)
    assert torch.isfinite(log_probs).all()
    largest = (single[0] @ single[2].T + single[3]).abs().max().item()
    rounding = 1e-6 + 2e-7 * largest  # a float32 logit's own
    torch.testing.assert_close(log_probs.double().logsumexp(-1), torch.zeros(3, 2).double(), rtol=0, atol=rounding)
    exact = mixture_log_probs(*(tensor.double() for tensor in single))
    torch.testing.assert_close(log_probs.double(), exact, rtol=0, atol=4 * rounding)


def test_an_impossible_word_has_a_cost_not_infinity():
    latent, prior, weight, bias = arguments(dtype=torch.float32)
    bias[3] = -1000.0
    assert -1100 < mixture_log_probs(latent, prior, weight, bias)[..., 3].max() < -900


@pytest.mark.parametrize("chunk_bytes", [1, 2 * 4 * 7 * 8, 1 << 30])  # one token, two tokens, all at once
def test_chunks_change_nothing(monkeypatch, chunk_bytes):
    monkeypatch.setitem(mixture.CHUNK_BYTES, "cpu", chunk_bytes)
    torch.testing.assert_close(mixture_log_probs(*arguments()), definition(*arguments()))
    inputs = [tensor.requires_grad_() for tensor in arguments(time=2, vocabulary=3, experts=2)]
    assert torch.autograd.gradcheck(mixture_log_probs, inputs)


def test_gradient_of_one_token_of_one_expert():
    inputs = [tensor.requires_grad_() for tensor in arguments(time=1, batch=1, experts=1)]
    assert torch.autograd.gradcheck(mixture_log_probs, inputs)


@pytest.mark.parametrize("form", [mixture_log_probs, lambda *inputs: mixture_loss(*inputs, lambda rows, _: rows[:, 2])])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_left_before_the_sums(form, autocast):
    """Latents and priors come from layers under autocast; nothing else is rounded, forward or backward."""
    latent, prior, weight, bias = arguments(time=5, dtype=torch.float32)
    half = [tensor.bfloat16().requires_grad_() for tensor in (latent, prior)]
    inputs = [*half, weight.requires_grad_(), bias.requires_grad_()]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    expected = form(*exact)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        actual = form(*inputs)
        gradients = torch.autograd.grad(actual.sum(), inputs)
    torch.testing.assert_close(actual, expected.float())
    theirs = torch.autograd.grad(expected.sum(), exact)
    for ours, their, tensor in zip(gradients, theirs, inputs, strict=True):
        torch.testing.assert_close(
            ours, their.to(tensor.dtype), atol=1e-5, rtol=0.01 if tensor.dtype.itemsize == 2 else 1e-5
        )


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_gradient_is_the_closed_form(seed):
    """For a loss −Σ T ln P: ∂/∂logitₖ(w) = pₖ(w)·sₖ − T(w)·rₖ(w), rₖ = πₖpₖ/P, sₖ = Σ T·rₖ;
    ∂/∂(prior logit k) = πₖ·ΣT − sₖ."""
    latent, prior, weight, bias = arguments(seed=seed)
    target = torch.rand(3, 2, 7, generator=torch.Generator().manual_seed(seed)).double()  # T: no distribution needed
    for tensor in (latent, prior, weight, bias):
        tensor.requires_grad_()
    loss = -(target * mixture_log_probs(latent, prior, weight, bias)).sum()
    actual = torch.autograd.grad(loss, (latent, prior, weight, bias))

    with torch.no_grad():
        softmax = (latent @ weight.T + bias).softmax(-1)  # pₖ(w): (time, batch, experts, vocabulary)
        pi = prior.softmax(-1)
        joint = pi.unsqueeze(-1) * softmax
        share = joint / joint.sum(-2, keepdim=True)  # rₖ(w)
        seen = target.unsqueeze(-2) * share
        total = seen.sum(-1, keepdim=True)  # sₖ
        logits = softmax * total - seen
        torch.testing.assert_close(actual[0], logits @ weight)
        torch.testing.assert_close(actual[1], pi * target.sum(-1, keepdim=True) - total.squeeze(-1))
        torch.testing.assert_close(actual[2], torch.einsum("tbkv,tbke->ve", logits, latent))
        torch.testing.assert_close(actual[3], logits.sum((0, 1, 2)))


@pytest.mark.parametrize("scale", [1.0, 3.0, 30.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("time", "experts", "vocabulary"), [(3, 4, 7), (1, 1, 3), (5, 2, 1), (40, 3, 11)])
def test_gradient_is_autograds(scale, dtype, time, experts, vocabulary):
    """Against float64 autograd in log space, for any gradient from above; at the larger scales most probabilities lie
    below what exp can hold, and yet a label among them is pulled up."""
    sizes = {"time": time, "experts": experts, "vocabulary": vocabulary, "scale": scale, "dtype": dtype}
    inputs = [tensor.requires_grad_() for tensor in arguments(**sizes)]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    draw = torch.Generator().manual_seed(1)
    grad = torch.randn(time, 2, vocabulary, generator=draw, dtype=torch.float64)

    latent, prior, weight, bias = exact
    log_softmax = (latent @ weight.T + bias).log_softmax(-1)
    (log_softmax + prior.log_softmax(-1).unsqueeze(-1)).logsumexp(-2).backward(grad)
    mixture_log_probs(*inputs).backward(grad.to(dtype))
    rounding = (2e-6 if dtype == torch.float32 else 1e-13) * max(1.0, scale * scale)
    for ours, theirs in zip(inputs, exact, strict=True):
        size = theirs.grad.abs().max().item() + scale
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0, atol=rounding * size)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
@pytest.mark.parametrize("chunk_bytes", [1, 4 << 20])
@pytest.mark.parametrize("experts", [1, 4])
def test_a_loss_and_its_gradient_together_are_those_one_after_the_other(monkeypatch, scale, chunk_bytes, experts):
    monkeypatch.setitem(mixture.CHUNK_BYTES, "cpu", chunk_bytes)
    inputs = [tensor.requires_grad_() for tensor in arguments(time=5, scale=scale, experts=experts)]
    weights = torch.randn(10, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(log_probs: torch.Tensor, here: slice) -> torch.Tensor:
        return (weights[here] * log_probs.square()).sum(-1) / 100

    apart = loss(mixture_log_probs(*inputs).flatten(0, 1), slice(None)).sum()
    together = mixture_loss(*inputs, loss)
    torch.testing.assert_close(together, apart)
    expected = torch.autograd.grad(3 * apart, inputs)
    for ours, theirs in zip(torch.autograd.grad(3 * together, inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6 * theirs.abs().max().item())


@pytest.mark.parametrize("experts", [1, 4])
def test_self_normalization_is_the_squared_logarithm_of_the_normalisers(experts):
    inputs = [tensor.requires_grad_() for tensor in arguments(experts=experts)]
    latent, _, weight, bias = inputs
    penalty = 0.3 * (latent @ weight.T + bias).logsumexp(-1).square().mean(-1).sum()
    nothing = mixture_loss(*inputs, lambda log_probs, here: 0 * log_probs.sum(-1), self_normalization=0.3)
    torch.testing.assert_close(nothing, penalty)
    names = ("latent", "weight", "bias")
    expected = torch.autograd.grad(penalty, (latent, weight, bias))
    for name, ours, theirs in zip(names, torch.autograd.grad(nothing, (latent, weight, bias)), expected, strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_nothing_of_the_size_of_all_logits_is_kept():
    sizes = []
    inputs = [tensor.requires_grad_() for tensor in arguments(time=30, experts=8, vocabulary=50)]
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: sizes.append(kept.numel()) or kept, lambda kept: kept):
        mixture_log_probs(*inputs)
    assert max(sizes) == 30 * 2 * 50  # ln P, without the factor of the experts
    sizes.clear()
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: sizes.append(kept.numel()) or kept, lambda kept: kept):
        mixture_loss(*inputs, lambda log_probs, here: log_probs[:, 0])
    assert max(sizes) == 30 * 2 * 8 * 5  # the latent vectors' gradient


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("tile", [(1, 1), (5, 3), (512, 1024)])
def test_words_have_the_probabilities_of_the_whole_distribution(monkeypatch, scale, tile):
    monkeypatch.setitem(normaliser.TILE, "cpu", tile)
    latent, prior, weight, bias = arguments(time=9, batch=1, scale=scale)
    draw = torch.Generator().manual_seed(2)
    rows, words = torch.randint(9, (27,), generator=draw), torch.randint(7, (27,), generator=draw)
    exact = Normaliser(weight, bias, weight.dtype)
    actual = mixture_word_log_probs(latent[:, 0], prior[:, 0], exact, weight, bias, rows, words)
    torch.testing.assert_close(actual, mixture_log_probs(latent, prior, weight, bias)[rows, 0, words])
