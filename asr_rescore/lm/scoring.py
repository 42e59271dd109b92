"""Sentences in, −ln P out: every distinct prefix goes through the network once, and only what was asked is gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asr_rescore.errors import RescoreError
from asr_rescore.models import LanguageModel, State, flatten_state, join_states, select_state
from asr_rescore.models.normaliser import check_precision
from asr_rescore.vocab import SENTENCE_END, Vocabulary

# Contexts that go through the network at once: enough rows for fast matrix products, and little memory. The output
# layer cuts them up further by itself.
BATCH = 1024
# What the network's states may take while a tree is walked.
STATE_BYTES = 1 << 30
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")
NORMALISERS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
    "none": None,
}


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """The distinct prefixes of some sentences: the shorter before the longer, and siblings together.

    With several roots it is a forest: sentences that stand in different contexts share nothing.

    Attributes:
        parent: int64 (nodes,), −1 for roots, which come first.
        word: int64 (nodes,), the id a node adds to its parent; a root's is ``</s>``, the left context of a sentence.
        first_child: int64 (nodes + 1,), the children of node i are ``first_child[i]:first_child[i + 1]``.
        leaf: int64 (sentences,), the node that is the whole sentence.
        depth: words of the longest sentence.
    """

    parent: np.ndarray
    word: np.ndarray
    first_child: np.ndarray
    leaf: np.ndarray
    depth: int

    @classmethod
    def build(
        cls, sentences: Sequence[Sequence[int]], root_word: int, roots: Sequence[int] | None = None
    ) -> PrefixTree:
        """Merge id sequences into a tree; ``roots`` says which root each one stands at (default: all at one)."""
        places = [0] * len(sentences) if roots is None else list(roots)
        trees = max(places, default=0) + 1
        nodes: dict[tuple[int, int], int] = {}
        parent, word, depth, leaf = [-1] * trees, [root_word] * trees, [0] * trees, []
        for node, sentence in zip(places, sentences, strict=True):
            for length, label in enumerate(sentence, 1):
                following = nodes.setdefault((node, label), len(parent))
                if following == len(parent):
                    parent.append(node)
                    word.append(label)
                    depth.append(length)
                node = following
            leaf.append(node)
        # Renumber by length, and within a length by parent.
        parents, depths = np.asarray(parent, dtype=np.int64), np.asarray(depth)
        order, rank = np.arange(trees), np.zeros(len(parent), dtype=np.int64)
        rank[:trees] = order
        by_depth = np.argsort(depths, kind="stable")
        for level in np.split(by_depth, np.searchsorted(depths[by_depth], np.arange(1, depths.max() + 1)))[1:]:
            level = level[np.argsort(rank[parents[level]], kind="stable")]
            rank[level] = len(order) + np.arange(len(level))
            order = np.concatenate([order, level])
        parents = parents[order]
        parents[trees:] = rank[parents[trees:]]
        first_child = trees + np.searchsorted(parents[trees:], np.arange(len(parents) + 1))
        return cls(
            parents,
            np.asarray(word, dtype=np.int64)[order],
            first_child,
            rank[np.asarray(leaf, dtype=np.int64)],
            int(depths.max()),
        )

    def __len__(self) -> int:
        return len(self.parent)


class NeuralScorer:
    """Costs of whole sentences under one language model.

    A sentence is w1 … wn with ``</s>`` before it as context and after it as a word; the network starts in its zero
    state. Words outside the vocabulary cost what :meth:`Vocabulary.class_cost` says on top of their class.

    Args:
        model: network in evaluation mode; costs are exact up to its own rounding, summed in float64.
        vocabulary: the model's.
        device: where the model is.
        normaliser: how softmaxes are normalised: in ``float32``; in ``bfloat16``, ``float16`` (on GPUs) or ``int8`` (on
            CPUs), which are faster and round each a little; or ``none``, for a model trained with self_normalization,
            whose costs are then no exact −ln P.
        batch: contexts that go through the network at once; halved where memory runs out.
        state_bytes: what states may take while a tree is walked; where one word of context is large, fewer contexts go
            through the network at once.

    Raises:
        UsageError: the device would be slower with that normaliser than with float32.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        device: torch.device | str,
        normaliser: str = "float32",
        batch: int = BATCH,
        state_bytes: int = STATE_BYTES,
    ):
        self.model, self.vocabulary, self.device = model.eval(), vocabulary, torch.device(device)
        self.normaliser, self.batch, self.state_bytes = NORMALISERS[normaliser], batch, state_bytes
        if self.normaliser is not None:
            check_precision(self.normaliser, self.device)

    def costs(
        self, sentences: Sequence[Sequence[str]], start: State | None = None, roots: Sequence[int] | None = None
    ) -> np.ndarray:
        """−ln P of each sentence, its end included.

        Args:
            sentences: words; the empty sentence is allowed and costs −ln P(``</s>`` | ``</s>``).
            start: what the network has read before, a row for each context that sentences stand in; by default there
                is one, in which it has read nothing.
            roots: the row of ``start`` for each sentence, if there are several.

        Returns:
            float64 (sentences,).

        Raises:
            RescoreError: the model gives a sentence a probability that is no number.
        """
        if not sentences:
            return np.zeros(0)
        tree = PrefixTree.build([self.vocabulary.encode(words) for words in sentences], self._end, roots)
        prefix_cost, end_cost = self._walk(tree, self.initial_state() if start is None else start)
        outside = {word for words in sentences for word in words if self.vocabulary.class_cost(word)}
        extra = {word: self.vocabulary.class_cost(word) for word in outside}
        class_cost = np.array([sum(extra.get(word, 0.0) for word in words) for words in sentences])
        costs = prefix_cost[tree.leaf] + end_cost[tree.leaf] + class_cost
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

    def initial_state(self) -> State:
        """Of a network that has read nothing: one row."""
        return self.model.initial_state(1, self.device)

    @torch.inference_mode()
    def states_after(self, sentences: Sequence[Sequence[str]], start: State) -> State:
        """Where the network is after ``</s>`` and each of the sentences, read from its own row of ``start``."""
        states = []
        for row, words in enumerate(sentences):
            ids = np.array([self._end, *self.vocabulary.encode(words)])
            before = select_state(start, self._indices(np.array([row])))
            states.append(self.model.read(self._indices(ids).unsqueeze(1), before)[1])  # (time, 1)
        return join_states(states)

    def _walk(self, tree: PrefixTree, start: State) -> tuple[np.ndarray, np.ndarray]:
        """Cost of every prefix, and of a sentence end behind it: two float64 (nodes,).

        A batch's children come before its siblings: what waits is then one batch of states for each word at most.
        """
        prefix_cost, end_cost = np.zeros(len(tree)), np.zeros(len(tree))
        batch = min(self.batch, max(1, self.state_bytes // (_row_bytes(start) * (tree.depth + 1))))
        # Nodes low to high, the state of their parents, and the first of those.
        waiting = [(0, int(tree.first_child[0]), start, 0)]
        while waiting:
            low, high, state, first_parent = waiting.pop()
            end = min(high, low + batch)
            if end < high:
                waiting.append((end, high, state, first_parent))
            children = slice(int(tree.first_child[low]), int(tree.first_child[end]))
            parents = tree.parent[children]
            # Every context is asked for the sentence end, and for the words that follow it in the tree.
            asked = np.concatenate([np.arange(low, end), parents])
            labels = np.concatenate([np.full(end - low, self._end), tree.word[children]])
            order = np.argsort(asked, kind="stable")
            rows = np.arange(low, end) if tree.parent[low] < 0 else tree.parent[low:end] - first_parent
            after, found = self.advance(state, rows, tree.word[low:end], asked[order] - low, labels[order])
            costs = np.empty_like(found)
            costs[order] = found
            end_cost[low:end] = costs[: end - low]
            prefix_cost[children] = prefix_cost[parents] + costs[end - low :]
            if len(parents):
                waiting.append((children.start, children.stop, after, low))
        return prefix_cost, end_cost


def _row_bytes(state: State) -> int:
    """What one row of a state takes."""
    return sum(tensor[:, :1].numel() * tensor.element_size() for tensor in flatten_state(state).values())


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Of torch's allocator on a GPU it has a type of its own; of its libraries' and a CPU's only a text."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)
