"""ARPA files as old LMs: back-off worked out by hand and by definition, G.fst of the same file, damaged files."""

from __future__ import annotations

import gzip
import itertools
import math

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.errors import InputError
from asr_rescore.kaldi import SymbolTable
from ngram_files import IDS, WORDS, arpa, log10_of, random_model

SYMBOLS = SymbolTable(IDS)
BY_HAND = """
\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-1\t</s>
-0.3\ta\t-0.2
-0.7\tb -0.1
-2\t<unk>

\\2-grams:
-0.4\t<s> a\t-0.25
-0.6\ta b\t-0.05
-0.9\tb </s>

\\3-grams:
-0.15\t<s> a b

\\end\\
"""


def read(tmp_path, text, **options):
    (tmp_path / "lm.arpa").write_text(text)
    return kaldi.read_old_lm(tmp_path / "lm.arpa", SYMBOLS, **options)


def cost(lm, sentence):
    return lm.cost([IDS[word] for word in sentence.split()]) / math.log(10)


@pytest.mark.parametrize(
    ("sentence", "logarithms"),
    [
        ("", [-0.5, -1]),  # <s> backs off
        ("a", [-0.4, -0.25, -0.2, -1]),  # <s> a and then a back off
        ("a b", [-0.4, -0.15, -0.05, -0.9]),  # a b backs off to b, which has </s>
        ("b", [-0.5, -0.7, -0.9]),
        ("b a", [-0.5, -0.7, -0.1, -0.3, -0.2, -1]),
        ("c", [-0.5, -2, -1]),  # read as <unk>
        ("lonely b", [-0.5, -2, -0.7, -0.9]),
    ],
)
def test_back_off_by_hand(tmp_path, sentence, logarithms):
    assert cost(read(tmp_path, BY_HAND, use_phi=True), sentence) == pytest.approx(-sum(logarithms), abs=1e-12)


def test_a_history_without_a_back_off_weight_counts_if_something_continues_it(tmp_path):
    text = BY_HAND.replace("-0.4\t<s> a\t-0.25", "-0.4\t<s> a")
    for use_phi in (True, False):
        assert cost(read(tmp_path, text, use_phi=use_phi), "a b") == pytest.approx(0.4 + 0.15 + 0.05 + 0.9, abs=1e-12)


def test_the_cheapest_path_backs_off_where_it_is_cheaper(tmp_path):
    # After "a", b costs 0.6 directly, but 0.05 through back-off; this also leads to the history b, as a b does.
    text = BY_HAND.replace("-0.3\ta\t-0.2", "-0.3\ta\t-0.02").replace("-0.7\tb", "-0.03\tb")
    exact = -sum([-0.5, -2, -0.3, -0.6, -0.05, -0.9])
    assert cost(read(tmp_path, text, use_phi=True), "c a b") == pytest.approx(exact, abs=1e-12)
    assert cost(read(tmp_path, text), "c a b") == pytest.approx(-sum([-0.5, -2, -0.3, -0.02, -0.03, -0.9]), abs=1e-12)


def test_without_unk_unknown_words_have_no_cost(tmp_path):
    text = BY_HAND.replace("-2\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4")
    for use_phi in (False, True):
        lm = read(tmp_path, text, use_phi=use_phi)
        assert lm.costs([[IDS["c"]], [IDS["a"], IDS["c"], IDS["a"]]]).tolist() == [math.inf, math.inf]
        assert math.isfinite(cost(lm, "a"))


def test_unk_in_capitals(tmp_path):
    lm = read(tmp_path, BY_HAND.replace("<unk>", "<UNK>"), use_phi=True)
    assert cost(lm, "c") == pytest.approx(0.5 + 2 + 1)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_add_up_to_one_after_every_history(tmp_path, order):
    lm = read(tmp_path, arpa(random_model(order, seed=order)), use_phi=True)
    for length in range(4):
        for words in itertools.product((*WORDS, "<unk>"), repeat=length):
            _, state = lm.begin()
            for word in words:
                _, state = lm.advance(state, IDS[word])
            costs = [lm.advance(state, IDS[word])[0] for word in (*WORDS, "<unk>")] + [lm.end(state)]
            assert np.exp(-np.array(costs)).sum() == pytest.approx(1.0, abs=1e-12), words


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_sentence_costs_what_the_definition_says(tmp_path, order):
    model = random_model(order, seed=10 + order)
    lm = read(tmp_path, arpa(model), use_phi=True)
    sentences = [words for length in range(5) for words in itertools.product((*WORDS, "lonely"), repeat=length)]
    expected = []
    for words in sentences:
        text = ("<s>", *("<unk>" if word == "lonely" else word for word in words), "</s>")
        parts = [log10_of(model, text[max(0, end - order) : end]) for end in range(2, len(text) + 1)]
        expected.append(-math.log(10) * sum(parts))
    costs = lm.costs([[IDS[word] for word in words] for words in sentences])
    np.testing.assert_allclose(costs, expected, atol=1e-9)
    cheapest = read(tmp_path, arpa(model)).costs([[IDS[word] for word in words] for words in sentences])
    assert (cheapest <= costs + 1e-9).all()


