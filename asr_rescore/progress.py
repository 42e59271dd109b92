"""Progress bars, which only commands show: a program that imports this package keeps its own terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_enabled = False


def show_progress(enabled: bool = True) -> None:
    """Let long work of this package draw progress bars on a terminal; they are off until this is called."""
    global _enabled
    _enabled = enabled


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """A tqdm bar with these ``options``, drawn on stderr if that is a terminal and :func:`show_progress` was called."""
    from tqdm import tqdm

    # disable=None is tqdm's own test for a terminal.
    return tqdm(iterable, disable=None if _enabled else True, **options)
