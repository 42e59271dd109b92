"""A teacher's distributions over a text, computed once and read by every student in every epoch."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch

from asr_rescore.checkpoint import REMOVE_STATE, load_training_state, save_training_state
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import InputError, RescoreError, UsageError, shown
from asr_rescore.files import atomic_text
from asr_rescore.fingerprint import Fingerprint, file_checksum
from asr_rescore.interrupts import Interrupt
from asr_rescore.lm_config import CacheConfig
from asr_rescore.locks import LOCK_FILE, locked
from asr_rescore.models import LanguageModel, Output, State, flatten_state, unflatten_state
from asr_rescore.progress import progress_bar
from asr_rescore.records import Record, read_json
from asr_rescore.training.cache_job import CacheJob, JoinedRows
from asr_rescore.training.top_samples import top_and_samples

logger = logging.getLogger(__name__)

DESCRIPTION_FILE = "cache.json"  # the cache's fingerprint; written last, so a cache that has it is complete
STATE_FILE = "building.safetensors"
WEIGHTS_FILE = "weights.f16"
WORDS_FILE = "words.i32"
LABEL_FILE = "label.f32"
CACHE_FILES = (DESCRIPTION_FILE, STATE_FILE, WEIGHTS_FILE, WORDS_FILE, LABEL_FILE)
CHECKSUMS = "checksums"  # in the description, but not a part of the fingerprint
SAVE_EVERY = 60.0  # seconds
SHOWN_JOBS = 10  # of those that are missing
CHUNK_BYTES = 64 << 20  # size of the float32 distributions that are computed at once
# float16 has all its 11 bits down to 6e-5, and its largest number is 65,504. Multiplied by 2^15, probabilities from 1
# down to 1.9e-9 keep a relative precision of 2^-12.
SCALE = 2.0**15


Table: TypeAlias = "np.ndarray | JoinedRows"


@dataclass(frozen=True)
class TeacherCache:
    """A cache on disk, memory-mapped.

    Attributes:
        directory: where it is.
        vocabulary_size: number of words of the teacher.
        config: how much of each distribution is kept.
        weights: float16 (tokens, kept), probabilities times ``SCALE``.
        words: int32 (tokens, kept), the words of ``weights``; None if all words are kept.
        label: float32 (tokens,), ln Q of the token itself.
    """

    directory: Path
    vocabulary_size: int
    config: CacheConfig
    weights: Table
    words: Table | None
    label: Table

    @classmethod
    def mapped(
        cls, directory: Path, tokens: int, vocabulary_size: int, config: CacheConfig, mode: Literal["c", "r+"]
    ) -> TeacherCache:
        """Map the files of one job, which has so many tokens; in mode ``r+``, they are made."""
        kept = config.top + config.samples if config.top else vocabulary_size
        return cls(
            directory,
            vocabulary_size,
            config,
            weights=_map(directory / WEIGHTS_FILE, np.float16, (tokens, kept), mode),
            words=_map(directory / WORDS_FILE, np.int32, (tokens, kept), mode) if config.top else None,
            label=_map(directory / LABEL_FILE, np.float32, (tokens,), mode),
        )

    @classmethod
    def open(cls, directory: Path, text: TokenStream, teachers: Sequence[str]) -> TeacherCache:
        """Open a finished cache for reading.

        Raises:
            InputError: there is no cache, or it or one of its jobs is unfinished or damaged.
            UsageError: it was made with another text or other teachers (hashes).
        """
        parts = []
        for job in _jobs(directory):
            own = job.directory(directory)
            found = _read_fingerprint(own)
            vocabulary_size = found.facts["vocabulary_size"]
            config = CacheConfig(**found.facts["options"])
            _refuse_other(own, found, _fingerprint(text, teachers, vocabulary_size, config, job))
            # "c" makes the map writable in memory only, since torch warns about arrays that are not writable.
            parts.append(cls.mapped(own, len(job.tokens(len(text))), vocabulary_size, config, "c"))
        return parts[0] if len(parts) == 1 else cls._joined(directory, parts)

    @classmethod
    def _joined(cls, directory: Path, parts: Sequence[TeacherCache]) -> TeacherCache:
        first = parts[0]
        for part in parts[1:]:
            if (part.config, part.vocabulary_size) != (first.config, first.vocabulary_size):
                found = "other settings than those of job 1"
                raise InputError(part.directory, found=found, expected="one cache", remedy="run all jobs alike")
        return cls(
            directory,
            first.vocabulary_size,
            first.config,
            weights=_join([part.weights for part in parts]),
            words=None if first.words is None else _join([part.words for part in parts]),
            label=_join([part.label for part in parts]),
        )


def _join(tables: Sequence[Table | None]) -> JoinedRows:
    return JoinedRows([table for table in tables if isinstance(table, np.ndarray)])


def _jobs(directory: Path) -> list[CacheJob]:
    """The jobs of a finished cache, all of which must be finished."""
    if (directory / DESCRIPTION_FILE).exists():
        return [CacheJob()]
    finished = sorted(directory.glob(f"job.*/{DESCRIPTION_FILE}"))
    if not finished:
        return [CacheJob()]  # reading its description says what is missing
    jobs = CacheJob.all(_read_fingerprint(finished[0].parent).facts.get("jobs", 1))
    missing = [job.number for job in jobs if not (job.directory(directory) / DESCRIPTION_FILE).exists()]
    if missing:
        numbers = ", ".join(map(str, missing[:SHOWN_JOBS])) + (", …" if len(missing) > SHOWN_JOBS else "")
        remedy = f"run the missing jobs with cache_teacher: {numbers}"
        raise InputError(
            directory, found=f"{len(missing)} of {len(jobs)} jobs unfinished", expected="all", remedy=remedy
        )
    return jobs


def _fingerprint(
    text: TokenStream, teachers: Sequence[str], vocabulary_size: int, config: CacheConfig, job: CacheJob
) -> Fingerprint:
    return Fingerprint(
        {
            "text": text.hash,
            "teachers": list(teachers),
            "vocabulary_size": vocabulary_size,
            "options": config.to_dict(),
            **job.facts,
        }
    )


def _read_fingerprint(directory: Path) -> Fingerprint:
    values = _read_description(directory).values
    return Fingerprint({name: value for name, value in values.items() if name != CHECKSUMS})


def _read_description(directory: Path) -> Record:
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
    if "jobs" in facts:
        number = facts.integer("job")
        jobs = facts.integer("jobs")
        facts.valid("job", lambda: CacheJob(number, jobs))
    return facts


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
    job: CacheJob | None = None,
) -> None:
    """Let ``model`` read ``text`` once and write its distribution over every token.

    A build that was stopped continues from its last state. Of a finished one, only the checksums are compared.

    Args:
        directory: output directory.
        model: one teacher or an ensemble, on ``device``.
        text: the training text of the students.
        teachers: hashes of the models, for the students to check.
        config: how much to keep.
        device: where to compute.
        job: write only the rows of this job; None: all rows.

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
    job = job or CacheJob()
    if job.jobs > 1 and (directory / DESCRIPTION_FILE).exists():
        raise UsageError(f"{directory} holds a cache that was made as one; remove it or name another directory")
    tokens = job.tokens(len(text))
    if not tokens:
        raise UsageError(f"`nj` is {job.jobs}, but the text has only {len(text)} tokens")
    directory = job.directory(directory)
    fingerprint = _fingerprint(text, teachers, model.vocabulary_size, config, job)
    finished = directory / DESCRIPTION_FILE
    if finished.exists():
        _refuse_other(directory, _read_fingerprint(directory), fingerprint)
        _check_sums(directory)
        logger.info("%s: was finished before; its checksums are right", directory)
        return
    with locked(directory / LOCK_FILE, str(directory)):
        with Interrupt() as interrupt:
            _Builder(directory, model.eval(), text, tokens, config, device).run(fingerprint, interrupt)
        with atomic_text(finished) as stream:
            json.dump({**fingerprint.facts, CHECKSUMS: _sums(directory)}, stream, indent=2)
        (directory / STATE_FILE).unlink(missing_ok=True)
    (directory / LOCK_FILE).unlink(missing_ok=True)  # nobody writes here any more


