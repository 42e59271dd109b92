"""Model directories, which rebuild their own model, and files for the state of an unfinished run."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import yaml

from asr_rescore import __version__, models
from asr_rescore.config import load_model_config, model_to_dict
from asr_rescore.errors import InputError, UsageError
from asr_rescore.files import atomic_binary, atomic_text
from asr_rescore.fingerprint import PROVENANCE_FILE
from asr_rescore.models import Ensemble, LanguageModel
from asr_rescore.ranges import POSITIVE
from asr_rescore.records import parse_json, read_json
from asr_rescore.vocab import Vocabulary
from asr_rescore.vocab_files import UNK_PROBS_FILE, VOCABULARY_FILE, load_vocabulary, save_vocabulary

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILES = (CONFIG_FILE, VOCABULARY_FILE, UNK_PROBS_FILE)  # the files that the weights belong to
REMOVE_STATE = "remove the file to start again"
COPY_OR_TRAIN = "copy the file again, or train the model again"
WRITTEN = "written"  # the one key of the metadata of weights
MODEL_FILES = (*DESCRIPTION_FILES, WEIGHTS_FILE, PROVENANCE_FILE)


@dataclass(frozen=True)
class LoadedModel:
    """A model read from its directory.

    Attributes:
        name: the name of the directory.
        model: the network, in evaluation mode and float32.
        vocabulary: the words of the model.
        provenance: how the model was made: versions, command, data, seed, valid perplexity, …
        hash: SHA-256 (hex) of config.yaml, vocab.txt, unk_probs.txt and model.safetensors, one after the other.
    """

    name: str
    model: LanguageModel
    vocabulary: Vocabulary
    provenance: Mapping[str, Any]
    hash: str


def model_files(*directories: Path) -> list[Path]:
    """The files of model directories, whether they are there or not."""
    return [directory / name for directory in directories for name in MODEL_FILES]


def provenance(**facts: Any) -> dict[str, Any]:
    """Return the facts that every model is stored with (versions, Git revision, command line), and ``facts``."""
    return {
        "version": __version__,
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "revision": _revision(),
        "command": shlex.join(sys.argv),
        **facts,
    }


def save_model(directory: Path, model: LanguageModel, vocabulary: Vocabulary, facts: Mapping[str, Any]) -> None:
    """Write a model directory; each file is replaced as a whole, the weights last.

    The file of the weights holds a hash of the config and the vocabulary, and a checksum of the weights. If the process
    is killed between two files, if somebody mixes the files of two models, or if a disk changes a bit,
    :func:`load_model` therefore refuses the directory.

    Args:
        directory: created if it is missing; other files in it are kept.
        model: stored together with its config.
        vocabulary: the vocabulary of the model.
        facts: see :func:`provenance`.

    Raises:
        UsageError: the model and the vocabulary differ in size.
    """
    if len(vocabulary) != model.vocabulary_size:
        raise UsageError(f"{directory}: a model of {model.vocabulary_size} words and a vocabulary of {len(vocabulary)}")
    save_vocabulary(directory, vocabulary)
    with atomic_text(directory / CONFIG_FILE) as stream:
        yaml.safe_dump({"model": model_to_dict(model.config)}, stream, sort_keys=False)
    with atomic_text(directory / PROVENANCE_FILE) as stream:
        json.dump({**facts, "parameters": model.num_parameters}, stream, indent=2)
        stream.write("\n")
    tensors = model.state_dict()
    written = {"made_for": _hash(directory, DESCRIPTION_FILES), "checksum": checksum(tensors)}
    _write_tensors(directory / WEIGHTS_FILE, tensors, {WRITTEN: json.dumps(written)})


def load_model(directory: str | Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Rebuild a model from its directory; weights in half precision become float32.

    Raises:
        InputError: a file is missing, is damaged, or does not fit the other files.
    """
    directory = Path(directory)
    path = directory / WEIGHTS_FILE
    if not path.is_file():
        raise InputError(
            directory,
            found=f"no {WEIGHTS_FILE}",
            expected="a model directory",
            remedy="name one that train_lm, distill_lm or ensemble_lm wrote",
        )
    vocabulary = load_vocabulary(directory)
    config = load_model_config(directory / CONFIG_FILE)
    with torch.device("meta"):  # sizes only: to draw initial weights would take time and random numbers
        model = models.build(config, len(vocabulary))
    tensors, metadata = _read_tensors(path, "the model's weights")
    _check_written(path, tensors, metadata)
    differences = _size_differences(tensors, model.state_dict())
    if differences:
        name, found, expected = differences[0]
        raise _misfit(path, f"{name}: {found}", f"{expected} according to {CONFIG_FILE} and {VOCABULARY_FILE}")
    _check_weights(path, tensors)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return LoadedModel(
        name=directory.name,
        model=model.to(device).eval(),
        vocabulary=vocabulary,
        provenance=_read_facts(directory),
        hash=_hash(directory, (*DESCRIPTION_FILES, WEIGHTS_FILE)),
    )


