"""Data directories and decode directories that do not belong together."""

from __future__ import annotations

import gzip

import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.report import SystemReport
from asr_rescore.rescoring import coverage

COMMANDS = pytest.mark.parametrize("command", ["rescore_nbest", "rescore_lattice"])


@pytest.fixture
def other_data(tmp_path):
    """A data directory whose utterances have no lattices."""
    speakers = {f"zoe-{number}": "zoe" for number in range(5)}
    kaldi.write_data_dir(tmp_path / "other", kaldi.DataDir(speakers, dict.fromkeys(speakers, ["good", "morning"])))
    return tmp_path / "other"


def extended(data, place, more, without=0):
    """A data directory with ``more`` utterances that have no lattice, and ``without`` the last ones that have one."""
    known = kaldi.read_data_dir(data)
    text = dict(list(known.text.items())[: len(known.text) - without])
    text.update({f"zoe-{number:02}": ["so"] for number in range(more)})
    kaldi.write_data_dir(place, kaldi.DataDir({utt: utt.split("-")[0] for utt in text}, text))
    return place


@COMMANDS
@pytest.mark.parametrize("table", ["text", "utt2spk"])
def test_lattices_of_another_data_set_are_refused_before_any_work(
    command, table, lang, lm, decode, other_data, tmp_path, capsys
):
    if table == "utt2spk":
        (other_data / "text").unlink()
    arguments = [command, "--device", "cpu", "--lm-weight", 0.5, lang, lm, other_data, decode, tmp_path / "out"]
    assert main([*map(str, arguments)]) == 1
    error = capsys.readouterr().err
    first = next(kaldi.read_lattices(decode))[0]
    assert (
        f"{decode}: found lattices for 0 of 5 utterances of {other_data / table}, which has zoe-0, while the first "
        f"lattice is that of {first}, expected lattices of this data set; give the data directory"
    ) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_references_of_other_utterances_are_refused(rescore, data, tmp_path, capsys):
    known = kaldi.read_data_dir(data)
    kaldi.write_data_dir(tmp_path / "dev", kaldi.DataDir({**known.utt2spk, "zoe-1": "zoe"}, {"zoe-1": ["so"]}))
    assert rescore("--tune", data=tmp_path / "dev")[0] == 1
    assert f"0 of 1 utterances of {tmp_path / 'dev' / 'text'}" in capsys.readouterr().err


def test_the_search_for_a_wanted_lattice_ends_at_the_first(rescore, data, monkeypatch):
    class Enough(Exception):
        pass

    def first_only(source, **_):
        yield next(kaldi.archive.read_lattices(source))
        raise Enough

    monkeypatch.setattr(coverage.kaldi, "read_lattices", first_only)
    with pytest.raises(Enough):  # from what reads the lattices next
        rescore("--lm-weight", 0.5, "--allow-oov")


@pytest.mark.slow
@COMMANDS
@pytest.mark.parametrize(("more", "warned"), [(12, False), (13, True)])
def test_many_missing_lattices_are_warned_of_early_and_in_the_report(
    command, more, warned, lang, lm, data, decode, tmp_path, capsys
):
    dev = extended(data, tmp_path / "dev", more)
    arguments = ["--device", "cpu", "--lm-weight", "0.5", "--nj", "2", lang, lm, dev, decode, tmp_path / "out"]
    for number, shown in ("1", warned), ("2", False):
        assert main([command, "--job", number, *map(str, arguments)]) == 0
        error = capsys.readouterr().err
        assert (f"warning: {decode} has no lattice for 13 of 25 utterances of {dev}" in error) == shown
    assert main([command, *map(str, arguments)]) == 1
    codes = [warning.code for warning in SystemReport.load(tmp_path / "out").warnings]
    assert ("missing_lattices" in codes) == warned
    assert "skipped_lattices" not in codes


@pytest.mark.slow
def test_lattices_that_are_skipped_are_named_once(rescore, data, tmp_path, capsys):
    last = kaldi.read_data_dir(data).utterances[-2]
    status, out = rescore("--lm-weight", 0.5, data=extended(data, tmp_path / "dev", 0, without=2))
    assert status == 0
    [warning] = [w for w in SystemReport.load(out).warnings if w.code == "skipped_lattices"]
    assert warning.numbers == {"skipped": 2, "lattices": 12}
    error = capsys.readouterr().err
    assert error.count(f"lacks the utterances of 2 of 12 lattices in {tmp_path}".replace(str(tmp_path), "")) == 1
    assert last in error


def test_an_empty_utt2spk_is_refused(rescore, data, tmp_path, capsys):
    (tmp_path / "utt2spk").touch()
    assert rescore("--lm-weight", 0.5, data=tmp_path)[0] == 1
    assert f"{tmp_path / 'utt2spk'}: found an empty file, expected a line" in capsys.readouterr().err


def test_an_empty_text_cannot_be_tuned_on(rescore, data, tmp_path, capsys):
    kaldi.write_data_dir(tmp_path / "dev", kaldi.DataDir(kaldi.read_data_dir(data).utt2spk, {}))
    assert rescore("--tune", data=tmp_path / "dev")[0] == 1
    assert f"{tmp_path / 'dev' / 'text'}: found an empty file, expected references" in capsys.readouterr().err


def test_a_broken_file_that_may_hide_the_wanted_lattices_is_not_taken_for_other_data(
    rescore, decode, other_data, tmp_path, capsys
):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "num_jobs").write_text("1\n")
    whole = (decode / "lat.1.gz").read_bytes()
    (folder / "lat.1.gz").write_bytes(gzip.compress(gzip.decompress(whole)[:10_000] + b"\xff" * 9))
    rescore("--lm-weight", 0.5, decode=folder, data=other_data)
    assert "found lattices for 0" not in capsys.readouterr().err
