"""Rescorings whose results are likely wrong although nothing fails: each is refused, or has a warning that says so."""

import json
import re
import unicodedata
from html import escape

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.checkpoint import load_model
from asr_rescore.cli.main import main
from asr_rescore.errors import RescoreError
from asr_rescore.kaldi import SymbolTable
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.ngram import WordFst
from asr_rescore.ranking import OperatingPoint, Weights
from asr_rescore.report import Comparison, Experiment, LmFit, SystemReport, to_html, to_text
from asr_rescore.report.advice import MEANINGS
from asr_rescore.report.warning import with_flags
from asr_rescore.rescoring.diagnosis import NewLmFit, OldLmFit
from asr_rescore.rescoring.tuning_signs import tuning_warnings
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.spelling import spelling_hint
from asr_rescore.vocab import Vocabulary
from conftest import ROOT
from rescoring_runs import save_random_lm

POINTS = tuple(OperatingPoint(lmwt, wip) for wip in (0.0, 0.5, 1.0) for lmwt in range(7, 18))
EDGES = {"lmwt_edge", "first_pass_lmwt_edge", "wip_edge", "lm_weight_zero"}  # their codes are put together
KNOWN = {"b"}.__contains__  # an LM that knows all words but b
SYMBOLS = ("<eps>", "#0", "<s>", "</s>")


def respelled(lang, folder, respell):
    """A lang directory whose words are written in another way."""
    ids = kaldi.read_words(lang / "words.txt").ids
    spelled = {word if word in SYMBOLS else respell(word): index for word, index in ids.items()}
    kaldi.write_words(folder / "words.txt", SymbolTable(spelled))
    (folder / "G.fst.gz").symlink_to(lang / "G.fst.gz")
    return folder


def words_of(lang):
    return [word for word in kaldi.read_words(lang / "words.txt").ids if word[0] not in "<#!"]


def codes(out):
    return [warning.code for warning in SystemReport.load(out).warnings]


@pytest.fixture
def both(lang, lm, data, decode, tmp_path):
    """Run either command into ``tmp_path``/its name; returns its exit status and the out-dir."""

    def run(command, *options, lang=lang, lm=lm):
        arguments = [command, "--device", "cpu", "--lm-weight", 0.5, *options, lang, lm, data, decode]
        return main([*map(str, arguments), str(tmp_path / command)]), tmp_path / command

    return run


COMMANDS = pytest.mark.parametrize("command", ["rescore_nbest", "rescore_lattice"])


@pytest.mark.slow
@COMMANDS
def test_a_vocabulary_in_another_case_is_refused_unless_allowed(both, command, lang, tmp_path, capsys):
    capitals = respelled(lang, tmp_path, str.upper)
    status, out = both(command, lang=capitals)
    assert status == 1
    assert not list(out.glob("*"))
    error = capsys.readouterr().err
    assert "found no entry for 2" in error
    assert "are known in lower case" in error
    assert "--allow-oov" in error
    status, out = both(command, "--allow-oov", lang=capitals)
    assert status == 0
    assert "oov" in codes(out)
    [count] = SystemReport.load(out).oov
    assert count.oov_tokens > 0.95 * count.tokens
    assert count.oov_words > 0.95 * count.words
    shown = capsys.readouterr()
    assert f"OOV words:      {count}" in shown.out
    assert shown.err.count("does not know") == 1


@COMMANDS
def test_words_that_only_the_class_holds_are_no_knowledge_of_another_case(both, command, lang, tmp_path, capsys):
    """As prepare_text --lexicon makes a model of text in lower case for a recogniser in upper case."""
    capitals = [word.upper() for word in words_of(lang)]
    vocabulary = Vocabulary.from_counts(dict.fromkeys(words_of(lang), 1), lexicon=capitals)
    lm = save_random_lm(tmp_path / "hidden", [], 1, vocabulary)
    status, out = both(command, lang=respelled(lang, tmp_path, str.upper), lm=lm)
    assert (status, list(out.glob("*"))) == (1, [])
    error = capsys.readouterr().err
    assert "language model hidden: found no entry but in its class <RNN_UNK> for 2" in error
    assert "are known in lower case; write the text of the language model in upper case (sed" in error
    assert both(command, "--allow-oov", lang=tmp_path, lm=lm)[0] == 0
    warning = next(warning for warning in SystemReport.load(out).warnings if warning.code == "oov")
    assert warning.text.startswith("hidden has no entry but in its class <RNN_UNK> for ")
    assert "are known in lower case; write the text" in warning.text


