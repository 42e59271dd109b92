"""What a training says about its course: to the eye, in log.jsonl, and to TensorBoard."""

from __future__ import annotations

import logging

from asr_rescore.lm.text_cost import perplexity
from asr_rescore.progress import Bar, Pace, progress_bar, time_left
from asr_rescore.training.log import TrainingLog
from asr_rescore.training.plan import may_end_early
from asr_rescore.training.run import TrainingRun
from asr_rescore.training.state import Progress
from asr_rescore.training.tensorboard import TensorBoard

logger = logging.getLogger(__name__)


class Course:
    """Follows a training from its first step in this process on.

    Args:
        run: the training.
        progress: how far it has come; whoever trains keeps it up to date.
        length: time steps of an epoch.
    """

    def __init__(self, run: TrainingRun, progress: Progress, length: int):
        self.run = run
        self.config = run.config.train
        self.progress = progress
        self.length = length
        self.history = TrainingLog(run.directory)
        self.pace = Pace()
        self.board: TensorBoard | None = None

    def start(self) -> None:
        """Say where the training goes on. What was logged after the last state is removed: it will come again.

        Raises:
            InputError: the log is damaged.
            UsageError: TensorBoard is wanted and not installed.
        """
        progress = self.progress
        self.history.cut(progress.steps)
        self.pace = Pace(self.epochs)
        if self.run.tensorboard is not None and not progress.finished:
            self.board = TensorBoard(self.run.tensorboard, progress.steps)
        if progress.finished:
            logger.info(
                "%s: was finished before, in %d steps; nothing is left to do", self.run.directory, progress.steps
            )
        elif progress.steps:
            logger.info("%s: continues %s", self.run.directory, self.place)

    @property
    def epochs(self) -> float:
        """How many epochs are done, with a fraction."""
        return self.progress.epoch + self.progress.position / self.length

    @property
    def place(self) -> str:
        """Where the last state is, and the best model so far, in words."""
        progress = self.progress
        best = f"; best valid ppl so far {perplexity(min(progress.valid)):.2f}" if progress.valid else ""
        share = f", {progress.position / self.length:.0%} of it done" if progress.position else ""
        return f"in epoch {progress.epoch + 1} of {self.config.epochs}{share}, after step {progress.steps}{best}"

    @property
    def left(self) -> float | None:
        """Seconds to the end of all epochs, estimated; None at the very beginning."""
        return self.pace.left(self.epochs, self.config.epochs)

    def bar(self, what: str, tokens: int, done: int = 0) -> Bar:
        """The progress of a part of the present epoch."""
        bar = progress_bar(f"epoch {self.progress.epoch + 1} of {self.config.epochs}{what}", tokens, initial=done)
        self.advance(bar, 0)
        return bar

    def advance(self, bar: Bar, tokens: int) -> None:
        """Show that some tokens of the present epoch are done."""
        progress = self.progress
        figures = []
        if progress.tokens:
            figures.append(f"loss {progress.loss / progress.tokens:.3f}")
        if progress.valid:
            figures.append(f"valid ppl {perplexity(progress.valid[-1]):.2f}")
        bar.update(tokens, ", ".join(figures), self.left)

    def log(self, learning_rate: float, averaging: bool, **figures: float) -> None:
        """Log the course of the run; ``figures`` are those of a finished epoch."""
        progress = self.progress
        loss = progress.loss / progress.tokens
        speed = round(progress.tokens / max(progress.seconds, 1e-9))
        epoch = progress.epoch + round(progress.position / self.length, 3)
        line = {
            "epoch": epoch,  # number of epochs done, with a fraction within an epoch
            "step": progress.steps,
            "lr": learning_rate,
            "averaging": averaging,
            "train_loss": loss,
            **figures,
            "seconds": round(progress.seconds, 3),
            "tokens_per_second": speed,
        }
        self.history.append(line)
        if self.board is not None:
            self.board.add(line)
        valid = "".join(f"{name.replace('_', ' ')} {value:.2f}, " for name, value in figures.items())
        logger.info("epoch %g: train loss %.3f, %s%d tokens/s%s", epoch, loss, valid, speed, self._outlook())

    def _outlook(self) -> str:
        """How long the training still takes, unless it is at its end."""
        left = self.left
        if left is None or self.progress.finished:
            return ""
        return f", {'at most ' if may_end_early(self.config) else ''}{time_left(left)}"
