"""The option of every command that computes with a model."""

from __future__ import annotations

import argparse


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--device``; its value is for :func:`asr_rescore.models.choose_device`."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto: a GPU if there is one (default: auto)",
    )
