"""Costs of sentences on disk, so that no sentence is costed twice: for another N, by another job or after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

from asr_rescore.errors import InputError, shown
from asr_rescore.files import atomic_binary
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.lm.scorer import SentenceScorer

RECORD = np.dtype([("sentence", "V16"), ("cost", "<f8")])
# A file begins with this mark and the BLAKE2b hash of its records. Costs of a format without a hash are in another
# directory, and not used.
MARK = b"costs  2"
HASH_BYTES = 16
HEADER_BYTES = len(MARK) + HASH_BYTES


class CachedScorer:
    """A scorer that looks sentences up before it costs them.

    The cache has one directory per model and precision. In it there is one file for each batch of sentences that some
    process costed. A file is written whole and never changed, so any number of jobs, on any number of machines, can
    share the cache without locks. Two jobs that need the same sentence at the same time both cost it.

    Args:
        scorer: costs the sentences that are not in the cache.
        directory: holds the caches of all models.
        made_from: what the costs depend on. Costs with another fingerprint are never used.

    Raises:
        InputError: a file of the cache is damaged.
    """

    def __init__(self, scorer: SentenceScorer, directory: Path, made_from: Fingerprint):
        self.scorer = scorer
        self.directory = directory / Fingerprint({**made_from.facts, "format": MARK.decode()}).digest
        self.known: dict[bytes, float] = {}
        for path in sorted(self.directory.glob("*.costs")):
            records = _read(path)
            self.known.update(zip(records["sentence"].tolist(), records["cost"].tolist(), strict=True))

    def costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """−ln P of each sentence, float64 (sentences,); sentences that were not in the cache are added to it."""
        keys = [digest(words) for words in sentences]
        missing = {key: words for key, words in zip(keys, sentences, strict=True) if key not in self.known}
        if missing:
            costs = self.scorer.costs(list(missing.values())).tolist()
            records = np.array(list(zip(missing, costs, strict=True)), RECORD)
            with atomic_binary(self.directory / f"{uuid4().hex}.costs") as stream:
                content = records.tobytes()
                stream.write(MARK + _hash(content) + content)
            self.known.update(zip(missing, costs, strict=True))
        return np.array([self.known[key] for key in keys])


def _read(path: Path) -> np.ndarray:
    """The records of one file."""
    content = path.read_bytes()
    found = None
    if (len(content) - HEADER_BYTES) % RECORD.itemsize or len(content) < HEADER_BYTES:
        found = f"{len(content)} bytes"
    elif not content.startswith(MARK):
        found = f"a file that begins with {shown(content[: len(MARK)])}"
    elif content[len(MARK) : HEADER_BYTES] != _hash(content[HEADER_BYTES:]):
        found = "costs that have changed since they were written"
    if found is not None:
        expected = f"{HEADER_BYTES} bytes and records of {RECORD.itemsize} bytes"
        raise InputError(path, found=found, expected=expected, remedy="remove the file; its costs are computed again")
    return np.frombuffer(content, RECORD, offset=HEADER_BYTES)


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=HASH_BYTES).digest()


def digest(words: Sequence[str]) -> bytes:
    """16 bytes that identify a sentence."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).digest()
