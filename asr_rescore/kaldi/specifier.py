"""What a Kaldi user may name as input: a file, a list of places in files, a directory, or an rspecifier."""

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
        is_list: it holds ``key rxfilename`` lines (an .scp), not the entries themselves.
    """

    name: str
    is_list: bool

    @classmethod
    def parse(cls, source: str | os.PathLike[str]) -> Source:
        """Tell a path (``.scp`` is a list) from an rspecifier (``ark:…``, ``ark,t:…``, ``scp:…``).

        Options that only promise an order or a form (``t``, ``s``, ``cs``, ``o``) need nothing done for them.

        Raises:
            InputError: it looks like an rspecifier and is none.
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
    """Yield (key, rxfilename) of an .scp, or (key, what is wrong with its line).

    Raises:
        InputError: the list itself cannot be read to its end.
    """
    number = 0
    while raw := window.line():
        if not raw.endswith(b"\n") and window.broken is not None:
            break
        number += 1
        parts = raw.decode("utf-8", errors="replace").strip(" \t\r\n\f\v").split(maxsplit=1)
        if len(parts) == 2:
            yield parts[0], parts[1]
        else:
            yield (
                parts[0] if parts else "",
                InputError(
                    f"{window.name}: line {number}",
                    found=repr(parts[0] if parts else ""),
                    expected="a key and a file name",
                    remedy="make the .scp again",
                ),
            )
    if window.broken is not None:
        raise window.broken
