"""Sentences in, −ln P out: every distinct prefix goes through the network once, and only what was asked is gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asr_rescore.errors import RescoreError
from asr_rescore.models import LanguageModel, join_states, select_state
from asr_rescore.vocab import SENTENCE_END, Vocabulary

# A step's largest tensor is the experts' logits; more than this much of them at once buys no speed on a CPU.
LOGIT_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """The distinct prefixes of some sentences, level by level; node 0 is the empty prefix.

    Attributes:
        parent: int64 (nodes,), −1 for the root.
        word: int64 (nodes,), the id a node adds to its parent; the root's is ``</s>``, the left context of a sentence.
        levels: nodes ordered by length, ``levels[d]:levels[d + 1]`` have d words.
        leaf: int64 (sentences,), the node that is the whole sentence.
    """

    parent: np.ndarray
    word: np.ndarray
    levels: np.ndarray
    leaf: np.ndarray

    @classmethod
    def build(cls, sentences: Sequence[Sequence[int]], root_word: int) -> PrefixTree:
        """Merge id sequences into a tree."""
        nodes: dict[tuple[int, int], int] = {}
        parent, word, depth, leaf = [-1], [root_word], [0], []
        for sentence in sentences:
            node = 0
            for length, label in enumerate(sentence, 1):
                following = nodes.setdefault((node, label), len(parent))
                if following == len(parent):
                    parent.append(node)
                    word.append(label)
                    depth.append(length)
                node = following
            leaf.append(node)
        # Renumber by length, so that a level is a slice; a stable sort keeps siblings' order.
        order = np.argsort(depth, kind="stable")
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        parents = np.asarray(parent, dtype=np.int64)[order]
        parents[1:] = rank[parents[1:]]
        return cls(
            parents,
            np.asarray(word, dtype=np.int64)[order],
            np.searchsorted(np.asarray(depth)[order], np.arange(max(depth) + 2)),
            rank[np.asarray(leaf, dtype=np.int64)],
        )

    def __len__(self) -> int:
        return len(self.parent)


class SentenceScorer:
    """Costs of whole sentences under one language model.

    A sentence is w1 … wn with ``</s>`` before it as context and after it as a word; the network starts in its zero
    state. Words outside the vocabulary cost what :meth:`Vocabulary.member_cost` says on top of their class.

    Args:
        model: network in evaluation mode; costs are exact up to its own rounding, summed in float64.
        vocabulary: the model's.
        device: where the model is.
        logit_bytes: memory for one batch of the experts' logits.
    """

    def __init__(
        self, model: LanguageModel, vocabulary: Vocabulary, device: torch.device | str, logit_bytes: int = LOGIT_BYTES
    ):
        self.model, self.vocabulary, self.device = model.eval(), vocabulary, torch.device(device)
        self.batch = max(1, logit_bytes // (4 * len(vocabulary) * model.experts))

    def costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """−ln P of each sentence, its end included.

        Args:
            sentences: words; the empty sentence is allowed and costs −ln P(``</s>`` | ``</s>``).

        Returns:
            float64 (sentences,).

        Raises:
            RescoreError: the model gives a sentence a probability that is no number.
        """
        if not sentences:
            return np.zeros(0)
        tree = PrefixTree.build([self.vocabulary.encode(words) for words in sentences], self._end)
        prefix_cost, end_cost = self._walk(tree)
        outside = {word for words in sentences for word in words if self.vocabulary.member_cost(word)}
        extra = {word: self.vocabulary.member_cost(word) for word in outside}
        member_costs = np.array([sum(extra.get(word, 0.0) for word in words) for words in sentences])
        costs = prefix_cost[tree.leaf] + end_cost[tree.leaf] + member_costs
        bad = np.flatnonzero(~np.isfinite(costs))
        if bad.size:
            raise RescoreError(
                f"the language model gives cost {costs[bad[0]]} to {' '.join(sentences[bad[0]])!r}, expected a finite "
                "one; its weights may be damaged: check its training log"
            )
        return costs

    @property
    def _end(self) -> int:
        return self.vocabulary.ids[SENTENCE_END]

    @torch.inference_mode()
    def _walk(self, tree: PrefixTree) -> tuple[np.ndarray, np.ndarray]:
        """Cost of every prefix, and of a sentence end behind it: two float64 (nodes,)."""
        prefix_cost, end_cost = np.zeros(len(tree)), np.zeros(len(tree))
        words = torch.from_numpy(tree.word).to(self.device)
        state = self.model.initial_state(1, self.device)
        first_of_parents = 0  # the node whose state is row 0 of the level above
        depths = len(tree.levels) - 1
        for depth in range(depths):
            low, high = int(tree.levels[depth]), int(tree.levels[depth + 1])
            after = int(tree.levels[depth + 2]) if depth + 1 < depths else high
            children_parent = tree.parent[high:after]
            # Nodes are numbered parents first, not by parent, so a level's children are sorted before they are cut.
            by_parent = np.argsort(children_parent, kind="stable")
            sorted_parent = children_parent[by_parent]
            states = []
            for begin in range(low, high, self.batch):
                end = min(begin + self.batch, high)
                rows = np.maximum(tree.parent[begin:end], 0) - first_of_parents
                output = self.model(
                    words[begin:end].unsqueeze(0), select_state(state, torch.from_numpy(rows).to(self.device))
                )
                log_probs = output.log_probs[0]  # (contexts, vocabulary)
                states.append(output.state)
                end_cost[begin:end] = -log_probs[:, self._end].double().cpu().numpy()
                asked = by_parent[np.searchsorted(sorted_parent, begin) : np.searchsorted(sorted_parent, end)]
                children = asked + high
                row = torch.from_numpy(children_parent[asked] - begin).to(self.device)
                cost = -log_probs[row, words[torch.from_numpy(children).to(self.device)]].double().cpu().numpy()
                prefix_cost[children] = prefix_cost[children_parent[asked]] + cost
            state = join_states(states)
            first_of_parents = low
        return prefix_cost, end_cost
