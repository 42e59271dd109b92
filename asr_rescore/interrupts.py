"""Ctrl-C and SIGTERM: both end the work in good order, and a training waits until its state is saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from asr_rescore.errors import Terminated


def raise_terminated(number: int, frame: FrameType | None) -> None:
    """Let SIGTERM raise an exception, as Ctrl-C does, so that unfinished files are removed."""
    raise Terminated


def end_in_good_order() -> None:
    """From now on SIGTERM raises :class:`Terminated`; for programs, unless they handle or ignore the signal."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, raise_terminated)


class Interrupt:
    """A context in which the first Ctrl-C or SIGTERM is only noted; a second one interrupts at once.

    It changes nothing outside the main thread, or for a signal that the program itself handles or ignores.

    Args:
        patient: only note further signals too: torchrun sends its processes another one while they save their state.

    Attributes:
        wanted: whether a signal came.
    """

    # The handlers that are replaced, because nobody has asked for anything else.
    DEFAULTS = {
        signal.SIGINT: (signal.default_int_handler,),
        signal.SIGTERM: (signal.SIG_DFL, raise_terminated),
    }

    def __init__(self, *, patient: bool = False) -> None:
        self.patient = patient
        self.wanted = False
        self._came: int | None = None
        self._replaced: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number, defaults in self.DEFAULTS.items():
                handler = signal.getsignal(number)
                if handler in defaults:
                    self._replaced[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def end(self) -> KeyboardInterrupt:
        """The exception for the signal that came: raise it when the state is saved."""
        return Terminated() if self._came == signal.SIGTERM else KeyboardInterrupt()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
        self._came = number
        if not self.patient:
            self._restore()

    def _restore(self) -> None:
        while self._replaced:
            number, handler = self._replaced.popitem()
            signal.signal(number, handler)
