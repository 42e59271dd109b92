"""What went wrong, said so that the reader can mend it: where, what was found, what was expected, what to do."""

from __future__ import annotations


class RescoreError(Exception):
    """Root of every error this package raises on purpose; a command prints it in one line and exits with 1."""


class UsageError(RescoreError):
    """The command line or a configuration contradicts itself; a command exits with 2."""


class InputError(RescoreError):
    """A file, or an entry of it, is not what its format promises.

    Args:
        where: the file, with line, key or byte offset as far as known, e.g. ``lat.1.gz: key utt7: byte 1234``.
        found: what stands there.
        expected: what should stand there.
        remedy: what the user can do about it.
    """

    def __init__(self, where: object, *, found: str, expected: str, remedy: str):
        self.where, self.found, self.expected, self.remedy = str(where), found, expected, remedy
        super().__init__(f"{where}: found {found}, expected {expected}; {remedy}")
