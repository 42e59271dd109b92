"""The dear half of rescoring: one share's N-best lists, each hypothesis costed by every language model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tqdm import tqdm

from asr_rescore import __version__, kaldi
from asr_rescore.errors import RescoreError
from asr_rescore.failures import Failures
from asr_rescore.files import atomic_directory, atomic_text
from asr_rescore.lattice import Lattice
from asr_rescore.lm.score_cache import CachedScorer
from asr_rescore.lm.scoring import NeuralScorer
from asr_rescore.nbest import GRAPH, NO_LM, OLD_LM, NBest
from asr_rescore.ngram import Grammar
from asr_rescore.ranking import Weights, neural_column
from asr_rescore.rescoring.carry_over import CarryOver
from asr_rescore.rescoring.config import Job
from asr_rescore.rescoring.first_pass import FirstPass, split_old_lm

Scorer: TypeAlias = NeuralScorer | CachedScorer

SHARE_FILE = "share.json"
# Lists are costed together up to so many words: enough rows for fast matrix products, little enough to hold.
GROUP_WORDS = 150_000


@dataclass(frozen=True)
class Signature:
    """What a share's costs depend on; equal signatures mean equal costs, so a finished share is not done again."""

    version: str
    decode_dir: str
    lattices: tuple[tuple[str, int, int], ...]  # (name, bytes, time of change in ns) of each lat.JOB.gz
    old_lang: tuple[tuple[str, int, int], ...]  # the same of words.txt and of the grammar
    lms: tuple[str, ...]  # model hashes, in order
    config: dict[str, Any]
    utterances: str  # hash of the wanted ones
    job: int
    jobs: int
    weights: dict[str, Any] | None = None  # where costs depend on them
    chains: str | None = None  # hash of which utterance follows which, where costs depend on it

    @classmethod
    def of(
        cls,
        first_pass: FirstPass,
        grammar_file: Path,
        lms: Sequence[str],
        share: Job,
        weights: Weights | None = None,
        chains: Sequence[Sequence[str]] | None = None,
    ) -> Signature:
        """Read it off a run's inputs."""
        return cls(
            __version__,
            str(first_pass.decode_dir.resolve()),
            tuple(_stamp(file) for file in kaldi.lattice_files(first_pass.decode_dir)),
            (_stamp(grammar_file.parent / "words.txt"), _stamp(grammar_file)),
            tuple(lms),
            asdict(first_pass.config),
            _hash(sorted(first_pass.utterances)),
            share.job,
            share.jobs,
            asdict(weights) if weights else None,
            _hash(chains) if chains else None,
        )

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    def is_of(self, file: Path) -> bool:
        """Whether ``file`` was written by :meth:`save` for just these inputs."""
        try:
            written = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        return json.loads(written)["signature"] == json.loads(self.to_json())

    def save(self, file: Path, failures: Failures) -> None:
        """Say that a share is done, and what could not be done of it."""
        with atomic_text(file) as stream:
            json.dump({"signature": asdict(self), "failures": failures.reasons}, stream)


