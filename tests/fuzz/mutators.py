"""What can happen to a file: functions of its bytes and a random generator, and replacements of the file itself."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

Mutator = Callable[[bytes, Random], bytes]

LONGEST_RUN = 64  # bytes that are deleted, duplicated or zeroed at once
NUMBERS = [
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1",
    "2147483647",
    "4294967296",
    "1e300",
    "1e-320",
    str(10**30),
    "0x10",
    "٣",
]
ODD_BYTES = [b"\xff\xfe", b"\xc3\x28", b"\x00", b"\x1b[2J", b"\r", b"\xc2\xa0", b"\xe3\x80\x80", b"\xef\xbb\xbf", b" "]
ODD_FIELDS = [b"#0", b"<eps>", b"-", b"ark:-", b"|", b"x|", b"/", b"..", b"a,b,c", b"1_2", b"9" * 5000, b"x" * 5000]
VALUES: list[Any] = [None, True, "", "much", "a\x1b[2J", -1, 0, 2**31 - 1, 10**30, 0.5, 1e300, [], {}, [None], {"a": 1}]
VALUES += [float("nan"), float("inf"), -float("inf"), [[1]], "1970-01-01", "x" * 5000]
BINARY_NUMBERS = [
    *(struct.pack("<i", value) for value in (-1, 0, 1, 2**31 - 1, -(2**31))),
    *(struct.pack("<q", value) for value in (-1, 0, 2**31 - 1, 2**63 - 1, -(2**63))),
    *(struct.pack("<f", value) for value in (float("nan"), float("inf"), -float("inf"), 1e38)),
    *(struct.pack("<d", value) for value in (float("nan"), float("inf"), 1e300)),
]


# Bytes


def truncate(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 10))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def delete_run(data: bytes, random: Random) -> bytes:
    begin, end = _run(data, random)
    return data[:begin] + data[end:]


def duplicate_run(data: bytes, random: Random) -> bytes:
    begin, end = _run(data, random)
    return data[:end] + data[begin:]


def zero_run(data: bytes, random: Random) -> bytes:
    begin, end = _run(data, random)
    return data[:begin] + bytes(end - begin) + data[end:]


def overwrite_number(data: bytes, random: Random) -> bytes:
    number = random.choice(BINARY_NUMBERS)
    begin = _place(data, random)
    return data[:begin] + number + data[begin + len(number) :]


def insert_odd_bytes(data: bytes, random: Random) -> bytes:
    begin = random.choice((0, len(data), _place(data, random)))
    return data[:begin] + random.choice(ODD_BYTES) + data[begin:]


def append_garbage(data: bytes, random: Random) -> bytes:
    return data + random.randbytes(random.randrange(1, LONGEST_RUN))


def append_itself(data: bytes, random: Random) -> bytes:
    return data + data


# Lines and fields


def drop_line(data: bytes, random: Random) -> bytes:
    return _edit_lines(data, random, lambda line: [])


def duplicate_line(data: bytes, random: Random) -> bytes:
    return _edit_lines(data, random, lambda line: [line, line])


def swap_lines(data: bytes, random: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) > 1:
        one, other = random.sample(range(len(lines)), 2)
        lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def drop_field(data: bytes, random: Random) -> bytes:
    return _edit_field(data, random, rb"[^ \t\n]+[ \t]?", lambda found: b"")


def duplicate_field(data: bytes, random: Random) -> bytes:
    return _edit_field(data, random, rb"[^ \t\n]+", lambda found: found + b" " + found)


def replace_field(data: bytes, random: Random) -> bytes:
    return _edit_field(data, random, rb"[^ \t\n]+", lambda found: random.choice(ODD_FIELDS))


def replace_number(data: bytes, random: Random) -> bytes:
    return _edit_field(data, random, rb"-?[0-9]+(\.[0-9]+)?", lambda found: random.choice(NUMBERS).encode())


# Trees: JSON, YAML, and the JSON in the header of a safetensors file


def edit_json(data: bytes, random: Random) -> bytes:
    return _edit_tree(data, random, json.loads, json.dumps)


def edit_yaml(data: bytes, random: Random) -> bytes:
    return _edit_tree(data, random, yaml.safe_load, lambda tree: yaml.safe_dump(tree, sort_keys=False))


def odd_yaml(data: bytes, random: Random) -> bytes:
    """A construct of YAML that few programs expect, in place of one value."""
    laughs = "&a [x, x, x, x, x, x, x, x]"
    for name, before in zip("bcdefgh", "abcdefg", strict=True):
        laughs = f"[&{name} [{laughs}, {', '.join([f'*{before}'] * 8)}], *{name}]"
    odd = ["!!python/object:os.system x", "!!set {a}", "2020-02-30", "*nobody", "[" * 3000, "{" * 3000, laughs]
    odd += [
        "&x [*x]",
        "!!binary x",
        "0o99",
        "9" * 5000,
        "1_000",
        "1:30",
        "=",
        "? x",
        "!!float x",
        "---",
        "...",
        "%YAML 9",
    ]
    return _edit_field(data, random, rb"(?<=: )[^ ,{}\[\]\n]+", lambda found: random.choice(odd).encode())


def edit_header(data: bytes, random: Random) -> bytes:
    """Edit the header of a safetensors file: its length (uint64) and JSON stand before the tensors."""
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    if random.random() < 0.2:
        return random.choice((0, length - 1, length + 1, 2**31, 2**63 - 1)).to_bytes(8, "little") + data[8:]
    edit = replace_number if random.random() < 0.3 else edit_json
    header = edit(header, random)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


# Gzip


def truncate_gzip(data: bytes, random: Random) -> bytes:
    return truncate(_gzipped(data), random)


def flip_gzip(data: bytes, random: Random) -> bytes:
    return flip_bits(_gzipped(data), random)


def garbage_after_gzip(data: bytes, random: Random) -> bytes:
    return append_garbage(_gzipped(data), random)


def bomb(data: bytes, random: Random) -> bytes:
    """Some of the file, and then 4 GiB without a line end, in a gzipped file of a few megabytes."""
    content = _unzipped(data)
    begin = gzip.compress(content[: _place(content, random)], mtime=0)
    block = gzip.compress(random.choice((b"\0", b"9", b" ", b"a ", b"\xff", b"[")) * (1 << 24), 9, mtime=0)
    return begin + block * 256


BYTES: dict[str, Mutator] = {
    function.__name__: function
    for function in (
        *(truncate, flip_bits, delete_run, duplicate_run, zero_run, overwrite_number, insert_odd_bytes),
        *(append_garbage, append_itself),
    )
}
LINES: dict[str, Mutator] = {
    function.__name__: function
    for function in (drop_line, duplicate_line, swap_lines, drop_field, duplicate_field, replace_field, replace_number)
}
GZIP: dict[str, Mutator] = {
    function.__name__: function for function in (truncate_gzip, flip_gzip, garbage_after_gzip, bomb)
}
# Form of a file → what can happen to it, in addition to BYTES and GZIP.
FORMS: dict[str, dict[str, Mutator]] = {
    "text": LINES,
    "json": {**LINES, "edit_json": edit_json},
    "yaml": {**LINES, "edit_yaml": edit_yaml, "odd_yaml": odd_yaml},
    "safetensors": {"edit_header": edit_header},
    "binary": {},
}


def mutate(data: bytes, form: str, random: Random) -> tuple[str, bytes]:
    """Return the names of one or two mutators of ``form``, chosen at random, and what they make of ``data``.

    Half of the mutators are those of the form. Gzipped data are mutated inside, except by the mutators of GZIP.
    """
    names = []
    for _ in range(random.choice((1, 1, 1, 2))):
        table = random.choices((FORMS[form], BYTES, GZIP), (5, 4, 1))[0] or BYTES
        name = random.choice(sorted(table))
        names.append(name)
        if table is GZIP:
            data = table[name](data, random)
            break
        inside = _unzipped(data)
        mutated = table[name](inside, random)
        data = mutated if inside is data else _gzipped(mutated)
    return " + ".join(names), data


# The file itself


def empty(path: Path, random: Random) -> None:
    path.write_bytes(b"")


def missing(path: Path, random: Random) -> None:
    path.unlink()


def directory(path: Path, random: Random) -> None:
    path.unlink()
    path.mkdir()


def dangling_link(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def loop_of_links(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def another_file(path: Path, random: Random) -> None:
    """Copy another file of the examples to this place."""
    others = [other for other in sorted(Path().rglob("*")) if other.is_file() and other != path]
    shutil.copyfile(random.choice(others), path)


REPLACEMENTS: dict[str, Callable[[Path, Random], None]] = {
    function.__name__: function for function in (empty, missing, directory, dangling_link, loop_of_links, another_file)
}


def _place(data: bytes, random: Random) -> int:
    """A place in the data; near its beginning or end more often than elsewhere."""
    where = random.random()
    if where < 0.25:
        return random.randrange(min(len(data), LONGEST_RUN) + 1)
    if where < 0.35:
        return len(data) - random.randrange(min(len(data), LONGEST_RUN) + 1)
    return random.randrange(len(data) + 1)


def _run(data: bytes, random: Random) -> tuple[int, int]:
    begin = _place(data, random)
    return begin, min(len(data), begin + random.randrange(1, LONGEST_RUN))


def _edit_lines(data: bytes, random: Random, edit: Callable[[bytes], list[bytes]]) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        index = random.randrange(len(lines))
        lines[index : index + 1] = edit(lines[index])
    return b"".join(lines)


def _edit_field(data: bytes, random: Random, pattern: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """Edit one match of ``pattern``, which is found in the neighbourhood of a random place."""
    place = _place(data, random)
    match = re.compile(pattern).search(data, data.rfind(b"\n", 0, place) + 1 if random.random() < 0.5 else place)
    if match is None:
        return data
    return data[: match.start()] + edit(match[0]) + data[match.end() :]


def _edit_tree(data: bytes, random: Random, load: Callable[[bytes], Any], dump: Callable[[Any], str]) -> bytes:
    """Replace, remove or add a value, or do nothing if the data are no tree (any more)."""
    try:
        tree = load(data)
    except (ValueError, yaml.YAMLError, RecursionError):
        return data
    holder = {"tree": tree}
    spots: list[tuple[Any, Any]] = [(holder, "tree")]
    for node, key in spots:
        child = node[key]
        keys = child if isinstance(child, dict) else range(len(child)) if isinstance(child, list) else ()
        spots.extend((child, name) for name in keys)
    node, key = random.choice(spots)
    action = random.choice(("replace", "replace", "replace", "remove", "add", "repeat"))
    if action == "remove" and node is not holder:
        del node[key]
    elif action == "add" and isinstance(node[key], dict):
        node[key][random.choice(("", "other", "\x1b[2J"))] = random.choice(VALUES)
    elif action == "repeat" and isinstance(node[key], list):
        node[key] = node[key] * 2
    else:
        node[key] = random.choice(VALUES)
    return dump(holder["tree"]).encode()


def _gzipped(data: bytes) -> bytes:
    return data if data.startswith(b"\x1f\x8b") else gzip.compress(data, mtime=0)


def _unzipped(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):  # a mutator has broken it
        return data
