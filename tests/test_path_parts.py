"""The costs by part that a rescoring of lattices leaves, against those of lists and the totals of the lattices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from asr_rescore import kaldi, rescore
from asr_rescore.checkpoint import load_model, save_model
from asr_rescore.lattice import best_path, best_path_of
from asr_rescore.report import SystemReport
from asr_rescore.report.choice_costs import COSTS_FILE, ChoiceCosts, read_choice_costs
from asr_rescore.report.experiment import Experiment
from asr_rescore.report.utterances import COSTS, utterance_data
from asr_rescore.rescoring.config import LatticeConfig, ListConfig
from asr_rescore.rescoring.path_parts import MERGED
from lattices import lattice_of
from rescoring_runs import save_random_lm

pytestmark = pytest.mark.slow  # most rescore lattices as a whole
EXACT = LatticeConfig(order=0, beam=1000, max_arcs=10**9, allow_oov=True)
WEIGHTS = [0.35, 0.25]


@pytest.fixture(scope="module")
def lms(lm, tmp_path_factory):
    other = save_random_lm(tmp_path_factory.mktemp("lm") / "other", ["the", "a", "of", "yesterday"], 2)
    return [lm, other]


@pytest.fixture
def run(lang, few, small, lms, tmp_path):
    """Rescore small lattices; returns the costs that the page shows, and the out-dir."""

    def run(config, decode=small, data=few, lms=lms, weights=WEIGHTS, out="out", **options):
        place = tmp_path / out
        rescore(lang, lms, data, decode, place, lm_weight=weights, config=config, device="cpu", **options)
        return read_choice_costs(place / "scoring_kaldi" / COSTS_FILE), place

    return run


def ids(lang: Path, words) -> list[int]:
    symbols = kaldi.read_words(lang / "words.txt")
    return [symbols.id(word) for word in words]


def total(costs: ChoiceCosts) -> np.ndarray:
    return np.sum(list(costs.parts.values()), axis=0)


def test_of_unlimited_order_the_parts_are_those_of_lists(run, lang):
    """Where both choose the same sentence; the total is that of the rescored lattice's best path."""
    in_lists, lists = run(ListConfig(n=2000, allow_oov=True), out="lists")
    in_lattices, out = run(EXACT)
    listed, chosen = kaldi.read_table(lists / "text"), kaldi.read_table(out / "text")
    same = [utt for utt in in_lattices if utt in in_lists and listed[utt] == chosen[utt]]
    assert len(same) >= 4
    for utt in same:
        assert list(in_lattices[utt].parts) == list(in_lists[utt].parts), "no part for merged histories"
        for name, part in in_lattices[utt].parts.items():
            assert part == pytest.approx(in_lists[utt].parts[name], abs=5e-3), name
    for utt, lattice in kaldi.read_lattices(out):
        if utt in in_lattices:
            path = best_path(lattice, 1 / 12)
            assert total(in_lattices[utt])[1] == pytest.approx(path.graph + path.acoustic / 12, abs=0.01)


@pytest.mark.parametrize("no_old_lm", [False, True])
def test_the_parts_add_up_to_what_the_lattice_charges_although_histories_were_merged(run, lang, no_old_lm):
    costs, out = run(LatticeConfig(order=2, beam=8, allow_oov=True), weights=[0.5, 0.3], no_old_lm=no_old_lm)
    before = kaldi.read_table(out / "scoring_kaldi" / "first_pass.txt")
    after = kaldi.read_table(out / "text")
    assert set(costs) == {utt for utt in after if before[utt] != after[utt]}
    lattices = dict(kaldi.read_lattices(out))
    merged = cut = 0
    for utt, of_utt in costs.items():
        totals = total(of_utt)
        lacking = cut
        for place, words in enumerate((before[utt], after[utt])):
            path = best_path_of(lattices[utt], ids(lang, words), 1 / 12)
            if path is None:
                assert place == 0
                cut += 1
            else:
                assert totals[place] == pytest.approx(path.graph + path.acoustic / 12, abs=0.02)
        assert totals[1] <= totals[0] + 0.02 or cut > lacking
        merged += MERGED in of_utt.parts
    assert merged > 0
    assert cut < len(costs)


