"""The course of trainings, from the log.jsonl of language model directories."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.files import read_lines
from asr_rescore.fingerprint import PROVENANCE_FILE
from asr_rescore.ranges import Range
from asr_rescore.records import Record, parse_json, read_json
from asr_rescore.vocab_files import VOCABULARY_FILE

LOG_FILE = "log.jsonl"
KIND = "a line of the log of a training"
REMEDY = "give another directory, or move the file away"
# What a plot has room for. A training that has gone astray can come near to the largest perplexities.
EPOCHS = Range(above=0, below=1e9)
PERPLEXITY = Range(above=0, below=1e300)
FIGURE = Range(above=-1e100, below=1e100)  # a loss or a learning rate


@dataclass(frozen=True)
class TrainingCurve:
    """The course of a training. Times are in epochs, with fractions.

    Attributes:
        name: the language model.
        epochs: when the perplexity of the valid text was measured.
        valid_ppl: the perplexity at these times.
        train_loss: (time, mean loss of the tokens of the epoch so far, in nats).
        lr: (time, learning rate).
        averaging_from: when averaging of the weights began, for example by NT-ASGD's trigger; None if it did not.
    """

    name: str
    epochs: tuple[float, ...]
    valid_ppl: tuple[float, ...]
    train_loss: tuple[tuple[float, float], ...] = ()
    lr: tuple[tuple[float, float], ...] = ()
    averaging_from: float | None = None

    @classmethod
    def read(cls, directory: Path, name: str = "") -> TrainingCurve:
        """Read the log of a language model's directory.

        Args:
            directory: the directory.
            name: of the language model; by default, that of the directory.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = directory / LOG_FILE
        if not path.exists():
            _refuse_ensemble(directory)
        lines = [line for _, line in read_log(path, REMEDY)]
        measured = [line for line in lines if "valid_ppl" in line]
        averaged = (line.number("epoch", EPOCHS) for line in lines if "averaging" in line and line.flag("averaging"))
        return cls(
            name or directory.resolve().name,
            tuple(line.number("epoch", EPOCHS) for line in measured),
            tuple(line.number("valid_ppl", PERPLEXITY) for line in measured),
            _course(lines, "train_loss"),
            _course(lines, "lr"),
            next(averaged, None),
        )


def _refuse_ensemble(directory: Path) -> None:
    """Say of an ensemble, which has no log, whose logs to take.

    Raises:
        InputError: it is one.
    """
    facts_file = directory / PROVENANCE_FILE
    if not facts_file.exists():
        return
    facts = read_json(facts_file, "the provenance of a model", "copy the file again")
    if "members" not in facts:
        return
    members = [member.text("name") for member in facts.records("members")]
    raise InputError(
        directory,
        found=f"an ensemble, which was not trained itself (no {LOG_FILE})",
        expected="a model of train_lm or distill_lm",
        remedy=f"give the directories of its members: {', '.join(members)}",
    )


def read_log(path: Path, remedy: str) -> Iterator[tuple[str, Record]]:
    """Read the log of a training. If the process was killed, the last line may be incomplete; it is left out.

    Args:
        path: the file.
        remedy: what to do if it is damaged.

    Yields:
        Each line, with its end, and what it says.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    lines = list(read_lines(path))
    if lines and not _is_complete(path):
        lines.pop()
    for number, text in lines:
        yield f"{text}\n", parse_json(text, f"{path}: line {number}", KIND, remedy)


def _is_complete(path: Path) -> bool:
    """Whether the last line of a file that is not empty has its end."""
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() == b"\n"


def _course(lines: Iterable[Record], key: str) -> tuple[tuple[float, float], ...]:
    """The times at which a figure was logged, and the figure."""
    return tuple((line.number("epoch", EPOCHS), line.number(key, FIGURE)) for line in lines if key in line)


def lm_directories(given: Iterable[Path], out_dirs: Iterable[Path]) -> list[Path]:
    """The directories of language models: those given, and those that out-dirs lie in."""
    found = [directory.resolve().parent for directory in out_dirs]
    kept = (path for path in found if (path / LOG_FILE).is_file() or (path / VOCABULARY_FILE).is_file())
    return list(dict.fromkeys([*given, *kept]))
