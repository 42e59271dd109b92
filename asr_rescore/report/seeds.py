"""Systems that are the same model trained with several seeds: how much their error rates differ by chance."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import mean, stdev
from typing import Any

from asr_rescore.fingerprint import PROVENANCE_FILE, Fingerprint
from asr_rescore.records import read_json
from asr_rescore.report.table import Comparison, FirstPass
from asr_rescore.statistics.student_t import t_quantile

SEED = "seed"
# What may differ between two trainings that are the same but for the seed.
UNLIKE = (SEED, "version", "torch", "python", "revision", "command", "epoch", "valid_ppl", "parameters")


@dataclass(frozen=True)
class Training:
    """How a model was trained.

    Attributes:
        seed: of the random numbers.
        recipe: a digest of all else: configs, texts, vocabulary, teacher.
    """

    seed: int
    recipe: str


@dataclass(frozen=True)
class Spread:
    """Some error rates of the same set in percent, one for each seed.

    Attributes:
        rates: in the order of the group's systems; at least two.
    """

    rates: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return mean(self.rates)

    @property
    def deviation(self) -> float:
        """The standard deviation of the seeds, with n − 1."""
        return stdev(self.rates)

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval of the mean over seeds, by Student's t."""
        n = len(self.rates)
        return t_quantile(0.975, n - 1) * self.deviation / math.sqrt(n)


@dataclass(frozen=True)
class SeedGroup:
    """The same model with several seeds.

    Attributes:
        name: what the names of its systems have in common.
        systems: the systems.
        seeds: the seed of each system; of the first of its models that differ.
        spreads: first pass → error rates, where all systems were run.
        tuned_here: the first passes on which the weights of one of them were tuned.
    """

    name: str
    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    spreads: Mapping[FirstPass, Spread]
    tuned_here: frozenset[FirstPass]

    def mean_text(self, where: FirstPass) -> str:
        """The mean on a first pass with half of its interval."""
        spread = self.spreads[where]
        star = "*" if where in self.tuned_here else ""
        return f"{spread.mean:.2f}{star} ± {spread.half:.2f}"

    def text(self, where: FirstPass) -> str:
        """The error rates on a first pass in one line."""
        spread = self.spreads[where]
        return (
            f"{self.mean_text(where)}, standard deviation {spread.deviation:.2f}, "
            f"{min(spread.rates):.2f} to {max(spread.rates):.2f}"
        )


def read_training(lm_dir: Path) -> Training | None:
    """How the model of a directory was trained; None if nothing tells its seed.

    Raises:
        InputError: its provenance is damaged.
    """
    path = lm_dir / PROVENANCE_FILE
    if not path.exists():
        return None
    facts = read_json(path, "the provenance of a model", "copy the file again").values
    if not isinstance(facts.get(SEED), int):
        return None
    return Training(facts[SEED], Fingerprint(_without_seeds(facts)).digest)


def _without_seeds(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in UNLIKE}


def seed_groups(comparison: Comparison, trainings: Mapping[str, Training]) -> list[SeedGroup]:
    """The systems that differ only in the seeds of their models.

    Args:
        comparison: the systems.
        trainings: name of a language model → how it was trained; systems with other models are in no group.
    """
    groups: dict[tuple[object, ...], dict[str, tuple[int, ...]]] = {}
    for (system, _), report in comparison.cells.items():
        if all(lm.name in trainings for lm in report.lms):
            models = [trainings[lm.name] for lm in report.lms]
            key = (*(model.recipe for model in models), report.search)
            groups.setdefault(key, {})[system] = tuple(model.seed for model in models)
    found = []
    for systems in groups.values():
        if len(set(systems.values())) == len(systems) > 1:
            found.append(_group(comparison, systems))
    return found


def _group(comparison: Comparison, systems: Mapping[str, tuple[int, ...]]) -> SeedGroup:
    everywhere = [where for first_passes in comparison.sets.values() for where in first_passes]
    shared = [where for where in everywhere if all((system, where) in comparison.cells for system in systems)]
    cells = {where: [comparison.cells[system, where] for system in systems] for where in shared}
    return SeedGroup(
        _common_name(systems),
        tuple(systems),
        tuple(seeds[0] for seeds in systems.values()),
        {where: Spread(tuple(report.total.wer for report in reports)) for where, reports in cells.items()},
        frozenset(where for where, reports in cells.items() if any(report.tuned_here for report in reports)),
    )


def _common_name(systems: Iterable[str]) -> str:
    names = list(systems)
    last = {PurePath(name).name for name in names}
    if len(last) == 1 < len(names):  # models whose directories have one name
        return last.pop()
    return os.path.commonprefix(names).rstrip("_-+., 0123456789") or names[0]


def seed_lines(comparison: Comparison, groups: Iterable[SeedGroup]) -> Iterator[str]:
    """One line for each group and first pass."""
    for group in groups:
        seeds = f"{group.name}, {len(group.systems)} seeds ({', '.join(map(str, group.seeds))})"
        for where in group.spreads:
            yield f"{seeds}, {comparison.label(where)}: {group.text(where)}"
