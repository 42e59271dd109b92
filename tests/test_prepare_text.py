"""prepare_text: training text, valid text and vocabulary from raw text."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from asr_rescore.cli.main import main
from asr_rescore.locks import locked
from asr_rescore.vocab_files import load_vocabulary
from small_text import SENTENCES, lines, prepare, write_text


@pytest.fixture
def text(tmp_path) -> Path:
    return write_text(tmp_path / "text.gz")


@pytest.fixture
def data(tmp_path, text, capsys) -> Path:
    prepared = prepare(text, tmp_path / "data", 8)
    capsys.readouterr()
    return prepared


def test_every_twentieth_sentence_is_held_out(text, data):
    assert lines(data / "valid.txt") == SENTENCES[19::20]
    assert lines(data / "train.txt") == [line for n, line in enumerate(SENTENCES, 1) if n % 20]
    vocabulary = load_vocabulary(data)
    assert len(vocabulary) == 8
    assert sum(vocabulary.unk_probs.values()) == pytest.approx(1)
    kept = {*vocabulary.words, *vocabulary.unk_probs} - {"</s>", "<RNN_UNK>"}
    assert kept == {word for line in SENTENCES for word in line.split()}


def test_it_prints_what_it_made(text, tmp_path, capsys):
    assert main(["prepare_text", str(text), str(tmp_path / "d")]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'd'}: 57 train and 3 valid sentences, 11 entries in the vocabulary, 1 words in <RNN_UNK>\n"
    )


@pytest.mark.parametrize(("fraction", "every"), [("0.1", 10), ("0.5", 2)])
def test_fraction(text, tmp_path, fraction, every):
    assert main(["prepare_text", "--valid-fraction", fraction, str(text), str(tmp_path / "d")]) == 0
    assert lines(tmp_path / "d/valid.txt") == SENTENCES[every - 1 :: every]


@pytest.mark.parametrize("fraction", ["0", "1e-320", "0.6", "-1", "nan"])
def test_a_fraction_out_of_range(text, tmp_path, capsys, fraction):
    with pytest.raises(SystemExit, match="2"):
        main(["prepare_text", f"--valid-fraction={fraction}", str(text), str(tmp_path / "d")])
    assert f"found '{fraction}', expected 1e-06 " in capsys.readouterr().err


def test_several_texts_and_a_valid_text(text, tmp_path):
    valid = tmp_path / "valid"
    valid.write_text("never seen\n")
    command = ["prepare_text", "--valid", str(valid), str(text), str(text), str(tmp_path / "d")]
    assert main(command) == 0
    assert lines(tmp_path / "d/train.txt") == SENTENCES * 2
    assert lines(tmp_path / "d/valid.txt") == ["never seen"]
    assert "never" not in load_vocabulary(tmp_path / "d").words


def test_a_lexicons_unseen_words_join_the_class(text, tmp_path):
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("<eps> 0\nboard 1\nzebra 2\n#0 3\n<s> 4\n</s> 5\n")
    assert main(["prepare_text", "--lexicon", str(lexicon), str(text), str(tmp_path / "d")]) == 0
    vocabulary = load_vocabulary(tmp_path / "d")
    assert dict(vocabulary.unk_probs) == {"zebra": 1.0}


CAPITALS = {word.upper() for line in SENTENCES for word in line.split()}


@pytest.mark.parametrize("option", [[], ["--only-lexicon"]])
def test_a_lexicon_in_another_case_is_refused(text, tmp_path, capsys, option):
    """All its words would be in the class, and nothing that comes later would find them missing."""
    lexicon = tmp_path / "words.txt"
    entries = ["<eps>", "<UNK>", "7", *sorted(CAPITALS), "#0"]
    lexicon.write_text("".join(f"{word} {index}\n" for index, word in enumerate(entries)))
    assert main(["prepare_text", *option, "--lexicon", str(lexicon), str(text), str(tmp_path / "d")]) == 1
    assert capsys.readouterr().err == (
        f"asr-rescore prepare_text: error: {lexicon}: found none of its {len(CAPITALS)} words in the text as it is "
        f"written, and {len(CAPITALS)} in lower case, expected words in the spelling of the text; write the text in "
        "upper case (sed 's/.*/\\U&/'), then prepare again\n"
    )
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "refused",
    [
        ["--lexicon", "capitals"],  # in another spelling than the text
        ["--min-count", "1000"],  # no word is left
        ["--valid-fraction", "0.001"],  # no sentence is held out
        ["--valid", "nothing"],
    ],
)
def test_what_is_refused_leaves_an_earlier_text_as_it_is(text, tmp_path, monkeypatch, refused):
    """Its vocabulary would not be that of the new text."""
    monkeypatch.chdir(tmp_path)
    Path("capitals").write_text("".join(f"{word} {index}\n" for index, word in enumerate(sorted(CAPITALS))))
    Path("nothing").write_text("")
    assert main(["prepare_text", str(text), "d"]) == 0
    before = {path.name: path.read_bytes() for path in Path("d").iterdir()}
    other = tmp_path / "other.txt"
    other.write_text("".join(f"{line} again\n" for line in SENTENCES))
    assert main(["prepare_text", *refused, str(other), "d"]) == 1
    assert {path.name: path.read_bytes() for path in Path("d").iterdir()} == before


def test_a_lexicon_of_which_most_is_in_another_case_has_a_warning(text, tmp_path, capsys):
    lexicon = tmp_path / "words.txt"
    words = ["<eps>", "board", *sorted(CAPITALS - {"BOARD"})]
    lexicon.write_text("".join(f"{word} {index}\n" for index, word in enumerate(words)))
    assert main(["prepare_text", "--lexicon", str(lexicon), str(text), str(tmp_path / "d")]) == 0
    most = len(CAPITALS) - 1
    assert capsys.readouterr().err == (
        f"warning: {lexicon}: {most} of its {most + 1} words are not in the text, {most} of them only in lower case, "
        "so a language model learns nothing of them: write the text in upper case (sed 's/.*/\\U&/'), then prepare "
        "again\n"
    )


@pytest.mark.parametrize(
    "words",
    ["board the zebra Zebra", "board zebra yak lynx", "board The the Share share", "zebra yak", "board", "<eps> 7"],
)
def test_a_lexicon_may_have_words_that_are_not_in_the_text(text, tmp_path, capsys, words):
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("".join(f"{word} {index}\n" for index, word in enumerate(words.split())))
    assert main(["prepare_text", "--lexicon", str(lexicon), str(text), str(tmp_path / "d")]) == 0
    assert capsys.readouterr().err == ""


def test_kaldi_text(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text("".join(f"utt-{number} {line}\n" for number, line in enumerate(SENTENCES)))
    assert main(["prepare_text", str(path), str(tmp_path / "d")]) == 1
    assert "pass --kaldi-text" in capsys.readouterr().err
    assert not (tmp_path / "d/vocab.txt").exists()
    assert main(["prepare_text", "--kaldi-text", str(path), str(tmp_path / "d")]) == 0
    assert lines(tmp_path / "d/train.txt")[:2] == SENTENCES[:2]


def test_lines_may_begin_with_numbers(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text("".join(f"{number} green bottles\n" for number in range(40, 0, -1)))
    assert main(["prepare_text", str(path), str(tmp_path / "d")]) == 1
    assert "--no-utterance-ids if they are words" in capsys.readouterr().err
    assert main(["prepare_text", "--no-utterance-ids", str(path), str(tmp_path / "d")]) == 0
    assert lines(tmp_path / "d/train.txt")[0] == "40 green bottles"
    with pytest.raises(SystemExit, match="2"):
        main(["prepare_text", "--no-utterance-ids", "--kaldi-text", str(path), str(tmp_path / "d")])


@pytest.mark.parametrize("given", ["text", "--valid"])
@pytest.mark.parametrize("name", ["train.txt", "valid.txt"])
def test_it_does_not_write_over_what_it_reads(text, data, capsys, given, name):
    before = (data / name).read_bytes()
    path = f"{data}/../data/{name}"
    named = [path] if given == "text" else ["--valid", path, str(text)]
    assert main(["prepare_text", *named, str(data)]) == 2
    error = capsys.readouterr().err
    assert f"{path} is an input and would be replaced; give a directory other than {data}" in error
    assert (data / name).read_bytes() == before


def test_another_process_that_writes_there_is_waited_for_by_the_user(text, data, capsys):
    before = {path: path.read_bytes() for path in data.glob("*.txt")}
    with locked(data / ".lock", str(data)):
        assert main(["prepare_text", "--vocabulary-size", "5", str(text), str(data)]) == 1
    assert f"{data} is being written by another process" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in data.glob("*.txt")} == before


def test_a_text_too_short_to_hold_anything_out(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text("one sentence\n")
    assert main(["prepare_text", str(path), str(tmp_path / "d")]) == 1
    assert "found 1 train and 0 valid sentences" in capsys.readouterr().err


def test_a_number_of_words_is_held_out(text, tmp_path):
    assert main(["prepare_text", "--valid-words", "20", str(text), str(tmp_path / "d")]) == 0
    valid = lines(tmp_path / "d/valid.txt")
    assert 20 <= sum(len(line.split()) for line in valid) <= 24  # the last sentence may exceed it
    assert sorted(valid + lines(tmp_path / "d/train.txt")) == sorted(SENTENCES)


def test_more_words_than_half_of_the_text(text, tmp_path, capsys):
    assert main(["prepare_text", "--valid-words", "101", str(text), str(tmp_path / "d")]) == 2
    assert "--valid-words 101 is more than half of the 192 words given" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_rare_words_join_the_class(text, tmp_path, capsys):
    """57 of 60 sentences: the, board, share: 24 or more; a, fell, met, no, oil, rose: 12 or less."""
    command = ["prepare_text", "--min-count", "13", str(text), str(tmp_path / "d")]
    assert main(command) == 0
    vocabulary = load_vocabulary(tmp_path / "d")
    assert set(vocabulary.words) == {"</s>", "<RNN_UNK>", "the", "board", "share", "met", "fell"}
    counts = {word: sum(line.split().count(word) for line in lines(tmp_path / "d/train.txt")) for word in ("a", "no")}
    assert vocabulary.unk_probs["a"] / vocabulary.unk_probs["no"] == pytest.approx(counts["a"] / counts["no"])
    assert sum(vocabulary.unk_probs.values()) == pytest.approx(1, abs=1e-12)
    assert main([*command, "--vocabulary-size", "4"]) == 0
    assert len(load_vocabulary(tmp_path / "d")) == 4  # both limits hold
    capsys.readouterr()
    assert main([*command, "--min-count", "1000"]) == 1
    assert "--min-count 1000 leaves no word to list; the most frequent word occurs" in capsys.readouterr().err


def test_a_minimum_count_does_not_go_with_a_lexicon_that_is_listed(text, tmp_path, capsys):
    lexicon = tmp_path / "words.txt"
    lexicon.write_text("board 1\n")
    options = ["--only-lexicon", "--lexicon", str(lexicon), "--min-count", "2"]
    assert main(["prepare_text", *options, str(text), str(tmp_path / "d")]) == 2
    assert "--min-count has no effect with --only-lexicon" in capsys.readouterr().err


def test_a_text_from_a_pipe(tmp_path):
    """One pass is enough, unless words are counted first."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("".join(f"{line}\n" for line in SENTENCES)))
    writer.start()
    assert main(["prepare_text", str(pipe), str(tmp_path / "d")]) == 0
    writer.join()
    assert lines(tmp_path / "d/valid.txt") == SENTENCES[19::20]
