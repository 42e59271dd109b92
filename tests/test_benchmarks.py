"""The benchmarks start: what they import is there. Their figures are in benchmarks/results."""

import runpy
import sys

import pytest

from conftest import ROOT


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_its_imports_are_there(script, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(script.parent), *sys.path])
    assert "main" in runpy.run_path(str(script), run_name="benchmark")
