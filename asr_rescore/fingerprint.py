"""What a result was made from, so that a finished result is reused only where it would come out the same."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROVENANCE_FILE = "provenance.json"  # in the directory of each trained model
# Raise this whenever the same model and text cost something else than before (tests/test_cost_version.py says when):
# costs kept under an older number, in score caches and in finished jobs, are then computed again.
COST_VERSION = 1


@dataclass(frozen=True)
class Fingerprint:
    """Named facts that a result depends on. Equal fingerprints mean equal results.

    Attributes:
        facts: name → plain value; they are compared as JSON holds them, so that tuples equal lists.
    """

    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", json.loads(json.dumps(dict(self.facts))))

    def __hash__(self) -> int:
        return hash(self.digest)

    def differences(self, other: Fingerprint) -> list[str]:
        """Names of the facts that differ between the two, or that only one of them has; of a part, ``whole.part``."""
        return _differences(self.facts, other.facts)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the facts, whatever their order."""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for name in {**ours, **theirs}:
        our, their = ours.get(name), theirs.get(name)
        if isinstance(our, dict) and isinstance(their, dict):
            names += [f"{name}.{part}" for part in _differences(our, their)]
        elif name not in ours or name not in theirs or our != their:
            names.append(name)
    return names


def file_stamp(file: Path) -> tuple[str, int, int]:
    """Name, size in bytes and time of change in ns: a fact about a file that is too large to hash."""
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


def file_hash(file: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_checksum(file: Path) -> int:
    """CRC-32 of a file, which is read and not mapped, so that it does not count as memory of this process."""
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc
