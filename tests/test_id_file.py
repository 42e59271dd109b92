"""A text as a file of ids: what is in it, when it is made, and that training cannot tell."""

from __future__ import annotations

import json
import os
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_rescore import corpus, id_file
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import InputError
from asr_rescore.fingerprint import file_hash
from asr_rescore.id_file import DESCRIPTION_FILE, IDS_FILE, IdFile, opened_ids
from asr_rescore.vocab import Vocabulary
from asr_rescore.vocab_files import save_vocabulary
from training_runs import DROPPED, TRAIN, VOCABULARY, go, log_of, make_run, state_of

WORDS = Vocabulary.from_counts({"a": 9, "b": 7, "c": 3, "d": 1}, size=4)  # </s>, class of c and d, a, b
SENTENCES = "a c\nx\nb b a d\nc\n"


@pytest.fixture
def text(tmp_path) -> Path:
    """A text in a directory that looks as if prepare_text had made it."""
    save_vocabulary(tmp_path / "text", WORDS)
    path = tmp_path / "text" / "train.txt"
    path.write_text(SENTENCES)
    return path


def made(text: Path) -> list[Path]:
    return sorted(text.parent.rglob(DESCRIPTION_FILE))


@pytest.fixture
def makes(monkeypatch) -> list[Path]:
    """Every file that is made, as it is made."""
    made: list[Path] = []
    make = IdFile._make

    def spy(self, made_from, before):
        made.append(self.directory)
        make(self, made_from, before)

    monkeypatch.setattr(IdFile, "_make", spy)
    return made


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_it_holds_what_memory_would(text, tmp_path, monkeypatch, block):
    monkeypatch.setattr(corpus, "BLOCK", block)
    expected = TokenStream.read(text, WORDS)
    with opened_ids(text, WORDS, tmp_path / "lm") as found:
        assert found.ids.dtype == np.uint16
        assert found.ids.tolist() == expected.ids.tolist() == [2, 1, 0, 1, 0, 3, 3, 2, 1, 0, 1, 0]
        assert found.ends.tolist() == [3, 5, 10, 12]
        assert found.sentence(2).tolist() == [3, 3, 2, 1, 0]
        assert (found.class_cost, found.oov, found.hash) == (expected.class_cost, expected.oov, expected.hash)
        assert (len(found), found.sentences) == (12, 4)
        assert replace(found, known_hash=None).hash == expected.hash
        with pytest.raises(ValueError, match="read-only"):
            found.ids[0] = 1
    assert not (tmp_path / "lm").exists()


@pytest.mark.parametrize(("entries", "name"), [(1 << 16, "uint16"), ((1 << 16) + 1, "uint32")])
def test_large_vocabularies_take_32_bits(tmp_path, entries, name):
    vocabulary = Vocabulary.from_counts({f"w{number:06d}": 1 for number in range(entries - 2)})
    assert len(vocabulary) == entries
    (tmp_path / "text").write_text(f"{vocabulary.words[-1]}\n")
    with opened_ids(tmp_path / "text", vocabulary, tmp_path / "lm") as found:
        assert found.ids.dtype.name == name
        assert found.ids.tolist() == [entries - 1, 0]


def test_it_is_made_once_for_each_text_and_vocabulary(text, tmp_path, makes):
    other = Vocabulary.from_counts({"a": 9, "x": 7})
    for vocabulary in (WORDS, WORDS, other, WORDS):
        with opened_ids(text, vocabulary, tmp_path / "lm") as found:
            assert found.hash == TokenStream.read(text, vocabulary).hash
    assert [directory.name for directory in makes] == [WORDS.hash[:16], other.hash[:16]]
    assert len(made(text)) == 2
    # A text of the same size and time, but with other words.
    times = text.stat()
    text.write_text(SENTENCES.replace("x", "a"))
    os.utime(text, ns=(times.st_atime_ns, times.st_mtime_ns))
    with opened_ids(text, WORDS, tmp_path / "lm") as found:
        assert found.hash == TokenStream.read(text, WORDS).hash
    assert len(makes) == 3 and len(made(text)) == 2


