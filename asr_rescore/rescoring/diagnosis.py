"""Signs that a rescoring's result is wrong although nothing fails: each becomes a warning in the report."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.lattice import EPSILON, Lattice
from asr_rescore.lm import SentenceScorer, perplexity
from asr_rescore.nbest import OLD_LM, NBest
from asr_rescore.ranking import OperatingPoint, neural_column
from asr_rescore.report import OovCount, ReportWarning
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.lmwt_grid import CHAIN_GRID, grid_beyond
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.word_errors import ErrorCount

# compute_ppl's users are used to OOV rates of 1 or 2 %. Beyond 5 % the OOV words decide many rankings.
WARN_OOV_RATE = 5.0  # percent of tokens
# An LM in another language or spelling shares hardly more than names and loan words with the lattices.
MOST_OOV = 0.95  # of the distinct words
SAMPLE_WORDS = 200  # distinct words that are enough to tell
# A graph cost without the old LM is −ln of probabilities, thus 0 or more but for the rounding of float32 costs.
ROUNDING = 0.1
WARN_NEGATIVE = 0.01  # of the hypotheses
# A new LM that is useful has a lower perplexity than the old one; 150 times as high is beyond a bad choice of text.
WARN_NATS = 5.0  # per word
# Where the new LMs have not costed the first pass's best hypotheses anyway: enough to tell, and costed in a second.
SAMPLE_TOKENS = 5000
WARN_WER = 90.0
EXAMPLES = 5
LARGEST_UNSCALED = 2  # LMWT of a chain model whose acoustic costs are those that it was decoded with
_SPELLINGS: dict[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "upper case": str.upper,
    "Unicode form NFC": lambda word: unicodedata.normalize("NFC", word),
    "Unicode form NFD": lambda word: unicodedata.normalize("NFD", word),
}


def refuse_foreign_vocabulary(inputs: Inputs) -> None:
    """Look at the words of the first lattices before the expensive part begins.

    Raises:
        InputError: a language model knows almost none of these words.
    """
    words = _sample(inputs)
    for lm, is_oov in zip(inputs.lms, _oov_tests(inputs), strict=True):
        unknown = [word for word in words if is_oov(word)]
        if words and len(unknown) > MOST_OOV * len(words):
            raise InputError(
                f"language model {lm.name}",
                found=f"no entry for {len(unknown)} of {len(words)} distinct words of the first lattices, for example "
                f"{_examples(unknown)}",
                expected="a vocabulary that fits the recogniser's words.txt",
                remedy=(_spelling_hint(unknown, is_oov) or "train a language model on text in the recogniser's words")
                + "; `allow_oov` rescores nevertheless",
            )


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
        for lm, is_oov in zip(inputs.lms, _oov_tests(inputs), strict=True):
            unknown = [word for word in self.counts if is_oov(word)]
            oov_tokens = sum(self.counts[word] for word in unknown)
            found.append(OovCount(lm.name, tokens, oov_tokens, len(self.counts), len(unknown)))
        return tuple(found)

    def warnings(self, inputs: Inputs) -> Iterator[ReportWarning]:
        """A warning for each language model that does not know many of the words."""
        for count, is_oov in zip(self.oov(inputs), _oov_tests(inputs), strict=True):
            if count.rate <= WARN_OOV_RATE:
                continue
            unknown = [word for word, _ in self.counts.most_common() if is_oov(word)]
            hint = _spelling_hint(unknown, is_oov)
            yield ReportWarning(
                "oov",
                f"{count.lm} does not know {count.rate:.1f} % of the words in the first pass's hypotheses, for example "
                f"{_examples(unknown)}; each costs about 16 nats more than a known one" + (f": {hint}" if hint else ""),
                {"rate": count.rate, "oov_tokens": count.oov_tokens, "oov_words": count.oov_words},
            )


def _oov_tests(inputs: Inputs) -> list[Callable[[str], bool]]:
    """For each language model: whether a word is OOV. The recogniser's own OOV word is costed as the class."""

    def test_of(known: Callable[[str], bool]) -> Callable[[str], bool]:
        return lambda word: word != inputs.oov_word and known(word)

    return [test_of(lm.vocabulary.is_oov) for lm in inputs.lms]


def _examples(words: Sequence[str]) -> str:
    return ", ".join(words[:EXAMPLES])


