"""The training loop: hard labels or a teacher's, from the first chunk to the best model's directory."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from asr_rescore import objectives
from asr_rescore.checkpoint import load_training_state, provenance, save_model, save_training_state
from asr_rescore.config import Config
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.models import LanguageModel, detach_state, flatten_state, unflatten_state
from asr_rescore.training.chunks import Streams, chunk_length, column_groups
from asr_rescore.training.evaluation import stream_cost
from asr_rescore.training.optimizer import ParameterMean, averaging_starts, build_optimizer, learning_rate
from asr_rescore.training.teacher import Teacher
from asr_rescore.vocab import Vocabulary

STATE_FILE = "training_state.safetensors"
LOG_FILE = "log.jsonl"
SAVE_EVERY = 600.0  # seconds between states within an epoch


@dataclass(frozen=True)
class TrainingRun:
    """What a run is made of; a state on disk goes on only with the same run.

    Attributes:
        config: model, objective and training options.
        vocabulary: of the model and both texts.
        train, valid: texts.
        seed: of every random draw.
        directory: where model, log and state go.
        facts: for the model's provenance, e.g. the teachers.
    """

    config: Config
    vocabulary: Vocabulary
    train: TokenStream
    valid: TokenStream
    seed: int
    directory: Path
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that tell this run from any other."""
        return {
            "config": self.config.to_dict(),
            "vocabulary": self.vocabulary.hash,
            "train": self.train.hash,
            "valid": self.valid.hash,
            "seed": self.seed,
            **self.facts,
        }


@dataclass
class Progress:
    """Where a run stands; JSON-able."""

    epoch: int = 0  # epochs finished
    position: int = 0  # time steps of the present epoch behind
    loss: float = 0.0  # summed over this epoch's tokens so far
    seconds: float = 0.0  # spent in this epoch so far
    valid: list[float] = field(default_factory=list)  # cost per token after each epoch, nats
    averaged: int = 0  # steps in the mean of the weights; 0 until averaging starts
    finished: bool = False


def train(run: TrainingRun, model: LanguageModel, device: torch.device, teacher: Teacher | None = None) -> float:
    """Train ``model`` and leave the one of the best epoch in ``run.directory``.

    Goes on from the directory's state where there is one, bit for bit on the same CPU.

    Args:
        run: everything but the network.
        model: freshly initialised, on ``device``.
        device: where to train.
        teacher: needed by every objective but ``ce``.

    Returns:
        The best valid perplexity.

    Raises:
        UsageError: the directory holds another run.
        RescoreError: the loss is no number any more.
    """
    options = run.config.train
    if run.config.objective.needs_teacher and teacher is None:
        raise UsageError(f"objective {run.config.objective.kind} needs a teacher; use distill_lm")
    trainer = _Trainer(run, model, device, teacher)
    trainer.resume()
    progress = trainer.progress
    while not progress.finished:
        trainer.epoch()
        cost = trainer.validate()
        progress.valid.append(cost)
        progress.epoch, progress.position = progress.epoch + 1, 0
        if cost == min(progress.valid):
            trainer.save_best()
        if options.optimizer == "sgd" and trainer.mean is None and averaging_starts(progress.valid, options.nonmono):
            trainer.start_averaging()
        since_best = len(progress.valid) - 1 - progress.valid.index(min(progress.valid))
        progress.finished = progress.epoch >= options.epochs or (0 < options.patience <= since_best)
        trainer.log_epoch()
        trainer.save_state()
    return math.exp(min(progress.valid))


