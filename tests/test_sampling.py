"""Text drawn from models whose distribution is known, and with the command from a trained model."""

from __future__ import annotations

import gzip
import math
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_rescore.checkpoint import combine, load_model
from asr_rescore.cli.main import main
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm import sample_sentences
from asr_rescore.lm_config import SamplingConfig
from asr_rescore.models import LanguageModel, Output
from asr_rescore.vocab import PLAIN_UNK, RNN_UNK, SENTENCE_END, Vocabulary
from conftest import ROOT

MEMBERS = {"x": 0.6, "y": 0.3, "z": 0.1}
VOCABULARY = Vocabulary((SENTENCE_END, RNN_UNK, "a", "b"), RNN_UNK, MEMBERS)
BIGRAM = [  # row: the word before; column: the next
    [0.3, 0.2, 0.4, 0.1],
    [0.1, 0.3, 0.1, 0.5],
    [0.5, 0.1, 0.2, 0.2],
    [0.2, 0.4, 0.3, 0.1],
]
# The 99.9 % quantiles of chi-square by degrees of freedom.
QUANTILE = {2: 13.82, 5: 20.52, 11: 31.26}


class Bigram(LanguageModel):
    """P(next | last) from a table, without a state."""

    experts = 1

    def __init__(self, table):
        super().__init__()
        self.table = torch.tensor(table).log()
        self.vocabulary_size = len(table)

    def initial_state(self, batch, device=None):
        return torch.zeros(1, batch, 1)

    def forward(self, ids, state):
        return Output(self.table[ids], state)


class Clock(LanguageModel):
    """Repeats a pattern of ids, whatever it reads; stream n starts at position n · stride of the pattern."""

    experts = 1
    vocabulary_size = 4

    def __init__(self, pattern, stride=1):
        super().__init__()
        self.pattern = torch.tensor(pattern)
        self.stride = stride

    def initial_state(self, batch, device=None):
        return (torch.arange(batch) * self.stride).reshape(1, batch, 1)

    def forward(self, ids, state):
        said = self.pattern[state[:, :, 0] % len(self.pattern)]  # (1, batch)
        return Output(torch.nn.functional.one_hot(said, 4).float().log(), state + 1)


def draw(model, vocabulary=VOCABULARY, *, sentences=None, tokens=None, tally=None, **settings):
    config = SamplingConfig(**settings)
    return sample_sentences(model, vocabulary, "cpu", sentences=sentences, tokens=tokens, config=config, tally=tally)


def sample(*arguments, **settings):
    return list(draw(*arguments, **settings))


def chi_square(observed: np.ndarray, probabilities: np.ndarray) -> float:
    expected = observed.sum(-1, keepdims=True) * probabilities
    return float(np.sum((observed - expected)[expected > 0] ** 2 / expected[expected > 0]))


@pytest.mark.slow
class TestDistribution:
    @pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
    @pytest.mark.parametrize("streams", [1, 7, 2000])
    def test_each_word_follows_by_the_models_distribution(self, streams, temperature):
        texts = sample(Bigram(BIGRAM), sentences=2000, streams=streams, temperature=temperature, seed=4)
        observed = np.zeros((4, 4))
        for words in texts:
            for last, following in pairwise([0, *VOCABULARY.encode(words), 0]):
                observed[last, following] += 1
        probabilities = np.array(BIGRAM) ** (1 / temperature)
        probabilities[0, 0] = 0  # no empty sentence
        probabilities /= probabilities.sum(1, keepdims=True)
        assert observed[0, 0] == 0
        assert chi_square(observed, probabilities) < QUANTILE[11]

    @pytest.mark.parametrize("amount", [{"sentences": 2000}, {"tokens": 6000}])
    @pytest.mark.parametrize("streams", [1, 100, 2000])
    def test_short_sentences_are_not_favoured(self, streams, amount):
        """A sentence ends after each word with probability 1/3, so lengths are geometric for any number of streams."""
        table = [[0, 0, 0.5, 0.5]] + [[1 / 3, 0, 1 / 3, 1 / 3]] * 3
        lengths = Counter(min(len(words), 6) for words in sample(Bigram(table), streams=streams, seed=9, **amount))
        observed = np.array([lengths[length] for length in range(1, 7)], dtype=float)
        probabilities = np.array([(2 / 3) ** n / 3 for n in range(5)] + [(2 / 3) ** 5])
        if "sentences" in amount:
            assert chi_square(observed, probabilities) < QUANTILE[5]
        else:  # the last sentence of a stream tends to be long, but by Wald's identity the mean is right
            mean = np.dot(observed, range(1, 7)) / observed.sum()
            assert mean == pytest.approx(np.dot(probabilities, range(1, 7)), abs=0.12)

    def test_the_class_is_resolved_by_its_distribution(self):
        counts = Counter(word for words in sample(Bigram(BIGRAM), sentences=1500) for word in words)
        assert set(counts) == {"a", "b", *MEMBERS}
        observed = np.array([counts[word] for word in MEMBERS], dtype=float)
        assert chi_square(observed, np.array(list(MEMBERS.values()))) < QUANTILE[2]

    @pytest.mark.parametrize(
        ("members", "expected"), [({}, {PLAIN_UNK}), ({PLAIN_UNK: 0.5, "rare": 0.5}, {PLAIN_UNK, "rare"})]
    )
    def test_a_class_that_is_its_own_member(self, members, expected):
        vocabulary = Vocabulary((SENTENCE_END, PLAIN_UNK, "a", "b"), PLAIN_UNK, members)
        words = {word for words in sample(Bigram(BIGRAM), vocabulary, sentences=100) for word in words}
        assert words == {"a", "b"} | expected

    def test_near_temperature_zero_the_likeliest_word_follows(self):
        # </s> → a, since no sentence is empty; a → </s>.
        assert sample(Bigram(BIGRAM), sentences=20, temperature=1e-6) == [["a"]] * 20
        table = [BIGRAM[0], BIGRAM[1], [0.1, 0.2, 0.2, 0.5], [0.6, 0.2, 0.1, 0.1]]
        assert sample(Bigram(table), sentences=20, temperature=1e-6) == [["a", "b"]] * 20


