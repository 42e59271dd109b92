"""What the recogniser left: lattices, and the N-best lists they hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.failures import Failures
from asr_rescore.lattice import Lattice, best_paths, n_best
from asr_rescore.lattice import Path as LatticePath
from asr_rescore.lm import SentenceScorer
from asr_rescore.nbest import GRAPH, NO_LM, OLD_LM, NBest
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

    def lattices(self, job: Job, failures: Failures) -> Iterator[tuple[str, Lattice]]:
        """The job's wanted utterances, in order. What cannot be read is noted in ``failures``.

        An utterance that is in two lat.JOB.gz of the job counts once: the first one holds.
        """
        files = kaldi.lattice_files(self.decode_dir)
        seen: set[str] = set()
        for number, offset, step in job.parts(len(files)):
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


def split_old_lm(nbest: NBest, old_lm: SentenceScorer) -> NBest:
    """Add the old LM's cost of each hypothesis, and the graph cost without it.

    Raises:
        RescoreError: the old LM has no path for a hypothesis, so the lattice was made with another LM.
    """
    old = old_lm.costs(nbest.words)
    refused = np.flatnonzero(~np.isfinite(old))
    if refused.size:
        raise RescoreError(
            f"{nbest.utt}-{refused[0] + 1}: the old LM has no path for {' '.join(nbest.words[refused[0]])!r}; "
            "give the lang directory whose G.fst the decoding graph was built from"
        )
    return nbest.with_cost(OLD_LM, old).with_cost(NO_LM, nbest.costs[GRAPH] - old)
