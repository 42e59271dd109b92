"""The outcome of one system on one data set, and report.json, which keeps it for tables and pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from asr_rescore import __version__
from asr_rescore.errors import RescoreError
from asr_rescore.files import atomic_text
from asr_rescore.ranges import POSITIVE
from asr_rescore.ranking import OperatingPoint
from asr_rescore.records import Record, read_json
from asr_rescore.report.list_depth import AtDepth, read_depths
from asr_rescore.report.warning import LmFit, OovCount, ReportWarning
from asr_rescore.word_errors import ErrorCount

REPORT_FILE = "report.json"
FOR_OTHERS = ("wer", "signature")  # keys that are written for other readers


@dataclass(frozen=True)
class LmFacts:
    """What a report says about a language model.

    Attributes:
        name: name of its directory.
        hash: SHA-256 (hex) of the model.
        parameters: number of its parameters.
        valid_ppl: perplexity of the valid text; None if unknown.
        directory: its directory as an absolute path; empty in reports of earlier versions.
    """

    name: str
    hash: str
    parameters: int
    valid_ppl: float | None
    directory: str = ""


@dataclass(frozen=True)
class CharacterErrors:
    """Character errors after rescoring, and of the first pass."""

    rescored: ErrorCount
    first_pass: ErrorCount


@dataclass(frozen=True)
class SystemReport:
    """The outcome of one rescoring.

    Attributes:
        system: name of the system, from its language models.
        decoding: name of the first pass, that is of its decode directory.
        data: name of the data directory.
        lms: the neural language models.
        lm_weights: the weight of each model in ``lms``; the weight of the old LM is one minus their sum.
        point: LMWT and word insertion penalty of the rescoring.
        first_pass_point: LMWT and word insertion penalty of the first pass.
        source: how the weights were chosen; see :class:`~asr_rescore.rescoring.weights.ChosenWeights`.
        search: how hypotheses were found: the size of the N-best lists, or the limits of the lattice expansion.
        rescored, first_pass: utterance → errors; both are empty if there are no references.
        nbest_oracle: errors of the best hypotheses in the N-best lists; None if there are no lists.
        lattice_oracle: errors of the best paths in the lattices; None if they were not computed.
        failures: utterance → reason why it could not be rescored, or only in part.
        oov: for each language model, how many words of the first pass's hypotheses it does not know.
        fits: for each language model, how likely it finds the first pass's hypotheses; empty if the old LM is not
            known, and in reports of earlier versions.
        warnings: reasons to doubt the result although nothing failed.
        tuned_here: whether the weights were tuned on this same data set, so that the WER is a little too good.
        scoring: the filters of references and hypotheses; empty if they were compared as they are.
        characters: character errors; None if they were not counted.
        speakers: utterance → speaker, for statistics by speaker; empty in reports of earlier versions.
        depths: the errors by the number of hypotheses considered; empty without lists, and in reports of earlier
            versions.
        data_dir: the data directory as an absolute path; empty in reports of earlier versions.
        version: the version of asr_rescore.

    Raises:
        RescoreError: the weights do not match the models, or first pass and rescoring have different utterances.
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
    oov: tuple[OovCount, ...] = ()
    warnings: tuple[ReportWarning, ...] = ()
    tuned_here: bool = False
    scoring: str = ""
    characters: CharacterErrors | None = None
    speakers: Mapping[str, str] = field(default_factory=dict)
    depths: tuple[AtDepth, ...] = ()
    fits: tuple[LmFit, ...] = ()
    data_dir: str = ""
    version: str = __version__

    def __post_init__(self) -> None:
        if len(self.lms) != len(self.lm_weights):
            raise RescoreError(f"found {len(self.lm_weights)} weights for {len(self.lms)} language models")
        if self.rescored.keys() != self.first_pass.keys():
            raise RescoreError("first pass and rescoring were scored on different utterances")

    @property
    def total(self) -> ErrorCount:
        """The sum of the errors after rescoring."""
        return ErrorCount.total(self.rescored.values())

    @property
    def first_pass_total(self) -> ErrorCount:
        """The sum of the errors of the first pass."""
        return ErrorCount.total(self.first_pass.values())

    @property
    def signature(self) -> str:
        """Everything that the WER depends on, in one line."""
        lms = ", ".join(
            f"{lm.name} {lm.hash[:12]} weight {weight:g}" for lm, weight in zip(self.lms, self.lm_weights, strict=True)
        )
        parts = [lms, f"LMWT {self.point.lmwt:g}, WIP {self.point.wip:g}", self.search, self.source, self.scoring]
        if self.characters is not None:
            parts.append("characters")
        return "; ".join([*filter(None, parts), self.version])

    @property
    def first_pass_operation(self) -> str:
        """LMWT and word insertion penalty of the first pass, and how they were chosen: as the weights were."""
        return f"LMWT {self.first_pass_point.lmwt:g}, WIP {self.first_pass_point.wip:g}; {self.source}"

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """One line for each known error rate, for the weights of both passes, and for OOV words if there are any.

        If the weights were tuned on this very set, a line says so.
        """
        lines = []
        if self.rescored:
            lines.append(f"first pass:     {self.first_pass_total.wer_line()}")
            lines.append(f"rescored:       {self.total.wer_line()}")
        if self.nbest_oracle is not None:
            lines.append(f"N-best oracle:  {self.nbest_oracle.wer_line()}")
        if self.lattice_oracle is not None:
            lines.append(f"lattice oracle: {self.lattice_oracle.wer_line()}")
        if self.characters is not None:
            lines.append(f"first pass:     {self.characters.first_pass.wer_line('CER')}")
            lines.append(f"rescored:       {self.characters.rescored.wer_line('CER')}")
        lines.append(f"weights:        {self.signature}")
        if self.scoring:
            lines.append(f"scoring:        {self.scoring}")
        lines.append(f"first pass at:  {self.first_pass_operation}")
        if self.tuned_here and self.rescored:
            lines.append("tuned here:     yes, on this very set, so the rates of both passes are a little too good")
        lines += [f"OOV words:      {count}" for count in self.oov if count.oov_tokens]
        return "\n".join(lines)

    def save(self, out_dir: str | Path) -> None:
        """Write report.json. Its keys ``wer`` and ``signature`` are only for other readers."""
        # Values become dicts one by one as they are written: all counts at once would be the largest thing in memory.
        tree = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        total = self.total
        tree["wer"] = round(total.wer, 2) if total.reference_words else None
        tree["signature"] = self.signature
        with atomic_text(Path(out_dir) / REPORT_FILE) as stream:
            json.dump(tree, stream, indent=1, default=_plain)
            stream.write("\n")

    @classmethod
    def load(cls, out_dir: str | Path) -> SystemReport:
        """Read report.json from the output directory of a rescoring.

        Raises:
            InputError: the file is missing or is not a report.
        """
        path = Path(out_dir) / REPORT_FILE
        tree = read_json(path, "the report of a rescoring", "run rescore_nbest or rescore_lattice again")
        known = {*(entry.name for entry in fields(cls)), *FOR_OTHERS}
        for name in tree.values:
            if name not in known:
                tree.refuse(name, "none but the keys")
        return tree.valid(
            "",
            lambda: cls(
                system=tree.text("system"),
                decoding=tree.text("decoding"),
                data=tree.text("data"),
                lms=tuple(_lm_facts(lm) for lm in tree.records("lms")),
                lm_weights=tree.numbers("lm_weights"),
                point=_point(tree.record("point")),
                first_pass_point=_point(tree.record("first_pass_point")),
                source=tree.text("source"),
                search=tree.text("search"),
                rescored=_counts_by_utterance(tree.record("rescored")),
                first_pass=_counts_by_utterance(tree.record("first_pass")),
                nbest_oracle=_count(tree.record("nbest_oracle")) if "nbest_oracle" in tree else None,
                lattice_oracle=_count(tree.record("lattice_oracle")) if "lattice_oracle" in tree else None,
                failures=tree.texts_by_name("failures"),
                oov=tuple(_oov(count) for count in tree.records("oov")) if "oov" in tree else (),
                warnings=tuple(_warning(warning) for warning in tree.records("warnings")) if "warnings" in tree else (),
                tuned_here=tree.flag("tuned_here") if "tuned_here" in tree else _tuned_on_its_name(tree),
                scoring=tree.text("scoring") if "scoring" in tree else "",
                characters=_characters(tree.record("characters")) if "characters" in tree else None,
                speakers=tree.texts_by_name("speakers") if "speakers" in tree else {},
                depths=read_depths(tree.records("depths")) if "depths" in tree else (),
                fits=tuple(_fit(fit) for fit in tree.records("fits")) if "fits" in tree else (),
                data_dir=tree.text("data_dir") if "data_dir" in tree else "",
                version=tree.text("version"),
            ),
        )