@pytest.mark.parametrize("listed", ["few", "some in another case"])
def test_a_class_with_many_of_the_words_is_usual(rescore, lang, tmp_path, listed):
    """The lattices have more words than the 30 most frequent ones; or a third of them is listed in capitals only."""
    words = words_of(lang)
    frequent = words[:30] if listed == "few" else [word if n % 3 else word.upper() for n, word in enumerate(words)]
    counts = {**dict.fromkeys(words, 1), **dict.fromkeys(frequent, 2)}
    lm = save_random_lm(tmp_path / "lm", [], 1, Vocabulary.from_counts(counts, size=2 + len(frequent)))
    status, out = rescore("--lm-weight", 0.5, "--n", 5, lms=(lm,))
    assert status == 0
    assert "oov" not in codes(out)


def test_a_vocabulary_in_another_unicode_form_is_refused(both, lang, tmp_path, capsys):
    accented = [f"é{word}" for word in words_of(lang)]
    lm = save_random_lm(tmp_path / "accented", accented, 1)
    decomposed = respelled(lang, tmp_path, lambda word: unicodedata.normalize("NFD", f"é{word}"))
    assert both("rescore_nbest", lang=decomposed, lm=lm)[0] == 1
    error = capsys.readouterr().err
    assert "known in Unicode form NFC; write the text of the language model in Unicode form NFD (uconv -x NFD)" in error


@pytest.mark.parametrize(
    ("unknown", "vocabulary", "remedy"),
    [
        ("cat dog <UNK>", "CAT DOG", "in lower case (sed 's/.*/\\L&/'), then prepare and train again"),
        ("Cat Dog", "cat dog", "in the spelling of words.txt, then"),
        ("cat dog", "mat", ""),
    ],
)
def test_how_to_respell_the_text_of_an_lm(unknown, vocabulary, remedy):
    hint = spelling_hint(unknown.split(), lambda word: word not in vocabulary.split())
    assert remedy in hint
    assert bool(remedy) == bool(hint)


@COMMANDS
def test_the_output_of_a_rescoring_is_no_first_pass(both, command, lang, lm, data, tmp_path, capsys):
    """Its graph costs hold the new LM; only if they are weighed as a whole does it not matter what is in them."""
    _, once = both("rescore_nbest", "--n", 5)
    assert "rescored_input" not in codes(once)
    capsys.readouterr()
    arguments = ["--device", "cpu", "--lm-weight", 0.5, lang, lm, data, once]
    assert main([command, *map(str, arguments), str(tmp_path / "twice")]) == 0
    assert codes(tmp_path / "twice")[0] == "rescored_input"
    assert f"{once} is the output of a rescoring (weights.yaml is in it)" in capsys.readouterr().err
    assert main([command, "--no-old-lm", *map(str, arguments), str(tmp_path / "whole")]) == 0
    assert "rescored_input" not in codes(tmp_path / "whole")


def test_every_warning_is_explained_on_the_page_and_in_the_table_of_the_docs():
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "asr_rescore").rglob("*.py"))
    raised = set(re.findall(r'ReportWarning\(\s*f?"(\w+)"', sources)) | EDGES
    assert raised == MEANINGS.keys()
    table = (ROOT / "docs/recipes.md").read_text("utf-8").split("### Warnings")[1].split("###")[0]
    assert raised == {
        code for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }


def test_oov_words_are_counted_in_the_lists(rescore, lm):
    _, out = rescore("--lm-weight", 0.5)
    vocabulary = load_model(lm).vocabulary
    words = [word for nbest in kaldi.read_nbest_dir(out, 1) for sentence in nbest.words for word in sentence]
    unknown = [word for word in words if vocabulary.is_oov(word) and word != "<UNK>"]
    [count] = SystemReport.load(out).oov
    assert (count.tokens, count.words) == (len(words), len(set(words)))
    assert (count.oov_tokens, count.oov_words) == (len(unknown), len(set(unknown)))
    assert count.lm == "random"


