"""Sets and systems of one name: told apart by what they are, and shown with the part of the path that differs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from asr_rescore.cli.main import main
from asr_rescore.errors import UsageError
from asr_rescore.files import absolute
from asr_rescore.report import Experiment, LmFacts, SystemReport, to_html, to_text
from asr_rescore.report.differences import Differences
from asr_rescore.report.exports import to_latex, to_markdown
from asr_rescore.report.names import endings, lm_names, shown_names, told_apart
from made_reports import out_dir

SAID = {"a-1": "the cat sat", "a-2": "on the mat"}
OTHERS = {"b-1": "all day long"}
BEFORE = {"a-1": "a cat sat", "a-2": "on mat"}


def lm(name: str, digest: str, home: Path | str = "") -> tuple[LmFacts, ...]:
    return (LmFacts(name, digest * 8, 1000, 50.0, str(home)),)


def lattices(folder: Path, decode_dir: str, size: int) -> None:
    """What the first job of a rescoring notes about its lattices."""
    made_from = {"decode_dir": decode_dir, "lattices": [["lat.1.gz", size, 1]]}
    (folder / "job.1.json").write_text(json.dumps({"made_from": made_from}))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/data/a/test", "/data/b/test"], ["a/test", "b/test"]),
        (["expA/student_trust", "expB/student_trust"], ["expA/student_trust", "expB/student_trust"]),
        (["/a/x/lm", "/b/x/lm", "/b/y/lm"], ["a/x/lm", "b/x/lm", "b/y/lm"]),
        (["/x/one", "/x/two"], ["one", "two"]),
        (["/lm", "/a/lm"], ["lm", "a/lm"]),
        (["lm", "lm"], ["lm", "lm"]),
        ([], []),
    ],
)
def test_the_shortest_endings_that_tell_paths_apart(paths, expected):
    assert endings(paths) == expected


def test_only_names_of_different_things_are_made_longer():
    names = ["lm", "lm", "lm", "other"]
    homes = ["/a/lm", "/b/lm", "/c/lm", ""]
    assert shown_names(names, [1, 2, 1, 1], homes, "wxyz") == ["a/lm", "b/lm", "a/lm", "other"]
    assert shown_names(names, [1, 1, 1, 1], homes, "wxyz") == names
    same_home = ["/a/lm", "/a/lm", "", ""]
    assert shown_names(names, [1, 2, 1, 1], same_home, "wxyz") == ["lm (w)", "lm (x)", "lm (w)", "other"]
    assert shown_names(names, [1, 2, 1, 1], ["", "/b/lm", "/a/lm", ""], "wxyz")[:2] == ["a/lm", "b/lm"]


def two_halves(folder: Path, **changes) -> list[Path]:
    """One model on two sets of one name, of which no utterance is in both."""
    return [
        out_dir(folder / f"lm/{half}/decode_eval", said, said, said, system="lm", data="test", **more, **changes)
        for half, said, more in (
            ("one", SAID, {"data_dir": "/data/a/test"}),
            ("two", OTHERS, {"data_dir": "/data/b/test"}),
        )
    ]


def test_two_sets_of_one_name_are_two_columns_everywhere(tmp_path):
    outs = two_halves(tmp_path)
    assert main(["report", *map(str, outs), str(tmp_path / "report")]) == 0
    experiment = Experiment.read(outs)
    assert experiment.comparison.header()[3:] == ["a/test %WER", "b/test %WER"]
    assert [len(tests.with_first_pass) for tests in experiment.tests.values()] == [1, 1]
    assert experiment.verdict.gain.units == 3, "utterances of both sets are resampled"
    for name in ("txt", "md", "html", "json", "csv", "tex"):
        text = (tmp_path / f"report/report.{name}").read_text(encoding="utf-8")
        assert "a/test" in text and "b/test" in text, name
    with (tmp_path / "report/report.csv").open(newline="", encoding="utf-8") as stream:
        assert [row["data"] for row in csv.DictReader(stream)] == ["a/test", "a/test", "b/test", "b/test"]
    assert "decode_eval (a/test)" in experiment.sentence


def test_sets_of_results_that_do_not_know_their_data_directory(tmp_path):
    """Results of earlier versions: without a common utterance they are two sets, named by the out-dirs."""
    outs = two_halves(tmp_path)
    for path in outs:
        replace(SystemReport.load(path), data_dir="").save(path)
    header = Experiment.read(outs).comparison.header()
    assert header[3:] == ["test (one/decode_eval) %WER", "test (two/decode_eval) %WER"]


def test_sets_that_differ_only_in_words_of_the_references_are_two(tmp_path):
    other = {**SAID, "a-1": "the dog sat"}
    outs = [
        out_dir(tmp_path / f"{name}/decode_eval", said, said, said, data="test", data_dir=f"/{name}/test")
        for name, said in (("a", SAID), ("b", other), ("c", SAID))
    ]
    assert list(Experiment.read(outs).comparison.sets) == ["a/test", "b/test"], "c has a copy of a's"


def test_a_set_that_has_changed_is_refused(tmp_path):
    for system, said in (("one", SAID), ("two", {"a-1": SAID["a-1"]}), ("three", {**SAID, "a-1": "the cat"})):
        out_dir(tmp_path / system / "decode_eval", said, said, said, data="test", data_dir="/data/test")
    one, two, three = (tmp_path / name / "decode_eval" for name in ("one", "two", "three"))
    with pytest.raises(UsageError, match=r"different utterances of decode_eval: test has changed, .*; run one of them"):
        Experiment.read([one, two])
    with pytest.raises(UsageError, match=r"different references of decode_eval: test has changed, .*; run one of them"):
        Experiment.read([one, three])


def two_models(folder: Path) -> list[Path]:
    """Two models whose directories have one name, on the same set."""
    return [
        out_dir(
            folder / exp / "student_trust/decode_eval", SAID, BEFORE, after, parameters, lms=lm("student_trust", digest)
        )
        for exp, after, parameters, digest in (("expA", SAID, 1, "ab"), ("expB", BEFORE, 2, "cd"))
    ]


def test_two_models_of_one_name_are_two_systems_everywhere(tmp_path, capsys):
    outs = two_models(tmp_path)
    assert main(["report", *map(str, outs), str(tmp_path / "report")]) == 0
    assert capsys.readouterr().out.startswith("expA/student_trust is best, ")
    experiment = Experiment.read(outs)
    assert experiment.comparison.systems == ("expA/student_trust", "expB/student_trust")
    [tests] = experiment.tests.values()
    assert [pair.second for pair in tests.with_best] == ["expB/student_trust"]
    assert tests.with_best[0].mcnemar.pairs == 2
    for text in (to_text(experiment.comparison), to_markdown(experiment), to_html(experiment)):
        assert "expA/student_trust" in text and "expB/student_trust" in text
    assert r"expB/student\_trust" in to_latex(experiment)


def test_compare_names_two_models_of_one_name(tmp_path):
    heads = [line.partition(":")[2].strip() for line in list(Differences.read(*two_models(tmp_path)).lines(80))[:2]]
    assert [head.split(":")[0] for head in heads] == [
        "expA/student_trust, decode_eval, eval",
        "expB/student_trust, decode_eval, eval",
    ]


def test_compare_names_two_results_of_one_model_by_their_directories(tmp_path):
    outs = [
        out_dir(tmp_path / f"{name}/decode_eval", SAID, BEFORE, SAID, system="lm", lms=lm("lm", "ab"))
        for name in ("light", "heavy")
    ]
    first, second, *_ = Differences.read(*outs).lines(80)
    assert first.startswith("A: lm (light/decode_eval), decode_eval, eval: %WER")
    assert second.startswith("B: lm (heavy/decode_eval), decode_eval, eval: %WER")


def test_the_same_result_twice_is_refused_with_a_remedy(tmp_path, capsys):
    """The set is a copy in another place, and the weights differ; set, first pass and model are the same."""
    outs = [
        out_dir(
            tmp_path / f"{name}/decode_eval",
            SAID,
            BEFORE,
            SAID,
            **{"system": "lm", "lms": lm("lm", "ab"), "data": "test", "data_dir": f"/{name}/test"},
            lm_weights=(weight,),
        )
        for name, weight in (("a", 0.25), ("b", 0.5))
    ]
    assert main(["report", *map(str, outs), str(tmp_path / "report")]) == 2
    message = capsys.readouterr().err
    assert f"{outs[0]} and {outs[1]} are both results of lm on decode_eval of test, with the same language" in message
    assert "give one of them (compare shows how they differ)" in message


def test_a_model_that_was_trained_anew_is_named_by_its_hash(tmp_path):
    outs = [
        out_dir(tmp_path / f"lm/decode_{name}", SAID, BEFORE, SAID, lms=lm("lm", digest))
        for name, digest in (("dev", "0123"), ("eval", "4567"))
    ]
    assert Experiment.read(outs).comparison.systems == ("lm (012301230123)", "lm (456745674567)")


def test_what_follows_the_models_in_the_name_of_a_system_stays(tmp_path):
    outs = [
        out_dir(
            tmp_path / f"out{number}/decode_eval",
            SAID,
            BEFORE,
            SAID,
            system="lm+old, lattices",
            lms=lm("lm", digest, f"/{number}/lm") + lm("old", "ff", "/old"),
            lm_weights=(0.25, 0.5),
        )
        for number, digest in enumerate(("ab", "cd"))
    ]
    assert Experiment.read(outs).comparison.systems == ("0/lm+old, lattices", "1/lm+old, lattices")


def test_decode_directories_of_one_name_are_told_apart_by_their_lattices(tmp_path):
    outs = [
        out_dir(tmp_path / f"out{number}/decode_eval", SAID, BEFORE, SAID, system="lm", lms=lm("lm", "ab"))
        for number in range(3)
    ]
    lattices(outs[0], "/exp/tri3/decode_eval", 1000)
    lattices(outs[1], "/exp/tri4/decode_eval", 2000)
    lattices(outs[2], "/copy/tri3/decode_eval", 1000)
    reports = told_apart([SystemReport.load(path) for path in outs], outs)
    assert [report.decoding for report in reports] == ["tri3/decode_eval", "tri4/decode_eval", "tri3/decode_eval"]
    assert len(Experiment.read(outs[:2]).tests) == 2
    with pytest.raises(UsageError, match="are both results of lm"):
        Experiment.read(outs)


def test_trainings_and_vocabularies_belong_to_the_models_that_they_are_of(tmp_path):
    outs = two_models(tmp_path)
    for exp, word in (("expA", "cat"), ("expB", "mat")):
        (tmp_path / exp / "student_trust/log.jsonl").write_text('{"epoch": 1.0, "valid_ppl": 90.5}\n')
        (tmp_path / exp / "student_trust/vocab.txt").write_text(f"</s>\n<unk>\n{word}\n")
        (tmp_path / exp / "student_trust/unk_probs.txt").write_text("<unk>\n")
    experiment = Experiment.read(outs)
    assert [curve.name for curve in experiment.curves] == ["expA/student_trust", "expB/student_trust"]
    assert {name: found.is_oov("cat") for name, found in experiment.vocabularies.items()} == {
        "expA/student_trust": False,
        "expB/student_trust": True,
    }


def test_a_model_that_no_system_uses_does_not_take_the_name_of_one_that_does(tmp_path):
    outs = two_models(tmp_path)[:1]
    mine, other = (tmp_path / exp / "student_trust" for exp in ("expA", "expC"))
    names = lm_names([mine, other], [SystemReport.load(outs[0])], outs)
    assert names == {mine: "student_trust", other: "expC/student_trust"}


def test_an_absolute_path_keeps_its_last_name(tmp_path):
    (tmp_path / "test_v2").mkdir()
    (tmp_path / "test").symlink_to("test_v2")
    assert absolute(tmp_path / "x" / ".." / "test") == str(tmp_path.resolve() / "test")
