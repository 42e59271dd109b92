"""The training loop: hard labels or a teacher's, from the first chunk to the best model's directory."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from tqdm import tqdm

from asr_rescore import objectives
from asr_rescore.checkpoint import WEIGHTS_FILE, load_training_state, provenance, save_model, save_training_state
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm.perplexity import perplexity, stream_cost
from asr_rescore.lm.streams import Streams
from asr_rescore.models import LanguageModel, detach_state, flatten_state, unflatten_state, use_fast_path
from asr_rescore.training.chunks import chunk_length, column_groups
from asr_rescore.training.interrupt import Interrupt
from asr_rescore.training.log import TrainingLog
from asr_rescore.training.optimizer import ParameterMean, averaging_starts, build_optimizer, learning_rate, nonmonotone
from asr_rescore.training.run import Progress, TrainingRun
from asr_rescore.training.teacher import Teacher

STATE_FILE = "training_state.safetensors"
SAVE_EVERY = 600.0  # seconds between states within an epoch


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
        RescoreError: loss, gradient or valid perplexity are no finite numbers any more.
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    options = run.config.train
    if run.config.objective.needs_teacher and teacher is None:
        raise UsageError(f"objective {run.config.objective.kind} needs a teacher; use distill_lm")
    with Interrupt() as interrupt:
        trainer = _Trainer(run, model, device, teacher, interrupt)
        trainer.start_or_resume()
        progress = trainer.progress
        while not progress.finished:
            trainer.read_text()
            cost = trainer.validate()
            progress.valid.append(cost)
            progress.epoch, progress.position = progress.epoch + 1, 0
            since_best = len(progress.valid) - 1 - progress.valid.index(min(progress.valid))
            if since_best == 0:
                trainer.save_best()
            if trainer.mean is None and averaging_starts(options, progress.epoch, progress.valid):
                trainer.start_averaging()
            # Finetuning averages from its first step; the trigger that begins averaging elsewhere ends it.
            # It looks at epochs only: the start's cost is the least there is where a high rate begins with a step back.
            finetuned = options.averaging == "start" and nonmonotone(progress.valid[-progress.epoch :], options.nonmono)
            waited = 0 < options.patience <= since_best
            progress.finished = progress.epoch >= options.epochs or waited or finetuned
            trainer.log(valid_ppl=perplexity(cost), best_valid_ppl=perplexity(min(progress.valid)))
            trainer.save_state()
    return perplexity(min(progress.valid))


class _Trainer:
    """The loop's moving parts."""

    def __init__(
        self,
        run: TrainingRun,
        model: LanguageModel,
        device: torch.device,
        teacher: Teacher | None,
        interrupt: Interrupt,
    ):
        self.run, self.model, self.device, self.teacher, self.interrupt = run, model, device, teacher, interrupt
        self.options = run.config.train
        use_fast_path(model, self.options.precision == "mixed")
        self.parameters = list(model.parameters())
        self.optimizer = build_optimizer(self.parameters, self.options)
        self.objective = objectives.build(run.config.objective)
        self.mean: ParameterMean | None = None
        self.progress = Progress()
        self.history = TrainingLog(run.directory)
        self.streams = Streams(run.train.ids, self.options.batch, device)
        self.groups = list(column_groups(self.options.batch, self.options.small_batch))
        self.random = torch.Generator().manual_seed(run.seed)  # of chunk lengths and rotations
        torch.manual_seed(run.seed)  # for the dropouts, whatever was drawn before
        self.start_streams()

    def start_streams(self) -> None:
        """Zero states, for student and teacher."""
        sizes = [group.stop - group.start for group in self.groups]
        self.states = [self.model.initial_state(size, self.device) for size in sizes]
        if self.teacher is not None:
            self.teacher.start(sizes)

    def read_text(self) -> None:
        """One epoch: all chunks of the text from ``progress.position`` on."""
        progress, total = self.progress, len(self.streams)
        if progress.position == 0:
            progress.tokens, progress.loss, progress.seconds = 0, 0.0, 0.0
            if self.options.partial_shuffle:
                shape = (self.options.batch,)
                self.streams.rotate(torch.randint(total, shape, generator=self.random))
            self.start_streams()
        self.model.train()
        began = saved = time.monotonic()
        before = progress.seconds
        with tqdm(total=total, initial=progress.position, desc=f"epoch {progress.epoch + 1}", disable=None) as bar:
            while progress.position < total:
                length = min(chunk_length(self.options, self.random), total - progress.position)
                loss = self.step(length)
                progress.steps += 1
                progress.position += length
                progress.tokens += length * self.options.batch
                progress.loss += loss * length * self.options.batch
                progress.seconds = before + time.monotonic() - began
                bar.update(length)
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                if self.interrupt.wanted:
                    self.save_state()
                    raise KeyboardInterrupt
                if time.monotonic() - saved > SAVE_EVERY and progress.position < total:
                    self.log()
                    self.save_state()
                    saved = time.monotonic()

    def step(self, length: int) -> float:
        """One chunk of ``length`` time steps: forward, backward, update; the mean loss of its tokens."""
        options, position = self.options, self.progress.position
        here = slice(position, position + length)
        # A short chunk's gradient is a mean over fewer tokens, so it moves the weights less.
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate * length / options.bptt
        self.optimizer.zero_grad()
        loss = sum(self.backward(index, here) for index in range(len(self.groups)))
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, options.clip or math.inf).item()
        self.check_finite("loss", loss)
        self.check_finite("gradient's norm", norm)
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update()
            self.progress.averaged = self.mean.count
        return loss

    @property
    def learning_rate(self) -> float:
        """The schedule's, for a chunk of ``bptt`` time steps."""
        done = self.progress.epoch + self.progress.position / len(self.streams)
        return learning_rate(self.options, done / self.options.epochs)

    def check_finite(self, what: str, value: float) -> None:
        """Stop before anything that is no number gets into the weights or the state."""
        if math.isfinite(value):
            return
        progress = self.progress
        raise RescoreError(
            f"{self.run.directory}: epoch {progress.epoch + 1}, step {progress.steps + 1}: the {what} is {value}; "
            "lower train.lr or train.clip and start in a new directory (the best model so far stays)"
        )

    def backward(self, index: int, here: slice) -> float:
        """Add one group's gradient; returns its part of the mean loss, without AR and TAR."""
        columns, options = self.groups[index], self.options
        chunk = self.streams.chunk(here, columns)
        labels = chunk.labels.flatten()
        soft = None if self.teacher is None else self.teacher.soft_labels(chunk, index)

        def token_loss(log_probs: torch.Tensor, here: slice) -> torch.Tensor:
            return self.objective(log_probs, None if soft is None else soft[here], labels[here])

        state = detach_state(self.states[index])
        output = self.model.loss(chunk.inputs, state, token_loss, options.self_normalization)
        self.states[index] = output.state
        loss = output.total / len(labels)
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
            cost = (stream_cost(self.model, valid.ids, self.device) + valid.class_cost) / len(valid)
        self.check_finite("valid perplexity", perplexity(cost))
        return cost

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
        progress = self.progress
        facts = provenance(**self.run.identity, epoch=progress.epoch, valid_ppl=perplexity(progress.valid[-1]))
        with self.averaged_weights():
            save_model(self.run.directory, self.model, self.run.vocabulary, facts)

    def log(self, **facts: float) -> None:
        """Where the run stands, as a line of JSON and one for the eye; ``facts`` are those of an epoch's end."""
        progress = self.progress
        loss, speed = progress.loss / progress.tokens, round(progress.tokens / max(progress.seconds, 1e-9))
        line = {
            "epoch": progress.epoch + round(progress.position / len(self.streams), 3),  # epochs behind
            "step": progress.steps,
            "lr": self.learning_rate,
            "averaging": self.mean is not None,
            "train_loss": loss,
            **facts,
            "seconds": round(progress.seconds, 3),
            "tokens_per_second": speed,
        }
        self.history.append(line)
        valid = "".join(f"{name.replace('_', ' ')} {value:.2f}, " for name, value in facts.items())
        print(f"epoch {line['epoch']:g}: train loss {loss:.3f}, {valid}{speed} tokens/s", flush=True)

    def save_state(self) -> None:
        """Everything from which :meth:`resume` goes on."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items() if value is not None}
        if self.mean is not None:
            tensors |= {f"mean.{index}": mean for index, mean in enumerate(self.mean.means)}
        tensors |= {f"student.{name}": part for name, part in flatten_state(tuple(self.states)).items()}
        tensors["streams.shifts"] = self.streams.shifts
        if self.teacher is not None:
            tensors |= {f"teacher.{name}": part for name, part in self.teacher.state().items()}
        tensors["random.own"] = self.random.get_state()
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        save_training_state(
            self.run.directory / STATE_FILE, tensors, {"run": self.run.identity, "progress": vars(self.progress)}
        )

    def start_or_resume(self) -> None:
        """Take up the directory's state; where there is none, leave the first one. Then see to a trained start."""
        directory = self.run.directory
        if (directory / STATE_FILE).exists():
            self.resume()
        elif (directory / WEIGHTS_FILE).exists():
            raise UsageError(
                f"{directory} holds a model but not the state of its training; name another directory, or remove it"
            )
        else:
            directory.mkdir(parents=True, exist_ok=True)
            self.history.cut(0)
            if self.options.self_normalization and not self.run.trained:
                self.model.start_self_normalised()
            if averaging_starts(self.options, 0, ()):
                self.start_averaging()
            self.save_state()
        # The state was first: a model without one, left by a kill in between, would be taken for another's.
        if self.run.trained and not self.progress.valid:
            self.progress.valid.append(self.validate())
            self.save_best()
            self.save_state()

    def resume(self) -> None:
        """Become what :meth:`save_state` wrote."""
        directory = self.run.directory
        tensors, saved = load_training_state(directory / STATE_FILE)
        wanted = json.loads(json.dumps(self.run.identity))
        differs = [key for key in {**saved["run"], **wanted} if saved["run"].get(key) != wanted.get(key)]
        if differs:
            raise UsageError(
                f"{directory} holds a run of another {', '.join(differs)}; remove it or name another directory"
            )
        self.progress = Progress(**saved["progress"])
        self.history.cut(self.progress.steps)
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
        self.streams.rotate(part["streams"]["shifts"])
        self.states = list(unflatten_state(tuple(self.states), part["student"]))
        if self.teacher is not None:
            self.teacher.restore(part["teacher"])
        self.random.set_state(part["random"]["own"])
        torch.set_rng_state(part["random"]["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(part["random"]["cuda"], self.device)


def _by_prefix(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, dict[str, torch.Tensor]]:
    parts: Mapping[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        prefix, rest = name.split(".", 1)
        parts[prefix][rest] = tensor
    return parts
