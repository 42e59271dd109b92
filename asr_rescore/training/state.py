"""The state of a training run: what is saved, so that a stopped run continues bit for bit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr_rescore.checkpoint import REMOVE_STATE, load_training_state, save_training_state
from asr_rescore.config import from_dict
from asr_rescore.errors import InputError, RescoreError, UsageError, shown
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.lm.streams import Streams
from asr_rescore.models import LanguageModel, State, flatten_state, unflatten_state
from asr_rescore.models.lstm import GRADIENT_SCALE
from asr_rescore.ranges import Range
from asr_rescore.records import Record
from asr_rescore.training.distributed import Ranks
from asr_rescore.training.gradient_scale import GradientScale
from asr_rescore.training.optimizer import ParameterMean
from asr_rescore.training.teacher import Teacher

STATE_FILE = "training_state.safetensors"


@dataclass
class Progress:
    """How far a run has come, in plain values, as JSON takes them."""

    epoch: int = 0  # number of finished epochs
    steps: int = 0  # number of updates of the weights
    position: int = 0  # time steps of the present epoch that are done
    tokens: int = 0  # tokens of the present epoch that are done
    loss: float = 0.0  # sum of their losses
    seconds: float = 0.0  # time spent on them
    # Valid cost after each epoch, in nats per token. If the model was trained before, the first one is its own cost.
    valid: list[float] = field(default_factory=list)
    averaged: int = 0  # number of steps in the mean of the weights; 0 until averaging starts
    gradient_scale: GradientScale = field(default_factory=GradientScale)  # for float16
    finished: bool = False

    @property
    def epochs_since_best(self) -> int:
        """Number of epochs after the best one."""
        return len(self.valid) - 1 - self.valid.index(min(self.valid))


def _read_scale(record: Record) -> GradientScale:
    return GradientScale(record.number("value", Range(above=0, most=GRADIENT_SCALE)), record.integer("steady"))


def _read_progress(record: Record) -> Progress:
    return Progress(
        epoch=record.integer("epoch"),
        steps=record.integer("steps"),
        position=record.integer("position"),
        tokens=record.integer("tokens"),
        loss=record.number("loss"),
        seconds=record.number("seconds"),
        valid=list(record.numbers("valid")),
        averaged=record.integer("averaged"),
        gradient_scale=_read_scale(record.record("gradient_scale")) if "gradient_scale" in record else GradientScale(),
        finished=record.flag("finished"),
    )


@dataclass
class TrainingState:
    """Everything that changes while a model trains.

    Attributes:
        model: the network.
        optimizer: with its moments.
        streams: the text, which may be rotated in each epoch.
        teacher: with a state of its own, or None.
        generator: draws chunk lengths and rotations.
        device: where the model is.
        hidden: the recurrent state of the model, one for each group of streams.
        mean: the mean of the weights, or None before averaging starts.
        progress: how far the run has come.
    """

    model: LanguageModel
    optimizer: torch.optim.Optimizer
    streams: Streams
    teacher: Teacher | None
    generator: torch.Generator
    device: torch.device
    hidden: list[State] = field(default_factory=list)
    mean: ParameterMean | None = None
    progress: Progress = field(default_factory=Progress)

    def start_averaging(self) -> None:
        """From now on, validate and save the mean of the weights."""
        self.mean = ParameterMean(list(self.model.parameters()))

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """A context in which the model has the averaged weights, once averaging has started."""
        if self.mean is None:
            yield
            return
        self.mean.swap()
        try:
            yield
        finally:
            self.mean.swap()

    def save(self, path: Path, fingerprint: Fingerprint, ranks: Ranks) -> None:
        """Write the states of all processes and the fingerprint of their run to one file; the first process does it."""
        every = ranks.gathered(_flat(self._own_parts()))
        if not ranks.first:
            return
        tensors = _flat(self._shared_parts())
        for rank, own in enumerate(every):
            tensors |= {_prefix(rank) + name: tensor for name, tensor in own.items()}
        save_training_state(path, tensors, {"run": fingerprint.facts, "progress": asdict(self.progress)})

    def load(self, path: Path, fingerprint: Fingerprint, ranks: Ranks) -> None:
        """Become the state that :meth:`save` wrote, as far as it is of this process.

        Raises:
            UsageError: the state is of a run with another fingerprint.
            InputError: the file is damaged.
        """
        tensors, facts = load_training_state(path)
        state = Record.of(facts, str(path), "the state of a training run", REMOVE_STATE)
        saved = Fingerprint(_with_new_settings(state.record("run").values))
        differences = saved.differences(fingerprint)
        if differences == ["processes"]:
            count = saved.facts.get("processes", 1)
            begun = f"{path.parent} was begun with {count} process{'' if count == 1 else 'es'}"
            raise UsageError(
                f"{begun}, but this training has {ranks.count}; start {count} to continue, or name another directory"
            )
        if differences:
            raise UsageError(
                f"{path.parent} holds another training run (different: {', '.join(differences)}); remove it or name "
                "another directory"
            )
        self.progress = _read_progress(state.record("progress"))
        try:
            self._take_apart(tensors, _prefix(ranks.rank))
        except (LookupError, ValueError, RuntimeError, TypeError) as error:  # all that torch and dicts raise
            found = f"tensors that do not fit ({shown(' '.join(str(error).split()))})"
            raise InputError(path, found=found, expected=state.kind, remedy=REMOVE_STATE) from error

    def _shared_parts(self) -> dict[str, Mapping[str, torch.Tensor]]:
        """What is the same in all processes of a training, named after the part that it belongs to."""
        parts: dict[str, Mapping[str, torch.Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": {
                f"{index}.{slot}": value
                for index, slots in self.optimizer.state_dict()["state"].items()
                for slot, value in slots.items()
                if value is not None
            },
            "streams": {"shifts": self.streams.shifts},
            "random": {"own": self.generator.get_state()},
        }
        if self.mean is not None:
            parts["mean"] = {str(index): mean for index, mean in enumerate(self.mean.means)}
        return parts

    def _own_parts(self) -> dict[str, Mapping[str, torch.Tensor]]:
        """What belongs to the streams of this process."""
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        parts: dict[str, Mapping[str, torch.Tensor]] = {
            "student": flatten_state(tuple(self.hidden)),
            "random": random,
        }
        if self.teacher is not None:
            parts["teacher"] = self.teacher.state()
        return parts

    def _take_apart(self, tensors: Mapping[str, torch.Tensor], own: str) -> None:
        """Take the shared parts, and the parts of this process, whose names begin with ``own``."""
        parts: defaultdict[str, dict[str, torch.Tensor]] = defaultdict(dict)
        for key, tensor in tensors.items():
            part, name = key.split(".", 1)
            parts[part][name] = tensor
        mine: defaultdict[str, dict[str, torch.Tensor]] = defaultdict(dict)
        for key, tensor in tensors.items():
            part, name = key.removeprefix(own).split(".", 1)
            if key.startswith(own):
                mine[part][name] = tensor
        self.model.load_state_dict(parts["model"])
        parameters = list(self.model.parameters())
        slots: defaultdict[int, dict[str, torch.Tensor]] = defaultdict(dict)
        for key, tensor in parts["optimizer"].items():
            index, slot = key.split(".", 1)
            # A fused optimizer would read past the end of a slot that is too small.
            parameter = parameters[int(index)]
            if tensor.shape != (() if slot == "step" else parameter.shape) or not tensor.is_floating_point():
                raise ValueError(f"optimizer.{key}: {tensor.dtype} {tuple(tensor.shape)}")
            slots[int(index)][slot] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": dict(slots)})
        if parts["mean"]:
            mean = ParameterMean(parameters)
            for number, own_mean in enumerate(mean.means):
                own_mean.copy_(_of_shape(parts["mean"][str(number)], own_mean))
            mean.count = self.progress.averaged
            self.mean = mean
        self.hidden = list(unflatten_state(tuple(self.hidden), mine["student"]))
        self.streams.rotate(parts["streams"]["shifts"])
        if self.teacher is not None:
            self.teacher.restore(mine["teacher"])
        self.generator.set_state(parts["random"]["own"])
        torch.set_rng_state(mine["random"]["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(mine["random"]["cuda"], self.device)


def _with_new_settings(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a run that may be older than some settings, which then have their defaults: these change nothing."""
    try:
        config = from_dict(facts["config"]).to_dict()
    except (
        RescoreError,
        LookupError,
        TypeError,
        AttributeError,
    ):  # a setting is gone, or the file is damaged: the runs differ
        return dict(facts)
    return {**facts, "config": config}


def _of_shape(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The tensor, if it has the shape of another one: a copy would repeat one that is too small."""
    if tensor.shape != like.shape:
        raise ValueError(f"a tensor {tuple(tensor.shape)} instead of {tuple(like.shape)}")
    return tensor


def _prefix(rank: int) -> str:
    """How the names of the tensors begin that belong to one process."""
    return f"rank{rank}." if rank else ""


def _flat(parts: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """All tensors of some parts, with the name of the part before their own."""
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
