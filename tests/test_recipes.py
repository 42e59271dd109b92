"""The recipes' checks; that the mini recipe runs is what continuous integration shows."""

import json
import os
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
from asr_rescore.training import CacheConfig, CachedTeacher, Teacher, TeacherCache, TrainingRun, build_cache, train
from asr_rescore.vocab import Vocabulary
from conftest import ROOT

CPU = torch.device("cpu")


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
            (("--size", "large"), 2, "expected cpu or full"),
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

    @pytest.mark.parametrize("size", ["cpu", "full"])
    @pytest.mark.parametrize("row", sorted((CONF / "rows").iterdir()), ids=lambda path: path.stem)
    def test_a_row_is_a_line_that_changes_the_student(self, size, row):
        assert len(row.read_text().splitlines()) == 1
        student = self.CONF / size / "student.yaml"
        assert load_config(student, row) != load_config(student)
        assert row.stem in (ROOT / "recipes/ptb/run.sh").read_text()
        assert f"student_{row.stem}_" in (self.CONF / "tables.yaml").read_text()

    @pytest.mark.parametrize("size", ["cpu", "full"])
    def test_finetuning_averages_from_the_start(self, size):
        for name in ("teacher", "student"):
            trained = load_config(self.CONF / size / f"{name}.yaml")
            finetuned = load_config(self.CONF / size / f"{name}.yaml", self.CONF / size / "finetune.yaml")
            assert (finetuned.model, finetuned.objective) == (trained.model, trained.objective)
            assert (finetuned.train.averaging, finetuned.train.optimizer) == ("start", "sgd")
