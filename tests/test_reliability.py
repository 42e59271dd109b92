"""Confidences of a ctm against what was said."""

from __future__ import annotations

import pytest

from asr_rescore.errors import RescoreError
from asr_rescore.report import Experiment, to_html
from asr_rescore.report.reliability import Reliability, read_reliability
from made_reports import Page, out_dir

REFERENCES = {"u": ["a", "b", "c"], "v": ["d"]}


def ctm(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "ctm").write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_by_hand(tmp_path):
    # a is right; x was inserted; c is right; e stands for d. b was deleted, which no confidence tells.
    out = ctm(tmp_path / "out", "u 1 0.0 0.1 a 0.95", "u 1 0.1 0.1 x 0.42", "u 1 0.2 0.1 c 1.0", "v 1 0 0.1 e 0.45")
    found = read_reliability(out, {"u": ["a", "c"], "v": ["d"]})
    assert found == Reliability((pytest.approx(0.435), pytest.approx(0.975)), (0.0, 1.0), (2, 2))
    assert found.calibration_error == pytest.approx((2 * 0.435 + 2 * 0.025) / 4)


def test_nothing_without_a_ctm_or_without_confidences(tmp_path):
    assert read_reliability(tmp_path, REFERENCES) is None
    assert read_reliability(ctm(tmp_path / "out", "u 1 0.0 0.1 a"), REFERENCES) is None


def test_a_ctm_of_whole_recordings_is_refused(tmp_path):
    with pytest.raises(RescoreError, match="meeting is not an utterance that was scored.*`data_dir`"):
        read_reliability(ctm(tmp_path / "out", "meeting 1 0.0 0.1 a 0.9"), REFERENCES)


def test_the_page_shows_them_or_says_why_not(tmp_path):
    said = {"u": "a b c", "v": "d"}
    out = out_dir(tmp_path / "lm/decode_tg_eval", said, said, said)
    assert "Confidences." not in Page(to_html(Experiment.read([out]))).root.text
    ctm(out, "u 1 0.0 0.1 a 0.9", "v 1 0.0 0.1 e 0.3")
    assert "Confidences." in Page(to_html(Experiment.read([out]))).root.text
    ctm(out, "meeting 1 0.0 0.1 a 0.9")
    text = Page(to_html(Experiment.read([out]))).root.text
    assert "Confidences." not in text
    assert "meeting is not an utterance that was scored, so confidences are not shown" in text
    assert "make it without --data-dir" in text
