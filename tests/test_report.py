"""report.json, and the table of several reports."""

import csv
import json

import pytest

from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.report import (
    CharacterErrors,
    Comparison,
    Experiment,
    LmFacts,
    PublishedRow,
    ReportWarning,
    SystemReport,
    to_text,
)
from asr_rescore.report.exports import to_csv, to_markdown
from asr_rescore.report.table import markdown
from asr_rescore.word_errors import ErrorCount
from made_reports import FROZEN, errors, report


@pytest.mark.parametrize(
    "changes",
    [{}, {"lattice_oracle": None}, {"rescored": {}, "first_pass": {}}, {"lms": (), "lm_weights": ()}],
    ids=["whole", "no lattice oracle", "nothing scored", "no language model"],
)
def test_a_report_comes_back_as_it_was_written(tmp_path, changes):
    written = report(**changes)
    written.save(tmp_path)
    assert SystemReport.load(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_report_json_says_the_rate_and_what_it_depends_on(tmp_path):
    report().save(tmp_path)
    tree = json.loads((tmp_path / "report.json").read_text())
    assert tree["wer"] == 13.33
    signature = "student 0123456789ab weight 0.75; LMWT 14, WIP 0.5; N 1000; tuned on data/dev; "
    assert tree["signature"].startswith(signature)
    assert tree["version"] and tree["signature"].endswith(tree["version"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tree: [],
        lambda tree: {**tree, "more": 1},
        lambda tree: {name: value for name, value in tree.items() if name != "lms"},
        lambda tree: {**tree, "lm_weights": [0.5, 0.5]},
        lambda tree: {**tree, "point": {"lmwt": -1, "wip": 0}},
        lambda tree: {**tree, "rescored": {}},
        lambda tree: {**tree, "nbest_oracle": {**tree["nbest_oracle"], "deletions": -1}},
    ],
    ids=["no mapping", "unknown", "lacking", "weights", "LMWT", "other utterances", "negative"],
)
def test_a_broken_report_is_refused_with_its_path(tmp_path, spoil):
    report().save(tmp_path)
    file = tmp_path / "report.json"
    file.write_text(json.dumps(spoil(json.loads(file.read_text()))))
    with pytest.raises(InputError, match="run rescore_nbest or rescore_lattice again") as caught:
        SystemReport.load(tmp_path)
    assert caught.value.where.partition(": ")[0] == str(file)


@pytest.mark.parametrize("content", [None, "{", "\x00"], ids=["none", "cut off", "other bytes"])
def test_a_file_that_is_not_json_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError, match=r"report\.json: found .*run rescore_nbest"):
        SystemReport.load(tmp_path)


def test_each_model_needs_a_weight():
    with pytest.raises(RescoreError, match="2 weights for 1"):
        report(lm_weights=(0.5, 0.25))


@pytest.mark.parametrize("lattice_oracle", [ErrorCount(0, 0, 1, 30, 3, 1), None])
def test_the_summary_has_a_line_for_each_rate_and_for_the_weights(lattice_oracle):
    written = report(lattice_oracle=lattice_oracle)
    lines = [
        "first pass:     %WER 20.00 [ 6 / 30, 0 ins, 0 del, 6 sub ]",
        "rescored:       %WER 13.33 [ 4 / 30, 0 ins, 0 del, 4 sub ]",
        "N-best oracle:  %WER 6.67 [ 2 / 30, 0 ins, 0 del, 2 sub ]",
    ]
    if lattice_oracle:
        lines.append("lattice oracle: %WER 3.33 [ 1 / 30, 0 ins, 0 del, 1 sub ]")
    lines += [f"weights:        {written.signature}", "first pass at:  LMWT 12, WIP 1; tuned on data/dev"]
    label = "tuned here:     yes, on this very set, so the rates of both passes are a little too good"
    assert written.summary().splitlines() == [*lines, label]
    assert label not in report(**FROZEN).summary()
    assert "first pass at:  LMWT 12, WIP 1; frozen: tuned on data/dev" in report(**FROZEN).summary()


