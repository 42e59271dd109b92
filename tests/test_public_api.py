"""The names that ``asr_rescore`` exports, and ``rescore`` as a function that returns its result."""

from __future__ import annotations

import ast
import importlib
import inspect

import numpy as np
import pytest

import asr_rescore
from asr_rescore import kaldi
from asr_rescore.errors import InputError, UsageError
from asr_rescore.lattice import posteriors
from asr_rescore.ngram import Grammar
from asr_rescore.programs.lattice_to_ctm import CtmConfig
from asr_rescore.programs.lattice_to_nbest import NBestConfig
from conftest import ROOT


def test_every_name_is_there_and_nothing_else():
    assert sorted(asr_rescore._MODULE_OF) == asr_rescore.__all__ == sorted(asr_rescore.__all__)
    for name, module in asr_rescore._MODULE_OF.items():
        assert getattr(asr_rescore, name) is getattr(importlib.import_module(module), name)
        assert getattr(asr_rescore, name).__doc__
    assert set(asr_rescore.__all__) <= set(dir(asr_rescore))
    with pytest.raises(AttributeError, match="has no attribute 'perplexity'"):
        _ = asr_rescore.perplexity


def test_a_type_checker_sees_the_same_names():
    tree = ast.parse((ROOT / "asr_rescore/__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert {name: seen.get(name) for name in asr_rescore.__all__} == asr_rescore._MODULE_OF


def test_searches_of_a_lattice_have_no_acoustic_scale_of_their_own():
    for search in (asr_rescore.best_path, asr_rescore.n_best, asr_rescore.mbr_decode, posteriors):
        assert inspect.signature(search).parameters["acoustic_scale"].default is inspect.Parameter.empty


def test_all_commands_search_at_the_same_scale():
    configs = (asr_rescore.ListConfig(), asr_rescore.LatticeConfig(), NBestConfig(), CtmConfig())
    assert [config.inv_acwt for config in configs] == [12.0] * 4


def test_rescore_returns_its_report_and_prints_nothing(lang, lm, data, decode, tmp_path, capfd):
    report = asr_rescore.rescore(lang, [lm], data, decode, tmp_path / "out", lm_weight=[0.5], device="cpu")
    assert capfd.readouterr() == ("", "")
    assert report == asr_rescore.SystemReport.load(tmp_path / "out")
    assert [report.data_dir, *(facts.directory for facts in report.lms)] == [str(data.resolve()), str(lm.resolve())]
    assert report.total.reference_words == sum(map(len, kaldi.read_table(data / "text").values()))
    lattices = asr_rescore.rescore(
        str(lang),
        [str(lm)],
        str(data),
        str(decode),
        str(tmp_path / "lattices"),
        weights=str(tmp_path / "out"),
        config=asr_rescore.LatticeConfig(order=2),
        jobs=2,
        lattice_oracle=False,
        device="cpu",
    )
    assert (lattices.system, lattices.lattice_oracle) == ("random, lattices", None)
    assert lattices.lm_weights == report.lm_weights
    assert (tmp_path / "lattices" / "num_jobs").read_text() == "2\n"


def test_one_language_model_needs_no_list(lang, lm, data, decode, tmp_path):
    listed = asr_rescore.rescore(lang, [lm], data, decode, tmp_path / "listed", lm_weight=[0.5], device="cpu")
    alone = asr_rescore.rescore(lang, str(lm), data, decode, tmp_path / "alone", lm_weight=0.5, device="cpu")
    assert alone == listed
    assert asr_rescore.SystemReport.load(str(tmp_path / "alone")) == alone
    assert str(alone) == alone.summary()


def test_a_grammar_scorer_gives_the_old_lms_costs(lang):
    words = kaldi.read_words(lang / "words.txt")
    for use_phi in (False, True):
        grammar = Grammar(kaldi.read_grammar(lang), backoff_label=words.ids["#0"], failure=use_phi)
        expected = [grammar.cost(words.to_ids(sentence)) for sentence in (["mister", "smith"], [])]
        scorer = asr_rescore.grammar_scorer(str(lang), use_phi=use_phi)
        np.testing.assert_array_equal(scorer.costs([["mister", "smith"], []]), expected)


def test_words_and_ids(lang):
    words = asr_rescore.read_words(lang / "words.txt")
    assert words.to_words(words.to_ids(["mister", "smith"])) == ["mister", "smith"]
    assert words.to_ids(["mister", "qwertz"]) == [words.ids["mister"], -1]
    assert words.to_ids(["qwertz"], 7) == [7]
    with pytest.raises(InputError, match="no word for id -1"):
        words.to_words([-1])


@pytest.mark.parametrize("texts", [("a b", ["a", "b"]), (["a", "b"], "a b"), ("a b", "a b")])
def test_a_string_is_no_sequence_of_words(texts):
    reference, hypothesis = texts
    with pytest.raises(UsageError, match="a transcript is the string 'a b', expected a sequence of words"):
        asr_rescore.wer({"u": reference}, {"u": hypothesis})


def test_a_sentence_to_cost_is_no_string(lm):
    scorer = asr_rescore.sentence_scorer(asr_rescore.load_model(lm))
    with pytest.raises(UsageError, match="a sentence is the string 'mister smith', expected a sequence of words"):
        scorer.costs([["mister", "smith"], "mister smith"])


def test_references_to_tune_on_are_no_strings(decode, lang):
    words = asr_rescore.read_words(lang / "words.txt")
    utt, lattice = next(asr_rescore.read_lattices(decode))
    nbest = asr_rescore.NBest.of_paths(utt, asr_rescore.n_best(lattice, 2, 1 / 12), words.word)
    with pytest.raises(UsageError, match="a transcript is the string"):
        asr_rescore.tune([nbest], {utt: "mister smith"}, 0, [asr_rescore.OperatingPoint(12)])


def test_values_are_shown_in_one_short_line(decode, lang):
    words = asr_rescore.read_words(lang / "words.txt")
    utt, lattice = next(asr_rescore.read_lattices(decode))
    nbest = asr_rescore.NBest.of_paths(utt, asr_rescore.n_best(lattice, 2, 1 / 12), words.word)
    assert repr(lattice) == f"Lattice({lattice.num_states} states, {lattice.num_arcs} arcs)"
    assert repr(nbest) == f"NBest({utt}: 2 hypotheses, costs lmwt.withlm, acwt)"
    assert str(asr_rescore.wer({"u": ["a", "b"]}, {"u": ["a"]})) == "%WER 50.00 [ 1 / 2, 0 ins, 1 del, 0 sub ]"


def test_without_references_the_report_has_no_errors(lang, lm, data, decode, tmp_path):
    (tmp_path / "silent").mkdir()
    (tmp_path / "silent" / "utt2spk").write_text((data / "utt2spk").read_text())
    report = asr_rescore.rescore(lang, [lm], tmp_path / "silent", decode, tmp_path / "out", lm_weight=[0.5])
    assert (report.rescored, report.nbest_oracle, report.lattice_oracle) == ({}, None, None)
    assert np.isnan(report.total.wer)
    with pytest.raises(InputError, match="expected references to tune on"):
        asr_rescore.rescore(lang, [lm], tmp_path / "silent", decode, tmp_path / "tuned", tune=True)
    assert not (tmp_path / "tuned").exists(), "refused before any work"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing says how to weigh the language models: give `weights` of a dev set, or `lm_weight`, or `tune`"),
        ({"lm_weight": [0.5], "weights": "x"}, "`lm_weight` and `weights` are given, expected one of them"),
        ({"weights": "x", "tune": True}, "`weights` and `tune` are given, expected one of them"),
        ({"tune": True, "config": asr_rescore.LatticeConfig()}, "lattices need known weights"),
        ({"lm_weight": [0.5, 0.1]}, "2 `lm_weight` for 1 language models"),
        ({"config": asr_rescore.LatticeConfig()}, "lattices need known weights: give `weights` or `lm_weight`"),
        ({"lm_weight": [0.5], "jobs": 0}, "`jobs` is 0, expected 1 or more"),
        ({"lm_weight": [0.5], "device": "tpu"}, "`device` is tpu, expected auto, cpu or cuda"),
    ],
)
def test_the_library_names_fields(lang, lm, data, decode, tmp_path, arguments, message):
    with pytest.raises(UsageError) as caught:
        asr_rescore.rescore(lang, [lm], data, decode, tmp_path / "out", **arguments)
    assert message in str(caught.value)
