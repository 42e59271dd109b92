"""What export_sclite writes is scored as sclite scored it."""

import shutil

import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.sclite import score_stm, score_trn
from asr_rescore.word_alignment import SCLITE
from asr_rescore.word_errors import ErrorCount, errors_by_utterance
from conftest import GOLDENS, ROOT

MINI = ROOT / "recipes/wsj/mini"
WORDS = MINI / "lang_bd_tgpr/words.txt"
DATA = MINI / "data/dev"
DECODE = MINI / "exp/decode_bd_tgpr_dev"


def run(capsys, *arguments, status=0):
    assert main(["export_sclite", *map(str, arguments)]) == status
    return capsys.readouterr()


@pytest.fixture(scope="module")
def golden():
    """What sclite counted at LMWT 12 and WIP 0, the defaults, with trn files and with these stm and ctm files."""
    [line] = [line for line in (GOLDENS / "sctk/mini_dev.txt").read_text().splitlines() if "sclite 12.0.0" in line]
    fields = line.split()
    number = dict(zip(fields[2::2], map(int, fields[3::2]), strict=True))
    reference = number["corr"] + number["sub"] + number["del"]
    return ErrorCount(number["ins"], number["del"], number["sub"], reference, 120, number["serr"])


def test_a_first_pass(tmp_path, capsys, golden):
    said = run(capsys, "--words", WORDS, DATA, DECODE, tmp_path)
    assert said.out == f"{tmp_path}: 120 utterances, 0 without a transcript, 0 failed\n"
    assert score_trn(tmp_path / "ref.trn", tmp_path / "hyp.trn").total == golden
    assert score_stm(tmp_path / "ref.stm", tmp_path / "hyp.ctm").total == golden


def test_utterances_of_long_recordings(tmp_path, capsys, golden):
    data = kaldi.read_data_dir(DATA)
    shutil.copytree(DATA, tmp_path / "data")
    begins = dict.fromkeys(data.utt2spk.values(), 0.0)
    with (tmp_path / "data/segments").open("w") as stream:
        for utt, speaker in data.utt2spk.items():
            stream.write(f"{utt} {speaker} {begins[speaker]:.2f} {begins[speaker] + 20:.2f}\n")
            begins[speaker] += 20
    run(capsys, "--words", WORDS, tmp_path / "data", DECODE, tmp_path / "out")
    assert score_stm(tmp_path / "out/ref.stm", tmp_path / "out/hyp.ctm").total == golden
    assert {word.recording for word in kaldi.read_ctm(tmp_path / "out/hyp.ctm")} == set(begins)


@pytest.fixture
def decode(tmp_path):
    """A directory that a rescoring could have left."""
    folder = tmp_path / "rescored"
    folder.mkdir()
    (folder / "text").write_text("s-1 one <noise> three\ns-2\n")
    return folder


def data_dir(tmp_path, text):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "utt2spk").write_text("s-1 s\ns-2 s\ns-3 s\n")
    (folder / "text").write_text(text)
    return folder


def test_the_transcripts_of_a_rescoring(tmp_path, capsys, decode):
    data = data_dir(tmp_path, "s-1 <noise> two three\ns-2 four\ns-3 five six\n")
    said = run(capsys, data, decode, tmp_path / "out", status=1)
    assert said.out == f"{tmp_path / 'out'}: 3 utterances, 1 without a transcript, 0 failed\n"
    assert said.err == f"s-3\tno transcript in {decode}; written as an empty one\n"
    assert (tmp_path / "out/hyp.trn").read_text() == "one <noise> three (s-1)\n(s-2)\n(s-3)\n"
    total = score_trn(tmp_path / "out/ref.trn", tmp_path / "out/hyp.trn").total
    counts = errors_by_utterance(kaldi.read_table(data / "text"), kaldi.read_table(decode / "text"), rule=SCLITE)
    counted = ErrorCount.total(counts.values())
    assert (total.insertions, total.deletions, total.substitutions) == (1, 4, 0)
    assert (total.errors, total.reference_words) == (counted.errors, counted.reference_words)


@pytest.mark.parametrize("text", ["", "other-1 one\n"])
def test_transcripts_of_another_set(tmp_path, capsys, text):
    data = data_dir(tmp_path, "s-1 one\n")
    decode = tmp_path / "other"
    decode.mkdir()
    (decode / "text").write_text(text)
    assert "no transcript of" in run(capsys, data, decode, tmp_path / "out", status=1).err
    assert not (tmp_path / "out").exists()


def test_one_word_that_sclite_would_not_read(tmp_path, capsys, decode):
    data = data_dir(tmp_path, "s-1 one {\ns-2 four\ns-3 a;b\n")
    said = run(capsys, data, decode, tmp_path / "out", status=1)
    assert "1 utterances, 0 without a transcript, 2 failed" in said.out
    assert "s-1\tthe word '{' means something else in sclite's files" in said.err
    assert (tmp_path / "out/ref.trn").read_text() == "four (s-2)\n"


def test_lattices_that_do_not_fit_the_transcripts(tmp_path, capsys):
    for path in DECODE.iterdir():
        if path.name.startswith(("lat.", "num_jobs")):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    texts = kaldi.read_table(GOLDENS / "scoring/mini_dev.hyp.7.1.0.txt")
    kaldi.write_table(tmp_path / "text", texts)
    out = tmp_path / "out"
    assert "is not the transcript; give the weights" in run(capsys, "--words", WORDS, DATA, tmp_path, out, status=1).err
    point = ["--inv-acwt", 7, "--word-ins-penalty", 1]
    run(capsys, "--words", WORDS, *point, DATA, tmp_path, out)
    timed = score_stm(out / "ref.stm", out / "hyp.ctm").total
    assert timed == score_trn(out / "ref.trn", out / "hyp.trn").total


def test_without_references_or_transcripts(tmp_path, capsys):
    assert "no text, expected transcripts" in run(capsys, DATA, DECODE, tmp_path, status=1).err
    (tmp_path / "utt2spk").write_text("s-1 s\n")
    assert "no text, expected references" in run(capsys, tmp_path, DECODE, tmp_path / "out", status=1).err


def test_outputs_are_no_inputs(tmp_path, capsys, decode):
    data = data_dir(tmp_path, "s-1 one\n")
    (tmp_path / "data/text").rename(tmp_path / "ref.trn")
    (tmp_path / "data/text").symlink_to(tmp_path / "ref.trn")
    assert "is an input" in run(capsys, data, decode, tmp_path, status=2).err
