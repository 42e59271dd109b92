"""State and settings in JSON and YAML files: read within bounds, and checked value by value where they are used."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from asr_rescore.errors import InputError, RescoreError, shown
from asr_rescore.files import open_binary
from asr_rescore.ranges import FINITE, Range

# Settings are written by hand, and PyYAML takes a second for each 100 kB.
YAML_BYTES = 1 << 20
YAML_DEPTH = 20  # an ensemble of ensembles takes two levels for each
MERGE_TAG = "tag:yaml.org,2002:merge"
YAML_SCALAR = 10_000  # characters; long integers take time that grows with the square of their length
# A report has about 200 bytes for each utterance; reading takes five times the size of the file.
JSON_BYTES = 1 << 30

Value = TypeVar("Value")


@dataclass(frozen=True)
class Record:
    """A mapping from a file. Each method takes one value out and checks it.

    Attributes:
        where: the file, and the place in it if this is not its top level.
        values: key → value.
        kind: what the file should be, for errors, e.g. ``the report of a rescoring``.
        remedy: what the user can do if it is damaged.

    Raises:
        InputError: a key is missing or has a value of another type; raised by every method.
    """

    where: str
    values: Mapping[str, Any]
    kind: str
    remedy: str

    @classmethod
    def of(cls, value: object, where: str, kind: str, remedy: str) -> Record:
        """Check that a value is a mapping whose keys are text."""
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise InputError(where, found=shown(value), expected=f"a mapping in {kind}", remedy=remedy)
        return cls(where, value, kind, remedy)

    def __contains__(self, key: str) -> bool:
        """Whether there is a value that is not null."""
        return self.values.get(key) is not None

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raise the error about a value."""
        found = shown(self.values[key]) if key in self.values else "no such key"
        raise InputError(self._at(key), found=found, expected=f"{expected} in {self.kind}", remedy=self.remedy)

    def text(self, key: str) -> str:
        """A string."""
        return self._typed(key, str, "text")

    def number(self, key: str, allowed: Range = FINITE) -> float:
        """A number in a range."""
        value = self.values.get(key)
        if value not in allowed:
            self.refuse(key, str(allowed))
        return float(value)  # type: ignore[arg-type]  # a number, says the range

    def integer(self, key: str, least: int = 0) -> int:
        """An integer that is not below ``least``."""
        value = self.values.get(key)
        if value not in Range(least=least, below=2**63, whole=True):
            self.refuse(key, f"an integer, {least} or more,")
        return int(value)  # type: ignore[arg-type]  # an integer, says the range

    def flag(self, key: str) -> bool:
        """True or false."""
        return self._typed(key, bool, "true or false")

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        return self._typed(key, list, "a list")

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers."""
        values = self.items(key)
        if not all(value in FINITE for value in values):
            self.refuse(key, "a list of finite numbers")
        return tuple(float(value) for value in values)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            self.refuse(key, "a list of texts")
        return tuple(values)

    def record(self, key: str) -> Record:
        """A mapping."""
        if not isinstance(self.values.get(key), dict):
            self.refuse(key, "a mapping")
        return Record.of(self.values[key], self._at(key), self.kind, self.remedy)

    def records(self, key: str) -> list[Record]:
        """A list of mappings."""
        return [
            Record.of(value, f"{self._at(key)}.{index}", self.kind, self.remedy)
            for index, value in enumerate(self.items(key))
        ]

    def texts_by_name(self, key: str) -> dict[str, str]:
        """A mapping whose values are strings."""
        record = self.record(key)
        return {name: record.text(name) for name in record.values}

    def valid(self, key: str, make: Callable[[], Value]) -> Value:
        """What ``make`` returns; if it refuses the values, the error names this place."""
        try:
            return make()
        except InputError:
            raise
        except (RescoreError, TypeError, ValueError) as error:
            where = self._at(key) if key else self.where
            raise InputError(where, found=str(error), expected=self.kind, remedy=self.remedy) from error

    def _typed(self, key: str, kind: type[Value], expected: str) -> Value:
        value = self.values.get(key)
        if not isinstance(value, kind):
            self.refuse(key, expected)
        return value

    def _at(self, key: str) -> str:
        return f"{self.where}{'.' if ': ' in self.where else ': '}{key}"


def read_json(path: Path, kind: str, remedy: str) -> Record:
    """Read a JSON file that contains one mapping.

    Args:
        path: the file.
        kind: what it should be, for errors.
        remedy: what the user can do if it is damaged.

    Raises:
        InputError: the file cannot be read, or is not JSON.
    """
    return parse_json(_read_text(path, JSON_BYTES, kind, remedy), str(path), kind, remedy)


def parse_json(text: str, where: str, kind: str, remedy: str) -> Record:
    """The same, for a text that is in another file."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also integers of thousands of digits
        found = f"{shown(text.strip())}, invalid JSON ({error})"
        raise InputError(where, found=found, expected=kind, remedy=remedy) from error
    return Record.of(tree, where, kind, remedy)


