"""Costs of sentences on disk, so that no sentence is costed twice: for another N, by another job or after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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
LEAST_TO_SORT = 1 << 16  # costs


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
        self.known = KnownCosts(_read_all(sorted(self.directory.glob("*.costs"))))

    def costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """−ln P of each sentence, float64 (sentences,); sentences that were not in the cache are added to it."""
        keys = [digest(words) for words in sentences]
        known = self.known.of(keys)
        missing = {key: words for key, words in zip(keys, sentences, strict=True) if key not in known}
        if missing:
            costs = self.scorer.costs(list(missing.values())).tolist()
            records = np.array(list(zip(missing, costs, strict=True)), RECORD)
            with atomic_binary(self.directory / f"{uuid4().hex}.costs") as stream:
                content = records.tobytes()
                stream.write(MARK + _hash(content) + content)
            fresh = dict(zip(missing, costs, strict=True))
            self.known.add(fresh)
            known |= fresh
        return np.array([known[key] for key in keys])


class KnownCosts:
    """Costs by sentence, in the 24 bytes that each takes on disk.

    Args:
        records: array of ``RECORD``. If a sentence occurs more than once, its last cost counts.
    """

    def __init__(self, records: np.ndarray):
        self._sort(records)

    def _sort(self, records: np.ndarray) -> None:
        order = np.argsort(records["sentence"], kind="stable")
        self._sentences = records["sentence"][order]
        self._costs = records["cost"][order]
        self._added: dict[bytes, float] = {}  # what was added since then

    def add(self, costs: Mapping[bytes, float]) -> None:
        """Add costs."""
        self._added.update(costs)
        old = len(self._costs)
        if len(self._added) > max(LEAST_TO_SORT, old // 4):  # seldom, so that all sorting takes little time
            records = np.empty(old + len(self._added), RECORD)
            records["sentence"][:old] = self._sentences
            records["cost"][:old] = self._costs
            records[old:] = list(self._added.items())
            self._sort(records)

    def of(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """The costs of those sentences that are known, by the keys that :func:`digest` gives them."""
        known = {}
        if keys and len(self._costs):
            wanted = np.frombuffer(b"".join(keys), self._sentences.dtype)
            places = np.searchsorted(self._sentences, wanted, side="right") - 1
            found = self._sentences[places] == wanted
            costs = self._costs[places].tolist()
            known = {key: cost for key, cost, here in zip(keys, costs, found.tolist(), strict=True) if here}
        known.update((key, self._added[key]) for key in keys if key in self._added)
        return known


def _read_all(paths: Sequence[Path]) -> np.ndarray:
    """The records of some files, without a second copy of them."""
    sizes = [max(0, path.stat().st_size - HEADER_BYTES) // RECORD.itemsize for path in paths]
    records = np.empty(sum(sizes), RECORD)
    end = 0
    for path, size in zip(paths, sizes, strict=True):
        records[end : end + size] = _read(path)
        end += size
    return records


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
