"""The report of a study: its pairs, its tables by hand, its plot and its command."""

from __future__ import annotations

import io
import json
import math
from xml.etree import ElementTree

import pytest

from asr_rescore.cli.main import main
from asr_rescore.errors import InputError
from asr_rescore.report.plots.study import draw_study
from asr_rescore.report.study import StudyConfig, to_json, to_markdown
from made_reports import errors, report
from made_study import STUDY, make_study, results


@pytest.fixture
def experiment(tmp_path):
    return make_study(tmp_path)


def to_svg(found):
    stream = io.BytesIO()
    draw_study(found, stream, "svg")
    return stream.getvalue().decode()


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


def test_a_title_of_two_lines_stays_one_heading(experiment):
    path = experiment / "study.yaml"
    path.write_text(path.read_text().replace("A small text", '"A small\\n## text"'))
    assert to_markdown(results(experiment)).splitlines()[0] == "### A small ## text"


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


def test_a_plot_of_small_differences_has_numbers_on_its_axis(experiment):
    for path in experiment.glob("small/student_trust_0.3_*/ppl_test.json"):
        path.unlink()
    for seed, ppl in ((1, 99.8), (2, 199.7)):  # −0.20 and −0.15 %, so the interval goes from −0.49 to +0.14
        (experiment / f"small/student_trust_{seed}/ppl_test.json").write_text(json.dumps({"ppl": ppl}))
    svg = to_svg(results(experiment))
    assert all(f">{number}</text>" in svg for number in ("-0.4", "-0.2", "0"))


def test_the_command(experiment, capsys):
    files = ["--json", str(experiment / "study.json"), "--plot", str(experiment / "study.svg")]
    assert main(["study", *files, str(experiment / "study.yaml"), str(experiment)]) == 0
    assert capsys.readouterr().out == to_markdown(results(experiment))
    (regime,) = json.loads((experiment / "study.json").read_text())
    assert [len(arm["seeds"]) for arm in regime["comparisons"]] == [2, 3, 2]
    svg = (experiment / "study.svg").read_text()
    assert "A small text" in svg and "Stronger TR" in svg
    assert ">+1</text>" in svg and "$" not in svg  # the numbers of the axis are no TeX
    assert "Not run" not in svg


