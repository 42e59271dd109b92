"""Two processes train one model: as one process would, to rounding; and they continue bit for bit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import distributed_runs
from asr_rescore.checkpoint import load_training_state
from asr_rescore.cli.main import main
from asr_rescore.errors import UsageError
from asr_rescore.training import Ranks
from asr_rescore.training.state import STATE_FILE
from conftest import ROOT
from distributed_runs import CASES
from small_text import prepare, write_text

pytestmark = pytest.mark.slow  # processes that import torch

ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes leave after all cases."""
    folder = tmp_path_factory.mktemp("together")
    script = str(Path(distributed_runs.__file__))
    processes = [subprocess.Popen([sys.executable, script, str(rank), str(folder)], env=ENVIRONMENT) for rank in (0, 1)]
    assert [process.wait() for process in processes] == [0, 3]
    return folder


@pytest.fixture(scope="module")
def found(folder) -> list[dict]:
    return [json.loads((folder / f"found.{rank}.json").read_text()) for rank in (0, 1)]


def log_of(directory: Path) -> list[dict]:
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def state_of(directory: Path) -> tuple[dict[str, torch.Tensor], dict]:
    return load_training_state(directory / STATE_FILE)


def assert_same_end(one: Path, other: Path) -> None:
    assert log_of(one) == log_of(other)
    ours = state_of(one)[0]
    theirs = state_of(other)[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns(folder, tmp_path, name):
    distributed_runs.run_alone(tmp_path, name)
    alone = log_of(tmp_path / name)
    together = log_of(folder / name)
    assert len(together) == 3
    for ours, theirs in zip(together, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    weights = state_of(folder / name)[0]
    for key, tensor in state_of(tmp_path / name)[0].items():
        if key.startswith(("model", "mean")):
            torch.testing.assert_close(weights[key], tensor, rtol=1e-3, atol=1e-4)
    assert weights["streams.shifts"].tolist() == state_of(tmp_path / name)[0]["streams.shifts"].tolist()


def test_streams_and_seeds_are_divided(found):
    assert [one["columns"] for one in found] == [[0, 2], [2, 5]]
    assert found[0]["seed"] == 3 != found[1]["seed"]
    with pytest.raises(UsageError, match="train: 2 streams for 3 processes; raise train.batch or start fewer"):
        Ranks(0, 3).columns(2)


def test_with_dropout_the_weights_are_equal_and_the_masks_are_not(found):
    assert found[0]["weights"] == found[1]["weights"]
    assert found[0]["drawn"] != found[1]["drawn"]


def test_a_state_has_the_streams_of_both(folder):
    tensors, facts = state_of(folder / "straight")
    assert facts["run"]["processes"] == 2
    own = [tensors["student.state.0.0.0"], tensors["rank1.student.state.0.0.0"]]
    assert [state.shape[1] for state in own] == [1, 1]  # small_batch 1
    assert "student.state.2.0.0" not in tensors and "rank1.student.state.2.0.0" in tensors
    assert not torch.equal(tensors["random.cpu"], tensors["rank1.random.cpu"])


def test_killed_processes_continue_bit_for_bit(folder):
    lines = (folder / "killed/log.jsonl").read_text().splitlines()
    epochs = [line for line in map(json.loads, lines) if "valid_ppl" in line]
    assert len(epochs) == 3 and len(lines) == epochs[-1]["step"]  # a line and a state after each step
    ours = state_of(folder / "killed")[0]
    theirs = state_of(folder / "straight")[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    model = "model.safetensors"
    assert (folder / "killed" / model).read_bytes() == (folder / "straight" / model).read_bytes()


def test_what_is_refused(found):
    assert "killed was begun with 2 processes, but this training has 1; start 2" in found[0]["other count"]
    for one in found:
        assert "different runs (different: config, facts); give all" in one["different runs"]
        assert one["few streams"].startswith("UsageError: train: 1 streams for 2 processes")
        assert one["equal"] == ""
        assert one["unequal"].startswith("RescoreError: the weights of the 2 processes differ")


def test_a_signal_to_one_process_saves_and_ends_all(folder, found):
    assert found[0]["signal"] == "KeyboardInterrupt: "
    assert found[1]["signal"] == "Terminated: "
    assert state_of(folder / "signalled")[1]["progress"]["steps"] == 6


def test_the_end_of_a_process_is_an_error_of_the_others(found):
    assert found[0]["left"].startswith("RescoreError: another process of this training has ended")
    assert "left" not in found[1]


CONFIG = """\
model: {embedding: 4, hidden: [5, 4], experts: 2, embedding_init: 1.0, dropout_hidden: 0.2}
train: {optimizer: adamw, lr: 0.01, epochs: 20, batch: 3, bptt: 5}
"""


class TestTorchrun:
    @pytest.fixture
    def arguments(self, tmp_path, capsys) -> list[str]:
        text = prepare(write_text(tmp_path / "text.gz"), tmp_path / "text", 8)
        capsys.readouterr()
        (tmp_path / "config.yaml").write_text(CONFIG)
        texts = ["--train", str(text / "train.txt"), "--valid", str(text / "valid.txt"), "--vocab", str(text)]
        return ["--config", str(tmp_path / "config.yaml"), *texts]

    def start(self, command: str, *arguments: str) -> subprocess.Popen:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        script = str(ROOT / "bin" / f"{command}.py")
        words = [*launcher, script, *arguments]
        return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def own_lines(self, text: str) -> list[str]:
        """The lines that torchrun did not write."""
        return [line for line in text.splitlines() if line.startswith("asr-rescore")]

    def test_a_killed_process_ends_all_and_the_same_command_continues(self, tmp_path, arguments):
        straight = self.start("train_lm", *arguments, str(tmp_path / "straight"))
        output, errors = straight.communicate()
        assert straight.returncode == 0, errors
        # before this, one of the two may have said that it waits for the other to encode the text
        assert re.search(f"^{tmp_path / 'straight'}: .* on 2 × cpu$", output, re.MULTILINE)
        assert len(re.findall("^epoch", output, re.MULTILINE)) == 20  # one process speaks

        killed = self.start("train_lm", *arguments, str(tmp_path / "killed"))
        while not (tmp_path / "killed/log.jsonl").exists() or not (tmp_path / "killed/log.jsonl").stat().st_size:
            time.sleep(0.01)
        owner = re.match(r"process (\d+) on", (tmp_path / "killed/.lock").read_text())
        os.kill(int(owner[1]), signal.SIGKILL)
        _, errors = killed.communicate()
        assert killed.returncode != 0
        assert len(self.own_lines(errors)) == 1
        assert len(log_of(tmp_path / "killed")) < 20

        again = self.start("train_lm", *arguments, str(tmp_path / "killed"))
        _, errors = again.communicate()
        assert again.returncode == 0, errors
        assert_same_end(tmp_path / "killed", tmp_path / "straight")

    def test_an_error_of_all_is_said_once(self, tmp_path, arguments):
        wrong = self.start("train_lm", *arguments, "--init", str(tmp_path / "nothing"), str(tmp_path / "lm"))
        _, errors = wrong.communicate()
        assert wrong.returncode != 0
        assert len(self.own_lines(errors)) == 1 and "nothing: found no model.safetensors" in errors

    def test_sigterm_saves_and_the_student_learns_too(self, tmp_path, arguments):
        teacher = tmp_path / "teacher"
        assert main(["train_lm", "--device", "cpu", *arguments, str(teacher)]) == 0
        (tmp_path / "config.yaml").write_text(
            CONFIG.replace("epochs: 20", "epochs: 2000") + "objective: {kind: trust}\n"
        )
        words = [word for word in arguments if word != "--vocab"][:-1]
        student = self.start("distill_lm", *words, str(teacher), str(tmp_path / "student"))
        while not (tmp_path / "student/log.jsonl").exists() or not (tmp_path / "student/log.jsonl").stat().st_size:
            time.sleep(0.01)
        saved = (tmp_path / "student" / STATE_FILE).stat().st_mtime_ns
        student.terminate()
        _, errors = student.communicate()
        assert self.own_lines(errors) in (
            ["asr-rescore distill_lm: terminated"],
            ["asr-rescore distill_lm: interrupted"],
        )
        assert (tmp_path / "student" / STATE_FILE).stat().st_mtime_ns > saved
        assert "rank1.teacher.state.0.0.0" in state_of(tmp_path / "student")[0]
