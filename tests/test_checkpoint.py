"""Model directories: what is saved can be loaded, and damage is reported."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from asr_rescore import checkpoint, models
from asr_rescore.checkpoint import (
    combine,
    load_model,
    load_vocabulary,
    provenance,
    save_model,
    save_vocabulary,
)
from asr_rescore.config import ModelConfig
from asr_rescore.errors import InputError, UsageError
from asr_rescore.vocab import Vocabulary

SMALL = ModelConfig(embedding=6, hidden=(8, 5), experts=3, dropout_rows=0.1)
VOCABULARY = Vocabulary.from_counts({"a": 9, "b": 7, "c\u00a0d": 5, "é": 2, "e": 1}, size=5)
FILES = {"config.yaml", "vocab.txt", "unk_probs.txt", "model.safetensors", "provenance.json"}


def network(seed: int = 1, config: ModelConfig = SMALL, size: int = len(VOCABULARY)) -> models.LanguageModel:
    torch.manual_seed(seed)
    return models.build(config, size).eval()


def log_probs(model: models.LanguageModel) -> torch.Tensor:
    ids = torch.arange(8).remainder(model.vocabulary_size).view(4, 2)
    return model(ids, model.initial_state(2)).log_probs


@pytest.fixture
def saved(tmp_path) -> Path:
    save_model(tmp_path / "lm", network(), VOCABULARY, provenance(seed=1, valid_ppl=12.5))
    return tmp_path / "lm"


class TestModel:
    def test_comes_back(self, saved):
        loaded = load_model(saved)
        assert {path.name for path in saved.iterdir()} == FILES
        assert torch.equal(log_probs(loaded.model), log_probs(network()))
        assert not loaded.model.training
        assert all(parameter.requires_grad for parameter in loaded.model.parameters())
        assert loaded.model.config == SMALL
        assert loaded.vocabulary == VOCABULARY and loaded.name == "lm"
        assert loaded.provenance["seed"] == 1 and loaded.provenance["valid_ppl"] == 12.5
        assert loaded.provenance["parameters"] == network().num_parameters

    @pytest.mark.slow
    def test_trains_on_after_loading(self, saved):
        original = network()
        loaded = load_model(saved).model
        for model in (original, loaded):
            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            torch.manual_seed(3)  # the same dropout
            log_probs(model.train()).mean().backward()
            optimizer.step()
            model.eval()
        assert torch.equal(log_probs(loaded), log_probs(original))
        assert torch.equal(log_probs(load_model(saved).model), log_probs(network()))  # the file is unchanged

    def test_loading_draws_no_random_number(self, saved):
        before = torch.get_rng_state()
        load_model(saved)
        assert torch.equal(torch.get_rng_state(), before)

    def test_tied_weights_are_stored_once(self, saved):
        tensors = safetensors.torch.load_file(saved / "model.safetensors")
        assert sum(tensor.numel() for tensor in tensors.values()) == network().num_parameters
        assert sum(tensor.shape == (len(VOCABULARY), 6) for tensor in tensors.values()) == 1

    def test_half_precision_weights_become_float32(self, saved):
        path = saved / "model.safetensors"
        halves = {name: tensor.half() for name, tensor in safetensors.torch.load_file(path).items()}
        safetensors.torch.save_file(halves, path)
        loaded = load_model(saved).model
        assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
        torch.testing.assert_close(log_probs(loaded), log_probs(network()), rtol=0, atol=1e-3)

    def test_an_ensemble_comes_back(self, tmp_path):
        ensemble = models.Ensemble([network(1), network(2, ModelConfig(embedding=4, hidden=(5,), experts=2))]).eval()
        save_model(tmp_path, ensemble, VOCABULARY, provenance())
        assert torch.equal(log_probs(load_model(tmp_path).model), log_probs(ensemble))

    def test_hash_is_that_of_the_files_and_the_same_for_the_same_model(self, saved, tmp_path):
        names = ("config.yaml", "vocab.txt", "unk_probs.txt", "model.safetensors")
        content = b"".join((saved / name).read_bytes() for name in names)
        assert load_model(saved).hash == hashlib.sha256(content).hexdigest()
        save_model(tmp_path / "again", network(), VOCABULARY, provenance(seed=2))  # provenance is not part of the hash
        assert load_model(tmp_path / "again").hash == load_model(saved).hash

    def test_hash_tells_weights_config_and_vocabulary_apart(self, saved, tmp_path):
        other_words = Vocabulary((*VOCABULARY.words[:-1], "z"), unk_probs=VOCABULARY.unk_probs)
        other_members = Vocabulary(VOCABULARY.words)
        other_config = ModelConfig(embedding=6, hidden=(8, 5), experts=3)
        variants = [
            (network(2), VOCABULARY),
            (network(1), other_words),
            (network(1), other_members),
            (network(1, other_config), VOCABULARY),
        ]
        hashes = {load_model(saved).hash}
        for number, (model, vocabulary) in enumerate(variants):
            save_model(tmp_path / str(number), model, vocabulary, {})
            hashes.add(load_model(tmp_path / str(number)).hash)
        assert len(hashes) == 5

    def test_saving_again_replaces_the_model_and_keeps_other_files(self, saved):
        (saved / "log.jsonl").write_text("{}\n")
        save_model(saved, network(2), VOCABULARY, provenance())
        assert torch.equal(log_probs(load_model(saved).model), log_probs(network(2)))
        assert {path.name for path in saved.iterdir()} == FILES | {"log.jsonl"}

    def test_sizes_must_agree(self, tmp_path):
        with pytest.raises(UsageError, match="a model of 7 words and a vocabulary of 5"):
            save_model(tmp_path / "lm", network(size=7), VOCABULARY, {})
        assert not (tmp_path / "lm").exists()

    def test_nothing_is_unpickled(self):
        source = Path(checkpoint.__file__).read_text()
        assert "torch.load" not in source.replace("safetensors.torch.load", "") and "pickle" not in source


class TestBrokenDirectory:
    @pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch], ids=["missing", "empty", "a-file"])
    def test_that_is_none(self, tmp_path, make):
        make(tmp_path / "lm")
        with pytest.raises(InputError, match="lm: found no model.safetensors, expected a model directory"):
            load_model(tmp_path / "lm")

    @pytest.mark.parametrize("name", sorted(FILES))
    def test_with_a_file_missing(self, saved, name):
        (saved / name).unlink()
        with pytest.raises(InputError, match=name):
            load_model(saved)

    @pytest.mark.parametrize("keep", [0, 4, 100, -1])
    def test_with_truncated_weights(self, saved, keep):
        path = saved / "model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(InputError, match=r"model.safetensors: found .*, expected the model's weights"):
            load_model(saved)

    def test_with_weights_of_the_same_sizes_and_another_vocabulary(self, saved, tmp_path):
        other = Vocabulary((*VOCABULARY.words[:-1], "z"), unk_probs=VOCABULARY.unk_probs)
        save_model(tmp_path / "other", network(2), other, {})
        shutil.copy(tmp_path / "other/model.safetensors", saved)
        with pytest.raises(InputError, match="found weights of another model, expected weights for this config.yaml"):
            load_model(saved)

    @pytest.mark.parametrize("at", [-1, -500, -1001])
    def test_with_a_flipped_bit_that_leaves_all_weights_finite(self, saved, at):
        path = saved / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
        assert all(tensor.isfinite().all() for tensor in safetensors.torch.load_file(path).values())
        with pytest.raises(InputError, match="found weights that do not give the checksum stored with them"):
            load_model(saved)

    @pytest.mark.parametrize("of", ["an earlier version", "another program"])
    def test_weights_without_a_checksum_are_accepted(self, saved, of):
        path = saved / "model.safetensors"
        digest = hashlib.sha256(b"".join((saved / name).read_bytes() for name in checkpoint.DESCRIPTION_FILES))
        metadata = {"made_for": digest.hexdigest()} if of == "an earlier version" else None
        safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)
        assert torch.equal(log_probs(load_model(saved).model), log_probs(network()))

    def test_weights_of_an_earlier_version_and_another_model(self, saved):
        path = saved / "model.safetensors"
        safetensors.torch.save_file(safetensors.torch.load_file(path), path, {"made_for": "0" * 64})
        with pytest.raises(InputError, match="found weights of another model"):
            load_model(saved)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.pop("decoder_bias"), r"found decoder_bias: nothing, expected \[5\]"),
            (lambda t: t.update(extra=torch.zeros(2)), r"found extra: \[2\], expected nothing"),
            (lambda t: t.update(embedding=torch.zeros(9, 6)), r"found embedding: \[9, 6\], expected \[5, 6\]"),
        ],
        ids=["missing", "unexpected", "vocabulary-size"],
    )
    def test_with_tensors_that_do_not_fit(self, saved, change, message):
        path = saved / "model.safetensors"
        tensors = safetensors.torch.load_file(path)
        change(tensors)
        safetensors.torch.save_file(tensors, path)
        with pytest.raises(InputError, match=message):
            load_model(saved)

    @pytest.mark.parametrize("content", ["", "{", '{"seed": 1', "[]"])
    def test_with_broken_provenance(self, saved, content):
        (saved / "provenance.json").write_text(content)
        with pytest.raises(InputError, match="provenance.json: found"):
            load_model(saved)

    def test_with_a_broken_config(self, saved):
        (saved / "config.yaml").write_text("model: {kind: other}\n")
        with pytest.raises(InputError, match="config.yaml: found .*kind 'other'"):
            load_model(saved)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("vocab.txt", "a\nb\n", "a vocabulary starts with </s>"),
            ("vocab.txt", "", "a vocabulary starts with </s>"),
            ("vocab.txt", "</s>\n<RNN_UNK>\na\na\n", "'a' is in the vocabulary twice"),
            ("unk_probs.txt", "<RNN_UNK>\ne one\n", "unk_probs.txt: line 2: found 'e one'"),
            ("unk_probs.txt", "<RNN_UNK>\ne 0.5\n", "sum to 0.5"),
            ("unk_probs.txt", "", "found the vocabulary holds '', expected words without blanks"),
        ],
    )
    def test_with_a_broken_vocabulary(self, saved, name, content, message):
        (saved / name).write_text(content)
        with pytest.raises(InputError, match=message):
            load_model(saved)


class TestVocabulary:
    def test_comes_back_exactly(self, tmp_path):
        """Words with blanks beyond ASCII (Kaldi splits at ASCII blanks only), and every bit of the probabilities."""
        members = {"x\u00a0y": 1 / 3, "\u2028": 1 / 7, "ü": 1 - 1 / 3 - 1 / 7}
        vocabulary = Vocabulary(("</s>", "<RNN_UNK>", "a\u3000b", "#"), unk_probs=members)
        save_vocabulary(tmp_path, vocabulary)
        assert load_vocabulary(tmp_path) == vocabulary
        assert load_vocabulary(tmp_path).hash == vocabulary.hash

    def test_files_are_plain_text(self, saved):
        assert (saved / "vocab.txt").read_text("utf-8").split("\n") == [*VOCABULARY.words, ""]
        assert (saved / "unk_probs.txt").read_text("utf-8").splitlines()[0] == "<RNN_UNK>"


class TestCombine:
    def test_one_is_itself_and_several_are_their_mean(self, saved, tmp_path):
        save_model(tmp_path / "other", network(2), VOCABULARY, {})
        one = load_model(saved)
        two = load_model(tmp_path / "other")
        assert combine([one]) == (VOCABULARY, one.model)
        vocabulary, ensemble = combine([one, two])
        assert vocabulary == VOCABULARY
        expected = (log_probs(one.model).exp() + log_probs(two.model).exp()) / 2
        torch.testing.assert_close(log_probs(ensemble).exp(), expected)

    def test_refuses_vocabularies_that_differ_in_a_word(self, saved, tmp_path):
        other = Vocabulary((*VOCABULARY.words[:-1], "z"), unk_probs=VOCABULARY.unk_probs)
        save_model(tmp_path / "other", network(2), other, {})
        with pytest.raises(UsageError, match="lm and other have different vocabularies"):
            combine([load_model(saved), load_model(tmp_path / "other")])


class TestProvenance:
    def test_tells_versions_command_and_the_facts_given(self):
        facts = provenance(seed=7)
        assert facts["torch"] == str(torch.__version__) and facts["seed"] == 7
        assert set(facts) == {"version", "torch", "python", "revision", "command", "seed"}
        json.dumps(facts)

    def test_an_installed_package_has_no_revision(self, tmp_path, monkeypatch):
        """Even when it is installed inside somebody else's repository."""
        package = tmp_path / "repo/.venv/site-packages/asr_rescore"
        package.mkdir(parents=True)
        git = ["git", "-C", tmp_path / "repo", "-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
        monkeypatch.setattr(checkpoint, "__file__", str(package / "checkpoint.py"))
        assert provenance()["revision"] is None

    def test_no_git_is_no_error(self, tmp_path, monkeypatch):
        (tmp_path / ".git").mkdir()
        (tmp_path / "asr_rescore").mkdir()
        monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "asr_rescore/checkpoint.py"))
        assert provenance()["revision"] is None  # .git is not a repository
        monkeypatch.setenv("PATH", str(tmp_path))
        assert provenance()["revision"] is None  # there is no git program
