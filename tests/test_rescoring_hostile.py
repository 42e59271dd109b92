"""Input that is broken: each fault is named once, and everything else is done."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_rescore import kaldi
from asr_rescore.checkpoint import load_model
from asr_rescore.failures import Failures
from asr_rescore.kaldi import SymbolTable
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.ranking import graph_costs
from asr_rescore.report import SystemReport
from lattices import lattice_of
from rescoring_runs import full_disk, hypotheses, save_random_lm

pytestmark = pytest.mark.slow  # each runs a whole command


@pytest.fixture
def broken(decode, tmp_path):
    """A copy of the decode directory to be broken."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in decode.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def failures_of(out: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in (out / "failed.txt").read_text().splitlines())


def add_lattice(folder: Path, utt: str, lattice) -> None:
    entries = [*kaldi.read_lattices(folder / "lat.2.gz"), (utt, lattice)]
    kaldi.write_lattices(folder / "lat.2.gz", entries)


def wanting(data_dir: Path, place: Path, utt: str, words: str = "the firm") -> Path:
    """A data directory with one utterance more."""
    known = kaldi.read_data_dir(data_dir)
    text = {**known.text, utt: words.split()}
    kaldi.write_data_dir(place / "dev", kaldi.DataDir({**known.utt2spk, utt: utt}, text))
    return place / "dev"


