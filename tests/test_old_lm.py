"""Old LMs of all kinds: which file is taken, which are refused, and rescorings with and without them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.checkpoint import load_model
from asr_rescore.cli.main import main
from asr_rescore.errors import InputError, UsageError
from asr_rescore.kaldi import SymbolTable
from asr_rescore.lattice import n_best
from asr_rescore.lm import sentence_scorer
from asr_rescore.ngram import WordFst
from asr_rescore.report import SystemReport
from asr_rescore.rescoring.run import Rescoring
from ngram_files import IDS, arpa, const_arpa, random_model, write_words

NAMES = {"arpa": "lm.arpa", "carpa": "lm.carpa"}


@pytest.fixture
def files(lang, tmp_path) -> Path:
    """A 3-gram model of some words of the embedded corpus, as an ARPA file and as a G.carpa."""
    ids = dict(kaldi.read_words(lang / "words.txt").ids)
    model = random_model(3, 5, ("the", "of", "a", "to", "in", "said", "<UNK>"))
    (tmp_path / "lm.arpa").write_text(arpa(model))
    (tmp_path / "lm.carpa").write_bytes(const_arpa(model, ids, ids["<UNK>"]))
    return tmp_path


@pytest.fixture
def run(lang, lm, data, decode, tmp_path):
    """Run a rescoring command into ``tmp_path``/out; returns its exit status and the out-dir."""

    def run(command, *options, out="out", weight=0.4):
        arguments = [
            command,
            "--device",
            "cpu",
            "--lm-weight",
            weight,
            *options,
            lang,
            lm,
            data,
            decode,
            tmp_path / out,
        ]
        return main([str(argument) for argument in arguments]), tmp_path / out

    return run


def columns(out):
    lists = [nbest for job in (1,) for nbest in kaldi.read_nbest_dir(out, job)]
    return lists, {name: np.concatenate([nbest.costs[name] for nbest in lists]) for name in lists[0].costs}


@pytest.mark.slow
def test_the_arpa_file_of_the_grammar_gives_the_same_costs(run, mini):
    status, out = run("rescore_nbest", "--n", 50)
    assert status == 0
    expected = columns(out)[1]
    status, out = run("rescore_nbest", "--n", 50, "--old-lm", mini / "3gram.arpa.gz", out="arpa")
    assert status == 0
    for name, column in columns(out)[1].items():
        np.testing.assert_allclose(column, expected[name], atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arpa", "carpa", "none"])
def test_lists_and_lattices_agree(run, files, lang, kind):
    """Sentences of rescored lattices have the graph costs that follow from the lists' columns."""
    old_lm = ("--no-old-lm",) if kind == "none" else ("--old-lm", files / NAMES[kind])
    status, listed = run("rescore_nbest", *old_lm, "--n", 300, out="lists")
    assert status == 0
    status, out = run("rescore_lattice", *old_lm, "--order", 0, "--beam", 30, out="lattices")
    assert status == 0
    words = kaldi.read_words(lang / "words.txt")
    lattices = dict(kaldi.read_lattices(out))
    lists, cost = columns(listed)
    if kind == "none":
        assert not cost["lmwt.nolm"].any()
        np.testing.assert_array_equal(cost["lmwt.lmonly"], cost["lmwt.withlm"])
    else:
        scorer = kaldi.read_old_lm(files / NAMES[kind], words)
        ids = [words.to_ids(sentence) for nbest in lists for sentence in nbest.words]
        np.testing.assert_array_equal(cost["lmwt.lmonly"], scorer.costs(ids))
    compared = 0
    for nbest in lists:
        graph = nbest.costs["lmwt.withlm"] + 0.4 * (nbest.costs["lmwt.rnn"] - nbest.costs["lmwt.lmonly"])
        expected = dict(zip(nbest.words, graph, strict=True))
        for path in n_best(lattices[nbest.utt], 20, 1 / 12):
            sentence = tuple(words.to_words(path.words))
            if sentence in expected:
                assert path.graph == pytest.approx(expected[sentence], abs=2e-3)  # costs in the file are float32
                compared += 1
    assert compared > 50


@pytest.mark.slow
def test_with_all_the_weight_and_no_old_lm_nothing_is_left_of_the_graph_costs(run, lang, lm):
    status, out = run("rescore_lattice", "--no-old-lm", "--order", 0, weight=1)
    assert status == 0
    words = kaldi.read_words(lang / "words.txt")
    scorer = sentence_scorer(load_model(lm))
    for _, lattice in kaldi.read_lattices(out):
        [path] = n_best(lattice, 1, 1 / 12)
        assert path.graph == pytest.approx(scorer.costs([words.to_words(path.words)])[0], abs=2e-3)


