"""Normalisers of softmaxes, for scoring: exact, or faster in a number format of fewer bits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from asr_rescore.errors import UsageError

# Vectors and words of a tile of logits. On a Zen 4 core it was the fastest of shapes from 26 × 40,000 to 2048 × 512, up
# to 3.5 times as fast as whole rows.
TILE = {"cpu": (512, 1024), "cuda": (8192, 1 << 30)}
# Logits are made in bits: on a CPU torch's exp2 takes a third of the time of its exp.
LOG2_E = math.log2(math.e)
LEAST_SUM = 1e-25  # of exponentials, summed up as they are; exact to the last digit for a million words


class Normaliser:
    """ln Z = ln Σ exp(W·z + b) of vectors z; nothing of the size of all logits is written out.

    Args:
        weight: W, (vocabulary, embedding).
        bias: b, (vocabulary,).
        precision: what W and z are rounded to for their product. The type of ``weight``: not at all. bfloat16 or
            float16: logits are rounded too. int8, on a CPU only: whole numbers with a scale for each word and one for
            each lot of vectors; logits are not rounded.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype):
        self.weight, self.bias, self.precision = weight, bias, precision
        self.rows, columns = TILE[weight.device.type]
        make = _integer_tile if precision == torch.int8 else _float_tile
        self.tiles = [
            make(weight[begin : begin + columns], bias[begin : begin + columns], precision)
            for begin in range(0, len(weight), columns)
        ]

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Of (any, embedding), of the type of ``weight``; returns (any,).

        Exponentials are summed up as they are, which saves half the passes over the logits; for the few vectors, if
        any, whose Z a float cannot hold, it is done again with the largest logit subtracted.
        """
        parts = vectors.new_empty(len(vectors), len(self.tiles))
        for begin in range(0, len(vectors), self.rows):
            some = vectors[begin : begin + self.rows]
            for place, tile in enumerate(self.tiles):
                torch.sum(tile(some).exp2_(), -1, out=parts[begin : begin + self.rows, place])
        sums = parts.sum(-1)
        normalisers = sums.log()
        # Where Z is above the least, what is lost of it to underflow is below its last digit.
        lost = (~sums.isfinite() | (sums < LEAST_SUM)).nonzero().squeeze(-1)
        for some in lost.split(self.rows):
            normalisers[some] = torch.addmm(self.bias, vectors[some], self.weight.t()).logsumexp(-1)
        return normalisers


Tile = Callable[[torch.Tensor], torch.Tensor]  # from vectors to their logits in bits, which the caller may overwrite


def _float_tile(weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype) -> Tile:
    rounded, shift = weight.to(precision).t(), bias.to(precision)

    def logits(vectors: torch.Tensor) -> torch.Tensor:
        return torch.addmm(shift, vectors.to(precision), rounded, beta=LOG2_E, alpha=LOG2_E).to(vectors.dtype)

    return logits


def _integer_tile(weight: torch.Tensor, bias: torch.Tensor, precision: torch.dtype) -> Tile:
    bits = weight.float() * LOG2_E
    scales = bits.abs().amax(1).clamp_min(1e-12) / 127
    rounded = (bits / scales.unsqueeze(1)).round().to(precision)
    # oneDNN's product of whole numbers, by the names under which torch's own compiler calls it.
    packed = torch.ops.onednn.qlinear_prepack(rounded, None)
    shift, zeros = bias.float() * LOG2_E, torch.zeros(len(bits), dtype=torch.int64)
    # With one bit less for the vectors no sum of two products overflows on a processor without VNNI.
    steps = 127 if _processor_has("avx512_vnni", "avx_vnni", "amx_int8") else 63

    def logits(vectors: torch.Tensor) -> torch.Tensor:
        scale = max(vectors.abs().amax().item(), 1e-12) / steps
        whole = (vectors / scale + (steps + 1.5)).to(torch.uint8)  # rounded, with steps + 1 for zero
        found = torch.ops.onednn.qlinear_pointwise(
            whole, scale, steps + 1, packed, scales, zeros, shift, 1.0, 0, torch.float32, "none", [], ""
        )
        return found.to(vectors.dtype)

    return logits


def _processor_has(*features: str) -> bool:
    """Any of them; unknown to an old torch, they are taken to be there."""
    found = getattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(features, True))()
    return any(found.get(feature, False) for feature in features)


def check_precision(precision: torch.dtype, device: torch.device) -> None:
    """Whether ``device`` computes normalisers in ``precision`` faster than in float32.

    Raises:
        UsageError: it does not, or cannot at all.
    """
    if precision == torch.float16 and device.type == "cpu":
        raise UsageError("normaliser float16: made for GPUs; on this processor take bfloat16, int8 or float32")
    if precision == torch.int8 and (device.type != "cpu" or not torch.backends.mkldnn.is_available()):
        raise UsageError("normaliser int8: made for x86 processors; here take float16, bfloat16 or float32")
    if precision == torch.bfloat16 and device.type == "cpu" and not _processor_has("avx512_bf16", "amx_bf16", "bf16"):
        raise UsageError("normaliser bfloat16: this processor would be slower with it; take int8 or float32")
