"""What is loaded when: the package costs nothing to import, and commands that use no model never load torch.

Each test runs in a process of its own and looks at its modules after the work, so that no import escapes it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import GOLDENS, ROOT

EXPENSIVE = {"torch", "numpy", "jiwer", "kaldiio", "yaml", "safetensors", "tqdm"}


def loaded_by(script: str) -> set[str]:
    """The expensive modules that a process has after it ran ``script``."""
    script += f"\nimport sys\nprint('loaded:', *({EXPENSIVE!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def loaded_by_command(*arguments: str | Path) -> set[str]:
    """The expensive modules that a process has after it ran a command, which must succeed."""
    words = [str(argument) for argument in arguments]
    return loaded_by(f"from asr_rescore.cli.main import main\nassert main({words!r}) == 0")


def test_the_package_loads_nothing():
    assert loaded_by("import asr_rescore\nassert asr_rescore.__version__ and dir(asr_rescore)") == set()


def test_a_name_of_the_package_loads_what_it_needs():
    assert loaded_by("from asr_rescore import ErrorCount, Lattice, mbr_decode, n_best") == {"numpy"}
    assert "torch" in loaded_by("from asr_rescore import load_model")


def test_the_overview_of_commands_loads_no_torch():
    assert "torch" not in loaded_by_command("--help")
    assert loaded_by_command("--version") == set()


def test_prepare_text(tmp_path):
    (tmp_path / "text").write_text("the board met\nno share fell\n" * 20)
    assert "torch" not in loaded_by_command("prepare_text", tmp_path / "text", tmp_path / "out")
    assert (tmp_path / "out" / "vocab.txt").exists()


@pytest.mark.parametrize("details", [False, True])
def test_score_wer(tmp_path, details):
    text = GOLDENS / "lattice" / "ref.txt"
    options = ["--details-dir", tmp_path] if details else []
    assert not {"torch", "jiwer"} & loaded_by_command("score_wer", *options, text, text)


def test_lattice_to_nbest(lang, decode, tmp_path):
    assert "torch" not in loaded_by_command("lattice_to_nbest", "--n", 5, decode, lang / "words.txt", tmp_path)
    assert (tmp_path / "archives.2" / "words_text").exists()


def test_lattice_to_ctm(lang, decode, tmp_path):
    assert "torch" not in loaded_by_command("lattice_to_ctm", lang / "words.txt", decode, tmp_path / "ctm")
    assert (tmp_path / "ctm").read_text()


def test_report(rescore, tmp_path):
    assert rescore("--lm-weight", 0.5)[0] == 0
    assert "torch" not in loaded_by_command("report", tmp_path / "out", tmp_path / "report")
    assert (tmp_path / "report" / "report.html").exists()


def test_study(tmp_path):
    (tmp_path / "study.yaml").write_text("regimes: {a: A}\narms: {kl: KL}\nbaseline: kl\n")
    assert "torch" not in loaded_by_command("study", tmp_path / "study.yaml", tmp_path)


def test_ppl_table(tmp_path):
    (tmp_path / "tables.yaml").write_text("Table 1:\n- {name: teacher, models: teacher, paper: '60'}\n")
    assert "torch" not in loaded_by_command("ppl_table", tmp_path / "tables.yaml", tmp_path)