def test_without_references_the_summary_has_only_the_weights():
    written = report(rescored={}, first_pass={}, nbest_oracle=None, lattice_oracle=None)
    lines = [f"weights:        {written.signature}", "first pass at:  LMWT 12, WIP 1; tuned on data/dev"]
    assert written.summary().splitlines() == lines


# Table


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


TEACHER = LmFacts("teacher", "fedcba9876543210", 20_000_000, None)


def test_table_in_the_shape_of_the_paper():
    text = to_text(
        Comparison.of(
            [
                report("teacher", "decode_tg_dev", lms=(TEACHER,), rescored=errors(0, 0, 2)),
                report("teacher", "decode_bd_dev", lms=(TEACHER,), rescored=errors(0, 0, 0)),
                report("teacher", "decode_tg_eval", lms=(TEACHER,), rescored=errors(1, 1, 1), **FROZEN),
                report("student", "decode_tg_dev", rescored=errors(1, 0, 3)),
                report("student", "decode_bd_dev", rescored=errors(0, 1, 0), lattice_oracle=None),
                report("student", "decode_tg_eval", rescored=errors(1, 1, 2), lattice_oracle=None, **FROZEN),
            ]
        )
    )
    assert cells(text) == [
        ["system", "parameters", "valid ppl", "dev %WER", "eval %WER"],
        ["----------------", "-----------:", "----------:", "--------------:", "----------:"],
        ["first pass", "–", "–", "20.00*/20.00*", "20.00"],
        ["teacher", "20,000,000", "–", "6.67*/0.00*", "10.00"],
        ["student", "1,234,567", "59.88", "13.33*/3.33*", "13.33"],
        ["N-best oracle", "–", "–", "6.67/6.67", "6.67"],
        ["lattice oracle", "–", "–", "3.33/3.33", "3.33"],
    ]
    assert len({len(line) for line in text.splitlines() if line[:1] == "|"}) == 1, "columns are aligned"
    assert "- dev: decode_tg_dev / decode_bd_dev\n" in text
    assert "- *: weights tuned on this very set" in text
    assert text.count("- first pass, decode_tg_dev: LMWT 12, WIP 1; tuned on data/dev\n") == 1
    assert "- first pass, decode_tg_eval: LMWT 12, WIP 1; frozen: tuned on data/dev\n" in text
    assert "- student, decode_tg_eval: student 0123456789ab weight 0.75; LMWT 14, WIP 0.5; N 1000; frozen: " in text


@pytest.mark.parametrize(
    ("source", "data", "starred"),
    [
        ("tuned on data/dev", "dev", True),
        ("frozen: tuned on data/dev", "eval", False),
        ("frozen: tuned on data/dev/", "dev", True),
        ("given", "dev", False),
    ],
)
def test_the_report_of_an_earlier_version_tells_by_its_names_whether_it_was_tuned_here(tmp_path, source, data, starred):
    report(source=source, data=data).save(tmp_path)
    tree = json.loads((tmp_path / "report.json").read_text())
    del tree["tuned_here"]
    (tmp_path / "report.json").write_text(json.dumps(tree))
    assert SystemReport.load(tmp_path).tuned_here == starred


def test_a_missing_result_leaves_a_gap():
    text = to_text(
        Comparison.of(
            [
                report("a", "d_tg_dev", lattice_oracle=None),
                report("b", "d_bd_dev", lattice_oracle=None, source="given"),
            ]
        )
    )
    assert [row[-1] for row in cells(text)[2:]] == ["20.00*/20.00", "13.33*/–", "–/13.33", "6.67/6.67", "–/–"]


