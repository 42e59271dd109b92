"""What a rescoring leaves for people who ask why: errors by depth, costs of changed hypotheses, the searched grid."""

from __future__ import annotations

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.errors import InputError
from asr_rescore.nbest import ACOUSTIC, GRAPH, NEURAL, NO_LM, OLD_LM, NBest
from asr_rescore.ranking import OperatingPoint, Weights, graph_costs, total_costs
from asr_rescore.report import AtDepth, ChoiceCosts, SearchedWeights, SystemReport
from asr_rescore.report.choice_costs import COSTS_FILE, read_choice_costs, write_choice_costs
from asr_rescore.rescoring.choice_costs import CostParts
from asr_rescore.rescoring.depths import ErrorsByDepth, depth_warnings
from asr_rescore.word_errors import ErrorCount


def test_errors_by_depth_by_hand():
    depths = ErrorsByDepth({"u": ["a", "b", "c"], "v": ["d"], "without a list": ["e", "f"]})
    depths.add(np.array([5.0, 4.0, 6.0, 3.0]), np.array([3, 1, 0, 2]), 3)
    depths.add(np.array([1.0, 2.0]), np.array([1, 0]), 1)
    # Depths 1, 2 and the longest list; each has the two deletions of the utterance without a list.
    assert depths.result() == (AtDepth(1, 2 + 3 + 1, 2 + 3 + 1), AtDepth(2, 2 + 1 + 1, 2 + 1), AtDepth(4, 2 + 2 + 1, 2))
    assert ErrorsByDepth({"u": ["a"]}).result() == ()


def test_lists_that_lack_most_of_what_the_lattices_hold_are_warned_of():
    first_pass = ErrorCount(0, 0, 20, 100, 10, 5)
    oracle = ErrorCount(0, 0, 4, 100, 10, 5)
    [warning] = depth_warnings([AtDepth(1, 20, 20), AtDepth(10, 15, 13)], first_pass, oracle)
    assert (warning.code, warning.numbers) == ("short_lists", {"n": 10, "held": pytest.approx(100 * 7 / 16)})
    assert not list(depth_warnings([AtDepth(10, 15, 12)], first_pass, oracle)), "just half"
    assert not list(depth_warnings([AtDepth(10, 15, 20)], first_pass, first_pass)), "nothing to gain"
    assert not list(depth_warnings([AtDepth(10, 15, 13)], first_pass, None))


def test_the_parts_of_the_costs_add_up_to_the_total():
    random = np.random.default_rng(3)
    columns = {name: random.normal(20, 4, 3) for name in (OLD_LM, NO_LM, NEURAL, "lmwt.rnn2", ACOUSTIC)}
    nbest = NBest("u", (("a",), ("a", "b"), ("a",)), {**columns, GRAPH: columns[NO_LM] + columns[OLD_LM]})
    weights = Weights((0.5, 0.2), OperatingPoint(12, 0.5))
    parts = CostParts(weights, ["one", "two"])
    parts.add(nbest, 0, 2)
    assert parts.of("u") == {}, "the same words"
    parts.add(nbest, 0, 1)
    found = parts.of("u")
    assert list(found) == ["acoustic", "rest of the graph", "old LM", "one", "two", "word penalty"]
    assert found["word penalty"] == (0.5, 1.0)
    totals = total_costs(nbest, graph_costs(nbest, weights.lm), weights.point)
    assert np.sum(list(found.values()), axis=0) == pytest.approx(totals[:2], rel=1e-6)


def test_costs_are_read_as_they_were_written(tmp_path):
    entries = {"u": ChoiceCosts({"acoustic": (1.0, 2.5)}, {"lm ü": ((0.5, 0.25), (1.125,))}), "v": ChoiceCosts({}, {})}
    write_choice_costs(tmp_path / COSTS_FILE, entries.items())
    assert read_choice_costs(tmp_path / COSTS_FILE) == entries


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"utt": "u"}',
        '{"utt": "u", "parts": {"a": [1]}, "words": {}}',
        '{"utt": "u", "parts": {}, "words": {"a": 1}}',
        '{"utt": "u", "parts": {}, "words": {"a": [[1, NaN], [1]]}}',
        '{"utt": "u", "parts": {}, "words": {"a": [[1], [Infinity]]}}',
        '{"utt": "u", "parts": {}, "words": {"a": ["12", "34"]}}',
    ],
)
def test_damaged_costs_are_an_error_that_names_the_line(tmp_path, line):
    (tmp_path / COSTS_FILE).write_text(f"{line}\n")
    with pytest.raises(InputError, match=f"{COSTS_FILE}: line 1"):
        read_choice_costs(tmp_path / COSTS_FILE)


