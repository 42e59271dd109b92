"""The times that the recipes' stages print are those that were measured, in the documents that tell how."""

from __future__ import annotations

import re
import subprocess

import pytest

from conftest import ROOT

RECIPES = ROOT / "recipes"
STUDY = "ptb/local/study.sh"


def words(path: str) -> str:
    return " ".join((ROOT / path).read_text().split())


def stage_lines(script: str) -> dict[int, str]:
    """What a script says of each stage when it begins, its variables not replaced."""
    found = re.findall(r'begin_stage (\d+) "(.*)"; then', (RECIPES / script).read_text())
    return {int(number): text for number, text in found}


# What stages say → the same figure where it was measured.
MEASURED = [
    (STUDY, 1, "12 min on two cores", "recipes/ptb/RESULTS.md", "in 12 min (teachers) and 39 min (88 students)"),
    (STUDY, 2, "39 min on two cores", "recipes/ptb/RESULTS.md", "in 12 min (teachers) and 39 min (88 students)"),
    (STUDY, 3, "5 min on two cores", "recipes/ptb/RESULTS.md", "in 5 min (teacher), 6 min (five starts) and 46 min"),
    (STUDY, 4, "6 min on two cores, for five", "recipes/ptb/RESULTS.md", "6 min (five starts) and 46 min (55 students"),
    (
        STUDY,
        5,
        "46 min on two cores, for five",
        "recipes/ptb/RESULTS.md",
        "and 46 min (55 students and all perplexities)",
    ),
    (STUDY, 6, "two hours on two cores", "docs/recipes.md", "`further.md` | two hours |"),
    (STUDY, 7, "104 and 106 min on two cores", "recipes/ptb/RESULTS.md", "for 16 epochs in 104 and 106 min"),
    (STUDY, 8, "132 s on an NVIDIA H100", "recipes/ptb/RESULTS.md", "the five starts side by side in 132 s"),
    (STUDY, 9, "390 s on an NVIDIA H100", "recipes/ptb/RESULTS.md", "15 at a time, in 390 s"),
    (STUDY, 9, "stages 7 to 9: four hours on two cores", "docs/recipes.md", "`tables.md` | four hours; after stage 7"),
    ("ptb/run.sh", 1, "13 s an epoch of a network on an NVIDIA H100", "recipes/ptb/RESULTS.md", "13 s an epoch"),
    (
        "ptb/run.sh",
        1,
        "9 hours for 500 epochs of five",
        "recipes/ptb/RESULTS.md",
        "500 epochs of five networks would take 9",
    ),
]


@pytest.mark.parametrize(("script", "stage", "said", "document", "measured"), MEASURED)
def test_stages_of_penn_treebank_say_what_was_measured(script, stage, said, document, measured):
    assert said in stage_lines(script)[stage]
    assert measured in words(document)


def test_every_long_stage_of_penn_treebank_has_a_time():
    for script, stages in ((STUDY, range(1, 10)), ("ptb/run.sh", range(1, 7))):
        lines = stage_lines(script)
        assert all(re.search(r"\((\d+|two hours|\$\(stage_time )", lines[stage]) for stage in stages), script


def stage_time(corpus: str, stage: int, **variables: str) -> str:
    """What recipes/wsj/run.sh prints as the time of a stage."""
    setting = " ".join(f"{name}={value}" for name, value in variables.items())
    script = f"here={RECIPES}/wsj s5=/s5 am=tri4b graphs= vocabulary_size=0 {setting}; . $here/local/corpus_{corpus}.sh"
    call = ["bash", "-c", f"{script}; stage_time {stage}"]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("corpus", "stage", "said", "document", "measured"),
    [
        ("wsj", 3, "29 s for 37 million words", "docs/large.md", "| 37 million | 29.1 s |"),
        ("wsj", 4, "8.1 days on one core", "docs/large.md", "| one epoch of a network of the teacher | 55 | 8.1 |"),
        ("wsj", 4, "0.6 hours", "docs/large.md", "| one epoch of a network of the teacher | 6.5e16 | 1.8 | 0.6 |"),
        ("wsj", 5, "3.1 days", "docs/large.md", "| the distributions of one network of the teacher | 144 | 3.1 |"),
        ("wsj", 5, "2.4 days", "docs/large.md", "| one epoch of a student on hard labels | 190 | 2.4 |"),
        ("wsj", 11, "0.2 hours", "docs/large.md", "| one epoch of a student | 1.7e16 | 0.5 | 0.2 |"),
        ("wsj", 6, "not timed yet", "docs/large.md", "What the Wall Street Journal experiments cost"),
        ("dirs", 4, "36 min", "recipes/wsj/RESULTS.md", "The stages took 36 min (teachers), 25 min"),
        ("dirs", 5, "25 min", "recipes/wsj/RESULTS.md", "25 min (cache and students), 18 min and 11 min"),
        ("dirs", 6, "18 min", "recipes/wsj/RESULTS.md", "18 min and 11 min (rescoring of `dev_a` and `dev_b`)"),
        ("dirs", 7, "11 min", "recipes/wsj/RESULTS.md", "18 min and 11 min (rescoring of `dev_a` and `dev_b`)"),
        ("dirs", 8, "50 s", "recipes/wsj/RESULTS.md", "(rescoring of `dev_a` and `dev_b`) and 50 s (lattices)"),
    ],
)
def test_stages_of_rescoring_say_what_was_measured(corpus, stage, said, document, measured):
    assert said in stage_time(corpus, stage)
    assert measured in words(document)


def test_times_are_not_said_of_other_sizes():
    assert stage_time("dirs", 4, conf="/my") == "depends on the sizes in /my"
    assert stage_time("wsj", 4, conf="/my") == "not timed yet with /my"
    assert "2.4 days" in stage_time("wsj", 10, starts="1")
    assert "2.4 days" not in stage_time("wsj", 10)
