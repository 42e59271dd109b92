"""Names of input as Kaldi users write them: a file, an .scp list or an rspecifier."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kaldiio.utils import parse_specifier

from asr_rescore.errors import InputError
from asr_rescore.kaldi.stream import BLANKS, Window

_BLANKS = BLANKS.decode()


@dataclass(frozen=True)
class Source:
    """Where entries come from.

    Attributes:
        name: an rxfilename (see :func:`asr_rescore.kaldi.stream.open_window`).
        is_list: whether it contains ``key rxfilename`` lines (an .scp) instead of the entries themselves.
        is_path: whether it is the name of a file and never anything else, whatever characters are in it.
    """

    name: str
    is_list: bool
    is_path: bool = False

    @classmethod
    def parse(cls, source: str | os.PathLike[str]) -> Source:
        """Interpret a path (``.scp`` is a list) or an rspecifier (``ark:…``, ``ark,t:…``, ``scp:…``).

        A Path is never taken for an rspecifier.

        Options (``t``, ``s``, ``cs``, ``o``) are accepted and ignored: they only promise a form or an order.

        Raises:
            InputError: it looks like an rspecifier but is not a valid one.
        """
        if not isinstance(source, str):
            name = os.fspath(source)
            return cls(name, name.endswith(".scp"), is_path=True)
        name = source.strip(_BLANKS)
        if not re.match(r"(\w+,)*(ark|scp)(,\w+)*:", name):
            return cls(name, name.endswith(".scp"))
        try:
            parsed = parse_specifier(name)
            if parsed["ark"] is not None and parsed["scp"] is not None:
                raise ValueError("both ark and scp")
        except ValueError as error:
            raise InputError(
                name, found=str(error), expected="an rspecifier such as ark:lat.ark", remedy="correct it"
            ) from error
        is_list = parsed["scp"] is not None
        return cls(parsed["scp" if is_list else "ark"].strip(_BLANKS), is_list)

    @property
    def rxfilename(self) -> str | Path:
        """What :func:`asr_rescore.kaldi.stream.open_window` opens."""
        return Path(self.name) if self.is_path else self.name


def read_scp(window: Window) -> Iterator[tuple[str, str | InputError]]:
    """Yield (key, rxfilename) for each line of an .scp, or (key, error) if the line is wrong.

    Raises:
        InputError: the list cannot be read to its end.
    """
    number = 0
    while raw := window.line():
        number += 1
        if not raw.endswith(b"\n") and window.broken is not None:
            break
        yield _scp_line(raw, f"{window.name}: line {number}")
        window.begin_entry()
    if window.broken is not None:
        raise window.broken


def _scp_line(raw: bytes, where: str) -> tuple[str, str | InputError]:
    """The key and the file name of a line, or the key and what is wrong with the line."""
    key, *rest = raw.strip(BLANKS).split(maxsplit=1) or [b""]
    try:
        name = rest[0].decode("utf-8") if rest else ""
        utt = key.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = key.decode("utf-8", errors="backslashreplace")
        found = f"bytes that are not UTF-8 ({error.reason})"
        return shown, InputError(where, found=found, expected="UTF-8 text", remedy="convert the .scp with iconv")
    if not name:
        found = repr(utt)
        return utt, InputError(where, found=found, expected="a key and a file name", remedy="make the .scp again")
    return utt, name
