"""What was refused or is missing while the rest went on."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from asr_rescore.files import atomic_text

FAILED_FILE = "failed.txt"


@dataclass
class Failures:
    """Utterance (or file) → why nothing, or not everything, could be done for it."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, reason: object) -> None:
        """Note a failure; the first reason given for an utterance is kept, being nearest to the cause."""
        self.reasons.setdefault(what, " ".join(str(reason).split()))

    def add_empty(self, utt: str) -> None:
        """Note a lattice that holds no sentence."""
        self.add(utt, "its lattice has no path from start to end; decode it again with a wider beam")

    def write(self, out_dir: Path) -> None:
        """Write failed.txt, a line each, and the same to stderr; where nothing failed there is no such file."""
        path = out_dir / FAILED_FILE
        if not self.reasons:
            path.unlink(missing_ok=True)
            return
        lines = [f"{what}\t{reason}\n" for what, reason in sorted(self.reasons.items())]
        with atomic_text(path) as stream:
            stream.writelines(lines)
        print(f"{path}: {len(lines)} failed:", file=sys.stderr)
        sys.stderr.writelines(lines)
