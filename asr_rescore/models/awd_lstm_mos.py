"""AWD-LSTM (Merity et al. 2018) with a mixture of softmaxes (Yang et al. 2018): the paper's teacher and student."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from asr_rescore.config import ModelConfig
from asr_rescore.models.base import LanguageModel, LossOutput, Output, State, TokenLoss
from asr_rescore.models.dropout import embed_with_row_dropout, locked_dropout
from asr_rescore.models.lstm import DropConnectLstm
from asr_rescore.models.mixture import mixture_log_probs, mixture_loss, mixture_word_log_probs
from asr_rescore.models.normaliser import Normaliser


class AwdLstmMos(LanguageModel):
    """Embedding, LSTM layers, and a mixture of softmaxes that uses the embedding as its output weights.

    Args:
        config: sizes and dropout rates.
        vocabulary_size: number of entries of the vocabulary.
    """

    config: ModelConfig

    def __init__(self, config: ModelConfig, vocabulary_size: int):
        super().__init__()
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.experts = config.experts
        self.embedding = nn.Parameter(torch.empty(vocabulary_size, config.embedding))
        nn.init.uniform_(self.embedding, -config.embedding_init, config.embedding_init)
        self.layers = nn.ModuleList(
            DropConnectLstm(inputs, cells, config.dropconnect)
            for inputs, cells in pairwise((config.embedding, *config.hidden))
        )
        self.latent = nn.Linear(config.hidden[-1], config.experts * config.embedding)
        self.prior = nn.Linear(config.hidden[-1], config.experts, bias=False)
        self.decoder_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self._normaliser: Normaliser | None = None  # for scoring; may have a rounded copy of the weights

    def initial_state(self, batch: int, device: torch.device | str | None = None) -> State:
        """Zeros: a pair (hidden, cell) for each layer, each (1, batch, cells)."""
        like = self.decoder_bias
        device = like.device if device is None else device
        return tuple(
            tuple(torch.zeros(1, batch, cells, dtype=like.dtype, device=device) for _ in range(2))
            for cells in self.config.hidden
        )

    def forward(self, ids: torch.Tensor, state: State) -> Output:
        """Read ``ids`` (time, batch); see :class:`Output`."""
        raw, after = self._recur(ids, state)
        dropped = locked_dropout(raw, self.config.dropout_output, self.training)
        log_probs = mixture_log_probs(self._latent(dropped), self.prior(dropped), self.embedding, self.decoder_bias)
        return Output(log_probs, after, raw, dropped)

    def loss(self, ids: torch.Tensor, state: State, loss: TokenLoss, self_normalization: float = 0.0) -> LossOutput:
        """Read ``ids`` (time, batch). The output layer computes its loss and gradient together, chunk by chunk."""
        raw, after = self._recur(ids, state)
        dropped = locked_dropout(raw, self.config.dropout_output, self.training)
        total = mixture_loss(
            self._latent(dropped), self.prior(dropped), self.embedding, self.decoder_bias, loss, self_normalization
        )
        return LossOutput(total, after, raw, dropped)

    def start_self_normalised(self) -> None:
        """Set all biases to b with ln Z = ln (vocabulary · e^b) = 0 (Devlin et al. 2014)."""
        with torch.no_grad():
            self.decoder_bias.fill_(-math.log(self.vocabulary_size))

    def read(self, ids: torch.Tensor, state: State) -> tuple[Any, State]:
        """Read ``ids`` (time, batch); the contexts are latent vectors and mixture weights."""
        hidden, after = self._recur(ids, state)
        return (self._latent(hidden).flatten(0, 1), self.prior(hidden).flatten(0, 1)), after

    def word_log_probs(
        self, contexts: Any, rows: torch.Tensor, words: torch.Tensor, normaliser: torch.dtype | None = torch.float32
    ) -> torch.Tensor:
        """See the base class. No distribution over all words is written, and only normalisers have fewer bits."""
        latent, prior = contexts
        computed = None if normaliser is None else self._normaliser_in(normaliser)
        return mixture_word_log_probs(latent, prior, computed, self.embedding, self.decoder_bias, rows, words)

    def _normaliser_in(self, precision: torch.dtype) -> Normaliser:
        weight = self.embedding.detach()
        bias = self.decoder_bias.detach()
        if precision == torch.float32:  # the default, which means the type of the weights
            return Normaliser(weight, bias, weight.dtype)
        if self._normaliser is None or self._normaliser.precision != precision:
            self._normaliser = Normaliser(weight, bias, precision)
        return self._normaliser

    def train(self, mode: bool = True) -> AwdLstmMos:
        """Set the mode. Training changes the weights, so their rounded copy is dropped."""
        self._normaliser = None
        return super().train(mode)

    def _recur(self, ids: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """The output of the last layer, (time, batch, cells), and the state after the last time step."""
        config = self.config
        training = self.training
        hidden = embed_with_row_dropout(ids, self.embedding, config.dropout_rows, training)
        hidden = locked_dropout(hidden, config.dropout_input, training)  # (time, batch, embedding)
        after = []
        for index, layer in enumerate(self.layers):
            if index:
                hidden = locked_dropout(hidden, config.dropout_hidden, training)
            hidden, layer_state = layer(hidden, state[index])  # (time, batch, cells)
            after.append(layer_state)
        return hidden, tuple(after)

    def _latent(self, hidden: torch.Tensor) -> torch.Tensor:
        """The vector of each expert, (time, batch, experts, embedding)."""
        latent = torch.tanh(self.latent(hidden))  # (time, batch, experts · embedding)
        # The mask is the same at all time steps, and different for each expert.
        latent = locked_dropout(latent, self.config.dropout_latent, self.training)
        return latent.view(*latent.shape[:-1], self.config.experts, self.config.embedding)
