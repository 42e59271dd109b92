"""Every option of a model and its training, with its one default; a YAML file holds only what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from asr_rescore.errors import InputError, UsageError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True)
class ModelConfig:
    """An AWD-LSTM with a mixture of softmaxes. The defaults are the Penn Treebank student, which has no dropout."""

    kind: str = "awd-lstm-mos"  # a name in models.REGISTRY
    embedding: int = 200  # width of the embeddings, which are tied to the output layer
    hidden: tuple[int, ...] = (480, 480, 300)  # cells of each LSTM layer; the last is the paper's "bottleneck"
    experts: int = 15  # softmaxes in the mixture
    embedding_init: float = 0.1  # embeddings start uniform in ± this; larger ones learn faster in few epochs
    dropout_rows: float = 0.0  # whole embedding rows (reference: dropoute)
    dropout_input: float = 0.0  # embeddings, one mask a sequence (dropouti)
    dropout_hidden: float = 0.0  # between LSTM layers, one mask a sequence (dropouth)
    dropout_output: float = 0.0  # after the last layer, one mask a sequence (dropout)
    dropout_latent: float = 0.0  # each expert's latent vector, one mask a sequence (dropoutl)
    dropconnect: float = 0.0  # hidden-to-hidden weights (wdrop)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        _require(self.embedding > 0 and self.experts > 0, "model: embedding and experts must be positive")
        _require(len(self.hidden) > 0 and min(self.hidden) > 0, "model: hidden needs a positive size for each layer")
        _require(self.embedding_init > 0, f"model: embedding_init is {self.embedding_init}, expected above 0")
        for name in ("rows", "input", "hidden", "output", "latent"):
            value = getattr(self, f"dropout_{name}")
            _require(0 <= value < 1, f"model: dropout_{name} is {value}, expected at least 0 and below 1")
        _require(0 <= self.dropconnect < 1, f"model: dropconnect is {self.dropconnect}, expected 0 to below 1")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised per token: hard labels, a teacher's distribution, or both."""

    kind: str = "ce"  # a name in objectives.REGISTRY: ce, kl, fixed, trust
    alpha: float = 0.1  # trust: R(y) = −alpha · ln(1 − Q(y)); the paper's 0.1 on PTB, 0.01 on WSJ
    label_weight: float = 0.1  # fixed: weight of the hard label
    teacher_weight: float = 1.0  # fixed: weight of the teacher's distribution
    temperature: float = 1.0  # softens teacher and student alike; the paper's 1

    def __post_init__(self) -> None:
        _require(self.kind in ("ce", "kl", "fixed", "trust"), f"objective: kind {self.kind!r}, expected ce, kl, fixed or trust")
        _require(min(self.alpha, self.label_weight, self.teacher_weight) >= 0, "objective: weights cannot be negative")
        _require(self.temperature > 0, f"objective: temperature is {self.temperature}, expected above 0")

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss reads a teacher's distribution."""
        return self.kind != "ce"


@dataclass(frozen=True)
class TrainConfig:
    """How the one training loop runs. The defaults are the AWD-LSTM-MoS reference's on Penn Treebank."""

    optimizer: str = "sgd"  # sgd (with NT-ASGD) or adamw
    lr: float = 20.0  # learning rate of a chunk of bptt tokens; scaled by the chunk's true length
    schedule: str = "constant"  # constant, or cosine: down to a hundredth of lr over all epochs
    weight_decay: float = 1.2e-6
    clip: float = 0.25  # gradient norm; 0 for none
    batch: int = 12  # parallel streams of text
    small_batch: int = 0  # streams that go through the model at once, gradients added up; 0 for all of them
    bptt: int = 70  # mean tokens of a chunk
    bptt_half: float = 0.05  # probability with which a chunk's mean is half of that
    bptt_deviation: float = 5.0  # standard deviation of a chunk's length; with 0, and bptt_half 0, lengths are fixed
    activation_reg: float = 0.0  # AR: weight of the squared last dropped output (reference: alpha 2)
    temporal_reg: float = 0.0  # TAR: weight of the squared change of the last raw output (reference: beta 1)
    epochs: int = 1000
    nonmono: int = 5  # NT-ASGD: averaging starts when valid loss exceeds the best but the last nonmono; 0 for never
    patience: int = 0  # stop after so many epochs without a better valid loss; 0 for never

    def __post_init__(self) -> None:
        _require(self.optimizer in ("sgd", "adamw"), f"train: optimizer {self.optimizer!r}, expected sgd or adamw")
        _require(self.schedule in ("constant", "cosine"), f"train: schedule {self.schedule!r}, expected constant or cosine")
        _require(self.lr > 0, f"train: lr is {self.lr}, expected above 0")
        _require(min(self.batch, self.bptt, self.epochs) >= 1, "train: batch, bptt and epochs must be 1 or more")
        _require(0 <= self.small_batch <= self.batch, "train: small_batch must lie between 0 and batch")
        _require(0 <= self.bptt_half <= 1, f"train: bptt_half is {self.bptt_half}, expected a probability")
        nonnegative = ("weight_decay", "clip", "bptt_deviation", "activation_reg", "temporal_reg", "nonmono", "patience")
        for name in nonnegative:
            _require(getattr(self, name) >= 0, f"train: {name} is {getattr(self, name)}, expected 0 or more")


@dataclass(frozen=True)
class Config:
    """A whole YAML file: ``model:``, ``objective:`` and ``train:``, each optional."""

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML and JSON take them."""
        plain = asdict(self)
        plain["model"]["hidden"] = list(plain["model"]["hidden"])
        return plain


def from_dict(tree: Mapping[str, Any], where: str = "config") -> Config:
    """Build a Config from nested mappings; an unknown key or a wrong type is an error that names it."""
    sections = {section.name: section.default_factory for section in fields(Config)}
    built = {}
    for name, values in tree.items():
        if name not in sections:
            raise InputError(where, found=f"section {name!r}", expected=", ".join(sections), remedy="correct its name")
        built[name] = _section(sections[name], values or {}, f"{where}: {name}")
    return Config(**built)


def load_config(path: str | Path) -> Config:
    """Read a YAML file into a Config.

    Raises:
        InputError: no file, no YAML, an unknown key or a value of another type than the default's.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(path, found=str(error.strerror), expected="a YAML file", remedy="check the path") from error
    except yaml.YAMLError as error:
        raise InputError(
            path, found=" ".join(str(error).split()), expected="YAML", remedy="correct the line named"
        ) from error
    if not isinstance(tree, dict):
        raise InputError(path, found=type(tree).__name__, expected="sections of keys", remedy="see docs/recipes.md")
    return from_dict(tree, str(path))


def _section(kind: type, values: Mapping[str, Any], where: str) -> Any:
    known = {option.name: option for option in fields(kind)}
    arguments = {}
    for name, value in values.items():
        if name not in known:
            raise InputError(where, found=f"key {name!r}", expected="one of " + ", ".join(known), remedy="correct its name")
        default = known[name].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(default, tuple) and isinstance(value, list) and all(type(item) is int for item in value):
            value = tuple(value)
        if type(value) is not type(default):
            raise InputError(
                f"{where}: {name}",
                found=repr(value),
                expected=f"a value like {default!r}",
                remedy="YAML reads 1e-6 as text: write 1.0e-6" if isinstance(value, str) else "correct the value",
            )
        arguments[name] = value
    return kind(**arguments)
