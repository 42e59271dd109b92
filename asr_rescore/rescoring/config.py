"""Options of a rescoring run, and which part of it one job does."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from asr_rescore.errors import UsageError
from asr_rescore.lattice import ExpansionLimits
from asr_rescore.ranking import OperatingPoint


@dataclass(frozen=True)
class FirstPassConfig:
    """How a first pass is read and the result scored. The ``help`` of each field is the command line's."""

    inv_acwt: float = field(default=12.0, metadata={"help": "inverse acoustic scale at which hypotheses are chosen"})
    use_phi: bool = field(
        default=False, metadata={"help": "remove the old LM with #0 as failure arc, not by its best path"}
    )
    normaliser: str = field(
        default="float32",
        metadata={
            "help": "of neural LMs: float32; faster: int8, bfloat16, on a GPU float16; none: if trained with "
            "self_normalization"
        },
    )
    min_lmwt: int = field(default=7, metadata={"help": "smallest LMWT scored"})
    max_lmwt: int = field(default=17, metadata={"help": "largest LMWT scored"})
    word_ins_penalty: tuple[float, ...] = field(
        default=(0.0, 0.5, 1.0), metadata={"help": "word insertion penalties scored, e.g. 0.0,0.5,1.0"}
    )

    def __post_init__(self) -> None:
        if not self.inv_acwt > 0:
            raise UsageError(f"--inv-acwt is {self.inv_acwt}, expected a number above 0")
        normalisers = ("float32", "int8", "bfloat16", "float16", "none")
        if self.normaliser not in normalisers:
            raise UsageError(f"--normaliser is {self.normaliser}, expected one of {', '.join(normalisers)}")
        if not 1 <= self.min_lmwt <= self.max_lmwt:
            raise UsageError(
                f"--min-lmwt {self.min_lmwt} and --max-lmwt {self.max_lmwt}, expected 1 or more and in this order"
            )
        if not self.word_ins_penalty:
            raise UsageError("--word-ins-penalty is empty, expected one number or more")

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """Every LMWT with every word insertion penalty."""
        lmwts = range(self.min_lmwt, self.max_lmwt + 1)
        return tuple(OperatingPoint(lmwt, wip) for wip, lmwt in itertools.product(self.word_ins_penalty, lmwts))


@dataclass(frozen=True)
class ListConfig(FirstPassConfig):
    """How N-best lists are made and weighed."""

    n: int = field(default=1000, metadata={"help": "hypotheses of an utterance at most"})
    carry_over: str = field(
        default="none",
        metadata={"help": "start from the best of the one before of the same speaker or recording, or of none"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.carry_over not in ("none", "speaker", "recording"):
            raise UsageError(f"--carry-over is {self.carry_over}, expected none, speaker or recording")
        if self.n < 1:
            raise UsageError(f"--n is {self.n}, expected 1 or more")


@dataclass(frozen=True)
class LatticeConfig(FirstPassConfig):
    """How lattices are expanded and weighed; see :class:`ExpansionLimits`."""

    order: int = field(
        default=ExpansionLimits.order,
        metadata={"help": "histories with the same last words, one fewer than this, are one; 0: none are"},
    )
    beam: float = field(
        default=ExpansionLimits.beam, metadata={"help": "what looks so much dearer than the best is left out"}
    )
    max_arcs: int = field(default=ExpansionLimits.max_arcs, metadata={"help": "of a rescored lattice"})

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.limits  # which checks itself

    @property
    def limits(self) -> ExpansionLimits:
        """Those of the expansion."""
        return ExpansionLimits(self.order, self.beam, self.max_arcs)


@dataclass(frozen=True)
class Job:
    """One of ``jobs`` equal parts of a decode directory, as Kaldi's ``$cmd JOB=1:$nj`` hands them out."""

    job: int
    jobs: int

    def __post_init__(self) -> None:
        if not 1 <= self.job <= self.jobs:
            raise UsageError(f"--job {self.job} of --nj {self.jobs}, expected a job from 1 to nj")

    def parts(self, files: int) -> list[tuple[int, int, int]]:
        """Which entries of lat.1.gz … lat.``files``.gz are this job's.

        Returns:
            (file number, offset, step): entries offset, offset + step, … of that file. Where there are more jobs
            than files, several jobs take turns in one file, and each reads only that.
        """
        if self.jobs <= files:
            return [(number, 0, 1) for number in range(self.job, files + 1, self.jobs)]
        number = (self.job - 1) % files + 1
        taking_turns = range(number, self.jobs + 1, files)
        return [(number, taking_turns.index(self.job), len(taking_turns))]