def test_without_results_nothing_is_shown(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text(STUDY)
    assert main(["study", "--plot", str(tmp_path / "p.svg"), str(tmp_path / "study.yaml"), str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "no two students to compare, expected <regime>/student_<arm>_<seed> with results of kl and" in said.err


@pytest.mark.parametrize(
    "text",
    [
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: ce\n",
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: kl\nalso: [[kl, ce]]\n",
        "regimes: [a]\narms: {kl: KL}\nbaseline: kl\n",
        "- a list",
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: kl\nalso: [[[kl], kl]]\n",
        "regimes: {a: A}\narms: {kl: KL}\nbaseline: kl\nalos: [[kl, kl]]\n",
        "regimes: {a: A}\narms: {kl: KL, ce: CE}\nbaseline: kl\nalso: [[ce, ce]]\n",
        "regimes: {a: A}\narms: {kl: KL, ce: CE}\nbaseline: kl\nalso: [[ce, kl]]\n",
        "regimes: {a: A}\narms: {kl: KL, ce: CE, tr: TR}\nbaseline: kl\nalso: [[ce, tr], [tr, ce]]\n",
        "regimes: {a: {title: A, measure: wer, test: [x, x], valid: [y]}}\narms: {kl: KL}\nbaseline: kl\n",
    ],
)
def test_another_file(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(InputError, match="study"):
        StudyConfig.read(tmp_path / "study.yaml")


def test_a_result_is_not_replaced(experiment, capsys):
    result = experiment / "small/student_kl_1/ppl_test.json"
    before = result.read_text()
    assert main(["study", "--json", str(result), str(experiment / "study.yaml"), str(experiment)]) == 2
    assert "is an input and would be replaced" in capsys.readouterr().err
    assert result.read_text() == before


def test_an_experiment_that_is_not_there(experiment, capsys):
    assert main(["study", str(experiment / "study.yaml"), str(experiment / "smal")]) == 1
    assert "found no directory, expected the results of a study" in capsys.readouterr().err


@pytest.mark.parametrize("ppl", [0, -3.0, 1e-320])
def test_a_perplexity_that_is_none(experiment, ppl):
    (experiment / "small/student_kl_1/ppl_test.json").write_text(json.dumps({"ppl": ppl}))
    with pytest.raises(InputError, match="expected 1 or more"):
        results(experiment)


def test_a_student_that_is_left_out_is_named(experiment, capsys):
    path = experiment / "small/student_trust_2/ppl_test.json"
    path.write_text(json.dumps({"ppl": math.inf}))
    assert main(["study", str(experiment / "study.yaml"), str(experiment)]) == 0
    told = capsys.readouterr().err
    assert told.startswith(f"{path}: the perplexity is infinite or missing; this student is left out\n")


def test_characters_that_are_no_xml_stay_out_of_the_plot(experiment):
    path = experiment / "study.yaml"
    path.write_text(path.read_text().replace("Stronger TR", '"A\\x01b 汉"').replace("A small text", '"$x$ \\x07"'))
    assert "A" in {
        element.text[:1] for element in ElementTree.fromstring(to_svg(results(experiment))).iter() if element.text
    }


def test_a_useless_student_counts_for_nothing(experiment):
    path = experiment / "small/student_trust_2/ppl_test.json"
    path.write_text(json.dumps({"ppl": math.inf}))
    assert results(experiment)[0].arms[0].seeds == ("1",)


WER_STUDY = """
regimes:
  small:
    title: Word errors
    measure: wer
    test: [decode_a_eval, decode_b_eval]
    valid: [decode_a_dev]
baseline: kl
arms: {kl: KL alone, trust: TR, trust_0.3: Stronger TR}
"""
# (arm, seed) → errors in three utterances of ten words each: the two rescorings of test, and that of valid.
WORD_ERRORS = {
    ("kl", 1): ((1, 0, 2), (0, 0, 0), (3, 0, 0)),  # 3 errors in 60 words: 5 %; 3 in 30: 10 %
    ("kl", 2): ((4, 0, 2), (0, 0, 3), (3, 0, 0)),  # 15 %; 10 %
    ("trust", 1): ((1, 1, 1), (1, 1, 1), (0, 0, 0)),  # 10 %; 0 %
    ("trust", 2): ((5, 0, 2), (2, 0, 3), (3, 3, 0)),  # 20 %; 20 %
    ("trust_0.3", 2): ((1, 1, 1), (0, 0, 0), (3, 3, 0)),  # 5 %; 20 %
}


@pytest.fixture
def rescored(tmp_path):
    for (arm, seed), counts in WORD_ERRORS.items():
        for name, wrong in zip(("decode_a_eval", "decode_b_eval", "decode_a_dev"), counts, strict=True):
            directory = tmp_path / "small" / f"student_{arm}_{seed}" / name
            directory.mkdir(parents=True)
            report(decoding=name, rescored=errors(*wrong)).save(directory)
    (tmp_path / "study.yaml").write_text(WER_STUDY)
    return tmp_path


def test_word_errors_of_all_first_passes_are_added_up_and_compared_in_points(rescored):
    (small,) = results(rescored)
    trust, stronger = small.arms
    assert small.baseline == ("KL alone", pytest.approx(10.0))
    assert (trust.seeds, trust.mean) == (("1", "2"), pytest.approx(15.0))
    assert trust.test.values == pytest.approx((5.0, 5.0))
    assert trust.changes["valid"].values == pytest.approx((-10.0, 10.0))
    assert (stronger.seeds, stronger.test.values) == (("2",), pytest.approx((-10.0,)))


def test_the_interval_of_other_sentences(rescored):
    """TR makes 2, 1 and 0 errors more in the three sentences (means of two seeds), 5 % of 60 words."""
    trust = results(rescored)[0].arms[0]
    assert trust.sentences.values == pytest.approx((10.0, 5.0, 0.0))
    assert trust.sentences.half_width == pytest.approx(4.30265 * 5 / math.sqrt(3), rel=1e-5)


def test_the_tables_of_word_errors(rescored):
    lines = to_markdown(results(rescored)).splitlines()
    assert lines[2].startswith(
        "Compared with KL alone, which has a mean test WER of 10.00 %, in percentage points. Here, *test* is "
        "decode_a_eval and decode_b_eval, *valid* is decode_a_dev (their words and errors together). The interval is"
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == [
        *("objective", "pairs", "test %WER", "difference, points"),
        *("95 % interval", "sentences, ±", "p", "detectable, points", "valid, points"),
    ]
    assert cells[2] == ["TR", "2", "15.00", "+5.00", "+5.00 … +5.00", "12.42", "< 0.0001", "0.00", "+0.00"]
    assert "Difference on test in points, for each seed:" in lines
    (regime,) = to_json(results(rescored))
    assert regime["comparisons"][0]["half_interval_of_sentences"] == pytest.approx(12.4207, rel=1e-5)
    assert (regime["measure"], regime["baseline_test_wer"]) == ("wer", pytest.approx(10.0))
    assert regime["comparisons"][0]["test"]["points"] == pytest.approx([5.0, 5.0])
    assert "test WER, points over KL alone" in to_svg(results(rescored))


def test_a_student_without_one_of_its_rescorings_is_not_finished(rescored):
    (rescored / "small/student_trust_1/decode_b_eval/report.json").unlink()
    assert results(rescored)[0].arms[0].seeds == ("2",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rescored": errors(1, 1), "first_pass": errors(0, 0)},
            "references of 20 words in 2 utterances .*, expected 30 w",
        ),
        (
            {"rescored": {f"x{utt}": count for utt, count in errors(1, 1, 1).items()}},
            r"references of 30 words in 3 utterances \(checksum \w+\), expected 30 words in 3 utterances",
        ),
        ({"search": "N 10"}, "search N 10, expected N 1000, as in .*student_kl_1/decode_b_eval/report.json"),
        ({"scoring": "filter f"}, "scoring filter f, expected without filters"),
        ({"tuned_here": False}, "weights not tuned on this set, expected tuned on this very set"),
    ],
)
def test_word_errors_that_cannot_be_compared_are_refused(rescored, changes, message):
    directory = rescored / "small/student_trust_2/decode_b_eval"
    facts = {"rescored": errors(1, 1, 1), **changes}
    facts.setdefault("first_pass", facts["rescored"])
    report(decoding="decode_b_eval", **facts).save(directory)
    with pytest.raises(InputError, match=f"student_trust_2/decode_b_eval/report.json: found {message}"):
        results(rescored)


def test_a_rescoring_without_transcripts_is_refused(rescored):
    directory = rescored / "small/student_trust_2/decode_b_eval"
    report(decoding="decode_b_eval", rescored={}, first_pass={}).save(directory)
    with pytest.raises(InputError, match=r"decode_b_eval/report\.json: found no reference words"):
        results(rescored)


def test_a_report_of_a_rescoring_is_not_replaced(rescored, capsys):
    result = str(rescored / "small/student_kl_1/decode_a_eval/report.json")
    assert main(["study", "--json", result, str(rescored / "study.yaml"), str(rescored)]) == 2
    assert "is an input and would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("regime", "message"),
    [
        ("{title: A, measure: cer}", "ppl or wer"),
        ("{title: A, measure: ppl, test: [a]}", "none but title, measure"),
        ("{title: A, measure: wer, test: [a]}", "a list"),
        ("{title: A, measure: wer, test: [], valid: [b]}", "names of rescored directories"),
        ("{measure: ppl}", "text"),
        ("7", "a mapping"),
    ],
)
def test_another_regime(tmp_path, regime, message):
    (tmp_path / "study.yaml").write_text(f"regimes: {{a: {regime}}}\narms: {{kl: KL}}\nbaseline: kl\n")
    with pytest.raises(InputError, match=message):
        StudyConfig.read(tmp_path / "study.yaml")


def test_a_regime_by_perplexity_may_say_so(tmp_path):
    text = "regimes: {a: {title: A, measure: ppl}, b: B}\narms: {kl: KL}\nbaseline: kl\n"
    (tmp_path / "study.yaml").write_text(text)
    regimes = StudyConfig.read(tmp_path / "study.yaml").regimes
    assert [(name, regime.title, regime.measure.name) for name, regime in regimes.items()] == [
        ("a", "A", "ppl"),
        ("b", "B", "ppl"),
    ]
