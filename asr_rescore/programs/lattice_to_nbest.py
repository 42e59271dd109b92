"""Kaldi's lattice-to-nbest and nbest-to-linear in one: lattices in, an N-best directory out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.failures import FAILED_FILE, Failures
from asr_rescore.files import atomic_directory
from asr_rescore.lattice import Lattice, n_best
from asr_rescore.lattice import Path as LatticePath
from asr_rescore.nbest import NBest
from asr_rescore.outputs import check_outputs, check_writable
from asr_rescore.programs.sources import ReadFiles, files_of
from asr_rescore.progress import progress_bar
from asr_rescore.ranges import COUNT, POSITIVE
from asr_rescore.ranking import USUAL_LMWT


@dataclass(frozen=True)
class NBestConfig:
    """How hypotheses are chosen."""

    n: int = field(default=1000, metadata={"help": "maximum number of hypotheses per utterance"})
    inv_acwt: float = field(
        default=USUAL_LMWT,
        metadata={"help": "inverse acoustic scale at which hypotheses are chosen; the costs written are unscaled"},
    )

    def __post_init__(self) -> None:
        COUNT.check("`n`", self.n)
        POSITIVE.check("`inv_acwt`", self.inv_acwt)


@dataclass(frozen=True)
class NBestSummary:
    """What was written.

    Attributes:
        utterances, hypotheses: how many.
        failures: what could not be done.
    """

    utterances: int
    hypotheses: int
    failures: Failures


def write_nbest_dir(
    source: str | os.PathLike[str],
    words: kaldi.SymbolTable,
    out_dir: Path,
    config: NBestConfig,
    *,
    allow_pipes: bool = False,
) -> NBestSummary:
    """Write num_jobs and archives.JOB/{words, words_text, ali, acwt, lmwt.withlm}, one JOB per lat.JOB.gz.

    Args:
        source: a decode directory, or anything :func:`kaldi.read_lattices` reads, which makes one job.
        words: the lattices' words.txt.
        out_dir: directory to write into.
        config: how many hypotheses, at which acoustic scale.
        allow_pipes: run commands that ``source`` names.

    Raises:
        UsageError: ``out_dir`` is a decode directory, or has a file of ``source`` in it.
        RescoreError: ``out_dir`` cannot be written.
    """
    check_nbest_dir(source, out_dir)
    sources = kaldi.lattice_files(source) if Path(source).is_dir() else [source]
    failures = Failures()
    utterances = 0
    hypotheses = 0
    seen: set[str] = set()
    files = ReadFiles(sources, progress_bar("N-best lists", unit="utterances"))
    for job, part in files.each():

        def refuse(key: str, error: InputError, part: object = part) -> None:
            failures.add(key or str(part), error)

        lattices = kaldi.read_lattices(part, allow_pipes=allow_pipes, on_error=refuse)
        with atomic_directory(out_dir / f"archives.{job}") as folder, kaldi.NBestWriter(folder, words) as writer:
            for utt, lattice in files.bar.passing(lattices):
                if utt in seen:
                    failures.add(utt, f"{part}: a second lattice of this utterance; the first one was used")
                    continue
                seen.add(utt)
                try:
                    paths = n_best(lattice, config.n, 1.0 / config.inv_acwt)
                    nbest = NBest.of_paths(utt, paths, words.word)
                except RescoreError as error:
                    failures.add(utt, error)
                    continue
                if not paths:
                    failures.add_empty(utt)
                    continue
                writer.write(nbest, [_alignment(lattice, path) for path in paths])
                utterances += 1
                hypotheses += len(paths)
    kaldi.write_num_jobs(out_dir, len(sources))
    failures.write(out_dir)
    return NBestSummary(utterances, hypotheses, failures)


def check_nbest_dir(source: str | os.PathLike[str], out_dir: Path) -> None:
    """Check that an N-best directory can be written without harm to what is there.

    Raises:
        UsageError: it is a decode directory, or has an input in it.
        RescoreError: it cannot be written.
    """
    check_writable(out_dir / "num_jobs")
    check_outputs(
        [out_dir / "num_jobs", out_dir / FAILED_FILE],
        files_of(os.fspath(source)),
        replaced=[out_dir / "archives.1", *out_dir.glob("archives.*")],
    )
    for pattern in ("lat.*.gz", "job.*.json"):
        found = next(out_dir.glob(pattern), None)
        if found is not None:
            raise UsageError(
                f"{out_dir} holds {found.name}: it is a decode directory, and its num_jobs and archives would be "
                "replaced; name another directory"
            )


def _alignment(lattice: Lattice, path: LatticePath) -> list[int]:
    """The transition ids of a path, its final weight's included."""
    parts = [lattice.alignment[arc] for arc in path.arcs.tolist()]
    ids: list[int] = np.concatenate([*parts, lattice.final_alignment[path.final_state]]).tolist()
    return ids
