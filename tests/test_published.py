"""Rows of the table that come from elsewhere."""

import pytest

from asr_rescore.errors import InputError
from asr_rescore.report import read_published
from conftest import ROOT


def rows(tmp_path, text):
    path = tmp_path / "rows.yaml"
    path.write_text(text)
    return read_published(path)


def test_rates_by_the_names_of_data_directories(tmp_path):
    (row,) = rows(tmp_path, '- {name: paper, parameters: 12M, wer: {"*dev93*": 6.30/4.13}}')
    assert (row.name, row.parameters, row.valid_ppl) == ("paper", "12M", "")
    assert [row.wer_on(data) for data in ("test_dev93_hires", "test_eval92")] == ["6.30/4.13", ""]


def test_rates_that_yaml_takes_for_numbers(tmp_path):
    (row,) = rows(tmp_path, "- {name: paper, wer: {dev: 6.30, eval: 4}}")
    assert row.wer == {"dev": "6.30", "eval": "4.00"}


def test_the_best_rates_of_kaldi(tmp_path):
    for name, rate in (("a", "5.60"), ("b", "8.1")):
        (tmp_path / name / "scoring_kaldi").mkdir(parents=True)
        line = f"%WER {rate} [ 1 / 8234, 1 ins, 0 del, 0 sub ] {name}/wer_15_0.0\n"
        (tmp_path / name / "scoring_kaldi/best_wer").write_text(line)
    (row,) = rows(tmp_path, f"- {{name: k, decode_dirs: {{dev: ['{tmp_path}/a', '{tmp_path}/b']}}}}")
    assert row.wer_on("dev") == "5.60/8.10"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name: paper", "a list"),
        ("- {name: paper}", "either wer or decode_dirs"),
        ("- {name: paper, wer: {dev: [6.3]}}", "text"),
        ("- {name: paper, wer: {dev: .nan}}", "nan"),
        ("- {name: paper, wer: {dev: -3}}", "-3"),
        ("- {name: paper, wer: {dev: yes}}", "text"),
        ("- {name: paper, wer: {}, ppl: 5}", "none but"),
        ("- {name: k, decode_dirs: {dev: [nowhere]}}", "nowhere/scoring_kaldi/best_wer"),
    ],
)
def test_damaged_rows(tmp_path, text, found):
    with pytest.raises(InputError, match=found):
        rows(tmp_path, text)


def test_a_best_wer_of_another_kind(tmp_path):
    (tmp_path / "scoring_kaldi").mkdir()
    (tmp_path / "scoring_kaldi/best_wer").write_text("%WER many\n")
    with pytest.raises(InputError, match="no %WER"):
        rows(tmp_path, f"- {{name: k, decode_dirs: {{dev: ['{tmp_path}']}}}}")


def test_the_rows_of_wsj_are_read():
    published = read_published(ROOT / "recipes/wsj/conf/wsj/published.yaml")
    assert published[0].wer_on("test_eval92") == "6.31/3.90"
