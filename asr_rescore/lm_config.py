"""Settings of what is done with trained language models; each field's ``help`` is shown on the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from asr_rescore.errors import UsageError
from asr_rescore.ranges import COUNT, COUNT_OR_NONE, FRACTION, NON_NEGATIVE, POSITIVE, SEED, SIZE

DynamicUnits = Literal["relative", "reference"]


@dataclass(frozen=True)
class DynamicConfig:
    """How dynamic evaluation moves the weights: the units of its rates, and the rates in these units.

    ``relative`` rates mean the same for models of every size and training texts of every length. ``reference`` has the
    units of the AWD-LSTM-MoS reference code, in which good rates depend on both (:mod:`asr_rescore.lm.dynamic` has the
    equations of both). :data:`DYNAMIC_PRESETS` names a setting for each.

    Raises:
        UsageError: a value is out of range.
    """

    lr: float = field(
        default=0.005,
        metadata={
            "help": "learning rate: an update along gradients of their usual size lowers the cost by so many nats",
            "metavar": "RATE",
        },
    )
    decay: float = field(
        default=0.005,
        metadata={
            "help": "how far each step moves the weights back to the trained weights, from 0 to 1",
            "metavar": "RATE",
        },
    )
    epsilon: float = field(
        default=0.1,
        metadata={
            "help": "added to the usual size of each gradient before the step is divided by it, so that rarely used "
            "weights do not take large steps; 1 is the mean size over all weights",
            "metavar": "SIZE",
        },
    )
    bptt: int = field(default=5, metadata={"help": "number of tokens between two updates"})
    statistics_batch: int = field(
        default=100, metadata={"help": "parallel streams in which the text for the gradient statistics is read"}
    )
    units: DynamicUnits = "relative"

    def __post_init__(self) -> None:
        if self.units not in get_args(DynamicUnits):
            raise UsageError(f"dynamic evaluation: `units` {self.units!r}, expected relative or reference")
        NON_NEGATIVE.check("dynamic evaluation: `lr`", self.lr)
        FRACTION.check("dynamic evaluation: `decay`", self.decay)
        POSITIVE.check("dynamic evaluation: `epsilon`", self.epsilon)
        SIZE.check("dynamic evaluation: `bptt`", self.bptt)
        SIZE.check("dynamic evaluation: `statistics_batch`", self.statistics_batch)


# Name → setting; reference is exactly that of the AWD-LSTM-MoS reference code for Penn Treebank.
DYNAMIC_PRESETS = {
    "relative": DynamicConfig(),
    "reference": DynamicConfig(units="reference", lr=0.002, decay=0.075, epsilon=0.001),
}


@dataclass(frozen=True)
class SamplingConfig:
    """How text is drawn from a language model.

    Raises:
        UsageError: a value is out of range.
    """

    seed: int = field(default=1, metadata={"help": "seed of the random draws"})
    temperature: float = field(
        default=1.0,
        metadata={"help": "below 1: probable words become more frequent; above 1: the words vary more", "metavar": "T"},
    )
    streams: int = field(default=64, metadata={"help": "number of texts that are drawn in parallel"})
    max_tokens: int = field(default=200, metadata={"help": "number of words after which a sentence is cut"})

    def __post_init__(self) -> None:
        SIZE.check("`streams`", self.streams)
        COUNT.check("`max_tokens`", self.max_tokens)
        POSITIVE.check("`temperature`", self.temperature)
        SEED.check("`seed`", self.seed)


@dataclass(frozen=True)
class CacheConfig:
    """How much of each distribution a teacher's cache keeps.

    A whole distribution takes 2 bytes per word of the vocabulary. With ``top``, the most probable words are kept
    exactly. ``samples`` words are then drawn from the others, and each of them gets an equal part of the others'
    probability. For any student that has not yet read these draws, the expected loss and gradient are those of the
    whole distribution (Anshumann et al. 2025, who sample all words).

    Raises:
        UsageError: a value is out of range.
    """

    top: int = field(
        default=0,
        metadata={"help": "keep the N most probable words of each distribution; 0: all words", "metavar": "N"},
    )
    samples: int = field(
        default=16, metadata={"help": "with --top: number of words drawn from the others", "metavar": "N"}
    )
    streams: int = field(
        default=32,
        metadata={
            "help": "positions of the text that are read in parallel; fewer if the text is short",
            "metavar": "N",
        },
    )
    warmup: int = field(
        default=100,
        metadata={"help": "tokens read before each position, whose distributions are not kept", "metavar": "N"},
    )
    seed: int = field(default=1, metadata={"help": "seed of the random draws", "metavar": "N"})

    def __post_init__(self) -> None:
        COUNT_OR_NONE.check("teacher cache: `top`", self.top)
        COUNT_OR_NONE.check("teacher cache: `warmup`", self.warmup)
        SIZE.check("teacher cache: `streams`", self.streams)
        SIZE.check("teacher cache: `samples`", self.samples)
        SEED.check("teacher cache: `seed`", self.seed)

    def to_dict(self) -> dict[str, int]:
        """Plain values, as JSON takes them."""
        return asdict(self)
