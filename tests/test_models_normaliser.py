"""Normalisers against their definition, outside the range of floats, and the error of fewer bits."""

from __future__ import annotations

import pytest
import torch

from asr_rescore.errors import UsageError
from asr_rescore.models import normaliser
from asr_rescore.models.normaliser import Normaliser, check_precision


def layer(vectors=50, vocabulary=500, embedding=64, shift=0.0):
    """z within ±1, as tanh leaves them, W and b."""
    draw = torch.Generator().manual_seed(1)
    z = torch.randn(vectors, embedding, generator=draw).tanh()
    return z, torch.randn(vocabulary, embedding, generator=draw) / 8, torch.randn(vocabulary, generator=draw) + shift


def definition(z, weight, bias):
    return (z.double() @ weight.double().t() + bias.double()).logsumexp(-1)


@pytest.mark.parametrize("shift", [0.0, 80.0, 500.0, -50.0, -80.0, -500.0])
def test_a_float_need_not_hold_the_sum(shift):
    """The range of normal floats is about e^-87 to e^88; there are vectors on both sides of each bound."""
    inputs = layer(shift=shift)
    found = Normaliser(*inputs[1:], torch.float32)(inputs[0])
    torch.testing.assert_close(found.double(), definition(*inputs), rtol=2e-7, atol=2e-6)


def test_only_what_is_out_of_range_is_done_again(monkeypatch):
    """Five vectors whose largest logit is 200, among others."""
    z, weight, bias = layer()
    z[:5] *= 200 / (z[:5] @ weight.t()).amax(-1, keepdim=True)
    again = []
    addmm = torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda *given, **more: again.append(len(given[1])) or addmm(*given, **more))
    found = Normaliser(weight, bias, torch.float32)(z)
    assert again == [50, 5]
    torch.testing.assert_close(found.double(), definition(z, weight, bias), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("precision", "largest", "mean"),
    [(torch.bfloat16, 0.03, 3e-3), (torch.float16, 0.003, 3e-4), (torch.int8, 0.004, 3e-4)],
)
@pytest.mark.parametrize("tile", [(7, 100), (512, 1024)])
def test_fewer_bits_round_a_little(monkeypatch, precision, largest, mean, tile):
    monkeypatch.setitem(normaliser.TILE, "cpu", tile)
    inputs = layer()
    error = Normaliser(*inputs[1:], precision)(inputs[0]).double() - definition(*inputs)
    assert 0 < error.abs().max() < largest
    assert (
        error.mean().abs() < mean
    )  # the rounding errors of single logits are independent, so that of the sum is small


def test_integers_are_exact_where_nothing_is_to_be_rounded():
    """By hand: vectors and weights of ±1 and 0 are multiples of their scales."""
    z = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    weight, bias = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, -1.0]]), torch.tensor([0.0, 0.0, -1.0])
    e = torch.tensor(1.0).exp()
    expected = torch.stack([e + e + 1, 1 + 1 + 1 / e, e * e + 1 + 1 / e])
    torch.testing.assert_close(Normaliser(weight, bias, torch.int8)(z).exp(), expected, rtol=1e-5, atol=0)


def test_integers_are_the_nearest(monkeypatch):
    """By hand, with 63 steps to the largest number: 63 times 0.6 of a step are 63 steps, and 0.4 none."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    z = torch.tensor([[1.0, *[part / 63] * 63] for part in (0.6, 0.4, -0.6)])
    found = Normaliser(torch.ones(4, 64), torch.zeros(4), torch.int8)(z)
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0, 0.0]) + torch.tensor(4.0).log())


def test_nothing_to_normalise():
    _, weight, bias = layer()
    for precision in (torch.float32, torch.int8):
        assert Normaliser(weight, bias, precision)(torch.zeros(1, 64)[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("precision", "device", "features", "refused"),
    [
        (torch.float32, "cpu", {}, None),
        (torch.bfloat16, "cpu", {"avx512_bf16": False}, "would be slower"),
        (torch.bfloat16, "cpu", {"avx512_bf16": True}, None),
        (torch.bfloat16, "cuda", {}, None),
        (torch.float16, "cpu", {}, "is for GPUs"),
        (torch.float16, "cuda", {}, None),
        (torch.int8, "cuda", {}, "is for x86 processors"),
    ],
)
def test_what_would_be_slower_is_refused(monkeypatch, precision, device, features, refused):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    if refused is None:
        check_precision(precision, torch.device(device))
    else:
        with pytest.raises(UsageError, match=refused):
            check_precision(precision, torch.device(device))
