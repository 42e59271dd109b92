"""Every setting of a model and its training, with its one default; a YAML file holds only what differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from asr_rescore.errors import InputError, UsageError, shown
from asr_rescore.ranges import COUNT, COUNT_OR_NONE, FINITE, FRACTION, NON_NEGATIVE, POSITIVE, SIZE, Range
from asr_rescore.records import read_yaml

# Each list of kinds is written once, here. Registries elsewhere have these types as their keys.
SingleModelKind = Literal["awd-lstm-mos"]
ModelKind = Literal[SingleModelKind, "ensemble"]
ObjectiveKind = Literal["ce", "kl", "fixed", "trust", "todi"]
Weighting = Literal["trust", "doubt", "expected_trust", "expected_doubt"]
Precision = Literal["float32", "mixed"]
OptimizerKind = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine"]
Averaging = Literal["nonmono", "start", "tail", "none"]
NormaliserKind = Literal["float32", "int8", "bfloat16", "float16", "none"]  # how scoring normalises softmaxes

DROPOUT = Range(least=0, below=1)
ONLY_TRUST = ("weigh_by", "weight_power", "scale_weights", "shuffle_trust")  # settings that no other objective reads
# Which kinds read the others. Layers of configs may hold them for another kind, but not if nobody chose the kind.
READ_BY = {
    "alpha": ("trust",),
    "label_weight": ("fixed",),
    "teacher_weight": ("fixed",),
    "temperature": ("kl", "fixed", "trust"),
}
# With larger values, a loss is beyond float32, or so small that nothing is learned, and says so only by bad results.
WEIGHT = Range(least=0, most=1e6)
WEIGHT_POWER = Range(least=0, most=5)  # of 1e-7 (objectives.MIN_DOUBT) to 16.1
TEMPERATURE = Range(least=0.01, most=1000)
MAX_LAYERS = 100
SHOWN_KEYS = 10  # of a wrong section
EXACT = 2**53  # floats up to here hold every integer


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _one_of(kinds: object, value: str, name: str) -> None:
    """Check that ``value`` is in ``kinds``, a Literal type; ``name`` is the setting's, for the error."""
    names = get_args(kinds)
    _require(value in names, f"{name} {value!r}, expected {' or '.join(names)}")


@dataclass(frozen=True)
class ModelConfig:
    """An AWD-LSTM with a mixture of softmaxes. The defaults are the Penn Treebank student's, without dropout."""

    kind: SingleModelKind = "awd-lstm-mos"
    embedding: int = 200  # width of the embeddings, which are tied to the output layer
    hidden: tuple[int, ...] = (480, 480, 300)  # cells of each LSTM layer; the last is the paper's "bottleneck"
    experts: int = 15  # softmaxes in the mixture
    embedding_init: float = 0.1  # embeddings start uniform in ± this value; a larger value learns faster at first
    dropout_rows: float = 0.0  # dropout of whole embedding rows (reference: dropoute)
    dropout_input: float = 0.0  # dropout of embeddings, one mask per sequence (dropouti)
    dropout_hidden: float = 0.0  # dropout between LSTM layers, one mask per sequence (dropouth)
    dropout_output: float = 0.0  # dropout after the last layer, one mask per sequence (dropout)
    dropout_latent: float = 0.0  # dropout of each expert's latent vector, one mask per sequence (dropoutl)
    dropconnect: float = 0.0  # dropout of hidden-to-hidden weights (wdrop)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        _one_of(SingleModelKind, self.kind, "model: kind")
        SIZE.check("model: embedding", self.embedding)
        SIZE.check("model: experts", self.experts)
        _require(0 < len(self.hidden) <= MAX_LAYERS, f"model: hidden needs sizes for 1 to {MAX_LAYERS} layers")
        for cells in self.hidden:
            SIZE.check("model: a size in hidden", cells)
        POSITIVE.check("model: embedding_init", self.embedding_init)
        for name in ("rows", "input", "hidden", "output", "latent"):
            DROPOUT.check(f"model: dropout_{name}", getattr(self, f"dropout_{name}"))
        DROPOUT.check("model: dropconnect", self.dropconnect)


@dataclass(frozen=True)
class EnsembleConfig:
    """The mean of the probabilities of several trained models. The ensemble itself is not trained."""

    members: tuple[AnyModelConfig, ...]
    kind: Literal["ensemble"] = "ensemble"

    def __post_init__(self) -> None:
        _require(len(self.members) > 0, "model: an ensemble needs at least one member")


