"""Language models, by the name that a config gives them."""

from __future__ import annotations

from asr_rescore.config import ModelConfig
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

REGISTRY = {"awd-lstm-mos": AwdLstmMos}


def build(config: ModelConfig, vocabulary_size: int) -> LanguageModel:
    """A freshly initialised model; ``config.kind`` names its class in ``REGISTRY``."""
    return REGISTRY[config.kind](config, vocabulary_size)


__all__ = [
    "REGISTRY",
    "AwdLstmMos",
    "Ensemble",
    "LanguageModel",
    "Output",
    "State",
    "build",
    "detach_state",
    "flatten_state",
    "join_states",
    "select_state",
    "unflatten_state",
]
