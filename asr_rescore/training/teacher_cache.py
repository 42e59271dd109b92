"""A teacher's distributions over a text, computed once and read by every student in every epoch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from asr_rescore.checkpoint import REMOVE_STATE, load_training_state, save_training_state
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import InputError, RescoreError, UsageError, shown
from asr_rescore.files import atomic_text
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.interrupts import Interrupt
from asr_rescore.lm.streams import Chunk
from asr_rescore.lm_config import CacheConfig
from asr_rescore.locks import locked
from asr_rescore.models import LanguageModel, Output, State, flatten_state, unflatten_state
from asr_rescore.objectives import SoftLabels
from asr_rescore.progress import progress_bar
from asr_rescore.records import Record, read_json

DESCRIPTION_FILE = "cache.json"  # the cache's fingerprint; written last, so a cache that has it is complete
LOCK_FILE = ".lock"
STATE_FILE = "building.safetensors"
WEIGHTS_FILE = "weights.f16"
WORDS_FILE = "words.i32"
LABEL_FILE = "label.f32"
CACHE_FILES = (DESCRIPTION_FILE, STATE_FILE, WEIGHTS_FILE, WORDS_FILE, LABEL_FILE)
SAVE_EVERY = 60.0  # seconds
CHUNK_BYTES = 64 << 20  # size of the float32 distributions that are computed at once
# float16 has all its 11 bits down to 6e-5, and its largest number is 65,504. Multiplied by 2^15, probabilities from 1
# down to 1.9e-9 keep a relative precision of 2^-12.
SCALE = 2.0**15
# Rounded probabilities sum to 1 ± 0.001 at most; anything further off is damage.
WORST_SUM = 0.02


class TeacherCache:
    """A cache on disk, memory-mapped.

    Attributes:
        config: how much of each distribution is kept.
        weights: float16 (tokens, kept), probabilities times ``SCALE``.
        words: int32 (tokens, kept), the words of ``weights``; None if all words are kept.
        label: float32 (tokens,), ln Q of the token itself.
    """

    def __init__(
        self, directory: Path, tokens: int, vocabulary_size: int, config: CacheConfig, mode: Literal["c", "r+"]
    ):
        self.config = config
        self.directory = directory
        self.vocabulary_size = vocabulary_size
        kept = config.top + config.samples if config.top else vocabulary_size
        self.weights = _map(directory / WEIGHTS_FILE, np.float16, (tokens, kept), mode)
        self.words = _map(directory / WORDS_FILE, np.int32, (tokens, kept), mode) if config.top else None
        self.label = _map(directory / LABEL_FILE, np.float32, (tokens,), mode)

    @classmethod
    def open(cls, directory: Path, text: TokenStream, teachers: Sequence[str]) -> TeacherCache:
        """Open a finished cache for reading.

        Raises:
            InputError: there is no cache, or it is unfinished or damaged.
            UsageError: it was made with another text or other teachers (hashes).
        """
        found = _read_fingerprint(directory)
        vocabulary_size = found.facts["vocabulary_size"]
        config = CacheConfig(**found.facts["options"])
        _refuse_other(directory, found, _fingerprint(text, teachers, vocabulary_size, config))
        # "c" makes the map writable in memory only, since torch warns about arrays that are not writable.
        return cls(directory, len(text), vocabulary_size, config, "c")


def _fingerprint(text: TokenStream, teachers: Sequence[str], vocabulary_size: int, config: CacheConfig) -> Fingerprint:
    return Fingerprint(
        {
            "text": text.hash,
            "teachers": list(teachers),
            "vocabulary_size": vocabulary_size,
            "options": config.to_dict(),
        }
    )


def _read_fingerprint(directory: Path) -> Fingerprint:
    path = directory / DESCRIPTION_FILE
    if not path.exists():
        remedy = "make it with cache_teacher, which also continues an unfinished one"
        raise InputError(path, found="no such file", expected="a finished cache", remedy=remedy)
    facts = read_json(path, "the description of a teacher's cache", "remove the file and run cache_teacher again")
    facts.text("text")
    facts.texts("teachers")
    facts.integer("vocabulary_size", least=1)
    options = facts.record("options")
    names = CacheConfig().to_dict()
    for name in options.values:
        if name not in names:
            options.refuse(name, "none but " + ", ".join(names))
    for name in names:
        options.integer(name)
    options.valid("", lambda: CacheConfig(**options.values))  # checks their ranges
    return Fingerprint(facts.values)


def _refuse_other(directory: Path, found: Fingerprint, wanted: Fingerprint) -> None:
    differences = found.differences(wanted)
    if differences:
        names = ", ".join(differences)
        raise UsageError(f"{directory} holds another cache (different: {names}); remove it or name another directory")


def _map(path: Path, kind: type[np.generic], shape: tuple[int, ...], mode: Literal["c", "r+"]) -> np.memmap:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if mode == "r+":
        # All space is reserved now: writing to a map on a full disk would kill the process later.
        with path.open("ab") as stream:
            if stream.tell() > size:  # left by another cache; that of an unfinished build has the right size
                stream.truncate(size)
            try:
                os.posix_fallocate(stream.fileno(), 0, size)
            except OSError as error:
                remedy = "free some space, or keep less of each distribution with `top`"
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
    config: CacheConfig,
    device: torch.device,
) -> None:
    """Let ``model`` read ``text`` once and write its distribution over every token.

    A build that was stopped continues from its last state; a finished cache is left alone.

    Args:
        directory: output directory.
        model: one teacher or an ensemble, on ``device``.
        text: the training text of the students.
        teachers: hashes of the models, for the students to check.
        config: how much to keep.
        device: where to compute.

    Raises:
        InputError: the directory holds a damaged cache.
        UsageError: the directory holds another cache, or ``top`` and ``samples`` exceed the vocabulary.
        RescoreError: there is no room on the disk, or another process builds the cache.
        KeyboardInterrupt: Ctrl-C was pressed, or SIGTERM came (:class:`~asr_rescore.errors.Terminated`); the state has
            been saved.
    """
    if config.top and config.top + config.samples > model.vocabulary_size:
        raise UsageError(
            f"teacher cache: `top` {config.top} and `samples` {config.samples} are more than the "
            f"{model.vocabulary_size} words of the vocabulary"
        )
    fingerprint = _fingerprint(text, teachers, model.vocabulary_size, config)
    finished = directory / DESCRIPTION_FILE
    if finished.exists():
        _refuse_other(directory, _read_fingerprint(directory), fingerprint)
        return
    with locked(directory / LOCK_FILE, str(directory)):
        with Interrupt() as interrupt:
            _Builder(directory, model.eval(), text, config, device).run(fingerprint, interrupt)
        with atomic_text(finished) as stream:
            json.dump(fingerprint.facts, stream, indent=2)
        (directory / STATE_FILE).unlink(missing_ok=True)
    (directory / LOCK_FILE).unlink(missing_ok=True)  # nobody writes here any more


class _Builder:
    """Reads the text in parallel streams; each begins some tokens early, in the end of the stream before it."""

    def __init__(
        self, directory: Path, model: LanguageModel, text: TokenStream, config: CacheConfig, device: torch.device
    ):
        self.directory = directory
        self.model = model
        self.config = config
        self.device = device
        self.ids = text.ids
        self.length = max(-(-len(text) // config.streams), config.warmup)  # tokens of each stream but the last
        self.begins = torch.arange(0, len(text), self.length)
        self.cache = TeacherCache(directory, len(text), model.vocabulary_size, config, "r+")
        self.steps = max(1, CHUNK_BYTES // (len(self.begins) * model.vocabulary_size * 4))
        self.draw = torch.Generator(device).manual_seed(config.seed)

    @torch.inference_mode()
    def run(self, fingerprint: Fingerprint, interrupt: Interrupt) -> None:
        """Read from the saved state, or from the start, to the end."""
        path = self.directory / STATE_FILE
        step = -min(self.config.warmup, len(self.ids) - 1)
        state = self.model.initial_state(len(self.begins), self.device)
        if path.exists():
            step, state = self._resume(path, state, fingerprint)
        saved_at = time.monotonic()
        with progress_bar(total=self.length, initial=max(0, step), desc="teacher cache", unit="step") as bar:
            while step < self.length:
                if step == 0:
                    for tensor in flatten_state(state).values():
                        tensor[:, 0] = 0.0  # there is no text before the first stream
                until = min(step + self.steps, self.length if step >= 0 else 0)
                state = self._read(step, until, state)
                bar.update(max(0, until) - max(0, step))
                step = until
                if step < self.length and (interrupt.wanted or time.monotonic() - saved_at > SAVE_EVERY):
                    self._save(path, step, state, fingerprint)
                    saved_at = time.monotonic()
                    if interrupt.wanted:
                        raise interrupt.end()
        self.cache.weights.flush()
        self.cache.label.flush()
        if self.cache.words is not None:
            self.cache.words.flush()

    def _resume(self, path: Path, state: State, fingerprint: Fingerprint) -> tuple[int, State]:
        tensors, facts = load_training_state(path)
        saved = Record.of(facts, str(path), "the state of an unfinished cache", REMOVE_STATE)
        _refuse_other(self.directory, Fingerprint(saved.record("description").values), fingerprint)
        try:
            state = unflatten_state(state, tensors)
            self.draw.set_state(tensors["draw"])
        except (LookupError, ValueError, RuntimeError, TypeError) as error:  # all that torch and dicts raise
            found = f"tensors that do not fit ({shown(' '.join(str(error).split()))})"
            raise InputError(path, found=found, expected=saved.kind, remedy=REMOVE_STATE) from error
        return saved.integer("step", least=-self.config.warmup), state

    def _read(self, step: int, until: int, state: State) -> State:
        positions = self.begins + torch.arange(step, until).unsqueeze(1)  # (time, streams)
        # Before the start of the text, its end is read; after its end, its last token. Neither is written.
        inputs = self._ids((positions - 1).clamp(max=len(self.ids) - 1))
        output: Output = self.model(inputs, state)
        if step < 0:
            return output.state
        inside = (positions < len(self.ids)).flatten()
        positions = positions.flatten()[inside]  # (tokens,)
        log_probs = output.log_probs.flatten(0, 1)[inside.to(self.device)].float()  # (tokens, vocabulary)
        rows = positions.numpy()
        labels = self._ids(positions)
        self.cache.label[rows] = log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1).cpu().numpy()
        weights = log_probs.exp_()
        if self.cache.words is not None:
            weights, words = top_and_samples(weights, self.config.top, self.config.samples, self.draw)
            self.cache.words[rows] = words.cpu().numpy()
        self.cache.weights[rows] = (weights * SCALE).half().cpu().numpy()
        return output.state

    def _ids(self, positions: torch.Tensor) -> torch.Tensor:
        """The ids at some positions of the text, int64, on the device."""
        return torch.from_numpy(self.ids[positions.numpy()].astype(np.int64)).to(self.device)

    def _save(self, path: Path, step: int, state: State, fingerprint: Fingerprint) -> None:
        tensors = flatten_state(state) | {"draw": self.draw.get_state()}
        save_training_state(path, tensors, {"step": step, "description": fingerprint.facts})


def top_and_samples(
    probs: torch.Tensor, top: int, samples: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep the ``top`` words of each distribution, and ``samples`` draws from the others, which share their mass.

    Args:
        probs: (tokens, vocabulary).
        top: number of words that keep their probability.
        samples: number of draws, with replacement, from the other words in proportion to their probabilities.
        generator: for the draws.

    Returns:
        Weights (tokens, top + samples) with the same sum as ``probs``, and their words, int64 of the same shape. For
        any f, the expectation of Σ weights · f(words) is Σ probs · f.
    """
    kept, words = probs.topk(top, dim=-1)
    rest = probs.scatter(-1, words, 0.0)
    mass = rest.sum(-1, keepdim=True)
    # If no mass is left, any word will do: its weight is zero.
    drawn = torch.multinomial(torch.where(mass > 0, rest, 1.0), samples, replacement=True, generator=generator)
    return torch.cat([kept, (mass / samples).expand(-1, samples)], -1), torch.cat([words, drawn], -1)


