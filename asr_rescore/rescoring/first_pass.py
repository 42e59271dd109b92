"""What the recogniser left: lattices, and the N-best lists they hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.errors import InputError
from asr_rescore.failures import Failures
from asr_rescore.lattice import Lattice, best_paths, n_best
from asr_rescore.lattice import Path as LatticePath
from asr_rescore.lm import SentenceScorer
from asr_rescore.nbest import GRAPH, NO_LM, OLD_LM, NBest
from asr_rescore.progress import Bar, progress_bar
from asr_rescore.rescoring.config import RescoringConfig
from asr_rescore.rescoring.job import Job


@dataclass(frozen=True)
class FirstPass:
    """A decode directory and the word symbols of its lattices.

    Attributes:
        decode_dir: holds num_jobs and lat.JOB.gz.
        words: words.txt of the decoding graph.
        utterances: the utterances that are wanted; others in the decode directory are skipped.
        config: scales and operating points.
    """

    decode_dir: Path
    words: kaldi.SymbolTable
    utterances: frozenset[str]
    config: RescoringConfig

    def lattices(self, jobs: Iterable[Job], failures: Failures) -> Iterator[tuple[str, Lattice]]:
        """The wanted utterances of some jobs, in order. What cannot be read is noted in ``failures``.

        If these jobs have several lattices of an utterance, the first one is used.
        """
        files = kaldi.lattice_files(self.decode_dir)
        seen: set[str] = set()
        for number, offset, step in (part for job in jobs for part in job.parts(len(files))):
            file = files[number - 1]

            def refuse(key: str, error: InputError, file: Path = file) -> None:
                failures.add(key or str(file), error)

            entries = kaldi.read_lattices(file, on_error=refuse)
            for utt, lattice in itertools.islice(entries, offset, None, step):
                if utt not in self.utterances:
                    continue
                if utt in seen:
                    failures.add(utt, f"{file}: a second lattice of this utterance; the first one was used")
                    continue
                seen.add(utt)
                yield utt, lattice

    def bar(self, name: str, jobs: Sequence[Job]) -> Bar:
        """The progress of something that is done with each utterance of some jobs."""
        return progress_bar(name, self.expected(jobs), "utterances")

    def expected(self, jobs: Iterable[Job]) -> int:
        """About how many of the wanted utterances some jobs have: their part of the bytes of all lattices."""
        sizes = [file.stat().st_size for file in kaldi.lattice_files(self.decode_dir)]
        own = sum(sizes[number - 1] / step for job in jobs for number, _, step in job.parts(len(sizes)))
        return max(1, round(len(self.utterances) * own / max(1, sum(sizes))))

    def paths(self, lattice: Lattice, n: int) -> list[LatticePath]:
        """The ``n`` cheapest word sequences, then the best paths of the first pass that are not among them.

        A list cut at ``n`` at one acoustic scale may lack the first pass's own best path at another scale. With it in
        the list, LM weights of 0 give at every LMWT and WIP exactly what scoring the whole lattice gives.
        """
        config = self.config
        paths = n_best(lattice, n, 1.0 / config.inv_acwt)
        if len(paths) < n:  # the list is the whole lattice
            return paths
        seen = {path.words for path in paths}
        scales = [point.acoustic_scale for point in config.points]
        penalties = [point.wip for point in config.points]
        for path in best_paths(lattice, scales, penalties):
            if path is not None and path.words not in seen:
                seen.add(path.words)
                paths.append(path)
        return paths


def split_old_lm(nbest: NBest, old_lm: SentenceScorer | None) -> tuple[NBest, np.ndarray]:
    """Add the old LM's cost of each hypothesis, and the graph cost without it.

    If the old LM is not known (None), the whole graph cost counts as its cost.

    Returns:
        The list, and which hypotheses the old LM has a path for, bool (hypotheses,). For the others, the old LM's cost
        is set to 0.
    """
    old = nbest.costs[GRAPH] if old_lm is None else old_lm.costs(nbest.words)
    known: np.ndarray = np.isfinite(old)
    old = np.where(known, old, 0.0)
    return nbest.with_cost(OLD_LM, old).with_cost(NO_LM, nbest.costs[GRAPH] - old), known
