"""The files of a scored decode directory, compared with Kaldi's, and the bootstrap with compute-wer-bootci."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from asr_rescore.errors import RescoreError
from asr_rescore.kaldi import read_table
from asr_rescore.ranking import OperatingPoint
from asr_rescore.report import write_details, write_scoring
from asr_rescore.statistics.bootstrap import PairedBootstrap, confidence
from asr_rescore.word_errors import ErrorCount, errors_by_utterance

GOLDENS = Path(__file__).parent / "goldens" / "scoring"
POINTS = [OperatingPoint(lmwt, wip) for wip in (0.0, 1.0) for lmwt in (7, 12, 17)]


def hypotheses(point: OperatingPoint) -> dict[str, list[str]]:
    return read_table(GOLDENS / f"mini_dev.hyp.{point.lmwt}.{point.wip}.txt")


@pytest.fixture(scope="module")
def references() -> dict[str, list[str]]:
    return read_table(GOLDENS / "mini_dev.ref.txt")


@pytest.fixture(scope="module")
def scored(references, tmp_path_factory):
    """A decode directory scored at six points, and the errors that were returned."""
    folder = tmp_path_factory.mktemp("decode")
    speakers = {utt: utt.split("-")[0] for utt in references}
    texts = {point: hypotheses(point) for point in POINTS}
    return folder, write_scoring(folder, references, texts, speakers, OperatingPoint(12, 1.0))


def test_each_point_has_kaldis_files(scored):
    folder, counts = scored
    assert list(counts) == POINTS
    for point in POINTS:
        name = f"{point.lmwt}_{point.wip}"
        assert (folder / f"wer_{name}").read_text() == (GOLDENS / f"mini_dev.wer_{name}").read_text()
        written = read_table(folder / f"scoring_kaldi/penalty_{point.wip}/{point.lmwt}.txt")
        assert written == hypotheses(point)


def test_best_wer_is_the_line_and_the_path_of_the_least(scored):
    folder, counts = scored
    least = min(count.errors for count in counts.values())
    line = (folder / "scoring_kaldi/best_wer").read_text()
    assert line == f"{counts[OperatingPoint(12, 1.0)].wer_line()} {folder}/wer_12_1.0\n"
    assert f"[ {least} / 1721," in line


@pytest.mark.parametrize(
    ("lmwt", "wip", "name"), [(12.0, 0.5, "wer_12_0.5"), (12.5, 0.0, "wer_12.5_0.0"), (9, 1, "wer_9_1.0")]
)
def test_numbers_in_file_names_are_kaldis(tmp_path, lmwt, wip, name):
    point = OperatingPoint(lmwt, wip)
    write_scoring(tmp_path, {"u": ["a"]}, {point: {"u": ["a"]}}, {}, point)
    assert (tmp_path / name).exists()


def test_of_equals_the_least_penalty_and_weight_is_best(tmp_path):
    texts = {OperatingPoint(lmwt, wip): {"u": ["a"]} for wip in (1.0, 0.0) for lmwt in (12, 7)}
    write_scoring(tmp_path, {"u": ["a"]}, texts, {}, OperatingPoint(12, 1.0))
    assert (tmp_path / "scoring_kaldi/best_wer").read_text().endswith("/wer_7_0.0\n")


@pytest.fixture
def details(tmp_path):
    """Detail files of the odd cases, by name."""

    def write(mode="all", speakers=None):
        write_details(tmp_path, read_table(GOLDENS / "ref.txt"), read_table(GOLDENS / "hyp.txt"), speakers or {}, mode)
        return {path.name: path.read_text() for path in tmp_path.iterdir()}

    return write


def test_per_utt_as_kaldis_script_writes_it(details):
    assert details()["per_utt"] == (GOLDENS / "per_utt").read_text()


def test_ops_count_what_per_utt_shows(details):
    files = details()
    seen: dict[tuple[str, ...], int] = {}
    rows = [line.split()[2:] for line in files["per_utt"].splitlines()]
    for said, heard, marks, _ in zip(*[iter(rows)] * 4, strict=True):
        for key in zip(marks, said, heard, strict=True):
            seen[key] = seen.get(key, 0) + 1
    ops = [line.split() for line in files["ops"].splitlines()]
    assert {(name[0].upper(), said, heard): int(count) for name, said, heard, count in ops} == seen
    assert ops == sorted(ops, key=lambda row: (row[0], -int(row[3]), row[1], row[2]))
    assert len({len(line) for line in files["ops"].splitlines()}) == 1, "columns are aligned"


def test_per_spk_sums_to_the_wer_line(details):
    speakers = {"utt1": "mary", "utt2": "mary", "utt4": "a-speaker-with-a-long-name"}
    lines = details(speakers=speakers)["per_spk"].splitlines()
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    header, *rows = (line.split() for line in lines)
    assert header == ["SPEAKER", "id", "#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err"]
    # #csid of utt1 and utt2 are 5 1 0 0 and 3 0 1 1.
    assert ["mary", "raw", "2", "10", "8", "1", "1", "1", "3", "2"] in rows
    assert ["mary", "sys", "2", "10", "80.00", "10.00", "10.00", "10.00", "30.00", "100.00"] in rows
    # Nothing was said, so there is no percentage.
    assert [row[1] for row in rows if row[0] == "a-speaker-with-a-long-name"] == ["raw"]
    assert rows[-2][:4] + rows[-2][8:] == ["SUM", "raw", "7", "26", "15", "7"]  # wer.all
    assert details("present")["per_spk"].splitlines()[-2].split()[2:4] == ["6", "23"]  # wer.present


def test_columns_are_as_wide_as_kaldis(tmp_path):
    write_details(tmp_path, {"A-1": ["yes", "no"]}, {"A-1": ["yes", "internationalization"]}, {"A-1": "A"})
    assert (tmp_path / "per_spk").read_text() == (
        "SPEAKER         id       #SENT      #WORD       Corr        Sub        Ins        Del        Err      S.Err\n"
        "A               raw          1          2          1          1          0          0          1          1\n"
        "A               sys          1          2      50.00      50.00       0.00       0.00      50.00     100.00\n"
        "SUM             raw          1          2          1          1          0          0          1          1\n"
        "SUM             sys          1          2      50.00      50.00       0.00       0.00      50.00     100.00\n"
    )
    assert (tmp_path / "ops").read_text() == (
        "correct                    yes                 yes    1\n"
        "substitution                no    internationalization    1\n"
    )


# Significance


def bootci(name: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+", (GOLDENS / name).read_text())]


def counts_at(references, point: OperatingPoint) -> dict[str, ErrorCount]:
    return errors_by_utterance(references, hypotheses(point))


def percent_better(one: Mapping[str, ErrorCount], other: Mapping[str, ErrorCount]) -> float:
    """The share of replications in which ``one`` makes fewer errors, in percent; ties count half."""
    return PairedBootstrap({"one": one, "other": other}).gain("one", "other").probability


def test_confidence_as_compute_wer_bootci(references):
    rate, half = confidence(list(counts_at(references, OperatingPoint(12, 1.0)).values()))
    assert [rate, rate - half, rate + half] == pytest.approx(bootci("bootci"), abs=0.06)


def test_comparison_as_compute_wer_bootci(references):
    worse, better = (counts_at(references, point) for point in (OperatingPoint(7, 0.0), OperatingPoint(12, 1.0)))
    rate, half = confidence(list(worse.values()))
    golden = bootci("bootci.compare")
    assert [rate, rate - half, rate + half] == pytest.approx(golden[:3], abs=0.08)
    assert percent_better(better, worse) == pytest.approx(golden[-1], abs=0.05)
    assert percent_better(worse, better) == pytest.approx(100 - golden[-1], abs=0.05)


def test_no_system_improves_on_itself(references):
    same = counts_at(references, OperatingPoint(12, 1.0))
    assert percent_better(same, same) == 50


def test_pairs_are_by_id(references):
    better = counts_at(references, OperatingPoint(12, 1.0))
    worse = counts_at(references, OperatingPoint(7, 0.0))
    turned = dict(reversed(worse.items()))
    assert percent_better(better, turned) == percent_better(better, worse)


@pytest.mark.parametrize(("one", "other"), [(["u1"], ["u2"]), ([], [])], ids=["other utterances", "none"])
def test_only_the_same_utterances_are_compared(one, other):
    with pytest.raises(RescoreError, match="same utterances"):
        percent_better({utt: ErrorCount() for utt in one}, {utt: ErrorCount() for utt in other})


def test_without_words_there_is_no_confidence():
    assert all(number != number for number in confidence([ErrorCount(sentences=1)]))
    # Some replications draw the silent utterance only; they have no rate, and do not spoil that of the others.
    rate, half = confidence([ErrorCount(sentences=1), ErrorCount(0, 1, 0, 2, 1, 1)])
    assert (rate, half) == (50, 0)
