"""N-best lists or lattices with a given n-gram order: what does each search find, and how long does it take?

    python benchmarks/search.py [--utterances U] [--lm-dir D --weights F --old-lang-dir D --data-dir D --decode-dir D]

Each search rescores the same utterances with the same model and weights in one process. A search is judged by the
model's cost of the hypotheses that it finds, and by their word error rate. The second table and the plots are about
single utterances: how the time grows with N and with the length of the utterance.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_rescore.failures import Failures
from asr_rescore.lattice import ExpansionLimits, Lattice, best_path, n_best
from asr_rescore.lm import GrammarScorer
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.models import State
from asr_rescore.nbest import NBest
from asr_rescore.ngram import WordLm
from asr_rescore.ranking import Weights, best_hypothesis, graph_costs, neural_column, total_costs
from asr_rescore.rescoring.first_pass import split_old_lm
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job
from asr_rescore.rescoring.lattice_costs import LatticeRescorer
from asr_rescore.rescoring.run import Rescoring
from asr_rescore.word_errors import wer
from reporting import DEMO, MINI, Report, need

LIST_SIZES = (10, 100, 1000)
ORDERS = (2, 3, 4, 6, 0)
GROWTH = (10, 30, 100, 300, 1000)
GROWTH_UTTERANCES = 12  # from the shortest to the longest
TOLERANCE = 1e-3  # nats; costs are rounded
Lattices = list[tuple[str, Lattice]]


class CountingScorer(NeuralScorer):
    """A scorer that counts the contexts that go through the network."""

    contexts = 0

    def advance(self, state: State, rows: np.ndarray, *rest: np.ndarray) -> tuple[State, np.ndarray]:
        """See :meth:`NeuralScorer.advance`."""
        self.contexts += len(rows)
        return super().advance(state, rows, *rest)


@dataclass(frozen=True)
class Found:
    """The words and costs that a search found for each utterance, and the seconds and contexts that it took."""

    words: dict[str, tuple[str, ...]]
    costs: dict[str, float]
    seconds: float
    contexts: int


@dataclass(frozen=True)
class Bench:
    """One model and its weights on one first pass."""

    inputs: Inputs
    scorer: CountingScorer
    grammar: WordLm[Any]
    weights: Weights

    def lists(self, lattices: Lattices, n: int) -> Found:
        """Rescore N-best lists, with the costs of all lists computed together."""
        point, symbols = self.weights.point, self.inputs.first_pass.words
        with Watch(self.scorer) as watch:
            nbests = []
            for utt, lattice in lattices:
                paths = n_best(lattice, n, point.acoustic_scale)
                nbest, _ = split_old_lm(NBest.of_paths(utt, paths, symbols.word), GrammarScorer(self.grammar, symbols))
                nbests.append(nbest)
            costs = self.scorer.costs([words for nbest in nbests for words in nbest.words])
            parts = np.split(costs, np.cumsum([len(nbest) for nbest in nbests])[:-1])
            nbests = [nbest.with_cost(neural_column(0), part) for nbest, part in zip(nbests, parts, strict=True)]
            best = {nbest.utt: (nbest, best_hypothesis(nbest, self.weights)) for nbest in nbests}
        totals = {
            utt: float(total_costs(nbest, graph_costs(nbest, self.weights.lm), point)[place])
            for utt, (nbest, place) in best.items()
        }
        return Found({utt: nbest.words[place] for utt, (nbest, place) in best.items()}, totals, *watch.result)

    def lattices(self, lattices: Lattices, order: int) -> Found:
        """Rescore lattices, all at the same time. The best path of an expanded lattice carries its exact cost."""
        point, symbols = self.weights.point, self.inputs.first_pass.words
        limits = ExpansionLimits(order)
        with Watch(self.scorer) as watch:
            rescorer = LatticeRescorer(self.grammar, [self.scorer], self.weights, symbols, limits)
            best = {
                utt: best_path(lattice, point.acoustic_scale, point.wip)
                for utt, lattice in rescorer.rescore(lattices, Failures())
            }
        totals = {
            utt: path.graph + point.acoustic_scale * path.acoustic + point.wip * len(path.words)
            for utt, path in best.items()
        }
        words = {utt: tuple(symbols.word(index) for index in path.words) for utt, path in best.items()}
        return Found(words, totals, *watch.result)


class Watch:
    """Measures the seconds and the contexts read within a ``with`` block."""

    def __init__(self, scorer: CountingScorer):
        self.scorer, self.result = scorer, (0.0, 0)

    def __enter__(self) -> Watch:
        self.began, self.contexts = time.perf_counter(), self.scorer.contexts
        return self

    def __exit__(self, *_: object) -> None:
        self.result = (time.perf_counter() - self.began, self.scorer.contexts - self.contexts)


def compare(bench: Bench, lattices: Lattices, report: Report) -> None:
    """Report one row for each search."""
    ways: dict[str, Callable[[], Found]] = {
        f"lists, N = {n}": lambda n=n: bench.lists(lattices, n) for n in LIST_SIZES
    } | {
        f"lattices, {f'order {order}' if order else 'unlimited'}": lambda order=order: bench.lattices(lattices, order)
        for order in ORDERS
    }
    results = {way: work() for way, work in ways.items()}
    reference = results[f"lists, N = {LIST_SIZES[-1]}"]
    references = {utt: bench.inputs.references[utt] for utt, _ in lattices}
    report(
        "| search | s | ms per utterance | contexts per utterance | cheaper than longest lists | more costly | %WER |"
    )
    report("|---|---:|---:|---:|---:|---:|---:|")
    for way, found in results.items():
        differences = np.array([found.costs[utt] - cost for utt, cost in reference.costs.items()])
        each, contexts = 1000 * found.seconds / len(lattices), found.contexts / len(lattices)
        better, worse = np.mean(differences < -TOLERANCE), np.mean(differences > TOLERANCE)
        rate = wer(references, found.words).wer
        report(
            f"| {way} | {found.seconds:.1f} | {each:.0f} | {contexts:.0f} | {better:.1%} | {worse:.1%} | {rate:.2f} |"
        )


def growth(bench: Bench, lattices: Lattices, report: Report) -> None:
    """Report and plot the milliseconds of single utterances by N and by the number of words spoken."""
    said = {utt: len(bench.inputs.references[utt]) for utt, _ in lattices}
    ordered = sorted(lattices, key=lambda entry: said[entry[0]])
    some = [
        ordered[place] for place in np.linspace(0, len(ordered) - 1, min(GROWTH_UTTERANCES, len(ordered)), dtype=int)
    ]
    ways = {f"N = {n}": lambda one, n=n: bench.lists(one, n) for n in GROWTH}
    ways["lattice"] = lambda one: bench.lattices(one, ExpansionLimits.order)
    times = {way: [1000 * work([one]).seconds for one in some] for way, work in ways.items()}
    lengths = [said[utt] for utt, _ in some]
    report("\n| words | " + " | ".join(f"{way}, ms" for way in ways) + " |\n|---:|" + "---:|" * len(ways))
    for index, length in enumerate(lengths):
        report(f"| {length} | " + " | ".join(f"{times[way][index]:.0f}" for way in ways) + " |")
    try:
        from matplotlib import pyplot
    except ImportError:
        report("\nno plot: it needs matplotlib")
        return
    figure, (by_n, by_length) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    by_n.loglog(GROWTH, [np.mean(times[f"N = {n}"]) for n in GROWTH], "o-", label="lists")
    by_n.axhline(np.mean(times["lattice"]), linestyle="--", label=f"lattices, order {ExpansionLimits.order}")
    by_n.set(xlabel="N", ylabel="ms per utterance, mean")
    for way in (f"N = {GROWTH[-1]}", "N = 100", "lattice"):
        by_length.plot(lengths, times[way], "o", label=way)
    by_length.set(xlabel="words spoken", ylabel="ms", yscale="log")
    for axes in (by_n, by_length):
        axes.legend()
    plot = report.path.with_suffix(".svg")
    figure.savefig(plot)
    report(f"\n![How the time grows]({plot.name})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=0, help="use only the first U utterances; 0: all (0)")
    parser.add_argument("--lm-dir", type=Path, default=DEMO / "student_trust")
    parser.add_argument("--weights", type=Path, default=DEMO / "student_trust/decode_tgpr_dev")
    parser.add_argument("--old-lang-dir", type=Path, default=MINI / "lang_tgpr")
    parser.add_argument("--data-dir", type=Path, default=MINI / "data/dev")
    parser.add_argument("--decode-dir", type=Path, default=MINI / "exp/decode_tgpr_dev")
    arguments = parser.parse_args()
    need(arguments.lm_dir, arguments.weights)
    rescoring = Rescoring.open(
        arguments.old_lang_dir,
        arguments.lm_dir,
        arguments.data_dir,
        arguments.decode_dir,
        Path(tempfile.gettempdir()) / "not_written",
        weights=arguments.weights,
        device="cpu",
    )
    inputs = rescoring.engine.inputs
    (lm,) = inputs.lms
    scorer = CountingScorer(lm.model, lm.vocabulary, inputs.device)
    bench = Bench(inputs, scorer, inputs.old_lm(), inputs.given_weights(None, arguments.weights).weights)
    lattices = list(inputs.first_pass.lattices([Job(1, 1)], Failures()))[: arguments.utterances or None]
    report = Report("Lists of N hypotheses and lattices")
    report(f"{len(lattices)} utterances of {arguments.data_dir.name}, {lm.model.num_parameters:,} parameters\n")
    compare(bench, lattices, report)
    growth(bench, lattices, report)
    report.write()


if __name__ == "__main__":
    main()
