"""Errors counted as a user's own scoring counts them: with filters, in words or in characters, in every command."""

from __future__ import annotations

import re

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.errors import UsageError
from asr_rescore.nbest import ACOUSTIC, GRAPH, NEURAL, OLD_LM, NBest
from asr_rescore.ranking import OperatingPoint
from asr_rescore.report import Comparison, SystemReport
from asr_rescore.scoring import Scoring, ScoringConfig, characters
from asr_rescore.tuning import tune
from asr_rescore.word_errors import wer
from conftest import GOLDENS
from filters import WSJ, program, sed


def table(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# score_wer

REFERENCES = ("u1 the cat sat", "u2 [noise] hello there", "u3 yeah mhm right")
HYPOTHESES = ("u1 the <UNK> cat sat", "u2 hello [laughter] there", "u3 yeah hmm right")
RULES = (r"s/ \[[^ ]*\]//g", r"s/ <[^ ]*>//g", "s/mhm/hmm/g")


@pytest.fixture
def texts(tmp_path):
    return table(tmp_path / "ref", *REFERENCES), table(tmp_path / "hyp", *HYPOTHESES)


def line_of(capsys, *arguments):
    assert main(["score_wer", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()[0]


def test_a_filter_for_both_sides_or_one(texts, tmp_path, capsys):
    rules = sed(tmp_path / "rules", *RULES)
    nothing = sed(tmp_path / "nothing", "s/a/a/")
    assert line_of(capsys, *texts) == "%WER 44.44 [ 4 / 9, 2 ins, 1 del, 1 sub ]"
    assert line_of(capsys, "--filter", rules, *texts) == "%WER 0.00 [ 0 / 8, 0 ins, 0 del, 0 sub ]"
    assert line_of(capsys, "--ref-filter", rules, *texts) == "%WER 25.00 [ 2 / 8, 2 ins, 0 del, 0 sub ]"
    assert line_of(capsys, "--hyp-filter", rules, *texts) == "%WER 22.22 [ 2 / 9, 0 ins, 1 del, 1 sub ]"
    overridden = line_of(capsys, "--filter", rules, "--hyp-filter", nothing, *texts)
    assert overridden == "%WER 25.00 [ 2 / 8, 2 ins, 0 del, 0 sub ]"


def test_the_rules_of_wsj_leave_speech_only(tmp_path, capsys):
    reference = table(tmp_path / "ref", "u1 HER COMPAIGN <NOISE> : -HOLDER")
    hypothesis = table(tmp_path / "hyp", "u1 HER CAMPAIGN <UNK> HOLDER")
    wsj = program(tmp_path / "local/wer_output_filter", WSJ)
    assert line_of(capsys, "--filter", wsj, reference, hypothesis) == "%WER 0.00 [ 0 / 3, 0 ins, 0 del, 0 sub ]"


def test_a_blank_ends_a_hypothesis_as_in_kaldi(tmp_path, capsys):
    """Kaldi's int2sym.pl leaves one, so a rule such as this also finds the last word."""
    reference, hypothesis = table(tmp_path / "ref", "u1 one and one"), table(tmp_path / "hyp", "u1 a and a")
    rule = sed(tmp_path / "rule", "s/ a / one /g")
    assert line_of(capsys, "--filter", rule, reference, hypothesis) == "%WER 0.00 [ 0 / 3, 0 ins, 0 del, 0 sub ]"
    assert line_of(capsys, "--filter", rule, hypothesis, reference) == "%WER 33.33 [ 1 / 3, 0 ins, 0 del, 1 sub ]"


def test_characters_do_not_depend_on_the_segmentation(tmp_path, capsys):
    reference, hypothesis = table(tmp_path / "ref", "u1 今天 天气 很 好"), table(tmp_path / "hyp", "u1 今天天气 很 好")
    assert line_of(capsys, reference, hypothesis) == "%WER 50.00 [ 2 / 4, 0 ins, 1 del, 1 sub ]"
    assert line_of(capsys, "--cer", reference, hypothesis) == "%WER 0.00 [ 0 / 6, 0 ins, 0 del, 0 sub ]"
    line_of(capsys, "--cer", "--details-dir", tmp_path / "details", reference, hypothesis)
    assert {path.name for path in (tmp_path / "details").iterdir()} == {"per_utt", "per_spk", "ops", "cer_bootci"}
    assert "u1 ref  今  天  天  气  很  好" in (tmp_path / "details/per_utt").read_text()


def test_character_errors_of_kaldi(capsys):
    golden = GOLDENS / "scoring"
    assert main(["score_wer", "--cer", f"{golden}/mini_dev.ref.txt", f"{golden}/mini_dev.hyp.12.1.0.txt"]) == 0
    assert capsys.readouterr().out == (golden / "mini_dev.cer_12_1.0").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ab", "c"], "a b c"),
        (["a[noise]b", "<UNK>", "!SIL", "x<y"], "a[noise]b <UNK> !SIL x < y"),
        (["a\u3000b"], "a b"),  # Kaldi's script takes wide blanks for blanks
        (["é", "e\u0301"], "é e \u0301"),
        ([], ""),
    ],
)
def test_characters_as_score_kaldi_cer_splits_them(words, expected):
    assert characters(words) == expected.split(" ") if expected else characters(words) == []


# Tuning

MARKED = NBest(
    "u",
    (("a", "um"), ("b",)),
    {ACOUSTIC: np.zeros(2), GRAPH: np.array([0.0, 1.0]), OLD_LM: np.zeros(2), NEURAL: np.array([4.0, 0.0])},
)
POINTS = [OperatingPoint(12)]


def test_tuning_compares_what_the_filter_leaves(tmp_path):
    """Without the filter, "a um" makes one error as "b" does not; with it, "a um" is right."""
    references = {"u": ["b"]}
    assert tune([MARKED], references, 1, POINTS).weights.lm[0] > 0.25
    scoring = Scoring.open(ScoringConfig(filter=str(sed(tmp_path / "f", "s/ um//", "s/ a/ b/"))))
    tuning = tune([MARKED], scoring.references(references), 1, POINTS, compare=scoring.each_for_tuning)
    assert (tuning.errors, tuning.first_pass_errors) == (0, 0)
    assert tuning.weights.lm[0] == 0.5, "every weight is as good"


def test_tuning_for_characters():
    """One wrong word of nine characters, or two words with one wrong character each."""
    nbest = NBest(
        "u",
        (("xxxxxxxxx", "c", "d"), ("abcdefghi", "x", "x")),
        {ACOUSTIC: np.zeros(2), GRAPH: np.array([0.0, 1.0]), OLD_LM: np.zeros(2), NEURAL: np.array([4.0, 0.0])},
    )
    reference = ["abcdefghi", "c", "d"]
    assert tune([nbest], {"u": reference}, 1, POINTS).errors == 1
    scoring = Scoring(cer=True)
    tuning = tune([nbest], {"u": characters(reference)}, 1, POINTS, compare=scoring.each_for_tuning)
    assert (tuning.errors, tuning.first_pass_errors) == (2, 9)


# The rescoring commands. The lattices' words are filtered so that "the" is no word and "a" is "one".

SIMPLE = ("s/ the / /g", "s/ the$//", "s/ the / /g", "s/ a / one /g", "s/ a$/ one/")


def filtered(words):
    return ["one" if word == "a" else word for word in words if word != "the"]


@pytest.fixture
def simple(tmp_path):
    return sed(tmp_path / "local/wer_output_filter", *SIMPLE)


@pytest.fixture
def rescore_lattice(lang, lm, data, decode, tmp_path):
    def run(*options):
        out = tmp_path / "lattices"
        arguments = ["--device", "cpu", *options, lang, lm, data, decode, out]
        return main(["rescore_lattice", *map(str, arguments)]), out

    return run


@pytest.mark.parametrize("command", ["lists", "lattices"])
def test_every_file_is_of_filtered_words(rescore, rescore_lattice, command, simple, data, capsys):
    run = rescore if command == "lists" else rescore_lattice
    status, out = run("--lm-weight", 0.5)
    assert status == 0
    plain = {path.name: kaldi.read_table(path) for path in (out / "scoring_kaldi/penalty_0.5").iterdir()}
    transcripts = kaldi.read_table(out / "text")
    capsys.readouterr()
    status, out = run("--lm-weight", 0.5, "--filter", simple)
    assert status == 0
    assert "finished before" in capsys.readouterr().out, "a filter changes no cost"
    references = {utt: filtered(words) for utt, words in kaldi.read_table(data / "text").items()}
    assert references != kaldi.read_table(data / "text")
    assert kaldi.read_table(out / "scoring_kaldi/test_filt.txt") == references
    for name, texts in plain.items():
        expected = {utt: filtered(words) for utt, words in texts.items()}
        assert kaldi.read_table(out / "scoring_kaldi/penalty_0.5" / name) == expected
        assert (out / f"wer_{name[:-4]}_0.5").read_text() == wer(references, expected).lines()
    assert kaldi.read_table(out / "text") == transcripts, "transcripts are not filtered"
    report = SystemReport.load(out)
    assert report.total.reference_words == sum(map(len, references.values()))
    assert report.first_pass_total.reference_words == report.lattice_oracle.reference_words
    assert report.lattice_oracle.errors <= report.total.errors
    assert re.fullmatch(r"references and hypotheses through wer_output_filter [0-9a-f]{12}", report.scoring)
    assert report.scoring in report.signature


def test_tuning_with_a_filter_finds_the_least_errors(rescore, simple, capsys):
    status, out = rescore("--tune", "--filter", simple)
    assert status == 0
    report = SystemReport.load(out)
    assert report.nbest_oracle.errors <= report.total.errors <= report.first_pass_total.errors
    assert "scoring:        references and hypotheses through wer_output_filter " in capsys.readouterr().out
    lowest = (out / "scoring_kaldi/best_wer").read_text()
    assert int(re.search(r"\[ (\d+) /", lowest)[1]) >= report.total.errors


def test_a_filter_that_fails_is_one_clear_error(rescore, tmp_path, capsys):
    (tmp_path / "f").write_text("#!/bin/sh\ncat\n")
    assert rescore("--tune", "--filter", tmp_path / "f")[0] == 1
    assert "f: found no permission to execute it" in capsys.readouterr().err
    status, out = rescore("--tune", "--filter", sed(tmp_path / "drops", "/minidev/d"))
    assert status == 1
    assert "it must not drop or reorder lines" in capsys.readouterr().err
    assert not (out / "report.json").exists()


def test_characters_beside_words(rescore, data, capsys):
    status, out = rescore("--lm-weight", 0.5, "--cer")
    assert status == 0
    references = {utt: list("".join(words)) for utt, words in kaldi.read_table(data / "text").items()}
    assert kaldi.read_table(out / "scoring_kaldi/test_filt.chars.txt") == references
    for point in ("12_0.0", "7_1.0"):
        lmwt, wip = point.split("_")
        words = kaldi.read_table(out / f"scoring_kaldi/penalty_{wip}/{lmwt}.txt")
        expected = {utt: list("".join(text)) for utt, text in words.items()}
        assert "<UNK>" not in str(words)
        assert kaldi.read_table(out / f"scoring_kaldi/penalty_{wip}/{lmwt}.chars.txt") == expected
        assert (out / f"cer_{point}").read_text() == wer(references, expected).lines()
    details = out / "scoring_kaldi/cer_details"
    assert {path.name for path in details.iterdir()} == {"per_utt", "per_spk", "ops", "cer_bootci", "lmwt", "wip"}
    assert (out / "scoring_kaldi/best_cer").read_text().startswith("%WER ")
    report = SystemReport.load(out)
    assert report.characters.rescored.lines() == (out / "cer_12_0.0").read_text()
    assert report.signature.endswith(f"; given; characters; {report.version}")
    shown = capsys.readouterr().out
    assert f"rescored:       {report.characters.rescored.wer_line('CER')}" in shown
    assert "%CER" in shown


def test_details_say_of_which_point_they_are(rescore):
    _, out = rescore("--lm-weight", 0.5, "--inv-acwt", 12.5)
    details = out / "scoring_kaldi/wer_details"
    assert {path.name for path in details.iterdir()} == {"per_utt", "per_spk", "ops", "wer_bootci", "lmwt", "wip"}
    assert ((details / "lmwt").read_text(), (details / "wip").read_text()) == ("12.5\n", "0.0\n")
    assert (out / "wer_12.5_0.0").exists()


def test_reports_that_were_scored_differently_are_not_compared(rescore, simple):
    reports = []
    for options in ((), ("--filter", simple)):
        _, out = rescore("--lm-weight", 0.5, "--no-lattice-oracle", *options)
        reports.append(SystemReport.load(out))
    reports[1] = type(reports[1])(**{**vars(reports[1]), "system": "other"})
    with pytest.raises(UsageError, match="were not scored in the same way"):
        Comparison.of(reports)
