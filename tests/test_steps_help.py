"""The options of the scripts of recipes/steps that submit jobs, and what their help says of them."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields

import pytest

from asr_rescore.cli import cache_teacher, distill_lm, rescore_lattice, rescore_nbest, train_lm
from asr_rescore.lm_config import CacheConfig
from asr_rescore.rescoring.config import LatticeConfig, ListConfig
from conftest import ROOT

STEPS = ROOT / "recipes/steps"
COMMANDS = {
    "rescore_nbest.sh": rescore_nbest,
    "rescore_lattice.sh": rescore_lattice,
    "train_lm.sh": train_lm,
    "distill_lm.sh": distill_lm,
    "cache_teacher.sh": cache_teacher,
}
AS_KALDI = ("rnnlmrescore.sh", "lmrescore_nbest.sh", "lmrescore_rnnlm_lat.sh")


def configuration(script: str) -> dict[str, str]:
    """The options of a script, with their defaults."""
    text = (STEPS / script).read_text()
    block = text.split("# Configuration\n")[1].split("\n\n")[0]
    return dict(line.split("=", 1) for line in block.splitlines())


def help_of(script: str) -> str:
    return (STEPS / script).read_text().split("set -euo pipefail")[0]


@pytest.mark.parametrize("script", [*COMMANDS, *AS_KALDI])
def test_help_names_every_option(script):
    assert {
        option for option in configuration(script) if f"--{option.replace('_', '-')}" not in help_of(script)
    } == set()


def defaults_in_help(script: str) -> dict[str, str]:
    """What the help of a script says about defaults in values, not in words."""
    text = re.sub(r"\n# {20,}", "  ", help_of(script))
    found = {}
    for names, shown in re.findall(r"^#   (--.*?)  .*\(defaults?: ([^ ]*|[^ ]*, .*)\)$", text, re.MULTILINE):
        options = re.findall(r"--([\w-]+)", names)
        values = shown.split(", ")
        found |= dict(zip(options, values if len(values) > 1 else values * len(options), strict=True))
    return found


@pytest.mark.parametrize("script", [*COMMANDS, *AS_KALDI])
def test_the_defaults_in_the_help_are_those_that_hold(script):
    """They are the script's, or where the script leaves it to the command, those of the command."""
    config = CacheConfig if "cache" in script else LatticeConfig if "lat" in script else ListConfig
    defaults = {option.name: option.default for option in fields(config)}
    defaults |= {"seed": 1, "device": "auto", "cmd": "run_local.sh", "N": ListConfig.n}
    defaults["word_ins_penalty"] = ",".join(map(str, defaults.get("word_ins_penalty", ())))
    held = {option: value or defaults.get(option, "") for option, value in configuration(script).items()}
    shown = defaults_in_help(script)
    assert len(shown) > 2
    assert {option: f"{held[option.replace('-', '_')]}".removesuffix(".0") for option in shown} == {
        option: value.removesuffix(".0") for option, value in shown.items()
    }


@pytest.mark.parametrize("script", COMMANDS)
def test_every_option_of_the_command_is_one_of_the_script(script):
    parser = argparse.ArgumentParser()
    COMMANDS[script].configure(parser)
    flags = {flag for flag in parser._option_string_actions if flag.startswith("--")}
    flags -= {"--help", "--tune", "--job", "--config", "--vocab"}  # the script decides, or names them otherwise
    assert {flag for flag in flags if flag[2:].replace("-", "_") not in configuration(script)} == set()
