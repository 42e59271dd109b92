"""What every rescoring starts from, read and checked before the expensive part begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_rescore import kaldi
from asr_rescore.checkpoint import LoadedModel, load_model
from asr_rescore.errors import UsageError
from asr_rescore.files import absolute, read_lines
from asr_rescore.lm import GrammarScorer, NeuralScorer, sentence_scorer
from asr_rescore.ngram import WordLm
from asr_rescore.report import LmFacts
from asr_rescore.rescoring.config import RescoringConfig
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.scoring import InCharacters, Scoring, ScoringConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Inputs:
    """A decode directory, the old LM it was made with, the new LMs, and what was said.

    Attributes:
        data_dir: where ``data`` was read from.
        data: its utt2spk lists the wanted utterances; its text, if there is one, has the references.
        first_pass: the lattices.
        old_lm_file: the old LM; None if it is not known.
        oov_word: the recogniser's word for everything outside its vocabulary, from oov.txt; None if there is no such
            file.
        lm_dirs, lms: the new LMs, each with a weight of its own.
        device: where the new LMs are.
        scoring: how errors are counted.
    """

    data_dir: Path
    data: kaldi.DataDir
    first_pass: FirstPass
    old_lm_file: Path | None
    oov_word: str | None
    lm_dirs: tuple[Path, ...]
    lms: tuple[LoadedModel, ...]
    device: torch.device
    scoring: Scoring = Scoring()

    @classmethod
    def read(
        cls,
        config: RescoringConfig,
        old_lang_dir: Path,
        lm_dirs: Sequence[Path],
        data_dir: Path,
        decode_dir: Path,
        out_dir: Path,
        device: torch.device,
        old_lm_file: Path | None,
        scoring: ScoringConfig,
        skip_scoring: bool = False,
    ) -> Inputs:
        """Read everything that is small, and the models onto ``device``; no references with ``skip_scoring``.

        Raises:
            UsageError: ``out_dir`` is ``decode_dir``.
            InputError: something is missing or broken.
        """
        if out_dir.resolve() == decode_dir.resolve():
            raise UsageError(f"{out_dir} is both input and output; its lattices would be overwritten")
        counting = Scoring.open(scoring)
        data = kaldi.read_data_dir(data_dir, with_text=not skip_scoring)
        if data.text is None:  # nothing will be counted, thus nothing filtered
            counting = Scoring()
        words = kaldi.read_words(old_lang_dir / "words.txt")
        first_pass = FirstPass(decode_dir, words, frozenset(data.utterances), config)
        lms = tuple(load_model(path, device) for path in lm_dirs)
        oov_word = _read_oov_word(old_lang_dir)
        return cls(data_dir, data, first_pass, old_lm_file, oov_word, tuple(lm_dirs), lms, device, counting)

    @property
    def system(self) -> str:
        """The names of the new LMs."""
        return "+".join(lm.name for lm in self.lms)

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes of the new LMs."""
        return tuple(lm.hash for lm in self.lms)

    @property
    def lm_facts(self) -> tuple[LmFacts, ...]:
        """The new LMs as a report names them."""
        return tuple(
            LmFacts(lm.name, lm.hash, lm.model.num_parameters, lm.provenance.get("valid_ppl"), absolute(path))
            for lm, path in zip(self.lms, self.lm_dirs, strict=True)
        )

    @property
    def no_old_lm(self) -> bool:
        """Whether the old LM is not known, so that the new LMs are weighed against whole graph costs."""
        return self.old_lm_file is None

    @property
    def references(self) -> Mapping[str, Sequence[str]]:
        """What was said in the wanted utterances; empty if the data directory has no text."""
        return self.data.text or {}

    @cached_property
    def compared_references(self) -> Mapping[str, Sequence[str]]:
        """The references as they are compared with hypotheses, for example filtered."""
        return self.scoring.references(self.references)

    @property
    def references_for_tuning(self) -> Mapping[str, Sequence[str]]:
        """The references in the unit whose errors are tuned for: characters if they count."""
        return InCharacters(self.compared_references) if self.scoring.cer else self.compared_references

    def scorer(self, lm: LoadedModel) -> NeuralScorer:
        """A scorer of sentences by one of the new LMs.

        Raises:
            UsageError: the config's normaliser does not suit this model or this device.
        """
        return sentence_scorer(lm, self.device, self.first_pass.config.normaliser, self.oov_word)

    def old_lm(self) -> WordLm[Any] | None:
        """The old LM, read from its file each time; None if it is not known."""
        if self.old_lm_file is None:
            return None
        first_pass = self.first_pass
        return kaldi.read_old_lm(self.old_lm_file, first_pass.words, use_phi=first_pass.config.use_phi)

    def old_lm_scorer(self) -> GrammarScorer | None:
        """The old LM as a scorer of words; None if it is not known."""
        old_lm = self.old_lm()
        return None if old_lm is None else GrammarScorer(old_lm, self.first_pass.words)

    def given_weights(self, lm_weight: Sequence[float] | None, weights_file: Path | None) -> ChosenWeights | None:
        """Weights given as numbers or in a file; None if neither is given."""
        if lm_weight is not None:
            return ChosenWeights.given(lm_weight, self.hashes, self.first_pass.config.inv_acwt, self.no_old_lm)
        if weights_file is None:
            return None
        chosen = ChosenWeights.load(weights_file, self.hashes)
        chosen.check_old_lm(weights_file, self.no_old_lm)
        return chosen


def _read_oov_word(lang_dir: Path) -> str | None:
    """The word in a lang directory's oov.txt; None if there is no such file, or nothing in it."""
    path = lang_dir / "oov.txt"
    if not path.exists():
        return None
    words = [word for _, line in read_lines(path) for word in line.split()]
    return words[0] if words else None
