"""Lattice archives, compared byte by byte with Kaldi's own files, and round trips of random lattices."""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import kaldi
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.files import open_binary
from asr_rescore.kaldi.state_level import expand
from asr_rescore.lattice import Lattice, Ragged

FORMATS = Path(__file__).parent / "goldens" / "formats"


def content(path) -> bytes:
    with open_binary(path) as stream:
        return stream.read()


def assert_equal(one: Lattice, other: Lattice) -> None:
    assert one.start == other.start
    for name in ("source", "target", "word", "graph", "acoustic", "final_graph", "final_acoustic"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("alignment", "final_alignment"):
        np.testing.assert_array_equal(getattr(one, name).offsets, getattr(other, name).offsets)
        np.testing.assert_array_equal(getattr(one, name).values, getattr(other, name).values)


GOLDENS = [
    # read, written, options
    ("compact.ark", "compact.ark", {}),
    ("compact.ark", "compact.txt.gz", {"text": True}),
    ("odd.txt", "odd.ark", {}),
    ("odd.ark", "odd.ark", {}),
    ("odd.txt", "odd.copied.txt", {"text": True}),
    ("odd.ark", "odd.copied.txt", {"text": True}),
    ("state_level.ark.gz", "state_level.ark.gz", {"compact": False}),
    ("state_level.ark.gz", "state_level.txt.gz", {"compact": False, "text": True}),
    ("state_level.txt.gz", "state_level.txt.gz", {"compact": False, "text": True}),
]


@pytest.mark.parametrize(("read", "written", "options"), GOLDENS)
def test_copy_is_identical_to_kaldis(tmp_path, read, written, options):
    kaldi.write_lattices(tmp_path / written, kaldi.read_lattices(FORMATS / read), **options)
    assert content(tmp_path / written) == content(FORMATS / written)


@pytest.mark.parametrize(("written", "text"), [("state_level.ark.gz", False), ("state_level.txt.gz", True)])
def test_compact_lattices_are_expanded_as_kaldi_does(tmp_path, written, text):
    three = list(kaldi.read_lattices(FORMATS / "compact.ark"))[:3]
    assert kaldi.write_lattices(tmp_path / written, three, compact=False, text=text) == 3
    assert content(tmp_path / written) == content(FORMATS / written)


def test_scp_is_identical_to_kaldis_and_finds_each_lattice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lattices = dict(kaldi.read_lattices(FORMATS / "compact.ark"))
    kaldi.write_lattices("compact.ark", lattices.items(), scp="compact.scp")
    assert content("compact.scp") == content(FORMATS / "compact.scp")
    for source in ("compact.scp", "scp:compact.scp", "scp,s,cs:compact.scp"):
        listed = dict(kaldi.read_lattices(source))
        assert list(listed) == list(lattices)
        for utt, lattice in listed.items():
            assert_equal(lattice, lattices[utt])


def test_scp_of_text_archives_and_whole_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lattices = dict(kaldi.read_lattices(FORMATS / "odd.txt"))
    kaldi.write_lattices("odd.txt", lattices.items(), text=True, scp="odd.scp")
    for utt, lattice in kaldi.read_lattices("odd.scp"):
        assert_equal(lattice, lattices[utt])
    Path("whole").write_bytes(b"\n" + b"0\t1\t5\t1,2,3\n1\n")
    Path("whole.scp").write_text("utt whole\n")
    (entry,) = kaldi.read_lattices("whole.scp")
    assert entry[0] == "utt" and entry[1].num_arcs == 1


def test_values_of_a_hand_made_archive():
    lattices = dict(kaldi.read_lattices(f"ark,t:{FORMATS / 'odd.txt'}"))
    assert list(lattices) == [
        "empty", "single-final", "linear", "epsilon-and-duplicates", "not-topological", "dead-ends",
    ]  # fmt: skip
    assert (lattices["empty"].start, lattices["empty"].num_states) == (-1, 0)
    single = lattices["single-final"]
    assert (single.final_graph[0], single.final_acoustic[0]) == (4.5, 1200.25)
    assert single.final_alignment[0].tolist() == [7, 7, 8]
    odd = lattices["not-topological"]
    assert odd.source.tolist() == [0, 0, 1, 3] and odd.target.tolist() == [3, 1, 2, 1]
    assert odd.word.tolist() == [5, 8, 7, 6] and odd.graph.tolist() == [1, 9, 3, 2]
    assert lattices["dead-ends"].is_final.tolist() == [False, False, False, True, False]


def test_binary_and_text_agree_to_the_printed_digits():
    texts = dict(kaldi.read_lattices(FORMATS / "compact.txt.gz"))
    for utt, lattice in kaldi.read_lattices(FORMATS / "compact.ark"):
        np.testing.assert_allclose(lattice.acoustic, texts[utt].acoustic, rtol=6e-6)
        np.testing.assert_array_equal(lattice.alignment.values, texts[utt].alignment.values)


def test_decode_directory_is_read_in_order_of_jobs(tmp_path):
    lattices = list(kaldi.read_lattices(FORMATS / "compact.ark"))
    for job in range(1, 12):
        kaldi.write_lattices(tmp_path / f"lat.{job}.gz", lattices[job - 1 : job])
    kaldi.write_num_jobs(tmp_path, 11)
    assert [utt for utt, _ in kaldi.read_lattices(tmp_path)] == [utt for utt, _ in lattices[:11]]
    assert [file.name for file in kaldi.lattice_files(tmp_path)][9:] == ["lat.10.gz", "lat.11.gz"]


def test_reading_is_lazy(tmp_path):
    """The first lattice is yielded before the damaged second one is read."""
    data = content(FORMATS / "compact.ark")
    (tmp_path / "cut.ark").write_bytes(data[:6000])
    assert next(kaldi.read_lattices(tmp_path / "cut.ark"))[0] == "kal16-minidev0052"


def costs(width: int):
    return st.floats(-1e6, 1e6, width=width, allow_nan=False)


@st.composite
def lattices(draw, width: int = 32, acyclic: bool = False, cost=None):
    cost = costs(width) if cost is None else cost
    states = draw(st.integers(1, 6))
    lowest = st.integers(0, states - 1)
    ends = st.tuples(lowest, lowest)
    if acyclic:
        ends = ends.filter(lambda pair: pair[0] < pair[1]) if states > 1 else st.nothing()
    pairs = sorted(draw(st.lists(ends, max_size=8)) if states > 1 or not acyclic else [], key=lambda pair: pair[0])
    ids = st.lists(st.integers(1, 2**31 - 1), max_size=4)
    arcs = [draw(st.tuples(st.sampled_from([0, 1, 7, 2**31 - 1]), cost, cost, ids)) for _ in pairs]
    finals = [draw(st.none() | st.tuples(cost, cost, ids)) for _ in range(states)]
    return Lattice(
        draw(lowest) if not acyclic else 0,
        np.array([source for source, _ in pairs], np.int64),
        np.array([target for _, target in pairs], np.int64),
        np.array([arc[0] for arc in arcs], np.int32),
        np.array([arc[1] for arc in arcs], np.float64),
        np.array([arc[2] for arc in arcs], np.float64),
        np.array([math.inf if final is None else final[0] for final in finals], np.float64),
        np.array([math.inf if final is None else final[1] for final in finals], np.float64),
        Ragged.from_lists([arc[3] for arc in arcs]),
        Ragged.from_lists([[] if final is None else final[2] for final in finals]),
    )


def copied(folder: Path, lattice: Lattice, name: str = "x.ark", **options) -> Lattice:
    kaldi.write_lattices(folder / name, [("utt", lattice)], **options)
    ((utt, read),) = kaldi.read_lattices(folder / name)
    assert utt == "utt"
    return read


@given(lattice=lattices())
@pytest.mark.parametrize("name", ["x.ark", "x.ark.gz"])
def test_round_trip_of_float32(tmp_path_factory, name, lattice):
    assert_equal(copied(tmp_path_factory.mktemp("x"), lattice, name), lattice)


@given(lattice=lattices(width=64))
def test_round_trip_of_doubles(tmp_path_factory, lattice):
    assert_equal(copied(tmp_path_factory.mktemp("x"), lattice, double=True), lattice)


@given(lattice=lattices(cost=st.integers(-4000, 4000).map(lambda eighths: eighths / 8)))
def test_round_trip_of_text_is_exact_within_six_digits(tmp_path_factory, lattice):
    assert_equal(copied(tmp_path_factory.mktemp("x"), lattice, text=True), lattice)


@given(lattice=lattices(width=64), text=st.booleans(), double=st.booleans())
def test_round_trip_at_state_level(tmp_path_factory, lattice, text, double):
    flat = expand(lattice)
    read = copied(tmp_path_factory.mktemp("x"), lattice, compact=False, text=text, double=double)
    for name in ("source", "target", "word"):
        np.testing.assert_array_equal(getattr(read, name), getattr(flat, name))
    np.testing.assert_array_equal(read.alignment.values, flat.alignment.values)
    np.testing.assert_array_equal(read.is_final, flat.is_final)
    np.testing.assert_allclose(read.graph, flat.graph, rtol=0 if double and not text else 6e-6, atol=1e-30)


def paths(lattice: Lattice) -> Counter:
    """(words, transition ids, graph, acoustic) of every path of an acyclic lattice."""
    found: Counter = Counter()

    def walk(state, words, ids, graph, acoustic):
        if lattice.is_final[state]:
            total = graph + lattice.final_graph[state], acoustic + lattice.final_acoustic[state]
            found[(words, (*ids, *lattice.final_alignment[state].tolist()), *total)] += 1
        for arc in np.flatnonzero(lattice.source == state):
            word = int(lattice.word[arc])
            walk(
                lattice.target[arc],
                (*words, word) if word else words,
                (*ids, *lattice.alignment[arc].tolist()),
                graph + lattice.graph[arc],
                acoustic + lattice.acoustic[arc],
            )

    walk(lattice.start, (), (), 0.0, 0.0)
    return found


@given(lattice=lattices(acyclic=True, cost=st.integers(-9, 9).map(float)))
def test_expansion_keeps_every_path(lattice):
    flat = expand(lattice)
    assert paths(flat) == paths(lattice)
    assert np.diff(flat.alignment.offsets).max(initial=0) <= 1 and not len(flat.final_alignment.values)


def header_bits(path: Path) -> int:
    data = content(path)
    return struct.unpack_from("<Q", data, data.index(b"vector") + 6 + 4 + len("compactlattice44") + 8)[0]


@given(lattice=lattices())
def test_header_claims_nothing_false(tmp_path_factory, lattice):
    path = tmp_path_factory.mktemp("x") / "x.ark"
    kaldi.write_lattices(path, [("utt", lattice)])
    bits = header_bits(path)
    arcs = list(zip(lattice.source, lattice.target, lattice.word, strict=True))
    ones = [
        graph == acoustic == 0 and not len(lattice.alignment[arc])
        for arc, (graph, acoustic) in enumerate(zip(lattice.graph, lattice.acoustic, strict=True))
    ] + [
        not final or (lattice.final_graph[state] == lattice.final_acoustic[state] == 0 and not len(ids))
        for state, (final, ids) in enumerate(
            zip(lattice.is_final, map(lattice.final_alignment.__getitem__, range(lattice.num_states)), strict=True)
        )
    ]
    ordered = all(a[0] != b[0] or a[2] <= b[2] for a, b in zip(arcs, arcs[1:], strict=False))
    upward = all(source < target for source, target, _ in arcs)
    truth = {16: True, 23: all(word for *_, word in arcs), 28: ordered, 30: ordered, 33: all(ones), 38: upward}
    for bit, true in truth.items():
        other = bit + 1 if bit != 23 and bit != 33 else bit - 1
        assert bool(bits >> bit & 1) == true and bool(bits >> other & 1) == (not true), bit
    assert not bits >> 35 & 1 or upward  # acyclic
    assert not bits >> 40 & 0xFF & ~0x80 and (not arcs or not bits >> 47)  # no property that depends on the whole FST


def test_a_changed_lattice_does_not_claim_what_its_file_claimed(tmp_path):
    ((_, lattice), *_) = kaldi.read_lattices(FORMATS / "compact.ark")
    zero = np.zeros(lattice.num_arcs)
    final = np.where(lattice.is_final, 0.0, np.inf)
    changed = replace(
        lattice,
        graph=zero,
        acoustic=zero,
        final_graph=final,
        final_acoustic=final,
        alignment=Ragged.from_lists([[]] * lattice.num_arcs),
        final_alignment=Ragged.from_lists([[]] * lattice.num_states),
    )
    kaldi.write_lattices(tmp_path / "x.ark", [("utt", changed)])
    assert header_bits(FORMATS / "compact.ark") >> 32 & 3 == 1  # weighted
    assert header_bits(tmp_path / "x.ark") >> 32 & 3 == 2  # unweighted


def test_header_symbol_tables_are_skipped(tmp_path):
    data = content(FORMATS / "odd.ark")
    begin = data.index(b"linear ")
    at = data.index(b"compactlattice44", begin) + 16
    symbols = struct.pack("<ii3sqqi5sq", 2125658996, 3, b"tab", 1, 1, 5, "süß".encode(), 0)
    rest_end = at + 4 + 4 + 8 + 8 + 8 + 8
    patched = data[:at] + struct.pack("<ii", 2, 3) + data[at + 8 : rest_end] + symbols * 2 + data[rest_end:]
    (tmp_path / "x.ark").write_bytes(patched)
    read = dict(kaldi.read_lattices(tmp_path / "x.ark"))
    plain = dict(kaldi.read_lattices(FORMATS / "odd.ark"))
    assert list(read) == list(plain)
    assert_equal(read["linear"], plain["linear"])


def test_state_count_of_a_streamed_fst_is_not_needed(tmp_path):
    data = content(FORMATS / "odd.ark")
    entry = bytearray(data[data.index(b"dead-ends ") :])
    at = entry.index(b"compactlattice44") + 16 + 8 + 8 + 8
    struct.pack_into("<qq", entry, at, -1, -1)
    (tmp_path / "x.ark").write_bytes(entry)
    ((_, lattice),) = kaldi.read_lattices(tmp_path / "x.ark")
    assert_equal(lattice, dict(kaldi.read_lattices(FORMATS / "odd.ark"))["dead-ends"])


def test_entries_larger_than_any_buffer(tmp_path):
    ids = np.arange(1, 300_001, dtype=np.int32)
    big = Lattice(
        0, *(np.array(v) for v in ([0], [1])), np.array([3], np.int32), *(np.array([1.5]),) * 2,
        *(np.array([np.inf, 0.0]),) * 2, Ragged.from_lists([ids]), Ragged.from_lists([[], []]),
    )  # fmt: skip
    kaldi.write_lattices(tmp_path / "x.ark", [(f"utt{i}", big) for i in range(3)])
    read = dict(kaldi.read_lattices(tmp_path / "x.ark"))
    assert list(read) == ["utt0", "utt1", "utt2"]
    assert_equal(read["utt2"], big)


def test_crlf_text_is_read(tmp_path):
    (tmp_path / "x.txt").write_bytes(content(FORMATS / "odd.txt").replace(b"\n", b"\r\n"))
    plain = dict(kaldi.read_lattices(FORMATS / "odd.txt"))
    read = dict(kaldi.read_lattices(tmp_path / "x.txt"))
    assert list(read) == list(plain)
    for utt, lattice in read.items():
        assert_equal(lattice, plain[utt])


def test_standard_input(monkeypatch):
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(gzip.compress(content(FORMATS / "compact.ark"))))

    monkeypatch.setattr("sys.stdin", Stdin)
    assert len(list(kaldi.read_lattices("ark:-"))) == 12


