"""The errors that this package raises on purpose. Each says what is wrong and what the user can do about it."""

from __future__ import annotations

import reprlib

LONGEST_LINE = 1000  # characters of a line that is shown; keys and words of broken files can be of any length
SHOWN_END = 300  # of them at its end, where an error has its remedy


def printable(text: str, kept: str = "\n\t") -> str:
    """The text with escape sequences, such as ``\\x1b``, in place of characters that a terminal would act on or hide.

    Files can contain such characters in keys and words. Lines that are too long to read lose their middle.

    Args:
        text: the text.
        kept: characters that are not replaced.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char in kept else ascii(char)[1:-1] for char in text)
    if len(text) <= LONGEST_LINE:
        return text
    return "\n".join(_without_middle(line) for line in text.split("\n"))


def _without_middle(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[: LONGEST_LINE - SHOWN_END]} … {line[-SHOWN_END:]}"


class RescoreError(Exception):
    """Base class of all errors of this package; a command prints the message in one line and exits with status 1."""

    def __init__(self, message: str):
        super().__init__(printable(message))


class UsageError(RescoreError):
    """A call, a config or a command line contradicts itself; a command exits with status 2.

    Messages of the library name arguments and fields in backticks, e.g. `` `inv_acwt` is -1.0, expected a number above
    0``, since a caller from Python has no options. Before printing, the commands replace each such name by the option
    of that name, where they have it: ``--inv-acwt is -1.0, …``. The same holds for :class:`InputError`.
    """


class InputError(RescoreError):
    """A file, or an entry of a file, is not in the expected format.

    Args:
        where: the file, with line, key or byte offset if known, e.g. ``lat.1.gz: key utt7: byte 1234``.
        found: what is there.
        expected: what should be there.
        remedy: what the user can do about it.
    """

    def __init__(self, where: object, *, found: str, expected: str, remedy: str):
        self.where = str(where)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{where}: found {found}, expected {expected}; {remedy}")


class Terminated(KeyboardInterrupt):
    """SIGTERM came: everything ends as after Ctrl-C, with exit status 143."""


class SaidElsewhere(RescoreError):
    """Another process of the same training has ended too, and says why; a command exits with status 1 and no word."""

    def __init__(self) -> None:
        super().__init__("another process of this training says why it ended")


class _Cut(reprlib.Repr):
    """Shows the beginning and the end of what is long, and never more than a few levels and items."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxstring = 60
        self.maxother = 60
        self.maxlong = 40

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 1000:  # Python refuses to print integers of thousands of digits
            return f"an integer of about {x.bit_length() * 30103 // 100_000 + 1} digits"
        return super().repr_int(x, level)


_cut = _Cut()


def shown(value: object) -> str:
    """``repr(value)`` for an error message: short, whatever a file contains."""
    return _cut.repr(value)
