"""One utterance with something wrong does not end a run: it is noted, and all others are done."""

import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.report import SystemReport
from lattices import lattice_of
from rescoring_runs import hypotheses

pytestmark = pytest.mark.slow  # each runs whole commands
COMMANDS = pytest.mark.parametrize("command", ["rescore_nbest", "rescore_lattice"])


@pytest.fixture
def run(lang, lm, data, decode, tmp_path):
    def run(command, *options, decode=decode, data=data, out="out"):
        arguments = [command, "--device", "cpu", "--lm-weight", 0.5, *options, lang, lm, data, decode, tmp_path / out]
        return main([*map(str, arguments)]), tmp_path / out

    return run


@pytest.fixture
def more(lang, data, decode, tmp_path):
    """Three lat.JOB.gz, of which the third is the test's, and a data directory that wants the utterance odd-1 too."""

    def make(entries, **how):
        folder = tmp_path / "more"
        for job in (1, 2):
            kaldi.write_lattices(folder / f"lat.{job}.gz", kaldi.read_lattices(decode / f"lat.{job}.gz"))
        kaldi.write_lattices(folder / "lat.3.gz", entries, **how)
        kaldi.write_num_jobs(folder, 3)
        known = kaldi.read_data_dir(data)
        text = {**known.text, "odd-1": ["the", "firm"]}
        kaldi.write_data_dir(tmp_path / "wanted", kaldi.DataDir({**known.utt2spk, "odd-1": "odd"}, text))
        return {"decode": folder, "data": tmp_path / "wanted"}

    return make


def odd(lang, *words):
    """A lattice of two sentences, of which one begins with another word."""
    ids = kaldi.read_words(lang / "words.txt")
    arcs = [(at, at + 1, ids.id(word), 1.0, 2.0) for at, word in enumerate(words)]
    arcs.append((0, 1, ids.id("of"), 9.0, 2.0))
    return lattice_of(arcs, {len(words): (0.0, 0.0)}, len(words) + 1)


def failures_of(out):
    return dict(line.split("\t") for line in (out / "failed.txt").read_text().splitlines())


def second_lattices(decode, lang):
    """An utterance that is in lat.1.gz already, with another lattice, and one that is nowhere else."""
    utt, _ = next(iter(kaldi.read_lattices(decode / "lat.1.gz")))
    return utt, [("odd-1", odd(lang, "the", "firm")), (utt, odd(lang, "the", "market"))]


@pytest.mark.parametrize("jobs", [1, 2, 3, 5])
@COMMANDS
def test_the_first_lattice_of_an_utterance_holds(run, more, command, jobs, lang, decode):
    utt, entries = second_lattices(decode, lang)
    expected = hypotheses(run(command, out="without")[1], 12, 0.0)
    status, out = run(command, "--nj", jobs, **more(entries))
    assert status == 1
    assert list(failures_of(out)) == [utt]
    assert "the first one was used" in failures_of(out)[utt]
    found = hypotheses(out, 12, 0.0)
    assert found.keys() == {*expected, "odd-1"}
    assert {key: found[key] for key in expected} == expected
    assert {key for key, _ in kaldi.read_lattices(out, on_error=lambda *_: None)} == found.keys()
    assert SystemReport.load(out).rescored.keys() == found.keys()


def test_the_first_lattice_of_an_utterance_holds_in_n_best_lists_and_ctm(more, lang, decode, tmp_path):
    utt, entries = second_lattices(decode, lang)
    folder = more(entries)["decode"]
    words = str(lang / "words.txt")
    assert main(["lattice_to_nbest", str(folder), words, str(tmp_path / "lists")]) == 1
    assert main(["lattice_to_nbest", str(decode), words, str(tmp_path / "without")]) == 0
    assert "the first one was used" in failures_of(tmp_path / "lists")[utt]
    lists = {nbest.utt: nbest for job in (1, 2, 3) for nbest in kaldi.read_nbest_dir(tmp_path / "lists", job)}
    [expected] = [nbest for nbest in kaldi.read_nbest_dir(tmp_path / "without", 1) if nbest.utt == utt]
    assert lists[utt].words == expected.words
    assert len(lists) == 13
    for name in (folder, decode):
        main(["lattice_to_ctm", words, str(name), str(tmp_path / f"{name.name}.ctm")])
    with_second, without = (
        [word for word in kaldi.read_ctm(tmp_path / f"{name.name}.ctm") if word.recording == utt]
        for name in (folder, decode)
    )
    assert with_second == without


@COMMANDS
def test_a_cost_that_no_float_holds(run, more, command, lang):
    the = kaldi.read_words(lang / "words.txt").id("the")
    lattice = lattice_of([(0, 1, the, 1e40, 2.0)], {1: (0.0, 0.0)}, 2)
    status, out = run(command, **more([("odd-1", lattice)], double=True))
    assert status == 1
    assert list(failures_of(out)) == ["odd-1"]
    assert len(dict(kaldi.read_lattices(out))) >= 12


def test_a_word_id_that_only_the_oracle_meets(run, more, lang):
    ids = kaldi.read_words(lang / "words.txt").ids
    cheap = [(0, 1, ids["market"], 1.0, 2.0), (1, 2, ids["of"], 1.0, 2.0), (2, 3, ids["of"], 1.0, 2.0)]
    lattice = lattice_of([*cheap, (0, 3, max(ids.values()) + 7, 1e5, 2.0)], {3: (0.0, 0.0)}, 4)
    status, out = run("rescore_nbest", "--n", 1, **more([("odd-1", lattice)]))
    assert status == 0
    report = SystemReport.load(out)
    assert report.rescored["odd-1"].errors == 3
    others = sum(count.reference_words for utt, count in report.rescored.items() if utt != "odd-1")
    assert report.lattice_oracle.reference_words == others + 2


@pytest.mark.parametrize("jobs", [(3, 3), (3, 1), (1, 3)])
def test_lattices_leave_no_n_best_lists_of_an_earlier_run(run, jobs):
    _, out = run("rescore_nbest", "--nj", jobs[0])
    assert len(list(out.glob("archives.*"))) == jobs[0]
    assert run("rescore_lattice", "--nj", jobs[1])[0] == 0
    assert not list(out.glob("archives.*"))
    assert len(list(out.glob("lat.*.gz"))) == jobs[1]
    assert run("rescore_nbest", "--nj", jobs[1], "--job", 1)[0] == 0  # ended before it finished
    assert run("rescore_lattice", "--nj", jobs[1])[0] == 0
    assert not list(out.glob("archives.*"))
