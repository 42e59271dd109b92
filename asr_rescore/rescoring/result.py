"""The cheap half of rescoring: shares gathered, weights chosen, a Kaldi decode directory written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_rescore import kaldi
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lattice import Lattice, from_paths, oracle
from asr_rescore.nbest import NBest
from asr_rescore.rescore import OperatingPoint, Weights, best_hypothesis, graph_costs, neural_column
from asr_rescore.rescoring.failures import Failures
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.nbest_lists import to_nbest
from asr_rescore.rescoring.options import Share
from asr_rescore.rescoring.share import read_failures
from asr_rescore.wer import edit_distances


@dataclass(frozen=True)
class Costed:
    """The N-best lists of all shares, each with every model's costs.

    Attributes:
        lists: utterance → list, in the order of the shares.
        job_of: utterance → the share it belongs to.
    """

    lists: Mapping[str, NBest]
    job_of: Mapping[str, int]

    @classmethod
    def read(cls, out_dir: Path, jobs: int, models: int, failures: Failures) -> Costed:
        """Read archives.1 … archives.``jobs``, and what their jobs could not do into ``failures``."""
        lists: dict[str, NBest] = {}
        job_of: dict[str, int] = {}
        for job in range(1, jobs + 1):
            for what, reason in read_failures(out_dir, job).items():
                failures.add(what, reason)
            for nbest in kaldi.read_nbest_dir(out_dir, job):
                for index in range(models):
                    if neural_column(index) not in nbest.costs:
                        raise RescoreError(
                            f"{out_dir}/archives.{job}: no file {neural_column(index)}, expected one for each language "
                            "model; remove the directory and run again"
                        )
                lists[nbest.utt] = nbest
                job_of[nbest.utt] = job
        return cls(lists, job_of)

    def hypotheses(self, weights: Weights) -> dict[str, list[str]]:
        """Utterance → words of its cheapest hypothesis."""
        return {utt: list(nbest.words[best_hypothesis(nbest, weights)]) for utt, nbest in self.lists.items()}

    def by_point(
        self, lm_weights: tuple[float, ...], points: Sequence[OperatingPoint]
    ) -> dict[OperatingPoint, dict[str, list[str]]]:
        """:meth:`hypotheses` at each LMWT and WIP."""
        return {point: self.hypotheses(Weights(lm_weights, point)) for point in points}


def note_missing(
    wanted: frozenset[str], costed: Costed, references: Mapping[str, Sequence[str]] | None, failures: Failures
) -> None:
    """Note utterances that no lattice was found for, and those that cannot be scored for want of a reference."""
    for utt in sorted(wanted - costed.lists.keys()):
        failures.add(utt, "no lattice in the decode directory; it counts as deletions where it has a reference")
    if references is not None:
        for utt in sorted(wanted - references.keys()):
            failures.add(utt, "no reference in the data directory's text; rescored, but not scored")


def write_lattices(
    first_pass: FirstPass, costed: Costed, lm_weights: tuple[float, ...], out_dir: Path, jobs: int
) -> None:
    """Write lat.JOB.gz: each utterance's hypotheses as a prefix tree with their words' times and acoustic costs.

    The old LM's part of the graph cost is replaced on the final weights, so a path's total is exactly its list's.
    """
    for job in range(1, jobs + 1):
        kaldi.write_lattices(
            out_dir / f"lat.{job}.gz", _rescored(first_pass, costed, lm_weights, Share(job, jobs))
        )
    kaldi.write_num_jobs(out_dir, jobs)


def _rescored(
    first_pass: FirstPass, costed: Costed, lm_weights: tuple[float, ...], share: Share
) -> Iterator[tuple[str, Lattice]]:
    for utt, lattice in first_pass.lattices(share, Failures()):  # the share has noted what fails
        nbest = costed.lists.get(utt)
        if nbest is None:
            continue
        paths = first_pass.paths(lattice)
        if to_nbest(utt, paths, first_pass.words).words != nbest.words:
            raise UsageError(
                f"{utt}: its lattice no longer gives the hypotheses of archives.{share.job}; "
                "remove the out-dir and run again"
            )
        yield utt, from_paths(lattice, paths, graph_costs(nbest, lm_weights))


def nbest_oracle(costed: Costed, references: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Utterance → the hypothesis with the fewest errors."""
    best = {}
    for utt, nbest in costed.lists.items():
        if utt in references:
            distances = edit_distances(references[utt], nbest.words)
            best[utt] = list(nbest.words[int(distances.argmin())])
    return best


def lattice_oracle(
    first_pass: FirstPass, references: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Utterance → the word sequence of its lattice with the fewest errors (Kaldi's lattice-oracle)."""
    best = {}
    for utt, lattice in first_pass.lattices(Share(1, 1), Failures()):
        if utt in references:
            path, _ = oracle(lattice, [first_pass.words.get(word, -1) for word in references[utt]])
            if path is not None:
                best[utt] = [first_pass.words.word(index) for index in path.words]
    return best
