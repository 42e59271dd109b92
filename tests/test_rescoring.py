"""Rescoring a decode directory through the command line: what it promises, share by share and weight by weight."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.lattice import best_path, best_paths
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.report import SystemReport
from asr_rescore.rescoring.job import Job
from asr_rescore.word_errors import wer
from rescoring_runs import hypotheses, save_random_lm

GOLDENS = Path(__file__).parent / "goldens"
POINTS = [(lmwt, wip) for wip in (0.0, 0.5, 1.0) for lmwt in range(7, 18)]


@pytest.mark.parametrize("n", [1000, 2], ids=["whole lists", "lists cut at 2"])
def test_weight_zero_is_the_first_pass_at_every_operating_point(rescore, decode, data, lang, n):
    status, out = rescore("--lm-weight", 0, "--n", n)
    assert status == 0
    words, references = kaldi.read_words(lang / "words.txt"), kaldi.read_table(data / "text")
    lattices = dict(kaldi.read_lattices(decode))
    best = {
        utt: best_paths(lattice, [1 / lmwt for lmwt, _ in POINTS], [wip for _, wip in POINTS])
        for utt, lattice in lattices.items()
    }
    for index, (lmwt, wip) in enumerate(POINTS):
        expected = {utt: [words.word(word) for word in paths[index].words] for utt, paths in best.items()}
        assert hypotheses(out, lmwt, wip) == expected
        assert (out / f"wer_{lmwt}_{wip}").read_text() == wer(references, expected).lines()


def test_the_lattices_written_hold_the_new_costs_and_the_old_times(rescore, decode):
    status, out = rescore("--lm-weight", 0.6)
    assert status == 0
    before, after = dict(kaldi.read_lattices(decode)), dict(kaldi.read_lattices(out))
    assert before.keys() == after.keys()
    words = kaldi.read_table(out / "scoring_kaldi" / "penalty_0.5" / "12.txt")
    lists = {nbest.utt: nbest for job in (1,) for nbest in kaldi.read_nbest_dir(out, job)}
    symbols = None
    for utt, lattice in after.items():
        path = best_path(lattice, 1 / 12, 0.5)
        first = best_path(before[utt], 1.0)
        frames = sum(len(lattice.alignment[arc]) for arc in path.arcs) + len(lattice.final_alignment[path.final_state])
        frames_before = sum(len(before[utt].alignment[arc]) for arc in first.arcs)
        frames_before += len(before[utt].final_alignment[first.final_state])
        assert frames == frames_before
        assert len(path.words) == len(words[utt])
        nbest = lists[utt]
        k = nbest.words.index(tuple(words[utt]))
        columns = {name: column[k] for name, column in nbest.costs.items()}
        new = columns["lmwt.nolm"] + 0.6 * columns["lmwt.rnn"] + 0.4 * columns["lmwt.lmonly"]
        assert path.graph == pytest.approx(new, abs=1e-3)
        assert path.acoustic == pytest.approx(columns["acwt"], rel=1e-6)
        symbols = symbols or nbest
    assert symbols is not None


@pytest.mark.slow
def test_a_score_cache_spares_the_network(rescore, tmp_path, monkeypatch):
    cache = ("--score-cache", tmp_path / "cache")
    status, first = rescore("--lm-weight", 0.5, *cache, out="first")
    assert status == 0
    monkeypatch.setattr(NeuralScorer, "costs", lambda *_: pytest.fail("scored again"))
    status, second = rescore("--lm-weight", 0.7, "--n", 50, *cache, out="second")  # other lists of known sentences
    assert status == 0
    lists = [{nbest.utt: nbest for nbest in kaldi.read_nbest_dir(out, 1)} for out in (first, second)]
    for utt, shorter in lists[1].items():
        known = dict(zip(lists[0][utt].words, lists[0][utt].costs["lmwt.rnn"], strict=True))
        assert [known[words] for words in shorter.words] == list(shorter.costs["lmwt.rnn"])


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [2, 3, 5])
def test_shares_add_up_to_the_whole(rescore, jobs):
    _, whole = rescore("--lm-weight", 0.5)
    for job in range(1, jobs + 1):
        assert rescore("--nj", jobs, "--job", job, out="shared")[0] == 0
    stamps = {file: file.stat().st_mtime_ns for file in (whole.parent / "shared").glob("job.*.json")}
    assert len(stamps) == jobs
    status, shared = rescore("--nj", jobs, "--lm-weight", 0.5, out="shared")
    assert status == 0
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps  # nothing was costed again
    assert (shared / "num_jobs").read_text() == f"{jobs}\n"
    for lmwt, wip in POINTS[::7]:
        assert hypotheses(shared, lmwt, wip) == hypotheses(whole, lmwt, wip)
    assert dict(kaldi.read_lattices(shared)).keys() == dict(kaldi.read_lattices(whole)).keys()


@pytest.mark.parametrize(("jobs", "files"), [(1, 1), (1, 3), (2, 3), (3, 3), (4, 3), (7, 3), (3, 1)])
def test_each_entry_is_in_one_share(jobs, files):
    entries = [(file, entry) for file in range(1, files + 1) for entry in range(10)]
    taken = []
    for job in range(1, jobs + 1):
        for file, offset, step in Job(job, jobs).parts(files):
            taken += [(file, entry) for entry in range(10)[offset::step]]
    assert sorted(taken) == entries


@pytest.mark.slow
def test_other_options_are_costed_anew(rescore):
    _, out = rescore("--lm-weight", 0.5)
    stamp = (out / "job.1.json").stat().st_mtime_ns
    rescore("--lm-weight", 0.25)
    assert (out / "job.1.json").stat().st_mtime_ns == stamp
    rescore("--lm-weight", 0.25, "--n", 5)
    assert (out / "job.1.json").stat().st_mtime_ns != stamp


@pytest.mark.slow
def test_other_utterances_are_costed_anew(rescore, data, tmp_path):
    """Two data directories of equally many utterances, one after the other into one out-dir."""
    known = kaldi.read_data_dir(data)
    for name, utts in {"first": known.utterances[:6], "last": known.utterances[6:]}.items():
        part = kaldi.DataDir({utt: known.utt2spk[utt] for utt in utts}, {utt: known.text[utt] for utt in utts})
        kaldi.write_data_dir(tmp_path / name, part)
        status, out = rescore("--lm-weight", 0.5, data=tmp_path / name)
        assert (status, set(hypotheses(out, 12, 0.0))) == (0, set(utts))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["rescore_nbest", "rescore_lattice"])
def test_fewer_jobs_leave_nothing_of_more(lang, lm, data, decode, tmp_path, command):
    out = tmp_path / "out"
    for jobs in (4, 2):
        options = ("--device", "cpu", "--lm-weight", 0.5, "--nj", jobs)
        assert main([str(argument) for argument in (command, *options, lang, lm, data, decode, out)]) == 0
        assert len(list(kaldi.read_lattices(out))) == 12, "each once"
    of_a_job = [path.name for kind in ("lat", "archives", "job") for path in out.glob(f"{kind}.*")]
    assert {name.split(".")[1] for name in of_a_job} == {"1", "2"}


@pytest.mark.slow
def test_tuned_weights_freeze(rescore, lm):
    status, tuned = rescore("--tune")
    assert status == 0
    report = SystemReport.load(tuned)
    assert report.tuned_here
    assert report.total.errors <= report.first_pass_total.errors
    assert report.nbest_oracle.errors <= report.total.errors
    assert report.lattice_oracle.errors == 3  # Kaldi's lattice-oracle
    status, frozen = rescore("--weights", tuned, out="frozen")
    assert status == 0
    again = SystemReport.load(frozen)
    assert again.tuned_here, "the weights were chosen on the same set"
    assert (again.lm_weights, again.point, again.total) == (report.lm_weights, report.point, report.total)
    assert lm.name in again.signature


@pytest.mark.slow
@pytest.mark.parametrize("earlier_version", [False, True])
def test_weights_are_known_by_their_data_and_not_by_the_name_of_its_directory(
    rescore, data, tmp_path, monkeypatch, earlier_version
):
    """Of two directories called dev, one is that of the tuning under another path, and one has other utterances."""
    monkeypatch.chdir(tmp_path)
    known = kaldi.read_data_dir(data)
    fewer = kaldi.DataDir(known.utt2spk, {utt: known.text[utt] for utt in list(known.text)[:11]})
    kaldi.write_data_dir(tmp_path / "first/dev", known)
    kaldi.write_data_dir(tmp_path / "other/dev", fewer)
    (tmp_path / "link").symlink_to("first/dev")
    _, tuned = rescore("--tune", data="first/dev")
    if earlier_version:
        lines = (tuned / "weights.yaml").read_text().splitlines(keepends=True)
        (tuned / "weights.yaml").write_text("".join(line for line in lines if "data_hash" not in line))
    for folder, here in ("other/dev", False), ("link", True):
        rescore("--weights", tuned, data=folder, out=f"of/{folder}")
        assert SystemReport.load(tmp_path / "of" / folder).tuned_here == here
    rescore("--weights", tmp_path / "of/link", data="first/dev", out="again")  # frozen weights stay known
    assert SystemReport.load(tmp_path / "again").tuned_here


@pytest.mark.slow
def test_two_models_each_have_a_weight(rescore, lm, lang, tmp_path):
    other = save_random_lm(tmp_path / "other", ["the", "a", "of", "yesterday"], 2)
    status, out = rescore("--lm-weight", 0.25, "--lm-weight", 0.5, "--allow-oov", lms=(lm, other))
    assert status == 0
    (nbest, *_) = kaldi.read_nbest_dir(out, 1)
    assert {"lmwt.rnn", "lmwt.rnn2"} <= nbest.costs.keys()
    assert not np.allclose(nbest.costs["lmwt.rnn"], nbest.costs["lmwt.rnn2"])
    assert SystemReport.load(out).lm_weights == (0.25, 0.5)


@pytest.fixture
def silent(data, tmp_path):
    """A data directory without references."""
    folder = tmp_path / "silent"
    folder.mkdir()
    shutil.copy(data / "utt2spk", folder)
    return folder


def test_without_references_there_are_transcripts_but_no_scores(rescore, silent, capsys):
    status, out = rescore("--lm-weight", 0.5, "--cer", data=silent)
    assert status == 0
    assert len(dict(kaldi.read_lattices(out))) == 12
    assert not list(out.glob("[wc]er_*")) and not (out / "scoring_kaldi").exists()
    transcripts = kaldi.read_table(out / "text")
    status, scored = rescore("--lm-weight", 0.5, out="scored")
    assert transcripts == hypotheses(scored, 12, 0.0) == kaldi.read_table(scored / "text")
    capsys.readouterr()
    assert rescore("--tune", data=silent)[0] == 1
    assert "expected references to tune on; give --weights or --lm-weight" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["rescore_nbest", "rescore_lattice"])
def test_scoring_can_be_left_out(lang, lm, data, silent, decode, tmp_path, command):
    """The files are those of a data directory without text, byte for byte, and the report names the one given."""
    outs = [tmp_path / "left_out", tmp_path / "without_text"]
    for options, place, out in ((["--skip-scoring", "--filter", "/bin/cat"], data, outs[0]), ([], silent, outs[1])):
        arguments = ["--device", "cpu", "--lm-weight", 0.5, *options, lang, lm, place, decode, out]
        assert main([command, *map(str, arguments)]) == 0
    left_out, without = ({file.name for file in out.iterdir()} for out in outs)
    assert left_out == without
    for name in ("text", "lat.1.gz", "weights.yaml"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    assert (SystemReport.load(outs[0]).data, SystemReport.load(outs[0]).rescored) == (data.name, {})


def test_scores_of_an_earlier_run_do_not_stay(rescore, silent):
    """After a run with other weights, `grep WER wer_* | best_wer.sh` must not find what the old ones gave."""
    _, out = rescore("--lm-weight", 0.3, "--cer")
    assert (out / "wer_13_0.0").exists() and (out / "cer_13_0.0").exists()
    rescore("--lm-weight", 0.9, "--lmwt", 12, "--word-ins-penalty", 0)
    assert {path.name for path in out.glob("[wc]er_*")} == {"wer_12_0.0"}
    assert [path.name for path in (out / "scoring_kaldi").glob("penalty_*/*")] == ["12.txt"]
    assert not list((out / "scoring_kaldi").glob("*cer*"))
    for left_out in (["--skip-scoring"], []):
        rescore("--lm-weight", 0.9)
        rescore("--lm-weight", 0.1, *left_out, **({} if left_out else {"data": silent}))
        assert not list(out.glob("[wc]er_*")) and not (out / "scoring_kaldi").exists()


def test_an_output_directory_whose_name_is_not_utf8(rescore, capsys, monkeypatch):
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)  # pytest's workers cannot send such a name
    status, out = rescore("--lm-weight", 0.5, out="out\udcff")
    capsys.readouterr()
    assert status == 0
    best = (out / "scoring_kaldi/best_wer").read_text(encoding="utf-8")
    assert "/out\\udcff/wer_" in best


def test_scores_of_another_program_stay(rescore):
    _, out = rescore("--lm-weight", 0.9, "--skip-scoring")
    (out / "scoring_kaldi").mkdir()
    theirs = [out / "wer_12_0.0", out / "scoring_kaldi" / "best_wer"]  # Kaldi's score.sh wrote them
    for path in theirs:
        path.write_text("%WER 1.00")
    rescore("--lm-weight", 0.9, "--skip-scoring")
    assert [path.read_text() for path in theirs] == ["%WER 1.00"] * 2


def test_nothing_is_tuned_without_scoring(rescore, capsys):
    assert rescore("--tune", "--skip-scoring")[0] == 2
    assert "--tune counts errors, which --skip-scoring leaves out; give --weights or" in capsys.readouterr().err


def test_lattices_without_references_leave_transcripts(lang, lm, silent, decode, tmp_path):
    arguments = ["--device", "cpu", "--lm-weight", 0, lang, lm, silent, decode, tmp_path / "out"]
    assert main(["rescore_lattice", *map(str, arguments)]) == 0
    words = kaldi.read_words(lang / "words.txt")
    best = {utt: best_path(lattice, 1 / 12).words for utt, lattice in kaldi.read_lattices(decode)}
    assert kaldi.read_table(tmp_path / "out/text") == {utt: words.to_words(ids) for utt, ids in best.items()}


def test_a_text_that_is_no_result_is_not_replaced(rescore, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/text").write_text("u1 what was said\n")
    assert rescore("--lm-weight", 0.5)[0] == 2
    assert "holds text, which was not written by a rescoring" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ((), 2),
        (("--lm-weight", 1.5), 2),
        (("--lm-weight", 0.5, "--lm-weight", 0.5), 2),
        (("--lm-weight", 0.5, "--nj", 2, "--job", 3), 2),
        (("--lm-weight", 0.5, "--n", 0), 2),
        (("--lm-weight", 0.5, "--inv-acwt", 0), 2),
        (("--weights", "/nowhere"), 1),
        (("--lm-weight", 0.5, "--normaliser", "float16"), 2),  # is for GPUs
        (("--lm-weight", 0.5, "--normaliser", "none"), 2),  # is for models trained to be self-normalised
    ],
)
def test_wrong_usage(rescore, options, status, capsys):
    assert rescore(*options)[0] == status
    assert "error: " in capsys.readouterr().err


def test_a_kind_that_is_none_of_the_choices(rescore, capsys):
    with pytest.raises(SystemExit) as stopped:
        rescore("--lm-weight", 0.5, "--normaliser", "int4")
    assert stopped.value.code == 2
    assert "invalid choice: 'int4'" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_of_other_models_are_refused(rescore, tmp_path, capsys):
    _, out = rescore("--tune")
    other = save_random_lm(tmp_path / "other", ["the", "a"], 3)
    assert rescore("--weights", out, lms=(other,), out="else")[0] == 1
    assert "weights of models" in capsys.readouterr().err


def test_the_decode_directory_is_never_the_output(rescore, decode, lang, lm, data, capsys):
    command = ["rescore_nbest", "--lm-weight", "0", *map(str, (lang, lm, data, decode, decode))]
    assert main(command) == 2
    assert "overwritten" in capsys.readouterr().err


def test_n_best_directory_of_kaldi(decode, lang, tmp_path):
    out = tmp_path / "nbest"
    arguments = [decode, lang / "words.txt", out]
    assert main(["lattice_to_nbest", *map(str, arguments)]) == 0
    lists = [nbest for job in (1, 2) for nbest in kaldi.read_nbest_dir(out, job)]
    assert sum(map(len, lists)) == 4117  # as many as Kaldi's lattice-to-nbest gives
    assert (out / "num_jobs").read_text() == "2\n"
    lines = (out / "archives.1" / "ali").read_text().splitlines()
    assert len(lines) == sum(map(len, kaldi.read_nbest_dir(out, 1)))
    frames = {line.split()[0]: len(line.split()) - 1 for line in lines}
    assert all(
        frames[f"{nbest.utt}-{len(nbest)}"] == frames[f"{nbest.utt}-1"] for nbest in kaldi.read_nbest_dir(out, 1)
    )