class CachedTeacher:
    """A teacher whose distributions are read from a cache.

    Args:
        cache: made with the training text of the student.
        device: the device of the student. A GPU holds the whole cache if twice its size is free; otherwise the rows of
            each chunk are copied to it.
    """

    def __init__(self, cache: TeacherCache, device: torch.device):
        self.device = device
        self.cache = cache
        self.weights = torch.from_numpy(cache.weights)
        self.label = torch.from_numpy(cache.label)
        self.words = None if cache.words is None else torch.from_numpy(cache.words)
        size = self.weights.nbytes + (0 if self.words is None else self.words.nbytes)
        if device.type == "cuda" and 2 * size < torch.cuda.mem_get_info(device)[0]:
            self.weights = self.weights.to(device)
            self.label = self.label.to(device)
            self.words = None if self.words is None else self.words.to(device)

    def _check(self, weights: torch.Tensor, words: torch.Tensor | None) -> None:
        """Refuse rows that no teacher wrote: a damaged disk would otherwise teach the student nonsense."""
        sums = weights.sum(-1, dtype=torch.float32) / SCALE
        if not ((sums - 1).abs() < WORST_SUM).all():
            where = self.cache.directory / WEIGHTS_FILE
            found = "probabilities that do not sum to 1"
        elif words is not None and not ((words >= 0) & (words < self.cache.vocabulary_size)).all():
            where = self.cache.directory / WORDS_FILE
            found = "a word that is not in the vocabulary"
        else:
            return
        expected = "distributions over the teacher's vocabulary"
        raise InputError(where, found=found, expected=expected, remedy="remove the directory and make the cache again")

    def start(self, streams: Sequence[int]) -> None:
        """Do nothing: every position has its own row, so there is no state."""

    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Return the rows of the chunk's positions."""
        positions = chunk.positions.flatten().to(self.weights.device)
        weights = self.weights[positions].to(self.device)
        words = None if self.words is None else self.words[positions].to(self.device, torch.int64)
        self._check(weights, words)
        return SoftLabels(weights, self.label[positions].to(self.device), words, 1 / SCALE)

    def state(self) -> dict[str, torch.Tensor]:
        """Return nothing: there is no state."""
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Do nothing: there is no state."""
