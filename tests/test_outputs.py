"""No command overwrites what it reads, or what something else made; and what cannot be written is found first."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.locks import locked
from asr_rescore.outputs import check_outputs
from conftest import GOLDENS


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def first_pass(decode, tmp_path) -> Path:
    """A decode directory of the recogniser, which only a mistake makes an output directory."""
    return Path(shutil.copytree(decode, tmp_path / "first_pass"))


@pytest.fixture
def lattice_command(lang, lm, data, decode, tmp_path):
    def run(*options: object, out: str = "out") -> tuple[int, Path]:
        place = tmp_path / out
        arguments = ["--device", "cpu", *options, lang, lm, data, decode, place]
        return main(["rescore_lattice", *map(str, arguments)]), place

    return run


class TestFirstPass:
    """A decode directory of another first pass, given as the output directory by mistake."""

    def test_rescore_nbest_refuses_it(self, rescore, first_pass, capsys):
        before = contents(first_pass)
        status, _ = rescore("--lm-weight", 0.5, "--n", 5, out="first_pass")
        assert (status, contents(first_pass)) == (2, before)
        assert "first_pass holds lat.1.gz, which was not written by a rescoring" in capsys.readouterr().err

    def test_rescore_lattice_refuses_it(self, lattice_command, first_pass):
        before = contents(first_pass)
        status, _ = lattice_command("--lm-weight", 0.5, out="first_pass")
        assert (status, contents(first_pass)) == (2, before)

    def test_a_job_refuses_it(self, rescore, first_pass):
        before = contents(first_pass)
        assert rescore("--tune", "--nj", 2, "--job", 1, out="first_pass")[0] == 2
        assert contents(first_pass) == before

    def test_lattice_to_nbest_leaves_it_alone(self, lang, first_pass, capsys):
        before = contents(first_pass)
        source = f"ark:{first_pass}/lat.2.gz"
        assert main(["lattice_to_nbest", source, str(lang / "words.txt"), str(first_pass)]) == 2
        assert contents(first_pass) == before
        assert "it is a decode directory" in capsys.readouterr().err

    def test_an_n_best_directory_is_refused(self, lattice_command, lang, first_pass, tmp_path):
        words = str(lang / "words.txt")
        assert main(["lattice_to_nbest", "--n", "2", str(first_pass), words, str(tmp_path / "nbest")]) == 0
        before = contents(tmp_path / "nbest")
        assert lattice_command("--lm-weight", 0.5, out="nbest")[0] == 2
        assert contents(tmp_path / "nbest") == before

    @pytest.mark.slow
    def test_a_job_that_runs_already_is_refused(self, rescore, tmp_path, capsys):
        with locked(tmp_path / "out" / ".job.1.lock", "it"):
            assert rescore("--tune", "--nj", 2, "--job", 1)[0] == 1
            assert "out: job 1 is being written by another process" in capsys.readouterr().err
            assert rescore("--tune", "--nj", 2, "--job", 2)[0] == 0
        assert rescore("--tune", "--nj", 2, "--job", 1)[0] == 0

    @pytest.mark.slow
    def test_our_own_result_is_replaced(self, rescore, lattice_command):
        status, out = rescore("--lm-weight", 0.5, "--n", 5)
        assert status == 0
        assert rescore("--lm-weight", 0.5, "--n", 6)[0] == 0
        assert lattice_command("--lm-weight", 0.5)[0] == 0
        assert not list(out.glob("archives.*"))

    @pytest.mark.slow
    def test_a_run_that_was_killed_before_its_marker_goes_on(self, lattice_command):
        status, out = lattice_command("--lm-weight", 0.5)
        assert status == 0
        for name in ("job.1.json", "weights.yaml", "report.json"):
            (out / name).unlink()
        assert lattice_command("--lm-weight", 0.5)[0] == 0


def archive(folder: Path) -> tuple[Path, Path]:
    """An archive of lattices, and an .scp with offsets into it."""
    ark = folder / "lat.ark"
    scp = folder / "lat.scp"
    kaldi.write_lattices(ark, kaldi.read_lattices(GOLDENS / "formats" / "compact.ark"), scp=scp)
    return ark, scp


class TestInputs:
    """An output that is an input, by whatever name."""

    @pytest.mark.parametrize("kind", ["ark", "scp", "words", "link", "hard link", "through a directory"])
    def test_lattice_to_ctm(self, lang, tmp_path, capsys, kind):
        ark, scp = archive(tmp_path)
        words = Path(shutil.copy(lang / "words.txt", tmp_path))
        out = {"ark": ark, "scp": ark, "words": words}.get(kind, tmp_path / "out.ctm")
        if kind == "link":
            out.symlink_to(ark)
        elif kind == "hard link":
            os.link(ark, out)
        elif kind == "through a directory":
            (tmp_path / "other").symlink_to(tmp_path)
            out = tmp_path / "other" / "lat.ark"
        before = contents(tmp_path)
        source = f"scp:{scp}" if kind == "scp" else f"ark:{ark}"
        assert main(["lattice_to_ctm", str(words), source, str(out)]) == 2
        assert contents(tmp_path) == before
        assert "is an input and would be replaced" in capsys.readouterr().err

    def test_lattice_to_nbest_from_an_archive_in_what_it_replaces(self, lang, tmp_path):
        folder = tmp_path / "nbest" / "archives.1"
        folder.mkdir(parents=True)
        ark, _ = archive(folder)
        before = contents(tmp_path)
        words = str(lang / "words.txt")
        assert main(["lattice_to_nbest", f"ark:{ark}", words, str(tmp_path / "nbest")]) == 2
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("name", ["vocab.txt", "model.safetensors", "provenance.json"])
    def test_sample_text(self, lm, tmp_path, name):
        own = shutil.copytree(lm, tmp_path / "lm")
        before = contents(own)
        assert main(["sample_text", "--sentences", "3", str(own), str(own / name)]) == 2
        assert contents(own) == before

    def test_compute_ppl(self, lm, tmp_path):
        text = tmp_path / "text"
        text.write_text("the firm\n")
        assert main(["compute_ppl", "--json", str(text), str(lm), str(text)]) == 2
        assert text.read_text() == "the firm\n"

    @pytest.mark.parametrize("name", ["vocab.txt", "unk_probs.txt", "train.txt"])
    def test_prepare_text(self, tmp_path, name):
        path = tmp_path / name
        path.write_text("a b\nb c\n" * 20)
        assert main(["prepare_text", str(path), str(tmp_path)]) == 2
        assert path.read_text() == "a b\nb c\n" * 20

    def test_report(self, tmp_path):
        (tmp_path / "report.txt").write_text("{}")
        (tmp_path / "report.json").symlink_to("report.txt")
        assert main(["report", str(tmp_path), str(tmp_path)]) == 2
        assert (tmp_path / "report.txt").read_text() == "{}"

    def test_train_lm(self, tmp_path):
        config = tmp_path / "config.yaml"
        config.write_text("train: {epochs: 1}\n")
        (tmp_path / "text").write_text("a b\n" * 20)
        text = str(tmp_path / "text")
        command = ["train_lm", "--config", str(config), "--train", text, "--valid", text, str(tmp_path)]
        assert main(command) == 2
        assert config.read_text() == "train: {epochs: 1}\n"

    @pytest.mark.parametrize("name", ["per_utt", "ops"])
    def test_score_wer(self, tmp_path, name):
        (tmp_path / name).write_text("u a b\n")
        text = str(tmp_path / name)
        assert main(["score_wer", "--details-dir", str(tmp_path), text, text]) == 2
        assert (tmp_path / name).read_text() == "u a b\n"


def in_the_way(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "out"


def loop_of_links(folder: Path) -> Path:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    return folder / "one" / "out"


def link_to_nothing(folder: Path) -> Path:
    (folder / "link").symlink_to("nowhere")
    return folder / "link" / "out"


UNWRITABLE = {
    "a file in the way": in_the_way,
    "a loop of links": loop_of_links,
    "a link to nothing": link_to_nothing,
    "a name too long": lambda folder: folder / ("x" * 300) / "out",
    "a name too long below what is missing": lambda folder: folder / "new" / ("x" * 300),
    "a path too long": lambda folder: folder / "/".join(["x" * 100] * 50),
    "/proc": lambda folder: Path("/proc/asr_rescore/out"),
}
unwritable = pytest.mark.parametrize("make", UNWRITABLE.values(), ids=UNWRITABLE)


@unwritable
def test_what_cannot_be_written_is_found_without_writing(tmp_path, make):
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RescoreError, match="cannot be written: .*; name another output"):
        check_outputs([path])
    assert sorted(tmp_path.iterdir()) == before


COMMANDS = {
    "prepare_text": ["{nothing}", "{out}"],
    "train_lm": ["--config", "{nothing}", "--train", "{nothing}", "--valid", "{nothing}", "{out}"],
    "distill_lm": ["--config", "{nothing}", "--train", "{nothing}", "--valid", "{nothing}", "{nothing}", "{out}"],
    "cache_teacher": ["--train", "{nothing}", "{nothing}", "{out}"],
    "ensemble_lm": ["{nothing}", "{nothing}", "{out}"],
    "sample_text": ["--sentences", "1", "{nothing}", "{out}"],
    "compute_ppl": ["--json", "{out}", "{nothing}", "{nothing}"],
    "report": ["{nothing}", "{out}"],
    "score_wer": ["--details-dir", "{out}", "{nothing}", "{nothing}"],
    "lattice_to_nbest": ["{nothing}", "{nothing}", "{out}"],
    "lattice_to_ctm": ["{nothing}", "{nothing}", "{out}"],
    "export_sclite": ["--words", "{nothing}", "{nothing}", "{nothing}", "{out}"],
    "rescore_nbest": ["--tune", "{nothing}", "{nothing}", "{nothing}", "{nothing}", "{out}"],
    "rescore_lattice": ["--lm-weight", "1", "{nothing}", "{nothing}", "{nothing}", "{nothing}", "{out}"],
}


@unwritable
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_finds_it_before_it_reads(tmp_path, capsys, command, make):
    out = make(tmp_path)
    arguments = [part.format(nothing=tmp_path / "nothing", out=out) for part in COMMANDS[command]]
    status = main([command, *arguments])
    message = capsys.readouterr().err
    assert (status, message.count("\n")) == (1, 1)
    assert "cannot be written" in message


def test_a_directory_where_a_file_should_be(tmp_path):
    with pytest.raises(UsageError, match="it is a directory"):
        check_outputs([tmp_path])


def test_two_outputs_in_one_file(tmp_path):
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to("there")
    for one, other in (("new", "../" + tmp_path.name + "/new"), ("there", "link")):
        with pytest.raises(UsageError, match="is named for two outputs; give each its own file"):
            check_outputs([tmp_path / one, tmp_path / other])
    check_outputs([Path(os.devnull), Path(os.devnull), tmp_path / "new", tmp_path / "there"])


def test_an_input_next_to_the_output_is_no_harm(tmp_path):
    (tmp_path / "text").touch()
    check_outputs([tmp_path / "out"], [tmp_path / "text", tmp_path])
    with pytest.raises(UsageError, match="text is an input in .*, which would be replaced"):
        check_outputs([], [tmp_path / "text"], replaced=[tmp_path])


def test_a_report_dir_that_was_forgotten(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text("{}")
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "name another directory for the report, after all out-dirs" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["report.json"]
