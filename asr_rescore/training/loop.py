"""The training loop, from the first chunk of text to the directory of the best model."""

from __future__ import annotations

import logging
import math
import time
from contextlib import nullcontext

import torch

from asr_rescore import objectives
from asr_rescore.checkpoint import WEIGHTS_FILE, provenance, save_model
from asr_rescore.config import TrainConfig
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.interrupts import Interrupt
from asr_rescore.lm.streams import Streams
from asr_rescore.lm.text_cost import CHUNK, perplexity, stream_cost
from asr_rescore.locks import LOCK_FILE, locked
from asr_rescore.models import LanguageModel, detach_state, set_gradient_scale, use_fast_path
from asr_rescore.training.chunks import chunk_length, column_groups
from asr_rescore.training.course import Course
from asr_rescore.training.distributed import Ranks
from asr_rescore.training.optimizer import averaging_starts, build_optimizer, learning_rate, nonmonotone
from asr_rescore.training.run import TrainingRun
from asr_rescore.training.state import STATE_FILE, Progress, TrainingState
from asr_rescore.training.teacher import Teacher

logger = logging.getLogger(__name__)

SAVE_EVERY = 600.0  # seconds between two states within an epoch


def train(
    run: TrainingRun,
    model: LanguageModel,
    device: torch.device,
    teacher: Teacher | None = None,
    ranks: Ranks | None = None,
) -> float:
    """Train ``model`` and write the model of the best epoch to ``run.directory``.

    If the directory holds the state of the same run, training continues from there, bit for bit on the same CPU.

    Args:
        run: everything except the network.
        model: freshly initialised, or with the weights to start from; on ``device``.
        device: where to train.
        teacher: required by every objective except ``ce``.
        ranks: the processes that train together; None: this one alone. All of them call this function with the same
            run; the streams of the batch are divided among them.

    Returns:
        The best valid perplexity.

    Raises:
        UsageError: the directory holds another run, the teacher is missing or gives too few words for the objective, or
            the processes have different runs.
        RescoreError: the loss, the gradient or the valid perplexity is not finite, or another process trains in the
            directory.
        KeyboardInterrupt: Ctrl-C was pressed, or SIGTERM came (:class:`~asr_rescore.errors.Terminated`); the state has
            been saved.
    """
    config = run.config.train
    if run.config.objective.needs_teacher and teacher is None:
        raise UsageError(f"objective {run.config.objective.kind} needs a teacher; use distill_lm")
    if teacher is not None and not teacher.whole:
        objectives.check_reduced(run.config.objective)
    ranks = ranks or Ranks(device=device)
    lock = locked(run.directory / LOCK_FILE, str(run.directory)) if ranks.first else nullcontext()
    with lock, Interrupt(patient=ranks.count > 1) as interrupt:
        ranks.check_alike(run.fingerprint)
        trainer = Trainer(run, model, device, teacher, ranks)
        trainer.start_or_resume(interrupt)
        state = trainer.state
        progress = state.progress
        while not progress.finished:
            trainer.train_epoch(interrupt)
            ranks.check_equal(model)
            cost = trainer.validate(interrupt)
            progress.valid.append(cost)
            progress.epoch += 1
            progress.position = 0
            if progress.epochs_since_best == 0:
                trainer.save_best()
            if state.mean is None and averaging_starts(config, progress.epoch, progress.valid):
                state.start_averaging()
                if ranks.first:
                    logger.info("the weights are averaged from now on, after epoch %d", progress.epoch)
            progress.finished = _is_finished(config, progress)
            trainer.log(valid_ppl=perplexity(cost), best_valid_ppl=perplexity(min(progress.valid)))
            trainer.save_state()
            (wanted,) = ranks.any(interrupt.wanted)
            if wanted and not progress.finished:
                raise trainer.saved(interrupt)
    if run.trained and ranks.first and progress.valid.index(min(progress.valid)) == 0:
        logger.info("%s: no epoch is better than the weights it began with, which are kept", run.directory)
    return perplexity(min(progress.valid))


def _is_finished(config: TrainConfig, progress: Progress) -> bool:
    """Whether training ends after the present epoch."""
    if progress.epoch >= config.epochs:
        return True
    if 0 < config.patience <= progress.epochs_since_best:
        return True
    # Finetuning averages from its first step on, and the trigger that otherwise starts averaging ends training here. It
    # only looks at epochs, not at the start: at a high rate the first epoch is worse than the start.
    return config.averaging == "start" and nonmonotone(progress.valid[-progress.epoch :], config.nonmono)


class _StopValidation(Exception):
    """A signal came during validation. A second signal is a KeyboardInterrupt at any place, and saves nothing."""


