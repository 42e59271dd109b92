"""Signs that a rescoring's result is wrong although nothing fails: each becomes a warning in the report."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np

from asr_rescore import kaldi
from asr_rescore.checkpoint import LoadedModel
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.lattice import EPSILON, Lattice
from asr_rescore.lm import SentenceScorer, perplexity
from asr_rescore.nbest import OLD_LM, NBest
from asr_rescore.ranking import neural_column
from asr_rescore.report import LmFit, OovCount, ReportWarning
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.spelling import WARN_WER, Respelling, misspelling, reference_hint, spelling_hint
from asr_rescore.vocab import OOV_PROBABILITY
from asr_rescore.word_errors import ErrorCount

# compute_ppl's users are used to OOV rates of 1 or 2 %. Beyond 5 % the OOV words decide many rankings.
WARN_OOV_RATE = 5.0  # percent of tokens
# An LM in another language or spelling shares hardly more than names and loan words with the lattices.
MOST_OOV = 0.95  # of the distinct words
SAMPLE_WORDS = 200  # distinct words that are enough to tell
# A graph cost without the old LM is −ln of probabilities, thus 0 or more but for the rounding of float32 costs.
ROUNDING = 0.1
WARN_NEGATIVE = 0.01  # of the hypotheses
# A new LM that is useful has about the perplexity of the old one, or a lower one; with ten times as much it is useless.
WARN_NATS = math.log(10.0)  # per token
# Where the new LMs have not costed the first pass's best hypotheses anyway: enough to tell, and costed in a second.
SAMPLE_TOKENS = 5000
EXAMPLES = 5
OOV_COST = -math.log(OOV_PROBABILITY)  # nats of an OOV word beyond those of the class of rare words
IsOov: TypeAlias = Callable[[str], bool]


def refuse_foreign_vocabulary(inputs: Inputs) -> None:
    """Look at the words of the first lattices before the expensive part begins.

    Raises:
        InputError: a language model knows almost none of these words.
    """
    words = _sample(inputs)
    for lm, is_oov in zip(inputs.lms, oov_tests(inputs), strict=True):
        unknown = _Unknown.of(words, lm, is_oov)
        if words and len(unknown.words) > MOST_OOV * len(words):
            raise InputError(
                f"language model {lm.name}",
                found=f"no entry{unknown.but} for {len(unknown.words)} of {len(words)} distinct words of the first "
                f"lattices, for example {_examples(unknown.words)}",
                expected="a vocabulary that fits the recogniser's words.txt",
                remedy=(unknown.hint or "train a language model on text in the recogniser's words")
                + "; `allow_oov` rescores nevertheless",
            )


@dataclass(frozen=True)
class _Unknown:
    """The recogniser's words that a language model has learnt nothing of.

    Words of its class are known, unless the model lists them in another spelling: then they are in the class only
    because the lexicon is, and the text of the model has none of them.

    Attributes:
        words: in the order in which they were given.
        hint: how to let the model know them, if they are known in another spelling; else empty.
        but: where the model has them nevertheless; else empty.
    """

    words: tuple[str, ...]
    hint: str
    but: str = ""

    @classmethod
    def of(cls, words: Sequence[str], lm: LoadedModel, is_oov: IsOov) -> _Unknown:
        is_listed = lm.vocabulary.is_listed
        oov = tuple(word for word in words if is_oov(word))
        unlisted = tuple(word for word in words if not is_listed(word))
        found = Respelling.of(unlisted, is_listed) if misspelling(words, is_listed) else None
        if found is None or len(oov) == len(unlisted):
            return cls(oov, spelling_hint(oov, is_oov))
        return cls(unlisted, found.hint(), f" but in its class {lm.vocabulary.unk}")


def _sample(inputs: Inputs) -> list[str]:
    """Distinct words of the first lattices in the decode directory, sorted; unreadable lattices are skipped."""
    symbols = inputs.first_pass.words
    names = {index: word for word, index in symbols.ids.items() if index != EPSILON}
    words: set[str] = set()
    for file in kaldi.lattice_files(inputs.first_pass.decode_dir):
        for _, lattice in kaldi.read_lattices(file, on_error=lambda *_: None):
            words.update(names[index] for index in np.unique(lattice.word).tolist() if index in names)
            if len(words) >= SAMPLE_WORDS:
                return sorted(words)
    return sorted(words)


class WordCounts:
    """Counts the words of the first pass's hypotheses."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, sentences: Iterable[Sequence[str]]) -> None:
        """Count the words of some hypotheses."""
        self.counts.update(chain.from_iterable(sentences))

    def add_lattice(self, lattice: Lattice, symbols: kaldi.SymbolTable) -> None:
        """Count the words on the arcs of a lattice."""
        words, times = np.unique(lattice.word[lattice.word != EPSILON], return_counts=True)
        for word, arcs in zip(symbols.to_words(words.tolist()), times.tolist(), strict=True):
            self.counts[word] += arcs

    def oov(self, inputs: Inputs) -> tuple[OovCount, ...]:
        """The OOV words of each language model."""
        found = []
        tokens = self.counts.total()
        for lm, is_oov in zip(inputs.lms, oov_tests(inputs), strict=True):
            unknown = [word for word in self.counts if is_oov(word)]
            oov_tokens = sum(self.counts[word] for word in unknown)
            found.append(OovCount(lm.name, tokens, oov_tokens, len(self.counts), len(unknown)))
        return tuple(found)

    def warnings(self, inputs: Inputs) -> Iterator[ReportWarning]:
        """A warning for each language model that does not know many of the words."""
        words = [word for word, _ in self.counts.most_common()]
        for count, lm, is_oov in zip(self.oov(inputs), inputs.lms, oov_tests(inputs), strict=True):
            unknown = _Unknown.of(words, lm, is_oov)
            hint = f": {unknown.hint}" if unknown.hint else ""
            if unknown.but:
                text = (
                    f"{count.lm} has no entry{unknown.but} for {len(unknown.words)} of the {count.words} distinct "
                    f"words in the first pass's hypotheses, for example {_examples(unknown.words)}"
                )
            elif count.rate > WARN_OOV_RATE:
                text = (
                    f"{count.lm} does not know {count.rate:.1f} % of the words in the first pass's hypotheses, for "
                    f"example {_examples(unknown.words)}; each costs about 16 nats more than a known one"
                )
            else:
                continue
            numbers = {"rate": count.rate, "oov_tokens": count.oov_tokens, "oov_words": count.oov_words}
            yield ReportWarning("oov", text + hint, numbers)