def test_a_truncated_archive(rescore, broken, capsys):
    whole = (broken / "lat.1.gz").read_bytes()
    (broken / "lat.1.gz").write_bytes(whole[: len(whole) * 2 // 3])
    status, out = rescore("--lm-weight", 0.5, decode=broken)
    assert status == 1
    failed = failures_of(out)
    assert any("lat.1.gz" in reason and "byte" in reason for reason in failed.values())
    done = set(dict(kaldi.read_lattices(out)))
    assert {
        utt for utt, _ in kaldi.read_lattices(broken / "lat.2.gz")
    } < done  # all of the sound file, some of the other
    assert len(done | {utt for utt in failed if utt in SystemReport.load(out).rescored}) == 12
    assert SystemReport.load(out).total.missing == 12 - len(done)
    assert "failed" in capsys.readouterr().err


def test_a_words_txt_that_does_not_fit(rescore, lang, tmp_path):
    short = tmp_path / "lang"
    short.mkdir()
    words = kaldi.read_words(lang / "words.txt")
    kaldi.write_words(short / "words.txt", SymbolTable({word: i for word, i in words.ids.items() if i < 1350}))
    (short / "G.fst.gz").symlink_to(lang / "G.fst.gz")
    status, out = rescore("--lm-weight", 0.5, lang=short)
    assert status == 1
    failed = failures_of(out)
    assert failed
    assert all("words.txt" in reason and "no word for id" in reason for reason in failed.values())
    assert set(dict(kaldi.read_lattices(out))) == set(SystemReport.load(out).rescored) - failed.keys()


def test_a_missing_reference(rescore, data, tmp_path):
    known = kaldi.read_data_dir(data)
    gone, *rest = known.text
    kaldi.write_data_dir(tmp_path / "dev", kaldi.DataDir(known.utt2spk, {utt: known.text[utt] for utt in rest}))
    status, out = rescore("--lm-weight", 0.5, data=tmp_path / "dev")
    assert status == 1
    assert list(failures_of(out)) == [gone]
    assert "no reference" in failures_of(out)[gone]
    assert gone in dict(kaldi.read_lattices(out))
    assert SystemReport.load(out).total.sentences == 11


def test_an_empty_lattice(rescore, broken, data, tmp_path):
    add_lattice(broken, "empty-1", lattice_of([], {}, 0, start=-1))
    status, out = rescore("--lm-weight", 0.5, decode=broken, data=wanting(data, tmp_path, "empty-1"))
    assert status == 1
    assert "no path from start to end" in failures_of(out)["empty-1"]
    report = SystemReport.load(out)
    assert (report.total.missing, report.rescored["empty-1"].deletions) == (1, 2)
    assert len(dict(kaldi.read_lattices(out))) == 12


def test_an_utterance_without_lattice(rescore, data, tmp_path):
    status, out = rescore("--lm-weight", 0.5, data=wanting(data, tmp_path, "lost-1"))
    assert status == 1
    assert "no lattice" in failures_of(out)["lost-1"]
    assert SystemReport.load(out).rescored["lost-1"].missing == 1


def test_a_cost_that_is_no_number(rescore, broken, data, tmp_path):
    (utt, lattice), *rest = kaldi.read_lattices(broken / "lat.2.gz")
    raw = gzip.decompress((broken / "lat.2.gz").read_bytes())
    cost = np.float32(lattice.acoustic[2]).tobytes()
    assert raw.count(cost) >= 1
    poisoned = raw.replace(cost, np.float32(math.nan).tobytes(), 1)
    (broken / "lat.2.gz").write_bytes(gzip.compress(poisoned))
    status, out = rescore("--lm-weight", 0.5, decode=broken)
    assert status == 1
    assert "nan" in failures_of(out)[utt].lower()
    assert list(failures_of(out)) == [utt]
    assert {key for key, _ in rest} <= set(dict(kaldi.read_lattices(out)))


def test_an_old_lm_that_does_not_know_a_word_leaves_the_first_pass(rescore, broken, data, lang, tmp_path):
    unk = kaldi.read_words(lang / "words.txt").id("!SIL")  # in words.txt, not in G.fst
    add_lattice(broken, "odd-1", lattice_of([(0, 1, unk, 1.0, 2.0), (0, 1, 3, 9.0, 9.0)], {1: (0.0, 0.0)}, 2))
    status, out = rescore("--lm-weight", 0.5, decode=broken, data=wanting(data, tmp_path, "odd-1"))
    assert status == 1
    assert "rescored in part, 1 of 2 hypotheses keep" in failures_of(out)["odd-1"]
    assert hypotheses(out, 12, 0.0)["odd-1"] == ["!SIL"]
    assert len(dict(kaldi.read_lattices(out))) == 13


def test_hypotheses_the_old_lm_does_not_know_keep_their_cost_and_the_others_are_rescored(
    rescore, broken, data, lang, lm, tmp_path
):
    words = kaldi.read_words(lang / "words.txt")
    silence = words.id("!SIL")  # in words.txt, not in G.fst
    arcs = [(0, 1, words.id("the"), 1.0, 2.0), (0, 1, silence, 3.0, 2.0), (0, 1, words.id("firm"), 2.0, 2.0)]
    add_lattice(broken, "odd-1", lattice_of(arcs, {1: (0.0, 0.0)}, 2))
    status, out = rescore("--lm-weight", 0.5, decode=broken, data=wanting(data, tmp_path, "odd-1"))
    assert status == 1
    assert failures_of(out)["odd-1"].startswith(
        "rescored in part, 1 of 3 hypotheses keep their first-pass cost: odd-1-3: the old LM has no path for '!SIL'"
    )
    [nbest] = [nbest for nbest in kaldi.read_nbest_dir(out, 1) if nbest.utt == "odd-1"]
    assert nbest.words == (("the",), ("firm",), ("!SIL",))
    loaded = load_model(lm)
    costs = NeuralScorer(loaded.model, loaded.vocabulary, "cpu").costs(nbest.words)
    np.testing.assert_allclose(nbest.costs["lmwt.rnn"][:2], costs[:2])
    for weights in ((0.0,), (0.5,), (1.0,)):
        assert graph_costs(nbest, weights)[2] == 3.0


def test_a_word_the_old_lm_does_not_know_everywhere_leaves_the_first_pass(rescore, broken, data, lang, tmp_path):
    silence = kaldi.read_words(lang / "words.txt").id("!SIL")
    add_lattice(broken, "odd-1", lattice_of([(0, 1, silence, 1.0, 2.0)], {1: (0.0, 0.0)}, 2))
    status, out = rescore("--lm-weight", 0.5, decode=broken, data=wanting(data, tmp_path, "odd-1"))
    assert status == 1
    assert failures_of(out)["odd-1"].startswith("first pass kept: odd-1-1: the old LM has no path for '!SIL'")


def test_failures_of_one_kind_are_one_line_of_the_summary(tmp_path, caplog):
    failures = Failures()
    for number in range(100):
        failures.add(f"utt{number:02}", f"words.txt: found no word for id {1300 + number}, expected 'w{number}'")
    failures.add("odd\x1b[2J", "line 1\nline 2")
    failures.write(tmp_path)
    written = (tmp_path / "failed.txt").read_text().splitlines()
    assert len(written) == 101
    assert written[0] == "odd\\x1b[2J\tline 1 line 2"
    [message] = caplog.messages
    assert message.splitlines()[1:] == [
        written[0],
        "utt00 and 99 more\twords.txt: found no word for id 1300, expected 'w0'",
    ]


def test_words_no_model_knows_are_neither_dropped_nor_free(rescore, lang, tmp_path):
    tiny = save_random_lm(tmp_path / "tiny", ["the"], 5)  # every other word is out of its vocabulary
    status, out = rescore("--lm-weight", 1.0, "--allow-oov", lms=(tiny,))
    assert status == 0
    for nbest in kaldi.read_nbest_dir(out, 1):
        unknown = np.array([sum(word not in ("the", "yesterday") for word in words) for words in nbest.words])
        assert np.all(nbest.costs["lmwt.rnn"] > 16.1 * unknown)  # −ln 1e-7 each, beyond the class


def test_a_model_without_finite_costs_leaves_the_first_pass(rescore, lm, decode, tmp_path):
    from asr_rescore.checkpoint import load_model, save_model

    loaded = load_model(lm)
    with torch.no_grad():
        loaded.model.embedding.fill_(3e38)  # finite, but the products are not
    save_model(tmp_path / "nan", loaded.model, loaded.vocabulary, {})
    status, out = rescore("--lm-weight", 0.5, lms=(tmp_path / "nan",))
    _, first = rescore("--lm-weight", 0, out="first")
    assert status == 1
    assert len(failures_of(out)) == 12
    assert all("first pass kept" in reason for reason in failures_of(out).values())
    assert hypotheses(out, 12, 0.0) == hypotheses(first, 12, 0.0)


def test_a_full_disk_keeps_what_was_there(rescore, capsys):
    status, out = rescore("--lm-weight", 0.5)
    before = {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}
    with full_disk():
        assert rescore("--lm-weight", 0.25)[0] == 1
    assert "No space left" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()} == before
