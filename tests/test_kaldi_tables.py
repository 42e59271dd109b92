"""words.txt, line tables, data and decode directories."""

from __future__ import annotations

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError

BLANKS = " \t\n\r\f\v"
TOKENS = st.text(st.characters(exclude_characters=BLANKS, exclude_categories=["Cs"]), min_size=1, max_size=6)
# Some of these are blanks for Unicode and str.split(), but not for Kaldi.
ODD_WORDS = ["l'été", "日本語", "a\u00a0b", "\u3000", "\x85", "🙂", "<eps>", "#0"]


@given(table=st.dictionaries(TOKENS, st.lists(TOKENS, max_size=4), max_size=5))
def test_table_round_trip(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("x") / "text"
    kaldi.write_table(path, table)
    assert kaldi.read_table(path) == table


def test_table_as_users_write_it(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("utt1\ta  b \r\nutt2\r\nutt3 é\u00a0è c".encode())
    assert kaldi.read_table(path) == {"utt1": ["a", "b"], "utt2": [], "utt3": ["é\u00a0è", "c"]}
    (tmp_path / "gz").write_bytes(gzip.compress(path.read_bytes()))
    assert kaldi.read_table(tmp_path / "gz") == kaldi.read_table(path)


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        (b"utt1 a\n\nutt2 b\n", 2, "''"),
        (b" utt1 a\n", 1, "' utt1 a'"),
        (b"utt1 a\nutt2\nutt1 b\n", 3, "key utt1 again"),
        (b"utt1 \xff\n", 1, "bytes that are not UTF-8"),
    ],
)
def test_bad_tables(tmp_path, content, line, found):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{path}: line {line}: found {found}")):
        kaldi.read_table(path)


def test_invalid_fields_are_refused(tmp_path):
    for table, what in (({"a b": []}, "key"), ({"": ["x"]}, "key"), ({"a": ["x y"]}, "field"), ({"a": [""]}, "field")):
        with pytest.raises(RescoreError, match=f"is not a valid {what}"):
            kaldi.write_table(tmp_path / "x", table)
    assert not list(tmp_path.iterdir())


def test_words_round_trip(tmp_path):
    symbols = kaldi.SymbolTable({word: 3 * index for index, word in enumerate(ODD_WORDS)})
    kaldi.write_words(tmp_path / "words.txt", symbols)
    read = kaldi.read_words(tmp_path / "words.txt")
    assert read.ids == symbols.ids and len(read) == len(ODD_WORDS)
    assert [read.word(read.id(word)) for word in ODD_WORDS] == ODD_WORDS
    assert "日本語" in read and "nihongo" not in read
    assert read.get("nihongo") == -1 and read.get("🙂") == 15


def test_words_not_in_the_table_name_the_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("<eps> 0\na 1\n")
    words = kaldi.read_words(path)
    with pytest.raises(InputError, match=f"{path}: found no word for id 7"):
        words.word(7)
    with pytest.raises(InputError, match=f"{path}: found no id for 'b'"):
        words.id("b")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("<eps> 0\na\n", "line 2: found 'a'"),
        ("<eps> 0\na 1 2\n", "line 2: found 'a 1 2'"),
        ("<eps> 0\na x\n", "line 2: found 'a x'"),
        ("<eps> 0\na -1\n", "line 2: found 'a -1'"),
        ("<eps> 0\na ٣\n", "line 2: found 'a ٣'"),
        ("<eps> 0\na 1\na 2\n", "line 3: found word 'a' again"),
        ("<eps> 0\na 1\nb 1\n", "line 3: found id 1 for 'b' and 'a'"),
        ("", "words.txt: found an empty file, expected lines `word id`"),
    ],
)
def test_bad_words(tmp_path, content, found):
    (tmp_path / "words.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(found)):
        kaldi.read_words(tmp_path / "words.txt")


def test_data_directory_round_trip(tmp_path):
    data = kaldi.DataDir({"a-1": "a", "a-2": "a", "b-1": "b"}, {"a-1": ["x", "y"], "b-1": []})
    kaldi.write_data_dir(tmp_path, data)
    assert kaldi.read_data_dir(tmp_path) == data
    assert data.utterances == ("a-1", "a-2", "b-1")
    assert kaldi.read_table(tmp_path / "spk2utt") == data.spk2utt == {"a": ["a-1", "a-2"], "b": ["b-1"]}
    (tmp_path / "text").unlink()
    assert kaldi.read_data_dir(tmp_path).text is None


@pytest.mark.parametrize(
    ("utt2spk", "text", "found"),
    [
        ("a b c\n", None, "utt2spk: key a: found 'b c', expected one speaker"),
        ("a\n", None, "utt2spk: key a: found '', expected one speaker"),
        ("a b\n", "a x\nc y\n", "text: key c: found no such utterance in utt2spk"),
        (None, "a x\n", "utt2spk: found no such file"),
    ],
)
def test_bad_data_directories(tmp_path, utt2spk, text, found):
    for name, content in (("utt2spk", utt2spk), ("text", text)):
        if content is not None:
            (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(found)):
        kaldi.read_data_dir(tmp_path)


@pytest.mark.parametrize(
    ("num_jobs", "lattices", "found"),
    [
        (None, [1], "num_jobs: found no such file"),
        ("", [1], "num_jobs: found ''"),
        ("two", [1], "num_jobs: found 'two'"),
        ("0", [], "num_jobs: found '0'"),
        ("2", [1], "lat.2.gz: found no such file"),
        ("1", [1, 2], "lat.2.gz: found an extra file"),
    ],
)
def test_bad_decode_directories(tmp_path, num_jobs, lattices, found):
    if num_jobs is not None:
        (tmp_path / "num_jobs").write_text(num_jobs)
    for job in lattices:
        (tmp_path / f"lat.{job}.gz").touch()
    with pytest.raises(InputError, match=re.escape(found)):
        kaldi.lattice_files(tmp_path)
