"""Student's t distribution; its distribution function is a finite sum (Abramowitz and Stegun 1964, 26.7.3, 26.7.4)."""

from __future__ import annotations

import math

_BISECTIONS = 100  # halvings of an angle in float64: more change nothing


def t_quantile(probability: float, freedom: int) -> float:
    """The value that Student's t with so many degrees of freedom does not exceed with this probability, 0.5 to 1."""
    low = 0.0
    high = math.pi / 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _inside(middle, freedom) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def t_outside(t: float, freedom: int) -> float:
    """P(|T| ≥ t), 0 to 1, with so many degrees of freedom; ``t`` ≥ 0."""
    return max(0.0, 1 - _inside(math.atan(t / math.sqrt(freedom)), freedom))


def _inside(angle: float, freedom: int) -> float:
    """P(|T| < t), where the angle is arctan(t / √freedom)."""
    cosine = math.cos(angle)
    odd = freedom % 2
    # The terms cos θ, 2/3 cos³ θ, 2·4/(3·5) cos⁵ θ, … if freedom is odd; 1, 1/2 cos² θ, 1·3/(2·4) cos⁴ θ, … if even.
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
