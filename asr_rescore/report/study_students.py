"""The students of a study: where they are, and what they were made from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from asr_rescore.errors import InputError
from asr_rescore.fingerprint import PROVENANCE_FILE
from asr_rescore.records import read_json

# Facts of the provenance in which the students of a pair are alike. Their configs are what a study compares.
ALIKE = {
    "vocabulary": "a vocabulary",
    "train": "a training text",
    "valid": "a valid text",
    "seed": "a seed",
    "init": "a start (--init)",
    "teachers": "teachers",
}


def students(directory: Path, arm: str) -> dict[str, Path]:
    """Seed → directory of the students of an arm."""
    found = {path.name.removeprefix(f"student_{arm}_"): path for path in directory.glob(f"student_{arm}_*")}
    return {
        seed: path for seed, path in found.items() if seed.isdigit()
    }  # student_fixed_0.5_1 is no student of "fixed"


def is_unchanged(student: Path) -> bool:
    """Whether a student is still the model it began with, because no epoch was better.

    Raises:
        InputError: its provenance is damaged.
    """
    facts = _facts(student)
    return "init" in facts and facts.get("epoch") == 0


def has_provenance(student: Path) -> bool:
    """Whether there is something to check of what a student was made from."""
    return bool(_facts(student))


def check_pairs(pairs: Iterable[tuple[Path, Path]], may_differ: Collection[str] = ()) -> None:
    """Refuse pairs that are not alike in text, vocabulary, start, seed and teachers, as far as their provenance tells.

    Args:
        pairs: two students with the same seed.
        may_differ: those of ``ALIKE`` in which they may differ.

    Raises:
        InputError: a pair is not alike, or a provenance is damaged.
    """
    for student, other in pairs:
        ours = _facts(student)
        theirs = _facts(other)
        for name, what in ALIKE.items():
            if name not in may_differ and ours and theirs and ours.get(name) != theirs.get(name):
                raise InputError(
                    student,
                    found=f"{what} that {other} does not have",
                    expected="two students with the same seed that differ in their objective",
                    remedy=f"train both in the same way, or let an arm of the study differ in {name}",
                )


def check_seeds(of_an_arm: Iterable[Path]) -> None:
    """Refuse students of an arm that are one and the same training: they would count as several.

    Raises:
        InputError: two have the same seed and start, or a provenance is damaged.
    """
    seen: dict[str, Path] = {}
    for student in of_an_arm:
        facts = _facts(student)
        if "seed" in facts:
            first = seen.setdefault(repr((facts["seed"], facts.get("init"))), student)
            if first != student:
                found = f"the seed {facts['seed']}, which {first} has too"
                remedy = "train it with the seed in the name of its directory"
                raise InputError(student, found=found, expected="another seed for each student", remedy=remedy)


def check_starts(compared: Iterable[Path]) -> None:
    """Refuse a regime in which some students were trained from scratch and others continue from a model.

    Raises:
        InputError: they differ in this, or a provenance is damaged.
    """
    first: dict[bool, Path] = {}
    for student in compared:
        facts = _facts(student)
        if facts:
            first.setdefault("init" in facts, student)
    if len(first) > 1:
        raise InputError(
            first[True],
            found="a student that continues from a model (--init)",
            expected=f"one that was trained from scratch, as {first[False]} was",
            remedy="keep the two kinds in the directories of two regimes",
        )


def _facts(student: Path) -> Mapping[str, Any]:
    path = student / PROVENANCE_FILE
    return read_json(path, "the provenance of a model", "copy the file again").values if path.exists() else {}