def test_the_searched_grid_is_read_as_it_was_written(tmp_path):
    grid = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)]
    points = [OperatingPoint(lmwt, wip) for wip in (0.0, 0.5) for lmwt in (7, 8.5)]
    errors = np.arange(12).reshape(3, 4)
    SearchedWeights.of_grid(grid, points, errors).write(tmp_path / "tuning.csv")
    assert (tmp_path / "tuning.csv").read_text().splitlines()[:3] == [
        "lm_weight,lm_weight_2,lmwt,wip,errors",
        "0,0,7,0,0",
        "0,0,8.5,0,1",
    ]
    searched = SearchedWeights.read(tmp_path / "tuning.csv")
    sums, lmwts, least = searched.by_weight_and_lmwt(0.5)
    assert (sums.tolist(), lmwts.tolist()) == ([0.0, 0.5], [7.0, 8.5])
    assert least.tolist() == [[2, 3], [6, 7]], "of two ways to give 0.5, the better one"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "lm_weight,lmwt,wip,errors\n",
        "lm_weight,lmwt,wip,errors\n1,x,2,3\n",
        "lm_weight,lmwt,wip,errors\n1,7,0,1e300\n",
    ],
)
def test_a_damaged_grid_is_an_error(tmp_path, text):
    (tmp_path / "tuning.csv").write_text(text)
    with pytest.raises(InputError, match="tuning.csv"):
        SearchedWeights.read(tmp_path / "tuning.csv")


def test_a_rescoring_leaves_what_the_page_explains(rescore, data):
    status, out = rescore("--tune", "--n", 30)
    assert status == 0
    report = SystemReport.load(out)
    assert report.depths[-1].errors == report.total.errors
    assert report.depths[-1].oracle == report.nbest_oracle.errors
    assert report.depths[0].n == 1
    searched = SearchedWeights.read(out / "tuning.csv")
    assert searched.errors.min() == report.total.errors, "those that were tuned for"
    costs = read_choice_costs(out / "scoring_kaldi" / COSTS_FILE)
    before = kaldi.read_table(out / "scoring_kaldi" / "first_pass.txt")
    after = kaldi.read_table(out / "text")
    assert set(costs) == {utt for utt in after if after[utt] != before[utt]}
    [name] = [lm.name for lm in report.lms]
    for utt, of_utt in costs.items():
        totals = np.sum(list(of_utt.parts.values()), axis=0)
        assert totals[1] <= totals[0] + 1e-3, "the chosen hypothesis is the cheaper one"
        assert [len(words) for words in of_utt.words["old LM"]] == [len(before[utt]) + 1, len(after[utt]) + 1]
        for lm, weight in ((name, report.lm_weights[0]), ("old LM", 1 - report.lm_weights[0])):
            sums = [weight * sum(words) for words in of_utt.words[lm]]
            assert sums == pytest.approx(of_utt.parts[lm], abs=0.05)
    status, out = rescore("--lm-weight", 0.5, "--n", 30)
    assert status == 0
    assert not (out / "tuning.csv").exists(), "these weights were not searched for"


@pytest.mark.slow
def test_a_rescoring_of_lattices_tells_costs_by_word(lang, lm, data, decode, tmp_path):
    out = tmp_path / "out"
    assert main(["rescore_lattice", "--lm-weight", "0.5", *map(str, (lang, lm, data, decode, out))]) == 0
    costs = read_choice_costs(out / "scoring_kaldi" / COSTS_FILE)
    assert costs
    assert {len(of_utt.words) for of_utt in costs.values()} == {2}
    assert SystemReport.load(out).depths == ()
