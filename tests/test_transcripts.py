"""Transcripts in the output directories of real rescorings, also of earlier versions, and what a report keeps."""

from __future__ import annotations

import json

import pytest

from asr_rescore import kaldi
from asr_rescore.errors import InputError
from asr_rescore.report import FIRST_PASS_FILE, Experiment, SystemReport
from asr_rescore.report.training_curve import TrainingCurve
from asr_rescore.report.transcripts import REFERENCES, Transcripts
from made_reports import out_dir, report


def transcripts(out) -> Transcripts:
    return Experiment.read([out]).transcripts


def test_a_rescoring_leaves_all_that_the_page_shows(rescore, data):
    status, out = rescore("--lm-weight", 0.5, "--n", 20)
    assert status == 0
    found = transcripts(out)
    assert found.missing == []
    [references] = found.references.values()
    assert references == kaldi.read_data_dir(data).text
    [first_pass] = found.first_pass.values()
    assert first_pass == kaldi.read_table(out / "scoring_kaldi" / FIRST_PASS_FILE)
    [rescored] = found.rescored.values()
    assert rescored == kaldi.read_table(out / "text")
    assert SystemReport.load(out).speakers == kaldi.read_data_dir(data).utt2spk

    # An earlier version left neither of these files: the references are in wer_details, the first pass in the lists.
    for name in (FIRST_PASS_FILE, REFERENCES):
        (out / "scoring_kaldi" / name).unlink()
    assert transcripts(out) == found

    # What was made anew, or by hand, is not what the report counts.
    lmwt, wip = SystemReport.load(out).point.names
    (out / "scoring_kaldi" / f"penalty_{wip}" / f"{lmwt}.txt").write_text("")
    [line] = transcripts(out).missing
    assert line.endswith("are not those that report.json counts; rescore again")


def test_the_first_pass_may_be_found_with_another_system(tmp_path):
    texts = ({"u": "a b"}, {"u": "a x"}, {"u": "a b"})
    one = out_dir(tmp_path / "one/decode_tg_eval", *texts)
    other = out_dir(tmp_path / "other/decode_tg_eval", *texts)
    (one / "scoring_kaldi" / FIRST_PASS_FILE).unlink()
    found = Experiment.read([one, other]).transcripts
    assert found.missing == []
    assert list(found.first_pass.values()) == [{"u": ["a", "x"]}] * 2
    (other / "scoring_kaldi" / FIRST_PASS_FILE).unlink()
    found = Experiment.read([one, other]).transcripts
    assert found.first_pass == {}
    assert all("no transcripts of the first pass: found neither" in line for line in found.missing)
    assert len(found.rescored) == 2, "the others are shown"


def test_reports_of_earlier_versions_have_no_speakers(tmp_path):
    report(speakers={"utt0": "ann"}).save(tmp_path)
    assert SystemReport.load(tmp_path).speakers == {"utt0": "ann"}
    tree = json.loads((tmp_path / "report.json").read_text())
    del tree["speakers"]
    (tmp_path / "report.json").write_text(json.dumps(tree))
    assert SystemReport.load(tmp_path).speakers == {}


def test_a_single_speaker_or_an_unknown_one_is_not_resampled(tmp_path):
    texts = ({"u": "a", "v": "b"}, {"u": "x", "v": "b"}, {"u": "a", "v": "b"})
    for name, speakers in {"one": {"u": "ann", "v": "ann"}, "unknown": {"u": "ann"}}.items():
        out = out_dir(tmp_path / f"{name}/decode_tg_eval", *texts, speakers=speakers)
        assert Experiment.read([out]).verdict.by_speaker is None


def test_a_training_log_is_read_and_a_damaged_one_named(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"epoch": 0.5, "train_loss": 4.0}\n{"epoch": 1, "valid_ppl": 20.5}\n')
    assert TrainingCurve.read(tmp_path) == TrainingCurve(tmp_path.name, (1.0,), (20.5,), ((0.5, 4.0),))
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "valid_ppl": "x"}\n')
    out = out_dir(tmp_path / "decode_tg_eval", {"u": "a"}, {"u": "b"}, {"u": "a"})
    experiment = Experiment.read([out])
    assert (experiment.curves, len(experiment.unread)) == ((), 1), "one that was only found does not end the report"
    with pytest.raises(InputError, match=r"log\.jsonl: line 1\.valid_ppl: found 'x'"):
        Experiment.read([out], lm_dirs=[tmp_path])
    with pytest.raises(InputError, match=r"log\.jsonl: line 1\.valid_ppl: found 'x'"):
        TrainingCurve.read(tmp_path)
