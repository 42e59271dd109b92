"""Reading and writing G.fst."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.errors import InputError
from asr_rescore.ngram import WordFst

GRAMMAR = WordFst(
    start=1,
    source=np.array([0, 0, 1], np.int32),
    target=np.array([0, 1, 0], np.int32),
    ilabel=np.array([2, 5, 9], np.int32),
    olabel=np.array([2, 5, 0], np.int32),
    cost=np.array([0.5, 0.25, 1.5]),
    final=np.array([2.0, np.inf]),
)


def by_hand(arc_type: bytes = b"standard", fst_type: bytes = b"vector", start: int = 1, target: int = 1) -> bytes:
    """GRAMMAR in the layout of OpenFst's documentation."""
    head = struct.pack("<ii6si8siiQqqq", 2125659606, 6, fst_type, 8, arc_type, 2, 0, 0x3, start, 2, 3)
    first = struct.pack("<fqiifiiifi", 2.0, 2, 2, 2, 0.5, 0, 5, 5, 0.25, target)
    return head + first + struct.pack("<fqiifi", np.inf, 1, 9, 0, 1.5, 0)


def assert_equal(one: WordFst, other: WordFst) -> None:
    assert one.start == other.start
    for name in ("source", "target", "ilabel", "olabel", "cost", "final"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_reads_plain_and_gzipped_file_and_directory(tmp_path):
    (tmp_path / "G.fst.gz").write_bytes(gzip.compress(by_hand()))
    assert_equal(kaldi.read_grammar(tmp_path), GRAMMAR)
    (tmp_path / "G.fst").write_bytes(by_hand())
    assert kaldi.old_lm_file(tmp_path) == tmp_path / "G.fst"
    assert_equal(kaldi.read_grammar(tmp_path / "G.fst"), GRAMMAR)


@pytest.mark.parametrize("name", ["G.fst", "G.fst.gz"])
def test_round_trip(tmp_path, name):
    kaldi.write_grammar(tmp_path / name, GRAMMAR)
    assert_equal(kaldi.read_grammar(tmp_path), GRAMMAR)


def test_written_states_have_openfsts_layout(tmp_path):
    kaldi.write_grammar(tmp_path / "G.fst", GRAMMAR)
    states = 4 + 4 + 6 + 4 + 8 + 4 + 4 + 8 + 8 + 8 + 8
    assert (tmp_path / "G.fst").read_bytes()[states:] == by_hand()[states:]


def test_grammar_of_the_mini_corpus(mini):
    grammar = kaldi.read_grammar(mini / "lang_tgpr")
    words = kaldi.read_words(mini / "lang_tgpr" / "words.txt")
    assert grammar.ilabel.max() < len(words)
    back_off = grammar.ilabel != grammar.olabel
    assert set(zip(grammar.ilabel[back_off], grammar.olabel[back_off], strict=True)) == {(words.id("#0"), 0)}
    assert np.isfinite(grammar.final).any() and np.isinf(grammar.final).any()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (by_hand(fst_type=b"const\0"), "fstconvert --fst_type=vector"),
        (by_hand(arc_type=b"log\0\0\0\0\0"), "vector with standard"),
        (by_hand(start=-1), "start state -1 of 2"),
        (by_hand(start=2), "start state 2 of 2"),
        (by_hand(target=2), "an arc to a state that does not exist"),
        (by_hand().replace(struct.pack("<f", 0.25), struct.pack("<f", np.nan)), "a cost that is not a finite number"),
        (by_hand().replace(struct.pack("<f", 2.0), struct.pack("<f", -np.inf)), "a cost that is not a finite number"),
        (by_hand()[:-1], "the end of the data"),
        (gzip.compress(by_hand(), mtime=0)[:-12], "broken stream"),
        (b"\\data\\\nngram 1=5\n", "magic number"),
        (b"", "the end of the data"),
    ],
)
def test_an_invalid_grammar_is_an_error(tmp_path, data, found):
    (tmp_path / "G.fst").write_bytes(data)
    with pytest.raises(InputError, match=found):
        kaldi.read_grammar(tmp_path)


def test_a_missing_grammar_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        kaldi.read_grammar(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        kaldi.read_grammar(tmp_path / "other")
