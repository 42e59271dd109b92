"""Neural costs on the arcs of lattices, in place of the old language model's, for many lattices together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from asr_rescore.errors import RescoreError
from asr_rescore.failures import Failures
from asr_rescore.kaldi import SymbolTable
from asr_rescore.lattice import EPSILON, START, Expansion, ExpansionLimits, Lattice, Level
from asr_rescore.lm import NeuralScorer
from asr_rescore.models import State, join_states, select_state
from asr_rescore.ngram import NoLm, Walk, WordLm
from asr_rescore.ranking import Weights
from asr_rescore.vocab import SENTENCE_END

# Lattices are expanded together up to this many arcs: enough contexts at each depth for fast matrix products.
GROUP_ARCS = 20_000


class LatticeRescorer:
    """Adds Σ Wᵢ·(nnᵢ − old) to the graph costs of lattices, for each arc in the history that leads to it.

    A path that the old LM has no path for keeps its first-pass cost, as such a hypothesis of an N-best list does.

    A first expansion with one history per state is cheap. It estimates the cost from each state to the end, which the
    beam of the real expansion uses.

    Args:
        old_lm: the old LM, from which the lattices' graph costs come; None if it is not known, so that the whole graph
            costs take its place.
        scorers: the neural LMs.
        weights: LM weights, and the scales at which paths are compared.
        words: the word symbols of the lattices.
        limits: limits of the expansion.
    """

    def __init__(
        self,
        old_lm: WordLm[Any] | None,
        scorers: Sequence[NeuralScorer],
        weights: Weights,
        words: SymbolTable,
        limits: ExpansionLimits,
    ):
        self.old_lm = old_lm
        self.weights = weights
        self.words = words
        self.limits = limits
        weighted = [(scorer, weight) for scorer, weight in zip(scorers, weights.lm, strict=True) if weight]
        self.lms = [_WeightedLm(scorer, weight, words) for scorer, weight in weighted]

    def rescore(self, lattices: Iterable[tuple[str, Lattice]], failures: Failures) -> Iterator[tuple[str, Lattice]]:
        """Yield each utterance with its rescored lattice, in order.

        A lattice for which a new LM has no cost, or none of whose paths the old LM has a cost for, is yielded
        unchanged. If the old LM lacks only some of the paths, the others are rescored. A lattice without a path, or
        with word ids that are not in words.txt, is left out. All this is noted in ``failures``.
        """
        group: list[tuple[str, Lattice]] = []
        arcs = 0
        for utt, lattice in lattices:
            group.append((utt, lattice))
            arcs += lattice.num_arcs
            if arcs >= GROUP_ARCS:
                yield from self._rescore_group(group, failures)
                group = []
                arcs = 0
        yield from self._rescore_group(group, failures)

    def _rescore_group(self, group: list[tuple[str, Lattice]], failures: Failures) -> Iterator[tuple[str, Lattice]]:
        scale = self.weights.point.acoustic_scale
        penalty = self.weights.point.wip
        expansions: dict[str, Expansion] = {}
        for utt, lattice in group:
            try:
                for word in np.unique(lattice.word).tolist():
                    self.words.word(word)
                expansions[utt] = Expansion(self._scaled(lattice), ExpansionLimits(1, float("inf")), scale, penalty)
            except RescoreError as error:
                failures.add(utt, error)
        sound = set(expansions)
        walk: Walk[Any] = Walk(NoLm() if self.old_lm is None else self.old_lm)
        if self.lms:
            self._grow(expansions, walk, failures)
            expansions = {
                utt: Expansion(first.source, self.limits, scale, penalty, first.costs_to_end())
                for utt, first in expansions.items()
            }
            self._grow(expansions, walk, failures)
            for utt, expansion in expansions.items():
                self._note_unknown(utt, expansion, failures)
            expansions = {utt: expansion for utt, expansion in expansions.items() if not expansion.all_unknown}
        for utt, lattice in group:
            if utt not in sound:
                continue
            rescored = expansions[utt].lattice() if self.lms and utt in expansions else lattice
            if rescored.num_states:
                yield utt, rescored
            else:
                failures.add_empty(utt)

    def _scaled(self, lattice: Lattice) -> Lattice:
        """The lattice or, if the old LM is not known, the lattice with 1 − Σ Wᵢ of its graph costs."""
        if self.old_lm is not None:
            return lattice
        left = max(0.0, 1.0 - sum(self.weights.lm))  # the sum may be 1 and a rounding error
        final = np.isfinite(lattice.final_graph)
        final_graph = np.where(final, left * np.where(final, lattice.final_graph, 0.0), np.inf)
        return replace(lattice, graph=left * lattice.graph, final_graph=final_graph)

    def _grow(self, expansions: dict[str, Expansion], walk: Walk[Any], failures: Failures) -> None:
        """Grow all expansions, depth by depth. Those that fail are removed and noted."""
        contexts = _Contexts(expansions, self.lms, walk)
        while True:
            levels = {}
            for utt, expansion in expansions.items():
                level = expansion.level()
                if level is not None:
                    levels[utt] = level
            if not levels:
                return
            costs = contexts.read(levels)
            for utt, level in levels.items():
                here = costs[utt]
                bad = np.flatnonzero(np.isnan(here))
                if bad.size:
                    failures.add(
                        utt,
                        f"first pass kept: the language model gives {self._name(level.words[bad[0]])} a cost that is "
                        "not a finite number; its weights may be damaged",
                    )
                    del expansions[utt]
                else:
                    expansions[utt].advance(here.tolist())
            contexts.keep_only({(utt, node) for utt, grown in expansions.items() for node in grown.contexts})

    def _note_unknown(self, utt: str, expansion: Expansion, failures: Failures) -> None:
        """Note the words that the old LM has no path for, if there are any."""
        unknown = expansion.words_unknown
        if not unknown:
            return
        result = "first pass kept"
        if not expansion.all_unknown:
            result = (
                f"rescored in part, the paths through {len(unknown)} of {expansion.words_asked} words keep their "
                "first-pass cost"
            )
        failures.add(
            utt,
            f"{result}: the old LM has no path for {self._name(unknown[0])} in some history; give the language model "
            "that the lattices' graph costs come from",
        )

    def _name(self, word: int) -> str:
        return "the sentence end" if word == EPSILON else repr(self.words.word(word))


class _WeightedLm:
    """A neural LM with its weight, and its own ids of the lattices' words; ``EPSILON`` stands for the sentence end."""

    def __init__(self, scorer: NeuralScorer, weight: float, words: SymbolTable):
        self.scorer = scorer
        self.weight = weight
        vocabulary = scorer.vocabulary
        self.ids = np.zeros(max(words.ids.values()) + 1, dtype=np.int64)
        self.class_cost = np.zeros(len(self.ids))
        places = list(words.ids.values())
        self.ids[places] = vocabulary.encode(list(words.ids))
        self.class_cost[places] = [scorer.class_cost(word) for word in words.ids]
        self.ids[EPSILON] = vocabulary.ids[SENTENCE_END]
        self.class_cost[EPSILON] = 0.0


