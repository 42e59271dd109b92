"""What every rescoring starts from, read and checked before the dear part begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr_rescore import kaldi
from asr_rescore.checkpoint import LoadedModel, load_model
from asr_rescore.errors import InputError, UsageError
from asr_rescore.lm.scoring import NeuralScorer
from asr_rescore.ngram import Grammar
from asr_rescore.report import LmFacts
from asr_rescore.rescoring.config import FirstPassConfig
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.weights import ChosenWeights

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Inputs:
    """A decode directory, the old LM it was made with, the new LMs, and what was said.

    Attributes:
        data_dir: where ``data`` is from.
        data: its utt2spk says which utterances are wanted; its text, where there is one, is what was said.
        first_pass: the lattices.
        grammar_file: the old LM.
        lms: the new ones, each of which gets a weight of its own.
        device: where they are.
    """

    data_dir: Path
    data: kaldi.DataDir
    first_pass: FirstPass
    grammar_file: Path
    lms: tuple[LoadedModel, ...]
    device: torch.device

    @classmethod
    def read(
        cls,
        config: FirstPassConfig,
        old_lang_dir: Path,
        lm_dirs: Sequence[Path],
        data_dir: Path,
        decode_dir: Path,
        out_dir: Path,
        device: torch.device,
    ) -> Inputs:
        """Read all that is small, and the models onto ``device``.

        Raises:
            UsageError: ``out_dir`` is ``decode_dir``.
            InputError: something is missing or broken.
        """
        if out_dir.resolve() == decode_dir.resolve():
            raise UsageError(f"{out_dir} is the decode-dir too; its lattices would be overwritten")
        data = kaldi.read_data_dir(data_dir)
        words = kaldi.read_words(old_lang_dir / "words.txt")
        first_pass = FirstPass(decode_dir, words, frozenset(data.utterances), config)
        grammar_file = kaldi.grammar_file(old_lang_dir)
        lms = tuple(load_model(path, device) for path in lm_dirs)
        return cls(data_dir, data, first_pass, grammar_file, lms, device)

    @property
    def system(self) -> str:
        """The models' names."""
        return "+".join(lm.name for lm in self.lms)

    @property
    def hashes(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(lm.hash for lm in self.lms)

    @property
    def lm_facts(self) -> tuple[LmFacts, ...]:
        """The models as a report names them."""
        return tuple(
            LmFacts(lm.name, lm.hash, lm.model.num_parameters, lm.provenance.get("valid_ppl")) for lm in self.lms
        )

    @property
    def references(self) -> dict[str, Sequence[str]]:
        """What was said, of the utterances that are wanted."""
        return {utt: words for utt, words in self.data.text.items() if utt in self.first_pass.utterances}

    def scorer(self, lm: LoadedModel) -> NeuralScorer:
        """What costs sentences by one of the models.

        Raises:
            UsageError: the normaliser that is wanted is not for this model, or not for this device.
        """
        normaliser = self.first_pass.config.normaliser
        trained = lm.provenance.get("config", {}).get("train", {})
        if normaliser == "none" and not trained.get("self_normalization"):
            raise UsageError(
                f"--normaliser none: {lm.name} was not trained with train.self_normalization, and without them it "
                "has no probabilities; use float32"
            )
        return NeuralScorer(lm.model, lm.vocabulary, self.device, normaliser)

    def grammar(self) -> Grammar:
        """The old LM, read anew."""
        backoff, failure = self.first_pass.words.get("#0"), self.first_pass.config.use_phi
        return Grammar(kaldi.read_grammar(self.grammar_file), backoff_label=backoff, failure=failure)

    def given_weights(self, lm_weights: Sequence[float] | None, weights_file: Path | None) -> ChosenWeights | None:
        """Weights from the command line or from a file; None where there are neither."""
        if lm_weights is not None:
            return ChosenWeights.given(lm_weights, self.hashes, self.first_pass.config.inv_acwt)
        return None if weights_file is None else ChosenWeights.load(weights_file, self.hashes)

    def check_references(self) -> None:
        """See that there is something to tune on.

        Raises:
            InputError: the data directory has no text.
        """
        if self.data.text is None:
            raise InputError(
                self.data_dir / "text", found="no such file", expected="references to tune on", remedy="give --weights"
            )
