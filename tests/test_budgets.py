"""Small files that would expand to gigabytes are refused in little memory; large files that are good are read."""

import gzip
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.corpus import read_sentences
from asr_rescore.errors import InputError
from asr_rescore.files import LONGEST_LINE, read_lines
from asr_rescore.kaldi import stream
from asr_rescore.kaldi.stream import open_window
from asr_rescore.lattice import Lattice, Ragged

HEADER = struct.pack("<i", 2125659606) + b"\x06\0\0\0vector"
MANY = 2**31 - 1


@pytest.fixture(autouse=True)
def smaller_budgets(monkeypatch):
    """Memory is traced here, which makes reading slow."""
    monkeypatch.setattr(stream, "READ_AHEAD", 1 << 13)


def write_bomb(path: Path, begin: bytes, block: bytes) -> Path:
    """A gzipped file of ``begin`` and then 3 GB of ``block``. A gzipped file may be a sequence of gzipped parts."""
    part = gzip.compress(block * (10_000_000 // len(block)), 1)
    path.write_bytes(gzip.compress(begin) + part * 300)
    return path


def header(arc_type: str, states: int) -> bytes:
    """The header of an FST that promises ``states`` states; −1 for as many as follow."""
    return HEADER + struct.pack("<i", len(arc_type)) + arc_type.encode() + struct.pack("<iiQqqq", 2, 0, 3, 0, states, 0)


@contextmanager
def memory(most: float) -> Iterator[None]:
    """Check that no more than ``most`` bytes are allocated at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def errors_of(source: Path) -> list[str]:
    found: list[str] = []
    for _ in kaldi.read_lattices(source, on_error=lambda _, error: found.append(str(error))):
        raise AssertionError("this is not a lattice")
    return found


@pytest.mark.parametrize("read", [kaldi.read_words, kaldi.read_table, kaldi.read_ctm])
def test_a_line_without_an_end(tmp_path, read):
    bomb = write_bomb(tmp_path / "file", b"", b"a")
    with memory(100e6), pytest.raises(InputError, match=f"file: line 1: found more than {LONGEST_LINE} bytes without"):
        read(bomb)


def test_a_text_without_a_line_end(tmp_path):
    bomb = write_bomb(tmp_path / "text", b"a b\n", b"a")
    with memory(100e6), pytest.raises(InputError, match=r"text: line 2: found more than"):
        list(read_sentences(bomb))


def test_a_long_line_is_read(tmp_path):
    (tmp_path / "text").write_bytes(b"a" * (LONGEST_LINE - 1) + b"\n")
    ((_, line),) = read_lines(tmp_path / "text")
    assert len(line) == LONGEST_LINE - 1


@pytest.mark.parametrize("arc_type", ["compactlattice44", "compactlattice84", "lattice4"])
@pytest.mark.parametrize("states", [MANY, -1])
def test_a_lattice_that_expands_to_states_without_arcs(tmp_path, arc_type, states):
    bomb = write_bomb(tmp_path / "lat.1.gz", b"utt " + header(arc_type, states), b"\0" * 4)
    with memory(300e6):
        (message,) = errors_of(bomb)
    assert message.startswith(
        f"{bomb}: key utt: byte (uncompressed) 4: found more than 100 times the compressed bytes,"
    )


@pytest.mark.parametrize("states", [MANY, -1])
def test_a_grammar_that_expands_to_states_without_arcs(tmp_path, states):
    bomb = write_bomb(tmp_path / "G.fst.gz", header("standard", states), b"\0" * 4)
    with memory(300e6), pytest.raises(InputError, match=r"G.fst.gz: .* found more than 100 times the compressed"):
        kaldi.read_grammar(bomb)


@pytest.mark.parametrize(
    ("begin", "block", "found"),
    [
        (b"utt \n", b"0", "100 times the compressed bytes"),
        (b"utt \n", b"0 1 5\n", "100 times the compressed bytes"),
        (b"utt words\n", b"0 1 5\n", "100 times the compressed bytes"),
        (b"utt \n0\n\n", b"\n", "100 times the compressed bytes"),
        (b"utt", b" ", "100 times the compressed bytes"),
        (b"", b"\xff", "no blank that ends a key"),
    ],
    ids=["one line", "lines", "not a lattice", "empty lines", "blanks after the key", "a key"],
)
def test_a_text_lattice_that_expands(tmp_path, begin, block, found):
    bomb = write_bomb(tmp_path / "lat.1.gz", begin, block)
    messages: list[str] = []
    with memory(300e6):
        for key, _ in kaldi.read_lattices(bomb, on_error=lambda _, error: messages.append(str(error))):
            assert key == "utt"
    (message,) = messages
    assert found in message


def test_an_entry_that_is_too_large(tmp_path):
    (tmp_path / "lat.1.gz").write_bytes(b"utt \n" + b"0 1 5\n" * 100_000)
    with open_window(tmp_path / "lat.1.gz", largest=100_000) as window:
        assert window.next_key() == "utt"
        with pytest.raises(InputError, match=r"key utt: byte 4: found more than 100000 bytes"):
            while window.line():
                pass


def test_a_state_number_far_above_the_number_of_states(tmp_path):
    lines = "".join(f"{state} {state + 1} 5 1,1,1\n" for state in range(20_000))
    (tmp_path / "x.txt").write_text(f"utt \n{lines}20000 20000000 5 1,1,1\n20000000\n\n")
    with memory(100e6):
        (message,) = errors_of(tmp_path / "x.txt")
    assert "found state 20000000 in 20002 lines" in message


@pytest.mark.parametrize("text", [False, True])
def test_a_large_gzipped_lattice_that_is_good(tmp_path, text):
    arcs = 200_000
    empty = Ragged(np.empty(0, np.int32), np.zeros(arcs + 1, np.int64))
    numbers = np.arange(arcs)
    zero = np.zeros(arcs)
    final = np.append(np.full(arcs, np.inf), 0.0)
    final_alignment = Ragged(np.empty(0, np.int32), np.zeros(arcs + 2, np.int64))
    lattice = Lattice(
        0, numbers, numbers + 1, np.ones(arcs, np.int32), zero, zero, final, final, empty, final_alignment
    )
    kaldi.write_lattices(tmp_path / "lat.gz", [("utt", lattice)], text=text)
    ((_, again),) = kaldi.read_lattices(tmp_path / "lat.gz")
    assert again.num_arcs == arcs
