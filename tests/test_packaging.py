"""The built wheel, in an environment that holds nothing of this checkout.

Only the wheel is installed into a new, empty environment. What it needs (torch, …) is not downloaded again: a .pth file
lends it the libraries of the environment that runs this test. An editable installation of the checkout is not lent with
them, because .pth files in a lent directory are not read; a test asserts whose code it is that runs.
"""

from __future__ import annotations

import os
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
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True)
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
    assert "asr_rescore/py.typed" in names
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


def requirements(text: str) -> list[tuple[str, str]]:
    """Names and lower bounds of the packages that pyproject.toml names, extras and build requirements included."""
    return sorted(set(re.findall(r'"([A-Za-z0-9-]+)>=([0-9.]+)"', text)))


REQUIREMENTS = requirements((ROOT / "pyproject.toml").read_text("utf-8"))


def test_requirements_are_found():
    assert {"torch", "kaldiio", "pytest", "pytest-xdist", "setuptools", "ruff"} <= {name for name, _ in REQUIREMENTS}
    assert len(dict(REQUIREMENTS)) == len(REQUIREMENTS)  # each has one bound


@pytest.mark.parametrize("name", dict(REQUIREMENTS))
def test_every_requirement_is_pinned_and_explained(name):
    assert re.search(rf"^{name}==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert re.search(rf"^\| {name} \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)


def test_the_lowest_versions_are_the_lower_bounds():
    lines = (ROOT / "constraints-lowest.txt").read_text("utf-8").splitlines()
    pinned = [match.groups() for line in lines if (match := re.fullmatch(r"([A-Za-z0-9-]+)==([0-9.]+)", line))]
    bounds = dict(REQUIREMENTS)
    assert {name: release(version) for name, version in pinned} == {name: release(bounds[name]) for name, _ in pinned}
    not_for_tests = {"ruff", "mypy", "types-PyYAML", "types-tqdm", "nbclient", "ipykernel"}
    not_for_tests |= {"sphinx", "myst-parser", "furo", "latex2mathml", "playwright"}
    assert set(bounds) - {name for name, _ in pinned} == not_for_tests


def release(version: str) -> tuple[int, ...]:
    """2.5 and 2.5.0 are the same release."""
    return tuple(map(int, (version + ".0.0").split(".")[:3]))


def test_every_version_of_python_is_named_and_tested():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)
    assert f'requires-python = ">={named[0]}"' in text
    assert f'python_version = "{named[0]}"' in text  # mypy's
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert re.findall(r'"(3\.\d+)"', workflow) == named


def test_every_file_that_names_the_version_names_this_one():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
