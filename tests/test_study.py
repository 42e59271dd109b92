"""The report of a study: its pairs, its tables by hand, its plot and its command."""

from __future__ import annotations

import json
import math

import pytest

from asr_rescore.cli.main import main
from asr_rescore.errors import InputError
from asr_rescore.report.study import StudyConfig, read_results, to_json, to_markdown
from asr_rescore.report.study_plot import to_svg

STUDY = """
regimes: {small: A small text, never: Not run}
baseline: kl
arms: {kl: KL alone, trust: TR, trust_0.3: Stronger TR, ce: CE}
also: [[trust_0.3, trust]]
"""
# (arm, seed) → perplexities on test and valid; CE was not trained.
PPL = {
    ("kl", 1): (100.0, 50.0),
    ("kl", 2): (200.0, 60.0),
    ("kl", 3): (400.0, 70.0),
    ("trust", 1): (99.0, 51.0),
    ("trust", 2): (196.0, 60.0),
    ("trust_0.3", 1): (101.0, 50.0),
    ("trust_0.3", 2): (206.0, 60.0),
    ("trust_0.3", 3): (404.0, 70.0),
}


@pytest.fixture
def experiment(tmp_path):
    for (arm, seed), values in PPL.items():
        directory = tmp_path / "small" / f"student_{arm}_{seed}"
        directory.mkdir(parents=True)
        for text, ppl in zip(("test", "valid"), values, strict=True):
            (directory / f"ppl_{text}.json").write_text(json.dumps({"ppl": ppl}))
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def results(experiment):
    return read_results(StudyConfig.read(experiment / "study.yaml"), experiment)


def test_students_are_paired_by_seed(experiment):
    (small,) = results(experiment)
    trust, stronger, both = small.arms
    assert small.baseline == ("KL alone", pytest.approx(700 / 3))
    assert (trust.label, trust.seeds) == ("TR", ("1", "2"))
    assert trust.test.values == pytest.approx((-1.0, -2.0))
    assert trust.changes["valid"].values == pytest.approx((2.0, 0.0))
    assert stronger.test.values == pytest.approx((1.0, 3.0, 1.0))
    assert both.label == "Stronger TR, compared with TR"
    assert both.test.values == pytest.approx((100 * 2 / 99, 100 * 10 / 196))


def test_p_values_are_corrected_for_the_number_of_comparisons(experiment):
    (small,) = results(experiment)
    least = min(arm.test.p for arm in small.arms)
    assert min(arm.p for arm in small.arms) == pytest.approx(3 * least)


def test_the_tables(experiment):
    lines = to_markdown(results(experiment)).splitlines()
    assert lines[0] == "### A small text"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    # The differences −1 and −2: mean −1.5, standard error 0.5, and t is 12.706 with one degree of freedom.
    assert cells[2][:5] == ["TR", "2", "147.50", "-1.50", "-7.85 … +4.85"]
    assert cells[2][6:] == ["7.04", "+1.00"]  # 0.5 · (12.706 + 1.376)
    assert cells[-2] == ["Stronger TR", "+1.00", "+3.00", "+1.00"]
    assert cells[-1] == ["Stronger TR, compared with TR", "+2.02", "+5.10", "–"]


def test_one_seed_has_differences_and_no_interval(experiment):
    for path in experiment.glob("small/student_*_[23]/ppl_test.json"):
        path.unlink()
    found = results(experiment)
    (row,) = [line for line in to_markdown(found).splitlines() if "99.00" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["TR", "1", "99.00", "-1.00", *"–––", "+2.00"]
    (regime,) = to_json(found)
    assert regime["comparisons"][0]["test"]["interval"] == [None, None]
    assert regime["comparisons"][0]["test"]["percent"] == [pytest.approx(-1.0)]
    json.dumps(to_json(found), allow_nan=False)
    assert "<svg" in to_svg(found)


def test_the_command(experiment, capsys):
    files = ["--json", str(experiment / "study.json"), "--plot", str(experiment / "study.svg")]
    assert main(["ppl_study", *files, str(experiment / "study.yaml"), str(experiment)]) == 0
    assert capsys.readouterr().out == to_markdown(results(experiment))
    (regime,) = json.loads((experiment / "study.json").read_text())
    assert [len(arm["seeds"]) for arm in regime["comparisons"]] == [2, 3, 2]
    svg = (experiment / "study.svg").read_text()
    assert "A small text" in svg and "Stronger TR" in svg
    assert ">+1</text>" in svg and "$" not in svg  # the numbers of the axis are no TeX
    assert "Not run" not in svg


def test_without_results_nothing_is_shown(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text(STUDY)
    assert main(["ppl_study", "--plot", str(tmp_path / "p.svg"), str(tmp_path / "study.yaml"), str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text",
    [
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: ce\n",
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: kl\nalso: [[kl, ce]]\n",
        "regimes: [a]\narms: {kl: KL}\nbaseline: kl\n",
        "- a list",
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: kl\nalso: [[[kl], kl]]\n",
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: kl\nalos: [[kl, kl]]\n",
    ],
)
def test_another_file(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match="study"):
        StudyConfig.read(tmp_path / "study.yaml")


def test_a_result_is_not_replaced(experiment, capsys):
    result = experiment / "small/student_kl_1/ppl_test.json"
    before = result.read_text()
    assert main(["ppl_study", "--json", str(result), str(experiment / "study.yaml"), str(experiment)]) == 2
    assert "is an input and would be replaced" in capsys.readouterr().err
    assert result.read_text() == before


def test_an_experiment_that_is_not_there(experiment, capsys):
    assert main(["ppl_study", str(experiment / "study.yaml"), str(experiment / "smal")]) == 1
    assert "found no directory, expected the results of a study" in capsys.readouterr().err


@pytest.mark.parametrize("ppl", [0, -3.0, 1e-320])
def test_a_perplexity_that_is_none(experiment, ppl):
    (experiment / "small/student_kl_1/ppl_test.json").write_text(json.dumps({"ppl": ppl}))
    with pytest.raises(InputError, match="expected 1 or more"):
        results(experiment)


def test_a_student_that_is_left_out_is_named(experiment, capsys):
    path = experiment / "small/student_trust_2/ppl_test.json"
    path.write_text(json.dumps({"ppl": math.inf}))
    assert main(["ppl_study", str(experiment / "study.yaml"), str(experiment)]) == 0
    assert capsys.readouterr().err == f"{path}: the perplexity is infinite or missing; this student is left out\n"


def test_a_useless_student_counts_for_nothing(experiment):
    path = experiment / "small/student_trust_2/ppl_test.json"
    path.write_text(json.dumps({"ppl": math.inf}))
    assert results(experiment)[0].arms[0].seeds == ("1",)
