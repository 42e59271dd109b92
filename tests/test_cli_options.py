"""Options made from a config dataclass."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import pytest

from asr_rescore.cli.main import main
from asr_rescore.cli.options import add_config_options, given, read_config
from asr_rescore.errors import UsageError


@dataclass(frozen=True)
class Drink:
    cups: int = field(default=2, metadata={"help": "number of cups"})
    sugar_weight: float = field(default=12.0, metadata={"help": "weight in g", "metavar": "G"})
    kind: str = field(default="tea", metadata={"help": "what to brew", "choices": ("tea", "coffee")})
    name: str = field(default="Ada", metadata={"help": "who drinks it"})
    hot: bool = field(default=False, metadata={"help": "heat it"})
    sips: tuple[float, ...] = field(default=(0.0, 0.5), metadata={"help": "sizes of the sips"})

    def __post_init__(self) -> None:
        if self.cups < 1:
            raise UsageError(f"`cups` is {self.cups}, expected 1 or more")


def parse(*argv: str, names: list[str] | None = None, prefix: str = "") -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_config_options(parser, Drink, names, prefix)
    return parser.parse_args(argv)


@pytest.mark.parametrize(
    ("argv", "fields"),
    [
        ([], {}),
        (["--cups", "2"], {"cups": 2}),  # the default itself is given, too
        (["--cups", "3", "--hot"], {"cups": 3, "hot": True}),
        (["--sugar-weight", "0.5"], {"sugar_weight": 0.5}),
        (["--kind", "coffee", "--name", "Grace Hopper"], {"kind": "coffee", "name": "Grace Hopper"}),
        (["--sips", "1"], {"sips": (1.0,)}),
        (["--sips=-1,2.5"], {"sips": (-1.0, 2.5)}),
    ],
)
def test_only_what_the_user_gave_is_given_and_the_dataclass_has_the_rest(argv, fields):
    arguments = parse(*argv)
    assert vars(arguments) == fields
    assert given(arguments, Drink) == fields
    assert read_config(Drink, arguments) == Drink(**fields)


def test_a_prefix_keeps_two_configs_apart():
    parser = argparse.ArgumentParser()
    add_config_options(parser, Drink)
    add_config_options(parser, Drink, prefix="second_")
    arguments = parser.parse_args(["--cups", "3", "--second-sugar-weight", "1", "--second-hot"])
    assert given(arguments, Drink) == {"cups": 3}
    assert given(arguments, Drink, "second_") == {"sugar_weight": 1.0, "hot": True}
    assert read_config(Drink, arguments, "second_") == Drink(sugar_weight=1.0, hot=True)


def test_only_the_named_fields_become_options():
    assert vars(parse("--cups", "3", names=["hot", "cups"])) == {"cups": 3}
    with pytest.raises(SystemExit, match="2"):
        parse("--kind", "tea", names=["hot", "cups"])
    with pytest.raises(KeyError, match="colour"):
        parse(names=["colour"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--cups", "2.5"], "argument --cups: invalid int value: '2.5'"),
        (["--sugar-weight", "much"], "argument --sugar-weight: invalid float value: 'much'"),
        (["--kind", "milk"], "argument --kind: invalid choice: 'milk'"),
        (["--sips", "1;2"], "argument --sips: '1;2' is not a list of numbers such as 0.0,0.5"),
        (["--sips", ""], "argument --sips: '' is not a list of numbers"),
    ],
)
def test_a_wrong_value_is_argparse_s_own_error(argv, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(*argv)
    assert message in capsys.readouterr().err


def test_the_config_refuses_its_own_values():
    with pytest.raises(UsageError, match="`cups` is 0"):
        read_config(Drink, parse("--cups", "0"))


@pytest.mark.parametrize(
    "line",
    [
        "--cups CUPS number of cups (default: 2)",
        "--sugar-weight G weight in g (default: 12)",
        "--kind {tea,coffee} what to brew (default: tea)",
        "--hot heat it",
        "--sips SIPS sizes of the sips (default: 0.0,0.5)",
    ],
)
def test_the_help_shows_the_dataclass_s_defaults(line):
    parser = argparse.ArgumentParser()
    add_config_options(parser, Drink)
    assert line in " ".join(parser.format_help().split())


def test_a_command_can_say_what_an_option_does_there():
    parser = argparse.ArgumentParser()
    add_config_options(parser, Drink, helps={"hot": "heat the cups", "cups": "cups of guests"})
    text = " ".join(parser.format_help().split())
    assert "--hot heat the cups" in text
    assert "cups of guests (default: 2)" in text


@pytest.mark.parametrize(
    ("command", "option", "hint"),
    [
        ("rescore_lattice", ["--tune"], "; rescore_nbest --tune finds weights on a dev set, and --weights takes them"),
        ("rescore_nbest", ["--N", "100"], "; here it is --n; see asr-rescore rescore_nbest --help"),
        ("rescore_nbest", ["--N=100"], "; here it is --n; see asr-rescore rescore_nbest --help"),
        ("rescore_nbest", ["--x"], "unrecognized arguments: --x; see asr-rescore rescore_nbest --help"),
    ],
)
def test_options_that_are_looked_for_in_the_wrong_command(capsys, command, option, hint):
    with pytest.raises(SystemExit, match="2"):
        main([command, *option, "lang", "lm", "data", "decode", "out"])
    error = capsys.readouterr().err
    assert f"unrecognized arguments: {option[0]}" in error
    assert hint in error
