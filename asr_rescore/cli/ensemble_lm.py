"""ensemble_lm: several language models as one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from asr_rescore.cli.options import add_device_option

HELP = "combine language models into one: the mean of their probabilities"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--valid", type=Path, help="text, one sentence per line; its perplexity is stored with the ensemble"
    )
    add_device_option(parser)
    parser.add_argument(
        "lm_dir", type=Path, nargs="+", metavar="lm-dir", help="two or more models with the same vocabulary"
    )
    parser.add_argument("ensemble_dir", type=Path, metavar="ensemble-dir", help="output directory")


def run(arguments: argparse.Namespace) -> int:
    """Copy the members into a new model directory and print the size of the ensemble."""
    from asr_rescore.checkpoint import CONFIG_FILE, combine, load_model, model_files, provenance, save_model
    from asr_rescore.config import EnsembleConfig, load_model_config
    from asr_rescore.corpus import TokenStream
    from asr_rescore.errors import UsageError
    from asr_rescore.lm.text_cost import evaluate_text
    from asr_rescore.models import choose_device
    from asr_rescore.outputs import check_outputs

    target = arguments.ensemble_dir
    device = choose_device(arguments.device)
    if len(arguments.lm_dir) < 2:
        raise UsageError(f"found only one model, {arguments.lm_dir[0]}, for {target}; expected two or more")
    texts = [arguments.valid] if arguments.valid else []
    check_outputs(model_files(target), [*texts, *model_files(*arguments.lm_dir)])
    if (target / CONFIG_FILE).exists() and not isinstance(load_model_config(target / CONFIG_FILE), EnsembleConfig):
        raise UsageError(f"{target} holds a model that is not an ensemble; name the output directory after the models")
    members = [load_model(path, device) for path in arguments.lm_dir]
    vocabulary, ensemble = combine(members)
    facts: dict[str, Any] = {"members": [{"name": member.name, "hash": member.hash} for member in members]}
    if arguments.valid:
        text = TokenStream.read(arguments.valid, vocabulary)
        facts["valid_ppl"] = evaluate_text(ensemble, text, device).ppl
        print(f"{target}: valid ppl {facts['valid_ppl']:.2f}")
    save_model(target, ensemble, vocabulary, provenance(**facts))
    print(f"{target}: {len(members)} models, {ensemble.num_parameters} parameters")
    return 0
