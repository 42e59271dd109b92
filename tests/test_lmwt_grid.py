"""The grids of LMWTs that users write, their points and the names of their files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.errors import UsageError
from asr_rescore.lattice import scale
from asr_rescore.nbest import ACOUSTIC, GRAPH, NBest
from asr_rescore.ranking import OperatingPoint, Weights
from asr_rescore.report import SystemReport
from asr_rescore.rescoring.config import ListConfig
from asr_rescore.rescoring.lmwt_grid import grid_beyond, lmwt_grid
from asr_rescore.rescoring.tuning_signs import tuning_warnings
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.tuning import tune


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7:17", range(7, 18)),
        ("0.7:1.5:0.1", [0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5]),  # 0.7 + 8 · 0.1 in binary is 1.5000000000000002
        ("1:2:0.3", [1, 1.3, 1.6, 1.9]),
        ("7:7", [7]),
        ("12", [12]),
        ("12.5,8,8.0", [8, 12.5]),
        ("0.5:2", [0.5, 1.5]),
    ],
)
def test_sums_are_decimal(text, values):
    assert lmwt_grid(text) == tuple(values)
    assert ListConfig(lmwt=text).lmwts == tuple(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7:x", "expected first:last such as 7:17"),
        ("7:9:1:1", "expected first:last"),
        ("7,", "expected first:last"),
        ("17:7", "begins above its end"),
        ("0:7", "`lmwt` is 0.0, expected 0.001 or more"),
        ("1:2:-1", "expected a number above 0"),
        ("1:2:0", "expected a number above 0"),
        ("nan", "expected 0.001 to 1000"),
        ("1:inf", "expected 0.001 to 1000"),
        ("1e-999999", "expected 0.001 or more"),
        ("0." + "1" * 30, "expected first:last"),
        ("1:1000:0.001", "999001 LMWTs, expected at most 1000"),
    ],
)
def test_what_is_no_grid_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        ListConfig(lmwt=text)


def test_the_grid_replaces_both_bounds():
    with pytest.raises(UsageError, match="`lmwt` replaces `min_lmwt` and `max_lmwt`"):
        ListConfig(lmwt="7:17", min_lmwt=1)


@pytest.mark.parametrize(
    ("grid", "below", "beyond"),
    [
        ("7:17", True, "1:7"),
        ("7:17", False, "17:27"),
        ("0.7:1.5:0.1", True, "0.1:0.7:0.1"),
        ("0.7:1.5:0.1", False, "1.5:2.3:0.1"),
        ("7:12:0.5", False, "12:17:0.5"),
        ("10,20", False, "20:30:10"),
        ("1:3", True, "0.8:1:0.1"),
        ("0.002:0.01:0.002", True, "0.0012:0.002:0.0002"),
        ("900:990:10", False, "990:1000:10"),
        ("100:900:400", False, "900:1000:100"),
        ("3,5", True, "1:3:2"),
        # Narrower than 7:17.
        ("7:9", False, "7:19"),
        ("7:9", True, "1:17"),
        ("9:11", True, "1:17"),
        ("1:3", False, "3:17"),
        ("20:22", True, "7:20"),
        ("20:22", False, "22:32"),
        ("3:5", True, "1:3"),
        ("995:998", False, "998:1000"),
    ],
)
def test_the_grid_beyond(grid, below, beyond):
    assert grid_beyond(lmwt_grid(grid), below=below) == beyond


@given(st.lists(st.integers(2, 999_999), min_size=2, max_size=8, unique=True), st.booleans())
def test_the_grid_beyond_is_one_and_goes_beyond(thousandths, below):
    grid = sorted(number / 1000 for number in thousandths)
    beyond = lmwt_grid(grid_beyond(grid, below=below))
    assert len(beyond) >= 2
    if below:
        assert beyond[0] < grid[0]
    else:
        assert beyond[0] <= grid[-1] < beyond[-1]


@pytest.mark.parametrize(
    ("point", "names"),
    [
        (OperatingPoint(12.0, 0.5), ("12", "0.5")),
        (OperatingPoint(0.7, 0), ("0.7", "0.0")),
        (OperatingPoint(10.1234567, 1), ("10.1234567", "1.0")),  # not that of 10.1235
        (OperatingPoint(1000, -0.5), ("1000", "-0.5")),
    ],
)
def test_numbers_in_file_names(point, names):
    assert point.names == names


def test_the_middle_of_a_plateau_does_not_depend_on_the_scale_of_the_acoustic_costs():
    """b is right, and the cheapest for 10 < LMWT < 19.05, or with a tenth of the acoustic costs for 1.1 to 1.9."""

    def chosen(factor: float, grid: str) -> OperatingPoint:
        acoustic = np.array([0.0, 10.0, 30.0]) * factor
        nbest = NBest("u", (("a",), ("b",), ("c",)), {ACOUSTIC: acoustic, GRAPH: np.array([2.1, 1.1, 0.05])})
        points = [OperatingPoint(lmwt, wip) for wip in (0.0, 0.5, 1.0) for lmwt in lmwt_grid(grid)]
        return tune([nbest], {"u": ["b"]}, 0, points).weights.point

    assert chosen(1, "7:27") == OperatingPoint(15, 0.5)
    assert chosen(0.1, "0.7:2.7:0.1") == OperatingPoint(1.5, 0.5)


def test_the_edge_says_which_grid_to_try():
    def text(lmwt: float, grid: str) -> str:
        chosen = ChosenWeights(Weights((0.5,), OperatingPoint(lmwt)), OperatingPoint(1.01), "tuned", ("a",))
        points = [OperatingPoint(value) for value in lmwt_grid(grid)]
        return next(w.text for w in tuning_warnings(chosen, points, ["x"]) if w.code == "lmwt_edge")

    assert text(7, "7:17").endswith(
        "lie beyond: try `lmwt` 1:7; if the acoustic costs of a chain model were not multiplied by 10 after decoding "
        "(post-decode-acwt), try `inv_acwt` 1 and `lmwt` 0.5:2:0.1"
    )
    assert text(17, "7:17").endswith("lie beyond: try `lmwt` 17:27")
    assert text(0.7, "0.7:1.5:0.1").endswith("lie beyond: try `lmwt` 0.1:0.7:0.1")
    assert text(1, "1:3").endswith("lie beyond: try `lmwt` 0.8:1:0.1")
    with pytest.raises(StopIteration):
        text(1000, "990:1000:5")  # there is no LMWT beyond


@pytest.fixture
def unscaled(decode, tmp_path):
    """The lattices with a tenth of their acoustic costs, as a chain model leaves them that nobody scaled by 10."""
    folder = tmp_path / "unscaled"
    for job in (1, 2):
        entries = kaldi.read_lattices(decode / f"lat.{job}.gz")
        kaldi.write_lattices(folder / f"lat.{job}.gz", ((utt, scale(lattice, 1.0, 0.1)) for utt, lattice in entries))
    kaldi.write_num_jobs(folder, 2)
    return folder


def test_lattices_of_a_chain_model(rescore, unscaled, capsys):
    """A tenth of the acoustic costs at a tenth of the LMWT give the same hypotheses and the same errors."""
    status, tenth = rescore("--tune", "--inv-acwt", 1.2, "--lmwt", "0.7:1.7:0.1", decode=unscaled, out="tenth")
    assert status == 0
    status, whole = rescore("--tune", out="whole")
    assert status == 0
    assert {path.name for path in tenth.glob("wer_*_0.0")} == {
        f"wer_{lmwt}_0.0" for lmwt in ("0.7", "0.8", "0.9", "1", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7")
    }
    for lmwt, small in ((7, "0.7"), (10, "1"), (17, "1.7")):
        assert (tenth / f"wer_{small}_0.5").read_text() == (whole / f"wer_{lmwt}_0.5").read_text()
    reports = [SystemReport.load(out) for out in (tenth, whole)]
    assert reports[0].total.errors == reports[1].total.errors
    assert reports[0].lm_weights == reports[1].lm_weights
    status, frozen = rescore("--weights", tenth, "--lmwt", "0.7:1.7:0.1", decode=unscaled, out="frozen")
    assert status == 0
    assert SystemReport.load(frozen).point == reports[0].point
    assert sorted(path.name for path in frozen.glob("wer_*")) == sorted(path.name for path in tenth.glob("wer_*"))


def test_the_default_grid_misses_them_and_says_so(rescore, unscaled, capsys):
    assert rescore("--tune", decode=unscaled)[0] == 0
    assert "try --inv-acwt 1 and --lmwt 0.5:2:0.1" in capsys.readouterr().err


def test_a_wrong_grid_is_wrong_usage(rescore, capsys):
    assert rescore("--tune", "--lmwt", "7:17:x")[0] == 2
    assert "--lmwt is '7:17:x', expected first:last" in capsys.readouterr().err
    assert main(["rescore_nbest", "--tune", "--lmwt", "8,9", "--max-lmwt", "9", *"abcde"]) == 2
