"""log.jsonl: the course of a training run, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr_rescore.files import atomic_text

LOG_FILE = "log.jsonl"


class TrainingLog:
    """The log of the run in ``directory``; ``step`` increases from line to line."""

    def __init__(self, directory: Path):
        self.path = directory / LOG_FILE

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def cut(self, step: int) -> None:
        """Remove all lines after ``step``: a run that continues from there logs them again."""
        kept = []
        if self.path.exists():
            for text in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                # If the process was killed, the last line may be incomplete.
                if not text.endswith("\n") or json.loads(text)["step"] > step:
                    break
                kept.append(text)
        with atomic_text(self.path) as stream:
            stream.writelines(kept)
