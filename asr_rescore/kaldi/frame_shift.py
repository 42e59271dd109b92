"""How many seconds a frame of a lattice takes: the marks that Kaldi's models and data directories carry."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from asr_rescore.errors import InputError, shown
from asr_rescore.files import atomic_binary, read_lines
from asr_rescore.ranges import Range

SHIFT_FILE = "frame_shift"  # seconds
FACTOR_FILE = "frame_subsampling_factor"  # frames of the features for each frame of the lattices
MARKS = (SHIFT_FILE, FACTOR_FILE)
FEATURES = Decimal("0.01")  # Kaldi's features, unless a data directory says otherwise
SECONDS = Range(above=0, most=10)
FACTOR = Range(least=1, most=100)
LONGEST = 20  # characters of a number
LONGEST_MARK = 100  # bytes


@dataclass(frozen=True)
class FrameShift:
    """The frame shift of a decode directory.

    Attributes:
        seconds: for each frame.
        source: what says so, for messages.
    """

    seconds: float
    source: str


def frame_shift_of(decode_dir: Path | None, data_dir: Path | None = None) -> FrameShift | None:
    """The frame shift of the lattices in a decode directory, if a mark says more than that of Kaldi's features.

    As in Kaldi's get_ctm scripts, ``frame_shift`` of the model's directory, which is the one above, is taken as it is.
    Otherwise it is the frame shift of the features times the model's ``frame_subsampling_factor``. Both files may also
    be in the decode directory itself: a rescoring puts them into its output.

    Args:
        decode_dir: the decode directory; None if it is not known.
        data_dir: its ``frame_shift``, if it has one, is that of the features; they have 0.01 s otherwise.

    Returns:
        None if there is no mark.

    Raises:
        InputError: one of the files holds no number, or an impossible one.
    """
    shift = _mark(decode_dir, SHIFT_FILE)
    if shift is not None:
        return FrameShift(float(_number(shift, SECONDS)), str(shift))
    seconds = FEATURES
    sources = []
    if data_dir is not None and (of_data := data_dir / SHIFT_FILE).is_file():
        seconds = _number(of_data, SECONDS)
        sources.append(str(of_data))
    factor = _mark(decode_dir, FACTOR_FILE)
    if factor is not None:
        seconds *= _number(factor, FACTOR)
        sources.append(str(factor))
    return FrameShift(float(seconds), " and ".join(sources)) if sources else None


def copy_marks(decode_dir: Path, out_dir: Path) -> None:
    """Let ``out_dir`` carry the marks of ``decode_dir``, whose lattices have the same frames; others are removed."""
    for name in MARKS:
        mark = _mark(decode_dir, name)
        if mark is None:
            (out_dir / name).unlink(missing_ok=True)
            continue
        with mark.open("rb") as source, atomic_binary(out_dir / name) as copy:
            copy.write(source.read(LONGEST_MARK))


def _mark(decode_dir: Path | None, name: str) -> Path | None:
    """The file of this name in a decode directory or in that above, as Kaldi names it; None if there is none."""
    places = [] if decode_dir is None else [decode_dir / name, decode_dir / ".." / name]
    return next((path for path in places if path.is_file()), None)


def _number(path: Path, allowed: Range) -> Decimal:
    words = [word for _, line in read_lines(path) for word in line.split()]
    try:
        value = Decimal(words[0]) if len(words) == 1 and len(words[0]) <= LONGEST else None
    except InvalidOperation:
        value = None
    if value is None or float(value) not in allowed:
        raise InputError(
            path,
            found=shown(" ".join(words)),
            expected=f"one number, {allowed}",
            remedy="correct it, or give `frame_shift`",
        )
    return value
