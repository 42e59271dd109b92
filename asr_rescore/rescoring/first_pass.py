"""What the recogniser left: lattices turned into N-best lists with the old LM's cost split off."""

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
from asr_rescore.nbest import GRAPH, NO_LM, OLD_LM, NBest
from asr_rescore.ngram import Grammar
from asr_rescore.rescoring.config import FirstPassConfig, Job


@dataclass(frozen=True)
class FirstPass:
    """A decode directory with the language model it was made with.

    Attributes:
        decode_dir: holds num_jobs and lat.JOB.gz.
        words: the word symbols of the lattices.
        utterances: those that are wanted; others in the decode directory are passed over.
        config: scales and the operating points.
    """

    decode_dir: Path
    words: kaldi.SymbolTable
    utterances: frozenset[str]
    config: FirstPassConfig

    def lattices(self, share: Job, failures: Failures, allow_pipes: bool = False) -> Iterator[tuple[str, Lattice]]:
        """The share's wanted utterances in order; what cannot be read is noted in ``failures``."""
        files = kaldi.lattice_files(self.decode_dir)
        for number, offset, step in share.parts(len(files)):
            file = files[number - 1]

            def refuse(key: str, error: InputError, file: Path = file) -> None:
                failures.add(key or str(file), error)

            entries = kaldi.read_lattices(file, allow_pipes=allow_pipes, on_error=refuse)
            for utt, lattice in itertools.islice(entries, offset, None, step):
                if utt in self.utterances:
                    yield utt, lattice

    def paths(self, lattice: Lattice, n: int) -> list[LatticePath]:
        """The ``n`` cheapest word sequences, then the winners of the first pass that are not among them.

        A list cut at ``n`` at one acoustic scale may lack the first pass's own best path at another. With it in the
        list, LM weights of 0 give at every LMWT and WIP just what scoring the whole lattice gives.
        """
        config = self.config
        paths = n_best(lattice, n, 1.0 / config.inv_acwt)
        if len(paths) < n:  # the list is the whole lattice
            return paths
        seen = {path.words for path in paths}
        scales = [point.acoustic_scale for point in config.points]
        for path in best_paths(lattice, scales, [point.wip for point in config.points]):
            if path is not None and path.words not in seen:
                seen.add(path.words)
                paths.append(path)
        return paths


def split_old_lm(nbest: NBest, paths: list[LatticePath], grammar: Grammar) -> NBest:
    """Add the old LM's cost of each hypothesis, and the graph cost without it.

    Raises:
        RescoreError: the grammar has no path for a hypothesis, so it is not the one the lattice was made with.
    """
    old = grammar.costs([path.words for path in paths])
    refused = np.flatnonzero(~np.isfinite(old))
    if refused.size:
        raise RescoreError(
            f"{nbest.utt}-{refused[0] + 1}: the old LM has no path for {' '.join(nbest.words[refused[0]])!r}; "
            "give the lang directory whose G.fst the decoding graph was built from"
        )
    return nbest.with_cost(OLD_LM, old).with_cost(NO_LM, nbest.costs[GRAPH] - old)
