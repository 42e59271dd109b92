"""The cheap half of rescoring: shares gathered, weights chosen, a Kaldi decode directory written."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from asr_rescore import kaldi
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.failures import Failures
from asr_rescore.lattice import Lattice, from_paths, oracle
from asr_rescore.nbest import NBest
from asr_rescore.ranking import OperatingPoint, Weights, best_hypothesis, graph_costs, neural_column
from asr_rescore.report import SystemReport, write_scoring
from asr_rescore.rescoring.config import FirstPassConfig, Job
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.share import SHARE_FILE, read_failures
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.word_errors import edit_distances, score, score_by_utterance

OF_A_JOB = ("lat.{}.gz", "archives.{}", "rescored.{}.json")
Texts = Mapping[str, Sequence[str]]


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
            for what, reason in read_failures(out_dir / f"archives.{job}" / SHARE_FILE).items():
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

    def hypotheses(self, weights: Weights) -> dict[str, Sequence[str]]:
        """Utterance → words of its cheapest hypothesis."""
        return {utt: nbest.words[best_hypothesis(nbest, weights)] for utt, nbest in self.lists.items()}


def note_missing(
    wanted: frozenset[str], done: Set[str], references: Mapping[str, Sequence[str]] | None, failures: Failures
) -> None:
    """Note utterances that no lattice was found for, and those that cannot be scored for want of a reference."""
    for utt in sorted(wanted - done):
        failures.add(utt, "no lattice in the decode directory; it counts as deletions where it has a reference")
    if references is not None:
        for utt in sorted(wanted - references.keys()):
            failures.add(utt, "no reference in the data directory's text; rescored, but not scored")


def write_lattices(
    first_pass: FirstPass, costed: Costed, n: int, lm_weights: tuple[float, ...], out_dir: Path, jobs: int
) -> None:
    """Write lat.JOB.gz: each utterance's hypotheses as a prefix tree with their words' times and acoustic costs.

    The old LM's part of the graph cost is replaced on the final weights, so a path's total is exactly its list's.
    """
    remove_jobs_beyond(jobs, out_dir)
    for job in range(1, jobs + 1):
        rescored = _rescored(first_pass, costed, n, lm_weights, Job(job, jobs))
        kaldi.write_lattices(out_dir / f"lat.{job}.gz", rescored)
    kaldi.write_num_jobs(out_dir, jobs)


def remove_jobs_beyond(jobs: int, out_dir: Path) -> None:
    """Remove what an earlier run into ``out_dir`` left that had more jobs; others would read it as this run's."""
    for job in itertools.count(jobs + 1):
        found = [path for name in OF_A_JOB if (path := out_dir / name.format(job)).exists()]
        if not found:
            return
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _rescored(
    first_pass: FirstPass, costed: Costed, n: int, lm_weights: tuple[float, ...], share: Job
) -> Iterator[tuple[str, Lattice]]:
    for utt, lattice in first_pass.lattices(share, Failures()):  # the share has noted what fails
        nbest = costed.lists.get(utt)
        if nbest is None:
            continue
        paths = first_pass.paths(lattice, n)
        if NBest.of_paths(utt, paths, first_pass.words.word).words != nbest.words:
            raise UsageError(
                f"{utt}: its lattice no longer gives the hypotheses of archives.{share.job}; "
                "remove the out-dir and run again"
            )
        yield utt, from_paths(lattice, paths, graph_costs(nbest, lm_weights))


def nbest_oracle(costed: Costed, references: Texts) -> dict[str, Sequence[str]]:
    """Utterance → the hypothesis with the fewest errors."""
    return {
        utt: nbest.words[int(edit_distances(references[utt], nbest.words).argmin())]
        for utt, nbest in costed.lists.items()
        if utt in references
    }


def lattice_oracle(first_pass: FirstPass, utterances: Container[str], references: Texts) -> dict[str, Sequence[str]]:
    """Utterance → the word sequence of its lattice with the fewest errors (Kaldi: lattice-oracle)."""
    best = {}
    for utt, lattice in first_pass.lattices(Job(1, 1), Failures()):
        if utt in references and utt in utterances:
            found = oracle(lattice, [first_pass.words.get(word, -1) for word in references[utt]])
            if found is not None:
                best[utt] = [first_pass.words.word(index) for index in found[0].words]
    return best


@dataclass(frozen=True)
class Hypotheses:
    """What is scored: utterance → words, each time.

    Attributes:
        rescored: at every operating point.
        first_pass: at its own.
        nbest_oracle, lattice_oracle: None where they were not asked for.
    """

    rescored: Mapping[OperatingPoint, Texts]
    first_pass: Texts
    nbest_oracle: Texts | None
    lattice_oracle: Texts | None


def points_to_score(config: FirstPassConfig, chosen: ChosenWeights) -> tuple[OperatingPoint, ...]:
    """Those of the grid, and the ones that count, which may lie off it."""
    return config.points + tuple({chosen.weights.point, chosen.first_pass} - set(config.points))


def write_report(
    inputs: Inputs,
    system: str,
    search: str,
    hypotheses: Hypotheses,
    chosen: ChosenWeights,
    failures: Failures,
    out_dir: Path,
) -> None:
    """Score everything there is a reference for, write Kaldi's files and report.json, and print the rates.

    Args:
        inputs: of the rescoring; its data directory must have a text.
        system: how tables name it.
        search: how hypotheses were looked for.
        hypotheses: what to score.
        chosen: the weights that count.
        failures: so far.
        out_dir: where to.
    """
    references, point = inputs.references, chosen.weights.point
    write_scoring(out_dir, references, hypotheses.rescored, inputs.data.utt2spk, point)
    lms = inputs.lm_facts
    report = SystemReport(
        system=system,
        decoding=inputs.first_pass.decode_dir.name,
        data=inputs.data_dir.name,
        lms=lms,
        lm_weights=chosen.weights.lm,
        point=point,
        first_pass_point=chosen.first_pass,
        source=chosen.source,
        search=search,
        rescored=score_by_utterance(references, hypotheses.rescored[point]),
        first_pass=score_by_utterance(references, hypotheses.first_pass),
        nbest_oracle=None if hypotheses.nbest_oracle is None else score(references, hypotheses.nbest_oracle),
        lattice_oracle=None if hypotheses.lattice_oracle is None else score(references, hypotheses.lattice_oracle),
        failures=failures.reasons,
    )
    report.save(out_dir)
    print(f"first pass:     {report.first_pass_total.wer_line()}")
    print(f"rescored:       {report.total.wer_line()}")
    if report.nbest_oracle is not None:
        print(f"N-best oracle:  {report.nbest_oracle.wer_line()}")
    if report.lattice_oracle is not None:
        print(f"lattice oracle: {report.lattice_oracle.wer_line()}")
    print(f"weights:        {report.signature}")
