"""log.jsonl: the course of a training run, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr_rescore.files import atomic_text, naming
from asr_rescore.report.training_curve import LOG_FILE, read_log

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
            for text, line in read_log(self.path, REMEDY):
                if line.integer("step") > step:
                    break
                kept.append(text)
        with atomic_text(self.path) as stream:
            stream.writelines(kept)
