"""Sentences in, −ln P out: every distinct prefix goes through the network once, and only what was asked is gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asr_rescore.errors import RescoreError
from asr_rescore.models import LanguageModel, State, join_states, select_state
from asr_rescore.vocab import SENTENCE_END, Vocabulary

# Contexts that go through the network at once: enough rows for fast matrix products, and little memory. The output
# layer cuts them up further by itself.
BATCH = 1024
NORMALISERS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "none": None}


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
        normaliser: how softmaxes are normalised: in ``float32``; in ``bfloat16``, which is faster and rounds each a
            little; or ``none``, for a model trained with self_normalization, whose costs are then no exact −ln P.
        batch: contexts that go through the network at once; halved where memory runs out.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        device: torch.device | str,
        normaliser: str = "float32",
        batch: int = BATCH,
    ):
        self.model, self.vocabulary, self.device = model.eval(), vocabulary, torch.device(device)
        self.normaliser, self.batch = NORMALISERS[normaliser], batch

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

    def _indices(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    @torch.inference_mode()
    def advance(
        self, state: State, rows: np.ndarray, words: np.ndarray, asked: np.ndarray, labels: np.ndarray
    ) -> tuple[State, np.ndarray]:
        """Read one word in each of some contexts, and look up words that follow.

        Args:
            state: of the contexts that the words are read in, any number of them.
            rows: int64 (contexts,), the row of ``state`` that each context starts from.
            words: int64 (contexts,), ids of the words read.
            asked: int64 (asked,), the context in which each looked-up word stands, in ascending order.
            labels: int64 (asked,), ids of those words.

        Returns:
            The state after each word read, and −ln P of each looked-up word, float64 (asked,).
        """
        states, costs, begin = [], np.zeros(len(asked)), 0
        inputs = self._indices(words).unsqueeze(0)  # (time, contexts)
        while begin < len(rows):
            end = min(begin + self.batch, len(rows))
            here = slice(*np.searchsorted(asked, (begin, end)))
            try:
                before = select_state(state, self._indices(rows[begin:end]))
                contexts, after = self.model.read(inputs[:, begin:end], before)
                log_probs = self.model.word_log_probs(
                    contexts, self._indices(asked[here] - begin), self._indices(labels[here]), self.normaliser
                )
            except RuntimeError as error:
                if self.batch == 1 or not _is_out_of_memory(error):
                    raise
                self.batch //= 2
                continue
            states.append(after)
            costs[here] = -log_probs.double().cpu().numpy()
            begin = end
        return join_states(states), costs

    def _walk(self, tree: PrefixTree) -> tuple[np.ndarray, np.ndarray]:
        """Cost of every prefix, and of a sentence end behind it: two float64 (nodes,)."""
        prefix_cost, end_cost = np.zeros(len(tree)), np.zeros(len(tree))
        state, above = self.model.initial_state(1, self.device), 0
        for low, high, after in zip(tree.levels[:-1], tree.levels[1:], (*tree.levels[2:], len(tree)), strict=True):
            # Every context is asked for the sentence end, and for the words that follow it in the tree.
            parents = tree.parent[high:after]
            asked = np.concatenate([np.arange(low, high), parents])
            labels = np.concatenate([np.full(high - low, self._end), tree.word[high:after]])
            order = np.argsort(asked, kind="stable")
            rows = np.maximum(tree.parent[low:high] - above, 0)  # the root has no parent
            state, found = self.advance(state, rows, tree.word[low:high], asked[order] - low, labels[order])
            costs = np.empty_like(found)
            costs[order] = found
            end_cost[low:high] = costs[: high - low]
            prefix_cost[high:after] = prefix_cost[parents] + costs[high - low :]
            above = low
        return prefix_cost, end_cost


def _is_out_of_memory(error: RuntimeError) -> bool:
    """A GPU's has a type of its own, a CPU's only its text."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
