"""N-best directories: Kaldi's own, round trips, and errors that joining files by line number would not notice."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.nbest import ACOUSTIC, GRAPH, NBest

NBEST = Path(__file__).parent / "goldens" / "nbest"
WORDS = kaldi.SymbolTable({f"w{index}": index for index in range(2000)})


@pytest.fixture
def directory(tmp_path):
    """Two utterances whose ids look like keys of hypotheses; one hypothesis is empty."""
    folder = tmp_path / "archives.1"
    folder.mkdir()
    (folder / "words_text").write_text("utt-1-1 a b\nutt-1-2 a\nutt-1-3\nutt-2-1 é\u00a0è\n", encoding="utf-8")
    (folder / "acwt").write_text("utt-1-1 10\nutt-1-2\t20 \nutt-1-3 30\nutt-2-1 40\n")
    (folder / "lmwt.withlm").write_text("utt-1-1 1\nutt-1-2 2\nutt-1-3 3\nutt-2-1 4\n")
    return tmp_path


def read(directory, **options) -> list[tuple[str, tuple, dict]]:
    return [
        (nbest.utt, nbest.words, {name: column.tolist() for name, column in nbest.costs.items()})
        for nbest in kaldi.read_nbest_dir(directory, 1, **options)
    ]


def test_reads_words(directory):
    assert read(directory) == [
        ("utt-1", (("a", "b"), ("a",), ()), {"acwt": [10, 20, 30], "lmwt.withlm": [1, 2, 3]}),
        ("utt-2", (("é\u00a0è",),), {"acwt": [40], "lmwt.withlm": [4]}),
    ]


def test_reads_what_kaldi_wrote(tmp_path):
    folder = tmp_path / "archives.1"
    folder.mkdir()
    for file in NBEST.glob("*.gz"):
        if "phi" not in file.name:
            (folder / file.name.removesuffix(".gz")).write_bytes(gzip.decompress(file.read_bytes()))
    lists = list(kaldi.read_nbest_dir(tmp_path, 1, WORDS))
    assert len(lists) == 12
    first = lists[0]
    assert first.utt == "kal16-minidev0052" and first.words[0][:3] == ("w1263", "w1369", "w1262")
    assert [first.costs[name][1] for name in (ACOUSTIC, GRAPH, "lmwt.nolm", "lmwt.nn")] == [
        55152.28, 127.9968, 58.69583, 83.82,
    ]  # fmt: skip
    lines = gzip.decompress((NBEST / "words.gz").read_bytes()).count(b"\n")
    assert sum(len(nbest) for nbest in lists) == lines


def test_words_as_ids(directory):
    folder = directory / "archives.1"
    expected = read(directory)
    ids = kaldi.SymbolTable({"<eps>": 0, "a": 5, "b": 7, "é\u00a0è": 9})
    (folder / "words_text").unlink()
    (folder / "words").write_text("utt-1-1 5 7\nutt-1-2 5\nutt-1-3\nutt-2-1 9\n")
    assert read(directory, words=ids) == expected
    with pytest.raises(InputError, match="word ids, expected a words.txt"):
        read(directory)
    (folder / "words").write_text("utt-1-1 5 8\nutt-1-2\nutt-1-3\nutt-2-1\n")
    with pytest.raises(InputError, match="no word for id 8"):
        read(directory, words=ids)
    (folder / "words").write_text("utt-1-1 5 b\nutt-1-2\nutt-1-3\nutt-2-1\n")
    with pytest.raises(InputError, match="key utt-1-1: .*'b'"):
        read(directory, words=ids)


def test_costs_join_by_key_in_any_order(directory):
    expected = read(directory)
    for name in ("acwt", "lmwt.withlm"):
        file = directory / "archives.1" / name
        file.write_text("".join(sorted(file.read_text().splitlines(keepends=True), reverse=True)))
    assert read(directory) == expected


def test_hypotheses_are_ordered_by_number(directory):
    (directory / "archives.1" / "words_text").write_text("utt-1-3\nutt-1-1 a b\nutt-1-2 a\nutt-2-1 é\n")
    assert read(directory)[0][1] == (("a", "b"), ("a",), ())


def test_lmwt_nn_may_hold_a_cost_for_each_word(directory):
    (directory / "archives.1" / "lmwt.nn").write_text("utt-1-1 1 2 0.5\nutt-1-2 1 2\nutt-1-3 7\nutt-2-1 8\n")
    assert read(directory)[0][2]["lmwt.nn"] == [3.5, 3, 7]
    (directory / "archives.1" / "lmwt.rnn").write_text("utt-1-1 1 2 0.5\nutt-1-2 1\nutt-1-3 7\nutt-2-1 8\n")
    with pytest.raises(InputError, match=r"lmwt.rnn: key utt-1-1: found '1 2 0.5', expected one finite cost"):
        read(directory)


def replace_line(directory, name, old, new):
    file = directory / "archives.1" / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("acwt", "utt-1-2\t20 \n", "", "acwt: key utt-1-2: found no such key"),
        ("acwt", "utt-2-1 40\n", "", "acwt: key utt-2-1: found no such key"),
        ("acwt", "utt-2-1 40\n", "utt-2-1 40\nutt-2-2 41\n", "acwt: key utt-2-2: found a key that no hypothesis has"),
        (
            "acwt",
            "utt-2-1 40\n",
            "utt-2-1 40\nutt-3-1 41\n",
            "acwt: key utt-3-1: found a cost, expected only keys that are in words_text",
        ),
        ("acwt", "utt-1-3", "utt-1-2", "acwt: key utt-1-2: found it twice"),
        ("acwt", "utt-1-1 10", "utt-1-1", "acwt: key utt-1-1: found ''"),
        ("acwt", "utt-1-1 10", "utt-1-1 ten", "acwt: key utt-1-1: found 'ten'"),
        ("acwt", "utt-1-1 10", "utt-1-1 nan", "acwt: key utt-1-1: found 'nan'"),
        ("acwt", "utt-1-1 10", "utt-1-1 -inf", "acwt: key utt-1-1: found '-inf'"),
        ("acwt", "utt-1-1 10", "utt 10", "acwt: line 1: found 'utt 10'"),
        ("acwt", "utt-1-1 10", "utt-1-0 10", "acwt: line 1: found 'utt-1-0 10'"),
        ("acwt", "utt-1-1 10", "-1 10", "acwt: line 1: found '-1 10'"),
        ("acwt", "utt-1-1 10", "", "acwt: line 1: found ''"),
        ("words_text", "utt-1-3", "utt-1-2", "words_text: key utt-1-2: found it twice"),
        (
            "words_text",
            "utt-2-1 é\u00a0è\n",
            "utt-2-1\nutt-1-4 a\n",
            "words_text: key utt-1: found its lines in two places",
        ),
        ("words_text", "utt-1-3\n", "utt-1-3\nutt-1-4\n", "acwt: key utt-1-4: found no such key"),
    ],
)
def test_files_that_contradict_each_other(directory, name, old, new, found):
    replace_line(directory, name, old, new)
    with pytest.raises(InputError, match=re.escape(f"{directory / 'archives.1'}/{found}")):
        read(directory)


def test_a_directory_without_words(directory):
    (directory / "archives.1" / "words_text").unlink()
    with pytest.raises(InputError, match="neither words_text nor words"):
        read(directory)


COSTS = st.floats(allow_nan=False, allow_infinity=False)
SPELLINGS = st.lists(st.sampled_from(["a", "l'été", "日本語", "a\u00a0b", "\x85"]), max_size=3).map(tuple)


@given(
    lists=st.dictionaries(
        st.sampled_from(["utt", "utt-1", "utt-1-1", "é"]),
        st.lists(st.tuples(SPELLINGS, COSTS, COSTS), min_size=1, max_size=12),
    )
)
def test_round_trip_keeps_every_digit(tmp_path_factory, lists):
    directory = tmp_path_factory.mktemp("x")
    entries = [
        NBest(
            utt,
            tuple(words for words, _, _ in rows),
            {ACOUSTIC: np.array([row[1] for row in rows]), "lmwt.rnn": np.array([row[2] for row in rows])},
        )
        for utt, rows in lists.items()
    ]
    kaldi.write_nbest(directory, 3, entries)
    read = list(kaldi.read_nbest_dir(directory, 3))
    assert [(nbest.utt, nbest.words) for nbest in read] == [(nbest.utt, nbest.words) for nbest in entries]
    for one, other in zip(read, entries, strict=True):
        for name in other.costs:
            np.testing.assert_array_equal(one.costs[name], other.costs[name])


def test_files_have_kaldis_layout(tmp_path):
    nbest = NBest("utt", (("w5", "w6"), ()), {ACOUSTIC: np.array([0.1, 2.0]), GRAPH: np.array([1 / 3, -1.0])})
    with kaldi.NBestWriter(tmp_path / "archives.1", WORDS) as writer:
        writer.write(nbest, alignments=[[7, 7, 8], [9]])
    assert {file.name: file.read_text() for file in (tmp_path / "archives.1").iterdir()} == {
        "words": "utt-1 5 6\nutt-2\n",
        "words_text": "utt-1 w5 w6\nutt-2\n",
        "ali": "utt-1 7 7 8\nutt-2 9\n",
        "acwt": "utt-1 0.1\nutt-2 2.0\n",
        "lmwt.withlm": "utt-1 0.3333333333333333\nutt-2 -1.0\n",
    }


def test_writing_no_lists_makes_an_empty_directory(tmp_path):
    kaldi.write_nbest(tmp_path, 1, [])
    assert list(kaldi.read_nbest_dir(tmp_path, 1)) == []


def test_a_failing_writer_leaves_the_old_directory(directory):
    expected = read(directory)

    def entries():
        yield NBest("utt", ((),), {ACOUSTIC: np.array([1.0])})
        yield NBest("other", ((),), {GRAPH: np.array([1.0])})

    with pytest.raises(RescoreError, match="other: columns"):
        kaldi.write_nbest(directory, 1, entries())
    assert read(directory) == expected
    assert [file.name for file in directory.iterdir()] == ["archives.1"]


@pytest.mark.parametrize(
    ("utt", "column", "found"), [("a b", ACOUSTIC, "utterance id"), ("utt", "../x", "expected acwt or")]
)
def test_invalid_utterance_ids_and_columns_are_refused(tmp_path, utt, column, found):
    with pytest.raises(RescoreError, match=found):
        kaldi.write_nbest(tmp_path, 1, [NBest(utt, ((),), {column: np.array([1.0])})])
