from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_rescore.cli.main import COMMANDS
from conftest import ROOT

PACKAGE = ROOT / "asr_rescore"
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
# A module imports only from rows above its own, or inside its own package. docs/architecture.md says why.
ROWS = [
    {"errors", "temporary"},
    {"files", "fingerprint", "interrupts", "locks", "progress", "ranges"},
    {"outputs", "records", "text_filter"},
    {"failures", "vocab", "lattice", "ngram", "config", "lm_config"},
    {"nbest", "scoring", "spelling", "vocab_files", "word_alignment"},
    {"kaldi", "corpus", "models"},
    {"checkpoint", "id_file", "objectives", "ranking", "word_errors"},
    {"tuning", "lm", "sclite", "statistics"},
    {"report"},
    {"training"},
    {"programs", "rescoring"},
    {"cli"},
]
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}
# Importing one of these never imports torch: --help, WER scoring and lattice work start at once.
LIGHT = [
    "errors",
    "temporary",
    "files",
    "fingerprint",
    "interrupts",
    "locks",
    "outputs",
    "progress",
    "ranges",
    "records",
    "failures",
    "vocab",
    "vocab_files",
    "nbest",
    "lattice",
    "ngram",
    "config",
    "lm_config",
    "corpus",
    "id_file",
    "kaldi",
    "scoring",
    "spelling",
    "text_filter",
    "ranking",
    "word_alignment",
    "word_errors",
    "tuning",
    "sclite",
    "statistics",
    "report",
    "programs",
]
ONLY_USER = {
    "kaldiio": "kaldi",
    "jiwer": "word_errors",
    "rapidfuzz": "word_alignment",
    "jinja2": "report",
    "matplotlib": "report",
}
LONGEST = 400

MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(
    script for folder in ("asr_rescore", "bin", "tests", "benchmarks") for script in (ROOT / folder).rglob("*.py")
)


def room_of(module: Path) -> str:
    """``asr_rescore/kaldi/lattices.py`` and ``asr_rescore/wer.py`` are in the rooms ``kaldi`` and ``wer``."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the full name of all that is imported anywhere in a module, in functions too; ``package`` holds it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: -node.level + 1 or None] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def imports_of(module: Path) -> list[str]:
    package = ".".join(module.relative_to(ROOT).parent.parts)
    return list(imported(ast.parse(module.read_text("utf-8")), package))


def own_rooms(names: list[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("asr_rescore.")} - {"__version__"}


def name_of(module: Path) -> str:
    return str(module.relative_to(ROOT))


@pytest.mark.parametrize(
    ("source", "package", "names"),
    [
        ("import asr_rescore.kaldi.lattices", "asr_rescore", ["asr_rescore.kaldi.lattices"]),
        ("from asr_rescore import __version__, kaldi", "x", ["asr_rescore.__version__", "asr_rescore.kaldi"]),
        ("def f():\n    from asr_rescore.word_errors import wer", "x", ["asr_rescore.word_errors.wer"]),
        ("from . import graph", "asr_rescore.lattice", ["asr_rescore.lattice.graph"]),
        ("from ..errors import InputError", "asr_rescore.lattice", ["asr_rescore.errors.InputError"]),
        ("import torch.nn as nn, numpy", "x", ["torch.nn", "numpy"]),
    ],
)
def test_imports_are_found_wherever_they_stand(source, package, names):
    assert list(imported(ast.parse(source), package)) == names


def test_every_room_has_a_row_and_every_row_its_rooms():
    assert {room_of(module) for module in MODULES} - {"__init__"} == set(LEVEL)


def test_the_page_about_it_has_the_same_rows():
    cells = [line.split("|")[1:3] for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    rows = [{name.removesuffix("/") for name in re.findall(r"`(.+?)`", rooms)} for _, rooms in cells]
    assert rows == ROWS


@pytest.mark.parametrize("room", ["lm", "training"])
def test_the_page_about_it_names_each_module(room):
    part = PAGE.split(f"\n- **{room}/**")[1].split("\n- **")[0]
    modules = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    assert set(re.findall(r"\*(\w+)\*", part)) == modules


def test_the_page_about_it_names_each_small_program():
    shown = {path.stem for path in (PACKAGE / "programs").glob("*.py")} - {"__init__", "sources"}
    (line,) = [line for line in PAGE.splitlines() if "the small programs" in line]
    assert shown <= set(re.findall(r"`(\w+)`", line))


def test_the_package_itself_imports_nothing():
    run_python(
        "import sys, asr_rescore\n"
        "loaded = [name for name in sys.modules if name.startswith('asr_rescore.')]\n"
        "assert not loaded, loaded\n"
    )


@pytest.mark.parametrize("module", [path for path in MODULES if room_of(path) in LEVEL], ids=name_of)
def test_imports_run_one_way(module):
    room = room_of(module)
    allowed = {room} | {other for other, level in LEVEL.items() if level < LEVEL[room]}
    assert own_rooms(imports_of(module)) <= allowed


@pytest.mark.parametrize(("library", "room"), ONLY_USER.items())
def test_a_format_library_has_one_user(library, room):
    users = {room_of(module) for module in MODULES if library in {name.split(".")[0] for name in imports_of(module)}}
    assert users == {room}


@pytest.mark.parametrize("room", ["nbest", "lattice", "ngram"])
def test_pure_algorithms_never_use_torch(room):
    modules = [module for module in MODULES if room_of(module) == room]
    assert modules
    assert not any(name.split(".")[0] == "torch" for module in modules for name in imports_of(module))


def run_python(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_light_modules_are_imported_without_torch():
    light = [path.relative_to(ROOT).with_suffix("") for path in MODULES if room_of(path) in {*LIGHT, "cli"}]
    names = [".".join(path.parts).removesuffix(".__init__") for path in light]
    assert len(names) > len(LIGHT)
    run_python(
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, f'{name} imports torch'\n"
    )


def test_help_of_every_command_starts_without_torch():
    run_python(
        "import sys\n"
        "from asr_rescore.cli.main import main\n"
        f"for name in {list(COMMANDS)!r}:\n"
        "    try:\n"
        "        main([name, '--help'])\n"
        "    except SystemExit as stopped:\n"
        "        assert stopped.code == 0, name\n"
        "    else:\n"
        "        raise AssertionError(f'{name} --help did not stop')\n"
        "    assert 'torch' not in sys.modules, f'{name} --help imports torch'\n"
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_file_stays_short_enough_to_read(script):
    assert len(script.read_text("utf-8").splitlines()) <= LONGEST
