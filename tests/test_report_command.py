"""report and compare as commands, and the files that report writes."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from asr_rescore.cli.main import main
from asr_rescore.errors import InputError, UsageError
from asr_rescore.report import Comparison, Experiment, LmFacts, ReportWarning, to_html, to_text
from asr_rescore.report.advice import FAILED
from asr_rescore.report.differences import Differences
from asr_rescore.report.exports import CSV_COLUMNS, to_csv, to_json, to_latex, to_markdown
from asr_rescore.report.summary import MOST_LINES, to_summary
from asr_rescore.vocab import Vocabulary
from asr_rescore.vocab_files import save_vocabulary
from made_reports import FROZEN, errors, out_dir, report
from test_page import AFTER, BEFORE, REFERENCES, SPEAKERS

FILES = ["report.csv", "report.html", "report.json", "report.md", "report.tex", "report.txt"]


@pytest.fixture
def two(tmp_path):
    """The directories of two systems, and one for the report."""
    student = out_dir(tmp_path / "student/decode_tg_eval", REFERENCES, BEFORE, AFTER, speakers=SPEAKERS)
    teacher = out_dir(tmp_path / "teacher/decode_tg_eval", REFERENCES, BEFORE, REFERENCES, 5000, speakers=SPEAKERS)
    return [str(path) for path in (student, teacher, tmp_path / "report")]


def test_the_command_prints_the_answer_the_table_and_the_page(two, capsys):
    assert main(["report", *two]) == 0
    answer, *lines, page = capsys.readouterr().out.splitlines()
    assert answer.startswith("teacher is best, with a WER of 0.00 % on decode_tg_eval, 22.22 points less than ")
    assert page == f"{two[-1]}/report.html"
    folder = Path(two[-1])
    text = (folder / "report.txt").read_text(encoding="utf-8")
    table = [line for line in lines if line.startswith("|")]
    assert table == [line for line in text.splitlines() if line.startswith("|")]
    assert [line[:26] for line in lines if line and line not in table] == [
        "- Rescoring does not help:",  # the student
        "- The gain may be chance: ",
    ]
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_names_that_are_not_utf8(tmp_path):
    folder = out_dir(
        tmp_path / "student/decode_\udcff_eval", REFERENCES, BEFORE, AFTER, failures={"\udcff": "no \udcff"}
    )
    assert main(["report", str(folder), str(tmp_path / "report")]) == 0
    for name in FILES:
        text = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert "\\udcff" in text or name in ("report.md", "report.tex")


def test_details_are_all_of_the_text_file(two, capsys):
    assert main(["report", "--details", *two]) == 0
    printed = capsys.readouterr().out
    experiment = Experiment.read([Path(path) for path in two[:2]])
    text = to_text(experiment.comparison, experiment.text_notes())
    assert printed == f"{experiment.sentence}\n\n{text}\n{two[-1]}/report.html\n"


def test_tests_of_every_pair_are_in_the_text(two):
    """Two sentences that only the teacher has right: McNemar's p is 2 / 2²; Holm doubles the smaller of two."""
    experiment = Experiment.read([Path(path) for path in two[:2]])
    [heading] = [heading for heading in experiment.text_notes() if heading.startswith("Tests (")]
    [student, teacher, best] = experiment.text_notes()[heading]
    assert student.startswith("student against first pass, decode_tg_eval: gain +0.00 (")
    gain = experiment.tests[experiment.first_passes[0]].of("teacher").by_speaker
    assert f"; by 2 speakers {gain.low:.2f} to {gain.high:.2f}); MAPSSWE p " in teacher
    assert teacher.endswith("; McNemar p = 0.5000, Holm = 1.0000")
    assert best.startswith("teacher against student, decode_tg_eval: gain +22.22 (")
    assert best.endswith("; McNemar p = 0.5000, Holm = 0.5000"), "the only comparison with the best"