def _spelling_hint(unknown: Sequence[str], is_oov: Callable[[str], bool]) -> str:
    """What to do if most of the unknown words are known in another spelling; else empty."""
    for name, respell in _SPELLINGS.items():
        known = sum(not is_oov(respell(word)) for word in unknown)
        if 2 * known > len(unknown):
            return f"{known} of these {len(unknown)} words are known in {name}; prepare the text in the same spelling"
    return ""


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
    """

    def __init__(self, names: Sequence[str]):
        self.names = names
        self.tokens = 0
        self.old = 0.0
        self.new = np.zeros(len(names))

    def add(self, nbest: NBest) -> None:
        """Count the first pass's best hypothesis, unless the old LM has no cost for it."""
        new = np.array([nbest.costs[neural_column(lm)][0] for lm in range(len(self.names))])
        self.add_costs(len(nbest.words[0]) + 1, float(nbest.costs[OLD_LM][0]), new)

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
            self.add_costs(int(tokens[index]), float(old[index]), new[:, place])

    def add_costs(self, tokens: int, old: float, new: np.ndarray) -> None:
        """Count a sentence of some tokens with its cost under the old LM and, (LMs,), under the new ones."""
        if old > 0:
            self.tokens += tokens
            self.old += old
            self.new += new

    def warnings(self) -> Iterator[ReportWarning]:
        """A warning for each new LM that finds the sentences very unlikely."""
        for name, new in zip(self.names, self.new.tolist(), strict=True):
            if new - self.old > WARN_NATS * self.tokens:
                ppl = perplexity(new / self.tokens)
                old_ppl = perplexity(self.old / self.tokens)
                yield ReportWarning(
                    "new_lm",
                    f"{name} has perplexity {ppl:.4g} on the first pass's best hypotheses, where the old LM has "
                    f"{old_ppl:.4g}: check that words.txt is that of the decoding graph, and that the model was "
                    "trained on text of this kind",
                    {"ppl": ppl, "old_ppl": old_ppl},
                )


def error_warnings(first_pass: ErrorCount) -> Iterator[ReportWarning]:
    """A warning if the first pass's hypotheses have next to nothing in common with the references."""
    if first_pass.reference_words and first_pass.wer >= WARN_WER:
        yield ReportWarning(
            "first_pass_wer",
            f"the first pass has a word error rate of {first_pass.wer:.2f} %: check that words.txt is that of the "
            "decoding graph, and that the references belong to these utterances",
            {"wer": first_pass.wer},
        )


def tuning_warnings(
    weights: ChosenWeights, points: Sequence[OperatingPoint], names: Sequence[str]
) -> Iterator[ReportWarning]:
    """A warning for each tuned weight that is on the edge of its grid, where the best value may lie beyond.

    A grid of word insertion penalties that begins at 0 ends there by nature: to reward words is unusual.

    Args:
        weights: tuned.
        points: the grid of LMWT and WIP.
        names: the language models.
    """
    lmwts = sorted({point.lmwt for point in points})
    wips = sorted({point.wip for point in points})
    tuned = weights.weights
    for name, weight in zip(names, tuned.lm, strict=True):
        if weight == 0:
            yield ReportWarning("lm_weight_zero", f"{name} was tuned to weight 0: it does not help on this data")
    if sum(tuned.lm) > 1 - 1e-9:
        useless = "graph cost does" if weights.no_old_lm else "old LM does"
        yield ReportWarning(
            "lm_weight_one",
            f"the LM weights were tuned to a sum of 1, the edge of their grid: the {useless} not help on this data",
        )
    edge = _lmwt_edge(tuned.point.lmwt, lmwts)
    if edge:
        yield ReportWarning("lmwt_edge", f"the tuned LMWT {edge}", {"lmwt": tuned.point.lmwt})
    edge = _lmwt_edge(weights.first_pass.lmwt, lmwts)
    if edge:
        yield ReportWarning("first_pass_lmwt_edge", f"the first pass's LMWT {edge}", {"lmwt": weights.first_pass.lmwt})
    edge = _edge(tuned.point.wip, wips)
    if edge and not tuned.point.wip == wips[0] == 0:
        remedy = f"try a {'smaller' if tuned.point.wip == wips[0] else 'larger'} `word_ins_penalty`"
        yield ReportWarning("wip_edge", f"the tuned word insertion penalty {edge}: {remedy}", {"wip": tuned.point.wip})


def _edge(value: float, grid: Sequence[float]) -> str:
    """What to say of a value that is the first or last of its grid; empty for any other."""
    if len(grid) < 2 or grid[0] < value < grid[-1]:
        return ""
    end = "smallest" if value <= grid[0] else "largest"
    return f"{value:g} is the {end} of its grid, {grid[0]:g} to {grid[-1]:g}; a better one may lie beyond"


def _lmwt_edge(value: float, grid: Sequence[float]) -> str:
    """As :func:`_edge`, with the grid to try next."""
    edge = _edge(value, grid)
    if not edge:
        return ""
    lowest = value <= grid[0]
    beyond = grid_beyond(grid, below=lowest)
    remedies = [f"try `lmwt` {beyond}"] if beyond else []
    if lowest and grid[0] > LARGEST_UNSCALED:
        remedies.append(
            "if the acoustic costs of a chain model were not multiplied by 10 after decoding (post-decode-acwt), try "
            f"`inv_acwt` 1 and `lmwt` {CHAIN_GRID}"
        )
    return ": ".join([edge, "; ".join(remedies)]) if remedies else edge
