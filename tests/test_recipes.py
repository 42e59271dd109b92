"""The recipes' checks; that the mini recipe runs is what continuous integration shows."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_rescore import models
from asr_rescore.checkpoint import load_model
from asr_rescore.config import load_config
from asr_rescore.corpus import TokenStream
from asr_rescore.models import LanguageModel
from asr_rescore.report.study import StudyConfig
from asr_rescore.training import CacheConfig, CachedTeacher, Teacher, TeacherCache, TrainingRun, build_cache, train
from asr_rescore.vocab import Vocabulary
from conftest import ROOT

CPU = torch.device("cpu")
# Stands for asr-rescore: writes the files of each command, and in the directory of the experiment, what was called.
FAKE_COMMAND = r"""#!/bin/bash
set -e
for last; do true; done
case $1 in
  prepare_text) mkdir -p "$last"; echo a | tee "$last"/{train,valid,vocab}.txt >/dev/null ;;
  train_lm | distill_lm)
    echo "$@" >>"$(dirname "$last")/../calls"
    if [ ! -e "$last/seed" ]; then
      mkdir -p "$last"
      touch -d "1 hour ago" "$last"/{model.safetensors,provenance.json}
      while [ "$1" != --seed ]; do shift; done
      echo "$2" >"$last/seed"
    fi
    ;;
  compute_ppl) echo '{"ppl": 2}' >"$3"; echo "$@" >>"$(dirname "$3")/../../calls" ;;
  sample_text) echo b >"$last" ;;
  ensemble_lm) mkdir -p "$last"; touch -d "1 hour ago" "$last"/model.safetensors ;;