def oov_tests(inputs: Inputs) -> list[IsOov]:
    """For each language model: whether a word is OOV. The recogniser's own OOV word is costed as the class."""

    def test_of(known: IsOov) -> IsOov:
        return lambda word: word != inputs.oov_word and known(word)

    return [test_of(lm.vocabulary.is_oov) for lm in inputs.lms]


def _examples(words: Sequence[str]) -> str:
    return ", ".join(words[:EXAMPLES])


class OldLmFit:
    """Whether the old LM is the one in the lattices: without it, graph costs are not below 0.

    Args:
        file: the old LM; None if it is not known, so that nothing can be wrong with it.
    """

    def __init__(self, file: Path | None):
        self.file = file
        self.hypotheses = 0
        self.negative = 0
        self.least = np.inf

    def add(self, without_lm: np.ndarray) -> None:
        """Count hypotheses, given their graph costs without the old LM, (hypotheses,)."""
        if without_lm.size:
            self.hypotheses += without_lm.size
            self.negative += int((without_lm < -ROUNDING).sum())
            self.least = min(self.least, float(without_lm.min()))

    def warnings(self) -> Iterator[ReportWarning]:
        """A warning if too many graph costs are impossible."""
        if self.file is None or self.negative <= WARN_NEGATIVE * self.hypotheses:
            return
        yield ReportWarning(
            "old_lm",
            f"the graph cost without the old LM is below 0 for {self.negative} of {self.hypotheses} hypotheses (least: "
            f"{self.least:.1f}), which the right old LM makes impossible: check that {self.file} and words.txt "
            "are those of the decoding graph, or of the rescoring that the lattices come from",
            {"negative": self.negative, "hypotheses": self.hypotheses, "least": self.least},
        )


