from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import corpus
from asr_rescore.corpus import (
    MIN_LINES_WITH_IDS,
    TokenStream,
    count_words,
    every,
    read_sentences,
    split_sentences,
    spread,
    write_sentences,
)
from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text
from asr_rescore.vocab import OOV_PROBABILITY, Vocabulary
from asr_rescore.vocab_files import save_vocabulary

VOCABULARY = Vocabulary.from_counts({"a": 9, "b": 7, "c": 3, "d": 1}, size=4)  # </s>, class of c and d, a, b


@pytest.fixture
def text(tmp_path):
    def write(content: str, name: str = "text"):
        path = tmp_path / name
        data = content.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.mark.parametrize("name", ["text", "text.gz"])
def test_sentences_are_lines_and_blank_lines_are_skipped(text, name):
    path = text("a  b\tc \n\n   \nd\r\ne f", name)
    assert list(read_sentences(path)) == [["a", "b", "c"], ["d"], ["e", "f"]]


def test_wide_spaces_are_parts_of_words(text):
    path = text("new\u00a0york 東\u3000京\tthin\u2009space\x1cunit\u0085\n")
    assert list(read_sentences(path)) == [["new\u00a0york", "東\u3000京", "thin\u2009space\x1cunit\u0085"]]


def test_a_byte_order_mark_is_dropped_only_at_the_beginning(text):
    path = text("\ufeffthe \ufeffend\n\ufeffword\n")
    assert list(read_sentences(path)) == [["the", "\ufeffend"], ["\ufeffword"]]


def test_an_utterance_id_is_left_out_on_demand(text):
    path = text("utt-1 a b\nutt-2\nutt-3 c\n")
    assert list(read_sentences(path, kaldi_text=True)) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("mark", ["<s>", "</s>"])
def test_sentence_marks_are_refused_with_their_line(text, mark):
    path = text(f"a b\nc {mark}\n")
    with pytest.raises(InputError, match=r"text: line 2: found </s> or <s>"):
        list(read_sentences(path))


def test_first_words_that_look_like_utterance_ids_are_refused(text):
    lines = "".join(f"4k0c03{n:02d} the same words\n" for n in range(MIN_LINES_WITH_IDS))
    with pytest.raises(InputError, match=r"10 lines whose first words, such as '4k0c0300', all differ.*`kaldi_text`"):
        list(read_sentences(text(lines)))
    assert len(list(read_sentences(text(lines), kaldi_text=True))) == MIN_LINES_WITH_IDS
    kept = list(read_sentences(text(lines), kaldi_text=False))
    assert kept == [line.split() for line in lines.splitlines()]


@pytest.mark.parametrize("name", ["train.txt", "valid.txt"])
def test_what_prepare_text_wrote_has_no_utterance_ids(text, tmp_path, name):
    path = text("".join(f"{n} green bottles\n" for n in range(MIN_LINES_WITH_IDS)), name)
    with pytest.raises(InputError, match="no_utterance_ids"):
        list(read_sentences(path))
    save_vocabulary(tmp_path, VOCABULARY)
    assert len(list(read_sentences(path))) == MIN_LINES_WITH_IDS
    with pytest.raises(InputError, match="no_utterance_ids"):
        list(read_sentences(text(path.read_text(), "text")))


@pytest.mark.parametrize(
    "first_words",
    [
        [f"utt{n}" for n in range(MIN_LINES_WITH_IDS - 1)],  # too few to tell
        [*(f"utt{n}" for n in range(MIN_LINES_WITH_IDS)), "utt3"],  # an id stands for one sentence
        [*(f"utt{n}" for n in range(MIN_LINES_WITH_IDS)), "yesterday"],
        [f"word{'abcdefghijkl'[n]}" for n in range(MIN_LINES_WITH_IDS)],  # no digit
    ],
    ids=["few", "twice", "a word", "no digit"],
)
def test_other_first_words_are_words(text, first_words):
    sentences = [[first, "and", "on"] for first in first_words]
    assert list(read_sentences(text("".join(" ".join(words) + "\n" for words in sentences)))) == sentences


def test_a_stream_has_one_sentence_end_per_sentence(text):
    stream = TokenStream.read(text("a b\nb\n"), VOCABULARY)
    assert stream.ids.dtype == np.int64
    assert stream.ids.tolist() == [2, 3, 0, 3, 0]
    assert (len(stream), stream.sentences, stream.class_cost, stream.oov) == (5, 2, 0.0, {})


def test_a_stream_charges_words_of_the_class_and_unknown_words(text):
    stream = TokenStream.read(text("a c d\nx c x\n"), VOCABULARY)
    assert stream.ids.tolist() == [2, 1, 1, 0, 1, 1, 1, 0]
    # P(c | class) = 3/4, P(d | class) = 1/4
    assert stream.class_cost == pytest.approx(-2 * math.log(0.75) - math.log(0.25) - 2 * math.log(OOV_PROBABILITY))
    assert stream.oov == {"x": 2}