@pytest.mark.parametrize("lang", ["lang_tgpr", "lang_bd_tgpr"])
@pytest.mark.parametrize("use_phi", [False, True])
def test_the_arpa_file_costs_what_its_grammar_costs(mini, lang, use_phi):
    symbols = kaldi.read_words(mini / lang / "words.txt")
    grammar = kaldi.read_old_lm(mini / lang, symbols, use_phi=use_phi)
    lm = kaldi.read_old_lm(mini / "3gram.arpa.gz", symbols, use_phi=use_phi)
    text = kaldi.read_table(mini / "data" / "eval" / "text")
    sentences = [words for words in text.values() if all(word in symbols for word in words)]
    sentences += [words[::-1] for words in sentences]  # these back off almost everywhere
    ids = [symbols.to_ids(words) for words in sentences]
    assert len(ids) > 100
    np.testing.assert_allclose(lm.costs(ids), grammar.costs(ids), atol=1e-4)  # G.fst holds float32


def test_words_are_found_by_spelling(tmp_path):
    lm = read(tmp_path, BY_HAND, use_phi=True)
    other = {word: 100 - index for word, index in IDS.items()}
    renumbered = kaldi.read_old_lm(tmp_path / "lm.arpa", SymbolTable(other), use_phi=True)
    assert renumbered.cost([other["a"], other["b"]]) == lm.cost([IDS["a"], IDS["b"]])


def test_gzip_blanks_and_line_ends(tmp_path):
    text = BY_HAND.replace("\n", "\r\n").replace("ngram 1=5", "ngram 1 = 5").replace("-0.4\t<s> a", "  -0.4  <s>\ta")
    (tmp_path / "lm.arpa.gz").write_bytes(gzip.compress(text.encode()))
    lm = kaldi.read_old_lm(tmp_path / "lm.arpa.gz", SYMBOLS)
    assert lm.costs([[4, 5], []]).tolist() == read(tmp_path, BY_HAND).costs([[4, 5], []]).tolist()


def cut(text, part):
    return text[: text.index(part)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", r"line 0: found the end of the file, expected \\data\\"),
        ("a b c\n", r"the end of the file, expected \\data\\"),
        (cut(BY_HAND, "-2\t<unk>"), r"the end of the file, expected \\2-grams:"),
        (cut(BY_HAND, "\\end\\"), r"the end of the file, expected \\end\\"),
        (BY_HAND.replace("ngram 1=5", "ngram 1=6"), r"found 5 1-grams, expected 6, as \\data\\ says"),
        (BY_HAND.replace("ngram 2=3", "ngram 2=2"), "found more than 2 2-grams, expected 2"),
        (BY_HAND.replace("ngram 2=3", "ngram 7=3"), "found 'ngram 7=3', expected `ngram 2=`"),
        (BY_HAND.replace("ngram 2=3", "ngram 2=" + "9" * 5000), "expected `ngram 2=` and a number"),
        (BY_HAND.replace("ngram 1=5\n", "".join(f"ngram {n}=1\n" for n in range(1, 999))), "at most 64"),
        (BY_HAND.replace("\\2-grams", "\\3-grams"), "expected a logarithm, 1 words and perhaps a back-off weight"),
        (BY_HAND.replace("-0.4\t<s> a\t-0.25", "-0.4\ta"), "expected a logarithm, 2 words"),
        (BY_HAND.replace("-0.6\ta b", "-0.6\ta z"), "the word 'z' without a unigram"),
        (BY_HAND.replace("-0.6\ta b", "-0.6\t<s> a"), "the n-gram '<s> a' twice"),
        (BY_HAND.replace("-0.7\tb", "-0.7\ta"), "the n-gram 'a' twice|'b' without a unigram"),
        (BY_HAND.replace("<s> a b", "b b a"), "the n-gram 'b b a' but not the one without its last word"),
        (BY_HAND.replace("-0.6\t", "x\t"), "found 'x', expected a logarithm of base 10"),
        (BY_HAND.replace("-0.6\t", "nan\t"), "found 'nan'"),
        (BY_HAND.replace("-0.6\t", "inf\t"), "found 'inf'"),
        (BY_HAND.replace("</s>", "c"), "no unigram of </s>"),
        (BY_HAND.replace("\ta", "\t\x00"), "twice|without|expected"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, text, found):
    with pytest.raises(InputError, match=found):
        read(tmp_path, text)


def test_other_bytes_are_an_error(tmp_path):
    (tmp_path / "lm").write_bytes(BY_HAND.encode().replace(b"\ta\t", b"\t\xff\t"))
    with pytest.raises(InputError, match="not UTF-8"):
        kaldi.read_old_lm(tmp_path / "lm", SYMBOLS)
    (tmp_path / "lm").write_bytes(b"PK\3\4\0\0\0")
    with pytest.raises(InputError, match="a G.fst, a G.carpa or an ARPA file"):
        kaldi.read_old_lm(tmp_path / "lm", SYMBOLS)
    (tmp_path / "lm").write_bytes(gzip.compress(BY_HAND.encode())[:-20])
    with pytest.raises(InputError, match="broken stream"):
        kaldi.read_old_lm(tmp_path / "lm", SYMBOLS)


def test_a_small_file_does_not_fill_the_memory(tmp_path):
    (tmp_path / "lm").write_bytes(gzip.compress((b" " * 10**6 + b"\n") * 50))
    with pytest.raises(InputError, match="times the compressed bytes"):
        kaldi.read_old_lm(tmp_path / "lm", SYMBOLS)
