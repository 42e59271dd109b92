"""The cost of each word of a text, and the table of compute_ppl --details."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_rescore import load_model, models, sentence_scorer, word_costs
from asr_rescore.checkpoint import LoadedModel, provenance, save_model
from asr_rescore.cli.main import main
from asr_rescore.config import ModelConfig
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import UsageError
from asr_rescore.lm import details
from asr_rescore.lm.details import SentenceCosts, write_word_costs
from asr_rescore.lm.text_cost import evaluate_text
from asr_rescore.vocab import Vocabulary

# Four entries: </s>, the class with two words, and two listed words.
WORDS = Vocabulary(("</s>", "<RNN_UNK>", "the", "cat"), unk_probs={"rare": 0.25, "seldom": 0.75})
SENTENCES = [["the", "rare", "cat"], [], ["cat", "zebra"], ["the"] * 7, ["seldom", "the", "cat"]]


@pytest.fixture
def lm(tmp_path):
    def save(name: str = "lm", scale: float = 1.0) -> Path:
        torch.manual_seed(4)
        model = models.build(ModelConfig(embedding=4, hidden=(6, 5), experts=2, embedding_init=0.9), len(WORDS))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        save_model(tmp_path / name, model, WORDS, provenance())
        return tmp_path / name

    return save


@pytest.fixture
def loaded(lm) -> LoadedModel:
    return load_model(lm())


def test_by_hand(lm, tmp_path, capsys):
    """All weights are 0, so each of the four entries has probability 1/4.

    A listed word or the end costs ln 4 = 1.386294, "rare" ln 4 + ln 4 = 2.772589 (probability 1/16), and the OOV word
    "zebra" ln 4 + ln 10⁷ = 17.504390. The sentences have 4 and 3 tokens: 3 · 1.386294 + 2.772589 = 6.931472 and
    2 · 1.386294 + 17.504390 = 20.276979, so their ppls are e^(6.931472 / 4) = 5.65685 and e^(20.276979 / 3) = 861.774;
    that of both is e^(27.208451 / 7) = (4⁸ · 10⁷)^(1/7) = 4 · 12.19013 = 48.7605.
    """
    (tmp_path / "text").write_text("the rare cat\ncat zebra\n")
    details = ["--details", str(tmp_path / "details.tsv")]
    assert main(["compute_ppl", *details, str(lm("zero", 0.0)), f"{tmp_path}/text"]) == 0
    assert (tmp_path / "details.tsv").read_text().splitlines() == [
        "kind\tsentence\ttoken\tword\tcost\tprobability\tppl",
        "listed\t1\t1\tthe\t1.386294\t0.25\t",
        "class\t1\t2\trare\t2.772589\t0.0625\t",
        "listed\t1\t3\tcat\t1.386294\t0.25\t",
        "end\t1\t4\t</s>\t1.386294\t0.25\t",
        "sentence\t1\t4\t\t6.931472\t\t5.65685",
        "listed\t2\t1\tcat\t1.386294\t0.25\t",
        "oov\t2\t2\tzebra\t17.504390\t2.5e-08\t",
        "end\t2\t3\t</s>\t1.386294\t0.25\t",
        "sentence\t2\t3\t\t20.276979\t\t861.774",
        "total\t\t7\t\t27.208451\t\t48.7605",
    ]
    assert capsys.readouterr().out.startswith("ppl 48.76, 7 tokens in 2 sentences, 1 OOVs\n")


@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_the_words_of_a_running_text_add_up_to_its_cost(loaded, monkeypatch, chunk):
    text = evaluate_text(loaded.model, TokenStream.encode(SENTENCES, WORDS), "cpu")
    monkeypatch.setattr(details, "CHUNK", chunk)
    found = list(word_costs(loaded, SENTENCES))
    assert [list(sentence.words[:-1]) for sentence in found] == SENTENCES
    assert sum(sentence.total for sentence in found) == pytest.approx(text.total, rel=1e-6)
    assert write_word_costs(io.StringIO(), iter(found)).ppl == pytest.approx(text.ppl, rel=1e-6)


@pytest.mark.parametrize("chunk", [2, 256])
def test_by_sentence_the_words_add_up_to_what_a_scorer_gives(loaded, monkeypatch, chunk):
    monkeypatch.setattr(details, "CHUNK", chunk)
    found = [sentence.total for sentence in word_costs(loaded, SENTENCES, by_sentence=True)]
    assert found == pytest.approx(sentence_scorer(loaded).costs(SENTENCES).tolist(), rel=1e-6)


def test_a_text_is_read_as_it_is_needed(loaded, monkeypatch):
    monkeypatch.setattr(details, "CHUNK", 4)
    read = []

    def sentences():
        for words in SENTENCES:
            read.append(words)
            yield words

    costs = word_costs(loaded, sentences())
    assert next(costs).words == ("the", "rare", "cat", "</s>")
    assert len(read) == 1


def test_a_sentence_without_words_and_an_empty_text(loaded):
    (empty,) = word_costs(loaded, [[]])
    assert (empty.words, empty.kinds) == (("</s>",), ("end",))
    assert empty.ppl == pytest.approx(math.exp(empty.total))
    assert list(word_costs(loaded, [])) == []


def test_a_string_is_no_sentence(loaded):
    with pytest.raises(UsageError, match="a sentence is the string 'the cat'"):
        list(word_costs(loaded, ["the cat"]))


def test_a_word_with_control_characters_stays_in_its_field():
    stream = io.StringIO()
    write_word_costs(stream, [SentenceCosts(("a\x1bb\u2028", "</s>"), ("oov", "end"), np.ones(2))])
    assert [line.count("\t") for line in stream.getvalue().splitlines()] == [6] * 5


class TestCommand:
    def run(self, lm, tmp_path: Path, *options: str) -> int:
        (tmp_path / "text").write_text("u1 the rare cat\nu2 cat zebra\n")
        return main(["compute_ppl", "--kaldi-text", *options, str(lm()), str(tmp_path / "text")])

    def test_to_standard_output(self, lm, tmp_path, capfd):
        assert self.run(lm, tmp_path, "--details", "-", "--by-sentence") == 0
        out, err = capfd.readouterr()
        kinds = " ".join(line.split("\t")[0] for line in out.splitlines())
        assert kinds == "kind listed class listed end sentence listed oov end sentence total"
        assert float(out.splitlines()[-1].split("\t")[-1]) == pytest.approx(float(err.split()[1][:-1]), abs=0.01)

    def test_the_perplexity_is_the_same_without_details(self, lm, tmp_path, capsys):
        said = []
        for options in ([], ["--details", str(tmp_path / "details")]):
            assert self.run(lm, tmp_path, *options) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--details", "-", "--json", "-"], "--json and --details are both standard output"),
            (["--details", "{}/text"], "is an input and would be replaced"),
        ],
    )
    def test_what_is_refused(self, lm, tmp_path, capsys, options, message):
        assert self.run(lm, tmp_path, *(option.format(tmp_path) for option in options)) == 2
        assert message in capsys.readouterr().err
