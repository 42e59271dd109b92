"""Every option of a model and its training, with its one default; a YAML file holds only what differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from asr_rescore.errors import InputError, UsageError
from asr_rescore.files import read_lines

NormaliserKind = Literal["float32", "int8", "bfloat16", "float16", "none"]  # how scoring normalises softmaxes


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
        _require(self.kind == "awd-lstm-mos", f"model: kind {self.kind!r}, expected awd-lstm-mos")
        _require(self.embedding > 0 and self.experts > 0, "model: embedding and experts must be positive")
        _require(len(self.hidden) > 0 and min(self.hidden) > 0, "model: hidden needs a positive size for each layer")
        _require(self.embedding_init > 0, f"model: embedding_init is {self.embedding_init}, expected above 0")
        for name in ("rows", "input", "hidden", "output", "latent"):
            value = getattr(self, f"dropout_{name}")
            _require(0 <= value < 1, f"model: dropout_{name} is {value}, expected at least 0 and below 1")
        _require(0 <= self.dropconnect < 1, f"model: dropconnect is {self.dropconnect}, expected 0 to below 1")


@dataclass(frozen=True)
class EnsembleConfig:
    """The mean of several models' probabilities: put together from trained ones, not trained itself."""

    members: tuple[AnyModelConfig, ...]
    kind: str = "ensemble"  # a name in models.REGISTRY

    def __post_init__(self) -> None:
        _require(len(self.members) > 0, "model: an ensemble needs a member")


AnyModelConfig: TypeAlias = ModelConfig | EnsembleConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised per token: hard labels, a teacher's distribution, or both."""

    kind: str = "ce"  # a name in objectives.REGISTRY: ce, kl, fixed, trust
    alpha: float = 0.1  # trust: R(y) = −alpha · ln(1 − Q(y)); the paper's 0.1 on PTB, 0.01 on WSJ
    label_weight: float = 0.1  # fixed: weight of the hard label
    teacher_weight: float = 1.0  # fixed: weight of the teacher's distribution
    temperature: float = 1.0  # softens teacher and student alike; the paper's 1

    def __post_init__(self) -> None:
        kinds = ("ce", "kl", "fixed", "trust")
        _require(self.kind in kinds, f"objective: kind {self.kind!r}, expected ce, kl, fixed or trust")
        for name in ("alpha", "label_weight", "teacher_weight"):
            _require(getattr(self, name) >= 0, f"objective: {name} is {getattr(self, name)}, expected 0 or more")
        _require(self.temperature > 0, f"objective: temperature is {self.temperature}, expected above 0")

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss reads a teacher's distribution."""
        return self.kind != "ce"


@dataclass(frozen=True)
class TrainConfig:
    """How the one training loop runs. The defaults are the AWD-LSTM-MoS reference's, without AR and TAR."""

    precision: str = "float32"  # or mixed: on a GPU, LSTM layers in float16 and matrix products in TF32
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
    self_normalization: float = 0.0  # weight of (ln Z)² of each softmax: teaches scoring to do without Z
    partial_shuffle: bool = False  # rotate every stream by a random number of tokens each epoch (Press 2019)
    epochs: int = 1000
    averaging: str = "nonmono"  # of the weights: nonmono (NT-ASGD), start (finetuning), tail, or none
    nonmono: int = 5  # the trigger: valid loss exceeds the best but the last nonmono; begins averaging, ends finetuning
    averaging_tail: float = 0.25  # tail: share of the epochs, the last ones, over which weights are averaged
    patience: int = 0  # stop after so many epochs without a better valid loss; 0 for never

    def __post_init__(self) -> None:
        precisions = ("float32", "mixed")
        _require(self.precision in precisions, f"train: precision {self.precision!r}, expected float32 or mixed")
        _require(self.optimizer in ("sgd", "adamw"), f"train: optimizer {self.optimizer!r}, expected sgd or adamw")
        schedules = ("constant", "cosine")
        _require(self.schedule in schedules, f"train: schedule {self.schedule!r}, expected constant or cosine")
        averaging = ("nonmono", "start", "tail", "none")
        _require(self.averaging in averaging, f"train: averaging {self.averaging!r}, expected " + ", ".join(averaging))
        _require(0 < self.averaging_tail <= 1, "train: averaging_tail must be above 0 and at most 1")
        _require(self.lr > 0, f"train: lr is {self.lr}, expected above 0")
        _require(min(self.batch, self.bptt, self.epochs) >= 1, "train: batch, bptt and epochs must be 1 or more")
        _require(0 <= self.small_batch <= self.batch, "train: small_batch must lie between 0 and batch")
        _require(0 <= self.bptt_half <= 1, f"train: bptt_half is {self.bptt_half}, expected a probability")
        _require(self.nonmono >= 1, f"train: nonmono is {self.nonmono}, expected 1 or more; averaging: none is its end")
        regularizers = ("weight_decay", "clip", "activation_reg", "temporal_reg", "self_normalization")
        for name in (*regularizers, "bptt_deviation", "patience"):
            _require(getattr(self, name) >= 0, f"train: {name} is {getattr(self, name)}, expected 0 or more")