def test_the_texts_own_unk_costs_nothing_more():
    vocabulary = Vocabulary.from_counts({"a": 2, "<unk>": 1})
    stream = TokenStream.encode([["a", "<unk>"]], vocabulary)
    assert (stream.class_cost, stream.oov) == (0.0, {})


def test_a_text_without_sentences_is_refused(text):
    with pytest.raises(InputError, match="no sentence"):
        TokenStream.read(text("\n \n"), VOCABULARY)


def test_the_hash_tells_texts_apart():
    texts = [[["a"], ["b"]], [["a", "b"]], [["b"], ["a"]]]
    assert len({TokenStream.encode(sentences, VOCABULARY).hash for sentences in texts}) == 3
    assert TokenStream.encode(texts[0], VOCABULARY).hash == TokenStream.encode(texts[0], VOCABULARY).hash


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C", "N"]), min_size=1, max_size=4).filter(
    lambda word: word not in ("<s>", "</s>")
)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=4), max_size=12)


@given(SENTENCES)
def test_what_is_written_is_read_again(tmp_path_factory, sentences):
    path = tmp_path_factory.mktemp("text") / "text.gz"
    with atomic_text(path) as stream:
        counts = write_sentences(stream, sentences)
    assert counts.pop("</s>", 0) == len(sentences)
    assert counts == count_words(sentences)
    assert list(read_sentences(path)) == sentences


@given(SENTENCES, st.integers(2, 7))
def test_held_out_sentences_are_not_trained_on(tmp_path_factory, sentences, count):
    folder = tmp_path_factory.mktemp("text")
    numbered = [[str(number), *words] for number, words in enumerate(sentences)]
    with atomic_text(folder / "train") as train_stream, atomic_text(folder / "valid") as valid_stream:
        counts, valid = split_sentences(iter(numbered), train_stream, valid_stream, every(count))
    assert list(read_sentences(folder / "valid", kaldi_text=False)) == numbered[count - 1 :: count]
    train = [words for number, words in enumerate(numbered, 1) if number % count]
    assert list(read_sentences(folder / "train", kaldi_text=False)) == train
    assert valid == len(sentences) // count
    assert counts.pop("</s>", 0) == len(train)
    assert counts == count_words(train)


def test_a_text_without_a_sentence_is_refused():
    with pytest.raises(InputError, match=r"text: found 3 train and 0 valid sentences, expected at least one of each"):
        corpus.refuse_empty(3, 0, Path("text"))


@given(st.lists(st.integers(1, 30), min_size=40, max_size=200), st.integers(1, 100))
def test_some_words_are_held_out_all_over_the_text(lengths, wanted):
    total = sum(lengths)
    wanted = min(wanted, total // 2)
    choose = spread(wanted, total)
    chosen = [choose(["w"] * length) for length in lengths]
    assert not chosen[0]
    seen = 0
    held = 0
    for length, is_held in zip(lengths, chosen, strict=True):
        assert held - wanted * seen / total <= 30  # never more than a sentence too many
        assert wanted * seen / total - held <= 30 * wanted / total + 1e-9  # never behind by more than a sentence's part
        seen += length
        held += length * is_held
    assert wanted - 30 <= held <= wanted + 30


def test_long_and_short_sentences_are_held_out_alike():
    draw = np.random.default_rng(1)
    lengths = draw.choice([5, 50], 20_000)
    choose = spread(int(lengths.sum()) // 50, int(lengths.sum()))
    chosen = np.array([choose(["w"] * length) for length in lengths])
    assert (lengths[chosen] == 5).mean() == pytest.approx(0.5, abs=0.08)  # of 400: within 3 standard errors


def test_many_utterance_ids_are_refused_before_the_end_of_the_text(text, monkeypatch):
    monkeypatch.setattr(corpus, "MAX_LINES_WITH_IDS", 20)
    sentences = read_sentences(text("".join(f"utt-{n} a\n" for n in range(1000))))
    with pytest.raises(InputError, match="found 20 lines whose first words"):
        for number, _ in enumerate(sentences):
            assert number < 20


@pytest.mark.parametrize("block", [1, 4, 1 << 20])
def test_blocks_change_nothing(monkeypatch, block):
    sentences = [["a", "c"], ["x"], ["b", "b", "a", "d"], ["c"]]
    whole = TokenStream.encode(sentences, VOCABULARY)
    monkeypatch.setattr(corpus, "BLOCK", block)
    parts = TokenStream.encode(sentences, VOCABULARY)
    assert parts.ids.tolist() == [2, 1, 0, 1, 0, 3, 3, 2, 1, 0, 1, 0]
    assert parts.ends.tolist() == [3, 5, 10, 12]
    assert [parts.sentence(number).tolist() for number in (0, 1, 3)] == [[2, 1, 0], [1, 0], [1, 0]]
    assert (parts.hash, parts.class_cost, parts.oov) == (whole.hash, whole.class_cost, whole.oov)
