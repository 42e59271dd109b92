"""Rescorings that cannot help, from the first command to the page: stderr, both report.json, report.txt and the page
have the same diagnosis, and what it tells the user to do helps."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.kaldi import SymbolTable
from asr_rescore.ngram import WordFst
from asr_rescore.report import SystemReport
from asr_rescore.report.advice import MEANINGS, NO_HELP
from asr_rescore.report.warning import with_flags
from made_reports import Page
from rescoring_runs import save_random_lm

OF_GRAPH = 2.0  # graph cost of each word beyond that of the language model: pronunciation and silence
RIGHT, WRONG = 10.0, 10.75  # acoustic costs of what was said and of what was not


@dataclass(frozen=True)
class FirstPass:
    """A Kaldi experiment of one-word utterances, decoded with a grammar of equally likely words."""

    folder: Path
    words: Sequence[str]

    @classmethod
    def of(cls, folder: Path, words: Sequence[str], said: Mapping[str, str], excess: Mapping[str, float]) -> FirstPass:
        """Lattices in which each word that was not said is cheaper in the graph, by ``excess`` of the utterance."""
        arcs = {word: index for index, word in enumerate(words, 1)}
        made = cls(folder, words)
        made.lang("lang", words, len(words))
        old = float(np.log(len(words) + 1))
        lattices = []
        for utt, right in said.items():
            lines = [f"{utt} "]
            for word, index in arcs.items():
                costs = (OF_GRAPH, RIGHT) if word == right else (OF_GRAPH - excess[utt], WRONG)
                lines.append(f"0 1 {index} {costs[0] + old},{costs[1]},1_1")
            lattices.append("\n".join([*lines, f"1 {old},0,", "", ""]))
        (folder / "decode").mkdir()
        with gzip.open(folder / "decode/lat.1.gz", "wt") as stream:
            stream.writelines(lattices)
        kaldi.write_num_jobs(folder / "decode", 1)
        text = {utt: [word] for utt, word in said.items()}
        kaldi.write_data_dir(folder / "data", kaldi.DataDir({utt: utt for utt in said}, text))
        return made

    def lang(self, name: str, words: Sequence[str], equally_likely: float) -> str:
        """A lang directory whose grammar gives each word, and the end, one of ``equally_likely`` + 1 chances."""
        ids = ["<eps>", *words, "#0", "<s>", "</s>"]
        place = self.folder / name
        place.mkdir()
        kaldi.write_words(place / "words.txt", SymbolTable({word: index for index, word in enumerate(ids)}))
        labels = np.arange(1, len(words) + 1, dtype=np.int32)
        nowhere = np.zeros(len(words), np.int32)
        cost = float(np.log(equally_likely + 1))
        grammar = WordFst(0, nowhere, nowhere, labels, labels, np.full(len(words), cost), np.array([cost]))
        kaldi.write_grammar(place / "G.fst", grammar)
        return name

    def lm(self, name: str, words: Sequence[str]) -> str:
        save_random_lm(self.folder / name, list(words), 1)
        return name

    def rescore(self, command: str, *options: object, lang: str = "lang", lm: str = "lm", out: str = "out") -> int:
        places = [self.folder / name for name in (lang, lm, "data", "decode", f"{lm}/{out}")]
        return main([command, "--device", "cpu", *map(str, [*options, *places])])


def everyone(said: str) -> dict[str, str]:
    """Utterance → word."""
    return {f"u{number}": word for number, word in enumerate(said.split())}


def shows_in_all_views(first_pass: FirstPass, code: str, capsys) -> str:
    """The one warning of a rescoring as the user reads it, after a look for it wherever it should be."""
    out, folder = first_pass.folder / "lm/out", first_pass.folder / "report"
    rescored = SystemReport.load(out)
    assert [warning.code for warning in rescored.warnings] == [code]
    text = with_flags(rescored.warnings[0].text)
    assert "`" not in text
    assert f"{out}: warning: {text}\n" in capsys.readouterr().err
    assert main(["report", str(out), str(folder)]) == 0
    title, meaning = MEANINGS[code]
    place = f"{rescored.system}, decode: {text}"
    assert f"- {title}: {place}\n" in capsys.readouterr().out
    advice = {entry["title"]: entry for entry in json.loads((folder / "report.json").read_text("utf-8"))["advice"]}
    assert (advice[title]["meaning"], advice[title]["places"]) == (meaning, [place])
    assert f"- {place}\n" in (folder / "report.txt").read_text("utf-8")
    assert f"**{title}.** {meaning}\n\n- {place}\n" in (folder / "report.md").read_text("utf-8")
    page = Page((folder / "report.html").read_text("utf-8"))
    shown = page.root.one("section", id="diagnosis")
    headings = [heading.text.lstrip("⚠ ") for heading in shown.all("h3")]
    assert sorted(headings) == sorted(advice)
    for part in (meaning, place):
        assert " ".join(part.split()) in shown.text
    [line] = advice[NO_HELP]["places"]
    assert line in shown.text
    assert f"the likely cause: see “{title}”" in line
    return text


COMMANDS = pytest.mark.parametrize("command", ["rescore_nbest", "rescore_lattice"])
WORDS = ("CAT", "DOG", "MAT", "SAT")
SMALL = tuple(map(str.lower, WORDS))


@COMMANDS
def test_an_lm_in_small_letters_for_a_recogniser_in_capitals(tmp_path, command, capsys):
    said = everyone("CAT DOG MAT SAT")
    first_pass = FirstPass.of(tmp_path, WORDS, said, {**dict.fromkeys(said, 1.0), "u0": -1.0})
    first_pass.lm("lm", SMALL)
    assert first_pass.rescore(command, "--lm-weight", 0.5) == 1
    error = capsys.readouterr().err
    remedy = "words are known in lower case; write the text of the language model in upper case (sed 's/.*/\\U&/')"
    assert remedy in error and "found no entry for 4 of 4 distinct words" in error
    assert not (tmp_path / "lm/out/report.json").exists()
    assert first_pass.rescore(command, "--lm-weight", 0.5, "--allow-oov") == 0
    assert remedy in shows_in_all_views(first_pass, "oov", capsys)
    first_pass.lm("mended", WORDS)
    assert first_pass.rescore(command, "--lm-weight", 0.5, lm="mended") == 0
    assert not SystemReport.load(tmp_path / "mended/out").warnings


@COMMANDS
def test_another_grammar_than_that_of_the_graph(tmp_path, command, capsys):
    said = everyone("CAT DOG MAT SAT")
    first_pass = FirstPass.of(tmp_path, WORDS, said, {**dict.fromkeys(said, 1.0), "u0": -1.0})
    first_pass.lm("lm", WORDS)
    first_pass.lang("other", WORDS, 10_000)
    assert first_pass.rescore(command, "--lm-weight", 0.1, lang="other") == 0
    text = shows_in_all_views(first_pass, "old_lm", capsys)
    assert f"check that {tmp_path / 'other/G.fst'} and words.txt are those of the decoding graph" in text
    for number, mended in enumerate((["--old-lm", tmp_path / "lang/G.fst"], ["--no-old-lm"])):
        assert first_pass.rescore(command, "--lm-weight", 0.1, *mended, lang="other", out=f"mended{number}") == 0
        assert not SystemReport.load(tmp_path / f"lm/mended{number}").warnings


# Excess graph costs with which the acoustic costs, 0.75 better, win below an LMWT of 7.5, …, or everywhere.
BELOW_7, BELOW_3, BELOW_1, EVERYWHERE = 0.1, 0.75 / 3.5, 0.5, -0.1


def of_a_chain_model(folder: Path, *excesses: float) -> FirstPass:
    """Two utterances of each excess, one with either word, so that no language model mends one without harm."""
    said = everyone(" ".join(["yes no"] * len(excesses)))
    first_pass = FirstPass.of(folder, ("no", "yes"), said, {u: excesses[n // 2] for n, u in enumerate(said)})
    first_pass.lm("lm", ("no", "yes"))
    return first_pass


TUNE = ("--tune", "--word-ins-penalty", "0")


def test_the_best_lmwt_on_the_edge_of_its_grid(tmp_path, capsys):
    first_pass = of_a_chain_model(tmp_path, BELOW_7, BELOW_7, BELOW_3)
    assert first_pass.rescore("rescore_nbest", *TUNE) == 0
    out, folder = tmp_path / "lm/out", tmp_path / "report"
    _, edge, edge_of_first_pass = SystemReport.load(out).warnings
    assert (edge.code, edge_of_first_pass.code) == ("lmwt_edge", "first_pass_lmwt_edge")
    text = with_flags(edge.text)
    assert text.startswith("the tuned LMWT 7 is the smallest of its grid, 7 to 17; a better one may lie beyond: try ")
    error = capsys.readouterr().err
    assert f"{out}: warning: {text}\n" in error and f"{out}: warning: {edge_of_first_pass.text}\n" in error
    assert main(["report", str(out), str(folder)]) == 0
    title, meaning = MEANINGS["lmwt_edge"]
    assert f"- {title}: lm, decode: {text}\n" in capsys.readouterr().out
    page = Page((folder / "report.html").read_text("utf-8"))
    assert f"The likely cause: see “{title}”. Before you trust these figures: {title} (see Diagnosis)" in (
        page.root.one("header").text.replace(".Before", ". Before")
    )
    shown = page.root.one("section", id="diagnosis").text
    advice = json.loads((folder / "report.json").read_text("utf-8"))["advice"]
    assert {"title": title, "meaning": meaning, "places": [f"lm, decode: {text}"], "serious": True} in advice
    assert f"{title} {meaning}" in shown and text in shown and f"the likely cause: see “{title}”" in shown
    assert "try --lmwt 1:7;" in text
    assert first_pass.rescore("rescore_nbest", *TUNE, "--lmwt", "1:7", out="mended") == 0
    assert SystemReport.load(tmp_path / "lm/mended").total.errors == 0


def test_lattices_in_the_scale_of_a_chain_model(tmp_path, capsys):
    first_pass = of_a_chain_model(tmp_path, EVERYWHERE, BELOW_1)
    assert first_pass.rescore("rescore_nbest", *TUNE) == 0
    assert SystemReport.load(tmp_path / "lm/out").total.errors == 2
    text = shows_in_all_views(first_pass, "flat_lmwt", capsys)
    assert text.startswith("every LMWT from 7 to 17 gives the same errors (2)")
    assert "try --inv-acwt 1 and --lmwt 0.5:2:0.1" in text
    unscaled = ("--inv-acwt", 1, "--lmwt", "0.5:2:0.1")
    assert first_pass.rescore("rescore_nbest", *TUNE, *unscaled, out="mended") == 0
    mended = SystemReport.load(tmp_path / "lm/mended")
    assert (mended.total.errors, mended.warnings) == (0, ())


def test_lists_that_are_too_short(tmp_path, capsys):
    words = tuple(f"w{number}" for number in range(12))
    said = everyone("w3 w5 w7")
    first_pass = FirstPass.of(tmp_path, words, said, {**dict.fromkeys(said, 1.0), "u0": -1.0})
    first_pass.lm("lm", words)
    assert first_pass.rescore("rescore_nbest", "--n", 1, "--lm-weight", 0.1) == 0
    assert "try --n 10, or rescore the lattices" in shows_in_all_views(first_pass, "short_lists", capsys)


@COMMANDS
def test_an_lm_that_was_trained_on_other_text(tmp_path, command, capsys):
    said = everyone("CAT DOG MAT SAT")
    first_pass = FirstPass.of(tmp_path, WORDS, said, {**dict.fromkeys(said, 1.0), "u0": -1.0})
    first_pass.lm("lm", [*WORDS, *(f"w{number}" for number in range(800))])
    assert first_pass.rescore(command, "--lm-weight", 0.1) == 0
    text = shows_in_all_views(first_pass, "new_lm", capsys)
    assert re.match(
        r"lm has perplexity \d+(\.\d+)? on the first pass's best hypotheses, where the old LM has 5: ", text
    )
    [fit] = SystemReport.load(tmp_path / "lm/out").fits
    assert fit.old_ppl == pytest.approx(5), "four words and the end, equally likely"
    assert fit.ppl > 10 * fit.old_ppl


def test_causes_come_before_what_follows_from_them_in_all_views(tmp_path, capsys):
    """A vocabulary and an old LM that are wrong; they are known last, after the tuning, which ends on an edge."""
    said = everyone("CAT DOG MAT SAT")
    first_pass = FirstPass.of(tmp_path, WORDS, said, {**dict.fromkeys(said, BELOW_7), "u0": -1.0})
    first_pass.lm("lm", SMALL)
    first_pass.lang("other", WORDS, 10_000)
    assert first_pass.rescore("rescore_nbest", "--tune", "--allow-oov", lang="other") == 0
    out, folder = tmp_path / "lm/out", tmp_path / "report"
    warnings = SystemReport.load(out).warnings
    codes = [warning.code for warning in warnings]
    assert codes == ["old_lm", "oov", "lmwt_edge", "first_pass_lmwt_edge"]
    texts = [with_flags(warning.text) for warning in warnings]
    error = capsys.readouterr().err
    assert re.findall("warning: (.*)", error) == texts
    assert main(["report", str(out), str(folder)]) == 0
    titles = [MEANINGS[code][0] for code in codes]
    assert re.findall("^- (.*?): ", capsys.readouterr().out, re.MULTILINE)[:2] == titles[:2]
    advice = [entry["title"] for entry in json.loads((folder / "report.json").read_text("utf-8"))["advice"]]
    assert [title for title in advice if title in titles] == titles
    text = (folder / "report.txt").read_text("utf-8")
    assert sorted(texts, key=text.index) == texts
