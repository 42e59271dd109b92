"""A whole rescoring: jobs that can run anywhere, and a finish that gathers them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from asr_rescore import kaldi
from asr_rescore.errors import UsageError
from asr_rescore.failures import Failures
from asr_rescore.fingerprint import COST_VERSION, Fingerprint, file_stamp
from asr_rescore.models import choose_device
from asr_rescore.progress import Pace
from asr_rescore.report import ReportWarning, SystemReport, ranked
from asr_rescore.rescoring.config import LatticeConfig, ListConfig
from asr_rescore.rescoring.coverage import Coverage, refuse_other_data, rescored_before
from asr_rescore.rescoring.diagnosis import refuse_foreign_vocabulary
from asr_rescore.rescoring.engine import Engine
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job, JobMarker, remove_jobs_beyond
from asr_rescore.rescoring.lattice_engine import LatticeEngine
from asr_rescore.rescoring.list_engine import ListEngine
from asr_rescore.rescoring.out_dir import check_out_dir, finish_lock, job_lock
from asr_rescore.rescoring.outcome import note_missing, to_report, write_explanations, write_scores
from asr_rescore.rescoring.weights import WEIGHTS_FILE
from asr_rescore.scoring import ScoringConfig

logger = logging.getLogger(__name__)


class Rescoring:
    """One rescoring of a decode directory: jobs that can run anywhere, and a finish.

    A finished job is not run again, unless anything that its results depend on has changed since.

    Args:
        engine: searches N-best lists or lattices.

    Attributes:
        earlier: number of each job that was not run because it was finished before, and the seconds that it took then.
    """

    def __init__(self, engine: Engine):
        self.engine = engine
        self.earlier: dict[int, float] = {}
        self._warned: set[str] = set()

    @classmethod
    def open(
        cls,
        old_lang_dir: str | Path,
        lm_dirs: str | Path | Sequence[str | Path],
        data_dir: str | Path,
        decode_dir: str | Path,
        out_dir: str | Path,
        *,
        lm_weight: float | Sequence[float] | None = None,
        weights: str | Path | None = None,
        tune: bool = False,
        config: ListConfig | LatticeConfig | None = None,
        scoring: ScoringConfig | None = None,
        skip_scoring: bool = False,
        score_cache: str | Path | None = None,
        device: str = "auto",
        old_lm: str | Path | None = None,
        no_old_lm: bool = False,
    ) -> Rescoring:
        """Read and check the inputs of a rescoring; see :func:`rescore`."""
        config = ListConfig() if config is None else config
        _check_one_origin(config, lm_weight is not None, weights is not None, tune)
        if isinstance(lm_dirs, (str, Path)):
            lm_dirs = [lm_dirs]
        if isinstance(lm_weight, (int, float)):
            lm_weight = [lm_weight]
        if no_old_lm and old_lm is not None:
            raise UsageError("`old_lm` and `no_old_lm` are both given, expected one of them")
        if tune and skip_scoring:
            raise UsageError("`tune` counts errors, which `skip_scoring` leaves out; give `weights` or `lm_weight`")
        directories = [Path(directory) for directory in (old_lang_dir, data_dir, decode_dir)]
        check_out_dir(
            Path(out_dir),
            [Path(lm_dir) for lm_dir in lm_dirs],
            directories,
            None if weights is None else Path(weights),
            None if old_lm is None else Path(old_lm),
        )
        inputs = Inputs.read(
            config,
            Path(old_lang_dir),
            [Path(lm_dir) for lm_dir in lm_dirs],
            Path(data_dir),
            Path(decode_dir),
            Path(out_dir),
            choose_device(device),
            None if no_old_lm else kaldi.old_lm_file(old_lang_dir if old_lm is None else old_lm),
            ScoringConfig() if scoring is None else scoring,
            skip_scoring,
        )
        chosen = inputs.given_weights(lm_weight, None if weights is None else Path(weights))
        refuse_other_data(inputs)
        if not config.allow_oov:
            refuse_foreign_vocabulary(inputs)
        if isinstance(config, ListConfig):
            cache = None if score_cache is None else Path(score_cache)
            return cls(ListEngine(inputs, config, Path(out_dir), chosen, cache))
        assert chosen is not None  # because of _check_one_origin
        return cls(LatticeEngine(inputs, config, Path(out_dir), chosen))

    def run_job(self, job: Job) -> None:
        """The expensive half: the results of one job, unless they are there already."""
        marker = JobMarker(self.engine.out_dir, job.number)
        fingerprint = self._fingerprint(job)
        if marker.matches(fingerprint):
            logger.info("%s: job %d of %d was finished before", self.engine.out_dir, job.number, job.jobs)
            self.earlier[job.number] = marker.seconds()
            return
        pace = Pace()
        if job.number == 1:  # early, and in one process only, because all lattices are read for it
            self._warn(self._early_warnings)
        with job_lock(self.engine.out_dir, job.number):
            failures = Failures()
            results = self.engine.run_job(job, failures)
            marker.write(fingerprint, results, failures, pace.seconds)

    def finish(self, jobs: int, lattice_oracle: bool = True) -> SystemReport:
        """The cheap half, when all jobs are done: weights, lattices, word error rates, report.

        Args:
            jobs: how many jobs there are.
            lattice_oracle: also find the word sequences of the first pass's lattices with the fewest errors.

        Raises:
            InputError: a job is not finished, or was made from other inputs.
        """
        with finish_lock(self.engine.out_dir):
            return self._finish(jobs, lattice_oracle)

    def _finish(self, jobs: int, lattice_oracle: bool) -> SystemReport:
        engine = self.engine
        failures = Failures()
        for job in Job.all(jobs):
            marker = JobMarker(engine.out_dir, job.number)
            for what, reason in marker.failures(self._fingerprint(job)).items():
                failures.add(what, reason)
        remove_jobs_beyond(jobs, engine.out_dir)
        outcome = engine.gather(jobs, failures)
        outcome.weights.save(engine.out_dir / WEIGHTS_FILE)
        kaldi.copy_marks(engine.inputs.first_pass.decode_dir, engine.out_dir)
        note_missing(engine.inputs, outcome.transcripts.keys(), failures)
        write_scores(engine.inputs, outcome, engine.out_dir)
        outcome = replace(outcome, warnings=(*self._early_warnings, *outcome.warnings))
        report = to_report(engine, outcome, failures, jobs, lattice_oracle)
        write_explanations(outcome, report, engine.out_dir)
        report.save(engine.out_dir)
        self._warn(report.warnings)
        failures.write(engine.out_dir)
        return report

    def _warn(self, warnings: Iterable[ReportWarning]) -> None:
        """Log warnings, each once."""
        for warning in warnings:
            if warning.text not in self._warned:
                logger.warning("%s: warning: %s", self.engine.out_dir, warning.text)
                self._warned.add(warning.text)

    @cached_property
    def _early_warnings(self) -> tuple[ReportWarning, ...]:
        """What can be told before anything is costed."""
        inputs = self.engine.inputs
        return ranked((*rescored_before(inputs), *Coverage.of(inputs).warnings()))

    def _fingerprint(self, job: Job) -> Fingerprint:
        return Fingerprint({**self._facts_of_all_jobs, "job": asdict(job)})

    @cached_property
    def _facts_of_all_jobs(self) -> dict[str, Any]:
        inputs = self.engine.inputs
        decode_dir = inputs.first_pass.decode_dir
        lattices = kaldi.lattice_files(decode_dir)
        old_lang = [Path(inputs.first_pass.words.name)]  # words.txt
        if inputs.old_lm_file is not None:
            old_lang.append(inputs.old_lm_file)
        return {
            "costs": COST_VERSION,
            "engine": type(self.engine).__name__,
            "decode_dir": str(decode_dir.resolve()),
            "lattices": [file_stamp(file) for file in lattices],
            "old_lang": [file_stamp(file) for file in old_lang],
            "oov_word": inputs.oov_word,
            "lms": inputs.hashes,
            "config": asdict(self.engine.config),
            "utterances": Fingerprint({"ids": sorted(inputs.first_pass.utterances)}).digest,
            **self.engine.facts(),
        }


def _check_one_origin(config: ListConfig | LatticeConfig, numbers: bool, file: bool, tune: bool) -> None:
    """Refuse weights of no origin, or of several; nothing is tuned on a test set unless somebody asks for it."""
    if isinstance(config, LatticeConfig) and not (numbers or file):
        raise UsageError("lattices need known weights: give `weights` or `lm_weight`, tuned on N-best lists")
    given = [name for name, there in (("`lm_weight`", numbers), ("`weights`", file), ("`tune`", tune)) if there]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are given, expected one of them")
    if not given:
        raise UsageError(
            "nothing says how to weigh the language models: give `weights` of a dev set, or `lm_weight`, or `tune` to "
            "tune the weights on this data directory itself"
        )


def rescore(
    old_lang_dir: str | Path,
    lm_dirs: str | Path | Sequence[str | Path],
    data_dir: str | Path,
    decode_dir: str | Path,
    out_dir: str | Path,
    *,
    lm_weight: float | Sequence[float] | None = None,
    weights: str | Path | None = None,
    tune: bool = False,
    config: ListConfig | LatticeConfig | None = None,
    scoring: ScoringConfig | None = None,
    skip_scoring: bool = False,
    score_cache: str | Path | None = None,
    jobs: int = 1,
    device: str = "auto",
    lattice_oracle: bool = True,
    old_lm: str | Path | None = None,
    no_old_lm: bool = False,
) -> SystemReport:
    """Rescore a Kaldi decode directory, as the commands ``rescore_nbest`` and ``rescore_lattice`` do.

    Args:
        old_lang_dir: words.txt and G.fst, or G.carpa, of the first pass.
        lm_dirs: directories of trained language models, or one directory.
        data_dir: utt2spk and, for scoring, text.
        decode_dir: num_jobs and lat.JOB.gz.
        out_dir: becomes a decode directory.
        lm_weight: one weight for each language model, or a number if there is one model; the old LM keeps one minus
            their sum.
        weights: weights.yaml of an earlier rescoring, or its out-dir.
        tune: tune the weights on ``data_dir``, which needs references. The error rates of this data are then a little
            too good. Just one of ``lm_weight``, ``weights`` and ``tune`` must be given.
        config: a :class:`ListConfig` rescores N-best lists (the default), a :class:`LatticeConfig` lattices.
        scoring: how errors are counted: a :class:`ScoringConfig` names filters, and counts characters.
        skip_scoring: count no errors, as if ``data_dir`` had no text.
        score_cache: directory of sentence costs to look up and to add to; for N-best lists.
        jobs: into how many lat.JOB.gz the output is divided; the jobs run one after the other.
        device: ``auto``, ``cpu`` or ``cuda``.
        lattice_oracle: also find the lattices' oracle errors.
        old_lm: the language model in the lattices' graph costs, if it is not that of ``old_lang_dir``: a G.fst, a
            G.carpa or an ARPA file.
        no_old_lm: there is no such file. The weights are against the whole graph cost.

    Returns:
        Errors before and after, by utterance, and everything that could not be done (``failures``).

    Raises:
        UsageError: arguments that contradict each other.
        InputError: an input is missing or broken.
    """
    rescoring = Rescoring.open(
        old_lang_dir,
        lm_dirs,
        data_dir,
        decode_dir,
        out_dir,
        lm_weight=lm_weight,
        weights=weights,
        tune=tune,
        config=config,
        scoring=scoring,
        skip_scoring=skip_scoring,
        score_cache=score_cache,
        device=device,
        old_lm=old_lm,
        no_old_lm=no_old_lm,
    )
    for job in Job.all(jobs):
        rescoring.run_job(job)
    return rescoring.finish(jobs, lattice_oracle)
