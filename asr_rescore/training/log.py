"""log.jsonl: the course of a training run, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, naming
from asr_rescore.records import parse_json

LOG_FILE = "log.jsonl"
REMEDY = "move the file away; the training goes on without it"


class TrainingLog:
    """The log of the run in ``directory``; ``step`` increases from line to line."""

    def __init__(self, directory: Path):
        self.path = directory / LOG_FILE

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line.

        Raises:
            OSError: the line cannot be written; the error names the log.
        """
        with naming(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def cut(self, step: int) -> None:
        """Remove all lines after ``step``: a run that continues from there logs them again.

        Raises:
            InputError: the log is damaged.
        """
        kept = []
        if self.path.exists():
            for number, text in enumerate(self._lines(), 1):
                # If the process was killed, the last line may be incomplete.
                if not text.endswith("\n"):
                    break
                line = parse_json(text, f"{self.path}: line {number}", "a line of the log", REMEDY)
                if line.integer("step") > step:
                    break
                kept.append(text)
        with atomic_text(self.path) as stream:
            stream.writelines(kept)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        except UnicodeDecodeError as error:
            found = f"bytes that are not UTF-8 ({error.reason})"
            raise InputError(self.path, found=found, expected="the log of a training", remedy=REMEDY) from error
