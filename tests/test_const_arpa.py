"""G.carpa as old LM: the costs of Kaldi's lattice-lmrescore-const-arpa by definition, and damaged files."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import math
import struct

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.errors import InputError
from asr_rescore.kaldi import SymbolTable
from asr_rescore.kaldi.const_arpa import ConstArpa
from asr_rescore.lattice import n_best
from conftest import GOLDENS as ALL_GOLDENS
from ngram_files import IDS, WORDS, Model, arpa, by_order, const_arpa, log10_of, parsed, random_model

GOLDENS = ALL_GOLDENS / "old_lm"
SYMBOLS = SymbolTable(IDS)


def read(tmp_path, data):
    (tmp_path / "G.carpa").write_bytes(data)
    return kaldi.read_old_lm(tmp_path, SYMBOLS)


def sentences(words, longest=4):
    ids = [IDS[word] for word in words]
    return [sentence for length in range(longest + 1) for sentence in itertools.product(ids, repeat=length)]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("farthest", [2**30 - 1, 20], ids=["near", "far pointers"])
def test_the_same_costs_as_the_arpa_file(tmp_path, order, farthest):
    model = random_model(order, seed=order)
    (tmp_path / "lm.arpa").write_text(arpa(model))
    expected = kaldi.read_old_lm(tmp_path / "lm.arpa", SYMBOLS, use_phi=True).costs(sentences(WORDS))
    data = const_arpa(model, farthest=farthest)
    assert (b"<LmOverflow> \4\0\0\0\0</" in data) == (farthest > 20 or order < 3)
    costs = read(tmp_path, data).costs(sentences(WORDS))
    np.testing.assert_allclose(costs, expected, atol=2e-5)  # floats without their last bit


def kaldi_cost(model: Model, words: list[str], order: int) -> float:
    """ConstArpaLmDeterministicFst by its definition, on the n-grams themselves."""
    total = 0.0
    history: tuple[str, ...] = ("<s>",) if order > 1 else ()
    for word in (*words, "</s>"):
        known = tuple(past if (past,) in model else "<unk>" for past in history)
        total -= log10_of(model, (*known, word if (word,) in model else "<unk>"))
        history = (*history, word)[max(0, len(history) + 2 - order) :]
        while history and not any(len(ngram) > len(history) and ngram[: len(history)] == history for ngram in model):
            history = history[1:]
    return total * math.log(10)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_unknown_words_and_histories_as_in_kaldi(tmp_path, order):
    """After an unknown word there is no history, and a history that nothing continues has no back-off weight."""
    model = random_model(order, seed=20 + order)
    if order > 1:
        ngram = next(ngram for ngram in model if len(ngram) == order - 1 and ngram[-1] in WORDS)
        for longer in [longer for longer in model if len(longer) > len(ngram) and longer[: len(ngram)] == ngram]:
            del model[longer]
        model[ngram] = (model[ngram][0], -0.75)
    lm = read(tmp_path, const_arpa(model))
    words = [*WORDS, "<unk>", "lonely", "#0"]
    names = {index: word for word, index in IDS.items()}
    for ids in sentences(words, 3):
        expected = kaldi_cost(model, [names[index] for index in ids], order)
        assert lm.cost(ids) == pytest.approx(expected, abs=2e-5), ids


def test_unknown_words_have_no_cost_without_unk(tmp_path):
    lm = read(tmp_path, const_arpa(random_model(3, seed=1, words=WORDS), unk=-1))
    costs = lm.costs([[IDS["lonely"]], [IDS["a"], IDS["<unk>"], IDS["b"]], [10**9], [IDS["a"]]])
    assert np.isfinite(costs).tolist() == [False, False, False, True]


def test_a_g_carpa_stays_in_the_file(tmp_path):
    """Only the states that are looked up are read, so damage elsewhere does no harm."""
    model = random_model(2, seed=3)
    data = const_arpa(model)
    lm = read(tmp_path, data)
    expected = lm.cost([IDS["a"]])
    d_state = data.index(b"<LmUnigram>") - len(b"</LmStates> ") - 8
    assert read(tmp_path, data[:d_state] + b"\xff" * 8 + data[d_state + 8 :]).cost([IDS["a"]]) == expected


@pytest.fixture
def of_kaldi(lang):
    """A G.carpa that Kaldi made, its n-grams, and the words."""
    symbols = kaldi.read_words(lang / "words.txt")
    model = parsed(gzip.decompress((GOLDENS / "4gram.arpa.gz").read_bytes()).decode())
    return GOLDENS / "G.carpa", model, symbols


def test_kaldis_file_holds_the_n_grams_it_was_made_from(of_kaldi):
    file, model, symbols = of_kaldi
    lm = ConstArpa(file)
    assert (lm.order, lm.bos, lm.eos, lm.unk) == (4, *map(symbols.id, ("<s>", "</s>", "<UNK>")))
    for ngram, (logarithm, backoff) in model.items():
        entry = lm.find(tuple(map(symbols.id, ngram)))
        assert entry is not None
        assert entry.cost == pytest.approx(-math.log(10) * logarithm, rel=1e-6)
        assert entry.backoff == pytest.approx(-math.log(10) * backoff, rel=1e-6, abs=1e-12)
    assert sum(map(len, by_order(model)[:3])) > 250
    assert file.read_bytes() == const_arpa(model, dict(symbols.ids), symbols.id("<UNK>"))  # proves the tests' writer


def test_sentences_cost_what_kaldi_adds_to_lattices(of_kaldi):
    """Most words of these lattices are unknown to the model, and some histories have only a back-off weight."""
    file, _, symbols = of_kaldi
    before = dict(kaldi.read_lattices(GOLDENS.parent / "formats" / "compact.ark"))
    lm = kaldi.read_old_lm(file, symbols)
    compared = 0
    for utt, lattice in kaldi.read_lattices(GOLDENS / "added.ark.gz"):
        paths = {path.words: path for path in n_best(before[utt], 1000, 1 / 12)}
        after = [path for path in n_best(lattice, 100, 1 / 12) if path.words in paths]
        added = [path.graph - paths[path.words].graph for path in after]
        np.testing.assert_allclose(lm.costs([path.words for path in after]), added, atol=1e-4)
        compared += len(after)
    assert compared > 400


DATA = const_arpa(random_model(3, seed=7), farthest=0)
STATES = DATA.index(b"<LmStates> ") + len(b"<LmStates> ") + 9
FAR = DATA.index(b"<LmOverflow> ") + len(b"<LmOverflow> ") + 5
FIRST = DATA.index(struct.pack("<i", -1), STATES)  # far pointer 0, of a child of state 0


def put(place: int, form: str, value: float) -> bytes:
    return DATA[:place] + struct.pack(form, value) + DATA[place + struct.calcsize(form) :]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty"),
        (b"\0B<ConstArpaLm> ", "found b'', expected b'<LmInfo> '"),
        (b"\\data\\\nngram 1=5\n", r"expected b'.x00B<ConstArpaLm> '"),
        (b"\0B\4\1\0\0\0\4", "a G.carpa of 2014 or before.*arpa-to-const-arpa"),
        (gzip.compress(DATA), "a gzipped file.*gunzip it"),
        (DATA[:-1], "expected b'</LmOverflow> </ConstArpaLm> '"),
        (DATA[:STATES], r"byte \d+: found 0 bytes, expected \d+ more"),
        (put(STATES - 8, "<q", 2**62), f"expected {2**64} more"),
        (put(STATES - 8, "<q", -1), "expected -4 more"),
        (put(FAR - 4, "<i", -1), "expected -8 more"),
        (put(FAR - 4, "<i", 2**31 - 1), f"expected {8 * (2**31 - 1)} more"),
        (DATA.replace(b"<LmInfo> \4\1\0\0\0", b"<LmInfo> \4\0\0\0\0"), "found id 0 for <s>, expected 1 to 7"),
        (
            DATA.replace(b"<LmInfo> \4\1\0\0\0", b"<LmInfo> \4\2\0\0\0"),
            "found id 2 for <s>, expected 1, as in words.txt",
        ),
        (DATA.replace(b"<LmInfo> \4\1", b"<LmInfo> \5\1"), "expected b'.x04'"),
        (DATA.replace(b"\4\3\0\0\0\4\3\0\0\0</", b"\4\3\0\0\0\4\0\0\0\0</"), "n-grams of 0 words, expected 1 to 64"),
        (DATA.replace(b"\4\3\0\0\0\4\3\0\0\0</", b"\4\3\0\0\0\4\0\0\0\x7f</"), r"n-grams of \d+ words"),
        (DATA.replace(b"\4\3\0\0\0\4\3\0\0\0</", b"\4\x63\0\0\0\4\3\0\0\0</"), "id 99 for the unk symbol"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, data, found):
    with pytest.raises(InputError, match=found):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (put(STATES + 8, "<i", -1), "-1 n-grams that continue number 0"),
        (put(STATES + 8, "<i", 2**31 - 1), "n-grams that continue number 0"),
        (put(STATES + 4, "<f", math.nan), "not a number"),
        (put(STATES, "<f", math.inf), "not a number"),
        (put(FAR, "<q", 1), r"a pointer from number \d+ back to 0"),
        (put(FAR, "<q", 0), r"a pointer from number \d+ back to -1"),
        (put(FAR, "<q", 2**62), "a pointer to number"),
        (put(FAR, "<q", -(2**63)), r"a pointer from number \d+ back to"),
        (put(FIRST, "<i", 2**31 - 1), "a pointer to number"),
        (put(FIRST, "<i", 1 - 2**31), "far pointer 1073741823 of"),
    ],
)
def test_what_a_lookup_needs_is_checked(tmp_path, data, found):
    """State 0 is that of ``<s>``; all children that have a state are reached by far pointers."""
    lm = read(tmp_path, data)
    with pytest.raises(InputError, match=found):
        lm.costs(sentences((*WORDS, "<unk>"), 3))


def test_no_pointers_are_endless(tmp_path):
    """Whatever the numbers are, costs are found or refused."""
    draw = np.random.default_rng(1)
    for _ in range(100):
        data = bytearray(DATA)
        for place in draw.integers(STATES, len(DATA), 5).tolist():
            data[place] = draw.integers(256)
        with contextlib.suppress(InputError):
            read(tmp_path, bytes(data)).costs(sentences(WORDS, 2))
