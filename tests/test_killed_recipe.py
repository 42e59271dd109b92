"""recipes/wsj/run.sh that is killed, and given again with the same command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CONF = {
    "teacher": "model: {embedding: 8, hidden: [12, 8], experts: 2, embedding_init: 1.0, dropout_output: 0.1}\n",
    "student_ce": "model: {embedding: 6, hidden: [6, 6], experts: 1, embedding_init: 1.0}\nobjective: {kind: ce}\n",
}
CONF["student_fixed"] = CONF["student_ce"].replace("kind: ce", "kind: fixed, label_weight: 0.01")
CONF["student_trust"] = CONF["student_ce"].replace("kind: ce", "kind: trust, alpha: 0.01")
TRAIN = "train: {optimizer: adamw, lr: 0.01, batch: 64, bptt: 70, epochs: 2}\n"


def begun(exp: Path, directory: str) -> bool:
    """Whether one epoch of a training has ended, and the other has not."""
    return (exp / directory / "training_state.safetensors").exists()


# What is going on → whether it is.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "teachers": lambda exp: begun(exp, "teacher_17"),
    "students": lambda exp: begun(exp, "student_trust"),
    "rescoring": lambda exp: (exp / "student_ce/decode_tgpr_dev/log/finish.log").exists(),
}


@pytest.mark.slow
def test_a_recipe_that_was_killed_three_times_ends_with_the_same_table(checkout, environment, tmp_path):
    for name, config in CONF.items():
        (tmp_path / f"{name}.yaml").write_text(config + TRAIN)
    exp = tmp_path / "exp"
    options = ["--conf", tmp_path, "--exp", exp, "--n", "10", "--graphs", "tgpr"]
    command = ["bash", checkout / "recipes/wsj/run.sh", *options]
    with_log = {"cwd": tmp_path, "env": environment, "stderr": subprocess.STDOUT, "start_new_session": True}

    def run(until: Callable[[Path], bool] | None = None) -> int:
        """Run it to its end, or kill all of its processes at a moment."""
        with (tmp_path / "log").open("ab") as log, subprocess.Popen(command, stdout=log, **with_log) as process:
            while until is not None and process.poll() is None:
                if until(exp):
                    os.killpg(process.pid, signal.SIGKILL)
                    break
                time.sleep(0.01)
        return process.returncode

    def tables() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (exp / "report").iterdir() if file.suffix != ".html"}

    assert run() == 0, (tmp_path / "log").read_text()
    expected = tables()
    assert {"report.txt", "report.json"} <= expected.keys()
    shutil.rmtree(exp)
    for what, moment in MOMENTS.items():
        assert run(until=moment) == -signal.SIGKILL, f"{what}: {(tmp_path / 'log').read_text()}"
        assert list((exp / "stages").glob("*.begun")), what
    assert run() == 0, (tmp_path / "log").read_text()
    assert tables() == expected
