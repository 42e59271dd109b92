"""Costs of sentences on disk, so that nothing is scored twice: not by another N, another tuning or after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_binary
from asr_rescore.lm.scoring import NeuralScorer

RECORD = np.dtype([("sentence", "V16"), ("cost", "<f8")])


class CachedScorer:
    """A scorer that looks sentences up before it scores them.

    The cache is a directory for each model and precision, with a file for each batch that some process scored: a file
    is written whole and never changed, so that any number of jobs, also on other machines, may share it without locks.
    Two jobs that need the same sentence at the same time both score it.

    Args:
        scorer: what scores.
        directory: of all models' caches.
        key: names model and precision: costs under another key are never seen.

    Raises:
        InputError: a file of the cache is damaged.
    """

    def __init__(self, scorer: NeuralScorer, directory: Path, key: str):
        self.scorer, self.directory = scorer, directory / key
        self.known: dict[bytes, float] = {}
        for path in sorted(self.directory.glob("*.costs")):
            size = path.stat().st_size
            if size % RECORD.itemsize:
                expected = f"records of {RECORD.itemsize} bytes"
                raise InputError(path, found=f"{size} bytes", expected=expected, remedy="remove the file")
            records = np.fromfile(path, RECORD)
            self.known.update(zip(records["sentence"].tolist(), records["cost"].tolist(), strict=True))

    def costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """See :meth:`NeuralScorer.costs`; what was not known is, from now on."""
        keys = [digest(words) for words in sentences]
        missing = {key: words for key, words in zip(keys, sentences, strict=True) if key not in self.known}
        if missing:
            costs = self.scorer.costs(list(missing.values())).tolist()
            with atomic_binary(self.directory / f"{uuid4().hex}.costs") as stream:
                stream.write(np.array(list(zip(missing, costs, strict=True)), RECORD).tobytes())
            self.known.update(zip(missing, costs, strict=True))
        return np.array([self.known[key] for key in keys])


def digest(words: Sequence[str]) -> bytes:
    """16 bytes that stand for a sentence."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()
