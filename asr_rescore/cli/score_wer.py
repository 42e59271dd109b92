"""score_wer: the word error rate of hypotheses against references."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr_rescore.cli.options import add_config_options, check_one_stdin, given, input_file, name_of, read_config
from asr_rescore.scoring import ScoringConfig

if TYPE_CHECKING:
    from asr_rescore.word_errors import ErrorCount

HELP = "print the word error rate of a hypothesis file as Kaldi's compute-wer or NIST's sclite does"
FORMATS = ("text", "trn", "stm")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from asr_rescore.sclite import ScliteConfig

    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="text: Kaldi's text files, scored as compute-wer does; trn: two trn files, scored as sclite does; stm: an "
        "stm and a ctm file, scored as sclite does; default: trn or stm if the reference's name ends so, else text",
    )
    parser.add_argument(
        "--mode",
        choices=("all", "present"),
        default="all",
        help="all: a missing hypothesis counts as deletions; present: its utterance is left out (default: %(default)s)",
    )
    parser.add_argument(
        "--details-dir",
        type=Path,
        metavar="DIR",
        help="directory for per_utt, per_spk, ops and wer_bootci; of trn and stm: per_spk, per_label and wer_bootci",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="D",
        help="data directory whose utt2spk has the speakers for per_spk; default: each utterance is a speaker",
    )
    add_config_options(parser, ScoringConfig, helps={"cer": "count characters instead of words"})
    nist = parser.add_argument_group("trn and stm")
    add_config_options(nist, ScliteConfig)
    nist.add_argument(
        "--glm", type=Path, metavar="F", help="rules that rewrite references and hypotheses (NIST: csrfilt)"
    )
    parser.add_argument(
        "reference",
        type=input_file,
        metavar="ref",
        help="references; in a text, each line is an utterance id and words; -: standard input",
    )
    parser.add_argument(
        "hypothesis", type=input_file, metavar="hyp", help="hypotheses; a text, trn or ctm; -: standard input"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the word error rate, and say which utterances lack a hypothesis or a reference."""
    check_one_stdin(arguments.reference, arguments.hypothesis)
    found = arguments.reference.name.removesuffix(".gz").rpartition(".")[2]
    chosen = arguments.format or (found if found in FORMATS else "text")
    _check_options(arguments, chosen)
    return _score_text(arguments) if chosen == "text" else _score_sclite(arguments, chosen)


def _check_options(arguments: argparse.Namespace, chosen: str) -> None:
    """Refuse what the format has no use for.

    Raises:
        UsageError: such an option was given.
    """
    from asr_rescore.errors import UsageError
    from asr_rescore.sclite import ScliteConfig

    if chosen == "text":
        unused = [*given(arguments, ScliteConfig), *(["glm"] if arguments.glm else [])]
        remedy = "give trn, or stm and ctm files, and --format if their names do not say so"
    else:
        unused = [*given(arguments, ScoringConfig), *(["data_dir"] if arguments.data_dir else [])]
        remedy = "leave it out, or give text files of Kaldi"
        if chosen == "stm" and arguments.mode != "all":
            raise UsageError("--mode present is for text and trn; segments of an stm without words are deletions")
    if unused:
        raise UsageError(f"--{unused[0].replace('_', '-')} is not for --format {chosen}; {remedy}")


