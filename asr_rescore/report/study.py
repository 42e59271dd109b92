"""A comparison of training objectives by students that are paired by their seeds, under several regimes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import mean
from typing import Any

from asr_rescore.records import Record, read_yaml
from asr_rescore.report.study_regime import TEXTS, Measure, Regime
from asr_rescore.report.study_students import (
    ALIKE,
    check_pairs,
    check_seeds,
    check_starts,
    has_provenance,
    is_unchanged,
    students,
)
from asr_rescore.report.table import NOTHING, markdown
from asr_rescore.statistics.matched_pairs import holm, shown_p
from asr_rescore.statistics.paired_differences import PairedDifferences, pair_up


@dataclass(frozen=True)
class StudyConfig:
    """What is compared.

    Attributes:
        regimes: directory → regime. The model of an arm and a seed is in ``<directory>/student_<arm>_<seed>``.
        arms: name → label of each objective.
        baseline: the arm that all others are compared with.
        also: further pairs of arms to compare, the second one as the baseline.
        differ: arm → in what else than its objective it may differ from the others, such as ``train``: see
            :data:`~asr_rescore.report.study_students.ALIKE`.
    """

    regimes: Mapping[str, Regime]
    arms: Mapping[str, str]
    baseline: str
    also: tuple[tuple[str, str], ...] = ()
    differ: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> StudyConfig:
        """Read the YAML file of a study.

        Raises:
            InputError: the file is missing or has another form.
        """
        kind = "a study: regimes, arms, baseline, also and differ"
        remedy = "see recipes/ptb/conf/study/study.yaml"
        tree = Record.of(read_yaml(path, kind, remedy), str(path), kind, remedy)
        for name in tree.values:
            if name not in (known := [entry.name for entry in fields(cls)]):
                tree.refuse(name, "none but " + ", ".join(known))
        arms = tree.texts_by_name("arms")
        baseline = tree.text("baseline")
        if baseline not in arms:
            tree.refuse("baseline", "one of the arms")
        also: list[tuple[str, str]] = []
        for pair in tree.items("also") if "also" in tree else []:
            if (
                not isinstance(pair, list)
                or len(pair) != 2
                or not all(isinstance(arm, str) and arm in arms for arm in pair)
            ):
                tree.refuse("also", "pairs of arms")
            # Every comparison counts in Holm's correction, so a needless one makes the others look weaker.
            if pair[0] == pair[1] or baseline in pair or set(pair) in map(set, also):
                tree.refuse("also", "pairs of two arms that are compared only once")
            also.append((pair[0], pair[1]))
        regimes = tree.record("regimes")
        return cls(
            {name: Regime.read(regimes, name) for name in regimes.values},
            arms,
            baseline,
            tuple(also),
            _read_differences(tree, arms) if "differ" in tree else {},
        )

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """The arms that are compared, each with the one that it is compared with."""
        return [*((arm, self.baseline) for arm in self.arms if arm != self.baseline), *self.also]


def _read_differences(tree: Record, arms: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    differ = tree.record("differ")
    for arm in differ.values:
        if arm not in arms:
            differ.refuse(arm, "one of the arms")
        if not {*differ.texts(arm)} <= ALIKE.keys():
            differ.refuse(arm, "some of " + ", ".join(ALIKE))
    return {arm: differ.texts(arm) for arm in differ.values}


@dataclass(frozen=True)
class ComparedArm:
    """The students of one arm next to those of another with the same seeds.

    Attributes:
        label: what is compared.
        seeds: the seeds that both arms have.
        mean: mean perplexity or word error rate of the arm on test over these seeds.
        changes: test or valid → by how much the arm differs from the other one, for each seed, in the measure's unit.
        sentences: differences in word errors, one for each sentence of test; None for perplexities.
        p: of the change on test, corrected by Holm for all comparisons of the regime.
    """

    label: str
    seeds: tuple[str, ...]
    mean: float
    changes: Mapping[str, PairedDifferences]
    sentences: PairedDifferences | None = None
    p: float = math.nan

    @property
    def test(self) -> PairedDifferences:
        """The changes on test."""
        return self.changes["test"]


@dataclass(frozen=True)
class RegimeResult:
    """All comparisons under one regime.

    Attributes:
        regime: what is compared.
        baseline: label of the baseline, and its mean perplexity or word error rate on test.
        arms: the comparisons for which there are results.
    """

    regime: Regime
    baseline: tuple[str, float]
    arms: tuple[ComparedArm, ...]


def read_results(config: StudyConfig, experiment: Path) -> list[RegimeResult]:
    """The results of all regimes that have any.

    Args:
        config: what is compared.
        experiment: the directory that contains those of the regimes. In each model directory, ``compute_ppl --json``
            left ``ppl_{valid,test}.json``, or a rescoring its own directory.

    Raises:
        InputError: a result is damaged, a pair is not alike in text, vocabulary, start, seed and teachers, or word
            error rates cannot be compared.
    """
    found = (_compared(config, experiment / name, regime) for name, regime in config.regimes.items())
    return [result for result in found if result.arms]


def _compared(config: StudyConfig, directory: Path, regime: Regime) -> RegimeResult:
    found = {arm: students(directory, arm) for arm in config.arms}
    regime.check_alike(student for by_seed in found.values() for student in by_seed.values())
    values = {arm: {text: _finite(regime, found[arm], text) for text in TEXTS} for arm in config.arms}
    finished = {arm: [found[arm][seed] for seed in values[arm]["test"]] for arm in config.arms}
    check_starts(student for of_an_arm in finished.values() for student in of_an_arm)
    for of_an_arm in finished.values():
        check_seeds(of_an_arm)
    compared = []
    for arm, other in config.comparisons:
        pairs = {text: pair_up(values[arm][text], values[other][text]) for text in TEXTS}
        seeds = tuple(seed for seed in pairs["test"] if seed in pairs["valid"])
        if not seeds:
            continue
        changes = {text: regime.measure.compare([pairs[text][seed] for seed in seeds]) for text in TEXTS}
        label = config.arms[arm]
        if other != config.baseline:
            label += f", compared with {config.arms[other]}"
        both = [(found[arm][seed], found[other][seed]) for seed in seeds]
        check_pairs(both, {*config.differ.get(arm, ()), *config.differ.get(other, ())})
        sentences = regime.over_sentences(both)
        compared.append(ComparedArm(label, seeds, mean(pairs["test"][seed][0] for seed in seeds), changes, sentences))
    testable = [number for number, arm in enumerate(compared) if not math.isnan(arm.test.p)]
    for number, p in zip(testable, holm([compared[number].test.p for number in testable]), strict=True):
        compared[number] = replace(compared[number], p=p)
    of_baseline = list(values[config.baseline]["test"].values())
    return RegimeResult(
        regime, (config.arms[config.baseline], mean(of_baseline) if of_baseline else math.nan), tuple(compared)
    )


def useless_students(config: StudyConfig, experiment: Path) -> list[Path]:
    """The results that no comparison counts, since their perplexity is infinite or missing.

    Raises:
        InputError: a result is damaged.
    """
    found = []
    for name, regime in config.regimes.items():
        for arm in config.arms:
            for student in students(experiment / name, arm).values():
                for text in TEXTS:
                    value = regime.value(student, text)
                    if value is not None and not math.isfinite(value):
                        found += regime.result_paths(student, text)
    return sorted(found)


def unchanged_students(config: StudyConfig, experiment: Path) -> list[Path]:
    """The students that are still the model they began with, because no epoch was better.

    Raises:
        InputError: the provenance of a student is damaged.
    """
    found = (students(experiment / name, arm).values() for name in config.regimes for arm in config.arms)
    return sorted(student for group in found for student in group if is_unchanged(student))


def unknown_students(config: StudyConfig, experiment: Path) -> list[Path]:
    """The students without a provenance, of which nobody can tell whether they are alike.

    Raises:
        InputError: a provenance is damaged.
    """
    found = (students(experiment / name, arm).values() for name in config.regimes for arm in config.arms)
    return sorted(student for group in found for student in group if not has_provenance(student))


def _finite(regime: Regime, by_seed: Mapping[str, Path], text: str) -> dict[str, float]:
    """Seed → perplexity or word error rate of the finished students of an arm, if it is finite."""
    values = {seed: regime.value(student, text) for seed, student in by_seed.items()}
    return {seed: value for seed, value in values.items() if value is not None and math.isfinite(value)}


def to_markdown(results: Sequence[RegimeResult]) -> str:
    """A table of differences for each regime, then one of the differences of each seed."""
    return "\n".join(line for result in results for line in _lines(result))


def _lines(result: RegimeResult) -> Iterator[str]:
    label, value = result.baseline
    measure = result.regime.measure
    rows = [
        [
            arm.label,
            str(len(arm.seeds)),
            f"{arm.mean:.2f}",
            f"{arm.test.mean:+.2f}",
            _interval(arm.test),
            *([_number(arm.sentences.half_width, ".2f")] if arm.sentences else []),
            NOTHING if math.isnan(arm.p) else shown_p(arm.p).removeprefix("= "),
            _number(arm.test.detectable, ".2f"),
            f"{arm.changes['valid'].mean:+.2f}",
        ]
        for arm in result.arms
    ]
    yield f"### {result.regime.title}\n"
    yield (
        f"Compared with {label}, which has a mean test {measure.long_name} of {value:.2f}{measure.percent}, "
        f"in {measure.of_what}.{result.regime.explanation()}\n"
    )
    yield markdown([measure.header(), *rows])
    seeds = sorted({seed for arm in result.arms for seed in arm.seeds}, key=lambda seed: (len(seed), seed))
    each = []
    for arm in result.arms:
        by_seed = dict(zip(arm.seeds, arm.test.values, strict=True))
        each.append([arm.label, *(f"{by_seed[seed]:+.2f}" if seed in by_seed else NOTHING for seed in seeds)])
    yield f"Difference on test in {measure.key}, for each seed:\n"
    yield markdown([["objective", *seeds], *each])


def _interval(differences: PairedDifferences) -> str:
    if math.isnan(differences.half_width):
        return NOTHING
    return "{:+.2f} … {:+.2f}".format(*differences.interval)


def _number(value: float, form: str) -> str:
    return NOTHING if math.isnan(value) else format(value, form)


def to_json(results: Sequence[RegimeResult]) -> list[dict[str, Any]]:
    """The same as plain values; what one pair cannot tell is None."""
    return [
        {
            "regime": result.regime.title,
            "measure": result.regime.measure.name,
            "baseline": result.baseline[0],
            f"baseline_test_{result.regime.measure.name}": _plain(result.baseline[1]),
            "comparisons": [_arm_to_json(arm, result.regime.measure) for arm in result.arms],
        }
        for result in results
    ]


def _arm_to_json(arm: ComparedArm, measure: Measure) -> dict[str, Any]:
    return {
        "objective": arm.label,
        "seeds": list(arm.seeds),
        f"test_{measure.name}": arm.mean,
        "p_holm": _plain(arm.p),
        **({"half_interval_of_sentences": _plain(arm.sentences.half_width)} if arm.sentences else {}),
        **{
            text: {
                measure.key: list(changes.values),
                "mean": changes.mean,
                "deviation": _plain(changes.deviation),
                "interval": [_plain(end) for end in changes.interval],
                "p": _plain(changes.p),
                "detectable": _plain(changes.detectable),
            }
            for text, changes in arm.changes.items()
        },
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
