"""How much of an N-best list must be scored to know its best hypothesis?

    python benchmarks/best_first.py [--utterances 30] [<rescored-dir> <lm-dir>]

Costs only grow along a prefix, so that a search over the prefix tree, cheapest bound first, may stop as soon as a whole
hypothesis is cheaper than every prefix that was not read on. The bound of a prefix is what it has cost so far and the
least of all else that any of its hypotheses costs. It can be raised by assuming that each word still to come costs at
least so many nats: the more is assumed, the fewer contexts are read, and the more often the best hypothesis is missed.

The search is done on costs that were all computed before, which tells how many contexts it would have read.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.checkpoint import load_model
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.lm.prefix_tree import PrefixTree
from asr_rescore.nbest import NBest
from asr_rescore.ranking import Weights, graph_costs, neural_column, total_costs
from asr_rescore.rescoring.weights import ChosenWeights
from reporting import DEMO, Report, need

ASSUMED = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # nats a word
BATCHES = (1, 32)  # contexts read at once


@dataclass(frozen=True)
class Costs:
    """A list's costs, node by node.

    Attributes:
        tree: its prefixes.
        prefix, end: weighted cost of each prefix, and of the sentence's end behind it, (nodes,).
        fixed: all else that each hypothesis costs, (hypotheses,).
        lengths: words of each hypothesis and its end, (hypotheses,).
    """

    tree: PrefixTree
    prefix: np.ndarray
    end: np.ndarray
    fixed: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, nbest: NBest, scorer: NeuralScorer, weights: Weights) -> Costs:
        """Compute them all."""
        tree = PrefixTree.build([scorer.vocabulary.encode(words) for words in nbest.words], 0)
        weight = weights.lm[0]
        prefix, end = scorer._walk(tree, scorer.initial_state())
        total = total_costs(nbest, graph_costs(nbest, weights.lm), weights.point)
        fixed = total - weight * nbest.costs[neural_column(0)]
        # What words outside the vocabulary cost beyond their class is known without the network.
        fixed += weight * (nbest.costs[neural_column(0)] - (prefix + end)[tree.leaf])
        return cls(tree, weight * prefix, weight * end, fixed, nbest.word_counts + 1)


def search(costs: Costs, assumed: float, batch: int) -> tuple[int, int]:
    """The best hypothesis under a weighted cost of ``assumed`` a word to come, and how many contexts were read."""
    tree, nodes = costs.tree, len(costs.tree)
    depth = np.zeros(nodes, dtype=np.int64)
    for node in range(1, nodes):
        depth[node] = depth[tree.parent[node]] + 1
    rest = np.full(nodes, np.inf)  # the least of fixed costs and words to come, of all hypotheses below a node
    np.minimum.at(rest, tree.leaf, costs.fixed + assumed * costs.lengths)
    for node in range(nodes - 1, 0, -1):
        rest[tree.parent[node]] = min(rest[tree.parent[node]], rest[node])
    bound = costs.prefix + rest - assumed * depth
    children: list[list[int]] = [[] for _ in range(nodes)]
    for node in range(1, nodes):
        children[tree.parent[node]].append(node)
    whole: dict[int, list[int]] = {}
    for hypothesis, leaf in enumerate(tree.leaf):
        whole.setdefault(int(leaf), []).append(hypothesis)
    heap = [(bound[0], 0)]
    best, best_cost, read = -1, np.inf, 0
    while heap and heap[0][0] < best_cost:
        some = [heapq.heappop(heap)[1] for _ in range(min(batch, len(heap)))]
        read += len(some)
        for node in some:
            for hypothesis in whole.get(node, ()):
                cost = costs.fixed[hypothesis] + costs.prefix[node] + costs.end[node]
                if cost < best_cost:
                    best, best_cost = hypothesis, cost
            for child in children[node]:
                heapq.heappush(heap, (bound[child], child))
    return best, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=30, help="spread over the whole directory (30)")
    lm_dir = DEMO / "student_trust"
    parser.add_argument("rescored_dir", nargs="?", type=Path, default=lm_dir / "decode_tgpr_dev", help="the demo's")
    parser.add_argument("lm_dir", nargs="?", type=Path, default=lm_dir, help="the demo's")
    arguments = parser.parse_args()
    need(arguments.rescored_dir, arguments.lm_dir)
    loaded = load_model(arguments.lm_dir)
    weights = ChosenWeights.load(arguments.rescored_dir, (loaded.hash,)).weights
    scorer = NeuralScorer(loaded.model, loaded.vocabulary, "cpu")
    lists = list(kaldi.read_nbest_dir(arguments.rescored_dir, 1))
    step = max(1, len(lists) // arguments.utterances)
    all_costs = [Costs.of(nbest, scorer, weights) for nbest in lists[::step]]
    contexts = sum(len(costs.tree) for costs in all_costs)
    report = Report("Best-first search in N-best lists")
    report(f"{len(all_costs)} lists, {sum(len(costs.fixed) for costs in all_costs)} hypotheses, {contexts} contexts\n")
    report("| nats assumed a word | contexts at once | of all contexts | another hypothesis found |")
    report("|---:|---:|---:|---:|")
    exact = [int(np.argmin(costs.fixed + (costs.prefix + costs.end)[costs.tree.leaf])) for costs in all_costs]
    for nats in ASSUMED:
        for batch in BATCHES:
            found = [search(costs, weights.lm[0] * nats, batch) for costs in all_costs]
            share = sum(read for _, read in found) / contexts
            wrong = sum(best != right for (best, _), right in zip(found, exact, strict=True)) / len(found)
            report(f"| {nats:g} | {batch} | {share:.1%} | {wrong:.1%} |")
    report.write()


if __name__ == "__main__":
    main()
