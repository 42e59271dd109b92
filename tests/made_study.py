"""The results of a small study with made-up perplexities."""

from __future__ import annotations

import json
from pathlib import Path

from asr_rescore.report.study import RegimeResult, StudyConfig, read_results

STUDY = """
regimes: {small: A small text, never: Not run}
baseline: kl
arms: {kl: KL alone, trust: TR, trust_0.3: Stronger TR, ce: CE}
also: [[trust_0.3, trust]]
"""
# (arm, seed) → perplexities on test and valid; CE was not trained.
PPL = {
    ("kl", 1): (100.0, 50.0),
    ("kl", 2): (200.0, 60.0),
    ("kl", 3): (400.0, 70.0),
    ("trust", 1): (99.0, 51.0),
    ("trust", 2): (196.0, 60.0),
    ("trust_0.3", 1): (101.0, 50.0),
    ("trust_0.3", 2): (206.0, 60.0),
    ("trust_0.3", 3): (404.0, 70.0),
}


def make_study(directory: Path) -> Path:
    """Write study.yaml and the results; returns the directory."""
    for (arm, seed), values in PPL.items():
        student = directory / "small" / f"student_{arm}_{seed}"
        student.mkdir(parents=True)
        for text, ppl in zip(("test", "valid"), values, strict=True):
            (student / f"ppl_{text}.json").write_text(json.dumps({"ppl": ppl}))
    (directory / "study.yaml").write_text(STUDY)
    return directory


def results(experiment: Path) -> list[RegimeResult]:
    """What there is to report."""
    return read_results(StudyConfig.read(experiment / "study.yaml"), experiment)


def write_provenance(experiment: Path, name: str, **facts: object) -> None:
    """Write what a student was made from."""
    student = experiment / f"small/student_{name}"
    student.mkdir(exist_ok=True)
    (student / "provenance.json").write_text(json.dumps(facts))