Place = tuple[str, int]  # (utterance, node of its expansion)


class _Contexts:
    """The states of all language models, old and new, at each node after which a word may still be read."""

    def __init__(self, utterances: Iterable[str], lms: Sequence[_WeightedLm], walk: Walk[Any]):
        self.lms = lms
        self.walk = walk
        self.rows: dict[Place, int] = {(utt, START): 0 for utt in utterances}
        self.height = 1  # number of rows of the states
        self.histories: dict[Place, Any] = dict.fromkeys(self.rows, walk.start[1])  # states of the old LM
        self.states: list[State] = [lm.scorer.model.initial_state(1, lm.scorer.device) for lm in lms]

    def read(self, levels: dict[str, Level]) -> dict[str, np.ndarray]:
        """Read the last word of each new node and look up the words asked for after it.

        Returns:
            utterance → Σ Wᵢ·(nnᵢ − old) of each word asked for, float64 (asked,): inf if the old LM has no path for
            the word, NaN if a new LM has no finite cost for it.
        """
        places: list[Place] = []
        rows: list[int] = []
        read: list[int] = []
        asked: list[int] = []
        words: list[int] = []
        old: list[float] = []
        for utt, level in levels.items():
            first = len(places)
            for node in level.nodes:
                history = self.histories[utt, node.before]
                if node.word != EPSILON:
                    _, history = self.walk.step(history, node.word)
                self.histories[utt, node.number] = history
                places.append((utt, node.number))
                rows.append(self.rows[utt, node.before])
                read.append(node.word)
            for index, word in zip(level.asked, level.words, strict=True):
                node = level.nodes[index]
                history = self.histories[utt, node.number]
                cost = self.walk.end(history) if word == EPSILON else self.walk.step(history, word)[0]
                old.append(cost if node.word != EPSILON else cost + self.walk.start[0])
            asked += [first + index for index in level.asked]
            words += level.words
        known = np.isfinite(old)
        replaced = np.where(known, old, 0.0)
        added = np.zeros(len(words))
        for index, lm in enumerate(self.lms):
            after, costs = lm.scorer.advance(
                self.states[index], np.array(rows), lm.ids[read], np.array(asked, dtype=np.int64), lm.ids[words]
            )
            self.states[index] = join_states([self.states[index], after])
            added += lm.weight * (costs + lm.class_cost[words] - replaced)
        added = np.where(np.isfinite(added), np.where(known, added, np.inf), np.nan)
        self.rows.update((place, self.height + index) for index, place in enumerate(places))
        self.height += len(places)
        ends = np.cumsum([len(level.words) for level in levels.values()])
        return dict(zip(levels, np.split(added, ends[:-1]), strict=True))

    def keep_only(self, places: Iterable[Place]) -> None:
        """Forget the states of all other nodes."""
        kept = sorted(places)
        rows = np.array([self.rows[place] for place in kept], dtype=np.int64)
        for index, lm in enumerate(self.lms):
            self.states[index] = select_state(self.states[index], torch.from_numpy(rows).to(lm.scorer.device))
        self.rows = {place: row for row, place in enumerate(kept)}
        self.height = len(kept)
        self.histories = {place: self.histories[place] for place in kept}
