"""Signals during work that must be saved first: one is noted; whether a second one interrupts depends."""

from __future__ import annotations

import os
import signal

import pytest

from asr_rescore.errors import Terminated
from asr_rescore.interrupts import Interrupt, raise_terminated


@pytest.fixture(autouse=True)
def as_in_a_program():
    """SIGTERM raises, as in every command."""
    previous = signal.signal(signal.SIGTERM, raise_terminated)
    yield
    signal.signal(signal.SIGTERM, previous)


def test_a_second_signal_interrupts_at_once():
    with pytest.raises(Terminated), Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.wanted
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_patient_one_notes_them_all():
    """torchrun passes on a signal that a scheduler has already sent to all processes."""
    with Interrupt(patient=True) as interrupt:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.wanted
        assert isinstance(interrupt.end(), Terminated)
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