@pytest.mark.parametrize("text", ["said so", "<unk> said so"], ids=["<RNN_UNK>", "<unk>"])
def test_the_recognisers_oov_word_costs_as_much_as_the_class(tmp_path, text):
    loaded = load_model(save_random_lm(tmp_path / "lm", text.split(), 1))
    vocabulary = loaded.vocabulary
    scorer = NeuralScorer(loaded.model, vocabulary, "cpu", oov_word="<UNK>")
    upper, other, rare = scorer.costs([["<UNK>", "said"], ["<OTHER>", "said"], ["yesterday", "said"]])
    of_class = rare + np.log(vocabulary.unk_probs["yesterday"])  # yesterday is in the class
    assert upper == pytest.approx(of_class - np.log(vocabulary.unk_probs.get(vocabulary.unk, 1.0)))
    assert other == pytest.approx(of_class - np.log(1e-7))


@pytest.mark.slow
@COMMANDS
def test_both_commands_read_the_oov_word(both, command, lang, tmp_path):
    ids = kaldi.read_words(lang / "words.txt").ids
    renamed = {("<UNK>" if word == "the" else "UNK" if word == "<UNK>" else word): at for word, at in ids.items()}
    kaldi.write_words(tmp_path / "words.txt", SymbolTable(renamed))
    (tmp_path / "G.fst.gz").symlink_to(lang / "G.fst.gz")
    _, out = both(command, lang=tmp_path)
    [unknown] = SystemReport.load(out).oov
    (tmp_path / "oov.txt").write_text("<UNK>\n")
    _, out = both(command, lang=tmp_path)  # not taken for finished
    [known] = SystemReport.load(out).oov
    assert unknown.oov_tokens > known.oov_tokens
    assert unknown.oov_words == known.oov_words + 1


@pytest.mark.slow
@COMMANDS
def test_an_old_lm_the_lattices_were_not_made_with(both, command, lang, tmp_path, capsys):
    assert "old_lm" not in codes(both(command)[1])
    ids = kaldi.read_words(lang / "words.txt").ids
    labels = np.array([index for word, index in ids.items() if word not in SYMBOLS], np.int32)
    nowhere = np.zeros(len(labels), np.int32)
    cost = float(np.log(len(labels) + 1))
    flat = WordFst(0, nowhere, nowhere, labels, labels, np.full(len(labels), cost), np.array([cost]))
    kaldi.write_grammar(tmp_path / "G.fst", flat)
    (tmp_path / "words.txt").symlink_to(lang / "words.txt")
    status, out = both(command, lang=tmp_path)
    assert status == 0
    [warning] = [warning for warning in SystemReport.load(out).warnings if warning.code == "old_lm"]
    assert warning.numbers["negative"] > 0.1 * warning.numbers["hypotheses"]
    assert warning.numbers["least"] < 0
    assert f"{out}: warning: {warning.text}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_new_lm_that_does_not_fit_has_the_same_warning_for_lists_and_lattices(both, lang, tmp_path):
    lm = save_random_lm(tmp_path / "foreign", words_of(lang), 1)
    found = {}
    for command in ("rescore_nbest", "rescore_lattice"):
        status, out = both(command, lm=lm)
        assert status == 0
        report = SystemReport.load(out)
        [warning] = [warning for warning in report.warnings if warning.code == "new_lm"]
        assert warning.text.startswith(f"foreign has perplexity {warning.numbers['ppl']:.4g} on the first pass's best")
        assert report.fits == (LmFit("foreign", warning.numbers["ppl"], warning.numbers["old_ppl"]),)
        found[command] = warning.numbers
    assert found["rescore_lattice"] == pytest.approx(found["rescore_nbest"], rel=1e-4)
    assert found["rescore_lattice"]["ppl"] > 10 * found["rescore_lattice"]["old_ppl"]


