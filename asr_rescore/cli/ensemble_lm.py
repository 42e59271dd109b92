"""ensemble_lm: several language models as one."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "combine language models into one: the mean of their probabilities"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("lm_dir", type=Path, nargs="+", metavar="lm-dir", help="models over one vocabulary")
    parser.add_argument("ensemble_dir", type=Path, metavar="ensemble-dir", help="where the ensemble goes")
    parser.add_argument("--valid", type=Path, help="text whose perplexity is noted in the ensemble's provenance")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    import math

    from asr_rescore.checkpoint import combine, load_model, provenance, save_model
    from asr_rescore.corpus import TokenStream
    from asr_rescore.training import stream_cost

    members = [load_model(path) for path in arguments.lm_dir]
    vocabulary, ensemble = combine(members)
    facts = {"members": {member.name: member.hash for member in members}}
    if arguments.valid:
        text = TokenStream.read(arguments.valid, vocabulary)
        facts["valid_ppl"] = math.exp((stream_cost(ensemble, text.ids, "cpu") + text.member_cost) / len(text))
        print(f"{arguments.ensemble_dir}: valid ppl {facts['valid_ppl']:.2f}")
    save_model(arguments.ensemble_dir, ensemble, vocabulary, provenance(**facts))
    print(f"{arguments.ensemble_dir}: {len(members)} models, {ensemble.num_parameters} parameters")
    return 0
