"""Names of input as Kaldi users write them: a file, an .scp list or an rspecifier."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kaldiio.utils import parse_specifier

from asr_rescore.errors import InputError
from asr_rescore.kaldi.stream import Window


@dataclass(frozen=True)
class Source:
    """Where entries come from.

    Attributes:
        name: an rxfilename (see :func:`asr_rescore.kaldi.stream.open_window`).
        is_list: whether it contains ``key rxfilename`` lines (an .scp) instead of the entries themselves.
    """

    name: str
    is_list: bool

    @classmethod
    def parse(cls, source: str | os.PathLike[str]) -> Source:
        """Interpret a path (``.scp`` is a list) or an rspecifier (``ark:…``, ``ark,t:…``, ``scp:…``).

        Options (``t``, ``s``, ``cs``, ``o``) are accepted and ignored: they only promise a form or an order.

        Raises:
            InputError: it looks like an rspecifier but is not a valid one.
        """
        name = os.fspath(source).strip()
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
        return cls(parsed["scp" if is_list else "ark"].strip(), is_list)


def read_scp(window: Window) -> Iterator[tuple[str, str | InputError]]:
    """Yield (key, rxfilename) for each line of an .scp, or (key, error) if the line is wrong.

    Raises:
        InputError: the list cannot be read to its end.
    """
    for number, raw in enumerate(iter(window.line, b""), 1):
        if not raw.endswith(b"\n") and window.broken is not None:
            break
        parts = raw.decode("utf-8", errors="replace").strip(" \t\r\n\f\v").split(maxsplit=1)
        if len(parts) == 2:
            yield parts[0], parts[1]
        else:
            key = parts[0] if parts else ""
            error = InputError(
                f"{window.name}: line {number}",
                found=repr(key),
                expected="a key and a file name",
                remedy="make the .scp again",
            )
            yield key, error
    if window.broken is not None:
        raise window.broken
