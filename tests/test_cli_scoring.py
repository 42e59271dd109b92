"""score_wer and report, through the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from asr_rescore.cli.main import main
from asr_rescore.kaldi import DataDir, write_data_dir
from conftest import ROOT

GOLDENS = Path(__file__).parent / "goldens" / "scoring"
DETAILS = ("per_utt", "per_spk", "ops", "wer_bootci")


def mini_dev(lmwt: int, wip: float) -> list[str]:
    return [str(GOLDENS / "mini_dev.ref.txt"), str(GOLDENS / f"mini_dev.hyp.{lmwt}.{wip}.txt")]


def table(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.mark.parametrize("options", [[], ["--mode", "present"]])
def test_a_whole_set_is_scored_silently(options, capsys):
    assert main(["score_wer", *options, *mini_dev(12, 1.0)]) == 0
    assert capsys.readouterr() == ((GOLDENS / "mini_dev.wer_12_1.0").read_text(), "")


@pytest.mark.parametrize("mode", ["all", "present"])
def test_missing_hypotheses_are_scored_by_mode_and_named(mode, capsys):
    assert main(["score_wer", "--mode", mode, str(GOLDENS / "ref.txt"), str(GOLDENS / "hyp.txt")]) == 1
    printed = capsys.readouterr()
    assert printed.out == (GOLDENS / f"wer.{mode}").read_text()
    assert printed.err == f"{GOLDENS / 'hyp.txt'}: no hypothesis for utt7\n"


def test_a_hypothesis_without_reference_is_named_and_not_scored(tmp_path, capsys):
    reference, hypothesis = table(tmp_path / "ref", "u1 a b"), table(tmp_path / "hyp", "u1 a b", "u2 c")
    assert main(["score_wer", reference, hypothesis]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("%WER 0.00 [ 0 / 2, 0 ins, 0 del, 0 sub ]\n")
    assert printed.err == f"{reference}: no reference for u2, which is not scored\n"


@pytest.mark.parametrize(
    ("said", "warned"),
    [("u1 THE CAT SAT", True), ("u1 DOG RAN", False), ("u1 THE CAT the cat sat", False)],
)
def test_references_in_another_case_are_warned_of(tmp_path, capsys, said, warned):
    reference, hypothesis = table(tmp_path / "ref", said), table(tmp_path / "hyp", "u1 the cat sat")
    assert main(["score_wer", reference, hypothesis]) == 0
    warning = (
        f"{reference}: warning: 3 of 3 words of the hypotheses are in the references only in upper case; write the "
        "references in lower case (sed 's/[[:blank:]].*/\\L&/')\n"
    )
    assert capsys.readouterr().err == warning * warned


@pytest.mark.parametrize("options", [[], ["--cer"]])
def test_references_with_alternatives_of_sclite_are_warned_of_once(tmp_path, capsys, options):
    lines = ["u1 the cat { sat / { sits / is } down } on", "u2 { are not / aren't } he- (uh)", "u3 { a / @ }", "u4 a"]
    reference = table(tmp_path / "ref", *lines)
    hypothesis = table(tmp_path / "hyp", "u1 the cat sat on", "u2 are not he-", "u3 a", "u4 a")
    assert main(["score_wer", *options, reference, hypothesis]) == 0
    [warning] = capsys.readouterr().err.splitlines()
    found = f"{reference}: warning: alternatives as sclite has them in 3 of 4 references, for example {{ sits / is }}; "
    assert warning.startswith(found)
    assert "--format trn" in warning


@pytest.mark.parametrize(
    "line", ["u (laughter) <noise> [noise] he- and/or @", "u { brace } / a", "u { / }", "u a / b", "u {a/b} 1 / 2 }"]
)
def test_other_words_with_marks_are_not_warned_of(tmp_path, capsys, line):
    reference = table(tmp_path / "ref", line)
    assert main(["score_wer", reference, reference]) == 0
    assert capsys.readouterr().err == ""


def test_a_trn_is_not_warned_of(tmp_path, capsys):
    """The same sentences as a trn, as the warning says."""
    reference = table(tmp_path / "ref.txt", "the cat { sat / sits } (ann-1)")
    hypothesis = table(tmp_path / "hyp.txt", "the cat sits (ann-1)")
    assert main(["score_wer", "--format", "trn", reference, hypothesis]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("%WER 0.00 [ 0 / 3, ")
    assert printed.err == ""


def test_details_by_speaker(tmp_path, capsys):
    reference, hypothesis = table(tmp_path / "ref", "u1 a b", "u2 c"), table(tmp_path / "hyp", "u1 a", "u2 c")
    write_data_dir(tmp_path / "data", DataDir({"u1": "mary", "u2": "mary"}))
    arguments = ["score_wer", "--details-dir", str(tmp_path / "details"), reference, hypothesis]
    assert main(arguments) == 0
    assert "mary" not in (tmp_path / "details/per_spk").read_text()
    assert main([*arguments[:3], "--data-dir", str(tmp_path / "data"), *arguments[3:]]) == 0
    lines = (tmp_path / "details/per_spk").read_text().splitlines()
    assert lines[1].split() == ["mary", "raw", "2", "3", "2", "0", "0", "1", "1", "1"]
    assert {path.name for path in (tmp_path / "details").iterdir()} == set(DETAILS)


def test_details_follow_the_mode(tmp_path, capsys):
    arguments = ["score_wer", "--mode", "present", "--details-dir", str(tmp_path)]
    main([*arguments, str(GOLDENS / "ref.txt"), str(GOLDENS / "hyp.txt")])
    total = (tmp_path / "per_spk").read_text().splitlines()[-1].split()
    assert total[:4] == ["SUM", "sys", "6", "23"]
    assert "52.17" in total


def test_speakers_without_a_details_dir_are_wrong_usage(tmp_path, capsys):
    assert main(["score_wer", "--data-dir", str(tmp_path), *mini_dev(12, 1.0)]) == 2
    assert "--details-dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "message"),
    [(["u1 a", "u1 b"], "line 2"), ([" a b"], "line 1")],
    ids=["an id twice", "no id"],
)
def test_a_broken_file_is_refused_by_line(tmp_path, capsys, lines, message):
    broken = table(tmp_path / "hyp", *lines)
    assert main(["score_wer", str(GOLDENS / "ref.txt"), broken]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{broken}: {message}" in printed.err


def test_scoring_starts_without_torch_and_without_jiwer():
    script = (
        "import sys\n"
        "from asr_rescore.cli.main import main\n"
        f"assert main(['score_wer', *{mini_dev(7, 0.0)!r}]) == 0\n"
        "assert not {'torch', 'jiwer'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