@pytest.mark.slow
def test_weights_say_whether_the_old_lm_was_known(run, lang, lm, data, decode, tmp_path, capsys):
    status, out = run("rescore_nbest", "--no-old-lm", "--n", 20)
    assert status == 0
    report = SystemReport.load(out)
    assert report.search == "N 20, no old LM"
    assert "no_old_lm: true" in (out / "weights.yaml").read_text()
    rest = ["--device", "cpu", "--weights", out, lang, lm, data, decode, tmp_path / "again"]
    assert main([*map(str, ["rescore_nbest", "--no-old-lm", "--n", 20, *rest])]) == 0
    assert SystemReport.load(tmp_path / "again").rescored == report.rescored
    capsys.readouterr()
    assert main([*map(str, ["rescore_lattice", *rest])]) == 1
    error = capsys.readouterr().err
    assert "found weights of a rescoring with --no-old-lm, expected those of one without it" in error
    assert error.count("\n") == 1
    (out / "weights.yaml").write_text((out / "weights.yaml").read_text().replace("no_old_lm: true\n", ""))
    assert main([*map(str, ["rescore_lattice", "--no-old-lm", *rest])]) == 1  # as those of earlier versions
    assert "found weights of a rescoring without --no-old-lm" in capsys.readouterr().err


def test_lang_and_lm_directories_in_the_wrong_order(lang, lm, data, decode, tmp_path, capsys):
    places = [lm, lang, data, decode, tmp_path / "out"]
    assert main(["rescore_nbest", "--lm-weight", "0.5", *map(str, places)]) == 1
    assert capsys.readouterr().err == (
        f"asr-rescore rescore_nbest: error: {lm}: found the directory of a new language model (model.safetensors is in "
        "it), expected the lang directory of the first pass; give the directories in this order: lang, language "
        "models, data, decode, output\n"
    )


def test_which_file_a_lang_directory_means(tmp_path):
    with pytest.raises(InputError, match="no G.fst, expected G.fst, G.fst.gz or G.carpa; .*`old_lm`.*`no_old_lm`"):
        kaldi.old_lm_file(tmp_path)
    (tmp_path / "G.carpa").touch()
    assert kaldi.old_lm_file(tmp_path) == tmp_path / "G.carpa"
    (tmp_path / "G.fst.gz").symlink_to("nowhere")
    with pytest.raises(InputError, match="found both G.fst.gz and G.carpa.*name it by `old_lm`"):
        kaldi.old_lm_file(tmp_path)
    assert kaldi.old_lm_file(tmp_path / "G.carpa") == tmp_path / "G.carpa"


def test_two_old_lms_are_refused_before_anything_is_read(lang, lm, data, decode, tmp_path, capsys):
    (tmp_path / "lang").mkdir()
    for name in ("words.txt", "G.fst.gz"):
        (tmp_path / "lang" / name).symlink_to(lang / name)
    (tmp_path / "lang" / "G.carpa").touch()
    rest = map(str, ["--device", "cpu", "--lm-weight", 0.5, tmp_path / "lang", lm, data, decode, tmp_path / "out"])
    assert main(["rescore_nbest", *rest]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "name it by --old-lm: G.carpa if the lattices were rescored with it" in error
    with pytest.raises(UsageError, match="`old_lm` and `no_old_lm` are both given"):
        Rescoring.open(lang, lm, data, decode, tmp_path / "out", lm_weight=1, old_lm=lang, no_old_lm=True)


def test_the_old_lm_is_never_overwritten(lang, lm, data, decode, tmp_path):
    own = tmp_path / "out" / "weights.yaml"
    with pytest.raises(UsageError, match="weights.yaml"):
        Rescoring.open(lang, lm, data, decode, tmp_path / "out", lm_weight=1, old_lm=own)


def calling(kind: str, folder: Path, ids: dict[str, int]) -> Path:
    """An old LM of a kind in which a word stands for the words of another grammar."""
    place = folder / kind
    if kind == "G.fst":
        integers = [np.array([value], np.int32) for value in (0, 0, ids["#nonterm:name"], 0)]
        kaldi.write_grammar(place, WordFst(0, *integers, cost=np.zeros(1), final=np.zeros(1)))
    else:
        model = random_model(2, 1, ("a", "#nonterm:name"))
        place.write_bytes(arpa(model).encode() if kind == "lm.arpa" else const_arpa(model, ids, -1))
    return place


@pytest.mark.parametrize("kind", ["G.fst", "lm.arpa", "G.carpa"])
def test_grammars_that_call_others_are_refused(tmp_path, kind):
    """A call costs nothing in G.fst, and its words cost nothing there: the old LM would be taken out in part."""
    ids = {**IDS, "#nonterm_bos": 10, "#nonterm:name": 11}
    file = calling(kind, tmp_path, ids)
    with pytest.raises(InputError, match="found #nonterm:name, a call of another grammar.*`no_old_lm`"):
        kaldi.read_old_lm(file, SymbolTable(ids))
    without = {word: index for word, index in ids.items() if word != "#nonterm:name"}
    kaldi.read_old_lm(file, SymbolTable(without))


def test_the_content_decides_what_a_file_is(tmp_path):
    model = random_model(3, 2)
    write_words(tmp_path / "words.txt")
    symbols = kaldi.read_words(tmp_path / "words.txt")
    (tmp_path / "a").write_text(arpa(model))
    (tmp_path / "b").write_bytes(const_arpa(model))
    exact = kaldi.read_old_lm(tmp_path / "a", symbols, use_phi=True)
    assert kaldi.read_old_lm(tmp_path / "b", symbols).cost([4, 5]) == pytest.approx(exact.cost([4, 5]), abs=1e-5)
    (tmp_path / "c").write_bytes(struct.pack("<i", 2125659606) + b"\0" * 20)
    with pytest.raises(InputError, match="vector"):
        kaldi.read_old_lm(tmp_path / "c", symbols)