def test_intervals_by_speaker_are_in_markdown_and_csv(two):
    experiment = Experiment.read([Path(path) for path in two[:2]])
    gain = experiment.tests[experiment.first_passes[0]].of("teacher").by_speaker
    rows = [[cell.strip() for cell in line.split("|")] for line in to_markdown(experiment).splitlines()]
    [place] = [row.index("by 2 speakers") for row in rows if "by 2 speakers" in row]
    [_, teacher] = [row for row in rows if "teacher" in row]
    assert teacher[place] == f"{gain.low:.2f} to {gain.high:.2f}"
    first, _, teacher = csv.DictReader(to_csv(experiment).splitlines())
    assert (first["speakers"], teacher["speakers"]) == ("", "2")
    assert [float(teacher[f"speaker_gain_{end}"]) for end in ("low", "high")] == [gain.low, gain.high]
    unknown = Experiment.of(Comparison.of([report()]))
    assert "speakers" not in to_markdown(unknown).partition("- 95 %")[0]
    assert to_csv(unknown).splitlines()[-1].endswith(",,,")


def test_a_report_can_be_made_again_but_replaces_no_rescoring(two, capsys):
    assert main(["report", *two]) == 0
    assert main(["report", *two]) == 0
    assert main(["report", two[0], two[1]]) == 2
    assert "name another directory for the report" in capsys.readouterr().err
    assert main(["report", two[2], two[2] + "2"]) == 1, "the report of a comparison is not that of a rescoring"


def test_the_command_names_a_directory_without_report(tmp_path, capsys):
    assert main(["report", str(tmp_path), str(tmp_path / "report")]) == 1
    assert f"{tmp_path / 'report.json'}: found no such file" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_a_given_lm_without_log_is_an_error(two, tmp_path, capsys):
    assert main(["report", "--lm-dir", str(tmp_path), *two]) == 1
    assert f"{tmp_path / 'log.jsonl'}: found no such file" in capsys.readouterr().err


def test_an_lm_that_is_given_and_found_is_plotted_once(two, tmp_path, monkeypatch):
    (tmp_path / "student/log.jsonl").write_text('{"epoch": 1.0, "valid_ppl": 90.5}\n')
    monkeypatch.chdir(tmp_path)
    experiment = Experiment.read([Path(path) for path in two[:2]], lm_dirs=[Path("student")])
    assert [curve.name for curve in experiment.curves] == ["student"]


def test_a_given_ensemble_needs_no_log(two, tmp_path):
    ensemble = tmp_path / "ensemble"
    save_vocabulary(ensemble, Vocabulary.from_counts({"cat": 1}, size=5, lexicon=()))
    assert main(["report", "--lm-dir", str(ensemble), *two]) == 0


def test_at_most_five_lines_follow_the_answer_serious_ones_first():
    warnings = tuple(ReportWarning(code, f"about {code}") for code in ("lmwt_edge", "oov", "old_lm", "new_lm"))
    reports = [report("a", d, rescored=errors(4, 2, 1), warnings=warnings) for d in ("x_dev", "y_dev")]
    experiment = Experiment.of(Comparison.of(reports))
    sentence, doubts, empty, *others = to_summary(experiment).splitlines()
    assert (sentence, empty) == (experiment.sentence, "")
    assert doubts in to_html(experiment)
    assert doubts.startswith(
        "Before you trust these figures: The old language model does not seem to be the one in the lattices; A "
        "language model does not know many words; "
    )
    lines = [line for line in others if line[:2] == "- "]
    assert len(lines) == MOST_LINES - 1, "the doubts are one of the five"
    assert lines[1] == "- A language model does not know many words: a, x_dev: about oov (and 1 more: --details)"
    assert lines[-1] == "- and more: --details, or see the page"


@pytest.mark.parametrize(("number", "shown"), [(1, "u0: no lattice"), (120, "120 failed, such as u0: no lattice")])
def test_the_number_of_failed_utterances(number, shown):
    failed = report(failures={f"u{index}": "no lattice" for index in range(number)})
    experiment = Experiment.of(Comparison.of([failed]))
    line = f"student, decode_tg_dev: {shown}"
    assert f"\n- Some utterances failed: {line}\n" in to_summary(experiment)
    [advice] = [advice for advice in experiment.advice if advice.title == FAILED]
    assert advice.places == (line,)


