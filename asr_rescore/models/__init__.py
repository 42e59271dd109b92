"""Neural language models, by the kind that a config names."""

from __future__ import annotations

from collections.abc import Callable

import torch

from asr_rescore.config import AnyModelConfig, EnsembleConfig, ModelKind
from asr_rescore.errors import UsageError
from asr_rescore.models.awd_lstm_mos import AwdLstmMos
from asr_rescore.models.base import (
    LanguageModel,
    Output,
    State,
    detach_state,
    flatten_state,
    join_states,
    select_state,
    unflatten_state,
)
from asr_rescore.models.ensemble import Ensemble
from asr_rescore.models.lstm import DropConnectLstm


def _build_ensemble(config: EnsembleConfig, vocabulary_size: int) -> Ensemble:
    return Ensemble([build(member, vocabulary_size) for member in config.members])


REGISTRY: dict[ModelKind, Callable[..., LanguageModel]] = {"awd-lstm-mos": AwdLstmMos, "ensemble": _build_ensemble}


def build(config: AnyModelConfig, vocabulary_size: int) -> LanguageModel:
    """Build and initialise the model that ``config`` describes; ``config.kind`` is a key of ``REGISTRY``."""
    return REGISTRY[config.kind](config, vocabulary_size)


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


def use_fast_path(model: LanguageModel, wanted: bool) -> None:
    """Let training on a GPU use its tensor cores: LSTM layers in float16, all other matrix products in TF32.

    Weights, softmaxes, losses and the optimizer stay in float32. On a CPU nothing changes. If ``wanted`` is false,
    everything is computed in float32; by default, cuDNN's LSTM would round to TF32.
    """
    for module in model.modules():
        if isinstance(module, DropConnectLstm):
            module.half_on_gpu = wanted
    torch.backends.cuda.matmul.allow_tf32 = wanted
    torch.backends.cudnn.allow_tf32 = wanted


def set_gradient_scale(model: LanguageModel, scale: float) -> None:
    """Choose the factor of gradients in layers that are trained in float16."""
    for module in model.modules():
        if isinstance(module, DropConnectLstm):
            module.gradient_scale = scale


__all__ = [
    "REGISTRY",
    "AwdLstmMos",
    "Ensemble",
    "LanguageModel",
    "Output",
    "State",
    "build",
    "choose_device",
    "detach_state",
    "flatten_state",
    "join_states",
    "select_state",
    "set_gradient_scale",
    "unflatten_state",
    "use_fast_path",
]