def _score_text(arguments: argparse.Namespace) -> int:
    from asr_rescore.errors import UsageError
    from asr_rescore.kaldi import read_data_dir, read_table
    from asr_rescore.outputs import check_outputs
    from asr_rescore.report import IN_CHARACTERS, IN_WORDS, write_details
    from asr_rescore.scoring import InCharacters, Scoring
    from asr_rescore.word_errors import wer

    config = read_config(ScoringConfig, arguments)
    unit = IN_CHARACTERS if config.cer else IN_WORDS
    if arguments.data_dir and not arguments.details_dir:
        raise UsageError("--data-dir is only for the files in --details-dir; give both")
    if arguments.details_dir:
        inputs = [arguments.reference, arguments.hypothesis]
        if arguments.data_dir:
            inputs += [arguments.data_dir / name for name in ("utt2spk", "text")]
        check_outputs([arguments.details_dir / name for name in unit.details_files()], inputs)
    scoring = Scoring.open(config)
    references = scoring.references(read_table(arguments.reference))
    hypotheses = scoring.hypotheses(read_table(arguments.hypothesis))
    _warn_of_alternatives(arguments, references)
    if config.cer:
        references = InCharacters(references)
        hypotheses = InCharacters(hypotheses)
    if arguments.details_dir:
        speakers = read_data_dir(arguments.data_dir).utt2spk if arguments.data_dir else {}
        write_details(arguments.details_dir, references, hypotheses, speakers, arguments.mode, unit)
    errors = wer(references, hypotheses, arguments.mode)
    print(errors.lines(), end="")
    if not config.cer:
        _warn_of_spelling(arguments, errors, references, hypotheses)
    missing = references.keys() - hypotheses.keys()
    return _tell_unpaired(arguments, sorted(missing), sorted(hypotheses.keys() - references.keys()))


def _warn_of_alternatives(arguments: argparse.Namespace, references: Mapping[str, Sequence[str]]) -> None:
    """Say that references look like those of a trn, in which ``{ a / b }`` stands for a or b."""
    import sys

    from asr_rescore.errors import printable
    from asr_rescore.sclite import alternatives_in

    found = [alternatives for alternatives in map(alternatives_in, references.values()) if alternatives]
    if found:
        text = (
            f"{name_of(arguments.reference)}: warning: alternatives as sclite has them in {len(found)} of "
            f"{len(references)} references, for example {found[0]}; here each of their words and marks counts. With "
            "--format trn, the best alternative does; both files then have the utterance id last, in parentheses "
            "(docs/scoring.md)"
        )
        print(printable(text), file=sys.stderr)


def _warn_of_spelling(
    arguments: argparse.Namespace,
    errors: ErrorCount,
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
) -> None:
    """Say that references are in another case than hypotheses, if nearly all words count as errors."""
    import sys

    from asr_rescore.errors import printable
    from asr_rescore.spelling import WARN_WER, reference_hint

    if errors.reference_words and errors.wer >= WARN_WER:
        hint = reference_hint(hypotheses.values(), references.values())
        if hint:
            print(printable(f"{name_of(arguments.reference)}: warning: {hint}"), file=sys.stderr)


def _score_sclite(arguments: argparse.Namespace, chosen: str) -> int:
    import sys

    from asr_rescore.errors import printable
    from asr_rescore.outputs import check_outputs
    from asr_rescore.report import sclite_files, write_sclite_files
    from asr_rescore.sclite import ScliteConfig, score_stm, score_trn

    config = read_config(ScliteConfig, arguments)
    inputs = [arguments.reference, arguments.hypothesis, *([arguments.glm] if arguments.glm else [])]
    if arguments.details_dir:
        check_outputs([arguments.details_dir / name for name in sclite_files(chosen == "stm")], inputs)
    if chosen == "trn":
        result = score_trn(arguments.reference, arguments.hypothesis, config, glm=arguments.glm, mode=arguments.mode)
    else:
        result = score_stm(arguments.reference, arguments.hypothesis, config, glm=arguments.glm)
    if arguments.details_dir:
        write_sclite_files(arguments.details_dir, result, labels=chosen == "stm")
    print(result.total.lines(), end="")
    for recording in result.silent:
        print(
            printable(f"{name_of(arguments.hypothesis)}: no word of {recording}; all of it counts as deleted"),
            file=sys.stderr,
        )
    return _tell_unpaired(arguments, result.missing, result.unexpected)


def _tell_unpaired(arguments: argparse.Namespace, missing: Sequence[str], unexpected: Sequence[str]) -> int:
    import sys

    from asr_rescore.errors import printable

    for utt in missing:
        print(printable(f"{name_of(arguments.hypothesis)}: no hypothesis for {utt}"), file=sys.stderr)
    for utt in unexpected:
        print(
            printable(f"{name_of(arguments.reference)}: no reference for {utt}, which is not scored"), file=sys.stderr
        )
    return 1 if missing or unexpected else 0
