"""The device on which a model computes."""

from __future__ import annotations

import torch

from asr_rescore.errors import UsageError


def choose_device(name: str) -> torch.device:
    """Choose a device by name. From then on, float32 is not rounded to TF32 unless training asks for it.

    Args:
        name: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one, otherwise the CPU.

    Raises:
        UsageError: the name is unknown, or it is ``cuda`` and there is no GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"`device` is {name}, expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("`device` is cuda, but torch sees no GPU; use cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)
