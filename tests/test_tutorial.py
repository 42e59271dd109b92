"""Runs docs/tutorial.ipynb, whose cells must print what is stored, and checks that docs/python.md is complete."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import Any

import pytest

import asr_rescore
from conftest import ROOT
from python_session import PythonSession

NOTEBOOK: dict[str, Any] = json.loads((ROOT / "docs/tutorial.ipynb").read_text("utf-8"))


@dataclass(frozen=True)
class Cell:
    """A code cell: its code, what it printed when it was stored, and how many figures it showed."""

    code: str
    printed: str
    figures: int


def code_cells() -> list[Cell]:
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    return [
        Cell(
            "".join(cell["source"]),
            "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream"),
            sum("image/png" in output.get("data", {}) for output in cell["outputs"]),
        )
        for cell in cells
    ]


@pytest.mark.slow
def test_cells_print_what_is_stored(checkout, environment, tmp_path):
    folder = shutil.copytree(checkout, tmp_path / "asr_rescore", symlinks=True) / "docs"
    with PythonSession(folder, {**environment, "MPLBACKEND": "Agg", "TMPDIR": str(tmp_path)}) as session:
        for cell in code_cells():
            assert session.run(cell.code) == cell.printed, cell.code


def test_the_notebook_is_stored_as_it_was_run():
    cells = code_cells()
    assert sum(cell.figures for cell in cells) == 1
    assert re.search(r"lists +\d+\.\d\d$", cells[-1].printed, re.MULTILINE)
    outputs = [output["output_type"] for cell in NOTEBOOK["cells"] for output in cell.get("outputs", [])]
    assert set(outputs) == {"stream", "display_data"}  # no error, and nothing that only Jupyter shows
    assert not any(cell["metadata"] for cell in NOTEBOOK["cells"])  # Jupyter may keep times there


def test_links_of_the_notebook_lead_somewhere():
    texts = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown"]
    links = re.findall(r"\]\(([^)#:]+)\)", "\n".join(texts))
    assert len(links) == 2
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.parametrize("name", asr_rescore.__all__)
def test_the_guide_shows_every_name(name):
    guide = (ROOT / "docs/python.md").read_text("utf-8")
    assert f"`{name}`" in guide
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL))
    assert re.search(rf"import .*\b{name}\b", code) or name == "Lattice"  # lattices come from read_lattices
