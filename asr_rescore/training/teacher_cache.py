"""The teacher's distributions over a text, computed once and read in every epoch of every student."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from asr_rescore.checkpoint import load_training_state, save_training_state
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.files import atomic_text
from asr_rescore.lm.streams import Chunk
from asr_rescore.models import LanguageModel, State, flatten_state, unflatten_state
from asr_rescore.objectives import SoftLabels
from asr_rescore.training.interrupt import Interrupt

DESCRIPTION_FILE = "cache.json"  # written last: where it stands, the cache is complete
STATE_FILE = "building.safetensors"
SAVE_EVERY = 60.0  # seconds
CHUNK_BYTES = 64 << 20  # of distributions, in float32, that are computed at once
# float16 has all its 11 bits down to 6e-5 and a largest number of 65,504: times 2^15, probabilities from 1 down to
# 1.9e-9 keep a relative precision of 2^-12.
SCALE = 2.0**15


@dataclass(frozen=True)
class CacheConfig:
    """How much of each distribution is kept.

    Whole distributions take 2 bytes a word of the vocabulary. With ``top`` the most probable words are kept exactly,
    and ``samples`` draws from the others, each with an equal share of their mass, stand for the rest: for any student
    that has not yet read these draws, the expected loss and gradient are those of the whole distribution (Anshumann et
    al. 2025 sample all of it).
    """

    top: int = 0  # words kept exactly; 0: all of them
    samples: int = 16  # draws from the rest, where there is one
    streams: int = 32  # places in which the teacher reads at once; fewer where they would be shorter than warmup
    warmup: int = 100  # tokens read before each place, whose distributions are thrown away
    seed: int = 1  # of the draws

    def __post_init__(self) -> None:
        if self.top < 0 or self.warmup < 0:
            raise UsageError("teacher cache: top and warmup must be 0 or more")
        if self.streams < 1 or self.samples < 1:
            raise UsageError("teacher cache: streams and samples must be 1 or more")

    def to_dict(self) -> dict[str, int]:
        """Plain values, as JSON takes them."""
        return asdict(self)


class TeacherCache:
    """A cache on disk, memory-mapped.

    Attributes:
        options: how it was made.
        weights: float16 (tokens, kept), times ``SCALE``.
        words: int32 (tokens, kept), or None where all words are kept.
        label: float32 (tokens,), ln Q of the word that stands there.
    """

    def __init__(self, directory: Path, tokens: int, vocabulary_size: int, options: CacheConfig, mode: str):
        self.options = options
        kept = options.top + options.samples if options.top else vocabulary_size
        self.weights = _map(directory / "weights.f16", np.float16, (tokens, kept), mode)
        self.words = _map(directory / "words.i32", np.int32, (tokens, kept), mode) if options.top else None
        self.label = _map(directory / "label.f32", np.float32, (tokens,), mode)

    @classmethod
    def open(cls, directory: Path, text: TokenStream, teachers: Sequence[str]) -> TeacherCache:
        """Open a finished cache for reading.

        Raises:
            InputError: there is none, or it is unfinished or damaged.
            UsageError: it is of another text or of other teachers (hashes).
        """
        description = _read_description(directory)
        for what, wanted in {"text": text.hash, "teachers": list(teachers)}.items():
            if description[what] != wanted:
                raise UsageError(
                    f"{directory}: a cache of another text or other teachers ({what} differ); make it anew"
                )
        options = CacheConfig(**description["options"])
        # "c": writable in memory only, as torch likes it.
        return cls(directory, len(text), description["vocabulary_size"], options, "c")


def _read_description(directory: Path) -> dict[str, Any]:
    path = directory / DESCRIPTION_FILE
    kinds = {"text": str, "teachers": list, "vocabulary_size": int} | dict.fromkeys(CacheConfig().to_dict(), int)
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        CacheConfig(**description["options"])  # checks their ranges
        values = {**description, **description["options"]}
        wrong = [f"{name}: {values[name]!r}" for name, kind in kinds.items() if type(values[name]) is not kind]
        if wrong:
            raise TypeError(", ".join(wrong))
    except FileNotFoundError as error:
        remedy = "make it with cache_teacher; an unfinished one goes on where it was"
        raise InputError(path, found="no such file", expected="a finished cache", remedy=remedy) from error
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise InputError(
            path,
            found=f"{type(error).__name__}: {error}",
            expected="text, teachers, vocabulary_size and options, as cache_teacher writes them",
            remedy="remove the file and run cache_teacher again",
        ) from error
    return description


def _map(path: Path, kind: type[np.generic], shape: tuple[int, ...], mode: str) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if mode == "r+":
        # Reserved at once: writing to a map on a disk that is full later would kill the process.
        with path.open("ab") as stream:
            if stream.tell() > size:  # of another cache; what a build goes on from has its size
                stream.truncate(size)
            try:
                os.posix_fallocate(stream.fileno(), 0, size)
            except OSError as error:
                remedy = "free space, or keep less of each distribution: --top"
                raise RescoreError(f"{path}: cannot reserve {size:,} bytes ({error.strerror}); {remedy}") from error
    elif not path.exists() or path.stat().st_size != size:
        found = f"{path.stat().st_size} bytes" if path.exists() else "no such file"
        raise InputError(path, found=found, expected=f"{size} bytes", remedy="make the cache again")
    return np.memmap(path, kind, mode, shape=shape)


def build_cache(
    directory: Path,
    model: LanguageModel,
    text: TokenStream,
    teachers: Sequence[str],
    options: CacheConfig,
    device: torch.device,
) -> None:
    """Let ``model`` read ``text`` once and write its distribution over every token; after a stop, go on.

    Args:
        directory: where the cache goes.
        model: one teacher or an ensemble, on ``device``.
        text: a student's training text.
        teachers: hashes of the models, for the students to check.
        options: what to keep.
        device: where to compute.

    Raises:
        InputError: the directory holds a cache that is damaged.
        UsageError: the directory holds another cache.
        RescoreError: no room on the disk.
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    description = {
        "text": text.hash,
        "teachers": list(teachers),
        "vocabulary_size": model.vocabulary_size,
        "options": options.to_dict(),
    }
    finished = directory / DESCRIPTION_FILE
    if options.top + options.samples > model.vocabulary_size and options.top:
        raise UsageError(f"teacher cache: top {options.top} and {options.samples} samples are more than all words")
    if finished.exists():
        _refuse_other(directory, _read_description(directory), description)
        return
    directory.mkdir(parents=True, exist_ok=True)
    with Interrupt() as interrupt:
        _Builder(directory, model.eval(), text, options, device).run(description, interrupt)
    with atomic_text(finished) as stream:
        json.dump(description, stream, indent=2)
    (directory / STATE_FILE).unlink(missing_ok=True)


