"""weights.yaml: weights tuned on a dev set, to be applied unchanged to an eval set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from asr_rescore.errors import InputError, UsageError
from asr_rescore.files import atomic_text
from asr_rescore.ranges import POSITIVE
from asr_rescore.ranking import OperatingPoint, Weights
from asr_rescore.records import Record, read_yaml
from asr_rescore.tuning import Tuning

WEIGHTS_FILE = "weights.yaml"


@dataclass(frozen=True)
class ChosenWeights:
    """Weights and where they come from.

    Attributes:
        weights: LM weights, LMWT and WIP.
        first_pass: the LMWT and WIP at which the first pass is reported next to them.
        source: ``tuned on <data-dir>``, ``given``, or ``frozen: tuned on <data-dir>``.
        lms: the hash of each model, in the order of its weight.
        data_hash: that of the references they were tuned on; "" if they were given, or tuned by an earlier version.
        no_old_lm: whether they weigh the new LMs against whole graph costs, since the old LM is not known.
    """

    weights: Weights
    first_pass: OperatingPoint
    source: str
    lms: tuple[str, ...]
    data_hash: str = ""
    no_old_lm: bool = False

    @classmethod
    def given(
        cls, lm_weights: Sequence[float], lms: Sequence[str], inv_acwt: float, no_old_lm: bool = False
    ) -> ChosenWeights:
        """Weights given as numbers, at the acoustic scale of the N-best lists and without a word insertion penalty."""
        if len(lm_weights) != len(lms):
            raise UsageError(f"{len(lm_weights)} `lm_weight` for {len(lms)} language models, expected one for each")
        point = OperatingPoint(inv_acwt)
        return cls(Weights(tuple(lm_weights), point), point, "given", tuple(lms), no_old_lm=no_old_lm)

    @classmethod
    def tuned(
        cls,
        tuning: Tuning,
        lms: Sequence[str],
        data_dir: Path,
        references: Mapping[str, Sequence[str]],
        no_old_lm: bool = False,
    ) -> ChosenWeights:
        """The result of a grid search on ``data_dir``, with its references (utterance → words)."""
        source = f"tuned on {data_dir}"
        return cls(tuning.weights, tuning.first_pass, source, tuple(lms), data_hash(references), no_old_lm)

    def are_tuned_on(self, data_dir: Path, references: Mapping[str, Sequence[str]]) -> bool:
        """Whether these weights were tuned on just this data, whatever its directory is called.

        If weights.yaml of an earlier version has no hash of the data, the directories are compared.
        """
        if self.data_hash:
            return self.data_hash == data_hash(references)
        _, tuned, tuned_on = self.source.partition("tuned on ")
        return bool(tuned) and Path(tuned_on).resolve() == data_dir.resolve()

    def points_to_score(self, grid: tuple[OperatingPoint, ...]) -> tuple[OperatingPoint, ...]:
        """The points of the grid, and the two points of these weights, which may be off the grid."""
        return grid + tuple({self.weights.point, self.first_pass} - set(grid))

    def save(self, path: Path) -> None:
        """Write weights.yaml."""
        tree = {
            "source": self.source,
            "data_hash": self.data_hash,
            "lms": [{"hash": lm, "weight": weight} for lm, weight in zip(self.lms, self.weights.lm, strict=True)],
            "lmwt": self.weights.point.lmwt,
            "wip": self.weights.point.wip,
            "first_pass": {"lmwt": self.first_pass.lmwt, "wip": self.first_pass.wip},
            "no_old_lm": self.no_old_lm,
        }
        with atomic_text(path) as stream:
            yaml.safe_dump(tree, stream, sort_keys=False)

    @classmethod
    def load(cls, path: Path, lms: Sequence[str] | None) -> ChosenWeights:
        """Read weights.yaml.

        Args:
            path: the file, or the output directory that holds it.
            lms: the hashes of the models that will be weighed; None if the weights are already in the lattices.

        Raises:
            InputError: the file is missing or damaged, or has the weights of other models.
        """
        if path.is_dir():
            path = path / WEIGHTS_FILE
        remedy = "rescore a dev set, tuning the weights there, and give its weights.yaml"
        kind = "weights of an earlier rescoring"
        tree = Record.of(read_yaml(path, kind, remedy), str(path), kind, remedy)
        first_pass = tree.record("first_pass")
        models = tree.records("lms")
        chosen = cls(
            tree.valid("lms", lambda: Weights(tuple(model.number("weight") for model in models), _point(tree))),
            _point(first_pass),
            "frozen: " + tree.text("source").removeprefix("frozen: "),
            tuple(model.text("hash") for model in models),
            tree.text("data_hash") if "data_hash" in tree else "",
            "no_old_lm" in tree and tree.flag("no_old_lm"),
        )
        if lms is not None and chosen.lms != tuple(lms):
            raise InputError(
                path,
                found="weights of models " + (", ".join(lm[:12] for lm in chosen.lms) or "(none)"),
                expected="those of models " + ", ".join(lm[:12] for lm in lms) + ", which were given",
                remedy="give the models that the weights were tuned with, or tune again",
            )
        return chosen

    def check_old_lm(self, path: Path, no_old_lm: bool) -> None:
        """Refuse weights of a rescoring that knew the old LM for one that does not, and the other way round.

        Raises:
            InputError: ``no_old_lm`` is not that of the rescoring of which the weights are.
        """
        if self.no_old_lm == no_old_lm:
            return
        raise InputError(
            path,
            found=f"weights of a rescoring {'with' if self.no_old_lm else 'without'} `no_old_lm`",
            expected=f"those of one {'with' if no_old_lm else 'without'} it",
            remedy="give `no_old_lm` both when you tune weights and when you apply them, or not at all",
        )


def _point(record: Record) -> OperatingPoint:
    return OperatingPoint(record.number("lmwt", POSITIVE), record.number("wip"))


def data_hash(references: Mapping[str, Sequence[str]]) -> str:
    """A hash of references: the digest of a fingerprint of them, computed reference by reference."""
    digest = hashlib.sha256(b'{"references": {')
    for number, utt in enumerate(sorted(references)):
        comma = ", " if number else ""
        digest.update((comma + json.dumps({utt: " ".join(references[utt])})[1:-1]).encode())
    digest.update(b"}}")
    return digest.hexdigest()
