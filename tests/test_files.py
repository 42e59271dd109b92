"""Files are written completely or not at all, and read whether they are gzipped or not."""

import gzip
import shutil
from pathlib import Path

import pytest

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_binary, atomic_directory, atomic_text, naming, open_binary, read_lines

FULL = Path("/dev/full")


@pytest.mark.parametrize("name", ["plain.txt", "packed.gz"])
def test_what_is_written_is_read(tmp_path, name):
    with atomic_text(tmp_path / name) as stream:
        stream.write("eins\nzwei ü\n")
    assert list(read_lines(tmp_path / name)) == [(1, "eins"), (2, "zwei ü")]
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_gzip_is_detected_by_content(tmp_path):
    (tmp_path / "no_suffix").write_bytes(gzip.compress(b"packed\n"))
    with open_binary(tmp_path / "no_suffix") as stream:
        assert stream.read() == b"packed\n"


def test_rewriting_gives_the_same_bytes(tmp_path):
    for name in ("a.gz", "b.gz"):
        with atomic_binary(tmp_path / name) as stream:
            stream.write(b"x" * 1000)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_text(path) as stream:
        stream.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, "old"])
def test_a_directory_is_replaced_whole(tmp_path, before):
    path = tmp_path / "folder"
    if before:
        path.mkdir()
        (path / "file").write_text(before)
    with pytest.raises(RuntimeError), atomic_directory(path) as fresh:
        (fresh / "file").write_text("half")
        raise RuntimeError
    assert [file.read_text() for file in tmp_path.rglob("file")] == ([before] if before else [])
    with atomic_directory(path) as fresh:
        (fresh / "other").write_text("new")
    assert [file.name for file in path.iterdir()] == ["other"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [True, False], ids=["replaces", "is new"])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("other", ["puts its own there", "takes it away"])
def test_another_process_replaces_a_directory_at_the_same_time(tmp_path, monkeypatch, before, call, other):
    """It does so just before one of the moves of this one."""
    path = tmp_path / "archives.1"
    if before:
        path.mkdir()
        (path / "words").write_text("old")
    move = Path.replace
    moves = []

    def disturbed(self, target):
        moves.append(self)
        if len(moves) == call:
            shutil.rmtree(path, ignore_errors=True)
            if other == "puts its own there":
                path.mkdir()
                (path / "words").write_text("theirs")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", disturbed)
    with atomic_directory(path) as fresh:
        (fresh / "words").write_text("ours")
    assert [(found.name, found.is_dir()) for found in tmp_path.iterdir()] == [("archives.1", True)]
    assert (path / "words").read_text() == "ours"


def test_a_directory_that_cannot_take_the_place_leaves_the_old(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").write_text("old")
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.name.startswith(".folder.") and Path(target) == path:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"), atomic_directory(path) as fresh:
        (fresh / "file").write_text("new")
    assert (path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"one\ntwo\n" * 1000, mtime=0)[:-20], "broken gzip stream"),
        (b"one\n\xff\xfe\n", "line 2.*not UTF-8"),
    ],
)
def test_broken_text_is_named(tmp_path, content, message):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_lines(tmp_path / "text"))


def test_what_is_no_readable_file_is_named_in_plain_words(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    places = {
        "nowhere": "no such file",
        "file/under": "no such file",
        ".": "a directory",
        "n" * 300: "a name that is too long",
        "loop": "a link to itself",
        "a\0b": "embedded null byte",
    }
    for name, found in places.items():
        with pytest.raises(InputError) as refused:
            list(read_lines(tmp_path / name))
        assert refused.value.found == found
    message = f"{tmp_path / 'nowhere'}: found no such file, expected a readable file; check the path"
    with pytest.raises(InputError, match=message):
        list(read_lines(tmp_path / "nowhere"))


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full")
def test_an_error_of_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "log"
    path.symlink_to(FULL)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"), naming(path), path.open("a") as stream:
        stream.write("x")
