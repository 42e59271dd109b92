"""Normalisers of softmaxes, for scoring: exact, or faster in a number format with fewer bits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from asr_rescore.errors import UsageError

# Vectors and words in one tile of logits. On a Zen 4 core this was the fastest shape between 26 × 40,000 and
# 2048 × 512, up to 3.5 times as fast as whole rows.
TILE = {"cpu": (512, 1024), "cuda": (8192, 1 << 30)}
# Logits are computed in bits: on a CPU, torch's exp2 takes a third of the time of its exp.
LOG2_E = math.log2(math.e)
MIN_SUM = 1e-25  # of plain exponentials; down to this, the sum over a million words is exact to the last digit


class Normaliser:
    """ln Z = ln Σ exp(W·z + b) of vectors z, computed tile by tile, so that no memory for all logits is needed.

    Args:
        weight: W, (vocabulary, embedding).
        bias: b, (vocabulary,).
        precision: the type to which W and z are rounded for their product. The type of ``weight``: no rounding.
            bfloat16 or float16: logits are rounded too. int8, on a CPU only: integers with one scale for each word and
            one for each block of vectors; logits are not rounded.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype):
        self.weight = weight
        self.bias = bias
        self.precision = precision
        self.rows, columns = TILE[weight.device.type]
        make = _integer_tile if precision == torch.int8 else _float_tile
        self.tiles = [
            make(weight[begin : begin + columns], bias[begin : begin + columns], precision)
            for begin in range(0, len(weight), columns)
        ]

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Compute ln Z, (any,), of ``vectors`` (any, embedding), which have the type of ``weight``.

        Plain exponentials are summed up, which saves half of the passes over the logits. If Z of some vectors is out of
        the range of floats, it is computed again with the largest logit subtracted.
        """
        parts = vectors.new_empty(len(vectors), len(self.tiles))
        for begin in range(0, len(vectors), self.rows):
            some = vectors[begin : begin + self.rows]
            for place, tile in enumerate(self.tiles):
                torch.sum(tile(some).exp2_(), -1, out=parts[begin : begin + self.rows, place])
        sums = parts.sum(-1)
        normalisers = sums.log()
        # If Z is above MIN_SUM, underflow of single exponentials does not change its last digit.
        lost = (~sums.isfinite() | (sums < MIN_SUM)).nonzero().squeeze(-1)
        for some in torch.split(lost, self.rows):
            normalisers[some] = torch.addmm(self.bias, vectors[some], self.weight.t()).logsumexp(-1)
        return normalisers


Tile = Callable[[torch.Tensor], torch.Tensor]  # from vectors to logits in bits, which the caller may overwrite


def _float_tile(weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype) -> Tile:
    rounded = weight.to(precision).t()
    shift = bias.to(precision)

    def logits(vectors: torch.Tensor) -> torch.Tensor:
        return torch.addmm(shift, vectors.to(precision), rounded, beta=LOG2_E, alpha=LOG2_E).to(vectors.dtype)

    return logits


def _integer_tile(weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype) -> Tile:
    bits = weight.float() * LOG2_E
    scales = bits.abs().amax(1).clamp_min(1e-12) / 127
    rounded = (bits / scales.unsqueeze(1)).round().to(precision)
    # oneDNN's integer product, by the names under which torch's own compiler calls it.
    packed = torch.ops.onednn.qlinear_prepack(rounded, None)
    shift = bias.float() * LOG2_E
    zeros = torch.zeros(len(bits), dtype=torch.int64)
    # Processors without VNNI add two products in 16 bits; with one bit less for the vectors this does not overflow.
    steps = 127 if _processor_has("avx512_vnni", "avx_vnni", "amx_int8") else 63

    def logits(vectors: torch.Tensor) -> torch.Tensor:
        scale = max(vectors.abs().amax().item(), 1e-12) / steps
        whole = (vectors / scale + (steps + 1.5)).to(torch.uint8)  # rounded; steps + 1 stands for zero
        found: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, scale, steps + 1, packed, scales, zeros, shift, 1.0, 0, torch.float32, "none", [], ""
        )
        return found.to(vectors.dtype)

    return logits


def _processor_has(*features: str) -> bool:
    """Whether the processor has any of the features. An old torch cannot tell; then the answer is yes."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(feature, False) for feature in features)


def check_precision(precision: torch.dtype, device: torch.device) -> None:
    """Check that ``device`` computes normalisers in ``precision`` faster than in float32.

    Raises:
        UsageError: it is slower, or cannot compute in ``precision`` at all.
    """
    if precision == torch.float16 and device.type == "cpu":
        raise UsageError("`normaliser` float16 is for GPUs; on this processor take bfloat16, int8 or float32")
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch does not type it
    if precision == torch.int8 and (device.type != "cpu" or not has_onednn):
        raise UsageError("`normaliser` int8 is for x86 processors; here take float16, bfloat16 or float32")
    if precision == torch.bfloat16 and device.type == "cpu" and not _processor_has("avx512_bf16", "amx_bf16", "bf16"):
        raise UsageError("`normaliser` bfloat16 would be slower on this processor; take int8 or float32")