def test_who_has_it_open_keeps_it(text, tmp_path):
    with opened_ids(text, WORDS, tmp_path / "lm") as found:
        text.write_text("b\n")
        with opened_ids(text, WORDS, tmp_path / "lm") as newer:
            assert newer.ids.tolist() == [3, 0]
        assert found.ids.tolist() == [2, 1, 0, 1, 0, 3, 3, 2, 1, 0, 1, 0]


def test_those_who_come_together_make_one(text, tmp_path, makes):
    """Locks are of open files, so threads exclude one another as processes do."""
    gate = threading.Barrier(4)
    found = []

    def open_it():
        gate.wait()
        with opened_ids(text, WORDS, tmp_path / "lm") as stream:
            found.append(stream.ids.tolist())

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and found == found[:1] * 4
    assert len(makes) == 1


DAMAGES = {
    "an id": lambda folder: (folder / IDS_FILE).write_bytes(b"\3" + (folder / IDS_FILE).read_bytes()[1:]),
    "cut": lambda folder: os.truncate(folder / IDS_FILE, 4),
    "missing": lambda folder: (folder / IDS_FILE).unlink(),
    "empty": lambda folder: (folder / DESCRIPTION_FILE).write_text(""),
    "not ours": lambda folder: (folder / DESCRIPTION_FILE).write_text('{"made_from": 3}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_made_again_with_a_warning(text, tmp_path, caplog, damage):
    with opened_ids(text, WORDS, tmp_path / "lm"):
        pass
    damage(made(text)[0].parent)
    with opened_ids(text, WORDS, tmp_path / "lm") as found:
        assert found.ids.tolist() == [2, 1, 0, 1, 0, 3, 3, 2, 1, 0, 1, 0]
    assert caplog.text.count("the ids are made again") == 1


@pytest.mark.parametrize("damage", [*DAMAGES.values(), lambda folder: None], ids=[*DAMAGES, "of an older text"])
def test_a_file_that_cannot_be_used_nor_written_is_left(text, tmp_path, monkeypatch, damage):
    with opened_ids(text, WORDS, tmp_path / "lm"):
        pass
    damage(made(text)[0].parent)
    text.write_text("a\n")
    monkeypatch.setattr(IdFile, "can_be_written", False)
    scratch = tmp_path / "lm"
    monkeypatch.setattr("asr_rescore.id_file.locked", lambda path, *_, **__: nullcontext(path.relative_to(scratch)))
    with opened_ids(text, WORDS, scratch) as found:
        assert len(found.ids) == 2


def test_a_text_that_changes_while_its_hash_is_computed(text, tmp_path, monkeypatch):
    def changing(path):
        found = file_hash(path)
        text.write_text("a\n")
        return found

    monkeypatch.setattr("asr_rescore.id_file.file_hash", changing)
    with pytest.raises(InputError, match="found a text that changes"), opened_ids(text, WORDS, tmp_path / "lm"):
        pass


def test_nothing_is_left_next_to_a_text_that_is_not_ours(text, tmp_path):
    (text.parent / "unk_probs.txt").unlink()
    scratch = tmp_path / "lm"
    before = sorted(text.parent.rglob("*"))
    with opened_ids(text, WORDS, scratch) as found:
        assert found.ids.tolist()[:3] == [2, 1, 0]
        assert sorted(text.parent.rglob("*")) == before
        assert any(scratch.rglob(IDS_FILE))
    assert not any(scratch.iterdir())


def test_a_directory_that_cannot_be_written(text, tmp_path, monkeypatch):
    """The tests may run as root, whom permissions do not stop; a file in the place does."""
    (text.parent / "train.txt.ids").touch()
    with opened_ids(text, WORDS, tmp_path / "lm") as found:
        assert found.ids.tolist()[:3] == [2, 1, 0]
        assert any((tmp_path / "lm").rglob(IDS_FILE))
    assert not any((tmp_path / "lm").iterdir())


def test_a_file_in_a_directory_that_cannot_be_written_is_used(text, tmp_path, monkeypatch, makes):
    with opened_ids(text, WORDS, tmp_path / "lm"):
        pass
    monkeypatch.setattr(IdFile, "can_be_written", False)
    with opened_ids(text, WORDS, tmp_path / "lm") as found:
        assert found.ids.tolist()[:3] == [2, 1, 0]
    assert len(makes) == 1 and not (tmp_path / "lm").exists()


@pytest.mark.parametrize(("error", "kept"), [(KeyboardInterrupt, True), (InputError, False), (None, False)])
def test_only_a_run_that_continues_finds_its_ids_again(tmp_path, makes, error, kept):
    text = tmp_path / "text"
    text.write_text(SENTENCES)
    raised = InputError("x", found="x", expected="x", remedy="x") if error is InputError else error
    try:
        with opened_ids(text, WORDS, tmp_path / "lm"):
            if raised is not None:
                raise raised
    except (KeyboardInterrupt, InputError):
        pass
    assert any((tmp_path / "lm").rglob(IDS_FILE)) == kept
    with opened_ids(text, WORDS, tmp_path / "lm"):
        assert len(makes) == 2 - kept


@pytest.mark.parametrize(
    ("content", "message"), [("\n", "no sentence"), ("a </s>\n", "line 1"), (None, "no such file")]
)
def test_a_text_that_is_refused(text, tmp_path, content, message):
    if content is None:
        text.unlink()
    else:
        text.write_text(content)
    with pytest.raises(InputError, match=message), opened_ids(text, WORDS, tmp_path / "lm"):
        pass
    assert not made(text) and not (tmp_path / "lm").exists()


def test_a_text_that_changes_while_it_is_read(text, tmp_path, monkeypatch):
    read = id_file.read_sentences

    def slowly(path):
        yield from read(path)
        path.write_text(SENTENCES + "a\n")

    monkeypatch.setattr(id_file, "read_sentences", slowly)
    with pytest.raises(InputError, match="found a text that changes"), opened_ids(text, WORDS, tmp_path / "lm"):
        pass
    assert not made(text)


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(SENTENCES))
    writer.start()
    with opened_ids(pipe, WORDS, tmp_path / "lm") as found:
        assert found.ids.tolist()[:3] == [2, 1, 0]
    writer.join()
    assert not (tmp_path / "lm").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"partial_shuffle": True}, {"kind": "trust", "small_batch": 3}], ids=["shuffled", "distilled"]
)
def test_training_cannot_tell(tmp_path, options):
    run = make_run(tmp_path / "memory", DROPPED, **options)
    ppl = go(run)
    words = [VOCABULARY.words[index] for index in TRAIN.ids]
    (tmp_path / "text").write_text(" ".join(words).replace(" </s>", "\n").replace("\n ", "\n"))
    with opened_ids(tmp_path / "text", VOCABULARY, tmp_path / "ids") as stream:
        mapped = replace(run, directory=tmp_path / "mapped", train=stream)
        assert go(mapped) == ppl
    assert mapped.fingerprint == run.fingerprint
    assert log_of(mapped) == log_of(run)
    ours = state_of(mapped)[0]
    theirs = state_of(run)[0]
    assert ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


def test_the_description_holds_no_paths(text, tmp_path):
    """So that a directory can be moved."""
    with opened_ids(text, WORDS, tmp_path / "lm"):
        pass
    facts = json.loads(made(text)[0].read_text())
    assert str(tmp_path) not in json.dumps(facts)
    moved = text.parent.rename(tmp_path / "moved") / text.name
    before = made(moved)[0].stat().st_mtime_ns
    with opened_ids(moved, WORDS, tmp_path / "lm"):
        assert made(moved)[0].stat().st_mtime_ns == before