def _stamp(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


def _hash(names: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def is_done(out_dir: Path, signature: Signature) -> bool:
    """Whether archives.JOB in ``out_dir`` is complete and made from just these inputs."""
    return signature.is_of(out_dir / f"archives.{signature.job}" / SHARE_FILE)


def read_failures(file: Path) -> dict[str, str]:
    """What a finished share could not do, by its :meth:`Signature.save`: utterance or file → reason."""
    return json.loads(file.read_text(encoding="utf-8"))["failures"]


def cost_share(
    first_pass: FirstPass,
    grammar: Grammar,
    scorers: Sequence[Scorer],
    n: int,
    share: Job,
    out_dir: Path,
    signature: Signature,
    carry_over: CarryOver | None = None,
) -> None:
    """Write ``out_dir``/archives.JOB: words and one cost file a model, whole or not at all.

    An utterance that a model cannot cost keeps its first-pass ranking, its neural costs being set to the old LM's;
    it is listed with the reason among the share's failures.
    """
    failures = Failures()
    with atomic_directory(out_dir / f"archives.{share.job}") as folder:
        lattices = first_pass.lattices(share, failures)
        rounds = [lattices] if carry_over is None else carry_over.rounds(lattices)
        with kaldi.NBestWriter(folder) as writer, tqdm(unit="utt", disable=None) as progress:
            for some in rounds:
                for group in _groups(_first_pass_lists(some, first_pass, n, grammar, failures, len(scorers))):
                    for nbest in _add_costs(group, scorers, failures, carry_over):
                        writer.write(nbest)
                    progress.update(len(group))
        signature.save(folder / SHARE_FILE, failures)


def _first_pass_lists(
    lattices: Iterable[tuple[str, Lattice]],
    first_pass: FirstPass,
    n: int,
    grammar: Grammar,
    failures: Failures,
    models: int,
) -> Iterator[tuple[NBest, bool]]:
    """Yield (list, whether the models are to cost it)."""
    for utt, lattice in lattices:
        try:
            paths = first_pass.paths(lattice, n)
            if not paths:
                failures.add_empty(utt)
                continue
            nbest = NBest.of_paths(utt, paths, first_pass.words.word)
        except RescoreError as error:
            failures.add(utt, error)
            continue
        try:
            yield split_old_lm(nbest, paths, grammar), True
        except RescoreError as error:
            failures.add(utt, f"first pass kept: {error}")
            nothing = np.zeros(len(nbest))
            nbest = nbest.with_cost(OLD_LM, nothing).with_cost(NO_LM, nbest.costs[GRAPH])
            yield _neutral(nbest, models), False


def _neutral(nbest: NBest, models: int) -> NBest:
    """Neural costs that no weight can turn into another ranking than the first pass's."""
    for index in range(models):
        nbest = nbest.with_cost(neural_column(index), nbest.costs[OLD_LM])
    return nbest


def _groups(lists: Iterable[tuple[NBest, bool]]) -> Iterator[list[tuple[NBest, bool]]]:
    group: list[tuple[NBest, bool]] = []
    words = 0.0
    for nbest, wanted in lists:
        group.append((nbest, wanted))
        words += nbest.word_counts.sum() + len(nbest)
        if words >= GROUP_WORDS:
            yield group
            group, words = [], 0.0
    if group:
        yield group


def _add_costs(
    group: list[tuple[NBest, bool]], scorers: Sequence[Scorer], failures: Failures, carry_over: CarryOver | None
) -> Iterator[NBest]:
    wanted = [nbest for nbest, costed in group if costed]
    try:
        done = iter(_costed(wanted, scorers, carry_over) if wanted else [])
    except RescoreError:  # one by one, so that the good ones do not go with the bad
        done = iter([_costed_or_neutral(nbest, scorers, failures, carry_over) for nbest in wanted])
    for nbest, costed in group:
        yield next(done) if costed else nbest


def _costed(lists: list[NBest], scorers: Sequence[Scorer], carry_over: CarryOver | None) -> list[NBest]:
    sentences = [words for nbest in lists for words in nbest.words]
    ends = np.cumsum([len(nbest) for nbest in lists])
    for index, scorer in enumerate(scorers):
        costs = scorer.costs(sentences) if carry_over is None else carry_over.costs(index, lists)
        parts = np.split(costs, ends[:-1])
        lists = [nbest.with_cost(neural_column(index), part) for nbest, part in zip(lists, parts, strict=True)]
    if carry_over is not None:
        carry_over.follow(lists)
    return lists


def _costed_or_neutral(
    nbest: NBest, scorers: Sequence[Scorer], failures: Failures, carry_over: CarryOver | None
) -> NBest:
    try:
        return _costed([nbest], scorers, carry_over)[0]
    except RescoreError as error:
        failures.add(nbest.utt, f"first pass kept: {error}")
        return _neutral(nbest, len(scorers))
