"""report.json: one system on one set, everything a table or a page about it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asr_rescore import __version__
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_text
from asr_rescore.ranking import OperatingPoint
from asr_rescore.word_errors import ErrorCount

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class LmFacts:
    """A language model as a report names it: directory name, hash, parameters, valid perplexity if known."""

    name: str
    hash: str
    parameters: int
    valid_ppl: float | None


@dataclass(frozen=True)
class SystemReport:
    """The outcome of one rescoring.

    Attributes:
        system: the name of the language models.
        decoding: the name of the first pass, that is of its decode directory.
        data: the name of the data directory.
        lms: the models, each with its weight in ``lm_weights``.
        lm_weights: the old LM has one minus their sum.
        point: LMWT and word insertion penalty.
        first_pass_point: those of the first pass.
        source: how the weights came about: see :class:`ChosenWeights`.
        search: how hypotheses were looked for: how many of each utterance, or how lattices were expanded.
        rescored, first_pass: errors at their points, by utterance.
        nbest_oracle: errors of the best hypotheses of the lists; None where there are no lists.
        lattice_oracle: errors of the best paths of the lattices; None where they were not asked for.
        failures: utterance → why it could not be done, or not whole.
    """

    system: str
    decoding: str
    data: str
    lms: tuple[LmFacts, ...]
    lm_weights: tuple[float, ...]
    point: OperatingPoint
    first_pass_point: OperatingPoint
    source: str
    search: str
    rescored: Mapping[str, ErrorCount]
    first_pass: Mapping[str, ErrorCount]
    nbest_oracle: ErrorCount | None
    lattice_oracle: ErrorCount | None
    failures: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__

    def __post_init__(self) -> None:
        if len(self.lms) != len(self.lm_weights):
            raise RescoreError(f"{len(self.lm_weights)} weights of {len(self.lms)} language models")
        if self.rescored.keys() != self.first_pass.keys():
            raise RescoreError("first pass and rescoring were scored on different utterances")

    @property
    def total(self) -> ErrorCount:
        """All errors after rescoring."""
        return sum(self.rescored.values(), ErrorCount())

    @property
    def first_pass_total(self) -> ErrorCount:
        """All errors of the first pass."""
        return sum(self.first_pass.values(), ErrorCount())

    @property
    def tuned_here(self) -> bool:
        """Whether the weights were chosen on this very set, now or before, which makes its figure a little too good."""
        _, tuned, data_dir = self.source.partition("tuned on ")
        return bool(tuned) and Path(data_dir).name == self.data

    @property
    def signature(self) -> str:
        """What the figure depends on, in one line."""
        lms = ", ".join(
            f"{lm.name} {lm.hash[:12]} weight {weight:g}" for lm, weight in zip(self.lms, self.lm_weights, strict=True)
        )
        return f"{lms}; LMWT {self.point.lmwt:g}, WIP {self.point.wip:g}; {self.search}; {self.source}; {self.version}"

    def summary(self) -> str:
        """The result in a few lines."""
        lines = []
        if self.rescored:
            lines.append(f"first pass:     {self.first_pass_total.wer_line()}")
            lines.append(f"rescored:       {self.total.wer_line()}")
        if self.nbest_oracle is not None:
            lines.append(f"N-best oracle:  {self.nbest_oracle.wer_line()}")
        if self.lattice_oracle is not None:
            lines.append(f"lattice oracle: {self.lattice_oracle.wer_line()}")
        lines.append(f"weights:        {self.signature}")
        return "".join(f"{line}\n" for line in lines)

    def save(self, out_dir: Path) -> None:
        """Write report.json, whole or not at all; ``wer`` and ``signature`` are there for other readers."""
        tree = asdict(self)
        total = self.total
        tree["wer"] = round(total.wer, 2) if total.reference_words else None
        tree["signature"] = self.signature
        with atomic_text(out_dir / REPORT_FILE) as stream:
            json.dump(tree, stream, indent=1)
            stream.write("\n")

    @classmethod
    def load(cls, out_dir: Path) -> SystemReport:
        """Read report.json of an out-dir.

        Raises:
            InputError: there is none, or it is another file.
        """
        path = out_dir / REPORT_FILE
        try:
            tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            del tree["wer"], tree["signature"]
            tree["lms"] = tuple(LmFacts(**lm) for lm in tree["lms"])
            tree["lm_weights"] = tuple(tree["lm_weights"])
            for name in ("point", "first_pass_point"):
                tree[name] = OperatingPoint(**tree[name])
            for name in ("rescored", "first_pass"):
                tree[name] = {utt: ErrorCount(**count) for utt, count in tree[name].items()}
            for name in ("nbest_oracle", "lattice_oracle"):
                tree[name] = None if tree[name] is None else ErrorCount(**tree[name])
            return cls(**tree)
        except OSError as error:
            raise InputError(
                path, found=str(error.strerror), expected="the report of a rescoring", remedy="run rescore_nbest first"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, RescoreError) as error:
            raise InputError(
                path,
                found=f"{type(error).__name__}: {error}",
                expected="the report of a rescoring",
                remedy="run rescore_nbest again",
            ) from error