def _tuned_on_its_name(tree: Record) -> bool:
    """What the report of an earlier version tells of ``tuned_here``: only the names of the two directories."""
    _, tuned, data_dir = tree.text("source").partition("tuned on ")
    return bool(tuned) and Path(data_dir).name == tree.text("data")


def _plain(value: Any) -> dict[str, Any]:
    """A value of a report, or a mapping in it, as a dict."""
    return dict(value) if isinstance(value, Mapping) else asdict(value)


def _lm_facts(lm: Record) -> LmFacts:
    ppl = lm.number("valid_ppl", POSITIVE) if "valid_ppl" in lm else None
    directory = lm.text("directory") if "directory" in lm else ""
    return LmFacts(lm.text("name"), lm.text("hash"), lm.integer("parameters"), ppl, directory)


def _point(record: Record) -> OperatingPoint:
    return OperatingPoint(record.number("lmwt", POSITIVE), record.number("wip"))


def _counts_by_utterance(record: Record) -> dict[str, ErrorCount]:
    return {utt: _count(record.record(utt)) for utt in record.values}


def _count(record: Record) -> ErrorCount:
    return record.valid("", lambda: ErrorCount(*(record.integer(count.name) for count in fields(ErrorCount))))


def _characters(record: Record) -> CharacterErrors:
    return CharacterErrors(_count(record.record("rescored")), _count(record.record("first_pass")))


def _oov(record: Record) -> OovCount:
    counts = {name: record.integer(name) for name in ("tokens", "oov_tokens", "words", "oov_words")}
    return OovCount(record.text("lm"), **counts)


def _fit(record: Record) -> LmFit:
    return LmFit(record.text("lm"), record.number("ppl", POSITIVE), record.number("old_ppl", POSITIVE))


def _warning(record: Record) -> ReportWarning:
    numbers = record.record("numbers")
    return ReportWarning(
        record.text("code"), record.text("text"), {name: numbers.number(name) for name in numbers.values}
    )
