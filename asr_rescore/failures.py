"""What was refused or is missing while the rest went on."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

from asr_rescore.errors import printable
from asr_rescore.files import atomic_text

FAILED_FILE = "failed.txt"
MOST_SHOWN = 5  # lines of the summary
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

    def log(self) -> None:
        """Log every failure as a warning of one line."""
        for what, reason in sorted(self.reasons.items()):
            logger.warning("%s\t%s", printable(what, kept=""), printable(reason))

    def write(self, out_dir: Path) -> None:
        """Write failed.txt, one line per failure, and log a summary as a warning. If nothing failed, remove the file.

        Failures for the same reason, but for the numbers and words in it, are one line of the summary.
        """
        path = out_dir / FAILED_FILE
        if not self.reasons:
            path.unlink(missing_ok=True)
            return
        failures = sorted(self.reasons.items())
        with atomic_text(path) as stream:
            stream.writelines(f"{printable(what, kept='')}\t{printable(reason)}\n" for what, reason in failures)
        kinds: dict[str, list[str]] = {}
        for what, reason in failures:
            kinds.setdefault(_kind(what, reason), []).append(what)
        lines = []
        for first, *others in list(kinds.values())[:MOST_SHOWN]:
            more = f" and {len(others)} more" if others else ""
            lines.append(f"{printable(first, kept='')}{more}\t{printable(self.reasons[first])}")
        if len(kinds) > MOST_SHOWN:
            shown = sum(len(whats) for whats in list(kinds.values())[:MOST_SHOWN])
            lines.append(f"and {len(failures) - shown} more for other reasons")
        logger.warning("%s: %d failed:\n%s", path, len(failures), "\n".join(lines))


def _kind(what: str, reason: str) -> str:
    """The reason without what differs between utterances: their ids, numbers and quoted words."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "", reason.replace(what, ""))
