"""The course of the trainings behind a comparison, from the log.jsonl of language model directories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.files import read_lines
from asr_rescore.ranges import POSITIVE
from asr_rescore.records import parse_json
from asr_rescore.vocab_files import VOCABULARY_FILE

LOG_FILE = "log.jsonl"
KIND = "a line of the log of a training"
REMEDY = "give another directory, or move the file away"


@dataclass(frozen=True)
class TrainingCurve:
    """The course of a training.

    Attributes:
        name: the language model.
        epochs, valid_ppl: the perplexity of the valid text, and when it was measured.
        times, train_loss, lr: the training loss and the learning rate, and when they were noted; empty if the log has
            none.
        averaging: when the weights began to be averaged; None if they were not.
    """

    name: str
    epochs: tuple[float, ...]
    valid_ppl: tuple[float, ...]
    times: tuple[float, ...] = ()
    train_loss: tuple[float, ...] = ()
    lr: tuple[float, ...] = ()
    averaging: float | None = None

    @classmethod
    def read(cls, directory: Path) -> TrainingCurve:
        """Read the log of a language model's directory.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = directory / LOG_FILE
        lines = [parse_json(line, f"{path}: line {number}", KIND, REMEDY) for number, line in read_lines(path)]
        measured = [line for line in lines if "valid_ppl" in line]
        noted = [line for line in lines if "train_loss" in line and "lr" in line]
        averaged = [line for line in lines if line.values.get("averaging") is True]
        return cls(
            directory.resolve().name,
            tuple(line.number("epoch", POSITIVE) for line in measured),
            tuple(line.number("valid_ppl", POSITIVE) for line in measured),
            tuple(line.number("epoch", POSITIVE) for line in noted),
            tuple(line.number("train_loss") for line in noted),
            tuple(line.number("lr") for line in noted),
            averaged[0].number("epoch", POSITIVE) if averaged else None,
        )


def lm_directories(given: Iterable[Path], out_dirs: Iterable[Path]) -> list[Path]:
    """The directories of language models: those given, and those that out-dirs lie in."""
    found = [directory.resolve().parent for directory in out_dirs]
    kept = (path for path in found if (path / LOG_FILE).is_file() or (path / VOCABULARY_FILE).is_file())
    return list(dict.fromkeys([*given, *kept]))
