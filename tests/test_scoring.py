"""Prefix sharing changes nothing: tree scoring against sentence-by-sentence scoring in float64."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_rescore import models
from asr_rescore.config import ModelConfig
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm.neural_scorer import NORMALISERS, NeuralScorer
from asr_rescore.lm.prefix_tree import PrefixTree
from asr_rescore.rescoring.config import ListConfig
from asr_rescore.vocab import OOV_PROBABILITY, Vocabulary

VOCABULARY = Vocabulary.from_counts({"a": 9, "b": 7, "c": 5, "d": 2, "e": 1}, size=5)  # d and e are the class
CONFIG = ModelConfig(embedding=6, hidden=(8, 7, 5), experts=3)


def model(seed: int = 1) -> models.LanguageModel:
    torch.manual_seed(seed)
    network = models.build(CONFIG, len(VOCABULARY)).eval()
    with torch.no_grad():  # larger weights than at the start of training, so that contexts matter
        for parameter in network.parameters():
            parameter.mul_(5)
    return network


def plain_cost(network: models.LanguageModel, words: list[str], vocabulary: Vocabulary = VOCABULARY) -> float:
    """One sentence, alone, in float64."""
    ids = vocabulary.encode(words)
    inputs = torch.tensor([0, *ids]).unsqueeze(1)
    state = network.initial_state(1, torch.device("cpu"))
    log_probs = network(inputs, state).log_probs[:, 0]
    cost = -sum(float(log_probs[t, word]) for t, word in enumerate([*ids, 0]))
    return cost + sum(vocabulary.class_cost(word) for word in words)


sentences = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "zebra"]), max_size=7), min_size=1, max_size=30)


@settings(deadline=None, max_examples=30)
@given(sentences, st.sampled_from([1, 3, 1000]))
def test_equal_to_sentence_by_sentence(texts, batch):
    network = model()
    with torch.inference_mode():
        expected = [plain_cost(network.double(), words) for words in texts]
    actual = NeuralScorer(network.float(), VOCABULARY, "cpu", batch=batch).costs(texts)
    np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("size", "config"),
    [
        pytest.param(10_000, ModelConfig(), id="ptb-student"),
        pytest.param(40_000, ModelConfig(embedding=250, hidden=(250, 250, 250), experts=7), id="wsj-student"),
    ],
)
def test_a_student_of_real_size_is_exact(size, config):
    vocabulary = Vocabulary.from_counts({f"w{index}": 1 for index in range(size - 2)})
    torch.manual_seed(1)
    network = models.build(config, size).eval()
    with torch.no_grad():  # as uneven as a trained student's
        network.embedding.mul_(10)
        network.latent.weight.mul_(30)
    drawn = np.array(vocabulary.words)[np.random.default_rng(1).integers(2, size, (4, 10))].tolist()
    texts = [drawn[0], *(drawn[0][: 3 * place] + drawn[place][3 * place :] for place in (1, 2, 3)), drawn[0][:7], []]
    actual = NeuralScorer(network, vocabulary, "cpu").costs(texts)
    with torch.inference_mode():
        (latent, _), _ = network.read(torch.tensor([vocabulary.encode(drawn[0])]).T, network.initial_state(1))
        assert 2 < (latent @ network.embedding.T).std() < 4  # nats
        expected = [plain_cost(network.double(), words, vocabulary) for words in texts]
    np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_batch_that_does_not_fit_is_split(monkeypatch, error):
    network = model()
    texts = [[first, second] for first in "abcde" for second in "abcde"]
    expected = NeuralScorer(network, VOCABULARY, "cpu").costs(texts)
    read, sizes = network.read, []

    def limited(ids, state):
        sizes.append(ids.shape[1])
        if ids.shape[1] > 3:
            raise error
        return read(ids, state)

    monkeypatch.setattr(network, "read", limited)
    np.testing.assert_allclose(NeuralScorer(network, VOCABULARY, "cpu", batch=20).costs(texts), expected, rtol=1e-6)
    assert sizes[:5] == [1, 4, 4, 4, 2] and max(sizes[5:]) == 2  # of 4 contexts: 20, 10 and 5 at once are too many
    monkeypatch.setattr(network, "read", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(RuntimeError) as raised:
        NeuralScorer(network, VOCABULARY, "cpu").costs(texts)
    assert raised.value is error


@pytest.mark.parametrize("fewer", ["bfloat16", "int8"])
def test_fewer_bits_are_near(monkeypatch, fewer):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    texts = [[first, second] for first in "abcde" for second in "abcde"]
    network = models.Ensemble([model(1), model(2)])
    exact = NeuralScorer(network, VOCABULARY, "cpu").costs(texts)
    rounded = NeuralScorer(network, VOCABULARY, "cpu", fewer).costs(texts)
    np.testing.assert_allclose(rounded, exact, atol=0.1)
    assert not np.array_equal(rounded, exact)
    with torch.no_grad():
        network.train().members[0].decoder_bias[2] += 5.0  # training on makes the rounded copy anew
        network.members[0].embedding.mul_(1.5)
    again = NeuralScorer(network, VOCABULARY, "cpu", fewer).costs(texts)
    np.testing.assert_allclose(again, NeuralScorer(network, VOCABULARY, "cpu").costs(texts), atol=0.2)


def test_every_normaliser_has_its_option():
    assert all(ListConfig(normaliser=name).normaliser == name for name in NORMALISERS)


def test_without_normalisers_it_is_the_unnormalised_mixture():
    network, texts = model(), [["a", "b"], ["c"]]
    with torch.inference_mode():
        network.decoder_bias.zero_()
        network.embedding.zero_()  # every logit is zero, and so Z is the number of words
    exact = NeuralScorer(network, VOCABULARY, "cpu").costs(texts)
    bare = NeuralScorer(network, VOCABULARY, "cpu", "none").costs(texts)
    lengths = np.array([3, 2])
    np.testing.assert_allclose(exact - bare, lengths * np.log(len(VOCABULARY)), rtol=1e-6)


def test_an_ensemble_is_scored_the_same_way():
    members = [model(1), model(2)]
    ensemble = models.Ensemble(members)
    texts = [["a", "b"], ["a", "c", "zebra"], []]
    with torch.inference_mode():
        expected = [plain_cost(ensemble, words) for words in texts]
    np.testing.assert_allclose(NeuralScorer(ensemble, VOCABULARY, "cpu").costs(texts), expected, atol=1e-4)


def test_all_continuations_of_a_prefix_share_its_probability():
    # P(prefix) = P(prefix, end) + Σ over the next word of P(prefix, word): with one word more scored as whole
    # sentences only ends can be seen, so the sum over all sentences of length up to 2 must stay below one.
    scorer = NeuralScorer(model(), VOCABULARY, "cpu")
    words = ["a", "b", "c", "d", "e"]
    texts = [[], *[[w] for w in words], *[[v, w] for v in words for w in words]]
    total = float(np.exp(-scorer.costs(texts)).sum())
    assert 0 < total < 1
    one_word = [[], *[[w] for w in words]]
    assert float(np.exp(-scorer.costs(one_word)).sum()) < total


def test_an_unknown_word_is_dear_but_finite():
    scorer = NeuralScorer(model(), VOCABULARY, "cpu")
    listed, unknown = scorer.costs([["a", "d"], ["a", "zebra"]])
    assert unknown - listed == pytest.approx(-math.log(OOV_PROBABILITY) + math.log(2 / 3), abs=1e-9)


def test_word_costs_by_the_definition():
    network = model()
    scorer = NeuralScorer(network, VOCABULARY, "cpu", batch=2)
    texts = [["a", "zebra", "c"], ["a", "c"], [], ["a", "zebra", "c"]]
    found = scorer.word_costs(texts)
    assert [len(costs) for costs in found] == [4, 3, 1, 4]
    np.testing.assert_allclose([costs.sum() for costs in found], scorer.costs(texts), atol=1e-9)
    np.testing.assert_array_equal(found[0], found[3])
    np.testing.assert_allclose(found[0][:1], found[1][:1])  # the same word after the same words
    known = scorer.word_costs([["a", "d", "c"]])[0]
    assert found[0][1] - known[1] == pytest.approx(-math.log(OOV_PROBABILITY) + math.log(2 / 3), abs=1e-9)
    assert scorer.word_costs([]) == []


def test_word_costs_refuse_what_sentence_costs_refuse():
    network = model()
    scorer = NeuralScorer(network, VOCABULARY, "cpu")
    with pytest.raises(UsageError, match="a sentence is the string 'a c'"):
        scorer.word_costs(["a c"])
    for parameter in network.parameters():
        parameter.data.fill_(float("nan"))
    for costs in (scorer.costs, scorer.word_costs):
        with pytest.raises(RescoreError, match="gives cost nan to 'a c', expected a finite number"):
            costs([["a", "c"]])


def test_no_sentences():
    assert NeuralScorer(model(), VOCABULARY, "cpu").costs([]).shape == (0,)


def test_a_damaged_model_is_an_error_that_names_the_sentence():
    network = model()
    with torch.no_grad():
        next(network.parameters()).fill_(math.nan)
    with pytest.raises(RescoreError, match="gives cost nan to 'a b'"):
        NeuralScorer(network, VOCABULARY, "cpu").costs([["a", "b"]])


def test_prefix_tree_by_hand():
    tree = PrefixTree.build([[1, 2], [5], [1, 3], [1, 2, 4], [], [1, 2], [5, 6]], root_word=0)
    assert tree.word.tolist() == [0, 1, 5, 2, 3, 6, 4]
    assert tree.parent.tolist() == [-1, 0, 0, 1, 1, 2, 3]
    assert tree.first_child.tolist() == [1, 3, 5, 6, 7, 7, 7, 7]
    assert tree.leaf.tolist() == [3, 2, 4, 6, 0, 3, 5]
    assert tree.depth == 3


def test_a_forest_by_hand():
    forest = PrefixTree.build([[1], [1, 2], [1], []], root_word=0, roots=[1, 0, 0, 2])
    assert forest.word.tolist() == [0, 0, 0, 1, 1, 2]
    assert forest.parent.tolist() == [-1, -1, -1, 0, 1, 3]
    assert forest.leaf.tolist() == [4, 5, 3, 2]


def running_cost(network: models.LanguageModel, texts: list[list[str]]) -> float:
    """The last of some sentences, all read as one text in float64."""
    ids = [label for words in texts for label in (0, *VOCABULARY.encode(words))] + [0]
    state = network.initial_state(1, torch.device("cpu"))
    log_probs = network(torch.tensor(ids[:-1]).unsqueeze(1), state).log_probs[:, 0]
    own = len(texts[-1]) + 1
    cost = -sum(float(log_probs[t, ids[t + 1]]) for t in range(len(ids) - 1 - own, len(ids) - 1))
    return cost + sum(VOCABULARY.class_cost(word) for word in texts[-1])


@settings(deadline=None, max_examples=20)
@given(st.lists(sentences, min_size=1, max_size=3), st.sampled_from([1, 3, 1000]), st.data())
def test_sentences_in_the_contexts_of_others(said, batch, data):
    """Each of some speakers has said something; what may come next stands in that context, without any padding."""
    network = model()
    texts = data.draw(sentences)
    roots = [data.draw(st.integers(0, len(said) - 1)) for _ in texts]
    with torch.inference_mode():
        expected = [
            running_cost(network.double(), [*said[root], words]) for root, words in zip(roots, texts, strict=True)
        ]
    scorer = NeuralScorer(network.float(), VOCABULARY, "cpu", batch=batch)
    states = []
    for earlier in said:
        state = scorer.initial_state()
        for words in earlier:
            state = scorer.states_after([words], state)
        states.append(state)
    np.testing.assert_allclose(scorer.costs(texts, models.join_states(states), roots), expected, atol=1e-4, rtol=0)


def test_states_take_no_more_than_they_may(monkeypatch):
    network, most = model(), []
    texts = [[first, second, third] for first in "abcde" for second in "abcde" for third in "abcde"]
    expected = NeuralScorer(network, VOCABULARY, "cpu").costs(texts)
    row = 2 * (8 + 7 + 5) * 4  # bytes: hidden and cell of three layers, float32
    scorer = NeuralScorer(network, VOCABULARY, "cpu", state_bytes=4 * 3 * row)
    advance = scorer.advance

    def watched(state, rows, *rest):
        most.append(len(rows))
        return advance(state, rows, *rest)

    monkeypatch.setattr(scorer, "advance", watched)
    np.testing.assert_allclose(scorer.costs(texts), expected, rtol=1e-6)
    assert max(most) == 3  # contexts, at each of four depths


LONG_LIST = """
import re
from pathlib import Path
from asr_rescore import models
from asr_rescore.config import ModelConfig
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.vocab import Vocabulary
words = [f"w{index}" for index in range(40_000)]
vocabulary = Vocabulary.from_counts(dict.fromkeys(words, 1))
model = models.build(ModelConfig(embedding=250, hidden=(250, 250, 250), experts=7), len(vocabulary)).eval()
common = words[:19]
lists = [common + [words[(path * 19 + place) % 40_000] for place in range(19)] for path in range(1153)]
costs = NeuralScorer(model, vocabulary, "cpu").costs(lists)
assert len(costs) == 1153 and (costs > 0).all()
# Not what getrusage says: that remembers the process that started this one.
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of a process's memory")
def test_a_long_list_of_long_sentences_fits_a_gigabyte():
    """1,153 paths of 38 words (Kaldi issue 4734), half of each its own, under the paper's student for 40,000 words."""
    done = subprocess.run([sys.executable, "-c", LONG_LIST], check=True, capture_output=True, text=True)
    assert 100 < int(done.stdout) < 1024  # MiB, python and torch included
