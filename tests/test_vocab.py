"""Vocabularies: listed words, the class of all other words, and probabilities that sum to one."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import models
from asr_rescore.config import ModelConfig
from asr_rescore.errors import RescoreError
from asr_rescore.vocab import OOV_PROBABILITY, Vocabulary

COUNTS = {"the": 10, "of": 7, "b": 3, "a": 3, "rare": 2, "once": 1}


def all_words(vocabulary: Vocabulary) -> list[str]:
    """All words of the distribution: the listed words with the sentence end, and the words of the class."""
    return [word for word in vocabulary.words if word != vocabulary.unk] + list(vocabulary.unk_probs)


@pytest.mark.parametrize(
    ("size", "words", "unk_probs"),
    [
        pytest.param(None, ("the", "of", "a", "b", "rare", "once"), {"<RNN_UNK>": 1.0}, id="all"),
        pytest.param(8, ("the", "of", "a", "b", "rare", "once"), {"<RNN_UNK>": 1.0}, id="exactly-all"),
        pytest.param(7, ("the", "of", "a", "b", "rare"), {"once": 1.0}, id="one-left-out"),
        pytest.param(6, ("the", "of", "a", "b"), {"rare": 2 / 3, "once": 1 / 3}, id="two-left-out"),
        pytest.param(5, ("the", "of", "a"), {"b": 3 / 6, "rare": 2 / 6, "once": 1 / 6}, id="tie-by-spelling"),
        pytest.param(3, ("the",), {"of": 7 / 16, "a": 3 / 16, "b": 3 / 16, "rare": 2 / 16, "once": 1 / 16}, id="least"),
        pytest.param(99, ("the", "of", "a", "b", "rare", "once"), {"<RNN_UNK>": 1.0}, id="more-than-there-are"),
    ],
)
def test_from_counts(size, words, unk_probs):
    vocabulary = Vocabulary.from_counts(COUNTS, size)
    assert vocabulary.words == ("</s>", "<RNN_UNK>", *words)
    assert vocabulary.unk_probs == pytest.approx(unk_probs)
    assert len(vocabulary) <= (size or math.inf)


@given(
    st.dictionaries(st.text("abcd", min_size=1, max_size=4), st.integers(1, 50), min_size=1),
    st.one_of(st.none(), st.integers(3, 40)),
    st.lists(st.text("abcdef", min_size=1, max_size=3)),
)
def test_no_word_is_both_listed_and_in_the_class_and_none_is_lost(counts, size, lexicon):
    """Kaldi's script also puts the last listed word into the class, so that its probabilities sum to more than one."""
    vocabulary = Vocabulary.from_counts(counts, size, lexicon)
    words = all_words(vocabulary)
    assert len(words) == len(set(words))
    assert {*counts, *lexicon} <= set(words)
    assert math.fsum(vocabulary.unk_probs.values()) == pytest.approx(1.0, abs=1e-12)
    if size is not None:
        assert len(vocabulary) == min(size, len(counts) + 2)
    least_listed = min(counts[word] for word in vocabulary.words[2:])
    assert all(counts[word] <= least_listed for word in vocabulary.unk_probs if word in counts)


@pytest.mark.parametrize("size", [None, 7, 6, 4])
@pytest.mark.parametrize("lexicon", [(), ("unseen", "the", "<eps>", "#0", "<s>", "!SIL")])
@pytest.mark.parametrize("counts", [COUNTS, {**COUNTS, "<unk>": 5}], ids=["rnn-unk", "plain-unk"])
def test_with_a_model_all_words_sum_to_one(size, lexicon, counts):
    vocabulary = Vocabulary.from_counts(counts, size, lexicon)
    torch.manual_seed(1)
    model = models.build(ModelConfig(embedding=4, hidden=(5,), experts=2), len(vocabulary)).double().eval()
    context = torch.tensor([[vocabulary.encode(["of"])[0]]])
    log_probs = model(context, model.initial_state(1)).log_probs[0, 0]
    words = all_words(vocabulary)
    costs = [vocabulary.class_cost(word) - log_probs[vocabulary.encode([word])[0]].item() for word in words]
    assert math.fsum(math.exp(-cost) for cost in costs) == pytest.approx(1.0, abs=1e-12)
    assert not any(vocabulary.is_oov(word) for word in words)


def test_plain_unk_is_the_class_and_keeps_its_part():
    """Penn Treebank contains <unk> as a word; if every word is listed, its cost is that of the class alone."""
    whole = Vocabulary.from_counts({**COUNTS, "<unk>": 5})
    assert (whole.unk, whole.unk_probs) == ("<unk>", {"<unk>": 1.0})
    assert whole.class_cost("<unk>") == 0
    cut = Vocabulary.from_counts({**COUNTS, "<unk>": 5}, 6)
    assert cut.words == ("</s>", "<unk>", "the", "of", "a", "b")
    assert cut.unk_probs == pytest.approx({"rare": 2 / 8, "once": 1 / 8, "<unk>": 5 / 8})
    assert cut.class_cost("<unk>") == pytest.approx(-math.log(5 / 8))


def test_lexicon_words_join_with_the_count_of_a_word_seen_once():
    vocabulary = Vocabulary.from_counts(
        COUNTS, 6, ["unseen", "the", "rare", "<eps>", "#0", "<s>", "</s>", "<UNK>", "#12", "#nonterm:name"]
    )
    assert vocabulary.unk_probs == pytest.approx({"rare": 2 / 4, "once": 1 / 4, "unseen": 1 / 4})


