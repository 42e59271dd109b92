"""Small training runs, shared by several test files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asr_rescore import models
from asr_rescore.checkpoint import load_training_state
from asr_rescore.config import Config, ModelConfig, ObjectiveConfig, TrainConfig
from asr_rescore.corpus import TokenStream
from asr_rescore.models import Ensemble, LanguageModel
from asr_rescore.training import OnlineTeacher, TrainingRun, train
from asr_rescore.training.state import STATE_FILE
from asr_rescore.vocab import Vocabulary

CPU = torch.device("cpu")
VOCABULARY = Vocabulary.from_counts({"a": 6, "b": 5, "c": 4, "d": 3, "e": 2})
SIZE = len(VOCABULARY)
PLAIN = ModelConfig(embedding=5, hidden=(8, 6), experts=2, embedding_init=0.5)
DROPPED = replace(
    PLAIN,
    dropout_rows=0.1,
    dropout_input=0.1,
    dropout_hidden=0.1,
    dropout_output=0.1,
    dropout_latent=0.1,
    dropconnect=0.2,
)
FIXED_CHUNKS = {"bptt_half": 0.0, "bptt_deviation": 0.0}


def text(sentences: int, seed: int = 1) -> TokenStream:
    """Sentences that go up or down the alphabet, so that every word but the first can be predicted."""
    draw = np.random.default_rng(seed)
    words = list("abcde")
    made = []
    for _ in range(sentences):
        order = words if draw.random() < 0.5 else words[::-1]
        made.append(order[draw.integers(0, 3) :])
    return TokenStream.encode(made, VOCABULARY)


TRAIN = text(60)
VALID = text(8, seed=2)
# The more a model has learnt from TRAIN, the worse it predicts this text.
UNFORESEEN = TokenStream.encode([list("aabbcc"), list("ddee")] * 4, VOCABULARY)


def make_run(
    directory: Path,
    model: ModelConfig = PLAIN,
    seed: int = 3,
    kind: str = "ce",
    shuffle_trust: bool = False,
    **options,
) -> TrainingRun:
    train_config = TrainConfig(**{"lr": 1.0, "batch": 4, "bptt": 9, "epochs": 3, "weight_decay": 0.0} | options)
    return TrainingRun(
        config=Config(model, ObjectiveConfig(kind, shuffle_trust=shuffle_trust), train_config),
        vocabulary=VOCABULARY,
        train=TRAIN,
        valid=VALID,
        seed=seed,
        directory=directory,
    )


def network(run: TrainingRun) -> LanguageModel:
    torch.manual_seed(run.seed)
    return models.build(run.config.model, SIZE)


@contextmanager
def in_the_foreground() -> Iterator[None]:
    """Let Ctrl-C interrupt this process, which ignores it if a shell started it in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


# The beginning of a Python program that halts itself again and again. It counts its own processor time, so that it
# halts equally often on a busy machine.
HALTING = """
import atexit, os, signal
atexit.register(signal.setitimer, signal.ITIMER_VIRTUAL, 0)
signal.signal(signal.SIGVTALRM, lambda *_: os.kill(os.getpid(), signal.SIGSTOP))
signal.setitimer(signal.ITIMER_VIRTUAL, 0.01, 0.01)
"""


def send_when(ready: Callable[[], bool], process: subprocess.Popen, number: int) -> None:
    """Send a signal to a program that begins with HALTING when it halts and is ``ready``, and wait for its end."""
    while True:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]), "it ended before it was ready"
        if ready():
            break
        process.send_signal(signal.SIGCONT)
    process.send_signal(number)
    while process.poll() is None:
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)


def make_teacher() -> OnlineTeacher:
    torch.manual_seed(7)
    return OnlineTeacher(Ensemble([models.build(PLAIN, SIZE) for _ in range(2)]))


def go(run: TrainingRun) -> float:
    teacher = make_teacher() if run.config.objective.needs_teacher else None
    return train(run, network(run), CPU, teacher)


def log_of(run: TrainingRun) -> list[dict]:
    lines = [json.loads(line) for line in (run.directory / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def state_of(run: TrainingRun) -> tuple[dict[str, torch.Tensor], dict]:
    return load_training_state(run.directory / STATE_FILE)