def read_yaml(path: Path, kind: str, remedy: str) -> Any:
    """Read a YAML file of plain values, without aliases; None if it is empty.

    Args:
        path: the file.
        kind: what it should be, for errors.
        remedy: what the user can do about its content.

    Raises:
        InputError: the file cannot be read, is not YAML, has a key twice, or is larger or deeper than any settings are.
    """
    text = _read_text(path, YAML_BYTES, kind, remedy)
    try:
        return yaml.load(text, _PlainLoader)
    except _KeyAgainError as error:
        raise InputError(
            f"{path}: line {error.line}",
            found=f"the key {shown(error.key)} for the second time",
            expected="each key once",
            remedy="remove one of the two",
        ) from error
    except _OtherBaseError as error:
        raise InputError(
            f"{path}: line {error.line}",
            found=f"{error.number}, which YAML reads in base {60 if ':' in error.number else 8}",
            expected="a number in plain digits, or text in quotes",
            remedy="write the number without a leading zero, or put quotes around it",
        ) from error
    except yaml.YAMLError as error:
        found = " ".join(str(error).split())
        raise InputError(path, found=found, expected=f"YAML: {kind}", remedy="correct the line named") from error
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # PyYAML lets Python's own errors through for a date such as 2024-99-99, !!int x, or a 5,000-digit integer.
        found = f"a value that YAML cannot read ({shown(str(error))})"
        raise InputError(path, found=found, expected=kind, remedy="write plain numbers and words") from error


NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _OtherBaseError(yaml.YAMLError):
    """A number is in base 8 or 60: 010 is 8 and 1:30 is 90, which nobody who writes settings means."""

    def __init__(self, number: str, line: int):
        super().__init__(number)
        self.number = number
        self.line = line


def _has_other_base(number: str) -> bool:
    digits = number.lstrip("+-").replace("_", "")
    return ":" in number or (digits.isdigit() and digits.startswith("0") and int(digits) != int(digits, 8))


class _KeyAgainError(yaml.YAMLError):
    """A mapping has a key twice; YAML would take the last one and say nothing."""

    def __init__(self, key: str, line: int):
        super().__init__(key)
        self.key = key
        self.line = line


class _PlainLoader(yaml.SafeLoader):
    """Refuses what a small file can make large (aliases, deep nesting, long scalars), and keys that may come twice."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        peek: Callable[[], yaml.Event] = self.peek_event
        event = peek()
        found = None
        if isinstance(event, yaml.AliasEvent):
            found = f"the alias *{shown(event.anchor)[1:-1]}, expected the value itself"
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > YAML_SCALAR:
            found = f"a value of {len(event.value)} characters"
        elif self.depth == YAML_DEPTH:
            found = f"values nested more than {YAML_DEPTH} levels deep"
        if found is not None:
            line = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
            raise yaml.YAMLError(line + found)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.MappingNode):
            _refuse_key_again([key for key, _ in node.value])
        elif isinstance(node, yaml.ScalarNode) and node.tag in NUMBER_TAGS and _has_other_base(node.value):
            raise _OtherBaseError(node.value, node.start_mark.line + 1)
        return node


def _refuse_key_again(keys: Sequence[yaml.Node]) -> None:
    seen = set()
    for key in keys:
        if not isinstance(key, yaml.ScalarNode):
            continue  # no settings have such keys
        if key.tag == MERGE_TAG:  # the keys that it brings could come twice
            line = key.start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: the merge key <<, expected the keys themselves")
        if (key.tag, key.value) in seen:
            raise _KeyAgainError(key.value, key.start_mark.line + 1)
        seen.add((key.tag, key.value))


BLOCK = 1 << 20  # bytes


def _read_text(path: Path, largest: int, kind: str, remedy: str) -> str:
    try:
        raw = b""
        with open_binary(path) as stream:
            if isinstance(stream, gzip.GzipFile):  # nobody writes one, and a small one can expand to any size
                raise InputError(path, found="a gzipped file", expected=kind, remedy=remedy)
            block = stream.read(BLOCK)  # not all at once: a read allocates all that it asks for
            while block and len(raw) <= largest:
                raw += block
                block = stream.read(BLOCK)
    except InputError as error:
        raise InputError(path, found=error.found, expected=kind, remedy=remedy) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, found=f"a broken file ({error})", expected=kind, remedy=remedy) from error
    if len(raw) > largest:
        raise InputError(path, found=f"more than {largest:,} bytes", expected=kind, remedy=remedy)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {line}",
            found=f"bytes that are not UTF-8 ({error.reason})",
            expected="UTF-8 text",
            remedy=remedy,
        ) from error