def _sums(directory: Path) -> dict[str, int]:
    """CRC-32 of each table."""
    names = (WEIGHTS_FILE, WORDS_FILE, LABEL_FILE)
    return {name: file_checksum(directory / name) for name in names if (directory / name).exists()}


def _check_sums(directory: Path) -> None:
    """Compare the tables with their checksums; an earlier version stored none."""
    description = _read_description(directory)
    if CHECKSUMS not in description:
        return
    found = _sums(directory)
    expected = description.record(CHECKSUMS).values
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            remedy = "remove the directory and make the cache again"
            raise InputError(directory / name, found="bytes that have changed", expected="a table", remedy=remedy)


class _Builder:
    """Reads the text in parallel streams; each begins some tokens early, in the end of the stream before it."""

    def __init__(
        self,
        directory: Path,
        model: LanguageModel,
        text: TokenStream,
        tokens: range,
        config: CacheConfig,
        device: torch.device,
    ):
        self.directory = directory
        self.tokens = tokens
        self.model = model
        self.config = config
        self.device = device
        self.ids = text.ids
        self.length = max(-(-len(tokens) // config.streams), config.warmup)  # tokens of each stream but the last
        self.begins = torch.arange(tokens.start, tokens.stop, self.length)
        self.cache = TeacherCache.mapped(directory, len(tokens), model.vocabulary_size, config, "r+")
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
            logger.info("%s: continues at %s", self.directory, self._place(step))
        saved_at = time.monotonic()
        with progress_bar("teacher cache", self.length, "steps", max(0, step)) as bar:
            while step < self.length:
                if step == 0 and self.tokens.start == 0:
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
                        logger.info("%s: saved; the same command continues at %s", self.directory, self._place(step))
                        raise interrupt.end()
        self._flush()

    def _place(self, step: int) -> str:
        """How much of the text is done, in words."""
        return f"step {max(0, step):,} of {self.length:,} ({max(0, step) / self.length:.0%})"

    def _flush(self) -> None:
        for table in (self.cache.weights, self.cache.words, self.cache.label):
            if isinstance(table, np.memmap):
                table.flush()

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
        inside = (positions < self.tokens.stop).flatten()
        positions = positions.flatten()[inside]  # (tokens,)
        log_probs = output.log_probs.flatten(0, 1)[inside.to(self.device)].float()  # (tokens, vocabulary)
        rows = positions.numpy() - self.tokens.start
        labels = self._ids(positions)
        _put(self.cache.label, rows, log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1))
        weights = log_probs.exp_()
        if self.cache.words is not None:
            weights, words = top_and_samples(weights, self.config.top, self.config.samples, self.draw)
            _put(self.cache.words, rows, words)
        _put(self.cache.weights, rows, (weights * SCALE).half())
        return output.state

    def _ids(self, positions: torch.Tensor) -> torch.Tensor:
        """The ids at some positions of the text, int64, on the device."""
        return torch.from_numpy(self.ids[positions.numpy()].astype(np.int64)).to(self.device)

    def _save(self, path: Path, step: int, state: State, fingerprint: Fingerprint) -> None:
        self._flush()  # the state says that these rows are written
        tensors = flatten_state(state) | {"draw": self.draw.get_state()}
        save_training_state(path, tensors, {"step": step, "description": fingerprint.facts})


def _put(table: Table, rows: np.ndarray, values: torch.Tensor) -> None:
    assert isinstance(table, np.ndarray)  # a job has a file of its own
    table[rows] = values.cpu().numpy()
