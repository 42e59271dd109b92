"""Costs that are kept on disk carry COST_VERSION; it must be raised whenever the same inputs cost something else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from asr_rescore import kaldi, models
from asr_rescore.checkpoint import save_model
from asr_rescore.config import ModelConfig
from asr_rescore.fingerprint import COST_VERSION
from asr_rescore.rescoring.config import ListConfig
from asr_rescore.rescoring.run import rescore
from asr_rescore.vocab import Vocabulary
from conftest import GOLDENS

COLUMNS = ("lmwt.rnn", "lmwt.lmonly", "lmwt.nolm", "lmwt.withlm", "acwt")
WORDS = ["the", "a", "of", "to", "in", "and", "million", "said"]


def save_model_of_formula(folder):
    """A model whose weights come from a formula, so that they are the same with any version of torch."""
    vocabulary = Vocabulary.from_counts(dict.fromkeys(WORDS, 1), lexicon=["yesterday", "market"])
    config = ModelConfig(embedding=6, hidden=(7, 5), experts=3)
    with torch.device("meta"):
        model = models.build(config, len(vocabulary))
    numbers = {
        name: torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * (place + 1.37)).view(tensor.shape).float()
        for place, (name, tensor) in enumerate(sorted(model.state_dict().items()))
    }
    model.load_state_dict(numbers, assign=True)
    save_model(folder, model, vocabulary, {})
    return folder


def test_costs_are_those_of_this_cost_version(lang, data, decode, tmp_path):
    lm = save_model_of_formula(tmp_path / "lm")
    config = ListConfig(n=20, allow_oov=True)  # the model has few words
    rescore(lang, [lm], data, decode, tmp_path / "out", lm_weight=[0.5], config=config, device="cpu")
    found = {
        nbest.utt: {name: nbest.costs[name][:3].tolist() for name in COLUMNS}
        for nbest in kaldi.read_nbest_dir(tmp_path / "out", 1)
    }
    golden = json.loads((GOLDENS / "costs.json").read_text())
    assert golden["cost_version"] == COST_VERSION, f"write these costs into the golden file: {json.dumps(found)}"
    assert found.keys() == golden["costs"].keys()
    for utt, columns in golden["costs"].items():
        for name, costs in columns.items():
            np.testing.assert_allclose(
                found[utt][name],
                costs,
                rtol=1e-5,
                err_msg=f"{utt} {name}: raise COST_VERSION in fingerprint.py and write the new costs into costs.json",
            )


def test_an_older_version_does_not_count_as_done(rescore, monkeypatch):
    _, out = rescore("--lm-weight", 0.5)
    stamp = (out / "job.1.json").stat().st_mtime_ns
    monkeypatch.setattr("asr_rescore.rescoring.run.COST_VERSION", COST_VERSION + 1)
    rescore("--lm-weight", 0.5)
    assert (out / "job.1.json").stat().st_mtime_ns != stamp


@pytest.mark.parametrize("cached", ["asr_rescore.rescoring.list_engine.COST_VERSION"])
def test_an_older_version_is_not_looked_up_in_the_score_cache(rescore, tmp_path, monkeypatch, cached):
    rescore("--lm-weight", 0.5, "--score-cache", tmp_path / "cache", out="before")
    monkeypatch.setattr(cached, COST_VERSION + 1)
    rescore("--lm-weight", 0.5, "--score-cache", tmp_path / "cache", out="after")
    assert len(list((tmp_path / "cache").iterdir())) == 2
