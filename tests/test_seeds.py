"""Systems that are the same model with several seeds, found by how their models were trained."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from asr_rescore.errors import InputError
from asr_rescore.report import Experiment, LmFacts, SystemReport, to_html
from asr_rescore.report.exports import to_json, to_latex, to_markdown
from asr_rescore.report.seeds import Spread, Training, read_training
from asr_rescore.report.summary import to_summary
from made_reports import FROZEN, Page, errors, report


def trained(folder: Path, seed: int | None, **changes) -> Path:
    """The directory of a model."""
    facts = {
        "version": "1",
        "seed": seed,
        "config": {"train": {"lr": 1}},
        "train": "hash",
        "valid_ppl": 60.0 + (seed or 0),
    }
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({**facts, **changes}))
    (folder / "log.jsonl").write_text("")
    return folder


def rescored(lm_dir: Path, wrong: tuple[int, ...], name="decode_tg_eval", **changes) -> Path:
    """The output directory of a rescoring with one model."""
    lms = (LmFacts(lm_dir.name, "0123456789abcdef", 1000, 60.0),)
    facts = {**FROZEN, "lms": lms, "rescored": errors(*wrong), "failures": {}, **changes}
    out: SystemReport = report(changes.get("system", lm_dir.name), name, **facts)
    (lm_dir / name).mkdir()
    out.save(lm_dir / name)
    return lm_dir / name


def test_a_spread_by_hand():
    spread = Spread((10.0, 11.0, 12.0))
    assert (spread.mean, spread.deviation) == (11.0, 1.0)
    assert spread.half == pytest.approx(4.302653 / 3**0.5)
    rates = tuple(float(k % 7) for k in range(50))
    assert Spread(rates).deviation == pytest.approx(statistics.stdev(rates))
    assert Spread(rates).half == pytest.approx(2.009575 * statistics.stdev(rates) / 50**0.5)


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    """Three seeds of one model, one of which was not run on dev; another model; and one of unknown origin."""
    dirs = [
        rescored(trained(tmp_path / "teacher_1", 1, version="0"), (1, 0, 0)),
        rescored(trained(tmp_path / "teacher_2", 2), (1, 1, 0)),
        rescored(trained(tmp_path / "teacher_3", 3), (1, 1, 1)),
        rescored(trained(tmp_path / "other_1", 1, config={"train": {"lr": 2}}), (1, 0, 0)),
        rescored(trained(tmp_path / "unknown", None), (1, 0, 0)),
    ]
    dirs += [
        rescored(tmp_path / f"teacher_{seed}", (1, 0, 0), "decode_tg_dev", source="tuned on data/dev", tuned_here=True)
        for seed in (1, 2)
    ]
    return Experiment.read(dirs)


def test_only_models_that_differ_in_nothing_but_the_seed_are_together(experiment):
    [group] = experiment.seeds
    assert (group.name, group.systems, group.seeds) == ("teacher", ("teacher_1", "teacher_2", "teacher_3"), (1, 2, 3))
    [(where, spread)] = group.spreads.items()
    assert where.data == "eval", "not all were run on dev"
    assert spread.rates == pytest.approx((100 / 30, 200 / 30, 10.0))


def test_every_view_shows_the_spread(experiment):
    mean = "6.67 ± 8.28"
    assert f"teacher, 3 seeds: decode_tg_eval {mean}, standard deviation 3.33, 3.33 to 10.00" in to_summary(experiment)
    assert mean in to_markdown(experiment)
    [_, _, seeds] = to_latex(experiment).split("\\begin{tabular}")
    assert "teacher & 1, 2, 3 & 6.67 $\\pm$ 8.28 \\\\\n" in seeds
    assert seeds.endswith("\\bottomrule\n\\end{tabular}\n")
    [entry] = json.loads(to_json(experiment))["seeds"]
    assert (entry["name"], entry["mean"]) == ("teacher", pytest.approx(20 / 3))
    [header, row] = Page(to_html(experiment)).root.one("table", id="seeds").rows()
    assert row[:2] == ["teacher", "1, 2, 3"]
    assert row[header.index("eval: decode_tg_eval")] == "6.67 ± 8.28, SD 3.33 3.33 to 10.00"
    assert row[header.index("dev: decode_tg_dev")] == "–"


def test_rates_on_the_set_that_weights_were_tuned_on_have_a_star(tmp_path):
    dirs = [
        rescored(trained(tmp_path / f"lm_{seed}", seed), (1, 0, 0), "decode_tg_dev", tuned_here=True) for seed in (1, 2)
    ]
    [group] = Experiment.read(dirs).seeds
    [where] = group.spreads
    assert group.text(where).startswith("3.33* ± 0.00, ")


def test_equal_seeds_or_searches_are_no_group(tmp_path):
    dirs = [rescored(trained(tmp_path / f"lm_{number}", 1), (1, 0, 0)) for number in (1, 2)]
    assert Experiment.read(dirs).seeds == []
    dirs.append(rescored(trained(tmp_path / "lm_3", 2), (1, 0, 0), search="N 10"))
    assert Experiment.read(dirs).seeds == []


def test_seeds_of_which_only_the_folders_have_other_names_are_a_group(tmp_path):
    dirs = []
    for seed, digest in ((1, "ab"), (2, "cd")):
        lms = (LmFacts("lm", digest, 1000, 60.0),)
        dirs.append(rescored(trained(tmp_path / f"seed{seed}/lm", seed), (1, 0, 0), lms=lms))
    [group] = Experiment.read(dirs).seeds
    assert (group.name, group.systems, group.seeds) == ("lm", ("seed1/lm", "seed2/lm"), (1, 2))


def test_how_a_model_was_trained(tmp_path):
    assert read_training(tmp_path) is None
    one = read_training(trained(tmp_path / "a", 5))
    assert one == Training(5, read_training(trained(tmp_path / "b", 6)).recipe)
    assert read_training(trained(tmp_path / "c", 5, train="other")).recipe != one.recipe
    (tmp_path / "a/provenance.json").write_text("{")
    with pytest.raises(InputError, match="provenance"):
        read_training(tmp_path / "a")
