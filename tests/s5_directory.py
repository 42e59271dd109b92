"""A directory from which the scripts of recipes/steps are called, shared by several test files."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from asr_rescore import kaldi
from conftest import ROOT

STEPS = ROOT / "recipes/steps"
RECORDER = """#!/bin/bash
printf '%q ' "$@" >> {calls}
echo >> {calls}
for argument; do case $argument in *.log) log=$argument ;; esac; done
echo "exp/lm: valid ppl 20.00" > "$log"
echo "exp/cache: 9 distributions over 5 words, 0.00 GB" >> "$log"
echo "rescored: %WER 5.00" >> "$log"
"""


class S5:
    """A directory as Kaldi's s5 directories are, with a stand-in for queue.pl that only notes how it was called."""

    def __init__(self, place: Path):
        self.place = place
        (place / "utils").mkdir()
        (place / "steps").mkdir()
        (place / "in").mkdir()
        kaldi.write_num_jobs(place / "in", 3)
        self.calls_file = place / "calls"
        self.add_program("utils/queue.pl", RECORDER.format(calls=self.calls_file))
        self.add_program("bin/asr-rescore", "#!/bin/sh\nexit 1\n")
        self.environment = {"PATH": f"{place}/bin:/usr/bin:/bin"}

    def add_program(self, name: str, text: str) -> Path:
        program = self.place / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
        return program

    def run(self, script: str | Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script if "/" in str(script) else STEPS / script, *arguments],
            cwd=self.place,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
        )

    def calls(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.calls_file.read_text().splitlines()]