class NewLmFit:
    """Whether the new LMs find the recogniser's sentences about as likely as the old LM does.

    They do not if words.txt is that of another graph: the old LM costs word ids, but new LMs cost words.

    Args:
        names: the new LMs.
        are_oov: for each of them, whether it does not know a word.
    """

    def __init__(self, names: Sequence[str], are_oov: Sequence[IsOov]):
        self.names = names
        self.are_oov = are_oov
        self.tokens = 0
        self.old = 0.0
        self.new = np.zeros(len(names))
        self.oov = np.zeros(len(names))

    def add(self, nbest: NBest) -> None:
        """Count the first pass's best hypothesis, unless the old LM has no cost for it."""
        new = np.array([nbest.costs[neural_column(lm)][0] for lm in range(len(self.names))])
        self.add_costs(nbest.words[0], float(nbest.costs[OLD_LM][0]), new)

    def add_sample(
        self, sentences: Mapping[str, Sequence[str]], old: np.ndarray, scorers: Sequence[SentenceScorer]
    ) -> None:
        """Let the new LMs cost some of the first pass's best hypotheses, evenly spread over all of them.

        Args:
            sentences: utterance → hypothesis.
            old: their costs under the old LM, float64 (sentences,); inf where it has no path.
            scorers: the new LMs. Nothing is counted if one of them gives a cost that is not a number.
        """
        tokens = np.array([len(sentence) + 1 for sentence in sentences.values()], dtype=np.int64)
        step = max(1, math.ceil(int(tokens.sum()) / SAMPLE_TOKENS))
        chosen = np.flatnonzero(np.isfinite(old))[::step]
        utterances = list(sentences)
        texts = [sentences[utterances[index]] for index in chosen]
        try:
            new = np.array([scorer.costs(texts) for scorer in scorers])
        except RescoreError:  # the jobs have noted that the model is damaged
            return
        for place, index in enumerate(chosen):
            self.add_costs(texts[place], float(old[index]), new[:, place])

    def add_costs(self, words: Sequence[str], old: float, new: np.ndarray) -> None:
        """Count a sentence with its cost under the old LM and, (LMs,), under the new ones."""
        if old > 0:
            self.tokens += len(words) + 1
            self.old += old
            self.new += new
            self.oov += [sum(map(is_oov, words)) for is_oov in self.are_oov]

    def results(self) -> tuple[LmFit, ...]:
        """The perplexities of each new LM and of the old one; empty if no sentence was counted."""
        if not self.tokens:
            return ()
        largest = sys.float_info.max  # JSON has no infinity
        old, *ppls = (min(perplexity(cost / self.tokens), largest) for cost in (self.old, *self.new.tolist()))
        return tuple(LmFit(name, ppl, old) for name, ppl in zip(self.names, ppls, strict=True))

    def warnings(self) -> Iterator[ReportWarning]:
        """A warning for each new LM that finds the sentences very unlikely, and not only because of OOV words."""
        for fit, excess in zip(self.results(), self.new - OOV_COST * self.oov - self.old, strict=False):
            if excess > WARN_NATS * self.tokens:
                yield ReportWarning(
                    "new_lm",
                    f"{fit}: check that words.txt is that of the decoding graph, and that the model was trained on "
                    "text of this kind",
                    {"ppl": fit.ppl, "old_ppl": fit.old_ppl},
                )


def error_warnings(
    first_pass: ErrorCount, hypotheses: Iterable[Sequence[str]], references: Iterable[Sequence[str]]
) -> Iterator[ReportWarning]:
    """A warning if the first pass's hypotheses have next to nothing in common with the references.

    Args:
        first_pass: the errors of these hypotheses.
        hypotheses, references: as they are compared.
    """
    if first_pass.reference_words and first_pass.wer >= WARN_WER:
        advice = reference_hint(hypotheses, references) or (
            "check that words.txt is that of the decoding graph, and that the references belong to these utterances"
        )
        yield ReportWarning(
            "first_pass_wer",
            f"the first pass has a word error rate of {first_pass.wer:.2f} %: {advice}",
            {"wer": first_pass.wer},
        )
