"""Odd keys and odd file names: bytes that are not UTF-8, control characters, byte order marks, links, NULs."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import read_lines

FORMATS = Path(__file__).parent / "goldens" / "formats"
LATTICE = b"\n0 1 5 1,1,1\n1\n\n"
MARK = "\ufeff"


def read_all(source, **options) -> tuple[list[str], list[tuple[str, str]]]:
    """All keys, and all errors as (key, message)."""
    errors: list[tuple[str, str]] = []
    lattices = kaldi.read_lattices(source, on_error=lambda key, error: errors.append((key, str(error))), **options)
    return [key for key, _ in lattices], errors


@pytest.mark.parametrize("name", ["ark:x.ark", " x.ark", "x.ark ", "x|", "x.ark:12", "-", "scp:list", "x\u00a0"])
def test_a_path_is_the_name_of_a_file_and_nothing_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"utt " + LATTICE)
    assert read_all(Path(name)) == (["utt"], [])
    assert read_all(tmp_path / name) == (["utt"], [])


def test_wide_spaces_belong_to_the_names_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x\u00a0").write_bytes(b"utt " + LATTICE)
    Path("x.scp").write_text("utt x\u00a0:4\n")
    assert read_all("x\u00a0") == read_all("ark:x\u00a0") == read_all("x.scp") == (["utt"], [])


def test_a_key_that_is_not_utf8_costs_one_entry(tmp_path):
    path = tmp_path / "x.ark"
    path.write_bytes(b"a " + LATTICE + b"b\xff\x1b " + LATTICE + b"c " + LATTICE)
    keys, ((key, message),) = read_all(path)
    assert keys == ["a", "c"]
    assert key == "b\\xff\x1b"
    assert message.startswith(f"{path}: key b\\xff\\x1b: byte 22: found a key that is not UTF-8")


def test_a_key_that_is_not_utf8_costs_one_line_of_an_scp(tmp_path):
    (tmp_path / "x.ark").write_bytes(b"a " + LATTICE)
    place = f"{tmp_path}/x.ark:2".encode()
    (tmp_path / "x.scp").write_bytes(b"b\xff " + place + b"\nc " + place + b"\xfe\na " + place + b"\n")
    keys, errors = read_all(tmp_path / "x.scp")
    assert keys == ["a"]
    assert [key for key, _ in errors] == ["b\\xff", "c"]
    assert all("bytes that are not UTF-8" in message for _, message in errors)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("x\0.ark:2", "null byte"),
        (f"x.ark:{'9' * 5000}", "a name that is too long"),
        (f"x.ark:{10**17}", "a file of 18 bytes"),
    ],
    ids=["NUL", "5000 digits", "beyond the end"],
)
def test_impossible_places_in_an_scp(tmp_path, place, found):
    (tmp_path / "x.ark").write_bytes(b"a " + LATTICE)
    (tmp_path / "x.scp").write_text(f"bad {tmp_path}/{place}\ngood {tmp_path}/x.ark:2\n")
    keys, ((key, message),) = read_all(tmp_path / "x.scp")
    assert (keys, key) == (["good"], "bad")
    assert found in message


@pytest.mark.parametrize("zipped", [False, True])
def test_a_byte_order_mark_is_not_part_of_the_first_word_or_key(tmp_path, zipped):
    def write(name: str, text: str) -> Path:
        data = (MARK + text).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if zipped else data)
        return tmp_path / name

    assert kaldi.read_words(write("words.txt", "<eps> 0\na 1\n")).ids == {"<eps>": 0, "a": 1}
    assert kaldi.read_table(write("text", "utt a b\n")) == {"utt": ["a", "b"]}
    (tmp_path / "x.ark").write_bytes(b"utt " + LATTICE)
    assert read_all(write("x.scp", f"utt {tmp_path}/x.ark:4\n")) == (["utt"], [])
    assert read_all(write("y.ark", "utt \n0\n\n")) == (["utt"], [])


@pytest.mark.parametrize("name", ["text", "segments", "G.fst"])
def test_a_link_to_nowhere_is_not_a_missing_file(tmp_path, name):
    kaldi.write_data_dir(tmp_path, kaldi.DataDir({"utt": "spk"}))
    assert kaldi.read_data_dir(tmp_path).text is None
    assert kaldi.read_places(tmp_path) is None
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    read = {"text": kaldi.read_data_dir, "segments": kaldi.read_places, "G.fst": kaldi.read_grammar}[name]
    with pytest.raises(InputError, match=f"{name}: found no such file"):
        read(tmp_path)


@pytest.mark.parametrize("read", [kaldi.read_words, kaldi.read_table, kaldi.read_ctm])
def test_damaged_gzip_is_one_error(tmp_path, read):
    data = bytearray(gzip.compress("".join(f"word{n} {n * n}\n" for n in range(5000)).encode()))
    data[len(data) // 2] ^= 0xFF
    data[len(data) // 2 + 1 : len(data) // 2 + 50] = b"\xff" * 49
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InputError):
        read(tmp_path / "file")
    with pytest.raises(InputError, match=r"file: line \d+: found a broken gzip stream|not UTF-8"):
        list(read_lines(tmp_path / "file"))


def test_a_damaged_deflate_block_is_one_error(tmp_path):
    data = bytearray(gzip.compress(b"a 1\n"))
    data[10] = 0xFF  # an invalid block type, which is a zlib.error
    (tmp_path / "words.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"words.txt: line 1: found a broken gzip stream"):
        kaldi.read_words(tmp_path / "words.txt")


def test_an_id_of_thousands_of_digits(tmp_path):
    (tmp_path / "words.txt").write_text(f"a {'9' * 5000}\n")
    with pytest.raises(InputError, match="line 1: found"):
        kaldi.read_words(tmp_path / "words.txt")


def test_control_characters_do_not_reach_the_terminal(tmp_path, capsys):
    (tmp_path / "ref").write_text("u\x1b[31m a\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("u\u202e a\n", encoding="utf-8")
    assert main(["score_wer", str(tmp_path / "ref"), str(tmp_path / "hyp")]) == 1
    err = capsys.readouterr().err
    assert "no hypothesis for u\\x1b[31m" in err and "no reference for u\\u202e" in err
    assert err.replace("\n", "").isprintable()
    (tmp_path / "ref").write_text("u\x1b a\nu\x1b b\n")
    with pytest.raises(InputError) as raised:
        kaldi.read_table(tmp_path / "ref")
    assert "key u\\x1b again" in str(raised.value)


def test_a_lattice_that_cannot_be_written_is_reported_and_the_others_are_written(tmp_path):
    lattices = list(kaldi.read_lattices(FORMATS / "compact.ark"))[:3]
    key, lattice = lattices[1]
    entries = [
        lattices[0],
        (key, replace(lattice, acoustic=np.full(lattice.num_arcs, 1e40))),
        ("a b", lattice),
        lattices[2],
    ]
    errors: dict[str, RescoreError] = {}
    written = kaldi.write_lattices(
        tmp_path / "x.ark", entries, scp=tmp_path / "x.scp", on_error=lambda key, error: errors.update({key: error})
    )
    assert written == 2
    assert "does not fit into the floats" in str(errors[key]) and "not a valid utterance id" in str(errors["a b"])
    kept = [lattices[0][0], lattices[2][0]]
    assert [utt for utt, _ in kaldi.read_lattices(tmp_path / "x.ark")] == kept
    assert [utt for utt, _ in kaldi.read_lattices(tmp_path / "x.scp")] == kept