def _check_written(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Refuse weights of another model, and weights that are not those that were written."""
    written: Mapping[str, Any] = metadata  # of an earlier version: made_for, or nothing at all
    if WRITTEN in metadata:
        written = parse_json(metadata[WRITTEN], str(path), "the model's weights", COPY_OR_TRAIN).values
    made_for = _hash(path.parent, DESCRIPTION_FILES)
    if written.get("made_for", made_for) != made_for:
        raise _misfit(path, "weights of another model", f"weights for this {CONFIG_FILE} and {VOCABULARY_FILE}")
    if "checksum" in written and written["checksum"] != checksum(tensors):
        found = "weights that do not give the checksum stored with them"
        raise InputError(path, found=found, expected="the weights that were written", remedy=COPY_OR_TRAIN)


def _check_weights(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are no numbers: they would make every cost of the model NaN, or senseless."""
    for name, tensor in tensors.items():
        found = None
        if not tensor.is_floating_point():
            found = f"{name} of type {str(tensor.dtype).removeprefix('torch.')}"
        elif not tensor.isfinite().all():
            found = f"{name} with values that are not finite numbers"
        if found is not None:
            raise InputError(path, found=found, expected="finite weights", remedy=COPY_OR_TRAIN)


def load_weights(directory: str | Path, model: LanguageModel, vocabulary: Vocabulary) -> str:
    """Copy the weights of a model directory into ``model``; only the dropout rates may differ.

    Returns:
        The hash of the model in the directory.

    Raises:
        InputError: see :func:`load_model`.
        UsageError: the two models differ in vocabulary or sizes.
    """
    loaded = load_model(directory)
    if loaded.vocabulary.hash != vocabulary.hash:
        raise UsageError(f"{directory}: the model has another vocabulary; train with the vocabulary of this directory")
    tensors = loaded.model.state_dict()
    differences = _size_differences(tensors, model.state_dict())
    if differences:
        name, found, expected = differences[0]
        raise UsageError(f"{directory}: {name} is {found}, expected {expected} according to the config")
    model.load_state_dict(tensors)
    return loaded.hash


def combine(loaded: Sequence[LoadedModel]) -> tuple[Vocabulary, LanguageModel]:
    """Return the shared vocabulary of some models, and their ensemble; a single model is returned as it is.

    Raises:
        UsageError: the vocabularies differ.
    """
    first = loaded[0]
    for other in loaded[1:]:
        if other.vocabulary.hash != first.vocabulary.hash:
            raise UsageError(
                f"{first.name} and {other.name} have different vocabularies; train all members of an ensemble with the "
                "same vocabulary"
            )
    model = first.model if len(loaded) == 1 else Ensemble([part.model for part in loaded])
    return first.vocabulary, model


def save_training_state(path: Path, tensors: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> None:
    """Write tensors and plain values to one file; if the process is killed, the file holds the old or the new state."""
    _write_tensors(path, tensors, {"progress": json.dumps({**progress, "checksum": checksum(tensors)})})


def load_training_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`save_training_state` wrote, bit for bit.

    Raises:
        InputError: the file is missing, damaged or something else.
    """
    tensors, metadata = _read_tensors(path, "the state of a run")
    if "progress" not in metadata:
        raise InputError(path, found="tensors only", expected="the state of a run", remedy=REMOVE_STATE)
    state = parse_json(metadata["progress"], str(path), "the state of a run", REMOVE_STATE)
    facts = dict(state.values)
    # States that an earlier version wrote have no checksum.
    if facts.pop("checksum", None) not in (None, checksum(tensors)):
        raise InputError(path, found="tensors that have changed", expected="the state of a run", remedy=REMOVE_STATE)
    return tensors, facts


def checksum(tensors: Mapping[str, torch.Tensor]) -> int:
    """CRC-32 of all tensors: as quick as the disk, and sure to find a damaged block."""
    crc = 0
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        crc = zlib.crc32(f"{name} {flat.dtype} {list(tensor.shape)}".encode(), crc)
        if flat.numel():
            crc = zlib.crc32(flat.view(torch.uint8).numpy().data, crc)
    return crc


def _write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    # safetensors refuses tensors that share memory, as cuDNN's flat weights do, so they are copied. The metadata has a
    # single key, because its keys are written in random order: thus the same tensors always give the same bytes.
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with atomic_binary(path) as stream:
        stream.write(safetensors.torch.save(copies, metadata))


def _read_tensors(path: Path, expected: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            names = stream.keys()
            return {name: stream.get_tensor(name) for name in names}, stream.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(path, found=str(error), expected=expected, remedy="copy or make the file again") from error


def _read_facts(directory: Path) -> dict[str, Any]:
    facts = read_json(directory / PROVENANCE_FILE, "the provenance of a model", "copy the file again")
    if "valid_ppl" in facts.values:
        facts.number("valid_ppl", POSITIVE)
    if "config" in facts.values:
        facts.record("config").record("train")
    return dict(facts.values)


def _size_differences(
    found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> list[tuple[str, str, str]]:
    """Name, size found and size expected of each tensor that differs, in the order of their names."""
    names = sorted(found.keys() | expected.keys())
    sizes = [(name, _size(found, name), _size(expected, name)) for name in names]
    return [(name, one, other) for name, one, other in sizes if one != other]


def _size(tensors: Mapping[str, torch.Tensor], name: str) -> str:
    return str(list(tensors[name].shape)) if name in tensors else "nothing"


def _misfit(path: Path, found: str, expected: str) -> InputError:
    return InputError(path, found=found, expected=expected, remedy="keep the files of one model together")


def _hash(directory: Path, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        with (directory / name).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _revision() -> str | None:
    """Git revision of the source tree, with -dirty if files were changed; None for an installed package."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
