"""The cheap half of rescoring: shares gathered, weights chosen, a Kaldi decode directory written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_rescore import kaldi
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lattice import Lattice, from_paths, oracle
from asr_rescore.nbest import NBest
from asr_rescore.report import LmFacts, SystemReport, write_scoring
from asr_rescore.rescore import Weights, best_hypothesis, graph_costs, neural_column
from asr_rescore.rescoring.failures import Failures
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.nbest_lists import to_nbest
from asr_rescore.rescoring.options import Share
from asr_rescore.rescoring.share import read_failures
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.wer import edit_distances, score, score_by_utterance

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

    def hypotheses(self, weights: Weights) -> dict[str, Sequence[str]]:
        """Utterance → words of its cheapest hypothesis."""
        return {utt: nbest.words[best_hypothesis(nbest, weights)] for utt, nbest in self.lists.items()}


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
        kaldi.write_lattices(out_dir / f"lat.{job}.gz", _rescored(first_pass, costed, lm_weights, Share(job, jobs)))
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


def nbest_oracle(costed: Costed, references: Texts) -> dict[str, Sequence[str]]:
    """Utterance → the hypothesis with the fewest errors."""
    return {
        utt: nbest.words[int(edit_distances(references[utt], nbest.words).argmin())]
        for utt, nbest in costed.lists.items()
        if utt in references
    }


def lattice_oracle(first_pass: FirstPass, costed: Costed, references: Texts) -> dict[str, Sequence[str]]:
    """Utterance → the word sequence of its lattice with the fewest errors (Kaldi: lattice-oracle)."""
    best = {}
    for utt, lattice in first_pass.lattices(Share(1, 1), Failures()):
        if utt in references and utt in costed.lists:
            found = oracle(lattice, [first_pass.words.get(word, -1) for word in references[utt]])
            if found is not None:
                best[utt] = [first_pass.words.word(index) for index in found[0].words]
    return best


def write_report(
    out_dir: Path,
    first_pass: FirstPass,
    costed: Costed,
    data: kaldi.DataDir,
    data_name: str,
    lms: Sequence[LmFacts],
    chosen: ChosenWeights,
    failures: Failures,
    with_lattice_oracle: bool,
) -> SystemReport:
    """Score everything there is a reference for, and write Kaldi's files and report.json."""
    references = {utt: words for utt, words in data.text.items() if utt in first_pass.utterances}
    points = first_pass.config.points
    points += tuple({chosen.weights.point, chosen.first_pass} - set(points))  # given ones may lie off the grid
    texts = {point: costed.hypotheses(Weights(chosen.weights.lm, point)) for point in points}
    write_scoring(out_dir, references, texts, data.utt2spk, chosen.weights.point)
    before = costed.hypotheses(Weights((0.0,) * len(lms), chosen.first_pass))
    report = SystemReport(
        system="+".join(lm.name for lm in lms),
        decoding=first_pass.decode_dir.name,
        data=data_name,
        lms=tuple(lms),
        lm_weights=chosen.weights.lm,
        point=chosen.weights.point,
        first_pass_point=chosen.first_pass,
        source=chosen.source,
        n=first_pass.config.n,
        rescored=score_by_utterance(references, texts[chosen.weights.point]),
        first_pass=score_by_utterance(references, before),
        nbest_oracle=score(references, nbest_oracle(costed, references)),
        lattice_oracle=score(references, lattice_oracle(first_pass, costed, references))
        if with_lattice_oracle
        else None,
        failures=failures.reasons,
    )
    report.save(out_dir)
    return report
