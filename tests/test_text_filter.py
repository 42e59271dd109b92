"""Programs that filter transcripts: what they get, and how they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from asr_rescore import text_filter
from asr_rescore.errors import InputError
from asr_rescore.text_filter import TextFilter
from filters import WSJ, program, sed

LINES = [("u1", ["a", "<UNK>", "b"]), ("u2", ["<NOISE>"]), ("u3", []), ("u4", ["THE", "COMPAIGN", ":"])]


def test_the_rules_of_wsj(tmp_path):
    wsj = TextFilter(program(tmp_path / "wer_output_filter", WSJ))
    assert wsj(LINES) == [["a", "b"], [], [], ["THE", "CAMPAIGN"]]
    assert wsj([]) == []


def test_lines_are_what_kaldi_s_filters_get(tmp_path):
    seen = tmp_path / "seen"
    TextFilter(program(tmp_path / "f", f"#!/bin/sh\nexec tee {seen}\n"))(LINES)
    assert seen.read_text() == "u1 a <UNK> b\nu2 <NOISE>\nu3\nu4 THE COMPAIGN :\n"


def test_blanks_that_are_left_do_not_matter(tmp_path):
    assert TextFilter(sed(tmp_path / "f", "s/<UNK>//", r"s/$/ \t/"))(LINES)[0] == ["a", "b"]


def test_a_stream_goes_through_few_processes(tmp_path, monkeypatch):
    """Ten items of three texts, of which two are equal, in batches of at least 40 bytes."""
    monkeypatch.setattr(text_filter, "BATCH", 40)
    runs = tmp_path / "runs"
    counting = program(tmp_path / "f", f'#!/bin/sh\nsed -e "s/x/y/" | tee -a {runs}\necho >> {runs}\n')
    items = [(number, f"utt{number}", [["x"], ["x", "a"], ["x"]]) for number in range(10)]
    assert list(TextFilter(counting).each(items)) == [(number, [["y"], ["y", "a"], ["y"]]) for number in range(10)]
    batches = runs.read_text().split("\n\n")
    assert [len(batch.split("\n")) for batch in batches if batch] == [6, 6, 6, 2]  # 14 bytes an item


def test_items_are_not_read_further_ahead_than_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(text_filter, "BATCH", 100)
    read = []

    def items():
        for number in range(1000):
            read.append(number)
            yield number, "u", [["word"] * 10]

    stream = TextFilter(sed(tmp_path / "f", "s/a/a/")).each(items())
    assert next(stream)[0] == 0
    assert len(read) == 2


def test_a_filter_may_read_everything_before_it_writes(tmp_path):
    slurp = program(tmp_path / "f", "#!/usr/bin/env perl\nmy @lines = <STDIN>;\nprint @lines;\n")
    lines = [(f"u{number}", ["word"] * 10) for number in range(20_000)]
    assert TextFilter(slurp)(lines) == [words for _, words in lines]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\nexec grep -v NOISE\n", "found 'u3' in place of the line of u2.*it must not drop or reorder lines"),
        ("#!/bin/sh\nexec head -n 2\n", "found its end in place of the line of u3"),
        ("#!/bin/sh\nexec sort -r\n", "found 'u4 THE COMPAIGN :' in place of the line of u1"),
        ("#!/bin/sh\nexec sed s/u/U/\n", "found 'U1 a <UNK> b' in place of the line of u1"),
        ("#!/bin/sh\ncat\necho\n", "found 5 lines for 4, expected a program .*it must not add lines"),
        ("#!/bin/sh\ncat\necho no such rule >&2\nexit 3\n", r"found exit status 3 \(no such rule\)"),
        ("#!/bin/sh\nkill -9 $$\n", "found that signal 9 ended it"),
        ("#!/bin/sh\nexec yes\n", "found more than .* bytes of output"),
        ("#!/bin/sh\nyes | cat\n", "found more than .* bytes of output"),
        ("#!/nowhere\n", "found that it cannot be run"),
        ("cat\n", r"cannot be run \(Exec format error\).*begin with a line such as #!/bin/sh"),
        ("#!/bin/sh\nprintf 'u1 \\377\\n'\n", "found bytes that are not UTF-8"),
    ],
)
def test_a_filter_that_fails(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as refused:
        TextFilter(program(tmp_path / "f", text))(LINES)
    assert str(refused.value).startswith(f"{tmp_path}/f: found ")
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of another process can only be set under Linux")
def test_endless_complaints_end(tmp_path, monkeypatch):
    monkeypatch.setattr(text_filter, "LARGEST_FILE", 1 << 16)
    with pytest.raises(InputError, match="found that signal 25 ended it"):
        TextFilter(program(tmp_path / "f", "#!/bin/sh\nexec yes >&2\n"))(LINES)


def test_a_filter_that_is_none(tmp_path):
    with pytest.raises(InputError, match="f: found no such file"):
        TextFilter(tmp_path / "f")
    with pytest.raises(InputError, match="found no file"):
        TextFilter(tmp_path)
    (tmp_path / "f").write_text(WSJ)
    with pytest.raises(InputError, match="found no permission to execute it.*run chmod [+]x"):
        TextFilter(tmp_path / "f")


def test_a_filter_in_the_current_directory(tmp_path, monkeypatch):
    sed(tmp_path / "sed", "s/a/A/")
    monkeypatch.chdir(tmp_path)
    assert TextFilter(Path("sed"))(LINES)[0] == ["A", "<UNK>", "b"], "not the sed of the PATH"