def test_named_pipe(tmp_path):
    """As from <(gunzip -c x.gz) in the shell."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content(FORMATS / "compact.ark"),))
    writer.start()
    assert len(list(kaldi.read_lattices(tmp_path / "pipe"))) == 12
    writer.join()


def test_a_cost_too_large_for_a_float_is_refused(tmp_path):
    ((_, lattice), *_) = kaldi.read_lattices(FORMATS / "compact.ark")
    huge = replace(lattice, acoustic=np.full(lattice.num_arcs, 1e39))
    with pytest.raises(RescoreError, match="utt: a cost of 1e\\+39 does not fit into the floats of compactlattice44"):
        kaldi.write_lattices(tmp_path / "x.ark", [("utt", huge)])
    assert not list(tmp_path.iterdir())
    assert copied(tmp_path, huge, double=True).acoustic[0] == 1e39


@pytest.mark.parametrize("key", ["", "two words", "line\nend"])
def test_invalid_keys_are_refused(tmp_path, key):
    ((_, lattice), *_) = kaldi.read_lattices(FORMATS / "compact.ark")
    with pytest.raises(RescoreError, match="is not a valid utterance id"):
        kaldi.write_lattices(tmp_path / "x.ark", [(key, lattice)])


def test_no_scp_of_a_gzipped_archive(tmp_path):
    with pytest.raises(UsageError, match="no offsets"):
        kaldi.write_lattices(tmp_path / "x.gz", [], scp=tmp_path / "x.scp")
