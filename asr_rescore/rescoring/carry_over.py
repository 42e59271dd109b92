"""History carried from utterance to utterance: an LM continues after the best hypothesis of the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np

from asr_rescore.errors import UsageError
from asr_rescore.kaldi import DataDir, Place
from asr_rescore.lm import NeuralScorer
from asr_rescore.models import State, join_states
from asr_rescore.nbest import NBest
from asr_rescore.ranking import Weights, best_hypothesis
from asr_rescore.rescoring.config import CarryOverKind
from asr_rescore.rescoring.spool import Spool

Entry = TypeVar("Entry")


class CarryOver:
    """The state of each LM in each chain of utterances.

    An LM that has read ``</s> w1 … wn`` of every best hypothesis so far reads ``</s>`` next, as before any sentence.
    An utterance that was not costed leaves the state as it was.

    Memory holds one state of each LM for each chain. What is costed waits on disk until it is its turn.

    Args:
        chains: utterances in the order in which they were said, one chain per speaker or recording.
        scorers: one per LM.
        weights: decide which hypothesis is best.
        directory: there, lists wait on disk.
    """

    def __init__(
        self, chains: Sequence[Sequence[str]], scorers: Sequence[NeuralScorer], weights: Weights, directory: Path
    ):
        self.chains = chains
        self.scorers = scorers
        self.weights = weights
        self.directory = directory
        self.chain_of = {utt: chain for chain, utts in enumerate(chains) for utt in utts}
        self.states = [[scorer.initial_state()] * len(chains) for scorer in scorers]  # [LM][chain]

    def rounds(self, entries: Iterable[tuple[str, Entry]]) -> Iterator[Iterator[Entry]]:
        """Entries of utterances in rounds: the first of every chain, then the second of every chain, and so on.

        All entries are read before the first round. Each is in memory only while it is asked for, in its round.
        """
        with Spool[Entry](self.directory) as spool:
            spool.fill(entries)
            chains = [[utt for utt in utts if utt in spool] for utts in self.chains]
            for abreast in zip_longest(*chains):
                yield (spool[utt] for utt in abreast if utt is not None)

    def list_costs(self, lm: int, lists: Sequence[NBest]) -> np.ndarray:
        """One LM's costs of the sentences of lists of different chains, list after list: float64 (all sentences,)."""
        sentences = [words for nbest in lists for words in nbest.words]
        roots = [root for root, nbest in enumerate(lists) for _ in nbest.words]
        return self.scorers[lm].costs(sentences, self._states(lm, lists), roots)

    def follow(self, lists: Sequence[NBest]) -> None:
        """Read the best hypotheses of lists whose costs are all known."""
        for nbest in lists:
            best = nbest.words[best_hypothesis(nbest, self.weights)]
            chain = self.chain_of[nbest.utt]
            for lm, scorer in enumerate(self.scorers):
                self.states[lm][chain] = scorer.states_after([best], self.states[lm][chain])

    def _states(self, lm: int, lists: Sequence[NBest]) -> State:
        return join_states([self.states[lm][self.chain_of[nbest.utt]] for nbest in lists])


def chains_of(data: DataDir, places: Mapping[str, Place] | None, kind: CarryOverKind) -> list[list[str]]:
    """The utterances of each speaker, or of each recording, in the order in which they were said.

    Args:
        data: names the speakers.
        places: where utterances are in recordings; None if each utterance is a recording. Then a speaker's utterances
            are in the order of their ids.
        kind: ``speaker`` or ``recording``.

    Raises:
        UsageError: recordings are asked for, but nothing says what they are.
    """
    if kind == "recording" and places is None:
        raise UsageError(
            "`carry_over` is recording, but the data directory has no segments, so each utterance is a recording"
        )
    known = {utt: (places or {}).get(utt, Place(utt)) for utt in data.utterances}
    chains: dict[object, list[str]] = {}
    for utt, place in sorted(known.items(), key=lambda item: (astuple(item[1]), item[0])):
        chain = data.utt2spk[utt] if kind == "speaker" else (place.recording, place.channel)
        chains.setdefault(chain, []).append(utt)
    return list(chains.values())
