"""Events for TensorBoard, which shows the course of trainings in a browser; its package is an optional dependency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr_rescore.errors import UsageError

TAGS = {  # key of a line of log.jsonl → the name of its curve
    "train_loss": "loss/train",
    "valid_ppl": "ppl/valid",
    "best_valid_ppl": "ppl/best_valid",
    "lr": "training/lr",
    "averaging": "training/averaging",  # 1 from the trigger of NT-ASGD on
    "tokens_per_second": "training/tokens_per_second",
}


def check_tensorboard() -> None:
    """Refuse events for TensorBoard if its package is missing.

    Raises:
        UsageError: it is.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "`tensorboard` needs the package of this name, which is not installed: run pip install tensorboard, or "
            "leave the option out, since log.jsonl has the same figures and plot_training draws them"
        ) from error


class TensorBoard:
    """Writes the figures of each line of log.jsonl as events.

    Args:
        directory: gets a file of events for each process that trains.
        steps: steps of the training that are done. TensorBoard forgets the events of later ones: a run that was killed
            takes these steps again.
    """

    def __init__(self, directory: Path, steps: int):
        check_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(directory), purge_step=steps + 1)

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line of log.jsonl, and write everything to disk."""
        for key, tag in TAGS.items():
            if key in line:
                self._writer.add_scalar(tag, float(line[key]), line["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file of events."""
        self._writer.close()