def _refuse_other(directory: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differs = [key for key, value in wanted.items() if found.get(key) != value]
    if differs:
        raise UsageError(
            f"{directory} holds a cache of another {', '.join(differs)}; remove it or name another directory"
        )


class _Builder:
    """The text cut into as many streams as are read at once, each continued from the one before it by a warm-up."""

    def __init__(
        self, directory: Path, model: LanguageModel, text: TokenStream, options: CacheConfig, device: torch.device
    ):
        self.directory, self.model, self.options, self.device = directory, model, options, device
        self.ids = torch.from_numpy(text.ids)
        self.length = max(-(-len(text) // options.streams), options.warmup)
        self.begins = torch.arange(0, len(text), self.length)
        self.cache = TeacherCache(directory, len(text), model.vocabulary_size, options, "r+")
        self.steps = max(1, CHUNK_BYTES // (len(self.begins) * model.vocabulary_size * 4))
        self.draw = torch.Generator(device).manual_seed(options.seed)

    @torch.inference_mode()
    def run(self, description: dict[str, Any], interrupt: Interrupt) -> None:
        """Read from the saved state, or the start, to the end."""
        path = self.directory / STATE_FILE
        step = -min(self.options.warmup, len(self.ids) - 1)
        state = self.model.initial_state(len(self.begins), self.device)
        if path.exists():
            tensors, saved = load_training_state(path)
            _refuse_other(self.directory, saved["description"], description)
            step, state = saved["step"], unflatten_state(state, tensors)
            self.draw.set_state(tensors["draw"])
        saved_at = time.monotonic()
        with tqdm(total=self.length, initial=max(0, step), desc="teacher cache", unit="step", disable=None) as bar:
            while step < self.length:
                if step == 0:
                    for tensor in flatten_state(state).values():
                        tensor[:, 0] = 0.0  # before the first stream there is no text
                until = min(step + self.steps, self.length if step >= 0 else 0)
                state = self._read(step, until, state)
                bar.update(max(0, until) - max(0, step))
                step = until
                if step < self.length and (interrupt.wanted or time.monotonic() - saved_at > SAVE_EVERY):
                    self._save(path, step, state, description)
                    saved_at = time.monotonic()
                    if interrupt.wanted:
                        raise KeyboardInterrupt
        for array in (self.cache.weights, self.cache.label, self.cache.words):
            if array is not None:
                array.flush()

    def _read(self, step: int, until: int, state: State) -> State:
        positions = self.begins + torch.arange(step, until).unsqueeze(1)  # (time, streams)
        # Before the first stream the text's end stands in, beyond the last one its last token; neither is written.
        inputs = self.ids[(positions - 1).clamp(max=len(self.ids) - 1)].to(self.device)
        output = self.model(inputs, state)
        if step < 0:
            return output.state
        inside = (positions < len(self.ids)).flatten()
        positions = positions.flatten()[inside]
        log_probs = output.log_probs.flatten(0, 1)[inside.to(self.device)].float()
        rows, labels = positions.numpy(), self.ids[positions].to(self.device)
        self.cache.label[rows] = log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1).cpu().numpy()
        weights, words = log_probs.exp_(), None
        if self.options.top:
            weights, words = top_and_samples(weights, self.options.top, self.options.samples, self.draw)
            self.cache.words[rows] = words.cpu().numpy()
        self.cache.weights[rows] = (weights * SCALE).half().cpu().numpy()
        return output.state

    def _save(self, path: Path, step: int, state: State, description: dict[str, Any]) -> None:
        tensors = flatten_state(state) | {"draw": self.draw.get_state()}
        save_training_state(path, tensors, {"step": step, "description": description})


def top_and_samples(
    probs: torch.Tensor, top: int, samples: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``top`` words of each distribution, and ``samples`` of the others that share their mass.

    Args:
        probs: (tokens, vocabulary).
        top: words kept with their probability.
        samples: draws, with replacement, from the rest in proportion to its probabilities.
        generator: of the draws.

    Returns:
        Weights (tokens, top + samples), of the sum of ``probs``, and their words. Σ weights · f(words) has Σ probs · f
        as its expectation, for any f.
    """
    kept, words = probs.topk(top, dim=-1)
    rest = probs.scatter(-1, words, 0.0)
    mass = rest.sum(-1, keepdim=True)
    # Where nothing is left, any word will do: its weight is zero.
    drawn = torch.multinomial(torch.where(mass > 0, rest, 1.0), samples, replacement=True, generator=generator)
    return torch.cat([kept, (mass / samples).expand(-1, samples)], -1), torch.cat([words, drawn], -1)


class CachedTeacher:
    """Reads a cache instead of a model.

    Args:
        cache: of the student's training text.
        device: the student's. A GPU takes the whole cache in where it has twice the room; else the rows of each chunk
            are copied there.
    """

    def __init__(self, cache: TeacherCache, device: torch.device):
        self.device = device
        self.weights, self.label = torch.from_numpy(cache.weights), torch.from_numpy(cache.label)
        self.words = None if cache.words is None else torch.from_numpy(cache.words)
        size = self.weights.nbytes + (0 if self.words is None else self.words.nbytes)
        if device.type == "cuda" and 2 * size < torch.cuda.mem_get_info(device)[0]:
            self.weights, self.label = self.weights.to(device), self.label.to(device)
            self.words = None if self.words is None else self.words.to(device)

    def start(self, streams: Sequence[int]) -> None:
        """Nothing to begin: every position has its row."""

    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Look the positions up."""
        positions = chunk.positions.flatten().to(self.weights.device)
        weights = self.weights[positions].to(self.device)
        words = None if self.words is None else self.words[positions].to(self.device, torch.int64)
        return SoftLabels(weights, self.label[positions].to(self.device), words, 1 / SCALE)

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Nothing."""
