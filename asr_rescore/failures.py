"""What was refused or is missing while the rest went on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from asr_rescore.files import atomic_text

FAILED_FILE = "failed.txt"
logger = logging.getLogger(__name__)


@dataclass
class Failures:
    """Utterance (or file) → the reason why it could not be processed, or not completely."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, reason: object) -> None:
        """Note a failure. The first reason given for an utterance is kept: it is the nearest to the cause."""
        self.reasons.setdefault(what, " ".join(str(reason).split()))

    def add_empty(self, utt: str) -> None:
        """Note a lattice that holds no sentence."""
        self.add(utt, "its lattice has no path from start to end; decode it again with a wider beam")

    def write(self, out_dir: Path) -> None:
        """Write failed.txt, one line per failure, and log the same as a warning. If nothing failed, remove the file."""
        path = out_dir / FAILED_FILE
        if not self.reasons:
            path.unlink(missing_ok=True)
            return
        lines = [f"{what}\t{reason}" for what, reason in sorted(self.reasons.items())]
        with atomic_text(path) as stream:
            stream.writelines(f"{line}\n" for line in lines)
        logger.warning("%s: %d failed:\n%s", path, len(lines), "\n".join(lines))
