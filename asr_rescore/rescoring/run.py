"""A whole rescoring: its inputs checked, its shares costed, its result written."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr_rescore import kaldi
from asr_rescore.checkpoint import LoadedModel, load_model
from asr_rescore.errors import InputError, UsageError
from asr_rescore.ngram import Grammar
from asr_rescore.report import LmFacts
from asr_rescore.rescoring.failures import Failures
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.options import RescoringConfig, Share
from asr_rescore.rescoring.result import Costed, note_missing, write_lattices, write_report
from asr_rescore.rescoring.share import Signature, cost_share, is_done
from asr_rescore.rescoring.weights import WEIGHTS_FILE, ChosenWeights
from asr_rescore.score_cache import CachedScorer
from asr_rescore.scoring import SentenceScorer
from asr_rescore.tune import tune

if TYPE_CHECKING:
    import torch


class Rescoring:
    """A decode directory, the old LM it was made with, the new LMs, and where the result goes.

    Args:
        config: N, scales and operating points.
        old_lang_dir: words.txt and G.fst of the first pass.
        lm_dirs: model directories, each of which gets a weight of its own.
        data_dir: its utt2spk says which utterances are wanted; its text, where there is one, is what was said.
        decode_dir: num_jobs and lat.JOB.gz.
        out_dir: becomes a decode directory.
        device: where the models run.
        score_cache: directory of costs that were computed before, by this run or another.
    """

    def __init__(
        self,
        config: RescoringConfig,
        old_lang_dir: Path,
        lm_dirs: Sequence[Path],
        data_dir: Path,
        decode_dir: Path,
        out_dir: Path,
        device: torch.device,
        score_cache: Path | None = None,
    ):
        if out_dir.resolve() == decode_dir.resolve():
            raise UsageError(f"{out_dir} is the decode-dir too; its lattices would be overwritten")
        self.config, self.data_dir, self.out_dir, self.device = config, data_dir, out_dir, device
        self.score_cache = score_cache
        self.data = kaldi.read_data_dir(data_dir)
        words = kaldi.read_words(old_lang_dir / "words.txt")
        self.first_pass = FirstPass(decode_dir, words, frozenset(self.data.utterances), config)
        self.grammar_file = kaldi.grammar_file(old_lang_dir)
        self.lms: list[LoadedModel] = [load_model(path, device) for path in lm_dirs]
        self.hashes = tuple(lm.hash for lm in self.lms)

    def cost(self, share: Share) -> None:
        """The dear part: N-best lists of one share and every model's costs, unless they are there already."""
        signature = Signature.of(self.first_pass, self.grammar_file, self.hashes, share)
        if is_done(self.out_dir, signature):
            return
        backoff = self.first_pass.words.get("#0")
        grammar = Grammar(kaldi.read_grammar(self.grammar_file), backoff_label=backoff, failure=self.config.use_phi)
        scorers = [self._scorer(lm) for lm in self.lms]
        cost_share(self.first_pass, grammar, scorers, share, self.out_dir, signature)

    def _scorer(self, lm: LoadedModel) -> SentenceScorer | CachedScorer:
        normaliser = self.config.normaliser
        scorer = SentenceScorer(lm.model, lm.vocabulary, self.device, normaliser)
        return CachedScorer(scorer, self.score_cache, f"{lm.hash}-{normaliser}") if self.score_cache else scorer

    def finish(
        self,
        jobs: int,
        *,
        lm_weights: Sequence[float] | None = None,
        weights_file: Path | None = None,
        lattice_oracle: bool = True,
    ) -> Failures:
        """The cheap part, once all shares are there: weights, lattices, word error rates, report.

        Args:
            jobs: how many shares there are.
            lm_weights: one for each model, given; or
            weights_file: weights tuned earlier; with neither, they are tuned on this data directory.
            lattice_oracle: also find the lattices' best word sequences.

        Returns:
            What could not be done, which is in failed.txt too.
        """
        began = time.monotonic()
        failures = Failures()
        costed = Costed.read(self.out_dir, jobs, len(self.lms), failures)
        note_missing(self.first_pass.utterances, costed, self.data.text, failures)
        chosen = self._choose(costed, lm_weights, weights_file)
        chosen.save(self.out_dir / WEIGHTS_FILE)
        write_lattices(self.first_pass, costed, chosen.weights.lm, self.out_dir, jobs)
        if self.data.text is not None:
            self._report(costed, chosen, failures, lattice_oracle)
        failures.write(self.out_dir)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{self.out_dir}: done in {time.monotonic() - began:.1f} s, peak memory {peak:.2f} GiB")
        return failures

    def _report(self, costed: Costed, chosen: ChosenWeights, failures: Failures, lattice_oracle: bool) -> None:
        facts = [LmFacts(lm.name, lm.hash, lm.model.num_parameters, lm.provenance.get("valid_ppl")) for lm in self.lms]
        report = write_report(
            self.out_dir,
            self.first_pass,
            costed,
            self.data,
            self.data_dir.name,
            facts,
            chosen,
            failures,
            lattice_oracle,
        )
        print(f"first pass:     {report.first_pass_total.wer_line()}")
        print(f"rescored:       {report.total.wer_line()}")
        print(f"N-best oracle:  {report.nbest_oracle.wer_line()}")
        if report.lattice_oracle is not None:
            print(f"lattice oracle: {report.lattice_oracle.wer_line()}")
        print(f"weights:        {report.signature}")

    def _choose(self, costed: Costed, lm_weights: Sequence[float] | None, weights_file: Path | None) -> ChosenWeights:
        if lm_weights is not None:
            return ChosenWeights.given(lm_weights, self.hashes, self.config.inv_acwt)
        if weights_file is not None:
            return ChosenWeights.load(weights_file, self.hashes)
        if self.data.text is None:
            raise InputError(
                self.data_dir / "text", found="no such file", expected="references to tune on", remedy="give --weights"
            )
        tuning = tune(costed.lists.values(), self.data.text, len(self.lms), self.config.points)
        return ChosenWeights.tuned(tuning, self.hashes, self.data_dir)
