"""How much of an N-best list must a language model read to find the best hypothesis?

    python benchmarks/best_first.py [--utterances 30] [<rescored-dir> <lm-dir>]

The cost of a prefix never falls when a word is added. A search over the prefix tree that takes the lowest bound first
can therefore stop as soon as one complete hypothesis costs less than the bound of every open prefix. The bound of a
prefix is its cost so far plus the lowest remaining cost of any of its hypotheses. The bound is higher if each word that
is still to come is assumed to cost at least a given number of nats. The more nats are assumed, the fewer contexts are
read, and the more often the best hypothesis is missed.

The benchmark searches costs that were all computed beforehand, and counts the contexts that the search would have read.
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

ASSUMED = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # nats per word
BATCHES = (1, 32)  # contexts read at a time


@dataclass(frozen=True)
class Costs:
    """The costs of one N-best list, node by node.

    Attributes:
        tree: the prefixes of the list.
        prefix, end: weighted cost of each prefix, and of the sentence end after it, (nodes,).
        fixed: all other costs of each hypothesis, (hypotheses,).
        lengths: number of words in each hypothesis, including the sentence end, (hypotheses,).
    """

    tree: PrefixTree
    prefix: np.ndarray
    end: np.ndarray
    fixed: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, nbest: NBest, scorer: NeuralScorer, weights: Weights) -> Costs:
        """Compute the costs of a list."""
        tree = PrefixTree.build([scorer.vocabulary.encode(words) for words in nbest.words], 0)
        weight = weights.lm[0]
        prefix, end = scorer._walk(tree, scorer.initial_state())
        total = total_costs(nbest, graph_costs(nbest, weights.lm), weights.point)
        fixed = total - weight * nbest.costs[neural_column(0)]
        # The extra cost of words outside the vocabulary, beyond their class, is known without the network.
        fixed += weight * (nbest.costs[neural_column(0)] - (prefix + end)[tree.leaf])
        return cls(tree, weight * prefix, weight * end, fixed, nbest.word_counts + 1)


def search(costs: Costs, assumed: float, batch: int) -> tuple[int, int]:
    """Find the best hypothesis, assuming a weighted cost of ``assumed`` per word to come.

    Returns:
        The index of the best hypothesis, and the number of contexts read.
    """
    tree, nodes = costs.tree, len(costs.tree)
    depth = np.zeros(nodes, dtype=np.int64)
    for node in range(1, nodes):
        depth[node] = depth[tree.parent[node]] + 1
    rest = np.full(nodes, np.inf)  # lowest cost of what comes below a node, over its hypotheses
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
    parser.add_argument(
        "--utterances", type=int, default=30, help="number of utterances, spread over the directory (30)"
    )
    lm_dir = DEMO / "student_trust"
    parser.add_argument(
        "rescored_dir", nargs="?", type=Path, default=lm_dir / "decode_tgpr_dev", help="default: the demo's"
    )
    parser.add_argument("lm_dir", nargs="?", type=Path, default=lm_dir, help="default: the demo's")
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
    report("| nats assumed per word | contexts at a time | share of all contexts | another hypothesis found |")
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
