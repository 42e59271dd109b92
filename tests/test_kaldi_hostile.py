"""Damaged or malicious archives: the error messages, and that reading continues after them."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import pytest

from asr_rescore import kaldi
from asr_rescore.errors import InputError

FORMATS = Path(__file__).parent / "goldens" / "formats"
COMPACT = (FORMATS / "compact.ark").read_bytes()
ODD = (FORMATS / "odd.ark").read_bytes()
ODD_KEYS = ["empty", "single-final", "linear", "epsilon-and-duplicates", "not-topological", "dead-ends"]


def read_all(source, **options) -> tuple[list[str], list[tuple[str, str]]]:
    """The keys of all lattices that were read, and (key, message) of all errors."""
    errors: list[tuple[str, str]] = []
    keys = [
        key for key, _ in kaldi.read_lattices(source, on_error=lambda key, e: errors.append((key, str(e))), **options)
    ]
    return keys, errors


def object_offset(key: str) -> int:
    return ODD.index(key.encode() + b" ") + len(key) + 1


def test_truncated_gzip_yields_all_complete_entries_then_names_key_and_byte(tmp_path):
    path = tmp_path / "lat.1.gz"
    whole = gzip.compress(COMPACT, 1)
    path.write_bytes(whole[: len(whole) // 2])
    keys, ((key, message),) = read_all(path)
    scp = (FORMATS / "compact.scp").read_text().splitlines()
    offsets = dict(line.replace("compact.ark:", "").split() for line in scp)
    everything = list(offsets)
    assert 0 < len(keys) < 12 and keys == everything[: len(keys)]
    assert key == everything[len(keys)]
    assert message.startswith(f"{path}: key {key}: byte (uncompressed) {offsets[key]}: found a broken stream")
    with pytest.raises(InputError, match=key):
        list(kaldi.read_lattices(path))


def test_gzip_cut_between_entries_is_still_an_error(tmp_path):
    path = tmp_path / "lat.1.gz"
    path.write_bytes(gzip.compress(COMPACT)[:-8])  # all the data, but not the checksum
    keys, ((key, message),) = read_all(path)
    assert len(keys) == 12 and key == "" and "broken stream" in message


def test_gzip_with_a_wrong_checksum_is_an_error(tmp_path):
    data = bytearray(gzip.compress(COMPACT))
    data[-6] ^= 1
    (tmp_path / "lat.1.gz").write_bytes(data)
    keys, ((_, message),) = read_all(tmp_path / "lat.1.gz")
    assert keys and "CRC" in message


def test_empty_file_named_gz(tmp_path):
    (tmp_path / "lat.1.gz").touch()
    keys, ((_, message),) = read_all(tmp_path / "lat.1.gz")
    assert not keys and "found an empty file, expected gzip" in message


def test_archive_cut_at_any_byte(tmp_path):
    path = tmp_path / "x.ark"
    first = "single-final"
    second = "dead-ends"
    entry = ODD[ODD.index(b"single-final ") : ODD.index(b"linear ")]
    data = entry + ODD[ODD.index(b"dead-ends ") :]
    for end in range(1, len(data)):
        path.write_bytes(data[:end])
        keys, errors = read_all(path)
        assert keys == ([first] if end >= len(entry) else [])
        if end == len(entry):
            assert not errors
            continue
        ((key, message),) = errors
        wanted, begin = (second, len(entry)) if keys else (first, 0)
        assert key == wanted[: end - begin]
        place = min(end, begin + len(wanted) + 1)  # after the key and its blank
        assert message.startswith(f"{path}: key {key}: byte {place}: found the end of the data at byte {end},")


def patched(offset: int, form: str, *values) -> bytes:
    data = bytearray(ODD)
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


HEADER = 4 + 4 + len("vector") + 4 + len("compactlattice44") + 8  # magic, names, version, flags; then properties
LINEAR = object_offset("linear")
FIRST_ARC = LINEAR + HEADER + 32 + 12 + 8  # after the first final weight and the number of arcs


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (patched(FIRST_ARC + 8, "<f", float("nan")), "costs nan,100.25 on the arc from state 0 to 1, word 5"),
        (patched(FIRST_ARC + 12, "<f", float("inf")), "costs 1.5,inf on the arc from state 0 to 1, word 5"),
        (patched(FIRST_ARC + 28, "<i", 3), "an invalid graph"),
        (patched(FIRST_ARC + 28, "<i", -1), "an invalid graph"),
        (patched(FIRST_ARC, "<ii", -5, -5), "word -5"),
        (patched(FIRST_ARC, "<i", 4), "arc 0 with words 4 and 5"),
        (patched(LINEAR + HEADER + 8, "<q", 3), "an invalid graph"),
        (patched(LINEAR + HEADER + 32, "<f", 1.0), "costs 1,inf on final state 0"),
    ],
)
def test_bad_entry_with_a_known_end_is_skipped(tmp_path, data, found):
    (tmp_path / "x.ark").write_bytes(data)
    keys, ((key, message),) = read_all(tmp_path / "x.ark")
    assert keys == [k for k in ODD_KEYS if k != "linear"] and key == "linear"
    assert f"key linear: byte {LINEAR}: found {found}" in message
    with pytest.raises(InputError, match="linear"):
        list(kaldi.read_lattices(tmp_path / "x.ark"))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (patched(LINEAR, "<i", 0), "found bytes"),
        (patched(LINEAR + 1, "<B", 0), "found bytes"),
        (patched(LINEAR + 4, "<i", 2**31 - 1), "a name of 2147483647 bytes"),
        (patched(LINEAR + 8, "<6s", b"const!"), "an FST of type 'const!'"),
        (patched(LINEAR + HEADER + 16, "<q", 2**62), f"{2**62} states"),
        (patched(LINEAR + HEADER + 16, "<q", -2), "-2 states"),
        (patched(LINEAR + HEADER + 16, "<q", 2**31 - 1), "transition ids on"),
        (patched(LINEAR + HEADER + 32 + 12, "<q", 2**40), f"{2**40} arcs in state 0"),
        (patched(LINEAR + HEADER + 32 + 12, "<q", 2**23), "transition ids on an arc of state 0"),
        (patched(LINEAR + HEADER + 32 + 8, "<i", -3), "-3 transition ids on the final weight of state 0"),
        (patched(FIRST_ARC + 16, "<i", 2**30), f"{2**30} transition ids on an arc of state 0"),
        (patched(LINEAR + HEADER - 4, "<i", 1), "no symbol table"),
    ],
)
def test_entry_whose_end_is_unknown_ends_the_archive(tmp_path, data, found):
    (tmp_path / "x.ark").write_bytes(data)
    keys, ((key, message),) = read_all(tmp_path / "x.ark")
    assert keys == ODD_KEYS[:2] and key == "linear"
    assert f"key linear: byte {LINEAR}: found" in message and found in message


def test_no_memory_is_allocated_for_counts_of_the_header(tmp_path):
    (tmp_path / "x.ark").write_bytes(patched(LINEAR + HEADER + 16, "<q", 2**31 - 1))
    tracemalloc.start()
    read_all(tmp_path / "x.ark")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_reading_continues_with_the_next_file_of_a_decode_directory(tmp_path):
    (tmp_path / "num_jobs").write_text("2\n")
    (tmp_path / "lat.1.gz").write_bytes(gzip.compress(ODD)[:300])
    (tmp_path / "lat.2.gz").write_bytes(gzip.compress(COMPACT))
    keys, errors = read_all(tmp_path)
    assert len(keys) >= 12 and keys[-1] == "slt-minidev0016" and len(errors) == 1


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0 1 5 1.5,x,1_2", "could not convert"),
        ("0 1 5 1.5,nan,1_2", "costs 1.5,nan"),
        ("0 1 5 BadNumber,1,1_2", "costs nan,1"),
        ("0 1 5 1.5,100,1_x", "'x' is not a number"),
        ("0 1 5 1.5,1_2,3", "transition ids in place of a cost"),
        ("0 1 5 1.5", "'1.5' is not a number"),
        ("0 1 5 6 7 1.5,1", "6 columns"),
        ("0 1 5 6 1.5,1", "compact and state-level lines"),
        ("-1 1 5 1,1,", "'-1' is not a number"),
        ("0 99999999 5 1,1,", "state 99999999 in 3 lines"),
        ("0 1 99999999999 1,1,", "does not fit into 32 bits"),
        ("\xff\xfe 1 5 1,1,", "in line 1 of the entry"),
    ],
)
def test_entry_with_a_bad_text_line_is_skipped(tmp_path, line, found):
    path = tmp_path / "x.txt"
    path.write_bytes(f"good \n0 1 5 1,1,1\n1\n\nbad \n{line}\n1 2 6 1,1,2\n2\n\nlast \n0\n\n".encode("latin-1"))
    keys, ((key, message),) = read_all(path)
    assert keys == ["good", "last"] and key == "bad"
    assert message.startswith(f"{path}: key bad: byte ") and found in message


def test_text_that_is_not_a_lattice(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("utt1 the words of it\nutt2 and of it\n\nutt3 \n0\n\n")
    keys, ((key, message),) = read_all(path)
    assert keys == ["utt3"] and key == "utt1" and "expected a line end, or a binary lattice" in message


@pytest.mark.parametrize("data", [b"\0" * 10_000, b"\xff\xd8" * 5000, b"x" * 10_000, b"\x89PNG\r\n\x1a\n\0\0\0"])
def test_file_that_is_not_an_archive(tmp_path, data):
    (tmp_path / "x.ark").write_bytes(data)
    keys, errors = read_all(tmp_path / "x.ark")
    assert not keys and len(errors) == 1


def test_duplicate_keys(tmp_path):
    (tmp_path / "x.ark").write_bytes(ODD + ODD[: ODD.index(b"single")])
    keys, ((key, message),) = read_all(tmp_path / "x.ark")
    assert keys == ODD_KEYS and key == "empty" and "a second lattice" in message


def test_scp_reports_each_bad_line_and_continues(tmp_path):
    ark = tmp_path / "odd.ark"
    scp = tmp_path / "odd.scp"
    ark.write_bytes(ODD)
    (tmp_path / "odd.gz").write_bytes(gzip.compress(ODD))
    scp.write_text(
        f"beyond {ark}:99999\nmiddle {ark}:{LINEAR + 2}\nabsent {tmp_path}/no.ark:5\nalone\n\n"
        f"zipped {tmp_path}/odd.gz:5\nlong {'x' * 5000}\npipe cat {ark} |\nlinear {ark}:{LINEAR}\n"
    )
    keys, errors = read_all(scp)
    assert keys == ["linear"]
    assert [key for key, _ in errors] == ["beyond", "middle", "absent", "alone", "", "zipped", "long", "pipe"]
    expected = [
        "a file of 1359 bytes",
        "found bytes",
        "no such file",
        "'alone'",
        "''",
        "gzipped",
        "too long",
        "`allow_pipes`",
    ]
    for (_, message), text in zip(errors, expected, strict=True):
        assert text in message


def test_pipes_run_only_with_permission(tmp_path):
    mark = tmp_path / "ran"
    command = f"ark:touch {mark}; cat {FORMATS / 'odd.ark'} |"
    keys, ((key, message),) = read_all(command)
    assert not keys and not mark.exists()
    assert "found a command" in message and "`allow_pipes`" in message
    assert read_all(command, allow_pipes=True) == (ODD_KEYS, [])
    assert mark.exists()


def test_failing_pipe_is_never_an_empty_archive(tmp_path):
    keys, ((key, message),) = read_all(f"ark:gunzip -c {tmp_path}/no.gz 2>/dev/null |", allow_pipes=True)
    assert not keys and key == "" and "found exit status 1, expected 0" in message
    with pytest.raises(InputError, match="exit status"):
        list(kaldi.read_lattices(f"gunzip -c {tmp_path}/no.gz 2>/dev/null |", allow_pipes=True))


def test_entries_of_a_pipe_that_fails_at_its_end_are_kept():
    keys, ((key, message),) = read_all(f"ark:cat {FORMATS / 'odd.ark'}; exit 3 |", allow_pipes=True)
    assert keys == ODD_KEYS and key == "" and "exit status 3" in message


def test_command_is_ended_if_the_reader_stops_early(tmp_path):
    command = f"cat {FORMATS / 'compact.ark'}; sleep 100; touch {tmp_path}/went-on"
    entries = kaldi.read_lattices(f"ark:{command} |", allow_pipes=True)
    assert next(entries)[0] == "kal16-minidev0052"
    entries.close()
    assert not (tmp_path / "went-on").exists()


@pytest.mark.parametrize("source", ["ark,x:foo", "ark,scp:a.ark,b.scp", "scp,scp:a"])
def test_invalid_rspecifiers(source):
    _, ((_, message),) = read_all(source)
    assert "expected an rspecifier" in message


def test_missing_files(tmp_path):
    _, ((_, message),) = read_all(tmp_path / "no.ark")
    assert "no such file" in message
    _, ((_, message),) = read_all(tmp_path)
    assert "num_jobs" in message
