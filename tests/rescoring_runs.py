"""What the tests of rescoring share: a language model with random weights, a rescoring's hypotheses, a full disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asr_rescore import kaldi, models
from asr_rescore.checkpoint import save_model
from asr_rescore.config import ModelConfig
from asr_rescore.vocab import Vocabulary


def save_random_lm(folder: Path, words: list[str], seed: int, vocabulary: Vocabulary | None = None) -> Path:
    torch.manual_seed(seed)
    vocabulary = vocabulary or Vocabulary.from_counts(dict.fromkeys(words, 1), size=900, lexicon=["yesterday"])
    model = models.build(ModelConfig(embedding=8, hidden=(8,), experts=2, embedding_init=2.0), len(vocabulary))
    save_model(folder, model, vocabulary, {"valid_ppl": 123.0})
    return folder


def hypotheses(out: Path, lmwt: int, wip: float) -> dict[str, list[str]]:
    return {utt: list(words) for utt, words in texts(out, lmwt, wip).items()}


def texts(out: Path, lmwt: int, wip: float):
    return kaldi.read_table(out / "scoring_kaldi" / f"penalty_{wip}" / f"{lmwt}.txt")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Make every write of a file fail. Stdout is /dev/null, because a command that fails so redirects it."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("os.fsync", full)
        yield