class _Trainer:
    """The loop's moving parts."""

    def __init__(self, run: TrainingRun, model: LanguageModel, device: torch.device, teacher: Teacher | None):
        self.run, self.model, self.device, self.teacher = run, model, device, teacher
        self.options = run.config.train
        self.parameters = list(model.parameters())
        self.optimizer = build_optimizer(self.parameters, self.options)
        self.objective = objectives.build(run.config.objective)
        self.mean: ParameterMean | None = None
        self.progress = Progress()
        self.streams = Streams(run.train.ids, self.options.batch, device)
        self.groups = list(column_groups(self.options.batch, self.options.small_batch))
        self.lengths = torch.Generator().manual_seed(run.seed)
        self.start_streams()

    def start_streams(self) -> None:
        """Zero states, for student and teacher."""
        sizes = [group.stop - group.start for group in self.groups]
        self.states = [self.model.initial_state(size, self.device) for size in sizes]
        if self.teacher is not None:
            self.teacher.start(sizes)

    def epoch(self) -> None:
        """All chunks of the text from ``progress.position`` on."""
        progress, total = self.progress, len(self.streams)
        if progress.position == 0:
            progress.loss, progress.seconds = 0.0, 0.0
            self.start_streams()
        self.model.train()
        began = saved = time.monotonic()
        before = progress.seconds
        with tqdm(total=total, initial=progress.position, desc=f"epoch {progress.epoch + 1}", disable=None) as bar:
            while progress.position < total:
                length = min(chunk_length(self.options, self.lengths), total - progress.position)
                loss = self.step(length)
                progress.loss += loss * length * self.options.batch
                progress.position += length
                progress.seconds = before + time.monotonic() - began
                bar.update(length)
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                if time.monotonic() - saved > SAVE_EVERY:
                    self.save_state()
                    saved = time.monotonic()

    def step(self, length: int) -> float:
        """One chunk of ``length`` time steps: forward, backward, update; the mean loss of its tokens."""
        options, progress = self.options, self.progress
        here = slice(progress.position, progress.position + length)
        done = (progress.epoch + progress.position / len(self.streams)) / options.epochs
        # A short chunk's gradient is a mean over fewer tokens, so it moves the weights less.
        rate = learning_rate(options, done) * length / options.bptt
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        self.optimizer.zero_grad()
        loss = sum(self.backward(index, here) for index in range(len(self.groups)))
        if not math.isfinite(loss):
            raise RescoreError(
                f"{self.run.directory}: epoch {progress.epoch + 1}, time step {progress.position} of "
                f"{len(self.streams)}: the loss is {loss}; lower train.lr or train.clip and start in a new directory "
                "(the best model so far stays)"
            )
        if options.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, options.clip)
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update()
            progress.averaged = self.mean.count
        return loss

    def backward(self, index: int, here: slice) -> float:
        """Add one group's gradient; returns its part of the mean loss, without AR and TAR."""
        columns, options = self.groups[index], self.options
        inputs, labels = self.streams.inputs[here, columns], self.streams.labels[here, columns]  # (time, streams)
        output = self.model(inputs, detach_state(self.states[index]))
        self.states[index] = output.state
        soft = None if self.teacher is None else self.teacher.log_probs(inputs, index).flatten(0, 1)
        loss = self.objective(output.log_probs.flatten(0, 1), soft, labels.flatten()).mean()
        share = (columns.stop - columns.start) / options.batch
        regularized = loss
        if options.activation_reg:
            regularized = regularized + options.activation_reg * output.dropped.pow(2).mean()
        if options.temporal_reg and len(output.raw) > 1:
            regularized = regularized + options.temporal_reg * (output.raw[1:] - output.raw[:-1]).pow(2).mean()
        (regularized * share).backward()
        return loss.item() * share

    def validate(self) -> float:
        """Nats per token of the valid text, with the averaged weights where there are any."""
        valid = self.run.valid
        with self.averaged_weights():
            return (stream_cost(self.model, valid.ids, self.device) + valid.member_cost) / len(valid)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """A context in which the model has the averaged weights, where there are any."""
        if self.mean is None:
            yield
            return
        self.mean.swap()
        try:
            yield
        finally:
            self.mean.swap()

    def start_averaging(self) -> None:
        """From here on the mean of the weights is what is validated and saved."""
        self.mean = ParameterMean(self.parameters)

    def save_best(self) -> None:
        """Write the model directory."""
        facts = provenance(
            **self.run.identity, epoch=self.progress.epoch, valid_ppl=math.exp(self.progress.valid[-1])
        )
        with self.averaged_weights():
            save_model(self.run.directory, self.model, self.run.vocabulary, facts)

    def log_epoch(self) -> None:
        """One line of JSON for the epoch behind, and the same for the eye."""
        progress, tokens = self.progress, len(self.streams) * self.options.batch
        line = {
            "epoch": progress.epoch,
            "train_loss": progress.loss / tokens,
            "valid_ppl": math.exp(progress.valid[-1]),
            "best_valid_ppl": math.exp(min(progress.valid)),
            "averaging": self.mean is not None,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": round(progress.seconds, 3),
            "tokens_per_second": round(tokens / max(progress.seconds, 1e-9)),
        }
        with (self.run.directory / LOG_FILE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(
            f"epoch {line['epoch']}: train loss {line['train_loss']:.3f}, valid ppl {line['valid_ppl']:.2f}, "
            f"{line['tokens_per_second']} tokens/s",
            flush=True,
        )

    def save_state(self) -> None:
        """Everything from which :meth:`resume` goes on."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items() if value is not None}
        if self.mean is not None:
            tensors |= {f"mean.{index}": mean for index, mean in enumerate(self.mean.means)}
        tensors |= {f"student.{name}": part for name, part in flatten_state(tuple(self.states)).items()}
        if self.teacher is not None:
            tensors |= {f"teacher.{name}": part for name, part in self.teacher.state().items()}
        tensors["random.lengths"] = self.lengths.get_state()
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        save_training_state(
            self.run.directory / STATE_FILE, tensors, {"run": self.run.identity, "progress": vars(self.progress)}
        )

    def resume(self) -> None:
        """Take up the directory's state, if there is one."""
        path = self.run.directory / STATE_FILE
        if not path.exists():
            (self.run.directory / LOG_FILE).unlink(missing_ok=True)
            self.run.directory.mkdir(parents=True, exist_ok=True)
            return
        tensors, saved = load_training_state(path)
        if saved["run"] != json.loads(json.dumps(self.run.identity)):
            differs = [key for key, value in saved["run"].items() if self.run.identity.get(key) != value]
            raise UsageError(
                f"{self.run.directory} holds a run of another {', '.join(differs) or 'kind'}; "
                "remove it or name another directory"
            )
        self.progress = Progress(**saved["progress"])
        part = _by_prefix(tensors)
        self.model.load_state_dict(part["model"])
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in part["optimizer"].items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        if part["mean"]:
            self.start_averaging()
            self.mean.means = [part["mean"][str(index)].to(self.device) for index in range(len(self.parameters))]
            self.mean.count = self.progress.averaged
        self.states = list(unflatten_state(tuple(self.states), part["student"]))
        if self.teacher is not None:
            self.teacher.restore(part["teacher"])
        self.lengths.set_state(part["random"]["lengths"])
        torch.set_rng_state(part["random"]["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(part["random"]["cuda"], self.device)


def _by_prefix(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, dict[str, torch.Tensor]]:
    parts: Mapping[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        prefix, rest = name.split(".", 1)
        parts[prefix][rest] = tensor
    return parts
