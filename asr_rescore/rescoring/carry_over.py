"""History from utterance to utterance: a model reads on from where the rescored best of the one before left it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import zip_longest
from typing import TypeVar

import numpy as np

from asr_rescore.errors import UsageError
from asr_rescore.kaldi import DataDir, Place
from asr_rescore.lm.scoring import NeuralScorer
from asr_rescore.models import State, join_states
from asr_rescore.nbest import NBest
from asr_rescore.ranking import Weights, best_hypothesis

Entry = TypeVar("Entry")


def chains(data: DataDir, places: Mapping[str, Place] | None, way: str) -> list[list[str]]:
    """The utterances of each speaker, or of each recording, in the order in which they were said.

    Args:
        data: says who speaks.
        places: where utterances lie in recordings; None where each is a recording of its own. Without, a speaker's
            utterances are in the order of their ids.
        way: ``speaker`` or ``recording``.

    Raises:
        UsageError: recordings are asked for, and nothing says what they are.
    """
    if way == "recording" and places is None:
        raise UsageError("--carry-over recording: the data-dir has no segments, so each utterance is a recording")

    known = {utt: (places or {}).get(utt, Place(utt)) for utt in data.utterances}
    found: dict[object, list[str]] = {}
    for utt, place in sorted(known.items(), key=lambda item: (astuple(item[1]), item[0])):
        found.setdefault(data.utt2spk[utt] if way == "speaker" else (place.recording, place.channel), []).append(utt)
    return list(found.values())


class CarryOver:
    """Where each model stands in each chain of utterances.

    A model that has read ``</s> w1 … wn`` of every best hypothesis so far reads ``</s>`` next, as before any sentence.
    An utterance that was not costed leaves it where it was.

    Args:
        chains: of utterances.
        scorers: the models.
        weights: by which a hypothesis is best.
    """

    def __init__(self, chains: Sequence[Sequence[str]], scorers: Sequence[NeuralScorer], weights: Weights):
        self.chains, self.scorers, self.weights = chains, scorers, weights
        self.chain_of = {utt: chain for chain, utts in enumerate(chains) for utt in utts}
        self.states = [[scorer.initial_state()] * len(chains) for scorer in scorers]  # by model and chain

    def rounds(self, entries: Iterable[tuple[str, Entry]]) -> Iterator[list[tuple[str, Entry]]]:
        """Entries of utterances in an order in which they can be costed: the first of all chains, the second of all, …

        All entries are held in memory.
        """
        held = dict(entries)
        for some in zip_longest(*([(utt, held[utt]) for utt in utts if utt in held] for utts in self.chains)):
            yield [entry for entry in some if entry is not None]

    def costs(self, model: int, lists: Sequence[NBest]) -> np.ndarray:
        """What a model says of the sentences of lists of different chains, one after the other; see :meth:`follow`."""
        sentences = [words for nbest in lists for words in nbest.words]
        roots = [root for root, nbest in enumerate(lists) for _ in nbest.words]
        return self.scorers[model].costs(sentences, self._states(model, lists), roots)

    def follow(self, lists: Sequence[NBest]) -> None:
        """Read on by the best hypotheses of lists with all their costs."""
        best = [nbest.words[best_hypothesis(nbest, self.weights)] for nbest in lists]
        for model, scorer in enumerate(self.scorers):
            for row, nbest in enumerate(lists):
                before = self._states(model, [nbest])
                self.states[model][self.chain_of[nbest.utt]] = scorer.states_after([best[row]], before)

    def _states(self, model: int, lists: Sequence[NBest]) -> State:
        return join_states([self.states[model][self.chain_of[nbest.utt]] for nbest in lists])
