"""Directories that rebuild their own model, and the state from which a killed training run goes on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import yaml

from asr_rescore import __version__, models
from asr_rescore.config import ModelConfig, from_dict
from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.files import atomic_binary, atomic_text, read_lines
from asr_rescore.models import Ensemble, LanguageModel
from asr_rescore.vocab import Vocabulary

CONFIG_FILE = "config.yaml"
VOCABULARY_FILE = "vocab.txt"
MEMBERS_FILE = "unk_probs.txt"
WEIGHTS_FILE = "model.safetensors"
PROVENANCE_FILE = "provenance.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model as its directory describes it.

    Attributes:
        name: the directory's name.
        model: in evaluation mode.
        vocabulary: its words.
        provenance: where it comes from: versions, command, data, seed, valid perplexity, …
        hash: SHA-256 (hex) over configuration, vocabulary and weights; part of every score's signature.
    """

    name: str
    model: LanguageModel
    vocabulary: Vocabulary
    provenance: Mapping[str, Any]
    hash: str


def provenance(**facts: Any) -> dict[str, Any]:
    """The facts every model carries, and those given."""
    revision = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "version": __version__,
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "revision": revision.stdout.strip() or None,
        "command": " ".join(sys.argv),
        **facts,
    }


def save_vocabulary(directory: Path, vocabulary: Vocabulary) -> None:
    """Write vocab.txt (a word a line, in the order of the ids) and unk_probs.txt (class, then word and probability)."""
    with atomic_text(directory / VOCABULARY_FILE) as stream:
        stream.writelines(f"{word}\n" for word in vocabulary.words)
    with atomic_text(directory / MEMBERS_FILE) as stream:
        stream.write(f"{vocabulary.unk}\n")
        stream.writelines(f"{word} {probability!r}\n" for word, probability in vocabulary.members.items())


def load_vocabulary(directory: Path) -> Vocabulary:
    """Read what :func:`save_vocabulary` wrote."""
    words = tuple(word for _, word in read_lines(directory / VOCABULARY_FILE))
    path = directory / MEMBERS_FILE
    unk, members = "", {}
    for number, line in read_lines(path):
        fields = line.split()
        try:
            if number == 1:
                (unk,) = fields
            else:
                word, probability = fields
                members[word] = float(probability)
        except ValueError as error:
            raise InputError(
                f"{path}: line {number}", found=repr(line), expected="a word and its probability",
                remedy="make it again with prepare_text",
            ) from error
    try:
        return Vocabulary(words, unk, members)
    except RescoreError as error:
        raise InputError(
            directory, found=str(error), expected="a vocabulary", remedy="make it again with prepare_text"
        ) from error


def save_model(
    directory: Path, model: LanguageModel, vocabulary: Vocabulary, facts: Mapping[str, Any], half: bool = False
) -> None:
    """Write a model directory; each file is replaced whole, the weights last.

    Args:
        directory: made where it is missing; other files in it stay.
        model: its configuration is its own.
        vocabulary: of as many entries as the model has.
        facts: see :func:`provenance`.
        half: store float16 instead of float32.
    """
    save_vocabulary(directory, vocabulary)
    with atomic_text(directory / CONFIG_FILE) as stream:
        yaml.safe_dump(_describe(model), stream, sort_keys=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    with atomic_text(directory / PROVENANCE_FILE) as stream:
        json.dump({**facts, "parameters": model.num_parameters}, stream, indent=2)
        stream.write("\n")
    with atomic_binary(directory / WEIGHTS_FILE) as stream:
        stream.write(safetensors.torch.save(tensors))


def load_model(directory: str | Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Rebuild a model from its directory.

    Raises:
        InputError: a file is missing, damaged, or does not fit the others.
    """
    directory = Path(directory)
    if not (directory / WEIGHTS_FILE).is_file():
        raise InputError(
            directory,
            found="no " + WEIGHTS_FILE,
            expected="a model directory",
            remedy="name one that train_lm, distill_lm or ensemble_lm wrote",
        )
    vocabulary = load_vocabulary(directory)
    model = _build(directory / CONFIG_FILE, len(vocabulary))
    path = directory / WEIGHTS_FILE
    data = path.read_bytes()
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise InputError(
            path, found=f"no whole safetensors file ({error})", expected="the model's weights", remedy="copy it again"
        ) from error
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise InputError(
            path,
            found=" ".join(str(error).split()),
            expected=f"the weights of the model in {CONFIG_FILE} with {len(vocabulary)} words",
            remedy="keep the files of one training run together",
        ) from error
    facts = json.loads("\n".join(line for _, line in read_lines(directory / PROVENANCE_FILE)))
    digest = hashlib.sha256(json.dumps(_describe(model), sort_keys=True).encode())
    digest.update(vocabulary.hash.encode())
    digest.update(data)
    return LoadedModel(directory.name, model.to(device).eval(), vocabulary, facts, digest.hexdigest())


def combine(loaded: Sequence[LoadedModel]) -> tuple[Vocabulary, LanguageModel]:
    """One model as it is, several as their ensemble, with the vocabulary they share.

    Raises:
        UsageError: their vocabularies differ.
    """
    first = loaded[0]
    for other in loaded[1:]:
        if other.vocabulary.hash != first.vocabulary.hash:
            raise UsageError(
                f"{first.name} and {other.name} have different vocabularies; train all members of an ensemble with one --vocab"
            )
    model = first.model if len(loaded) == 1 else Ensemble([part.model for part in loaded])
    return first.vocabulary, model


def save_training_state(path: Path, tensors: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able progress as one file: a kill at any moment leaves the last state or this one."""
    packed = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_binary(path) as stream:
        stream.write(safetensors.torch.save(packed, metadata={"progress": json.dumps(progress)}))


def load_training_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`save_training_state` wrote.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no mapping)
            return tensors, json.loads(stream.metadata()["progress"])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            path, found=f"no training state ({error})", expected="the state of a run", remedy="remove it to start anew"
        ) from error


def _describe(model: LanguageModel) -> dict[str, Any]:
    if isinstance(model, Ensemble):
        return {"ensemble": [_describe(member) for member in model.members]}
    plain = asdict(model.config)
    return {"model": {**plain, "hidden": list(plain["hidden"])}}


def _build(path: Path, vocabulary_size: int) -> LanguageModel:
    text = "\n".join(line for _, line in read_lines(path))
    try:
        tree = yaml.safe_load(text)
        parts = tree["ensemble"] if "ensemble" in tree else [tree]
        configs: list[ModelConfig] = [from_dict(part, str(path)).model for part in parts]
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise InputError(
            path, found=" ".join(str(error).split()), expected="model: or ensemble:", remedy="restore the file"
        ) from error
    members = [models.build(config, vocabulary_size) for config in configs]
    return Ensemble(members) if "ensemble" in tree else members[0]