AnyModelConfig: TypeAlias = ModelConfig | EnsembleConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised for each token: the cost of the hard label, of a teacher's distribution, or of both."""

    kind: ObjectiveKind = "ce"  # see objectives.REGISTRY; distill_lm has another default, DISTILLATION
    alpha: float = 0.1  # trust: R(y) = −alpha · ln(1 − Q(y)); the paper has 0.1 on PTB, 0.01 on WSJ
    label_weight: float = 0.3  # fixed: weight of the hard label
    teacher_weight: float = 1.0  # fixed: weight of the teacher's distribution
    temperature: float = 1.0  # softens both teacher and student; the paper has 1
    weigh_by: Weighting = "trust"  # trust: what R is computed from, see objectives.WEIGHTINGS
    weight_power: float = 1.0  # trust: R goes with this power of it; 0: all labels have the weight alpha
    scale_weights: bool = False  # trust: R is scaled so that its mean over a chunk is alpha
    shuffle_trust: bool = False  # trust: a token gets the R of any token of its chunk; shows what R's place is worth

    def __post_init__(self) -> None:
        _one_of(ObjectiveKind, self.kind, "objective: kind")
        _one_of(Weighting, self.weigh_by, "objective: weigh_by")
        WEIGHT_POWER.check("objective: weight_power", self.weight_power)
        for name in ("alpha", "label_weight", "teacher_weight"):
            WEIGHT.check(f"objective: {name}", getattr(self, name))
        TEMPERATURE.check("objective: temperature", self.temperature)
        for name in ONLY_TRUST:
            _require(
                self.kind == "trust" or getattr(self, name) == getattr(ObjectiveConfig, name),
                f"objective: {name} has no effect on kind {self.kind}, expected kind: trust",
            )
        _require(
            self.kind != "todi" or self.temperature == 1,
            f"objective: kind todi has temperature 1, found {self.temperature}",
        )
        _require(
            self.kind != "fixed" or self.label_weight + self.teacher_weight > 0,
            "objective: label_weight and teacher_weight are both 0, so nothing would be learned",
        )

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss reads a teacher's distribution."""
        return self.kind != "ce"

    def to_dict(self) -> dict[str, Any]:
        """The settings that ``kind`` reads: others change nothing, so runs that differ in them are the same."""
        others = dict.fromkeys(ONLY_TRUST, ("trust",)) | READ_BY
        return {name: value for name, value in asdict(self).items() if self.kind in others.get(name, (self.kind,))}


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. The defaults are those of the AWD-LSTM-MoS reference code, without AR and TAR."""

    precision: Precision = "float32"  # mixed, on a GPU: LSTM layers in float16 and other matrix products in TF32
    optimizer: OptimizerKind = "sgd"  # sgd goes with averaging: nonmono (NT-ASGD)
    lr: float = 20.0  # learning rate for a chunk of bptt tokens; scaled by the actual length of each chunk
    schedule: Schedule = "constant"  # cosine: the learning rate falls to a hundredth of lr over all epochs
    weight_decay: float = 1.2e-6
    clip: float = 0.25  # largest norm of the gradient; 0: no clipping
    batch: int = 12  # parallel streams of text
    small_batch: int = 0  # streams that go through the model at once; their gradients add up; 0: all streams
    bptt: int = 70  # mean length of a chunk, in tokens
    bptt_half: float = 0.05  # probability that a chunk has half this mean length
    bptt_deviation: float = 5.0  # standard deviation of the length of chunks; if this and bptt_half are 0, it is fixed
    activation_reg: float = 0.0  # AR: weight of the squared output of the last layer after dropout (reference: alpha 2)
    temporal_reg: float = 0.0  # TAR: weight of the squared change of that output before dropout (reference: beta 1)
    self_normalization: float = 0.0  # weight of (ln Z)² of each softmax, so that scoring can do without Z
    partial_shuffle: bool = False  # rotate every stream by a random number of tokens in each epoch (Press 2019)
    epochs: int = 1000
    averaging: Averaging = "nonmono"  # of the weights; nonmono: NT-ASGD, start: finetuning, tail: the last epochs
    nonmono: int = 5  # trigger: valid loss above the best until this many epochs ago; starts averaging, ends finetuning
    averaging_tail: float = 0.25  # tail: fraction of the epochs, at the end, over which weights are averaged
    patience: int = 0  # stop after this many epochs without a lower valid loss; 0: never

    def __post_init__(self) -> None:
        _one_of(Precision, self.precision, "train: precision")
        _one_of(OptimizerKind, self.optimizer, "train: optimizer")
        _one_of(Schedule, self.schedule, "train: schedule")
        _one_of(Averaging, self.averaging, "train: averaging")
        Range(above=0, most=1).check("train: averaging_tail", self.averaging_tail)
        POSITIVE.check("train: lr", self.lr)
        for name in ("batch", "bptt"):
            SIZE.check(f"train: {name}", getattr(self, name))
        COUNT.check("train: epochs", self.epochs)
        COUNT_OR_NONE.check("train: patience", self.patience)
        Range(least=0, most=self.batch, whole=True).check("train: small_batch", self.small_batch)
        FRACTION.check("train: bptt_half", self.bptt_half)
        _require(
            self.nonmono in COUNT,
            f"train: nonmono is {shown(self.nonmono)}, expected {COUNT}; averaging: none turns averaging off",
        )
        regularizers = ("weight_decay", "clip", "activation_reg", "temporal_reg", "self_normalization")
        for name in regularizers:
            NON_NEGATIVE.check(f"train: {name}", getattr(self, name))
        Range(least=0, most=SIZE.most).check("train: bptt_deviation", self.bptt_deviation)


@dataclass(frozen=True)
class Config:
    """A whole YAML file: ``model:``, ``objective:`` and ``train:``, each optional."""

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """All sections as plain values for YAML and JSON, without settings that have no effect."""
        return {**asdict(self), "model": model_to_dict(self.model), "objective": self.objective.to_dict()}


def from_dict(tree: Mapping[str, Any], where: str = "config", base: Config | None = None) -> Config:
    """Build a Config from nested mappings.

    Args:
        tree: section → key → value; sections and keys may be missing.
        where: name of the source, usually a file, for errors.
        base: has the values of missing keys; None: the defaults.

    Raises:
        InputError: a key is unknown, or a value has another type than the default.
        UsageError: a value is out of its range.
    """
    base = Config() if base is None else base
    sections = {section.name: getattr(base, section.name) for section in fields(Config)}
    unknown = [name for name in tree if name not in sections]
    if unknown:
        raise InputError(
            where, found=f"section {shown(unknown[0])}", expected=", ".join(sections), remedy="correct its name"
        )
    return replace(base, **{name: _section(sections[name], values, where, name) for name, values in tree.items()})


# The defaults of distill_lm: 0.3 · CE + KL, better than KL alone, than TR and than 0.1 or 0.2 · CE + KL in every pair
# in which the study tried it (recipes/ptb/RESULTS.md).
DISTILLATION = Config(objective=ObjectiveConfig(kind="fixed"))


def load_config(*paths: str | Path, base: Config | None = None) -> Config:
    """Read YAML files into a Config; a later file overrides values of earlier ones.

    Args:
        paths: the files.
        base: has the values that no file gives; None: the defaults of train_lm.

    Raises:
        InputError: a file is missing or is not YAML, a key is unknown, or a value has another type than the default.
        UsageError: a value is out of its range.
    """
    config = Config() if base is None else base
    for path in paths:
        config = from_dict(_load_yaml(path), str(path), config)
    return config


def given_settings(*paths: str | Path) -> dict[str, set[str]]:
    """Which settings YAML files give: section → keys. The files are those of :func:`load_config`."""
    given: dict[str, set[str]] = {section.name: set() for section in fields(Config)}
    for path in paths:
        for section, values in _load_yaml(path).items():
            given[section] |= set(values or {})
    return given


def refuse_unread(given: Mapping[str, set[str]], objective: ObjectiveConfig, where: str) -> None:
    """Refuse settings of an objective that nobody chose, if it does not read them: another one was meant.

    Args:
        given: see :func:`given_settings`.
        objective: what was read from the same files.
        where: the last of them, for the error.

    Raises:
        UsageError: there is such a setting.
    """
    for name, kinds in READ_BY.items():
        _require(
            name not in given["objective"] or "kind" in given["objective"] or objective.kind in kinds,
            f"{where}: objective: {name} has no effect on kind {objective.kind}, which is the default, expected kind: "
            + " or kind: ".join(kinds),
        )


def load_model_config(path: str | Path) -> AnyModelConfig:
    """Read the YAML file of a model directory. Its one section is ``model:``; an ensemble contains its members.

    Raises:
        InputError: the file is missing, is not YAML, or has another form than :func:`model_to_dict` gives.
    """
    tree = _load_yaml(path)
    if set(tree) != {"model"}:
        found = ", ".join(shown(name).strip("'") for name in list(tree)[:SHOWN_KEYS]) or "an empty file"
        raise InputError(path, found=found, expected="one section, model:", remedy="restore the file")
    try:
        return _model_from_dict(tree["model"], str(path), "model")
    except UsageError as error:
        raise InputError(path, found=str(error), expected="a valid model", remedy="restore the file") from error


def model_to_dict(config: AnyModelConfig) -> dict[str, Any]:
    """The section of a model as plain values for YAML and JSON."""
    if isinstance(config, EnsembleConfig):
        return {"kind": config.kind, "members": [model_to_dict(member) for member in config.members]}
    return {**asdict(config), "hidden": list(config.hidden)}


def _model_from_dict(values: Any, where: str, section: str) -> AnyModelConfig:
    if values is None:
        raise InputError(f"{where}: {section}", found="nothing", expected="a model", remedy="restore the file")
    if not isinstance(values, Mapping) or values.get("kind") != EnsembleConfig.kind:
        return _section(ModelConfig(), values, where, section)
    members = values.get("members")
    if set(values) != {"kind", "members"} or not isinstance(members, list):
        raise InputError(
            f"{where}: {section}",
            found="keys " + ", ".join(shown(name).strip("'") for name in list(values)[:SHOWN_KEYS]),
            expected="kind, and members: a list of models",
            remedy="restore the file",
        )
    return EnsembleConfig(
        tuple(_model_from_dict(member, where, f"{section}.members.{index}") for index, member in enumerate(members))
    )


def _load_yaml(path: str | Path) -> dict[str, Any]:
    tree = read_yaml(Path(path), "settings", "see docs/recipes.md")
    if tree is None:  # an empty file, or nothing but comments
        return {}
    if not isinstance(tree, dict):
        raise InputError(path, found=type(tree).__name__, expected="sections of keys", remedy="see docs/recipes.md")
    return tree


_Section = TypeVar("_Section", bound=ModelConfig | ObjectiveConfig | TrainConfig)


def _section(base: _Section, values: Any, where: str, section: str) -> _Section:
    """``base`` with the values of one section of a YAML file."""
    known = {setting.name: setting for setting in fields(base)}
    if values is None:
        return base
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: {section}", found=shown(values), expected="key: value lines", remedy="correct it")
    arguments = {}
    for name, value in values.items():
        if name not in known:
            expected = "one of " + ", ".join(known)
            raise InputError(
                f"{where}: {section}", found=f"key {shown(name)}", expected=expected, remedy="correct its name"
            )
        arguments[name] = _typed(value, known[name].default, f"{where}: {section}.{name}")
    try:
        return replace(base, **arguments)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _typed(value: Any, default: Any, where: str) -> Any:
    """``value`` as the type of ``default``; an integer becomes a float, a list of integers a tuple."""
    if isinstance(default, float) and type(value) is int and value in FINITE:
        value = float(value)
    if isinstance(default, tuple) and isinstance(value, list) and all(type(item) is int for item in value):
        value = tuple(value)
    finite = type(value) is not float or math.isfinite(value)
    if type(value) is not type(default) or not finite:
        remedy = _as_yaml_number(value, default) if isinstance(value, str) else "correct the value"
        raise InputError(where, found=shown(value), expected=f"a value like {default!r}", remedy=remedy)
    return value


def _as_yaml_number(text: str, default: object) -> str:
    """What to write instead of a number that YAML reads as text: because of quotes, or of ``1e9`` without a point."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if type(default) is int and number.is_integer() and abs(number) <= EXACT:
        written = str(int(number))
    elif type(default) is float and math.isfinite(number):
        mantissa, e, exponent = repr(number).partition("e")
        written = f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"
    else:
        return "correct the value"
    return f"YAML reads {shown(text)[1:-1]} as text: write {written}, without quotes"
