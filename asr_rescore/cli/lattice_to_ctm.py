"""lattice_to_ctm: words with times and confidences."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from asr_rescore.cli.options import add_config_options, given, output_file, summary_stream

if TYPE_CHECKING:
    from asr_rescore.kaldi import FrameShift
    from asr_rescore.programs.lattice_to_ctm import CtmConfig

HELP = "write the words of each lattice with times and confidences, as a ctm file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_operating_point(parser)
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="D",
        help="its segments say where utterances are in recordings",
    )
    parser.add_argument("--allow-pipes", action="store_true", help="run commands in rspecifiers and .scp files")
    parser.add_argument("words", type=Path, metavar="words.txt", help="words.txt of the decoding graph")
    parser.add_argument(
        "lattices",
        metavar="lattice-rspecifier|decode-dir",
        help="for example an out-dir of rescore_nbest, or ark:lat.ark",
    )
    parser.add_argument("ctm", type=output_file, metavar="out-ctm", help="output file; -: standard output")


def add_operating_point(parser: argparse.ArgumentParser, names: Sequence[str] | None = None) -> None:
    """Declare the options of CtmConfig (or ``names`` of them), and --weights; see :func:`ctm_config`."""
    from asr_rescore.programs.lattice_to_ctm import CtmConfig

    add_config_options(parser, CtmConfig, names)
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="F",
        help="take --inv-acwt and --word-ins-penalty from a weights.yaml (or from the out-dir that holds it)",
    )


def ctm_config(
    arguments: argparse.Namespace, lattices: str, data_dir: Path | None, stream: TextIO, **defaults: Any
) -> CtmConfig:
    """The config that the options, ``--weights`` and the marks of the model's frame shift make.

    Args:
        arguments: with the options of :func:`add_operating_point`.
        lattices, data_dir: where marks of the frame shift may be.
        stream: where to say which marks were found.
        **defaults: fields in place of the config's own defaults.

    Raises:
        UsageError: the operating point is given twice.
    """
    from asr_rescore.errors import UsageError
    from asr_rescore.programs.lattice_to_ctm import CtmConfig
    from asr_rescore.rescoring.weights import ChosenWeights

    fields = defaults | given(arguments, CtmConfig)
    if arguments.weights is not None:
        if "inv_acwt" in fields or "word_ins_penalty" in fields:
            raise UsageError("--weights holds both --inv-acwt and --word-ins-penalty; leave them out")
        point = ChosenWeights.load(arguments.weights, None).weights.point
        fields |= {"inv_acwt": point.lmwt, "word_ins_penalty": point.wip}
    if "frame_shift" not in fields and (marked := _marked_frame_shift(lattices, data_dir)):
        fields["frame_shift"] = marked.seconds
        print(f"frame shift {marked.seconds:g} s, from {marked.source}", file=stream)
    return CtmConfig(**fields)


def run(arguments: argparse.Namespace) -> int:
    """Write the ctm; 1 if some utterances are missing or have no times.

    Raises:
        UsageError: the operating point is given twice.
    """
    from asr_rescore import kaldi
    from asr_rescore.outputs import check_outputs
    from asr_rescore.programs.lattice_to_ctm import write_ctm
    from asr_rescore.programs.sources import files_of
    from asr_rescore.rescoring.weights import WEIGHTS_FILE

    inputs = [*files_of(arguments.lattices), arguments.words]
    if arguments.weights is not None:
        inputs += [arguments.weights, arguments.weights / WEIGHTS_FILE]
    if arguments.data_dir is not None:
        inputs += [arguments.data_dir / name for name in ("segments", "reco2file_and_channel", "frame_shift")]
    check_outputs([arguments.ctm], inputs)
    config = ctm_config(arguments, arguments.lattices, arguments.data_dir, summary_stream(arguments.ctm))
    summary = write_ctm(
        arguments.lattices,
        kaldi.read_words(arguments.words),
        arguments.ctm,
        config,
        kaldi.read_places(arguments.data_dir) if arguments.data_dir else None,
        allow_pipes=arguments.allow_pipes,
    )
    failed = summary.failures.reasons
    print(
        f"{arguments.ctm}: {summary.words} words of {summary.utterances} utterances, "
        f"{summary.risk:.1f} word errors expected, {len(failed)} failed",
        file=summary_stream(arguments.ctm),
    )
    summary.failures.log()
    return 1 if failed else 0


def _marked_frame_shift(lattices: str, data_dir: Path | None) -> FrameShift | None:
    """The frame shift of a decode directory, or of that in which a lattice file is; None if there are no marks."""
    from asr_rescore.kaldi import frame_shift_of

    place = Path(lattices)
    return frame_shift_of(place if place.is_dir() else place.parent if place.is_file() else None, data_dir)
