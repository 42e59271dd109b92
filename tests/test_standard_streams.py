"""``-`` for standard input and output, in pipelines as users write them."""

from __future__ import annotations

import json
import subprocess

import pytest

from asr_rescore.cli.main import main
from asr_rescore.files import rereadable
from asr_rescore.kaldi import read_ctm
from conftest import GOLDENS
from rescoring_runs import save_random_lm

SCORING = GOLDENS / "scoring"


@pytest.fixture(scope="module")
def small_lm(tmp_path_factory):
    return save_random_lm(tmp_path_factory.mktemp("lm") / "small", ["yes", "no", "yesterday"], 1)


@pytest.fixture
def shell(environment, tmp_path):
    """Run a line of bash in which ``asr-rescore`` is this checkout's."""

    def run(line, **variables):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=tmp_path,
            env={**environment, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("line", ["cat $hyp | asr-rescore score_wer $ref -", "asr-rescore score_wer - $hyp < $ref"])
def test_score_wer_reads_either_text_from_standard_input(shell, line):
    done = shell(line, ref=SCORING / "mini_dev.ref.txt", hyp=SCORING / "mini_dev.hyp.12.1.0.txt")
    assert (done.returncode, done.stdout) == (0, (SCORING / "mini_dev.wer_12_1.0").read_text())


def test_standard_input_is_read_once(capsys):
    assert main(["score_wer", "-", "-"]) == 2
    assert "more than once" in capsys.readouterr().err
    assert main(["prepare_text", "-", "-", "/nowhere"]) == 2


@pytest.mark.slow
def test_a_text_goes_from_model_to_model(shell, small_lm, tmp_path):
    """Sampled text is all that is on stdout; a pipe is read as often as needed; appending keeps what is there."""
    (tmp_path / "text").write_text("before\n")
    done = shell("asr-rescore sample_text --device cpu --sentences 30 $lm - >> text", lm=small_lm)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("/dev/stdout: ")
    lines = (tmp_path / "text").read_text().splitlines()
    assert (len(lines), lines[0]) == (31, "before")
    (tmp_path / "plain").write_text("\n".join(lines[1:]) + "\n")
    for options in ("", "--by-sentence"):
        command = f"asr-rescore compute_ppl --device cpu {options} $lm"
        read = shell(f"{command} plain", lm=small_lm)
        assert read.returncode == 0, read.stderr
        assert shell(f"cat plain | {command} -", lm=small_lm).stdout == read.stdout
        assert shell(f"{command} - < plain", lm=small_lm).stdout == read.stdout
        figures = shell(f"gzip -c plain | {command} --json - -", lm=small_lm)
        assert f"ppl {json.loads(figures.stdout)['ppl']:.2f}" in read.stdout
        assert figures.stderr == read.stdout


@pytest.mark.parametrize("options", ["", "--valid-words 20"])
def test_prepare_text_reads_a_pipe(shell, tmp_path, options):
    (tmp_path / "plain").write_text("".join(f"word{number % 7} and so on\n" for number in range(40)))
    for name, line in {"file": "plain", "pipe": "-"}.items():
        source = "" if line == "plain" else "cat plain | "
        done = shell(f"{source}asr-rescore prepare_text {options} {line} {name}")
        assert done.returncode == 0, done.stderr
    for name in ("train.txt", "valid.txt", "vocab.txt"):
        assert (tmp_path / "pipe" / name).read_text() == (tmp_path / "file" / name).read_text()


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("compute_ppl --device cpu $lm -", "error: standard input: found no sentence, expected text"),
        ("compute_ppl --device cpu --kaldi-text $lm - <<< '</s>'", "error: standard input: line 1: found </s> or <s>"),
        ("prepare_text --valid-words 1 - out <<< '</s>'", "error: standard input: line 1: found </s> or <s>"),
        ("prepare_text - out", "error: standard input: found 0 train and 0 valid sentences"),
        ("score_wer - $hyp", "\nstandard input: no reference for "),
        ("score_wer $hyp -", "\nstandard input: no hypothesis for "),
    ],
)
def test_messages_name_standard_input(shell, small_lm, command, line):
    done = shell(f"asr-rescore {command}", lm=small_lm, hyp=SCORING / "mini_dev.hyp.12.1.0.txt")
    assert done.returncode == 1
    assert line in f"\n{done.stderr}"


def test_a_ctm_goes_to_standard_output(shell, decode, lang, tmp_path):
    command = "asr-rescore lattice_to_ctm $words"
    variables = {"words": lang / "words.txt", "decode": decode}
    assert shell(f"{command} $decode out.ctm", **variables).returncode == 0
    done = shell(f"{command} $decode - > piped.ctm", **variables)
    assert done.returncode == 0
    assert (tmp_path / "piped.ctm").read_text() == (tmp_path / "out.ctm").read_text()
    assert len(list(read_ctm(tmp_path / "piped.ctm"))) > 100
    assert "word errors expected" in done.stderr
    gzipped = "zcat $decode/lat.1.gz $decode/lat.2.gz | asr-rescore lattice_to_ctm $words - - > again.ctm"
    assert shell(gzipped, **variables).returncode == 0
    assert (tmp_path / "again.ctm").read_text() == (tmp_path / "out.ctm").read_text()


def test_a_file_is_not_copied_to_be_read_again(tmp_path):
    (tmp_path / "text").write_text("a\n")
    with rereadable(tmp_path / "text") as path:
        assert path == tmp_path / "text"
