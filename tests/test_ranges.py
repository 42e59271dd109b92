"""Every number that a user can give has a range, and NaN and infinity are in none."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from asr_rescore.cli.main import main
from asr_rescore.config import ModelConfig, ObjectiveConfig, TrainConfig
from asr_rescore.errors import UsageError
from asr_rescore.lm_config import CacheConfig, DynamicConfig, SamplingConfig
from asr_rescore.programs.lattice_to_ctm import CtmConfig
from asr_rescore.programs.lattice_to_nbest import NBestConfig
from asr_rescore.ranges import FINITE, Range
from asr_rescore.ranking import OperatingPoint, Weights
from asr_rescore.rescoring.config import LatticeConfig, ListConfig

CONFIGS = [
    ModelConfig(),
    ObjectiveConfig(),
    TrainConfig(),
    CacheConfig(),
    DynamicConfig(),
    SamplingConfig(),
    CtmConfig(),
    NBestConfig(),
    LatticeConfig(),
    ListConfig(),
]
NUMBERS = [
    pytest.param(config, option.name, id=f"{type(config).__name__}.{option.name}")
    for config in CONFIGS
    for option in fields(config)
    if type(getattr(config, option.name)) in (int, float)
]
MAY_BE_INFINITE = {"beam"}  # no pruning


@pytest.mark.parametrize(("config", "name"), NUMBERS)
def test_no_setting_takes_a_number_that_is_none(config, name):
    for value in (math.nan, math.inf, -math.inf):
        if value == math.inf and name in MAY_BE_INFINITE:
            continue
        with pytest.raises(UsageError, match=f"{name}.* (is|are) "):
            replace(config, **{name: value})


WHOLE = [case for case in NUMBERS if type(getattr(case.values[0], case.values[1])) is int]


@pytest.mark.parametrize(("config", "name"), WHOLE)
def test_no_count_is_beyond_all_reason(config, name):
    for value in (-3, 10**30):
        with pytest.raises(UsageError, match=f"{name}.* is "):
            replace(config, **{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_operating_point_is_finite(value):
    for point in ((value, 0.0), (12.0, value)):
        with pytest.raises(UsageError, match="LMWT|word insertion penalty"):
            OperatingPoint(*point)
    with pytest.raises(UsageError, match="LM weights are"):
        Weights((value,), OperatingPoint(12.0))
    with pytest.raises(UsageError, match="`word_ins_penalty` is"):
        ListConfig(word_ins_penalty=(0.0, value))


OPTIONS = {
    "train_lm": ["--seed"],
    "prepare_text": ["--vocabulary-size", "--valid-fraction", "--valid-words", "--min-count"],
    "cache_teacher": ["--nj", "--job"],
    "sample_text": ["--sentences", "--tokens"],
    "rescore_nbest": ["--nj", "--job"],
    "rescore_lattice": ["--nj", "--job"],
}


@pytest.mark.parametrize("value", ["nan", "-3", "1e400", "9" * 30, "9" * 5000, ""])
@pytest.mark.parametrize(("command", "option"), [(name, option) for name in OPTIONS for option in OPTIONS[name]])
def test_numbers_of_the_command_line_have_a_range(command, option, value, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([command, f"{option}={value}"])
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"error: argument {option}: " in message and len(message) < 250


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "text"),
    [
        (FINITE, [0, -1.5, np.float32(2), 10**300], [10**400, math.nan, math.inf, "1", None, True], "a finite number"),
        (Range(least=1, whole=True), [1, np.int64(7)], [0, 1.5, 2.0], "1 or more"),
        (Range(above=0), [1e-320], [0, -0.0], "a number above 0"),
        (Range(least=0, below=1), [0], [1], "at least 0 and below 1"),
        (Range(above=0, most=1), [1], [0], "above 0 and at most 1"),
        (Range(least=1, most=9, whole=True), [1, 9], [0, 10, 10**30], "1 to 9"),
        (Range(whole=True), [-3], [0.5], "an integer"),
    ],
)
def test_a_range_says_what_is_in_it(allowed, inside, outside, text):
    assert all(value in allowed for value in inside) and not any(value in allowed for value in outside)
    assert str(allowed) == text