class Trainer:
    """The steps of a training run; all that they change is in ``state``."""

    def __init__(
        self, run: TrainingRun, model: LanguageModel, device: torch.device, teacher: Teacher | None, ranks: Ranks
    ):
        self.run = run
        self.ranks = ranks
        self.config = run.config.train
        self.device = device
        self.objective = objectives.build(run.config.objective)
        self.groups = list(column_groups(ranks.columns(self.config.batch), self.config.small_batch))
        use_fast_path(model, self.config.precision == "mixed")
        self.parameters = list(model.parameters())
        torch.manual_seed(ranks.seed(run.seed))  # for dropout, whatever was drawn before
        self.state = TrainingState(
            model=model,
            optimizer=build_optimizer(self.parameters, self.config),
            streams=Streams(run.train.ids, self.config.batch, device),
            teacher=teacher,
            generator=torch.Generator().manual_seed(run.seed),
            device=device,
        )
        self.course = Course(run, self.state.progress, self.state.streams.length)
        self.start_streams()

    def start_or_resume(self, interrupt: Interrupt) -> None:
        """Load the state in the directory, or save the first state of a new run; then validate a trained model."""
        directory = self.run.directory
        # The first process looks, since it may write the files before the others look.
        has_state, has_model = self.ranks.from_first(
            ((directory / STATE_FILE).exists(), (directory / WEIGHTS_FILE).exists())
        )
        if has_state:
            self.state.load(directory / STATE_FILE, self.fingerprint, self.ranks)
            self.course.progress = self.state.progress
            if self.ranks.first:
                self.course.start()
        elif has_model:
            raise UsageError(
                f"{directory} holds a model but not the state of its training; name another directory, or remove it"
            )
        else:
            directory.mkdir(parents=True, exist_ok=True)
            if self.ranks.first:
                self.course.start()
            self.ranks.copy_first(self.state.model)
            if self.config.self_normalization and not self.run.trained:
                self.state.model.start_self_normalised()
            if averaging_starts(self.config, 0, ()):
                self.state.start_averaging()
            self.save_state()
        # The state comes first: if a kill left a model without a state, the model would be taken for another run's.
        if self.run.trained and not self.state.progress.valid:
            self.state.progress.valid.append(self.validate(interrupt))
            self.save_best()
            self.save_state()

    def start_streams(self) -> None:
        """Give the student and the teacher zero states."""
        sizes = [group.stop - group.start for group in self.groups]
        self.state.hidden = [self.state.model.initial_state(size, self.device) for size in sizes]
        if self.state.teacher is not None:
            self.state.teacher.start(sizes)

    def train_epoch(self, interrupt: Interrupt) -> None:
        """Train on all chunks of the text, from ``progress.position`` on."""
        state = self.state
        progress = state.progress
        total = state.streams.length
        if progress.position == 0:
            progress.tokens = 0
            progress.loss = 0.0
            progress.seconds = 0.0
            if self.config.partial_shuffle:
                state.streams.rotate(torch.randint(total, (self.config.batch,), generator=state.generator))
            self.start_streams()
        state.model.train()
        began = saved = time.monotonic()
        before = progress.seconds
        with self.course.bar("", total * self.config.batch, progress.position * self.config.batch) as bar:
            while progress.position < total:
                length = min(chunk_length(self.config, state.generator), total - progress.position)
                loss = self.step(length)
                progress.steps += 1
                progress.position += length
                progress.tokens += length * self.config.batch
                progress.loss += loss * length * self.config.batch
                progress.seconds = before + time.monotonic() - began
                self.course.advance(bar, length * self.config.batch)
                late = time.monotonic() - saved > SAVE_EVERY and progress.position < total
                wanted, due = self.ranks.any(interrupt.wanted, late)
                if wanted:
                    raise self._stopped(interrupt)
                if due:
                    self.log()
                    self.save_state()
                    saved = time.monotonic()

    def step(self, length: int) -> float:
        """Update the weights once, on the next chunk of ``length`` time steps; returns the mean loss of its tokens."""
        state = self.state
        progress = state.progress
        here = slice(progress.position, progress.position + length)
        # The gradient of a short chunk is a mean over fewer tokens, so it moves the weights less.
        for parameters in state.optimizer.param_groups:
            parameters["lr"] = self.learning_rate * length / self.config.bptt
        state.optimizer.zero_grad()
        set_gradient_scale(state.model, progress.gradient_scale.value)
        loss = 0.0
        for group in range(len(self.groups)):
            loss += self.backward(group, here)
        # Each process has the gradient of its part of the mean loss, so sums are those of the whole batch.
        self.ranks.add_gradients(self.parameters)
        loss = self.ranks.total(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip or math.inf).item()
        self.check_finite("loss", loss)
        if self.config.precision == "mixed" and progress.gradient_scale.skips(math.isfinite(norm)):
            logger.info(
                "epoch %d, step %d: a gradient overflowed in float16; the step is skipped, the scale is now %g",
                progress.epoch + 1,
                progress.steps + 1,
                progress.gradient_scale.value,
            )
            return loss
        self.check_finite("norm of the gradient", norm)
        state.optimizer.step()
        if state.mean is not None:
            state.mean.update()
            progress.averaged = state.mean.count
        return loss

    def backward(self, group: int, here: slice) -> float:
        """Add the gradient of one group of streams; returns its part of the mean loss, without AR and TAR."""
        config = self.config
        state = self.state
        columns = self.groups[group]
        chunk = state.streams.chunk(here, columns)
        labels = chunk.labels.flatten()  # (time · streams,)
        soft = None if state.teacher is None else state.teacher.soft_labels(chunk, group)
        if soft is not None:
            # A draw of its own for each step and group: it disturbs no other draw, and a run that continues repeats it.
            key = (self.run.seed, state.progress.steps, columns.start)
            soft = objectives.weigh_labels(soft, self.run.config.objective, key)

        def token_loss(log_probs: torch.Tensor, here: slice) -> torch.Tensor:
            return self.objective(log_probs, None if soft is None else soft[here], labels[here])

        hidden = detach_state(state.hidden[group])
        output = state.model.loss(chunk.inputs, hidden, token_loss, config.self_normalization)
        state.hidden[group] = output.state
        loss = output.total / len(labels)
        regularized = loss
        if config.activation_reg:
            dropped = _required(output.dropped)  # (time, streams, cells)
            regularized = regularized + config.activation_reg * dropped.pow(2).mean()
        if config.temporal_reg and len(chunk.labels) > 1:
            raw = _required(output.raw)  # (time, streams, cells)
            regularized = regularized + config.temporal_reg * (raw[1:] - raw[:-1]).pow(2).mean()
        part = (columns.stop - columns.start) / config.batch
        (regularized * part).backward()
        return float(loss.item() * part)

    @property
    def fingerprint(self) -> Fingerprint:
        """The facts that decide the result: those of the run, and the number of processes if there are several."""
        facts = self.run.fingerprint.facts
        return Fingerprint({**facts, "processes": self.ranks.count} if self.ranks.count > 1 else facts)

    @property
    def learning_rate(self) -> float:
        """The present rate of the schedule, for a chunk of ``bptt`` time steps."""
        progress = self.state.progress
        epochs = progress.epoch + progress.position / self.state.streams.length
        return learning_rate(self.config, epochs / self.config.epochs)

    def check_finite(self, what: str, value: float) -> None:
        """Raise an error if ``value`` is not finite, before it gets into the weights or the state."""
        if math.isfinite(value):
            return
        progress = self.state.progress
        raise RescoreError(
            f"{self.run.directory}: epoch {progress.epoch + 1}, step {progress.steps + 1}: the {what} is {value}; "
            "lower train.lr or train.clip and start in a new directory (the best model so far is kept)"
        )

    def validate(self, interrupt: Interrupt) -> float:
        """Return the cost of the valid text in nats per token, with the averaged weights once averaging has started.

        It changes nothing in the state, so if a signal comes, the state after the last step is saved. A run that
        continues from there validates anew.
        """
        cost: float | None = None
        if self.ranks.first:
            cost = self._valid_cost(interrupt)
        cost = self.ranks.from_first(cost)
        if cost is None:
            raise self._stopped(interrupt)
        self.check_finite("valid perplexity", perplexity(cost))
        return cost

    def _valid_cost(self, interrupt: Interrupt) -> float | None:
        """The same without any check; None if a signal came."""
        valid = self.run.valid
        bar = self.course.bar(", valid text", len(valid))

        def stop_if_wanted() -> None:
            if interrupt.wanted:
                raise _StopValidation
            self.course.advance(bar, CHUNK)

        try:
            with bar, self.state.averaged_weights():
                total = stream_cost(self.state.model, valid.ids, self.device, before_chunk=stop_if_wanted)
        except _StopValidation:  # the weights are again those that are trained
            return None
        return (total + valid.class_cost) / len(valid)

    def _stopped(self, interrupt: Interrupt) -> KeyboardInterrupt:
        """Save the state, and return the exception for the signal that came to this process or to another."""
        self.save_state()
        self.ranks.wait()  # until it is written: the end of one process ends the others
        return self.saved(interrupt)

    def saved(self, interrupt: Interrupt) -> KeyboardInterrupt:
        """Say what was saved, and return the exception for the signal that came."""
        if self.ranks.first:
            logger.info("%s: saved; the same command continues %s", self.run.directory, self.course.place)
        return interrupt.end()

    def save_best(self) -> None:
        """Write the model to its directory."""
        if not self.ranks.first:
            return
        progress = self.state.progress
        facts = dict(self.fingerprint.facts, epoch=progress.epoch, valid_ppl=perplexity(progress.valid[-1]))
        with self.state.averaged_weights():
            save_model(self.run.directory, self.state.model, self.run.vocabulary, provenance(**facts))

    def log(self, **figures: float) -> None:
        """Log the course of the run; ``figures`` are those of a finished epoch."""
        if not self.ranks.first:
            return
        self.course.log(self.learning_rate, self.state.mean is not None, **figures)

    def save_state(self) -> None:
        """Write the state, from which :meth:`start_or_resume` continues."""
        self.state.save(self.run.directory / STATE_FILE, self.fingerprint, self.ranks)


def _required(output: torch.Tensor | None) -> torch.Tensor:
    """An output of the last recurrent layer, which AR and TAR need."""
    if output is None:
        raise UsageError("train: activation_reg and temporal_reg need a model with recurrent layers")
    return output
