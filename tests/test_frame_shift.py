"""The frame shift of a decode directory, from the marks that Kaldi's models and data directories carry."""

from __future__ import annotations

import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.errors import InputError
from asr_rescore.kaldi import read_ctm


@pytest.fixture
def model(decode, tmp_path):
    """A model's directory, with a decode directory in it."""
    folder = tmp_path / "exp/chain"
    (folder / "decode").mkdir(parents=True)
    for name in ("num_jobs", "lat.1.gz", "lat.2.gz"):
        (folder / "decode" / name).symlink_to(decode / name)
    return folder


@pytest.mark.parametrize(
    ("marks", "seconds", "source"),
    [
        ({}, None, ""),
        ({"model/frame_subsampling_factor": "3\n"}, 0.03, "model/decode/../frame_subsampling_factor"),
        ({"model/frame_shift": "0.0125"}, 0.0125, "model/decode/../frame_shift"),
        ({"model/frame_shift": "0.02", "model/frame_subsampling_factor": "3"}, 0.02, "model/decode/../frame_shift"),
        ({"data/frame_shift": "0.02"}, 0.02, "data/frame_shift"),
        (
            {"data/frame_shift": "0.011", "model/frame_subsampling_factor": "3"},
            0.033,
            "data/frame_shift and model/decode/../frame_subsampling_factor",
        ),
        ({"model/decode/frame_subsampling_factor": "3"}, 0.03, "model/decode/frame_subsampling_factor"),
        ({"model/frame_subsampling_factor": "1"}, 0.01, "model/decode/../frame_subsampling_factor"),
    ],
)
def test_the_marks_give_the_seconds(tmp_path, monkeypatch, marks, seconds, source):
    monkeypatch.chdir(tmp_path)
    for folder in ("model/decode", "data"):
        (tmp_path / folder).mkdir(parents=True)
    for name, text in marks.items():
        (tmp_path / name).write_text(text)
    found = kaldi.frame_shift_of(tmp_path / "model/decode", tmp_path / "data")
    if seconds is None:
        assert found is None
    else:
        assert found.seconds == seconds
        assert found.source.replace(f"{tmp_path}/", "") == source


@pytest.mark.parametrize("text", ["", "3 3", "three", "0", "-1", "nan", "1e99", "1" * 50])
def test_a_mark_without_a_number_is_refused(model, text):
    (model / "frame_subsampling_factor").write_text(text)
    with pytest.raises(InputError, match="frame_subsampling_factor: found .* expected one number, 1 to 100"):
        kaldi.frame_shift_of(model / "decode")


def ends(ctm) -> float:
    return max(word.end for word in read_ctm(ctm))


@pytest.mark.parametrize("lattices", ["decode", "decode/lat.1.gz"])
def test_lattice_to_ctm_reads_the_marks_and_says_so(model, lang, tmp_path, capsys, lattices):
    def run(*options: object) -> tuple[float, str]:
        arguments = ["lattice_to_ctm", *options, lang / "words.txt", model / lattices, tmp_path / "out.ctm"]
        assert main([*map(str, arguments)]) == 0
        return ends(tmp_path / "out.ctm"), capsys.readouterr().out

    unmarked, out = run()
    assert "frame shift" not in out
    (model / "frame_subsampling_factor").write_text("3\n")
    marked, out = run()
    assert marked == pytest.approx(3 * unmarked, abs=0.03)
    assert out.startswith(f"frame shift 0.03 s, from {model}/decode/../frame_subsampling_factor\n")
    given, out = run("--frame-shift", 0.01)
    assert given == unmarked
    assert "frame shift" not in out
    (model / "frame_subsampling_factor").write_text("many\n")
    assert main(["lattice_to_ctm", *map(str, (lang / "words.txt", model / lattices, tmp_path / "out.ctm"))]) == 1
    assert "or give --frame-shift" in capsys.readouterr().err


def test_lattices_that_were_rescored_keep_their_frame_shift(rescore, model, capsys):
    (model / "frame_subsampling_factor").write_text("3\n")
    status, out = rescore("--lm-weight", 0, decode=model / "decode")
    assert status == 0
    assert kaldi.frame_shift_of(out).seconds == 0.03
    (model / "frame_subsampling_factor").unlink()
    rescore("--lm-weight", 0, decode=model / "decode")
    assert kaldi.frame_shift_of(out) is None
