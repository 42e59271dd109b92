"""Lattices rescored arc by arc through the command line, against lists of their sentences costed one by one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_rescore import kaldi
from asr_rescore.checkpoint import load_model, save_model
from asr_rescore.cli.main import main
from asr_rescore.lattice import best_path, n_best
from asr_rescore.report import SystemReport
from asr_rescore.rescoring import diagnosis, lattice_engine
from asr_rescore.rescoring.lattice_costs import LatticeRescorer
from lattices import lattice_of
from rescoring_runs import full_disk, hypotheses, save_random_lm

pytestmark = pytest.mark.slow  # each runs a whole command

WIDE = ("--order", 0, "--beam", 1000, "--max-arcs", 10**9)


@pytest.fixture
def run(lang, lm, data, decode, tmp_path):
    """Run a rescoring command into ``tmp_path``/out; returns its exit status and the out-dir."""

    def run(*options, command="rescore_lattice", lms=(lm,), decode=decode, data=data, lang=lang, out="out"):
        arguments = ["--device", "cpu", *options, lang, *lms, data, decode, tmp_path / out]
        return main([command, *map(str, arguments)]), tmp_path / out

    return run


def frames(lattice, path) -> int:
    return sum(len(lattice.alignment[arc]) for arc in path.arcs) + len(lattice.final_alignment[path.final_state])


def test_of_unlimited_order_all_sentences_cost_what_lists_say(run, lang, lm, small, few, tmp_path):
    other = save_random_lm(tmp_path / "other", ["the", "a", "of", "yesterday"], 2)
    weights, lms = ("--lm-weight", 0.35, "--lm-weight", 0.25, "--allow-oov"), (lm, other)
    status, out = run(*WIDE, *weights, lms=lms, decode=small, data=few)
    assert status == 0
    _, listed = run(*weights, command="rescore_nbest", lms=lms, decode=small, data=few, out="lists")
    words, before, compared = kaldi.read_words(lang / "words.txt"), dict(kaldi.read_lattices(small)), 0
    after = dict(kaldi.read_lattices(out))
    for nbest in kaldi.read_nbest_dir(listed, 1):
        old, with_old = nbest.costs["lmwt.lmonly"], nbest.costs["lmwt.withlm"]
        graph = with_old + 0.35 * (nbest.costs["lmwt.rnn"] - old) + 0.25 * (nbest.costs["lmwt.rnn2"] - old)
        expected = dict(zip(nbest.words, graph, strict=True))
        lattice = after[nbest.utt]
        paths = n_best(lattice, 1000, 1 / 12)
        found = {tuple(words.word(index) for index in path.words): path for path in paths}
        assert found.keys() == expected.keys()
        for sentence, path in found.items():
            assert path.graph == pytest.approx(expected[sentence], abs=2e-3)  # costs in the file are float32
            assert frames(lattice, path) == frames(before[nbest.utt], best_path(before[nbest.utt], 1.0))
            compared += 1
    assert compared > 100


def test_the_best_path_is_the_lists_or_better(run, decode):
    _, listed = run("--lm-weight", 0.6, command="rescore_nbest", out="lists")
    status, out = run("--lm-weight", 0.6, "--order", 0)
    assert status == 0
    lists, lattices = dict(kaldi.read_lattices(listed)), dict(kaldi.read_lattices(out))
    assert lists.keys() == lattices.keys()
    for utt, lattice in lattices.items():
        ours, theirs = best_path(lattice, 1 / 12), best_path(lists[utt], 1 / 12)
        assert ours.graph + ours.acoustic / 12 <= theirs.graph + theirs.acoustic / 12 + 1e-3


def test_histories_that_meet_make_small_lattices(run):
    sizes = {}
    for order in (1, 2, 4):
        status, out = run("--lm-weight", 0.6, "--order", order, "--beam", 1000, out=f"order{order}")
        assert status == 0
        sizes[order] = sum(lattice.num_states for _, lattice in kaldi.read_lattices(out))
    assert sizes[1] < sizes[2] < sizes[4]
    _, narrow = run("--lm-weight", 0.6, "--order", 4, "--beam", 1, out="narrow")
    assert sum(lattice.num_states for _, lattice in kaldi.read_lattices(narrow)) < sizes[4]


def test_weight_zero_changes_nothing(run, decode):
    status, out = run("--lm-weight", 0)
    assert status == 0
    _, first = run("--lm-weight", 0, command="rescore_nbest", out="first")
    for point in ((7, 0.0), (12, 0.5), (17, 1.0)):
        assert hypotheses(out, *point) == hypotheses(first, *point)
        assert (out / f"wer_{point[0]}_{point[1]}").read_text() == (first / f"wer_{point[0]}_{point[1]}").read_text()
    before, after = SystemReport.load(first), SystemReport.load(out)
    assert after.total == after.first_pass_total == before.first_pass_total
    assert after.lattice_oracle == before.lattice_oracle
    assert (after.nbest_oracle, after.search) == (None, "lattices of order 6, beam 6")


def test_weights_of_lists_serve_lattices_and_both_stand_in_one_table(run, tmp_path, capsys):
    _, tuned = run("--tune", command="rescore_nbest", out="lists")
    status, out = run("--weights", tuned)
    assert status == 0
    assert SystemReport.load(out).lm_weights == SystemReport.load(tuned).lm_weights
    assert SystemReport.load(out).tuned_here, "its weights were chosen on the same set"
    assert main(["report", str(tuned), str(out), str(tmp_path / "report")]) == 0
    assert "random, lattices" in capsys.readouterr().out


def test_shares_add_up_and_are_not_done_again(run):
    _, whole = run("--lm-weight", 0.5)
    for job in (1, 2, 3):
        assert run("--lm-weight", 0.5, "--nj", 3, "--job", job, out="shared")[0] == 0
    files = {file: file.stat().st_mtime_ns for file in (whole.parent / "shared").glob("lat.*.gz")}
    assert len(files) == 3
    status, shared = run("--lm-weight", 0.5, "--nj", 3, out="shared")
    assert status == 0
    assert {file: file.stat().st_mtime_ns for file in files} == files
    assert hypotheses(shared, 12, 0.0) == hypotheses(whole, 12, 0.0)
    run("--lm-weight", 0.25, "--nj", 3, out="shared")  # the beam goes by the weights
    assert all(file.stat().st_mtime_ns != stamp for file, stamp in files.items())
    # Lattices written after the note was: killed in between.
    (shared / "lat.2.gz").touch()
    stamp = (shared / "lat.2.gz").stat().st_mtime_ns
    run("--lm-weight", 0.25, "--nj", 3, "--job", 2, out="shared")
    assert (shared / "lat.2.gz").stat().st_mtime_ns != stamp


def test_what_fails_is_named_and_the_others_are_done(run, decode, data, lang, lm, tmp_path):
    odd = kaldi.read_words(lang / "words.txt").id("!SIL")  # in words.txt, not in G.fst
    broken, known = tmp_path / "broken", kaldi.read_data_dir(data)
    shutil.copytree(decode, broken)
    added = {
        "empty-1": lattice_of([], {}, 0, start=-1),
        "odd-1": lattice_of([(0, 1, odd, 1.0, 2.0), (0, 1, 3, 9.0, 9.0)], {1: (0.0, 0.0)}, 2),
        "unknown-1": lattice_of([(0, 1, 10**6, 1.0, 2.0)], {1: (0.0, 0.0)}, 2),
    }
    kaldi.write_lattices(broken / "lat.2.gz", [*kaldi.read_lattices(decode / "lat.2.gz"), *added.items()])
    more = {**known.utt2spk, **{utt: utt for utt in (*added, "lost-1")}}
    kaldi.write_data_dir(tmp_path / "more", kaldi.DataDir(more, {utt: known.text.get(utt, ["the"]) for utt in more}))
    status, out = run("--lm-weight", 0.5, decode=broken, data=tmp_path / "more")
    assert status == 1
    failed = dict(line.split("\t") for line in (out / "failed.txt").read_text().splitlines())
    assert failed.keys() == {*added, "lost-1"}
    assert "no path from start to end" in failed["empty-1"]
    assert "rescored in part" in failed["odd-1"]
    assert "the old LM has no path for '!SIL'" in failed["odd-1"]
    assert "no word for id 1000000" in failed["unknown-1"]
    assert "no lattice" in failed["lost-1"]
    assert hypotheses(out, 12, 0.0)["odd-1"] == ["!SIL"]
    _, sound = run("--lm-weight", 0.5, out="sound")
    assert hypotheses(sound, 12, 0.0).items() <= hypotheses(out, 12, 0.0).items()


@pytest.fixture
def odd(lang, tmp_path):
    """A decode directory and a data directory of two utterances: !SIL, which G.fst does not have, on some or all paths.

    Of the twelve paths of ``some`` the four with !SIL are unknown, among them the best.
    """
    words = kaldi.read_words(lang / "words.txt")
    the, firm, said, silence = map(words.id, ("the", "firm", "said", "!SIL"))
    arcs = [(0, 1, the, 1.0, 9.0), (0, 1, firm, 2.0, 9.0), (1, 2, said, 9.0, 30.0), (1, 2, silence, 0.5, 29.0)]
    arcs += [(1, 2, firm, 8.5, 29.0), (2, 3, the, 9.0, 24.0), (2, 3, said, 8.0, 24.0)]
    lattices = {
        "all-1": lattice_of([(0, 1, silence, 1.0, 2.0), (1, 2, the, 1.0, 2.0)], {2: (0.5, 0.0)}, 3),
        "some-1": lattice_of(arcs, {3: (0.25, 0.0)}, 4),
    }
    folder = tmp_path / "odd"
    folder.mkdir()
    kaldi.write_lattices(folder / "lat.1.gz", lattices.items())
    kaldi.write_num_jobs(folder, 1)
    kaldi.write_data_dir(tmp_path / "odd_data", kaldi.DataDir({utt: utt for utt in lattices}, None))
    return {"decode": folder, "data": tmp_path / "odd_data"}


@pytest.mark.parametrize("weight", [0.05, 0.5, 1.0])
def test_paths_that_the_old_lm_lacks_keep_their_cost_as_in_lists(run, odd, lang, weight):
    status, out = run(*WIDE, "--lm-weight", weight, **odd)
    assert status == 1
    _, listed = run("--lm-weight", weight, command="rescore_nbest", out="lists", **odd)
    words, compared = kaldi.read_words(lang / "words.txt"), []
    lists, lattices = dict(kaldi.read_lattices(listed)), dict(kaldi.read_lattices(out))
    first_pass = dict(kaldi.read_lattices(odd["decode"]))
    for utt, lattice in lattices.items():
        found, expected, before = (
            {tuple(words.to_words(path.words)): path.graph for path in n_best(it, 100, 1 / 12)}
            for it in (lattice, lists[utt], first_pass[utt])
        )
        assert found == pytest.approx(expected, abs=1e-4)  # costs in the file are float32
        kept = [found[sentence] == pytest.approx(before[sentence], abs=1e-4) for sentence in found]
        assert kept == ["!SIL" in sentence for sentence in found]
        compared.append((len(kept), sum(kept)))
        for scale in (1 / 7, 1 / 12, 1.0):
            ours, theirs = best_path(lattice, scale), best_path(lists[utt], scale)
            assert (ours.words, ours.acoustic) == (theirs.words, pytest.approx(theirs.acoustic, abs=1e-4))
    assert compared == [(1, 1), (12, 4)]
    failed = dict(line.split("\t") for line in (out / "failed.txt").read_text().splitlines())
    assert failed.keys() == {"all-1", "some-1"}
    assert failed["all-1"].startswith("first pass kept: the old LM has no path for '!SIL'")
    # 2 first words, 3 words after each, and after the 4 of these that G.fst has, 2 words each and then the end
    assert failed["some-1"].startswith("rescored in part, the paths through 2 of 24 words keep their first-pass cost: ")
    assert SystemReport.load(out).failures == failed


def test_with_a_beam_the_best_path_is_still_that_of_the_lists(run, odd):
    _, out = run("--lm-weight", 0.5, "--beam", 0.5, **odd)
    _, listed = run("--lm-weight", 0.5, command="rescore_nbest", out="lists", **odd)
    lists = dict(kaldi.read_lattices(listed))
    for utt, lattice in kaldi.read_lattices(out):
        assert best_path(lattice, 1 / 12).words == best_path(lists[utt], 1 / 12).words
    assert sum(it.num_arcs for _, it in kaldi.read_lattices(out)) < 9


def test_a_model_without_finite_costs_leaves_the_first_pass(run, lm, decode, tmp_path):
    loaded = load_model(lm)
    with torch.no_grad():
        loaded.model.embedding.fill_(3e38)  # finite, but the products are not
    save_model(tmp_path / "nan", loaded.model, loaded.vocabulary, {})
    status, out = run("--lm-weight", 0.5, lms=(tmp_path / "nan",))
    assert status == 1
    failed = (out / "failed.txt").read_text().splitlines()
    assert len(failed) == 12
    assert all("first pass kept" in line and "not a finite number" in line for line in failed)
    for (_, before), (_, after) in zip(kaldi.read_lattices(decode), kaldi.read_lattices(out), strict=True):
        np.testing.assert_array_equal(before.graph, after.graph)


def test_groups_of_lattices_do_not_touch_each_other(run, monkeypatch):
    _, together = run("--lm-weight", 0.5)
    monkeypatch.setattr("asr_rescore.rescoring.lattice_costs.GROUP_ARCS", 1)
    groups = []
    rescore = LatticeRescorer._rescore_group
    monkeypatch.setattr(LatticeRescorer, "_rescore_group", lambda *args: groups.append(args[1]) or rescore(*args))
    _, alone = run("--lm-weight", 0.5, out="alone")
    assert sorted(map(len, groups)) == [0, *[1] * 12]
    for (_, left), (_, right) in zip(kaldi.read_lattices(together), kaldi.read_lattices(alone), strict=True):
        np.testing.assert_allclose(left.graph, right.graph, atol=1e-4)


def test_a_full_disk_keeps_what_was_there(run, capsys):
    _, out = run("--lm-weight", 0.5)
    before = {file: file.read_bytes() for file in sorted(Path(out).rglob("*")) if file.is_file()}
    with full_disk():
        assert run("--lm-weight", 0.25)[0] == 1
    assert "No space left" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in sorted(Path(out).rglob("*")) if file.is_file()} == before


@pytest.mark.parametrize(
    "options",
    [(), ("--lm-weight", 1.5), ("--lm-weight", 0.5, "--order", -1), ("--lm-weight", 0.5, "--nj", 2, "--job", 3)],
)
def test_wrong_usage(run, options, capsys):
    assert run(*options)[0] == 2
    assert "error: " in capsys.readouterr().err


def test_the_paths_of_the_first_pass_are_costed_in_groups(run, monkeypatch):
    """As if the G.fst did not fit, so that there is a warning with numbers about all paths."""
    reports = []
    for paths in (1, 7, 1000):
        monkeypatch.setattr(lattice_engine, "GROUP_PATHS", paths)
        monkeypatch.setattr(diagnosis, "ROUNDING", -1e9)
        _, out = run("--lm-weight", 0.5)
        reports.append((out / "report.json").read_text())
    [warning] = [warning for warning in SystemReport.load(out).warnings if warning.code == "old_lm"]
    assert warning.numbers["hypotheses"] > 7
    assert reports[0] == reports[1] == reports[2]
