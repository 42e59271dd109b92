"""compute_ppl --dynamic: its options, what it prints and what it writes."""

from __future__ import annotations

import argparse
import json
import math

import pytest
import torch

from asr_rescore import models
from asr_rescore.checkpoint import load_model, provenance, save_model
from asr_rescore.cli import compute_ppl
from asr_rescore.cli.main import main
from asr_rescore.corpus import TokenStream
from asr_rescore.lm import DynamicConfig, dynamic_cost, gradient_statistics
from training_runs import CPU, PLAIN, SIZE, VOCABULARY


class TestCommand:
    @pytest.fixture
    def files(self, tmp_path):
        torch.manual_seed(1)
        save_model(tmp_path / "lm", models.build(PLAIN, SIZE), VOCABULARY, provenance())
        (tmp_path / "text").write_text("a b c d e\ne d c b a\n" * 30)
        return [str(tmp_path / "lm"), str(tmp_path / "text")]

    def test_both_perplexities(self, files, tmp_path, capsys):
        command = ["compute_ppl", "--dynamic", "--statistics", files[1], "--dynamic-lr", "0.001"]
        command += ["--dynamic-decay", "0.05", "--dynamic-epsilon", "0.01"]
        assert main([*command, "--json", str(tmp_path / "ppl.json"), *files]) == 0
        static, dynamic = capsys.readouterr().out.splitlines()
        figures = json.loads((tmp_path / "ppl.json").read_text())
        assert static == f"ppl {figures['ppl']:.2f}, 360 tokens in 60 sentences, 0 OOVs"
        assert (
            dynamic == f"dynamic ppl {figures['dynamic_ppl']:.2f}, lr 0.001, decay 0.05, epsilon 0.01, relative units"
        )
        assert (figures["lr"], figures["decay"], figures["epsilon"]) == (0.001, 0.05, 0.01)
        model = load_model(files[0]).model
        ids = TokenStream.read(files[1], VOCABULARY).ids
        config = DynamicConfig(lr=0.001, decay=0.05, epsilon=0.01)
        cost = dynamic_cost(model, ids, CPU, gradient_statistics(model, ids, CPU, config), config)
        assert figures["dynamic_ppl"] == pytest.approx(math.exp(cost / len(ids)))
        assert figures["dynamic_ppl"] != figures["ppl"]

    def test_the_preset_of_the_reference_can_be_changed(self, files, capsys):
        command = ["compute_ppl", "--dynamic", "--dynamic-preset", "reference", "--statistics", files[1]]
        assert main([*command, "--dynamic-lr", "0.01", *files]) == 0
        _, dynamic = capsys.readouterr().out.splitlines()
        assert dynamic.endswith(", lr 0.01, decay 0.075, epsilon 0.001, reference units")

    def test_words_outside_the_vocabulary_cost_the_same_in_both(self, files, tmp_path, capsys):
        (tmp_path / "rare").write_text("a b zebra\n")
        command = ["compute_ppl", "--dynamic", "--statistics", files[1], "--dynamic-lr", "0", files[0]]
        assert main([*command, str(tmp_path / "rare")]) == 0
        static, _, dynamic = capsys.readouterr().out.splitlines()
        assert dynamic.startswith("dynamic " + static.split(",")[0] + ", lr 0, ")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--dynamic"], "--dynamic needs --statistics"),
            (["--dynamic", "--by-sentence", "--statistics", "text"], "cannot be combined with --by-sentence"),
            (
                ["--dynamic", "--statistics", "text", "--dynamic-lr", "-1"],
                "--dynamic-lr is -1.0, expected 0 or more",
            ),
            (["--statistics", "text"], "--dynamic-epsilon need --dynamic"),
            (["--dynamic-lr", "0"], "--dynamic-epsilon need --dynamic"),
            (["--dynamic-preset", "reference"], "--dynamic-epsilon need --dynamic"),
            (["--dynamic-decay", "0"], "--dynamic-epsilon need --dynamic"),
            (["--dynamic-epsilon", "1"], "--dynamic-epsilon need --dynamic"),
        ],
    )
    def test_wrong_usage(self, files, options, message, capsys):
        assert main(["compute_ppl", *options, *files]) == 2
        printed = capsys.readouterr()
        assert message in printed.err and not printed.out

    def test_a_missing_statistics_text_is_noticed_first(self, files, capsys):
        assert main(["compute_ppl", "--dynamic", "--statistics", "missing", *files]) == 1
        printed = capsys.readouterr()
        assert "missing" in printed.err and not printed.out

    def test_the_help_tells_the_defaults(self):
        parser = argparse.ArgumentParser()
        compute_ppl.configure(parser)
        helps = {action.dest: action.help for action in parser._actions}
        for name in ("lr", "decay", "epsilon"):
            assert helps[f"dynamic_{name}"].endswith(f"(default: {getattr(DynamicConfig(), name)})")
