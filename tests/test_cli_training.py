"""The commands that train language models and evaluate them."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asr_rescore.checkpoint import load_model, load_training_state
from asr_rescore.cli.main import main
from asr_rescore.config import EnsembleConfig
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.training.state import STATE_FILE
from asr_rescore.vocab_files import load_vocabulary
from conftest import ROOT
from small_text import lines, prepare, write_text
from training_runs import HALTING, in_the_foreground, send_when

TINY = """
model: {embedding: 4, hidden: [6, 5], experts: 2, embedding_init: 0.5, dropout_output: 0.1}
train: {optimizer: adamw, lr: 0.01, batch: 4, bptt: 9, epochs: 2}
"""


@pytest.fixture
def data(tmp_path) -> Path:
    return prepare(write_text(tmp_path / "text.gz"), tmp_path / "data", 8)


@pytest.fixture
def config(tmp_path):
    def write(objective: str = "ce", more: str = "") -> str:
        path = tmp_path / f"{objective}.yaml"
        path.write_text(f"{TINY}\nobjective: {{kind: {objective}}}\n{more}")
        return str(path)

    return write


def texts(data: Path) -> list[str]:
    return ["--train", str(data / "train.txt"), "--valid", str(data / "valid.txt")]


@pytest.fixture
def train_lm(data, config):
    def run(name: str, *options: str) -> Path:
        directory = data.parent / name
        command = ["train_lm", "--config", config(), *texts(data), "--vocab", str(data), *options, str(directory)]
        assert main(command) == 0
        return directory

    return run


class TestTrainLm:
    def test_a_model_and_its_log(self, train_lm, data, capsys):
        directory = train_lm("lm", "--seed", "5")
        out = capsys.readouterr().out
        logged = [json.loads(line) for line in lines(directory / "log.jsonl")]
        assert [line["epoch"] for line in logged] == [1, 2]
        assert f"valid ppl {min(line['valid_ppl'] for line in logged):.2f}" in out.splitlines()[-1]
        loaded = load_model(directory)
        assert loaded.vocabulary == load_vocabulary(data)
        assert loaded.provenance["seed"] == 5

    def test_the_seed_decides(self, train_lm):
        weights = [
            (train_lm(name, "--seed", seed) / "model.safetensors").read_bytes()
            for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
        ]
        assert weights[0] == weights[1] != weights[2]

    def test_without_a_vocabulary_all_words_of_the_text_are_listed(self, data, config):
        assert main(["train_lm", "--config", config(), *texts(data), str(data.parent / "lm")]) == 0
        words = {word for line in lines(data / "train.txt") for word in line.split()}
        assert {*load_model(data.parent / "lm").vocabulary.words} == words | {"</s>", "<RNN_UNK>"}

    def test_run_again_it_is_done(self, train_lm, capsys):
        train_lm("lm")
        capsys.readouterr()
        train_lm("lm")
        *_, finished, ppl = capsys.readouterr().out.splitlines()
        assert finished.endswith("lm: was finished before, in 12 steps; nothing is left to do")
        assert "valid ppl" in ppl

    def test_an_objective_with_a_teacher_belongs_to_distill_lm(self, data, config, capsys):
        assert main(["train_lm", "--config", config("trust"), *texts(data), str(data.parent / "lm")]) == 2
        assert "trust.yaml: objective trust needs a teacher; use distill_lm" in capsys.readouterr().err

    def test_an_unknown_key(self, data, config, capsys):
        path = config(more="training: {lr: 1.0}\n")
        assert main(["train_lm", "--config", path, *texts(data), str(data.parent / "lm")]) == 1
        assert "section 'training'" in capsys.readouterr().err

    def test_cuda_where_there_is_none(self, data, config, capsys, monkeypatch):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        command = ["train_lm", "--config", config(), *texts(data), "--device", "cuda", str(data.parent / "lm")]
        assert main(command) == 2
        assert "--device is cuda, but torch sees no GPU; use cpu or auto" in capsys.readouterr().err


class TestDistillLm:
    @pytest.mark.parametrize("objective", ["ce", "kl", "fixed", "trust", "todi"])
    def test_a_student_has_its_teachers_words(self, train_lm, data, config, objective):
        teachers = [train_lm("t1", "--seed", "1"), train_lm("t2", "--seed", "2")]
        student = data.parent / "student"
        command = ["distill_lm", "--config", config(objective), *texts(data), *map(str, teachers), str(student)]
        assert main(command) == 0
        loaded = load_model(student)
        assert loaded.vocabulary == load_vocabulary(data)
        assert loaded.provenance["teachers"] == [load_model(teacher).hash for teacher in teachers]

    def test_by_default_a_fifth_of_the_hard_label_is_added_to_the_teacher(self, train_lm, data, capsys):
        teacher = str(train_lm("teacher"))
        said = "objective: {label_weight: 0.3, teacher_weight: 1.0}"
        weights = []
        for number, objective in enumerate(("", said, f"{said[:-1]}, kind: fixed}}", "objective: {label_weight: 0.1}")):
            (data.parent / "student.yaml").write_text(f"{TINY}\n{objective}\n")
            student = data.parent / f"student{number}"
            command = ["distill_lm", "--config", str(data.parent / "student.yaml"), *texts(data), teacher, str(student)]
            assert main(command) == 0
            weights.append((student / "model.safetensors").read_bytes())
        assert weights[0] == weights[1] == weights[2] != weights[3]
        assert "tokens, objective fixed, on cpu" in capsys.readouterr().out

    def test_a_setting_that_the_default_objective_does_not_read_is_refused(self, data, capsys):
        """Before distill_lm had a teacher by default, alpha alone was silently of no use; trust is meant."""
        path = data.parent / "student.yaml"
        path.write_text(f"{TINY}\nobjective: {{alpha: 0.01}}\n")
        assert main(["distill_lm", "--config", str(path), *texts(data), str(data), str(data.parent / "student")]) == 2
        reason = "objective: alpha has no effect on kind fixed, which is the default, expected kind: trust"
        assert capsys.readouterr().err == f"asr-rescore distill_lm: error: {path}: {reason}\n"

    def test_several_teachers_are_their_ensemble(self, train_lm, data, config):
        teachers = [str(train_lm("t1", "--seed", "1")), str(train_lm("t2", "--seed", "2"))]
        ensemble = str(data.parent / "ensemble")
        assert main(["ensemble_lm", *teachers, ensemble]) == 0
        weights = []
        for number, some in enumerate((teachers, [ensemble], teachers[:1])):
            student = data.parent / f"student{number}"
            assert main(["distill_lm", "--config", config("kl"), *texts(data), *some, str(student)]) == 0
            weights.append((student / "model.safetensors").read_bytes())
        assert weights[0] == weights[1] != weights[2]

    def test_a_forgotten_student_directory_spares_the_teacher(self, train_lm, data, config, capsys):
        first = train_lm("t1", "--seed", "1")
        second = train_lm("t2", "--seed", "2")
        before = (second / "model.safetensors").read_bytes()
        assert main(["distill_lm", "--config", config("kl"), *texts(data), str(first), str(second)]) == 2
        assert "t2 holds another training run" in capsys.readouterr().err
        assert (second / "model.safetensors").read_bytes() == before

    def test_teachers_of_different_words(self, train_lm, data, config, capsys):
        first = train_lm("t1")
        second = data.parent / "t2"
        assert main(["train_lm", "--config", config(), *texts(data), str(second)]) == 0
        command = ["distill_lm", "--config", config("kl"), *texts(data), str(first), str(second)]
        assert main([*command, str(data.parent / "student")]) == 2
        assert "t1 and t2 have different vocabularies" in capsys.readouterr().err


class TestEnsembleLm:
    def test_it_notes_its_members_and_its_perplexity(self, train_lm, data, capsys):
        members = [train_lm("t1", "--seed", "1"), train_lm("t2", "--seed", "2")]
        target = data.parent / "ensemble"
        for _ in range(2):  # the command can be repeated
            assert main(["ensemble_lm", "--valid", str(data / "valid.txt"), *map(str, members), str(target)]) == 0
        loaded = load_model(target)
        assert isinstance(loaded.model.config, EnsembleConfig)
        assert [member["hash"] for member in loaded.provenance["members"]] == [load_model(m).hash for m in members]
        capsys.readouterr()
        assert main(["compute_ppl", str(target), str(data / "valid.txt")]) == 0
        assert capsys.readouterr().out.startswith(f"ppl {loaded.provenance['valid_ppl']:.2f}, ")

    def test_it_is_no_worse_than_its_members_on_average(self, train_lm, data):
        members = [train_lm("t1", "--seed", "1"), train_lm("t2", "--seed", "2"), train_lm("t3", "--seed", "3")]
        target = data.parent / "ensemble"
        assert main(["ensemble_lm", "--valid", str(data / "valid.txt"), *map(str, members), str(target)]) == 0
        # By Jensen's inequality, it is not even worse than their geometric mean.
        logs = [math.log(load_model(member).provenance["valid_ppl"]) for member in members]
        assert 1 < load_model(target).provenance["valid_ppl"] < math.exp(sum(logs) / 3)

    def test_a_forgotten_target_spares_the_last_member(self, train_lm, capsys):
        models = [train_lm(f"t{seed}", "--seed", str(seed)) for seed in (1, 2, 3)]
        before = (models[-1] / "model.safetensors").read_bytes()
        assert main(["ensemble_lm", *map(str, models)]) == 2
        assert "t3 holds a model that is not an ensemble" in capsys.readouterr().err
        assert (models[-1] / "model.safetensors").read_bytes() == before

    def test_one_member(self, train_lm, capsys):
        assert main(["ensemble_lm", str(train_lm("t1")), "e"]) == 2
        assert "expected two or more" in capsys.readouterr().err


class TestComputePpl:
    def write(self, tmp_path: Path, content: str) -> str:
        (tmp_path / "some.txt").write_text(content)
        return str(tmp_path / "some.txt")

    def ppl(self, capsys) -> float:
        return float(re.search(r"ppl (\S+),", capsys.readouterr().out)[1])

    def test_what_it_prints(self, train_lm, tmp_path, capsys):
        directory = train_lm("lm")
        capsys.readouterr()
        path = self.write(tmp_path, "the board zebra\nzebra met aardvark\n")
        assert main(["compute_ppl", str(directory), path]) == 0
        out = capsys.readouterr().out
        assert re.fullmatch(r"ppl \d+\.\d\d, 8 tokens in 2 sentences, 3 OOVs\nOOVs: zebra 2, aardvark 1\n", out)

    def test_one_sentence_is_the_same_either_way(self, train_lm, tmp_path, capsys):
        directory = train_lm("lm")
        path = self.write(tmp_path, "a share rose zebra\n")
        values = []
        for options in ([], ["--by-sentence"]):
            capsys.readouterr()
            assert main(["compute_ppl", *options, str(directory), path]) == 0
            values.append(self.ppl(capsys))
        loaded = load_model(directory)
        cost = NeuralScorer(loaded.model, loaded.vocabulary, "cpu").costs([["a", "share", "rose", "zebra"]])[0]
        assert values == [pytest.approx(math.exp(cost / 5), abs=0.005)] * 2

    def test_by_sentence_forgets(self, train_lm, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr("asr_rescore.lm.text_cost.SENTENCES_AT_ONCE", 2)
        directory = train_lm("lm")
        values = []
        first = "the board met\n"
        for content in (first, first * 5, first + "oil rose\n", "oil rose\n" + first):
            capsys.readouterr()
            assert main(["compute_ppl", "--by-sentence", str(directory), self.write(tmp_path, content)]) == 0
            values.append(self.ppl(capsys))
        assert values[0] == values[1] != values[2] == values[3]

    def test_kaldi_text(self, train_lm, tmp_path, capsys):
        directory = train_lm("lm")
        values = []
        cases = [("the board met\noil rose\n", []), ("u1 the board met\nu2 oil rose\n", ["--kaldi-text"])]
        for content, options in cases:
            for way in ([], ["--by-sentence"]):
                capsys.readouterr()
                assert main(["compute_ppl", *way, *options, str(directory), self.write(tmp_path, content)]) == 0
                values.append(capsys.readouterr().out)
        assert values[:2] == values[2:]

    def test_many_oovs_are_cut_short(self, train_lm, tmp_path, capsys):
        directory = train_lm("lm")
        capsys.readouterr()
        words = [f"w{number}" for number in range(23)]
        assert main(["compute_ppl", str(directory), self.write(tmp_path, " ".join(words))]) == 0
        assert capsys.readouterr().out.endswith("w19 1 and 3 other words\n")


COMMAND = "from asr_rescore.cli.main import main\nexit(main())"
SAVE_ALWAYS = "from asr_rescore.training import loop\nloop.SAVE_EVERY = -1.0\n"  # after every step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "averaging", "saving"),
    [
        pytest.param(signal.SIGKILL, -signal.SIGKILL, "none", "", id="kill"),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, "start", SAVE_ALWAYS, id="kill within an averaged epoch"),
        pytest.param(signal.SIGINT, 130, "none", "", id="Ctrl-C"),
    ],
)
@in_the_foreground()
def test_a_stopped_process_goes_on_bit_for_bit(data, config, number, status, averaging, saving):
    path = config()
    train = str(data / "train.txt")
    settings = f"epochs: 30, nonmono: 30, averaging: {averaging}"
    Path(path).write_text(Path(path).read_text().replace("epochs: 2", settings))
    # The valid text is the training text, so that the best epoch comes after the stop.
    options = ["train_lm", "--config", path, "--train", train, "--valid", train]
    command = [sys.executable, "-c", saving + COMMAND, *options]
    halting = [sys.executable, "-c", HALTING + saving + COMMAND, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    straight = data.parent / "straight"
    stopped = data.parent / "stopped"
    subprocess.run([*command, straight], env=environment, check=True, capture_output=True)
    assert load_model(straight).provenance["epoch"] > 20

    def far_enough() -> bool:
        state = stopped / STATE_FILE
        progress = load_training_state(state)[1]["progress"] if state.exists() else {"epoch": 0}
        return progress["epoch"] >= 3 and (not saving or 0 < progress["position"] < progress["averaged"])

    with subprocess.Popen([*halting, stopped], env=environment, stderr=subprocess.PIPE, text=True) as process:
        send_when(far_enough, process, number)
        errors = process.communicate()[1]
    assert process.returncode == status
    assert "Traceback" not in errors
    assert len(lines(stopped / "log.jsonl")) < len(lines(straight / "log.jsonl"))
    subprocess.run([*command, stopped], env=environment, check=True, capture_output=True)
    for name in ("model.safetensors", "config.yaml", "vocab.txt", "unk_probs.txt"):
        assert (stopped / name).read_bytes() == (straight / name).read_bytes()
    assert len(lines(stopped / "log.jsonl")) == len(lines(straight / "log.jsonl"))


class TestTeacherCache:
    def test_from_teachers_to_a_student(self, train_lm, data, config, capsys):
        teachers = [str(train_lm("one")), str(train_lm("two", "--seed", "2"))]
        cache = str(data.parent / "cache")
        student = data.parent / "student"
        capsys.readouterr()
        assert main(["cache_teacher", "--train", str(data / "train.txt"), *teachers, cache]) == 0
        tokens = sum(len(line.split()) + 1 for line in lines(data / "train.txt"))
        assert capsys.readouterr().out == f"{cache}: {tokens} distributions over 8 words, 0.00 GB\n"
        distill = ["distill_lm", "--config", config("trust"), *texts(data), "--teacher-cache", cache]
        assert main([*distill, *teachers, str(student)]) == 0
        assert load_model(student).provenance["teacher_cache"]["top"] == 0
        capsys.readouterr()
        assert main([*distill, teachers[0], str(data.parent / "other")]) == 2  # the cache was made from two teachers
        assert "cache holds another cache (different: teachers)" in capsys.readouterr().err


class TestInit:
    def test_training_starts_from_another_models_weights(self, train_lm, data, config, capsys):
        first = train_lm("first")
        still = config("ce", "").replace("ce.yaml", "still.yaml")
        Path(still).write_text("train: {lr: 1.0e-9, epochs: 1}\nmodel: {dropout_output: 0.0}\n")
        again = train_lm("again", "--config", still, "--init", str(first))
        one, other = (load_model(directory) for directory in (first, again))
        assert other.provenance["init"] == one.hash
        assert other.provenance["valid_ppl"] == pytest.approx(one.provenance["valid_ppl"], rel=1e-4)

    def test_it_says_if_no_epoch_is_better_than_the_start(self, train_lm, config, caplog):
        first = train_lm("first")
        wild = config("ce", "").replace("ce.yaml", "wild.yaml")
        Path(wild).write_text("train: {lr: 1.0, epochs: 1}\n")
        kept = f"{first.parent / 'again'}: no epoch is better than the weights it began with, which are kept"
        assert kept not in caplog.messages
        again = train_lm("again", "--config", wild, "--init", str(first))
        assert kept in caplog.messages
        assert load_model(again).provenance["epoch"] == 0

    def test_sizes_and_vocabulary_must_be_its_own(self, train_lm, data, config, tmp_path, capsys):
        first = str(train_lm("first"))
        (tmp_path / "other.yaml").write_text("model: {experts: 3}\n")
        command = ["train_lm", "--config", config(), *texts(data), "--init", first]
        other = ["--config", str(tmp_path / "other.yaml"), "--vocab", str(data), str(tmp_path / "lm")]
        assert main([*command, *other]) == 2
        assert "latent.bias is [8], expected [12] according to the config" in capsys.readouterr().err
        assert main([*command, str(tmp_path / "lm")]) == 2
        assert "the model has another vocabulary" in capsys.readouterr().err