esac
"""


def run(checkout, environment, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "recipes/wsj/run.sh", *options], cwd=checkout, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--corpus", "nonsense"), "expected mini or wsj"),
        (("--corpora", "mini"), "no such option"),
        (("--stage",), "value is missing"),
        (("mini",), "takes options only"),
    ],
)
def test_wrong_usage_of_the_recipe(checkout, environment, options, message):
    done = run(checkout, environment, *options)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.slow
def test_the_first_stages_run(checkout, environment, tmp_path):
    done = run(checkout, environment, "--stop-stage", "3", "--exp", str(tmp_path / "exp"))
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "exp/text/vocab.txt").read_text().splitlines()) == 1300


class TestPennTreebank:
    CONF = ROOT / "recipes/ptb/conf"

    def run(self, checkout, environment, *options: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "recipes/ptb/run.sh", *options]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)

    @pytest.mark.parametrize(
        ("options", "status", "message"),
        [
            (("--size", "large"), 2, "expected cpu, full or study"),
            (("--ptb-dir", "/nowhere"), 1, "no /nowhere/ptb.train.txt; give --ptb-dir Mikolov's Penn Treebank"),
            (("ptb",), 2, "takes options only"),
        ],
    )
    def test_wrong_usage(self, checkout, environment, tmp_path, options, status, message):
        done = self.run(checkout, environment, "--exp", str(tmp_path), *options)
        assert (done.returncode, message in done.stderr) == (status, True), done.stderr

    def test_paths_may_have_blanks(self, tmp_path):
        """Stage 4 is called in a directory that is not the recipe's; the configs of its rows are found."""
        shutil.copytree(ROOT / "recipes/steps", tmp_path / "a checkout/recipes/steps")
        shutil.copytree(ROOT / "recipes/ptb", tmp_path / "a checkout/recipes/ptb")
        command = tmp_path / "asr-rescore"
        command.write_text("#!/bin/sh\nprintf '<%s>\\n' \"$@\"\n")
        command.chmod(0o755)
        script = tmp_path / "a checkout/recipes/ptb/run.sh"
        options = ["--stage", "4", "--stop-stage", "4", "--seeds", "1", "--exp", str(tmp_path / "an exp")]
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run(["bash", script, *options], cwd=tmp_path, env=environment, check=True, capture_output=True)
        lines = (tmp_path / "an exp/log/student_kl_1.log").read_text().splitlines()
        words = [line[1:-1] for line in lines if line.startswith("<")]
        configs = [Path(word) for option, word in pairwise(words) if option == "--config"]
        assert [config.name for config in configs] == ["student.yaml", "kl.yaml"]
        assert all(config.is_file() for config in configs)
        assert words[-2:] == [str(tmp_path / "an exp" / name) for name in ("teacher_ensemble", "student_kl_1")]

    @pytest.mark.slow
    def test_the_texts(self, checkout, environment, tmp_path):
        done = self.run(checkout, environment, "--stop-stage", "0", "--sentences", "70", "--exp", str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert [len((tmp_path / f"text/{part}.txt").read_text().splitlines()) for part in ("part", "test")] == [70, 240]

    @pytest.mark.parametrize(("name", "parameters"), [("teacher", 21_500_620), ("student", 7_012_380)])
    def test_full_sizes_are_the_papers(self, name, parameters):
        with torch.device("meta"):
            model = models.build(load_config(self.CONF / f"full/{name}.yaml").model, 10_000)
        assert model.num_parameters == parameters

    @pytest.mark.slow
    def test_the_full_sizes_take_steps(self, tmp_path):
        """Teacher, its finetuning, and a student by trust from a cache: two chunks each, by the full configurations."""
        vocabulary = Vocabulary.from_counts({f"w{word}": 1 for word in range(9_998)})
        draw = np.random.default_rng(1)
        train_text, valid_text = (
            TokenStream.encode([[f"w{word}" for word in draw.integers(0, 100, words)]], vocabulary)
            for words in (12 * 110, 30)
        )

        def trained(name: str, *configs: str, start: LanguageModel | None = None, teacher: Teacher | None = None):
            config = load_config(*(self.CONF / f"full/{part}.yaml" for part in configs))
            config = replace(config, train=replace(config.train, epochs=1))
            torch.manual_seed(31)
            model = models.build(config.model, len(vocabulary))
            if start is not None:
                model.load_state_dict(start.state_dict())
            run = TrainingRun(
                config=config,
                vocabulary=vocabulary,
                train=train_text,
                valid=valid_text,
                seed=31,
                directory=tmp_path / name,
                trained=start is not None,
            )
            assert train(run, model, CPU, teacher) < 20_000
            (*_, last) = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
            assert last["step"] >= 2
            return load_model(tmp_path / name).model

        first = trained("teacher", "teacher")
        teacher = trained("finetuned", "teacher", "finetune", start=first)
        build_cache(tmp_path / "cache", teacher, train_text, ["hash"], CacheConfig(top=64), CPU)
        cache = TeacherCache.open(tmp_path / "cache", train_text, ["hash"])
        student = trained("student", "student", teacher=CachedTeacher(cache, CPU))
        assert [model.num_parameters for model in (first, teacher, student)] == [21_500_620, 21_500_620, 7_012_380]

    SIZES = ("cpu", "full", "study/scratch", "study/branches", "study/full")

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("row", sorted((CONF / "rows").iterdir()), ids=lambda path: path.stem)
    def test_a_row_is_a_line_that_changes_the_student(self, size, row):
        assert len(row.read_text().splitlines()) == 1
        student = self.CONF / size / "student.yaml"
        assert load_config(student, row) != load_config(student)
        scripts = [(ROOT / "recipes/ptb" / name).read_text() for name in ("run.sh", "local/study.sh")]
        assert any(row.stem in script.replace('"', " ").split() for script in scripts)
        studies = [StudyConfig.read(self.CONF / "study" / name) for name in ("study.yaml", "further.yaml")]
        assert (
            any(row.stem in study.arms for study in studies)
            or f"student_{row.stem}_" in (self.CONF / "tables.yaml").read_text()
        )

    def test_the_study_trains_the_arms_that_it_compares(self):
        script = (ROOT / "recipes/ptb/local/study.sh").read_text()
        arms, further = (re.search(f'(?m)^{name}="(.*)"', script).group(1).split() for name in ("arms", "more_arms"))
        study, of_further = (StudyConfig.read(self.CONF / "study" / f"{name}.yaml") for name in ("study", "further"))
        assert sorted(arms) == sorted(study.arms)
        combined = {arm for arm in of_further.arms if "_with_" in arm}
        assert all(f"with_{arm.partition('_with_')[2]}" in script for arm in combined)
        assert combined == set(of_further.differ)
        assert set(further) <= set(of_further.arms) - combined <= {*further, *arms}
        for config in (study, of_further):
            assert all((self.CONF / "study" / regime / "student.yaml").is_file() for regime in config.regimes)

    def test_a_row_overrides_the_config_of_branches(self):
        branch = [self.CONF / "study/branches" / name for name in ("student.yaml", "branch.yaml")]
        assert load_config(*branch, self.CONF / "rows/no_averaging.yaml").train.averaging == "none"
        script = (ROOT / "recipes/ptb/local/study.sh").read_text()
        assert script.index('$1/branch.yaml"') < script.index('rows/$row.yaml"')

    def study(self, tmp_path: Path, environment, *options: str) -> Path:
        """Run a copy of the study with tiny models and texts; returns its directory."""
        if not (tmp_path / "recipes").exists():
            shutil.copytree(ROOT / "recipes", tmp_path / "recipes", ignore=shutil.ignore_patterns("exp"))
            tiny = "train: {epochs: 1, batch: 4}\nmodel: {embedding: 4, hidden: [4], experts: 1}\n"
            for config in (tmp_path / "recipes/ptb/conf/study").glob("*/*.yaml"):
                objective = "objective: {kind: trust}\n" if config.stem == "student" else ""
                config.write_text("train: {epochs: 1}\n" if config.stem == "branch" else tiny + objective)
            script = tmp_path / "recipes/ptb/local/study.sh"
            changed = script.read_text()
            for sizes in ("1800 400", "14200 800", r"\$ \$"):  # sentences
                assert f" {sizes}\n" in changed
                changed = changed.replace(f" {sizes}\n", " 60 9\n")
            script.write_text(changed)
        exp = tmp_path / "an exp"
        command = ["bash", "recipes/ptb/run.sh", "--size", "study", "--exp", str(exp), *options]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return exp

    def test_every_model_of_the_study_is_made_once(self, tmp_path):
        """All stages with a command that only writes files; then once more, when everything is finished."""
        command = tmp_path / "asr-rescore"
        command.write_text(FAKE_COMMAND)
        command.chmod(0o755)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        exp = self.study(tmp_path, environment)
        students = {
            name: {path.parent.name for path in exp.glob(f"{name}/student_*/ppl_test.json")}
            for name in ("scratch", "branches", "full")
        }
        assert [len(found) for found in students.values()] == [8 * (11 + 5 + 3), 5 * (11 + 13), 11 + 4 + 4]
        assert (exp / "scratch/teacher_8_2/seed").read_text() == "82\n"
        assert (exp / "scratch/student_shuffled_8/seed").read_text() == "8\n"
        calls = (exp / "calls").read_text().splitlines()
        kl = [call for call in calls if call.startswith("distill_lm") and "/full/student_kl_1" in call]
        assert len(kl) == 1
        for part in ("rows/kl.yaml", "full/student.yaml", "full/branch.yaml", "--init", "full/start_1", "full/cache_1"):
            assert part in kl[0]
        temperature = [call for call in calls if "full/student_temperature_2" in call and call.startswith("distill_lm")]
        assert "cache" not in temperature[0]
        self.study(tmp_path, environment, "--stage", "1")
        again = (exp / "calls").read_text().splitlines()[len(calls) :]
        assert not [call for call in again if call.startswith("compute_ppl") or "/student_" in call]

    @pytest.mark.slow
    def test_the_study_from_scratch(self, environment, tmp_path):
        exp = self.study(tmp_path, environment, "--stop-stage", "1", "--seeds", "1")
        script = tmp_path / "recipes/ptb/local/study.sh"
        script.write_text(re.sub(r"(?m)^arms=.*", 'arms="kl shuffled"', script.read_text()))
        self.study(tmp_path, environment, "--stage", "2", "--stop-stage", "2", "--seeds", "1")
        (scratch,) = json.loads((exp / "study.json").read_text())
        (shuffled,) = scratch["comparisons"]
        assert (shuffled["objective"], shuffled["seeds"]) == ("TR, α = 0.1, R shuffled", ["1"])
        assert (exp / "study.svg").read_text().startswith("<?xml")
        words = set((exp / "scratch/text/test.txt").read_text().split())
        assert words <= set((exp / "scratch/text/vocab.txt").read_text().split())

    @pytest.mark.parametrize("size", ["cpu", "full"])
    def test_finetuning_averages_from_the_start(self, size):
        for name in ("teacher", "student"):
            trained = load_config(self.CONF / size / f"{name}.yaml")
            finetuned = load_config(self.CONF / size / f"{name}.yaml", self.CONF / size / "finetune.yaml")
            assert (finetuned.model, finetuned.objective) == (trained.model, trained.objective)
            assert (finetuned.train.averaging, finetuned.train.optimizer) == ("start", "sgd")
