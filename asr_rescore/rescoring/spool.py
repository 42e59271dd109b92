"""Values that wait on disk, because together they would not fit into memory."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Spool(Generic[Value]):
    """Values by key, in the order in which they were added; a key takes memory, its value only disk.

    The file has no name, so nobody else can write it, and nothing is left of it when the process ends. Therefore its
    values may be pickled.

    Use it as a context manager.

    Args:
        directory: the file system of this directory holds the values.
    """

    def __init__(self, directory: Path):
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by __exit__
        self._places: dict[str, int] = {}

    def __enter__(self) -> Spool[Value]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def fill(self, entries: Iterable[tuple[str, Value]]) -> None:
        """Write values with their keys, one after the other."""
        for key, value in entries:
            self.add(key, value)

    def add(self, key: str, value: Value) -> None:
        """Write a value. A second value of a key takes the place of the first."""
        self._places[key] = self._file.seek(0, 2)
        pickle.dump(value, self._file, pickle.HIGHEST_PROTOCOL)

    def __getitem__(self, key: str) -> Value:
        """Read a value.

        Raises:
            KeyError: no value was added with this key.
        """
        self._file.seek(self._places[key])
        value: Value = pickle.load(self._file)
        return value