def test_character_errors_have_a_column_where_all_systems_counted_them():
    counted = CharacterErrors(rescored=ErrorCount(1, 1, 1, 120, 3, 2), first_pass=ErrorCount(0, 0, 9, 120, 3, 3))
    reports = [
        report(characters=counted),
        report("teacher", characters=CharacterErrors(ErrorCount(0, 0, 6, 120, 3, 2), counted.first_pass)),
        report(decoding="decode_tg_eval", characters=counted, **FROZEN),
        report("teacher", decoding="decode_tg_eval", **FROZEN),  # not counted
    ]
    published = [PublishedRow("another", "", "", {"*": "9.02"})]
    header, _, *rows = cells(to_text(Comparison.of(reports, published)))
    assert header[3:] == ["dev %WER", "dev %CER", "eval %WER"]
    # 9, 3 and 6 errors in 120 characters
    assert [row[4] for row in rows] == ["7.50*", "2.50*", "5.00*", "–", "–", "–"]
    assert [row[3] for row in rows] == ["20.00*", "13.33*", "13.33*", "6.67", "3.33", "9.02"]
    results = {
        row["system"]: row for row in csv.DictReader(to_csv(Experiment.of(Comparison.of(reports[:2]))).splitlines())
    }
    assert {system: (float(row["cer"]), row["reference_characters"]) for system, row in results.items()} == {
        "first pass": (7.5, "120"),
        "student": (2.5, "120"),
        "teacher": (5.0, "120"),
    }
    [without] = {row["cer"] for row in csv.DictReader(to_csv(Experiment.of(Comparison.of([report()]))).splitlines())}
    assert without == ""


def test_several_language_models_of_one_system():
    both = report("a+b", lms=(TEACHER, LmFacts("b", "bb", 5, 70.0)), lm_weights=(0.25, 0.5))
    text = to_text(Comparison.of([both]))
    assert cells(text)[3][:3] == ["a+b", "20,000,005", "– + 70.00"]
    assert "teacher fedcba987654 weight 0.25, b bb weight 0.5;" in text


def test_significance_against_the_first_pass_and_the_best():
    first, some, best = errors(*[5] * 20), errors(*[4] * 20), errors(*[3] * 20)
    reports = [report("some", rescored=some, first_pass=first), report("best", rescored=best, first_pass=first)]
    sure = "decode_tg_dev: better than the first pass with probability 100.00 %"
    assert list(Comparison.of(reports).comparisons()) == [
        f"some, {sure}; best is better than some with probability 100.00 %",
        f"best, {sure}",
    ]


def test_the_best_of_a_set_is_not_taken_for_the_best_of_all():
    """On eval, the other system has fewer errors, but the answer names the one with the fewest on both sets."""
    dev, test = {"decoding": "a_dev", **FROZEN}, {"decoding": "a_eval", **FROZEN}
    reports = [
        report("one", rescored=errors(0, 0, 0), **dev),
        report("other", rescored=errors(4, 2, 0), **dev),
        report("one", rescored=errors(1, 0, 0), **test),
        report("other", rescored=errors(0, 0, 0), **test),
    ]
    experiment = Experiment.of(Comparison.of(reports))
    assert experiment.verdict.system == "one"
    [_, notes] = to_text(experiment.comparison).split("Significance (paired bootstrap; with the best system on each ")
    assert notes.startswith("set, which need not be that of the answer):\n")
    assert "other is better than one with probability" in notes


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ([], "no report"),
        ([report(), report()], "two reports of student on decode_tg_dev"),
        ([report(), report("b", rescored=errors(1), first_pass=errors(1))], "different utterances of decode_tg_dev"),
        (
            [report(), report("b", rescored={}, first_pass={})],
            "^b on decode_tg_dev has no references to score against; nothing to compare$",
        ),
    ],
    ids=["none", "twice", "other utterances", "no references"],
)
def test_reports_that_make_no_table(reports, message):
    with pytest.raises(UsageError, match=message):
        Comparison.of(reports)


def test_no_text_of_a_cell_breaks_a_table():
    rows = [["arm", "x"], ["P(a|b)\nof\r\nwords", "1"]]
    assert markdown(rows).splitlines()[2] == r"| P(a\|b) of words |   1 |"


def test_first_passes_that_differ_are_noted():
    same, other = report("same"), report("other", first_pass=errors(4, 2, 3))
    assert not [line for line in Comparison.of([report(), same]).legend() if "first pass" in line]
    [line] = [line for line in Comparison.of([report(), same, other]).legend() if "first pass" in line]
    assert line.startswith("other, decode_tg_dev: first pass 30.00, N-best oracle 6.67, from other lists")


def test_two_parts_of_one_decode_directory():
    parts = [report(data="dev_a"), report(data="dev_b", source="tuned on dev_a")]
    text = to_text(Comparison.of(parts))
    assert "dev_a %WER | dev_b %WER" in text
    assert "student, decode_tg_dev (dev_b): " in text
    assert "dev_a, decode_tg_dev (dev_a)" in to_markdown(Experiment.of(Comparison.of(parts)))


def test_published_rows_are_the_last_ones():
    rows = [PublishedRow("paper", "12M", "", {"*ev": "6.30/4.13"})]
    text = to_text(Comparison.of([report()], rows))
    cells = [line for line in text.splitlines() if line.startswith("|")][-1].split("|")
    assert [cell.strip() for cell in cells[1:-1]] == ["paper", "12M", "–", "6.30/4.13"]
    assert "not computed here: paper" in text


@pytest.mark.parametrize("lattices_first", [False, True])
def test_lists_and_lattices_of_one_decoding_with_different_first_passes(lattices_first):
    """rescore_nbest --tune has N-best lists and tunes the first pass; rescore_lattice --lm-weight does neither."""
    lists = report("lists")
    lattices = report("lattices", source="given", nbest_oracle=None, first_pass=errors(4, 2, 3))
    comparison = Comparison.of([lattices, lists] if lattices_first else [lists, lattices])
    reason = "from other lists or other first-pass weights than in the table"
    [line] = [line for line in comparison.legend() if "first pass" in line]
    if lattices_first:
        assert line == f"lists, decode_tg_dev: first pass 20.00, N-best oracle 6.67, {reason}"
    else:
        assert line == f"lattices, decode_tg_dev: first pass 30.00, {reason}"
    rates = {row[0]: row[-1] for row in comparison.rows()}
    assert rates["first pass"] == ("30.00" if lattices_first else "20.00*")
    assert rates["N-best oracle"] == "6.67"


def test_n_best_oracles_that_differ_are_noted():
    other = report("other", nbest_oracle=ErrorCount(0, 0, 3, 30, 3, 1))
    lattices = report("lattices", nbest_oracle=None)
    lines = [line for line in Comparison.of([lattices, report(), other]).legend() if "first pass" in line]
    assert [line.split(":")[0] for line in lines] == ["other, decode_tg_dev"]


@pytest.mark.parametrize(("number", "last"), [(0, None), (5, "utt4: lost"), (6, "and 1 more, see its failed.txt")])
def test_failures_are_listed_but_not_without_end(number, last):
    lines = list(Comparison.of([report(failures={f"utt{k}": "lost" for k in range(number)})]).failures())
    assert len(lines) == min(number, 6)
    assert (lines[-1] if lines else None) == (last and f"student, decode_tg_dev: {last}")


def test_a_warning_of_several_systems_is_shown_once():
    warned = (ReportWarning("skipped_lattices", "skipped: try `lmwt` 1:7"),)
    reports = [report(system, "decode_tg_dev", warnings=warned) for system in "abcd"]
    reports += [report(system, "decode_bd_dev", warnings=warned) for system in "ab"]
    assert list(Comparison.of(reports).warnings()) == [
        "4 systems, decode_tg_dev: skipped: try --lmwt 1:7",
        "a, b, decode_bd_dev: skipped: try --lmwt 1:7",
    ]
