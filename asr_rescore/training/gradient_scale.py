"""The factor that keeps gradients within float16's range; every training in mixed precision adapts one like this."""

from __future__ import annotations

from dataclasses import dataclass

from asr_rescore.models.lstm import GRADIENT_SCALE

LEAST = 1.0
STEADY_STEPS = 2000  # after so many steps without an overflow the factor is doubled, as by torch.amp.GradScaler


@dataclass
class GradientScale:
    """The factor, a power of two, which changes no digit of a gradient that is within the range.

    Attributes:
        value: from ``LEAST`` to ``GRADIENT_SCALE``, with which training begins.
        steady: number of steps since its last change.
    """

    value: float = GRADIENT_SCALE
    steady: int = 0

    def skips(self, finite: bool) -> bool:
        """Adapt to a gradient, and tell whether it overflowed, so that its step must be skipped.

        Args:
            finite: whether the gradient is. If it is not even with the least factor, this is no overflow.
        """
        if not finite:
            if self.value <= LEAST:
                return False
            self.value /= 2
            self.steady = 0
            return True
        self.steady += 1
        if self.value < GRADIENT_SCALE and self.steady >= STEADY_STEPS:
            self.value *= 2
            self.steady = 0
        return False
