"""One LSTM layer: DropConnect, and the fast path's padding and half precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from asr_rescore.models.lstm import GRADIENT_SCALE, DropConnectLstm, lstm, padded_lstm


def test_dropconnect_is_the_lstm_with_masked_hidden_weights_and_its_gradient_reaches_the_raw_ones():
    torch.manual_seed(2)
    layer = DropConnectLstm(4, 6, 0.5).double().train()
    inputs = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    state = (torch.zeros(1, 3, 6, dtype=torch.float64),) * 2
    torch.manual_seed(7)
    output, after = layer(inputs, state)
    output.square().sum().backward()

    torch.manual_seed(7)  # F.dropout draws the same mask
    mask = F.dropout(torch.ones(24, 6, dtype=torch.float64), 0.5)
    assert 0.2 < (mask == 0).double().mean() < 0.8
    plain = torch.nn.LSTM(4, 6).double()
    plain.load_state_dict(layer.state_dict())
    with torch.no_grad():
        plain.weight_hh_l0.mul_(mask)
    expected, (hidden, cell) = plain(inputs.detach(), state)
    expected.square().sum().backward()
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(after[0], hidden)
    torch.testing.assert_close(after[1], cell)
    torch.testing.assert_close(layer.weight_hh_l0.grad, plain.weight_hh_l0.grad * mask)
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        torch.testing.assert_close(getattr(layer, name).grad, getattr(plain, name).grad)


def test_dropconnect_hands_on_all_weights_in_one_buffer(monkeypatch):
    """In nn.LSTM's order, without gaps; cuDNN copies weights in any other layout in every pass."""
    given, call = [], torch._VF.lstm

    def spy(inputs, state, weights, *rest):
        given.extend(weights)
        return call(inputs, state, weights, *rest)

    monkeypatch.setattr(torch._VF, "lstm", spy)
    torch.manual_seed(2)
    layer, inputs, state = DropConnectLstm(4, 6, 0.5).train(), torch.randn(5, 3, 4), (torch.zeros(1, 3, 6),) * 2
    torch.manual_seed(7)
    output, _ = layer(inputs, state)
    torch.manual_seed(7)
    mask = F.dropout(torch.ones(24, 6), 0.5)
    buffer, offset = given[0].untyped_storage(), 0
    for name, weight in zip(layer._flat_weights_names, given, strict=True):
        raw = getattr(layer, name)
        assert torch.equal(weight, raw * mask if name == "weight_hh_l0" else raw)
        assert weight.is_contiguous() and weight.data_ptr() == buffer.data_ptr() + offset
        assert weight.untyped_storage().data_ptr() == buffer.data_ptr()
        offset += weight.nbytes
    assert buffer.nbytes() == offset
    output.sum().backward()
    assert all(getattr(layer, name).grad.any() for name in layer._flat_weights_names)


@pytest.mark.parametrize(("inputs", "cells", "batch"), [(4, 6, 3), (128, 128, 8), (200, 129, 12), (1, 300, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_zero_padding_changes_nothing(inputs, cells, batch, dtype, tolerance):
    """Outputs, states and all gradients, over several steps from a state that is not zero."""
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape, generator=draw, dtype=torch.float64) / 4).requires_grad_()

    text = normal(5, batch, inputs)
    weights = (normal(4 * cells, inputs), normal(4 * cells, cells), normal(4 * cells), normal(4 * cells))
    state = (normal(1, batch, cells).detach(), normal(1, batch, cells).detach())
    slopes = normal(5, batch, cells).detach()
    results = []
    for layer in (lstm, lambda *given: padded_lstm(*given, dtype)):
        output, after = layer(text, state, weights)
        results.append([output, *after, *torch.autograd.grad((output * slopes).sum(), (text, *weights))])
    for plain, padded in zip(*results, strict=True):
        assert padded.dtype == torch.float64
        torch.testing.assert_close(padded, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("inputs", "cells", "batch"), [(4, 6, 3), (128, 128, 8), (200, 129, 12)])
@pytest.mark.parametrize("slope", [1.0, 1e-3])  # with the second, unscaled gradients are below the range of float16
def test_half_precision_costs_a_few_roundings(inputs, cells, batch, slope):
    """Outputs, states and all gradients of a mean over tokens."""
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    text = normal(20, batch, inputs).requires_grad_()
    shapes = ((4 * cells, inputs), (4 * cells, cells), (4 * cells,), (4 * cells,))
    weights = tuple((normal(*shape) / cells**0.5).requires_grad_() for shape in shapes)
    state = (normal(1, batch, cells).tanh(), normal(1, batch, cells))
    slopes = normal(20, batch, cells) * slope / (20 * batch)
    results = []
    for layer in (lstm, lambda *given: padded_lstm(*given, torch.float16)):
        output, after = layer(text, state, weights)
        results.append([output, *after, *torch.autograd.grad((output * slopes).sum(), (text, *weights))])
    for single, half in zip(*results, strict=True):
        assert half.dtype == torch.float32
        assert 0 < (half - single).norm() < 5 * 2**-11 * single.norm()  # float16 rounds by up to 2⁻¹¹


def test_a_gradient_beyond_float16_fits_with_a_smaller_scale():
    """Slopes of 64 times the full scale of 2^12 are 2^18, and float16 ends below 2^16."""
    draw = torch.Generator().manual_seed(1)
    layer = DropConnectLstm(4, 6, 0.0)
    text = torch.randn(5, 3, 4, generator=draw)
    state = (torch.zeros(1, 3, 6), torch.zeros(1, 3, 6))
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
    grads = {}
    for scale in (None, GRADIENT_SCALE, 16.0):
        output, _ = (
            lstm(text, state, weights) if scale is None else padded_lstm(text, state, weights, torch.half, scale)
        )
        grads[scale] = torch.autograd.grad(64 * output.sum(), weights)
    assert not all(grad.isfinite().all() for grad in grads[GRADIENT_SCALE])
    for half, single in zip(grads[16.0], grads[None], strict=True):
        assert (half - single).norm() < 10 * 2**-11 * single.norm()
