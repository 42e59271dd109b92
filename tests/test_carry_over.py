"""History from utterance to utterance: which chains there are, and that costs are those of one running text."""

import contextlib
import gzip
import shutil
import weakref

import numpy as np
import pytest
import torch

from asr_rescore import kaldi
from asr_rescore.checkpoint import load_model
from asr_rescore.errors import UsageError
from asr_rescore.kaldi import DataDir, Place
from asr_rescore.nbest import NBest
from asr_rescore.rescoring.carry_over import CarryOver, chains_of
from asr_rescore.vocab import SENTENCE_END
from lattices import lattice_of
from rescoring_runs import hypotheses

pytestmark = pytest.mark.slow  # each runs a whole command

SPEAKERS = DataDir({"b-2": "bo", "a-1": "al", "b-1": "bo", "b-3": "bo"})
PLACES = {"b-1": Place("r", "1", 9.5), "b-2": Place("r", "1", 0.5), "a-1": Place("r", "1", 4.0), "b-3": Place("q")}


@pytest.mark.parametrize(
    ("places", "way", "expected"),
    [
        (None, "speaker", [["a-1"], ["b-1", "b-2", "b-3"]]),
        (PLACES, "speaker", [["a-1"], ["b-3", "b-2", "b-1"]]),
        (PLACES, "recording", [["b-2", "a-1", "b-1"], ["b-3"]]),
    ],
)
def test_chains(places, way, expected):
    assert sorted(chains_of(SPEAKERS, places, way)) == sorted(expected)


def test_without_segments_there_are_no_recordings():
    with pytest.raises(UsageError, match="no segments"):
        chains_of(SPEAKERS, None, "recording")


def test_rounds_take_one_of_each_chain(tmp_path):
    carry_over = CarryOver([["a", "b", "c"], ["d"], ["e", "f"]], [], weights=None, directory=tmp_path)
    rounds = carry_over.rounds((utt, utt.upper()) for utt in "fedca")
    assert [list(abreast) for abreast in rounds] == [["A", "D", "E"], ["C", "F"]]


def test_entries_wait_on_disk_and_leave_nothing_there(tmp_path):
    carry_over = CarryOver([["a", "b"], ["c", "d"]], [], weights=None, directory=tmp_path)
    alive = weakref.WeakSet()

    def entries():
        for utt in "abcd":
            nbest = NBest(utt, ((),), {})
            alive.add(nbest)
            yield utt, nbest
            del nbest
            assert len(alive) <= 1  # the one that rounds() has just read

    found = []
    for abreast in carry_over.rounds(entries()):
        for nbest in abreast:
            alive.add(nbest)
            assert len(alive) == 1
            found.append(nbest.utt)
            assert not list(tmp_path.iterdir()), "it would be left there by a run that is killed"
            del nbest
    assert found == ["a", "c", "b", "d"]


def test_results_are_those_of_lists_held_in_memory(rescore, monkeypatch):
    _, spooled = rescore("--lm-weight", 0.5, "--carry-over", "speaker", out="spooled")

    class Held(dict):
        """A spool in memory."""

        fill = dict.update

        def __class_getitem__(cls, _):
            return lambda directory: contextlib.nullcontext(cls())

    for place in ("carry_over", "list_engine"):
        monkeypatch.setattr(f"asr_rescore.rescoring.{place}.Spool", Held)
    _, held = rescore("--lm-weight", 0.5, "--carry-over", "speaker", out="held")
    files = [file.relative_to(held) for file in sorted((held / "archives.1").iterdir())]
    assert len(files) == 6
    for file in files:
        assert (spooled / file).read_bytes() == (held / file).read_bytes()
    lattices = [gzip.decompress((out / "lat.1.gz").read_bytes()) for out in (spooled, held)]
    assert lattices[0] == lattices[1]


def lists_of(out) -> dict[str, kaldi.NBestWriter]:
    return {nbest.utt: nbest for nbest in kaldi.read_nbest_dir(out, 1)}


def running_cost(loaded, texts) -> float:
    """The last of some sentences, all read as one text, in float64."""
    end, vocabulary = loaded.vocabulary.ids[SENTENCE_END], loaded.vocabulary
    ids = [label for words in texts for label in (end, *vocabulary.encode(words))] + [end]
    network = loaded.model.double()
    with torch.inference_mode():
        log_probs = network(torch.tensor(ids[:-1]).unsqueeze(1), network.initial_state(1)).log_probs[:, 0]
    own = range(len(ids) - 2 - len(texts[-1]), len(ids) - 1)
    return -sum(float(log_probs[t, ids[t + 1]]) for t in own) + sum(map(vocabulary.class_cost, texts[-1]))


def test_each_list_stands_behind_the_best_of_the_one_before(rescore, data, lm):
    status, out = rescore("--lm-weight", 0.5, "--carry-over", "speaker")
    assert status == 0
    lists, best, loaded = lists_of(out), hypotheses(out, 12, 0.0), load_model(lm)
    by_speaker = kaldi.read_data_dir(data).spk2utt
    assert max(map(len, by_speaker.values())) > 2
    for utts in by_speaker.values():
        before = []
        for utt in sorted(utts):
            words, costs = lists[utt].words, lists[utt].costs["lmwt.rnn"]
            for place in {0, len(words) // 2, len(words) - 1}:
                assert costs[place] == pytest.approx(running_cost(loaded, [*before, words[place]]), abs=1e-4)
            before.append(best[utt])
    _, alone = rescore("--lm-weight", 0.5, out="alone")
    assert any(
        not np.allclose(lists[utt].costs["lmwt.rnn"], it.costs["lmwt.rnn"]) for utt, it in lists_of(alone).items()
    )


def test_whoever_speaks_once_has_no_history(rescore, data, tmp_path):
    known = kaldi.read_data_dir(data)
    kaldi.write_data_dir(tmp_path / "dev", DataDir({utt: utt for utt in known.utterances}, known.text))
    _, carried = rescore("--lm-weight", 0.5, "--carry-over", "speaker", data=tmp_path / "dev", out="carried")
    _, alone = rescore("--lm-weight", 0.5, data=tmp_path / "dev", out="alone")
    expected = lists_of(alone)
    for utt, nbest in lists_of(carried).items():
        np.testing.assert_allclose(nbest.costs["lmwt.rnn"], expected[utt].costs["lmwt.rnn"], atol=1e-4)


def test_what_fails_is_passed_over(rescore, decode, data, lang, tmp_path):
    odd = kaldi.read_words(lang / "words.txt").id("!SIL")  # in words.txt, not in G.fst
    known, broken = kaldi.read_data_dir(data), tmp_path / "broken"
    speaker, (first, *_) = next((speaker, utts) for speaker, utts in known.spk2utt.items() if len(utts) > 1)
    shutil.copytree(decode, broken)
    lattice = lattice_of([(0, 1, odd, 1.0, 2.0)], {1: (0.0, 0.0)}, 2)
    odd_utt = f"{first}-odd"  # after the first of the speaker's
    kaldi.write_lattices(broken / "lat.2.gz", [*kaldi.read_lattices(decode / "lat.2.gz"), (odd_utt, lattice)])
    text = {**known.text, odd_utt: ["the"]}
    kaldi.write_data_dir(tmp_path / "dev", DataDir({**known.utt2spk, odd_utt: speaker}, text))
    options = ("--lm-weight", 0.5, "--carry-over", "speaker")
    status, out = rescore(*options, decode=broken, data=tmp_path / "dev")
    _, sound = rescore(*options, out="sound")
    assert status == 1
    assert (out / "failed.txt").read_text().startswith(f"{odd_utt}\tfirst pass kept")
    found = lists_of(out)
    for utt, nbest in lists_of(sound).items():
        np.testing.assert_allclose(nbest.costs["lmwt.rnn"], found[utt].costs["lmwt.rnn"], atol=1e-4)


def test_weight_zero_is_the_first_pass(rescore):
    _, carried = rescore("--lm-weight", 0, "--carry-over", "speaker", out="carried")
    _, alone = rescore("--lm-weight", 0, out="alone")
    assert hypotheses(carried, 12, 0.5) == hypotheses(alone, 12, 0.5)


def test_other_weights_are_costed_anew(rescore):
    stamps = set()
    for weight in (0.5, 0.5, 0.25):
        _, out = rescore("--lm-weight", weight, "--carry-over", "speaker")
        stamps.add((out / "job.1.json").stat().st_mtime_ns)
    assert len(stamps) == 2


def test_other_speakers_are_costed_anew(rescore, data, tmp_path):
    known, options = kaldi.read_data_dir(data), ("--lm-weight", 0.5, "--carry-over", "speaker")
    rescore(*options)
    kaldi.write_data_dir(tmp_path / "dev", DataDir({utt: utt for utt in known.utterances}, known.text))
    _, corrected = rescore(*options, data=tmp_path / "dev")
    _, new = rescore(*options, data=tmp_path / "dev", out="new")
    expected = lists_of(new)
    for utt, nbest in lists_of(corrected).items():
        np.testing.assert_array_equal(nbest.costs["lmwt.rnn"], expected[utt].costs["lmwt.rnn"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tune", "--carry-over", "speaker"), "give --weights or --lm-weight"),
        (("--lm-weight", 0.5, "--carry-over", "speaker", "--score-cache", "cache"), "leave out --score-cache"),
        (("--lm-weight", 0.5, "--normaliser", "int8", "--score-cache", "cache"), "leave out --score-cache"),
        (("--lm-weight", 0.5, "--carry-over", "recording"), "no segments"),
        (("--lm-weight", 0.5, "--carry-over", "speaker", "--nj", 3), "3 jobs would have to share 2 lat.JOB.gz"),
    ],
)
def test_what_cannot_be(rescore, options, message, capsys):
    assert rescore(*options)[0] == 2
    assert message in capsys.readouterr().err
