"""Tables of the perplexities of many models, next to those of a paper. A row can be the mean over several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from asr_rescore.ranges import Range
from asr_rescore.records import Record, read_json, read_yaml
from asr_rescore.report.table import NOTHING, markdown

# Heading → the text, and the key in the result of compute_ppl.
COLUMNS = {
    "valid": ("valid", "ppl"),
    "test": ("test", "ppl"),
    "dynamic valid": ("valid", "dynamic_ppl"),
    "dynamic test": ("test", "dynamic_ppl"),
}
ALWAYS = ("valid", "test")  # columns of every table
PERPLEXITY = Range(least=1)


@dataclass(frozen=True)
class PerplexityRow:
    """A row of a table: one model, or one model trained from several seeds.

    Attributes:
        name: name of the row.
        models: pattern of the model directories, relative to that of the experiment, e.g. ``student_trust_*``.
        paper: the perplexities in the paper, as text.
    """

    name: str
    models: str
    paper: str = NOTHING

    def directories(self, experiment: Path) -> list[Path]:
        """The directories of the row's models whose training is finished."""
        found = experiment.glob(f"{self.models}/provenance.json")
        return sorted(path.parent for path in found)


@dataclass(frozen=True)
class PerplexityTable:
    """A title and its rows."""

    title: str
    rows: tuple[PerplexityRow, ...]


def read_tables(path: Path) -> list[PerplexityTable]:
    """Read ``title → [{name, models, paper}, …]`` from a YAML file.

    Raises:
        InputError: the file is missing or has another form.
    """
    kind = "titles, each with rows of name, models and paper"
    remedy = "see recipes/ptb/conf/tables.yaml"
    tree = Record.of(read_yaml(path, kind, remedy), str(path), kind, remedy)
    return [PerplexityTable(title, tuple(_row(row) for row in tree.records(title))) for title in tree.values]


def _row(row: Record) -> PerplexityRow:
    known = [entry.name for entry in fields(PerplexityRow)]
    for name in row.values:
        if name not in known:
            row.refuse(name, "none but " + ", ".join(known))
    models = row.text("models")
    if not models or Path(models).is_absolute():
        row.refuse("models", "a pattern relative to the experiment")
    return PerplexityRow(row.text("name"), models, row.text("paper") if "paper" in row else NOTHING)


def result_path(directory: Path, text: str) -> Path:
    """Where the result of ``compute_ppl --json`` on valid or test is in a model directory."""
    return directory / f"ppl_{text}.json"


def measured(directory: Path, text: str) -> dict[str, Any]:
    """Read the result of ``compute_ppl --json`` from a model directory.

    Args:
        directory: the model directory.
        text: ``valid`` or ``test``.

    Returns:
        The content of ``ppl_<text>.json``; empty if there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    path = result_path(directory, text)
    if not path.exists():
        return {}
    record = read_json(path, "a result of compute_ppl", "create it again with compute_ppl --json")
    for key in ("ppl", "dynamic_ppl"):
        if key in record.values and record.values[key] != math.inf:  # what a useless model gives
            record.number(key, PERPLEXITY)
    return dict(record.values)


def spread(values: Sequence[float]) -> str:
    """Format one value as ``57.80``, several as their mean, standard deviation and number: ``57.80 ± 0.21 (3)``."""
    if not values:
        return NOTHING
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} ± {stdev(values):.2f} ({len(values)})"


def to_markdown(tables: Sequence[PerplexityTable], experiment: Path) -> str:
    """Format tables with the results in the directory ``experiment``.

    A row without any model has dashes. Columns of dynamic evaluation are left out if no model has a result for them.
    """
    return "\n".join(_table(table, experiment) for table in tables)


def _table(table: PerplexityTable, experiment: Path) -> str:
    found = []  # for each row: size, and column → perplexities
    for row in table.rows:
        directories = row.directories(experiment)
        values = {name: _values(directories, text, key) for name, (text, key) in COLUMNS.items()}
        found.append((_size(directories), values))
    columns = [name for name in COLUMNS if name in ALWAYS or any(values[name] for _, values in found)]
    lines = [["model", "parameters", *columns, "paper"]]
    for row, (size, values) in zip(table.rows, found, strict=True):
        lines.append([row.name, size, *(spread(values[name]) for name in columns), row.paper])
    return f"### {table.title}\n\n{markdown(lines)}"


def _size(directories: Sequence[Path]) -> str:
    """The number of parameters of the largest model."""
    if not directories:
        return NOTHING
    facts = [
        read_json(path / "provenance.json", "the provenance of a model", "copy the file again") for path in directories
    ]
    return f"{max(fact.integer('parameters') for fact in facts):,}"


def _values(directories: Sequence[Path], text: str, key: str) -> list[float]:
    """The finite perplexities among the results of the models."""
    values = [measured(directory, text).get(key) for directory in directories]
    return [value for value in values if value is not None and math.isfinite(value)]
