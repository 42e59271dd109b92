"""Kaldi's lattice-to-nbest and nbest-to-linear in one: lattices in, an N-best directory out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.failures import Failures
from asr_rescore.files import atomic_directory
from asr_rescore.lattice import Lattice, n_best
from asr_rescore.lattice import Path as LatticePath
from asr_rescore.nbest import NBest


def alignment(lattice: Lattice, path: LatticePath) -> list[int]:
    """The transition ids of a path, its final weight's included."""
    parts = [lattice.alignment[arc] for arc in path.arcs.tolist()]
    return np.concatenate([*parts, lattice.final_alignment[path.final_state]]).tolist()


def write_nbest_dir(
    source: str | os.PathLike[str],
    words: kaldi.SymbolTable,
    out_dir: Path,
    *,
    n: int,
    acoustic_scale: float,
    allow_pipes: bool = False,
) -> tuple[int, int, Failures]:
    """Write num_jobs and archives.JOB/{words, words_text, ali, acwt, lmwt.withlm}: one JOB for each lat.JOB.gz.

    Args:
        source: a decode directory, or anything :func:`kaldi.read_lattices` reads, which makes one job.
        words: the lattices' words.txt.
        out_dir: gets the directories.
        n: hypotheses of an utterance at most, of distinct words.
        acoustic_scale: with which they are chosen; the costs written are unscaled.
        allow_pipes: run commands that ``source`` names.

    Returns:
        Utterances and hypotheses written, and what could not be done.
    """
    sources = kaldi.lattice_files(source) if Path(source).is_dir() else [source]
    failures, utterances, hypotheses = Failures(), 0, 0
    for job, part in enumerate(sources, 1):

        def refuse(key: str, error: InputError, part: object = part) -> None:
            failures.add(key or str(part), error)

        lattices = kaldi.read_lattices(part, allow_pipes=allow_pipes, on_error=refuse)
        with atomic_directory(out_dir / f"archives.{job}") as folder, kaldi.NBestWriter(folder, words) as writer:
            for utt, lattice in tqdm(lattices, unit="utt", desc=f"job {job}", disable=None):
                try:
                    paths = n_best(lattice, n, acoustic_scale)
                    nbest = NBest.of_paths(utt, paths, words.word)
                except RescoreError as error:
                    failures.add(utt, error)
                    continue
                if not paths:
                    failures.add_empty(utt)
                    continue
                writer.write(nbest, [alignment(lattice, path) for path in paths])
                utterances, hypotheses = utterances + 1, hypotheses + len(paths)
    kaldi.write_num_jobs(out_dir, len(sources))
    failures.write(out_dir)
    return utterances, hypotheses, failures
