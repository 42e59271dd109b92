"""Tables of perplexities: rows over several seeds, columns only for existing results."""

from __future__ import annotations

import json

import pytest

from asr_rescore.cli.main import main
from asr_rescore.errors import InputError
from asr_rescore.report.perplexity import read_tables, spread, to_markdown

TABLES = """
"Table 1":
  - {name: teacher, models: teacher_*, paper: 58.1/56.0}
  - {name: student, models: "student_[0-9]"}
"Table 2":
  - {name: never trained, models: nothing_*}
"""


@pytest.fixture
def experiment(tmp_path):
    for name, valid, test in [("teacher_1", 60.0, 58.0), ("student_1", 70.0, 69.0), ("student_2", 72.0, None)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "provenance.json").write_text(json.dumps({"parameters": 7_012_380}))
        for text, ppl in {"valid": valid, "test": test}.items():
            if ppl:
                (tmp_path / name / f"ppl_{text}.json").write_text(json.dumps({"ppl": ppl}))
    (tmp_path / "student_killed").mkdir()
    (tmp_path / "tables.yaml").write_text(TABLES)
    return tmp_path


def cells(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]


def test_a_row_is_the_mean_over_its_seeds(experiment):
    header, _, teacher, student, *_ = cells(to_markdown(read_tables(experiment / "tables.yaml"), experiment))
    assert header == ["model", "parameters", "valid", "test", "paper"]
    assert teacher == ["teacher", "7,012,380", "60.00", "58.00", "58.1/56.0"]
    assert student == ["student", "7,012,380", "71.00 ± 1.41 (2)", "69.00", "–"]


def test_a_model_that_was_not_trained_is_a_row_of_dashes(experiment):
    assert cells(to_markdown(read_tables(experiment / "tables.yaml"), experiment))[-1] == ["never trained", *"––––"]


def test_dynamic_evaluation_has_columns_where_there_is_any(experiment):
    (experiment / "student_1/ppl_valid.json").write_text(json.dumps({"ppl": 70.0, "dynamic_ppl": 61.0}))
    table = cells(to_markdown(read_tables(experiment / "tables.yaml"), experiment))
    assert table[0] == ["model", "parameters", "valid", "test", "dynamic valid", "paper"]
    assert table[3][4] == "61.00" and table[2][4] == "–"


@pytest.mark.parametrize(("values", "shown"), [([], "–"), ([57.8], "57.80"), ([1.0, 2.0, 3.0], "2.00 ± 1.00 (3)")])
def test_spread(values, shown):
    assert spread(values) == shown


@pytest.mark.parametrize(
    "text", ["- a list", "Table: [{name: x}]", "Table: {name: x}", "Table: [{nome: x, models: y}]", "{"]
)
def test_another_file(tmp_path, text):
    (tmp_path / "tables.yaml").write_text(text)
    with pytest.raises(InputError, match="(expected|in|YAML:).* titles, each with rows of name, models and paper"):
        read_tables(tmp_path / "tables.yaml")


def test_the_command_prints_them(experiment, capsys):
    assert main(["ppl_table", str(experiment / "tables.yaml"), str(experiment)]) == 0
    assert capsys.readouterr().out.startswith("### Table 1\n\n| model ")
