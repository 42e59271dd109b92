"""What several test files share: where things stand, and commands that run this checkout, installed or not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A busy machine is no failure; time limits of single examples are.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def mini() -> Path:
    """The embedded corpus; read-only."""
    return ROOT / "recipes/wsj/mini"


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the source tree holds, without what was built or computed in it."""
    copy = tmp_path_factory.mktemp("checkout") / "asr_rescore"
    built = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    computed = {str(ROOT / "recipes" / recipe / "exp") for recipe in ("wsj", "ptb")}

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {*built(folder, names), *(name for name in names if str(Path(folder, name)) in computed)}

    shutil.copytree(ROOT, copy, ignore=ignore)
    return copy


@pytest.fixture(scope="session")
def environment(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which ``asr-rescore`` and ``python`` run the copy of :func:`checkout`."""
    programs = tmp_path_factory.mktemp("programs")
    for name, call in {"asr-rescore": " -m asr_rescore.cli.main", "python": "", "python3": ""}.items():
        program = programs / name  # not a link: from another place, an environment's python does not know its own
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{call} "$@"\n')
        program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
    }
