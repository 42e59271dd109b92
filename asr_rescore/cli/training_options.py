"""What train_lm and distill_lm have in common on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Declare config, texts, seed and device."""
    parser.add_argument("--config", type=Path, required=True, help="YAML with what differs from the defaults")
    parser.add_argument("--train", type=Path, required=True, help="text to train on, a sentence a line")
    parser.add_argument("--valid", type=Path, required=True, help="text that chooses the epoch")
    parser.add_argument("--seed", type=int, default=1, help="of weights, dropouts and chunk lengths (1)")
    add_device_option(parser)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Declare the device."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU where there is one (auto)"
    )


def choose_device(name: str) -> object:
    """The torch.device that ``--device`` names.

    Raises:
        UsageError: cuda was asked for and there is none.
    """
    import torch

    from asr_rescore.errors import UsageError

    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch sees no GPU; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
