"""Sentences in, −ln P out: each distinct prefix is read once, and only the words that were asked for are looked up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from asr_rescore.checkpoint import LoadedModel
from asr_rescore.config import NormaliserKind
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm.prefix_tree import PrefixTree
from asr_rescore.models import LanguageModel, State, flatten_state, join_states, select_state
from asr_rescore.models.normaliser import check_precision
from asr_rescore.progress import beat
from asr_rescore.vocab import SENTENCE_END, Vocabulary

# Contexts that go through the network together: enough rows for fast matrix products at little memory. The output
# layer divides them further by itself.
BATCH = 1024
# Bound on the memory of the network's states while a tree is walked.
STATE_BYTES = 1 << 30
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")
NORMALISERS: dict[NormaliserKind, torch.dtype | None] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
    "none": None,
}


class NeuralScorer:
    """Costs of whole sentences under one neural language model.

    A sentence w1 … wn is read after ``</s>``, and ``</s>`` after it counts as a word. The network starts in its zero
    state. A word outside the vocabulary costs :meth:`Vocabulary.class_cost` in addition to its class.

    Args:
        model: network; it is put into evaluation mode. Costs are exact up to its own rounding and summed in float64.
        vocabulary: the model's vocabulary.
        device: where the model is.
        normaliser: number format in which softmaxes are normalised: ``float32``; ``bfloat16``, ``float16`` (on GPUs) or
            ``int8`` (on CPUs), which are faster and each round a little; or ``none``, for a model trained with
            self_normalization, whose costs are then not exactly −ln P.
        oov_word: the recogniser's word for everything outside its vocabulary. If the model does not know this word
            either, it costs as much as the model's class itself.
        batch: contexts that go through the network together; halved when memory runs out.
        state_bytes: bound on the memory of the states while a tree is walked. If one state is large, fewer contexts go
            through the network together.

    Raises:
        UsageError: with this normaliser the device would be slower than with float32.
    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        device: torch.device | str,
        normaliser: NormaliserKind = "float32",
        oov_word: str | None = None,
        batch: int = BATCH,
        state_bytes: int = STATE_BYTES,
    ):
        self.model = model.eval()
        self.vocabulary = vocabulary
        self.device = torch.device(device)
        self.normaliser = NORMALISERS[normaliser]
        self.oov_word = oov_word
        self.batch = batch
        self.state_bytes = state_bytes
        if self.normaliser is not None:
            check_precision(self.normaliser, self.device)

    def costs(
        self, sentences: Sequence[Sequence[str]], start: State | None = None, roots: Sequence[int] | None = None
    ) -> np.ndarray:
        """−ln P of each sentence, its end included.

        Args:
            sentences: words. An empty sentence is allowed and costs −ln P(``</s>`` | ``</s>``).
            start: what the network has read before, one row per context. By default there is one context, in which
                it has read nothing.
            roots: the row of ``start`` for each sentence, if there are several.

        Returns:
            float64 (sentences,).

        Raises:
            RescoreError: the model's probability of a sentence is not a number.
            UsageError: a sentence is a string instead of a sequence of words.
        """
        for words in sentences:
            refuse_string(words)
        if not sentences:
            return np.zeros(0)
        tree = PrefixTree.build([self.vocabulary.encode(words) for words in sentences], self._end, roots)
        prefix_cost, end_cost = self._walk(tree, self.initial_state() if start is None else start)
        costs: np.ndarray = prefix_cost[tree.leaf] + end_cost[tree.leaf] + self._class_costs(sentences)
        for cost, words in zip(costs.tolist(), sentences, strict=True):
            _check_finite(cost, words)
        return costs

    def word_costs(self, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """What each word of each sentence costs after the words before it, and last the sentence's end.

        Returns:
            For each sentence float64 (words + 1,); the sum is the sentence's cost.

        Raises:
            RescoreError: the model's probability of a word is not a number.
            UsageError: a sentence is a string instead of a sequence of words.
        """
        for words in sentences:
            refuse_string(words)
        if not sentences:
            return []
        tree = PrefixTree.build([self.vocabulary.encode(words) for words in sentences], self._end)
        prefix_cost, end_cost = self._walk(tree, self.initial_state())
        found = []
        for words, leaf in zip(sentences, tree.leaf.tolist(), strict=True):
            node = leaf
            costs = [float(end_cost[leaf])]
            for word in reversed(words):
                parent = int(tree.parent[node])
                costs.append(float(prefix_cost[node] - prefix_cost[parent]) + self.class_cost(word))
                node = parent
            _check_finite(sum(costs), words)
            found.append(np.array(costs[::-1]))
        return found

    def class_cost(self, word: str) -> float:
        """What is added to −ln P of the word's id; see :meth:`Vocabulary.class_cost`."""
        vocabulary = self.vocabulary
        if word == self.oov_word and vocabulary.is_oov(word):
            return -math.log(vocabulary.unk_probs.get(vocabulary.unk, 1.0))
        return vocabulary.class_cost(word)

    def _class_costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """What each sentence's words outside the vocabulary cost in addition to their class, float64 (sentences,)."""
        costs = {word: self.class_cost(word) for words in sentences for word in words}
        return np.array([sum(costs[word] for word in words) for words in sentences], dtype=np.float64)

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
            state: states of the contexts in which the words are read.
            rows: int64 (contexts,), the row of ``state`` that each context starts from.
            words: int64 (contexts,), ids of the words read.
            asked: int64 (asked,), the context of each looked-up word, in ascending order.
            labels: int64 (asked,), ids of the looked-up words.

        Returns:
            The state after each word read, and −ln P of each looked-up word, float64 (asked,).
        """
        states = []
        costs = np.zeros(len(asked))
        inputs = self._indices(words).unsqueeze(0)  # (time, contexts)
        begin = 0
        while begin < len(rows):
            beat()
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
        """One row: the state of a network that has read nothing."""
        return self.model.initial_state(1, self.device)

    @torch.inference_mode()
    def states_after(self, sentences: Sequence[Sequence[str]], start: State) -> State:
        """The state after ``</s>`` and each of the sentences, each read from its own row of ``start``."""
        states = []
        for row, words in enumerate(sentences):
            ids = np.array([self._end, *self.vocabulary.encode(words)])
            before = select_state(start, self._indices(np.array([row])))
            _, after = self.model.read(self._indices(ids).unsqueeze(1), before)  # ids: (time, 1)
            states.append(after)
        return join_states(states)

    def _walk(self, tree: PrefixTree, start: State) -> tuple[np.ndarray, np.ndarray]:
        """Cost of every prefix, and of a sentence end after it: two float64 (nodes,).

        A batch's children come before its siblings, so at most one batch of states per word of depth is waiting.
        """
        prefix_cost = np.zeros(len(tree))
        end_cost = np.zeros(len(tree))
        batch = min(self.batch, max(1, self.state_bytes // (_row_bytes(start) * (tree.depth + 1))))
        # Nodes from low to high, the states of their parents, and the number of the first parent.
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


def refuse_string(words: Sequence[str]) -> None:
    """Refuse a string in place of a sentence, since its letters would be taken for words.

    Raises:
        UsageError: it is one.
    """
    if isinstance(words, str):
        raise UsageError(f"a sentence is the string {words[:40]!r}, expected a sequence of words; split it")


def _check_finite(cost: float, words: Sequence[str]) -> None:
    if not math.isfinite(cost):
        raise RescoreError(
            f"the language model gives cost {cost} to {' '.join(words)!r}, expected a finite number; its weights may "
            "be damaged: check its training log"
        )


def sentence_scorer(
    loaded: LoadedModel,
    device: torch.device | str = "cpu",
    normaliser: NormaliserKind = "float32",
    oov_word: str | None = None,
) -> NeuralScorer:
    """A scorer of sentences by a model that was read from its directory.

    Args:
        loaded: see :func:`~asr_rescore.checkpoint.load_model`; it must be on ``device``.
        device: where the model is.
        normaliser, oov_word: see :class:`NeuralScorer`.

    Raises:
        UsageError: the normaliser does not suit this model or this device.
    """
    trained = loaded.provenance.get("config", {}).get("train", {})
    if normaliser == "none" and not trained.get("self_normalization"):
        raise UsageError(
            f"`normaliser` is none, but {loaded.name} was not trained with train.self_normalization, so without "
            "normalisers its outputs are not probabilities; use float32"
        )
    return NeuralScorer(loaded.model, loaded.vocabulary, device, normaliser, oov_word)


def _row_bytes(state: State) -> int:
    """Bytes of one row of a state."""
    return sum(tensor[:, :1].numel() * tensor.element_size() for tensor in flatten_state(state).values())


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Torch's GPU allocator has its own error type; the CPU's and those of libraries are told by their text."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)
