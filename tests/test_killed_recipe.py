"""recipes/wsj/run.sh that is killed, and given again with the same command."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

CONF = {
    "teacher": "model: {embedding: 8, hidden: [12, 8], experts: 2, embedding_init: 1.0, dropout_output: 0.1}\n",
    "student_ce": "model: {embedding: 6, hidden: [6, 6], experts: 1, embedding_init: 1.0}\nobjective: {kind: ce}\n",
}
CONF["student_fixed"] = CONF["student_ce"].replace("kind: ce", "kind: fixed, label_weight: 0.01")
CONF["student_trust"] = CONF["student_ce"].replace("kind: ce", "kind: trust, alpha: 0.01")
TRAIN = "train: {optimizer: adamw, lr: 0.01, batch: 8, bptt: 35, epochs: 2}\n"
SENTENCES = 400


def begun(exp: Path, directory: str) -> bool:
    """Whether one epoch of a training has ended, and the other has not."""
    return (exp / directory / "training_state.safetensors").exists()


# What is going on → whether it is.
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "teachers": lambda exp: begun(exp, "teacher_17"),
    "students": lambda exp: begun(exp, "student_trust"),
    "rescoring": lambda exp: (exp / "student_ce/decode_first_pass_1/log/finish.log").exists(),
}


class Recipe:
    """Runs the recipe into a directory of its own, each time with the same command.

    Args:
        checkout: where the recipe is.
        environment: in which it finds the commands.
        place: for its output.
        options: of the recipe.
    """

    def __init__(self, checkout: Path, environment: dict[str, str], place: Path, *options: str | Path):
        place.mkdir()
        self.place = place
        self.exp = place / "exp"
        self.log = place / "log"
        self.command = ["bash", checkout / "recipes/wsj/run.sh", "--exp", self.exp, *options]
        self.environment = environment

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            streams = {"stdout": log, "stderr": subprocess.STDOUT}
            return subprocess.Popen(
                self.command, cwd=self.place, env=self.environment, start_new_session=True, **streams
            )

    def kill_at(self, moment: Callable[[Path], bool]) -> None:
        """Run it until a moment, and kill all its processes."""
        process = self.start()
        while process.poll() is None and not moment(self.exp):
            time.sleep(0.01)
        assert process.returncode is None, self.log.read_text()
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL

    def tables(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (self.exp / "report").iterdir() if file.suffix != ".html"}


@pytest.mark.slow
def test_a_recipe_that_was_killed_three_times_ends_with_the_same_table(
    checkout, environment, tmp_path, mini, lang, decode, data
):
    for name, config in CONF.items():
        (tmp_path / f"{name}.yaml").write_text(config + TRAIN)
    with gzip.open(mini / "text/train.txt.gz", "rt", encoding="utf-8") as text:
        (tmp_path / "text").write_text("".join(islice(text, SENTENCES)))
    for name in ("dev", "eval"):  # the same lattices: what matters is that the weights of dev are applied to eval
        (tmp_path / name).symlink_to(decode)
    first_pass = ["--decode-dirs", f"{tmp_path}/dev {tmp_path}/eval", "--data-dirs", f"{data} {data}"]
    options = [*first_pass, "--lang-dir", lang, "--train-text", tmp_path / "text", "--conf", tmp_path, "--n", "10"]
    killed = Recipe(checkout, environment, tmp_path / "killed", *options)
    undisturbed = Recipe(checkout, environment, tmp_path / "undisturbed", *options)
    beside = undisturbed.start()
    try:
        for what, moment in MOMENTS.items():
            killed.kill_at(moment)
            assert list((killed.exp / "stages").glob("*.begun")), what
        assert killed.start().wait() == 0, killed.log.read_text()
        assert beside.wait() == 0, undisturbed.log.read_text()
    finally:
        if beside.poll() is None:
            os.killpg(beside.pid, signal.SIGKILL)
            beside.wait()
    assert {"report.txt", "report.json"} <= killed.tables().keys()
    assert "How often words of each confidence are correct" in (killed.exp / "report/report.html").read_text()
    assert killed.tables() == undisturbed.tables()