def test_a_result_without_doubts_has_an_answer_of_one_line():
    experiment = Experiment.of(Comparison.of([report(failures={})]))
    assert to_summary(experiment).splitlines()[:2] == [experiment.sentence, ""]
    assert "Before you trust" not in to_html(experiment)


def test_shuffled_references_are_named_before_the_edge_that_they_lead_to():
    """Also in reports whose own warnings are in another order, such as those of earlier versions."""
    codes = ("wip_edge", "lmwt_edge", "first_pass_lmwt_edge", "another", "first_pass_wer")
    warnings = tuple(ReportWarning(code, f"about {code}") for code in codes)
    worse = report("a", rescored=errors(4, 2, 1), warnings=warnings)
    experiment = Experiment.of(Comparison.of([worse]))
    order = ["first_pass_wer", "another", "lmwt_edge", "first_pass_lmwt_edge", "wip_edge"]
    assert [line.split("about ")[1] for line in experiment.comparison.warnings()] == order
    places = [advice.places[0] for advice in experiment.advice if advice.places]
    assert [place.split("about ")[1] for place in places if "about " in place] == order


def test_csv_and_json_agree_with_the_reports(two):
    assert main(["report", *two]) == 0
    folder = Path(two[-1])
    with (folder / "report.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["system"] for row in rows] == ["first pass", "student", "teacher"]
    assert [float(row["wer"]) for row in rows] == pytest.approx([200 / 9, 200 / 9, 0])
    assert [row["gain"] for row in rows][0] == ""
    assert float(rows[2]["gain"]) == pytest.approx(200 / 9)
    tree = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert tree["best"]["system"] == "teacher"
    assert tree["best"]["gain_by_speaker"]["units"] == 2
    assert [row["wer"] for row in tree["results"]] == pytest.approx([float(row["wer"]) for row in rows])
    assert tree["table"][0]["eval %WER"] == "22.22"
    assert [len(test["with_first_pass"]) for test in tree["tests"]] == [2]


def test_results_of_json_have_numbers_and_booleans():
    """Of two models, one has no perplexity; the CSV file has what a spreadsheet takes."""
    lms = (LmFacts("a", "aa", 10, 37.5), LmFacts("b", "bb", 5, None))
    experiment = Experiment.of(Comparison.of([report("a+b", lms=lms, lm_weights=(0.25, 0.5))]))
    first, both = json.loads(to_json(experiment))["results"]
    assert (both["valid_ppl"], both["parameters"], both["tuned_here"]) == ([37.5, None], 15, True)
    assert (first["valid_ppl"], first["parameters"], first["tuned_here"]) == (None, None, True)
    assert list(first) == list(both) == list(CSV_COLUMNS)
    rows = list(csv.DictReader(to_csv(experiment).splitlines()))
    assert [(row["valid_ppl"], row["tuned_here"]) for row in rows] == [("", "1"), ("37.5", "1")]


def test_json_has_no_nan():
    empty = report(rescored=(none := {"u": errors(0)["utt0"].__class__(1, 0, 0, 0, 1, 1)}), first_pass=none)
    tree = json.loads(to_json(Experiment.of(Comparison.of([empty]))), parse_constant=pytest.fail)
    assert tree["best"]["wer"] is None


def test_latex_is_escaped_and_has_the_rules_of_booktabs():
    text = to_latex(Experiment.of(Comparison.of([report("a_b&c%\\x")])))
    assert r"a\_b\&c\%\textbackslash{}x & 1,234,567 & 59.88 & 13.33* \\" in text
    rules = re.findall(r"\\(toprule|midrule|bottomrule)", text)
    assert rules == ["toprule", "midrule", "midrule", "midrule", "bottomrule"]
    assert text.count("{") == text.count("}")


def test_latex_explains_its_stars_below_the_table():
    lines = to_latex(Experiment.of(Comparison.of([report()]))).splitlines()
    note = r"\multicolumn{4}{l}{\footnotesize *: weights tuned on this very set} \\"
    assert lines[-3:] == [r"\bottomrule", note, r"\end{tabular}"]
    frozen = to_latex(Experiment.of(Comparison.of([report(**FROZEN)])))
    assert "*" not in frozen and frozen.endswith("\\bottomrule\n\\end{tabular}\n")


def test_markdown_has_the_answer_and_the_table():
    experiment = Experiment.of(Comparison.of([report()]))
    text = to_markdown(experiment)
    assert text.startswith(experiment.sentence)
    assert r"13.33\*" in text
    assert "| student | +6.67 |" in text


# compare


def test_compare_prints_only_differences_and_the_tests(two, capsys):
    assert main(["compare", *two[:2]]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "A: student, decode_tg_eval, eval: %WER 22.22 [ 2 / 9, 1 ins, 0 del, 1 sub ]",
        "B: teacher, decode_tg_eval, eval: %WER 0.00 [ 0 / 9, 0 ins, 0 del, 0 sub ]",
        "",
        "a-1: 1 errors in A, 0 in B",
        "ref  the cat sat",
        "A    the cat sat [+down]",
        "B    the cat sat",
        "",
        "b-1: 1 errors in A, 0 in B",
        "ref  all day   long",
        "A    all [way] long",
        "B    all day   long",
        "",
        "2 of 3 utterances differ",
        "errors: 2 in A, 0 in B, of 9 words",
        "words that only A has right: 0, only B: 1",
        *list(Differences.read(*map(Path, two[:2])).lines(80))[-4:],
    ]


def test_compare_says_who_is_better_by_hand(two):
    *_, utterances, speakers, segments, sentences = Differences.read(*map(Path, two[:2])).lines(80)
    assert utterances.startswith("bootstrap over utterances: B is better by 22.22 points (95 % interval ")
    assert speakers.startswith("bootstrap over 2 speakers: B is better by 22.22 points ")
    assert segments == "MAPSSWE: Z = 0.000 in 2 segments, p = 1.0000", "no spread, as sc_stats has it"
    assert sentences == "McNemar: only A has 0 sentences right, only B 2, p = 0.5000"


def test_long_utterances_are_broken_and_colours_are_for_terminals(tmp_path):
    said = {"u": " ".join(["word"] * 30)}
    one = out_dir(tmp_path / "a/decode_tg_eval", said, said, {"u": said["u"].replace("word", "other", 1)})
    other = out_dir(tmp_path / "b/decode_tg_eval", said, said, said)
    differences = Differences.read(one, other)
    plain = list(differences.lines(40))
    assert max(map(len, plain[3:-8])) <= 40
    assert sum(line.count("word") for line in plain if line.startswith("ref")) == 30
    assert not any("\x1b" in line for line in plain)
    assert any("\x1b[31m[other]\x1b[0m" in line for line in differences.lines(40, colours=True))


def test_escape_sequences_in_words_do_not_reach_the_terminal(tmp_path):
    said = {"u": "a b"}
    one = out_dir(tmp_path / "a/decode_tg_eval", said, said, {"u": "a \x1b[2Jb"})
    other = out_dir(tmp_path / "b/decode_tg_eval", said, said, said)
    assert not any("\x1b" in line for line in Differences.read(one, other).lines(80))


def test_only_what_was_scored_alike_is_compared(tmp_path):
    one = out_dir(tmp_path / "a/decode_tg_eval", {"u": "a b"}, {"u": "a b"}, {"u": "a"})
    other = out_dir(tmp_path / "b/decode_tg_eval", {"v": "a b"}, {"v": "a b"}, {"v": "a"})
    third = out_dir(tmp_path / "c/decode_tg_eval", {"u": "a c"}, {"u": "a b"}, {"u": "a"})
    with pytest.raises(UsageError, match="different utterances: 2 are only in one"):
        Differences.read(one, other)
    with pytest.raises(UsageError, match="different references, for example of u"):
        Differences.read(one, third)
    with pytest.raises(InputError, match="no such file"):
        Differences.read(one, tmp_path)


def test_compare_refuses_transcripts_that_the_report_does_not_count(two, tmp_path, capsys):
    (tmp_path / "student/decode_tg_eval/scoring_kaldi/penalty_0.5/14.txt").write_text("a-1 x\na-2 y\nb-1 z\n")
    assert main(["compare", *two[:2]]) == 1
    assert "are not those that report.json counts; rescore again" in capsys.readouterr().err
