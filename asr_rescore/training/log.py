"""log.jsonl: what a run says of itself, a line of JSON at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr_rescore.files import atomic_text

LOG_FILE = "log.jsonl"


class TrainingLog:
    """The log of the run in ``directory``; its lines have rising ``step``."""

    def __init__(self, directory: Path):
        self.path = directory / LOG_FILE

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def cut(self, step: int) -> None:
        """Drop what was logged after ``step``, which a run that goes on from there will log again."""
        kept = []
        if self.path.exists():
            for text in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                # A kill may have cut the last line short.
                if not text.endswith("\n") or json.loads(text)["step"] > step:
                    break
                kept.append(text)
        with atomic_text(self.path) as stream:
            stream.writelines(kept)
