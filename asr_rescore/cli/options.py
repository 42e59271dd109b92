"""Options that several commands share; those of a config come from its dataclass, which alone knows the defaults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from asr_rescore.errors import UsageError, shown
from asr_rescore.files import STDIN, STDOUT
from asr_rescore.ranges import Range

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def add_config_options(
    parser: argparse._ActionsContainer,
    config_class: type[DataclassInstance],
    names: Sequence[str] | None = None,
    prefix: str = "",
    helps: Mapping[str, str] | None = None,
) -> None:
    """Add one option for each field of a config.

    A field's default decides how the option is read: a number or a text as such, a tuple as numbers separated by
    commas, and a bool as a flag without a value. An option that the user does not give is left out of the parsed
    arguments, so that the default comes from the dataclass alone.

    Args:
        parser: the parser, or a group of one.
        config_class: a dataclass whose fields have a default and ``metadata["help"]``. ``metadata["choices"]`` lists
            the values that are allowed, ``metadata["metavar"]`` names the value in the help; both may be missing.
        names: the fields to add, in this order; None for all fields.
        prefix: put before each field's name: with ``dynamic_``, the field ``lr`` becomes ``--dynamic-lr``.
        helps: field → what its option does in this command, where that is not what ``metadata["help"]`` says.
    """
    by_name = {option.name: option for option in fields(config_class)}
    for name in by_name if names is None else names:
        _add_option(parser, by_name[name], prefix, (helps or {}).get(name, by_name[name].metadata["help"]))


def given(arguments: argparse.Namespace, config_class: type[DataclassInstance], prefix: str = "") -> dict[str, Any]:
    """The fields that the user gave on the command line, with their values."""
    values = vars(arguments)
    names = [option.name for option in fields(config_class)]
    return {name: values[prefix + name] for name in names if prefix + name in values}


def read_config(config_class: type[Config], arguments: argparse.Namespace, prefix: str = "") -> Config:
    """Build the config from the options that the user gave; all other fields keep the dataclass's default.

    Raises:
        UsageError: the config refuses a value.
    """
    return config_class(**given(arguments, config_class, prefix))


def input_file(name: str) -> Path:
    """The ``type`` of an argument that names a file to read; ``-`` is standard input."""
    return STDIN if name == "-" else Path(name)


def name_of(file: Path) -> str:
    """What messages call an input."""
    return "standard input" if file == STDIN else str(file)


def check_one_stdin(*inputs: Path | None) -> None:
    """Refuse to read standard input twice: the second file would be empty.

    Raises:
        UsageError: several of the inputs are standard input.
    """
    if inputs.count(STDIN) > 1:
        raise UsageError("- stands for standard input more than once; give files for the others")


def output_file(name: str) -> Path:
    """The ``type`` of an argument that names a file to write; ``-`` is standard output."""
    return STDOUT if name == "-" else Path(name)


def summary_stream(output: Path | None) -> TextIO:
    """Where a command says what it did: stdout, or stderr if its output goes to stdout."""
    return sys.stderr if output == STDOUT else sys.stdout


def add_utterance_id_options(parser: argparse.ArgumentParser) -> None:
    """Declare ``kaldi_text``: whether lines start with an utterance id; None to refuse a text that could have them."""
    ids = parser.add_mutually_exclusive_group()
    ids.add_argument(
        "--kaldi-text", action="store_true", default=None, help="skip the utterance id at the start of each line"
    )
    ids.add_argument(
        "--no-utterance-ids",
        dest="kaldi_text",
        action="store_false",
        default=None,
        help="accept lines that all start with different numbers, which could be utterance ids",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--device``; its value is for :func:`asr_rescore.models.choose_device`."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto: on a GPU if there is one (default: %(default)s)",
    )


def _add_option(parser: argparse._ActionsContainer, option: Field[Any], prefix: str, text: str) -> None:
    flag = "--" + (prefix + option.name).replace("_", "-")
    if isinstance(option.default, bool):
        parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        return
    choices = option.metadata.get("choices")
    parser.add_argument(
        flag,
        type=_type_of(option.default),
        choices=choices,
        metavar=None if choices else option.metadata.get("metavar", option.name.upper()),
        default=argparse.SUPPRESS,
        help=text if option.default == "" else f"{text} (default: {_shown(option.default)})",
    )


def number(kind: type[int] | type[float], allowed: Range | None = None) -> Callable[[str], float]:
    """The ``type`` of an option that is a number; ``allowed`` is left out if a config checks it."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"invalid {kind.__name__} value: {shown(text)}") from error
        if allowed is not None and value not in allowed:
            raise argparse.ArgumentTypeError(f"found {shown(text)}, expected {allowed.expected(value)}")
        return value

    return read


def _type_of(default: object) -> Callable[[str], Any]:
    if isinstance(default, tuple):
        return _numbers
    if isinstance(default, int):
        return number(int)
    return number(float) if isinstance(default, float) else str


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a list of numbers such as 0.0,0.5") from error