class LinearScorer:
    """Costs of 9 per word and 1 per sentence end; keeps the sentences."""

    def __init__(self):
        self.sentences = []

    def costs(self, sentences):
        self.sentences += sentences
        return np.array([9.0 * len(words) + 1.0 for words in sentences])


def test_a_sample_of_the_first_pass_is_enough_for_a_new_lm(monkeypatch):
    monkeypatch.setattr("asr_rescore.rescoring.diagnosis.SAMPLE_TOKENS", 12)
    sentences = [("a",) * (1 + index % 3) for index in range(10)]  # 29 tokens, so every third with an old cost is taken
    old = np.array([1.0, np.inf, *[1.0] * 8])
    scorer, fit = LinearScorer(), NewLmFit(["x"], [KNOWN])
    fit.add_sample({f"utt{index}": words for index, words in enumerate(sentences)}, old, [scorer])
    assert scorer.sentences == [sentences[index] for index in (0, 4, 7)]
    assert (fit.tokens, fit.old, fit.new.tolist()) == (8, 3.0, [48.0])
    assert [warning.numbers["old_ppl"] for warning in fit.warnings()] == [pytest.approx(np.exp(3 / 8))]


@pytest.mark.parametrize(("known", "warned"), [(40.0, False), (60.0, True)])
def test_what_oov_words_cost_is_no_sign_of_other_text(known, warned):
    """The sentence of 10 words, two of them OOV, and its end may cost 11 · ln 10 more than under the old LM."""
    fit = NewLmFit(["x"], [KNOWN])
    fit.add_costs([*"aaaaaaaabb"], 20.0, np.array([known + 2 * np.log(1e7)]))
    assert bool(list(fit.warnings())) is warned
    assert fit.results() == (LmFit("x", np.exp((known + 2 * np.log(1e7)) / 11), np.exp(20 / 11)),)


def test_a_perplexity_beyond_the_largest_number_is_one(tmp_path):
    fit = NewLmFit(["x"], [KNOWN])
    fit.add_costs(["a"], 1.0, np.array([1e4]))
    [warning] = fit.warnings()
    assert np.isfinite(warning.numbers["ppl"]), "JSON has no infinity"


def test_a_damaged_new_lm_has_no_perplexity():
    class Damaged:
        def costs(self, sentences):
            raise RescoreError("not a number")

    fit = NewLmFit(["x"], [KNOWN])
    fit.add_sample({"utt": ("a",)}, np.ones(1), [Damaged()])
    assert not list(fit.warnings())


def test_rounding_is_no_sign_of_another_old_lm():
    fit = OldLmFit("G.fst")
    fit.add(np.full(1000, -0.01))
    assert not list(fit.warnings())
    fit.add(np.full(1000, -0.5))
    assert [warning.numbers["negative"] for warning in fit.warnings()] == [1000]


def test_a_words_txt_of_another_graph_with_the_same_ids(both, lang, tmp_path):
    words = words_of(lang)
    swapped = dict(zip(words, [*words[500:], *words[:500]], strict=True))
    status, out = both("rescore_nbest", lang=respelled(lang, tmp_path, lambda word: swapped.get(word, word)))
    assert status == 0
    assert "first_pass_wer" in codes(out)