class TestStreams:
    def test_the_state_is_carried_over_sentence_ends_and_streams_follow_one_another(self):
        pattern = [2, 3, 0, 3, 0, 2, 2, 0]  # a b / b / a a
        assert sample(Clock(pattern), sentences=4, streams=1) == [["a", "b"], ["b"], ["a", "a"], ["a", "b"]]
        # Stream 1 starts after the first word. It has fewer sentences to draw, so it leaves the batch first.
        expected = [["a", "b"], ["b"], ["a", "a"], *[["b"], ["b"]]]
        assert sample(Clock(pattern), sentences=5, streams=2) == expected

    def test_a_stream_that_leaves_takes_nobody_elses_state_along(self):
        pattern = [2, 2, 2, 3, 0]
        # Stream 3 ends its first sentence first, then 2, 1 and 0.
        expected = [["a", "a", "a", "b"], ["a", "a", "b"], ["a", "b"], ["b"]]
        assert sample(Clock(pattern), sentences=4, streams=4) == expected

    def test_more_streams_than_sentences(self):
        assert len(sample(Bigram(BIGRAM), sentences=3, streams=64)) == 3

    @pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
    def test_exactly_so_many_sentences(self, count):
        texts = sample(Bigram(BIGRAM), sentences=count)
        assert len(texts) == count
        assert all(texts)

    @pytest.mark.parametrize(("streams", "tokens"), [(1, 24), (3, 27), (8, 24), (24, 72)])
    def test_tokens_are_words_and_sentence_ends(self, streams, tokens):
        """Each stream rounds its part of the 24 tokens up to whole sentences of 3 tokens."""
        texts = sample(Clock([2, 3, 0], stride=3), tokens=24, streams=streams)
        assert texts == [["a", "b"]] * (tokens // 3)

    def test_a_long_sentence_is_cut_and_counted(self):
        tally = Counter()
        assert sample(Clock([2]), sentences=3, max_tokens=4, tally=tally) == [["a"] * 4] * 3
        assert tally == {"cut": 3}

    def test_a_sentence_of_just_the_longest_length_is_whole(self):
        tally = Counter()
        assert sample(Clock([2, 3, 0]), sentences=2, streams=1, max_tokens=2, tally=tally) == [["a", "b"]] * 2
        assert tally["cut"] == 0

    def test_the_seed_decides(self):
        one, again, other = (sample(Bigram(BIGRAM), sentences=50, seed=seed) for seed in (1, 1, 2))
        assert one == again
        ids, others = ([VOCABULARY.encode(words) for words in texts] for texts in (one, other))
        assert ids != others

    def test_the_seed_decides_the_members_too(self):
        table = [[0, 1, 0, 0], [0.5, 0.5, 0, 0], *BIGRAM[2:]]  # only the class
        texts = [sample(Bigram(table), sentences=50, streams=50, max_tokens=1, seed=seed) for seed in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "either a number of sentences or a number of tokens"),
            ({"sentences": 1, "tokens": 1}, "either a number of sentences or a number of tokens"),
            ({"sentences": 0}, "`sentences` is 0, expected 1 or more"),
            ({"tokens": -1}, "`tokens` is -1, expected 1 or more"),
            ({"sentences": 1, "streams": 0}, "`streams` is 0, expected 1 or more"),
            ({"sentences": 1, "max_tokens": 0}, "`max_tokens` is 0, expected 1 or more"),
            ({"sentences": 1, "temperature": 0.0}, "`temperature` is 0.0, expected a number above 0"),
            ({"sentences": 1, "temperature": math.nan}, "`temperature` is nan"),
            ({"sentences": 1, "temperature": math.inf}, "`temperature` is inf"),
            ({"sentences": 1, "seed": -1}, "`seed` is -1, expected 0 or more"),
        ],
    )
    def test_options_out_of_range(self, options, message):
        with pytest.raises(UsageError, match=message):  # already the call fails, before anything is drawn
            draw(Bigram(BIGRAM), **options)

    @pytest.mark.parametrize("row", [[math.nan] * 4, [1.0, 0.0, 0.0, 0.0]])
    def test_a_model_without_a_distribution_or_without_words(self, row):
        with pytest.raises(RescoreError, match="check its training log"):
            sample(Bigram([row] * 4), sentences=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> list[str]:
    """Two models of 9 words, four of them in the class."""
    directory = tmp_path_factory.mktemp("sampling")
    lines = ["the board met", "the share fell", "no share met the board", "a board fell", "oil rose"] * 12
    (directory / "text").write_text("".join(f"{line}\n" for line in lines))
    (directory / "lm.yaml").write_text(
        "model: {embedding: 4, hidden: [6, 5], experts: 2, embedding_init: 0.5}\n"
        "train: {optimizer: adamw, lr: 0.01, batch: 4, bptt: 9, epochs: 2}\n"
    )
    data = directory / "data"
    assert main(["prepare_text", "--vocabulary-size", "7", str(directory / "text"), str(data)]) == 0
    texts = ["--train", str(data / "train.txt"), "--valid", str(data / "valid.txt"), "--vocab", str(data)]
    for seed in ("1", "2"):
        command = ["train_lm", "--config", str(directory / "lm.yaml"), *texts, "--device", "cpu", "--seed", seed]
        assert main([*command, str(directory / f"lm{seed}")]) == 0
    return [str(directory / f"lm{seed}") for seed in ("1", "2")]


class TestSampleText:
    def run(self, *arguments: object) -> int:
        return main(["sample_text", "--device", "cpu", *map(str, arguments)])

    def test_its_text_has_no_unknown_words(self, trained, tmp_path, capsys):
        path = tmp_path / "new/text"
        vocabulary = load_model(trained[0]).vocabulary
        assert self.run("--sentences", 300, trained[0], path) == 0
        text = TokenStream.read(path, vocabulary)
        assert text.sentences == 300
        assert not text.oov
        said = set(path.read_text().split())
        assert said == {*vocabulary.words, *vocabulary.unk_probs} - {SENTENCE_END, RNN_UNK}
        assert len(vocabulary.unk_probs) > 1
        cut = sum(len(line.split()) == 200 for line in path.read_text().splitlines())
        out = capsys.readouterr().out
        assert out == f"{path}: {len(text)} tokens in 300 sentences, {cut} of them cut after 200 words\n"

    def test_the_same_command_gives_the_same_bytes(self, trained, tmp_path):
        for name, seed in (("a.gz", 5), ("b.gz", 5), ("c.gz", 6)):
            assert self.run("--sentences", 20, "--seed", seed, trained[0], tmp_path / name) == 0
        one, again, other = ((tmp_path / name).read_bytes() for name in ("a.gz", "b.gz", "c.gz"))
        assert one == again != other
        assert gzip.decompress(one).count(b"\n") == 20

    def test_several_models_are_their_ensemble(self, trained, tmp_path):
        path = tmp_path / "text"
        options = {"tokens": 400, "seed": 3, "temperature": 0.7, "streams": 5, "max_tokens": 9}
        named = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        assert self.run(*named, *trained, path) == 0
        vocabulary, ensemble = combine([load_model(directory) for directory in trained])
        expected = sample(ensemble, vocabulary, **options)
        assert [line.split() for line in path.read_text().splitlines()] == expected
        assert expected != sample(load_model(trained[0]).model, vocabulary, **options)
        assert len(TokenStream.read(path, vocabulary)) >= 400

    @pytest.mark.parametrize("amount", [[], ["--sentences", "5", "--tokens", "5"], ["--sentences", "many"]])
    def test_the_amount_is_given_once(self, trained, tmp_path, amount, capsys):
        with pytest.raises(SystemExit) as stopped:
            self.run(*amount, trained[0], tmp_path / "text")
        assert stopped.value.code == 2
        assert "--sentences" in capsys.readouterr().err

    def test_wrong_usage_leaves_no_file(self, trained, tmp_path, capsys):
        (tmp_path / "text").write_text("old\n")
        assert self.run("--sentences", 5, "--temperature", 0, trained[0], tmp_path / "text") == 2
        assert "--temperature is 0.0, expected a number above 0" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["text"]
        assert (tmp_path / "text").read_text() == "old\n"

    def test_a_forgotten_text_spares_the_last_model(self, trained, capsys):
        assert self.run("--sentences", 5, *trained) == 2
        assert "lm2 cannot be written: it is a directory; name a file" in capsys.readouterr().err
        assert load_model(trained[1])

    @pytest.mark.slow
    def test_its_door(self, trained, tmp_path):
        door = str(ROOT / "bin/sample_text.py")
        path = Path(tmp_path / "text")
        command = [sys.executable, door, "--tokens", "30", "--device", "cpu", trained[0], str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{path}: ")
        assert not done.stderr  # no progress bar, since stderr is not a terminal
