"""Options and steps that train_lm and distill_lm share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_rescore.cli.options import add_device_option

if TYPE_CHECKING:
    import torch

    from asr_rescore.config import Config
    from asr_rescore.models import LanguageModel
    from asr_rescore.vocab import Vocabulary


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Declare config, texts, start, seed and device."""
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        action="append",
        help="YAML file with the settings that differ from the defaults; if given several times, later files override "
        "earlier ones",
    )
    parser.add_argument("--train", type=Path, required=True, help="text to train on, one sentence per line")
    parser.add_argument(
        "--valid", type=Path, required=True, help="text for validation; the epoch with the lowest perplexity is kept"
    )
    parser.add_argument(
        "--init",
        type=Path,
        metavar="LM_DIR",
        help="start from the weights of this model, which must have the same sizes",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of weights, dropout and chunk lengths (default: %(default)s)"
    )
    add_device_option(parser)


def start_model(
    arguments: argparse.Namespace, config: Config, vocabulary: Vocabulary, device: torch.device
) -> tuple[LanguageModel, dict[str, Any]]:
    """Build the model to be trained, with random weights or with those of ``--init``.

    Returns:
        The model, and the facts about its start for the run's fingerprint.
    """
    import torch

    from asr_rescore import models
    from asr_rescore.checkpoint import load_weights

    torch.manual_seed(arguments.seed)
    model = models.build(config.model, len(vocabulary)).to(device)
    facts = {} if arguments.init is None else {"init": load_weights(arguments.init, model, vocabulary)}
    return model, facts
