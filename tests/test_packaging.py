"""The built wheel, in an environment that holds nothing of this checkout.

Only the wheel is installed into a new, empty environment. What it needs (torch, …) is not downloaded again: a .pth file
lends it the libraries of the environment that runs this test. An editable installation of the checkout is not lent with
them, because .pth files in a lent directory are not read; a test asserts whose code it is that runs.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from asr_rescore import __version__
from asr_rescore.cli.main import COMMANDS
from conftest import ROOT


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree, so that no stale build/ gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(checkout, folder / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    run(*pip, "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin/ directory of an environment that has the wheel and lends the rest."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, wheel, cwd=folder)
    libraries = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    lent = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (libraries / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
    return python.parent


@pytest.mark.slow
def test_wheel_holds_the_whole_package_and_its_license(wheel, checkout):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {str(path.relative_to(checkout)) for path in (checkout / "asr_rescore").rglob("*.*")}
    files = {name for name in files if "__pycache__" not in name}  # other tests run the commands of the checkout
    assert files == {name for name in names if ".dist-info/" not in name}
    assert any(name.endswith("/LICENSE") for name in names)
    assert wheel.name == f"asr_rescore-{__version__}-py3-none-any.whl"


@pytest.mark.slow
def test_what_runs_is_the_wheel_not_the_checkout(installed, tmp_path):
    where = run(installed / "python", "-c", "import asr_rescore; print(asr_rescore.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(installed.parent)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_starts(installed, tmp_path, name):
    assert run(installed / "asr-rescore", name, "--help", cwd=tmp_path).startswith(f"usage: asr-rescore {name} ")


@pytest.mark.slow
def test_the_wheel_scores_a_transcript(installed, tmp_path):
    (tmp_path / "ref").write_text("utt1 a b c d\n")
    (tmp_path / "hyp").write_text("utt1 a x c d\n")
    assert "%WER 25.00 [ 1 / 4, 0 ins, 0 del, 1 sub ]" in run(
        installed / "asr-rescore", "score_wer", "ref", "hyp", cwd=tmp_path
    )


@pytest.mark.slow
def test_version(installed, tmp_path):
    assert run(installed / "asr-rescore", "--version", cwd=tmp_path) == f"asr-rescore {__version__}\n"


def requirements() -> list[str]:
    """Names of all that setup.py requires, extras included."""
    constants = (node.value for node in ast.walk(ast.parse((ROOT / "setup.py").read_text("utf-8"))) if is_text(node))
    return [name for text in constants for name in re.findall(r"^([a-z]+)>=", text)]


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_requirements_are_found():
    assert {"torch", "kaldiio", "pytest", "ruff"} <= set(requirements())


@pytest.mark.parametrize("name", requirements())
def test_every_requirement_is_pinned_and_explained(name):
    assert re.search(rf"^{name}==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert re.search(rf"^\| {name} \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
