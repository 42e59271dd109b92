"""How a rescoring searches and what it scores."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Literal, get_args

from asr_rescore.config import NormaliserKind
from asr_rescore.errors import UsageError
from asr_rescore.lattice import ExpansionLimits
from asr_rescore.ranges import COUNT, COUNT_OR_NONE, FINITE, POSITIVE, Range
from asr_rescore.ranking import USUAL_LMWT, OperatingPoint
from asr_rescore.rescoring.lmwt_grid import USUAL, lmwt_grid

WHOLE_LMWT = Range(least=1, most=1000, whole=True)  # each LMWT is scored; Kaldi's scripts go from 7 to 17
CarryOverKind = Literal["none", "speaker", "recording"]


@dataclass(frozen=True)
class RescoringConfig:
    """How the first pass is read and the result is scored. The ``help`` of each field is the command line's."""

    inv_acwt: float = field(
        default=USUAL_LMWT, metadata={"help": "inverse acoustic scale at which hypotheses are chosen"}
    )
    use_phi: bool = field(
        default=False,
        metadata={
            "help": "back off in G.fst or an ARPA file only where a word has no n-gram (#0 is a failure arc), instead "
            "of taking the cheapest path; for lattices that steps/lmrescore.sh rescored"
        },
    )
    normaliser: NormaliserKind = field(
        default="float32",
        metadata={
            "help": "number format of the LMs' normalisers: int8 and bfloat16 (CPU) or float16 (GPU) are faster; "
            "none: for models trained with self_normalization",
            "choices": get_args(NormaliserKind),
        },
    )
    min_lmwt: int = field(default=USUAL[0], metadata={"help": "smallest LMWT to score"})
    max_lmwt: int = field(default=USUAL[-1], metadata={"help": "largest LMWT to score"})
    word_ins_penalty: tuple[float, ...] = field(
        default=(0.0, 0.5, 1.0), metadata={"help": "word insertion penalties to score, separated by commas"}
    )
    lmwt: str = field(
        default="",
        metadata={
            "help": "LMWTs to score, in place of --min-lmwt and --max-lmwt: first:last, first:last:step such as "
            "0.7:1.5:0.1, or numbers separated by commas",
            "metavar": "GRID",
        },
    )
    allow_oov: bool = field(
        default=False, metadata={"help": "rescore even if a language model knows almost none of the lattices' words"}
    )

    def __post_init__(self) -> None:
        POSITIVE.check("`inv_acwt`", self.inv_acwt)
        normalisers = get_args(NormaliserKind)
        if self.normaliser not in normalisers:
            raise UsageError(f"`normaliser` is {self.normaliser}, expected one of {', '.join(normalisers)}")
        for name in ("min_lmwt", "max_lmwt"):
            WHOLE_LMWT.check(f"`{name}`", getattr(self, name))
        if self.min_lmwt > self.max_lmwt:
            raise UsageError(f"`min_lmwt` is {self.min_lmwt} and `max_lmwt` is {self.max_lmwt}, expected min ≤ max")
        if self.lmwt and (self.min_lmwt, self.max_lmwt) != (RescoringConfig.min_lmwt, RescoringConfig.max_lmwt):
            raise UsageError("`lmwt` replaces `min_lmwt` and `max_lmwt`; give it alone")
        _ = self.lmwts  # checks the grid
        if not self.word_ins_penalty or not all(penalty in FINITE for penalty in self.word_ins_penalty):
            raise UsageError(f"`word_ins_penalty` is {self.word_ins_penalty}, expected one finite number or more")

    @property
    def lmwts(self) -> tuple[float, ...]:
        """Every LMWT that is scored, in ascending order."""
        return lmwt_grid(self.lmwt) if self.lmwt else tuple(range(self.min_lmwt, self.max_lmwt + 1))

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """Every LMWT with every word insertion penalty."""
        return tuple(OperatingPoint(lmwt, wip) for wip, lmwt in itertools.product(self.word_ins_penalty, self.lmwts))


@dataclass(frozen=True)
class ListConfig(RescoringConfig):
    """How N-best lists are made and costed."""

    n: int = field(default=1000, metadata={"help": "maximum number of hypotheses per utterance"})
    carry_over: CarryOverKind = field(
        default="none",
        metadata={
            "help": "start each utterance from the LM state after the best hypothesis of the previous one of the same "
            "speaker or recording",
            "choices": get_args(CarryOverKind),
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = get_args(CarryOverKind)
        if self.carry_over not in kinds:
            raise UsageError(f"`carry_over` is {self.carry_over}, expected one of {', '.join(kinds)}")
        COUNT.check("`n`", self.n)


@dataclass(frozen=True)
class LatticeConfig(RescoringConfig):
    """How lattices are expanded; see :class:`ExpansionLimits`."""

    order: int = field(
        default=ExpansionLimits.order, metadata={"help": "n-gram order for merging histories; 0: never merge"}
    )
    beam: float = field(default=ExpansionLimits.beam, metadata={"help": "pruning beam"})
    max_arcs: int = field(default=ExpansionLimits.max_arcs, metadata={"help": "maximum number of arcs of a lattice"})

    def __post_init__(self) -> None:
        super().__post_init__()
        COUNT_OR_NONE.check("`order`", self.order)
        COUNT.check("`max_arcs`", self.max_arcs)
        _ = self.limits  # checks the beam

    @property
    def limits(self) -> ExpansionLimits:
        """The limits of the expansion."""
        return ExpansionLimits(self.order, self.beam, self.max_arcs)