def test_references_in_another_case(rescore, data, tmp_path, capsys):
    known = kaldi.read_data_dir(data)
    capitals = {utt: [word.upper() for word in words] for utt, words in known.text.items()}
    kaldi.write_data_dir(tmp_path / "data", kaldi.DataDir(known.utt2spk, capitals))
    status, out = rescore("--lm-weight", 0.5, "--n", 5, data=tmp_path / "data")
    assert status == 0
    [warning] = [warning for warning in SystemReport.load(out).warnings if warning.code == "first_pass_wer"]
    assert re.search(r" %: \d+ of \d+ words of the hypotheses are in the references only in upper case; ", warning.text)
    assert warning.text.endswith("; write the references in lower case (sed 's/[[:blank:]].*/\\L&/')")
    assert warning.text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lm", "lmwt", "wip", "first", "expected"),
    [
        ((0.5,), 12, 0.5, 12, []),
        ((0.0,), 12, 0.5, 12, ["lm_weight_zero"]),
        ((1.0,), 12, 0.5, 12, ["lm_weight_one"]),
        ((0.3, 0.7), 12, 0.5, 12, ["lm_weight_one"]),
        ((0.3, 0.0), 12, 0.5, 12, ["lm_weight_zero"]),
        ((0.5,), 7, 0.5, 12, ["lmwt_edge"]),
        ((0.5,), 17, 0.5, 17, ["lmwt_edge", "first_pass_lmwt_edge"]),
        ((0.5,), 12, 0.0, 12, []),  # a natural end
        ((0.5,), 12, 1.0, 12, ["wip_edge"]),
    ],
)
def test_weights_tuned_to_the_edge_of_their_grid(lm, lmwt, wip, first, expected):
    chosen = ChosenWeights(
        Weights(lm, OperatingPoint(lmwt, wip)), OperatingPoint(first), "tuned", ("a", "b")[: len(lm)]
    )
    assert [warning.code for warning in tuning_warnings(chosen, POINTS, ["x", "y"][: len(lm)])] == expected


def test_the_warning_about_the_first_pass_can_be_understood_alone():
    chosen = ChosenWeights(Weights((0.5,), OperatingPoint(17, 0.5)), OperatingPoint(17), "tuned", ("a",))
    _, of_first_pass = tuning_warnings(chosen, POINTS, ["x"])
    expected = (
        "the first pass's LMWT 17 is the largest of its grid, 7 to 17, too; its error rate may be lower elsewhere"
    )
    assert of_first_pass.text == expected


@pytest.mark.parametrize(
    ("penalties", "tuned", "shown"),
    [
        ((-1.0, 0.0), 0.0, "0 is the largest of its grid, -1 to 0"),
        ((-1.0, 0.0), -1.0, "-1 is the smallest of its grid, -1 to 0"),
        ((0.5, 1.0), 0.5, "0.5 is the smallest of its grid, 0.5 to 1"),
        ((0.0, 1.0, 2.0), 1.0, ""),
    ],
)
def test_other_ends_of_the_penalties_are_edges(penalties, tuned, shown):
    chosen = ChosenWeights(Weights((0.5,), OperatingPoint(12, tuned)), OperatingPoint(12), "tuned", ("a",))
    points = [OperatingPoint(lmwt, wip) for wip in penalties for lmwt in (11, 12, 13)]
    assert shown in "".join(warning.text for warning in tuning_warnings(chosen, points, ["x"]))
    assert bool(shown) == bool(list(tuning_warnings(chosen, points, ["x"])))


def test_a_grid_of_one_point_has_no_edge():
    chosen = ChosenWeights(Weights((0.5,), OperatingPoint(12)), OperatingPoint(12), "tuned", ("a",))
    assert not list(tuning_warnings(chosen, [OperatingPoint(12)], ["x"]))


def test_warnings_are_in_the_report_and_in_its_views(rescore, capsys):
    """The best LMWT of these lattices is about 12."""
    status, out = rescore("--tune", "--min-lmwt", 1, "--max-lmwt", 3, "--word-ins-penalty", 0.5)
    assert status == 0
    report = SystemReport.load(out)
    [warning] = [warning for warning in report.warnings if warning.code == "lmwt_edge"]
    assert warning.text.startswith("the tuned LMWT 3 is the largest of its grid, 1 to 3")
    comparison = Comparison.of([report])
    assert f"{report.system}, {report.decoding}: {with_flags(warning.text)}" in to_text(comparison)
    assert escape(warning.text.split("`")[0]) in to_html(Experiment.of(comparison))
    tree = json.loads((out / "report.json").read_text())
    del tree["warnings"], tree["oov"], tree["fits"]  # as an earlier version wrote it
    (out / "report.json").write_text(json.dumps(tree))
    assert SystemReport.load(out).warnings == ()


@pytest.mark.slow
def test_given_weights_are_not_said_to_be_on_an_edge(rescore):
    _, out = rescore("--lm-weight", 0)
    assert not [code for code in codes(out) if code.startswith(("lm", "wip"))]
