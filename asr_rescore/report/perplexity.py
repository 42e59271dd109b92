"""Tables of perplexities over many models, several seeds to a row, beside what a paper gives."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from asr_rescore.errors import InputError
from asr_rescore.report.table import NOTHING, markdown


@dataclass(frozen=True)
class PerplexityRow:
    """A row: one model, or the same one trained from several seeds.

    Attributes:
        name: what the row is called.
        models: pattern of model directories below the experiment's, e.g. ``student_trust_*``.
        paper: what a paper gives, as text.
    """

    name: str
    models: str
    paper: str = NOTHING

    def directories(self, experiment: Path) -> list[Path]:
        """The finished models of the row."""
        found = experiment.glob(f"{self.models}/provenance.json")
        return sorted(path.parent for path in found)


@dataclass(frozen=True)
class PerplexityTable:
    """A title and its rows."""

    title: str
    rows: tuple[PerplexityRow, ...]


def read_tables(path: Path) -> list[PerplexityTable]:
    """Read ``title → [{name, models, paper}, …]`` from YAML.

    Raises:
        InputError: it is something else.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [
            PerplexityTable(title, tuple(PerplexityRow(**row) for row in rows))  # a list of mappings of these keys
            for title, rows in tree.items()
        ]
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        found, expected = " ".join(str(error).split()), "titles, each with rows of name, models and paper"
        raise InputError(path, found=found, expected=expected, remedy="see recipes/ptb/conf/tables.yaml") from error


def measured(directory: Path, text: str) -> dict[str, Any]:
    """What ``compute_ppl --json`` left beside a model about a text (``valid`` or ``test``); empty if nothing."""
    path = directory / f"ppl_{text}.json"
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(path, found=str(error), expected="JSON", remedy="make it again: compute_ppl --json") from error


def spread(values: Sequence[float]) -> str:
    """``57.80``, or mean, standard deviation and number of several."""
    if not values:
        return NOTHING
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} ± {stdev(values):.2f} ({len(values)})"


def to_markdown(tables: Sequence[PerplexityTable], experiment: Path) -> str:
    """The tables; a row without any model says so by dashes, columns of dynamic evaluation only where there is any."""
    return "\n".join(_table(table, experiment) for table in tables)


def _table(table: PerplexityTable, experiment: Path) -> str:
    rows = [(row, row.directories(experiment)) for row in table.rows]
    columns = [("valid", "ppl"), ("test", "ppl"), ("valid", "dynamic_ppl"), ("test", "dynamic_ppl")]
    values = {
        (row.name, column): list(_values(directories, *column)) for row, directories in rows for column in columns
    }
    columns = [column for column in columns if column[1] == "ppl" or any(values[row.name, column] for row, _ in rows)]
    header = ["model", "parameters", *(f"{'dynamic ' * (kind != 'ppl')}{text}" for text, kind in columns), "paper"]
    lines = [header]
    for row, directories in rows:
        sizes = {json.loads((path / "provenance.json").read_text("utf-8"))["parameters"] for path in directories}
        size = NOTHING if not sizes else f"{max(sizes):,}"
        lines.append([row.name, size, *(spread(values[row.name, column]) for column in columns), row.paper])
    return f"### {table.title}\n\n{markdown(lines)}"


def _values(directories: Sequence[Path], text: str, kind: str) -> Iterator[float]:
    for directory in directories:
        value = measured(directory, text).get(kind)
        if value is not None and math.isfinite(value):
            yield value