@dataclass(frozen=True)
class Config:
    """A whole YAML file: ``model:``, ``objective:`` and ``train:``, each optional."""

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML and JSON take them."""
        return {**asdict(self), "model": model_to_dict(self.model)}


def from_dict(tree: Mapping[str, Any], where: str = "config", base: Config | None = None) -> Config:
    """Build a Config from nested mappings; what they do not say is as in ``base``, or else the default.

    Raises:
        InputError: an unknown key or a value of another type than the default's, named with ``where``.
        UsageError: a value out of its range.
    """
    base = base or Config()
    sections = {section.name: getattr(base, section.name) for section in fields(Config)}
    unknown = [name for name in tree if name not in sections]
    if unknown:
        raise InputError(
            where, found=f"section {unknown[0]!r}", expected=", ".join(sections), remedy="correct its name"
        )
    return replace(base, **{name: _section(sections[name], values, where, name) for name, values in tree.items()})


def load_config(*paths: str | Path) -> Config:
    """Read YAML files into a Config; a later file changes values of those before it.

    Raises:
        InputError: no file, no YAML, an unknown key or a value of another type than the default's.
        UsageError: a value out of its range.
    """
    config = Config()
    for path in paths:
        config = from_dict(_load_yaml(path), str(path), config)
    return config


def load_model_config(path: str | Path) -> AnyModelConfig:
    """Read a YAML file whose one section is ``model:``, as a model directory has it; an ensemble's is nested.

    Raises:
        InputError: no file, no YAML, or not what :func:`model_to_dict` makes.
    """
    tree = _load_yaml(path)
    if set(tree) != {"model"}:
        found = ", ".join(map(str, tree)) or "an empty file"
        raise InputError(path, found=found, expected="one section, model:", remedy="restore the file")
    try:
        return _model_from_dict(tree["model"], str(path), "model")
    except UsageError as error:
        raise InputError(path, found=str(error), expected="a model's sizes", remedy="restore the file") from error


def model_to_dict(config: AnyModelConfig) -> dict[str, Any]:
    """Plain values of a model's section, as YAML and JSON take them."""
    if isinstance(config, EnsembleConfig):
        return {"kind": config.kind, "members": [model_to_dict(member) for member in config.members]}
    return {**asdict(config), "hidden": list(config.hidden)}


def _model_from_dict(values: Any, where: str, section: str) -> AnyModelConfig:
    if not isinstance(values, Mapping) or values.get("kind") != EnsembleConfig.kind:
        return _section(ModelConfig(), values, where, section)
    members = values.get("members")
    if set(values) != {"kind", "members"} or not isinstance(members, list):
        raise InputError(
            f"{where}: {section}",
            found="keys " + ", ".join(map(str, values)),
            expected="kind, and members: a list of models",
            remedy="restore the file",
        )
    return EnsembleConfig(
        tuple(_model_from_dict(member, where, f"{section}.members.{index}") for index, member in enumerate(members))
    )


def _load_yaml(path: str | Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load("\n".join(line for _, line in read_lines(path)))
    except yaml.YAMLError as error:
        found = " ".join(str(error).split())
        raise InputError(path, found=found, expected="YAML", remedy="correct the line named") from error
    if tree is None:  # an empty file, or nothing but comments
        return {}
    if not isinstance(tree, dict):
        raise InputError(path, found=type(tree).__name__, expected="sections of keys", remedy="see docs/recipes.md")
    return tree


def _section(base: Any, values: Any, where: str, section: str) -> Any:
    known = {option.name: option for option in fields(base)}
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: {section}", found=repr(values), expected="key: value lines", remedy="correct it")
    arguments = {}
    for name, value in values.items():
        if name not in known:
            expected = "one of " + ", ".join(known)
            raise InputError(f"{where}: {section}", found=f"key {name!r}", expected=expected, remedy="correct its name")
        default = known[name].default
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if isinstance(default, tuple) and isinstance(value, list) and all(type(item) is int for item in value):
            value = tuple(value)
        if type(value) is not type(default) or (type(value) is float and not math.isfinite(value)):
            remedy = "YAML reads 1e-6 as text: write 1.0e-6" if isinstance(value, str) else "correct the value"
            place, expected = f"{where}: {section}.{name}", f"a value like {default!r}"
            raise InputError(place, found=repr(value), expected=expected, remedy=remedy)
        arguments[name] = value
    try:
        return replace(base, **arguments)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
