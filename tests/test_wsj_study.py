"""Stages 10 to 13 of recipes/wsj: students of every objective, rescorings with each of them, and the table."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from itertools import islice

import pytest

from asr_rescore.config import load_config
from asr_rescore.report.study import StudyConfig
from conftest import ROOT

RECIPE = ROOT / "recipes/wsj"
# Stands for asr-rescore: writes the files that tell that a command has ended, and what was called into $CALLS.
FAKE_COMMAND = r"""#!/bin/bash
set -e
for last; do true; done
echo "$@" >>"$CALLS"
case $1 in
  distill_lm)
    mkdir -p "$last"
    touch -d "1 hour ago" "$last/model.safetensors"
    if [[ " $* " == *" --init "* ]]; then echo '{"init": "0123"}' >"$last/provenance.json"; fi
    ;;
  rescore_nbest)
    mkdir -p "$last"
    echo {} >"$last/report.json"
    echo "rescored:       %WER 12.50 [ 1 / 8 ]"
    ;;
esac
"""


@pytest.fixture
def recipe(checkout, environment, tmp_path):
    """Runs the stages with a command that only writes files; returns what was called, with $exp for the directory."""
    command = tmp_path / "programs/asr-rescore"
    command.parent.mkdir()
    command.write_text(FAKE_COMMAND)
    command.chmod(0o755)
    calls = tmp_path / "calls"
    exp = tmp_path / "an exp"
    (exp / "text").mkdir(parents=True)
    (exp / "text/train.txt").write_text("one\ntwo\nthree\n")
    environment = {**environment, "PATH": f"{command.parent}:{environment['PATH']}", "CALLS": str(calls)}

    def run(*options: str, status: int = 0) -> list[str]:
        calls.write_text("")
        stages = ("--stage", "10", "--stop-stage", "13")
        command = ["bash", checkout / "recipes/wsj/run.sh", "--exp", exp, *stages, *options]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        if status:
            return done.stderr.splitlines()
        return calls.read_text().replace(str(exp), "$exp").replace(str(checkout), "").splitlines()

    return run


def those(calls: list[str], *parts: str) -> list[str]:
    return [call for call in calls if all(part in call for part in parts)]


def test_students_branch_from_the_starts_by_turns(recipe, tmp_path):
    options = ("--starts", "7 9", "--branch-sentences", "2", "--seeds", "1 2 3", "--arms", "kl trust trust_0.01")
    calls = recipe(*options, "--top", "64", "--stop-stage", "11")
    trained = those(calls, "distill_lm")
    assert [call.split()[-1] for call in trained[:2]] == ["$exp/study/start_7", "$exp/study/start_9"]
    assert all("rows/kl.yaml" in call and "--train $exp/text/train.txt" in call for call in trained[:2])
    assert all("--teacher-cache $exp/cache " in call for call in trained[:2])
    starts = {1: 7, 2: 9, 3: 7}
    rows = {"kl": "/recipes/wsj/../ptb/conf/rows/kl.yaml", "trust_0.01": "/recipes/wsj/conf/study/trust_0.01.yaml"}
    for seed, start in starts.items():
        for arm in ("kl", "trust", "trust_0.01"):
            (call,) = those(trained, f"/student_{arm}_{seed}")
            configs = [
                word for option, word in zip(call.split(), call.split()[1:], strict=False) if option == "--config"
            ]
            assert configs == [
                "/recipes/wsj/conf/mini/student_trust.yaml",
                "/recipes/wsj/conf/study/student.yaml",
                *([rows[arm]] if arm in rows else []),
                "/recipes/wsj/conf/study/branch.yaml",
            ]
            assert f"--init $exp/study/start_{start} --train $exp/study/text/first_2.txt" in call
            assert f"--seed {seed} --teacher-cache $exp/study/cache_2 $exp/teacher_ensemble" in call
    (alone,) = those(
        recipe("--starts", "7 9", "--seeds", "2", "--arms", "kl", "--stage", "11", "--stop-stage", "11"), "kl_2"
    )
    assert "--init $exp/study/start_9" in alone, "a seed's start does not depend on the other seeds"
    assert (tmp_path / "an exp/study/text/first_2.txt").read_text() == "one\ntwo\n"
    assert [call.split()[-1] for call in those(calls, "cache_teacher")] == ["$exp/cache", "$exp/study/cache_2"]


def test_the_table_says_that_students_are_branches_also_without_starts(recipe, tmp_path):
    options = ("--top", "none", "--seeds", "1", "--arms", "kl ce")
    recipe(*options, "--starts", "7")
    for starts, shown in ((("--starts", "7"), " (seeds 7)"), ((), "")):
        recipe(*options, *starts, "--stage", "13")
        regime = StudyConfig.read(tmp_path / "an exp/study/study.yaml").regimes["study"]
        assert regime.title == f"Word errors of an exp: branches of students trained with KL{shown}"


def test_weights_are_tuned_on_dev_and_applied_to_eval(recipe, checkout, tmp_path):
    options = ("--top", "none", "--seeds", "1 2", "--arms", "kl ce", "--n", "50")
    calls = recipe(*options)
    rescorings = those(calls, "rescore_nbest")
    assert len(rescorings) == 2 * 2 * 2 * 2  # seeds, arms, graphs, sets
    assert [call.endswith("_dev") for call in rescorings] == [True] * 8 + [False] * 8
    (dev,) = [call for call in rescorings if call.endswith("/student_ce_2/decode_bd_tgpr_dev")]
    (evaluation,) = [call for call in rescorings if call.endswith("/student_ce_2/decode_bd_tgpr_eval")]
    assert "--tune" in dev and "--n 50" in dev
    assert "--weights $exp/study/student_ce_2/decode_bd_tgpr_dev" in evaluation and "--tune" not in evaluation
    assert not those(calls, "cache_teacher"), "teachers are run along"
    assert not those(calls, "--init")
    (study,) = those(calls, "study --json")
    assert study.endswith("$exp/study/study.yaml $exp")
    regime = StudyConfig.read(tmp_path / "an exp/study/study.yaml").regimes["study"]
    assert regime.measure.name == "wer"
    assert regime.rescorings == {
        "test": ("decode_tgpr_eval", "decode_bd_tgpr_eval"),
        "valid": ("decode_tgpr_dev", "decode_bd_tgpr_dev"),
    }
    assert regime.title == "Word errors of an exp: trained from scratch"

    again = recipe(*options, "--seeds", "1 2 3")
    assert len(those(again, "rescore_nbest")) == 8, "only those of the new seed"
    longer = recipe("--seeds", "1", "--arms", "kl", "--n", "60")
    assert len(those(longer, "rescore_nbest", "--n 60")) == 4, "lists of another length"
    scaled = ("--seeds", "1", "--arms", "kl", "--n", "60", "--inv-acwt", "10")
    assert len(those(recipe(*scaled), "rescore_nbest", "--inv-acwt 10")) == 4, "other options"
    assert not those(recipe(*scaled), "rescore_nbest"), "all is done"
    (tmp_path / "an exp/study/student_kl_1/decode_tgpr_dev/report.json").write_text("{}")
    (evaluation,) = those(recipe(*scaled), "rescore_nbest")
    assert evaluation.endswith("/decode_tgpr_eval"), "dev was tuned again"
    for changed, count in (("data/eval/text", 2), ("exp/decode_tgpr_eval/lat.1.gz", 1)):
        file = checkout / "recipes/wsj/mini" / changed
        before = file.stat()
        file.touch()
        assert len(those(recipe(*scaled), "rescore_nbest")) == count, changed
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seeds", "1 x"), "--seeds: found 'x', expected whole numbers"),
        (("--seeds", "08"), "--seeds: found '08', expected whole numbers"),
        (("--starts", "-1"), "--starts: found '-1', expected whole numbers"),
        (("--starts", "1", "--branch-sentences", "1k"), "--branch-sentences: found '1k', expected whole numbers"),
        (("--branch-sentences", "100"), "--branch-sentences is for branches, which need --starts"),
        (("--arms", "tr.st"), "--arms: found 'tr.st', expected one of those in"),
        (("--arms", "baseline"), "--arms: found 'baseline', expected one of those in"),
    ],
)
def test_wrong_options_of_the_study_are_refused(recipe, options, message):
    (line,) = recipe(*options, status=2)
    assert message in line


def test_an_objective_that_the_table_would_not_show_is_refused(recipe):
    (line,) = recipe("--arms", "kl trst", status=2)
    assert "--arms: found 'trst', expected one of those in" in line


def test_every_objective_that_is_trained_has_a_name_in_the_table(tmp_path):
    script = (RECIPE / "local/study.sh").read_text()
    (line,) = [line for line in script.splitlines() if line.startswith("arms=")]
    arms = line.removeprefix("arms=${arms:-").removesuffix("}").split()
    text = (RECIPE / "conf/study/arms.yaml").read_text()
    (tmp_path / "study.yaml").write_text(text + "regimes: {study: Any}\n")
    named = list(StudyConfig.read(tmp_path / "study.yaml").arms)
    assert arms == named[: len(arms)]
    for corpus in ("mini", "cpu", "wsj", "wsj_small"):
        base = (RECIPE / f"conf/{corpus}/student_trust.yaml", RECIPE / "conf/study/student.yaml")
        assert load_config(*base).objective.alpha == 0.1
        configs = []
        for arm in named:
            rows = [RECIPE / f"conf/study/{arm}.yaml", ROOT / f"recipes/ptb/conf/rows/{arm}.yaml"]
            row = [path for path in rows if path.exists()][:1] if arm != "trust" else []
            assert row or arm == "trust"
            configs.append(load_config(*base, *row, RECIPE / "conf/study/branch.yaml"))
            assert configs[-1].train.epochs == 2, "branch.yaml comes last"
        assert all(one != other for index, one in enumerate(configs) for other in configs[:index])


@pytest.mark.slow
def test_a_study_of_tiny_students(checkout, environment, tmp_path, mini, lang, decode, data):
    tiny = "model: {embedding: 6, hidden: [6, 6], experts: 1, embedding_init: 1.0}\n"
    train = "train: {optimizer: adamw, lr: 0.01, batch: 8, bptt: 35, epochs: 1}\n"
    (tmp_path / "teacher.yaml").write_text(tiny + train)
    (tmp_path / "student_trust.yaml").write_text(tiny + train + "objective: {kind: trust, alpha: 0.01}\n")
    with gzip.open(mini / "text/train.txt.gz", "rt", encoding="utf-8") as text:
        (tmp_path / "text").write_text("".join(islice(text, 400)))
    for name in ("dev", "eval"):
        (tmp_path / name).symlink_to(decode)
    first_pass = ["--decode-dirs", f"{tmp_path}/dev {tmp_path}/eval", "--data-dirs", f"{data} {data}"]
    options = [*first_pass, "--lang-dir", lang, "--train-text", tmp_path / "text", "--conf", tmp_path, "--n", "10"]
    study = [
        "--arms",
        "kl ce",
        "--seeds",
        "1",
        "--starts",
        "1",
        "--branch-sentences",
        "200",
        "--top",
        "all",
        "--nj",
        "2",
    ]
    exp = tmp_path / "exp"
    for stages in (("--stop-stage", "4"), ("--stage", "10", "--stop-stage", "13")):
        command = ["bash", checkout / "recipes/wsj/run.sh", "--exp", exp, *options, *study, *stages]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (regime,) = json.loads((exp / "study/study.json").read_text())
    (ce,) = regime["comparisons"]
    assert (ce["objective"], ce["seeds"]) == ("CE alone", ["1"])
    assert "student_ce_1_first_pass_2: %WER" in done.stdout
    kl = json.loads((exp / "study/student_kl_1/decode_first_pass_2/report.json").read_text())
    assert regime["baseline_test_wer"] == pytest.approx(kl["wer"], abs=0.01)
    assert (exp / "study/study.svg").read_text().startswith("<?xml")
