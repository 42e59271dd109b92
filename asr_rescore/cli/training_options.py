"""What train_lm and distill_lm have in common on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from asr_rescore.config import Config
    from asr_rescore.models import LanguageModel
    from asr_rescore.vocab import Vocabulary


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Declare config, texts, seed and device."""
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        action="append",
        help="YAML with what differs from the defaults; given again, with what differs from the files before",
    )
    parser.add_argument("--train", type=Path, required=True, help="text to train on, a sentence a line")
    parser.add_argument("--valid", type=Path, required=True, help="text that chooses the epoch")
    parser.add_argument("--init", type=Path, metavar="LM_DIR", help="start from the weights of a model of equal sizes")
    parser.add_argument("--seed", type=int, default=1, help="of weights, dropouts and chunk lengths (1)")
    add_device_option(parser)


def start_model(
    arguments: argparse.Namespace, config: Config, vocabulary: Vocabulary, device: torch.device
) -> tuple[LanguageModel, dict[str, Any]]:
    """A new model of the config's sizes, or with the weights of ``--init``; and what a run must know of its start."""
    import torch

    from asr_rescore import models
    from asr_rescore.checkpoint import load_weights

    torch.manual_seed(arguments.seed)
    model = models.build(config.model, len(vocabulary)).to(device)
    facts = {} if arguments.init is None else {"init": load_weights(arguments.init, model, vocabulary)}
    return model, facts


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Declare the device."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU where there is one (auto)"
    )


def choose_device(name: str) -> object:
    """The torch.device that ``--device`` names, on which float32 is not rounded to TF32 unless a training wants it.

    Raises:
        UsageError: cuda was asked for and there is none.
    """
    import torch

    from asr_rescore.errors import UsageError

    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch sees no GPU; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)
