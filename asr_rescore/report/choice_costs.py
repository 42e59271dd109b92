"""costs.jsonl: why a rescoring chose another hypothesis than the first pass: costs by part, and of each word."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.errors import InputError, shown
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.ranges import FINITE
from asr_rescore.records import Record, parse_json

COSTS_FILE = "costs.jsonl"  # in scoring_kaldi/
KIND = "the costs of two hypotheses"
REMEDY = "rescore again, or remove the file; the page is then without these costs"
OLD_LM_NAME = "old LM"

Costs = tuple[float, ...]
Pair = tuple[Costs, Costs]  # of the first pass's hypothesis, and of the chosen one


@dataclass(frozen=True)
class ChoiceCosts:
    """The costs of the first pass's hypothesis of an utterance and of another that the rescoring chose.

    Attributes:
        parts: name of a part of the total cost → its weighted cost in the first pass's hypothesis and in the chosen
            one; empty if they are not known.
        words: name of a language model → what each word costs, and last the end, in both hypotheses. Not weighted.
    """

    parts: Mapping[str, tuple[float, float]]
    words: Mapping[str, Pair]


def write_choice_costs(path: Path, entries: Iterable[tuple[str, ChoiceCosts]]) -> None:
    """Write one line for each utterance; costs have three decimals."""
    with atomic_text(path) as stream:
        for utt, costs in entries:
            tree = {
                "utt": utt,
                "parts": {name: _rounded(pair) for name, pair in costs.parts.items()},
                "words": {name: [_rounded(costs) for costs in pair] for name, pair in costs.words.items()},
            }
            stream.write(json.dumps(tree, ensure_ascii=False) + "\n")


def read_choice_costs(path: Path) -> dict[str, ChoiceCosts]:
    """Utterance → costs.

    Raises:
        InputError: the file is missing or damaged.
    """
    found = {}
    for number, line in read_lines(path):
        record = parse_json(line, f"{path}: line {number}", KIND, REMEDY)
        parts = record.record("parts")
        words = record.record("words")
        found[record.text("utt")] = ChoiceCosts(
            {name: _two_numbers(parts, name) for name in parts.values},
            {name: _pair(words, name) for name in words.values},
        )
    return found


def _rounded(costs: Sequence[float]) -> list[float]:
    return [round(cost, 3) for cost in costs]


def _two_numbers(record: Record, key: str) -> tuple[float, float]:
    numbers = record.numbers(key)
    if len(numbers) != 2:
        record.refuse(key, "two numbers")
    return numbers[0], numbers[1]


def _pair(record: Record, key: str) -> Pair:
    both = record.items(key)
    if len(both) != 2 or not all(isinstance(costs, list) and all(cost in FINITE for cost in costs) for costs in both):
        raise InputError(f"{record.where}.{key}", found=shown(both), expected=f"two lists in {KIND}", remedy=REMEDY)
    return tuple(map(float, both[0])), tuple(map(float, both[1]))