def test_costs_and_ids():
    vocabulary = Vocabulary.from_counts(COUNTS, 6)
    assert vocabulary.encode(["the", "once", "zebra", "b"]) == [2, 1, 1, 5]
    assert vocabulary.unk_id == 1
    assert [vocabulary.class_cost(word) for word in ("the", "</s>")] == [0, 0]
    assert vocabulary.class_cost("once") == pytest.approx(math.log(3))
    assert vocabulary.class_cost("zebra") == pytest.approx(-math.log(OOV_PROBABILITY))
    assert [word for word in ("the", "once", "zebra") if vocabulary.is_oov(word)] == ["zebra"]


def test_the_name_of_the_class_in_a_text_is_an_oov_word():
    vocabulary = Vocabulary.from_counts(COUNTS, 6)
    assert vocabulary.is_oov("<RNN_UNK>")
    assert vocabulary.class_cost("<RNN_UNK>") == pytest.approx(-math.log(OOV_PROBABILITY))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a", "</s>"),), "starts with </s>"),
        (((),), "starts with </s>"),
        ((("</s>", "<RNN_UNK>", "a", "a"),), "'a' is in the vocabulary twice"),
        ((("</s>", "a"),), "the class '<RNN_UNK>' is not in the vocabulary"),
        ((("</s>", "<RNN_UNK>", "a"), "<RNN_UNK>", {"a": 1.0}), "'a' is both in the vocabulary and in its class"),
        ((("</s>", "<RNN_UNK>"), "<RNN_UNK>", {"a": 0.5}), "sum to 0.5"),
        ((("</s>", "<RNN_UNK>"), "<RNN_UNK>", {"a": 1.0, "b": 0.0}), "each above 0"),
        ((("</s>", "<RNN_UNK>"), "<RNN_UNK>", {"a": math.nan}), "sum to nan"),
        ((("</s>", "<RNN_UNK>", "two words"),), "'two words', expected words without blanks"),
        ((("</s>", "<RNN_UNK>"), "<RNN_UNK>", {"": 1.0}), "'', expected words without blanks"),
    ],
)
def test_a_broken_vocabulary_is_refused(arguments, message):
    with pytest.raises(RescoreError, match=message):
        Vocabulary(*arguments)


@pytest.mark.parametrize(("counts", "size"), [(COUNTS, 2), ({}, None)])
def test_a_vocabulary_needs_a_word(counts, size):
    with pytest.raises(RescoreError, match="leaves no word"):
        Vocabulary.from_counts(counts, size)


def test_hash_tells_words_and_classes_apart_but_not_orders_of_class_words():
    words = ("</s>", "<RNN_UNK>", "a", "b")
    base = Vocabulary(words, unk_probs={"x": 0.25, "y": 0.75})
    assert base.hash == Vocabulary(words, unk_probs={"y": 0.75, "x": 0.25}).hash
    others = [
        Vocabulary(("</s>", "<RNN_UNK>", "b", "a"), unk_probs={"x": 0.25, "y": 0.75}),
        Vocabulary(words, unk_probs={"x": 0.75, "y": 0.25}),
        Vocabulary(words, "a", {"x": 0.25, "y": 0.75}),
        Vocabulary(words),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 5
    # Part of every signature of costs, so it must not change.
    assert base.hash == "930519ef25ef7136e695ec1ceef149cc9bda6d7953c3c18b53a52eea744fcdb2"


def test_counts_of_a_counter_do():
    assert Vocabulary.from_counts(Counter("abracadabra"), 4).words == ("</s>", "<RNN_UNK>", "a", "b")


def test_vocabulary_and_config_load_without_torch():
    code = "import sys, asr_rescore.vocab, asr_rescore.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_recognisers_words_and_no_others():
    lexicon = ["<eps>", "!SIL", "<UNK>", "b", "a", "never", "#0", "#1", "#nonterm_begin", "<s>", "</s>"]
    vocabulary = Vocabulary.from_words(lexicon, {"</s>": 4, "a": 3, "b": 1, "x": 3, "y": 1})
    assert vocabulary.words == ("</s>", "<RNN_UNK>", "a", "b", "never")
    assert vocabulary.unk_probs == {"x": 0.75, "y": 0.25}
    with_unk = Vocabulary.from_words(["a", "<unk>"], {"a": 3, "<unk>": 1})
    assert (with_unk.words, with_unk.unk_probs) == (("</s>", "<unk>", "a"), {"<unk>": 1.0})


@pytest.mark.parametrize(
    ("size", "min_count", "words", "unk_probs"),
    [
        pytest.param(None, 1, ("the", "of", "a", "b", "rare", "once"), {"<RNN_UNK>": 1.0}, id="all"),
        pytest.param(None, 3, ("the", "of", "a", "b"), {"rare": 2 / 3, "once": 1 / 3}, id="count"),
        pytest.param(5, 3, ("the", "of", "a"), {"b": 3 / 6, "rare": 2 / 6, "once": 1 / 6}, id="size is less"),
        pytest.param(7, 3, ("the", "of", "a", "b"), {"rare": 2 / 3, "once": 1 / 3}, id="count is less"),
    ],
)
def test_a_minimum_count(size, min_count, words, unk_probs):
    vocabulary = Vocabulary.from_counts(COUNTS, size, min_count=min_count)
    assert vocabulary.words == ("</s>", "<RNN_UNK>", *words)
    assert vocabulary.unk_probs == pytest.approx(unk_probs)


def test_a_minimum_count_that_no_word_has():
    with pytest.raises(
        RescoreError, match="`min_count` 11 leaves no word to list; the most frequent word occurs 10 times"
    ):
        Vocabulary.from_counts(COUNTS, min_count=11)
