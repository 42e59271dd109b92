"""A small text for the tests of commands, and its vocabulary."""

from __future__ import annotations

import gzip
from pathlib import Path

from asr_rescore.cli.main import main

SENTENCES = ["the board met", "the share fell", "no share met the board", "a board fell", "oil rose"] * 12


def write_text(path: Path) -> Path:
    """Write the sentences to a gzipped file and return its path."""
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in SENTENCES).encode()))
    return path


def prepare(text: Path, directory: Path, words: int) -> Path:
    """Run prepare_text for a vocabulary of ``words`` entries and return its output directory."""
    assert main(["prepare_text", "--vocabulary-size", str(words), str(text), str(directory)]) == 0
    return directory


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()
