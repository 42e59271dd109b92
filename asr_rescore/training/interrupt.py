"""Ctrl-C that waits until the state can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupt:
    """A context in which the first Ctrl-C is only noted; a second one interrupts at once.

    It changes nothing outside the main thread, or if the program already handles or ignores Ctrl-C.

    Attributes:
        wanted: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._ours = False

    def __enter__(self) -> Interrupt:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._ours = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