def test_the_page_shows_the_parts_of_lattices(run):
    """The decision that the page explains: its differences add up to how much cheaper the chosen path is."""
    costs, out = run(EXACT)
    report = SystemReport.load(out)
    experiment = Experiment.read([out])
    [entry] = utterance_data(experiment)["sets"]
    row = entry["rows"].index(report.system)
    shown = {utt[0]: utt[COSTS][row][0] for utt in entry["utts"] if utt[COSTS] and utt[COSTS][row]}
    assert shown.keys() == costs.keys()
    for utt, parts in shown.items():
        before, after = total(costs[utt])
        assert sum(int(tenths) for _, tenths in parts) == pytest.approx(10 * (after - before), abs=4)


def test_a_path_that_the_old_lm_lacks_has_its_whole_graph_cost_in_the_rest(run, lang, tmp_path):
    """The first pass chooses !SIL. For the new LM, "firm" is much cheaper than for the old LM, where it costs 11.8."""
    silence, the, firm = ids(lang, ["!SIL", "the", "firm"])
    arcs = [(0, 1, silence, 12.0, 30.0), (0, 1, the, 14.0, 31.0), (0, 1, firm, 16.0, 29.0)]
    (tmp_path / "decode").mkdir()
    kaldi.write_lattices(tmp_path / "decode" / "lat.1.gz", [("u-1", lattice_of(arcs, {1: (0.25, 0.0)}, 2))])
    kaldi.write_num_jobs(tmp_path / "decode", 1)
    kaldi.write_data_dir(tmp_path / "data", kaldi.DataDir({"u-1": "u"}, {"u-1": ["the"]}))
    flat = load_model(save_random_lm(tmp_path / "random", ["the", "firm"], 3))
    with torch.no_grad():
        for parameter in flat.model.parameters():
            parameter.zero_()
    save_model(tmp_path / "flat", flat.model, flat.vocabulary, {})
    inputs = {"decode": tmp_path / "decode", "data": tmp_path / "data", "lms": [tmp_path / "flat"], "weights": [1.0]}
    [of_utt] = run(EXACT, **inputs)[0].values()
    [in_list] = run(ListConfig(allow_oov=True), out="lists", **inputs)[0].values()
    assert of_utt.parts["rest of the graph"][0] == pytest.approx(12.25)
    assert of_utt.parts["old LM"][0] == of_utt.parts["flat"][0] == 0
    assert of_utt.parts["acoustic"] == pytest.approx((30 / 12, 29 / 12), abs=1e-3)
    assert of_utt.parts.keys() == in_list.parts.keys()
    for name, part in of_utt.parts.items():
        assert part == pytest.approx(in_list.parts[name], abs=5e-3), name


def test_a_lattice_that_kept_its_costs_has_the_parts_of_the_first_pass(run, lang, data, decode, lm, tmp_path):
    """The first pass is shown at another LMWT, so that it has other paths although a damaged model changes nothing."""
    damaged = load_model(lm)
    with torch.no_grad():
        damaged.model.embedding.fill_(3e38)  # finite, but the products are not
    save_model(tmp_path / "nan", damaged.model, damaged.vocabulary, {})
    none, out = run(LatticeConfig(), decode=decode, data=data, lms=[tmp_path / "nan"], weights=[0.5])
    assert not none
    chosen = yaml.safe_load((out / "weights.yaml").read_text())
    chosen["first_pass"]["lmwt"] = 3.0
    (tmp_path / "weights.yaml").write_text(yaml.safe_dump(chosen))
    rescore(lang, tmp_path / "nan", data, decode, out, config=LatticeConfig(), weights=tmp_path / "weights.yaml")
    costs = read_choice_costs(out / "scoring_kaldi" / COSTS_FILE)
    assert costs
    lattices = dict(kaldi.read_lattices(decode))
    after = kaldi.read_table(out / "text")
    for utt, of_utt in costs.items():
        path = best_path_of(lattices[utt], ids(lang, after[utt]), 1 / 12)
        assert total(of_utt)[1] == pytest.approx(path.graph + path.acoustic / 12, abs=0.01)
        assert set(of_utt.parts) == {"acoustic", "rest of the graph", "old LM", "nan", "word penalty"}
        assert of_utt.parts["nan"] == (0.0, 0.0)
