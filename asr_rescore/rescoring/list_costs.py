"""The expensive half of rescoring N-best lists: every hypothesis of a job costed by every language model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.failures import Failures
from asr_rescore.lattice import Lattice
from asr_rescore.lm import SentenceScorer
from asr_rescore.nbest import GRAPH, NO_LM, OLD_LM, NBest
from asr_rescore.progress import Bar, progress_bar
from asr_rescore.ranking import neural_column
from asr_rescore.rescoring.carry_over import CarryOver
from asr_rescore.rescoring.first_pass import FirstPass, split_old_lm

# Lists are costed together up to this many words: enough rows for fast matrix products, few enough to hold.
GROUP_WORDS = 150_000


@dataclass(frozen=True)
class _Uncosted:
    """A list of the first pass, and the hypotheses that the old LM has a path for, bool (hypotheses,)."""

    nbest: NBest
    known: np.ndarray


class ListCoster:
    """Turns a job's lattices into N-best lists with a column of costs for every LM.

    A hypothesis that the old LM has no path for keeps its first-pass cost, and an utterance that a new LM cannot cost
    keeps the ranking of the first pass: the neural costs are set to the old LM's, and the reason is noted in
    ``failures``.

    Args:
        first_pass: gives the hypotheses.
        n: maximum number of hypotheses per utterance.
        old_lm: the language model of the first pass; None if it is not known.
        scorers: the neural language models.
        failures: gets what could not be done.
        carry_over: the same language models with a history; None to cost every utterance by itself.
    """

    def __init__(
        self,
        first_pass: FirstPass,
        n: int,
        old_lm: SentenceScorer | None,
        scorers: Sequence[SentenceScorer],
        failures: Failures,
        carry_over: CarryOver | None = None,
    ):
        self.first_pass = first_pass
        self.n = n
        self.old_lm = old_lm
        self.scorers = scorers
        self.failures = failures
        self.carry_over = carry_over

    def lists(self, lattices: Iterable[tuple[str, Lattice]], bar: Bar | None = None) -> Iterator[NBest]:
        """Yield the costed list of each utterance that has a hypothesis; ``bar`` shows the progress."""
        # Utterances of one round do not depend on each other.
        entries = self._all_uncosted(lattices)
        rounds: Iterable[Iterator[_Uncosted]] = [entries]
        if self.carry_over is not None:
            rounds = self.carry_over.rounds((uncosted.nbest.utt, uncosted) for uncosted in entries)
        with bar or progress_bar("costs", unit="utterances") as bar:
            for abreast in rounds:
                for group in self._groups(abreast):
                    usable = [uncosted for uncosted in group if uncosted.known.any()]
                    try:
                        costed = self._cost(usable)
                    except RescoreError:  # one by one, so that a bad list does not take the good ones with it
                        costed = [self._cost_or_keep(uncosted) for uncosted in usable]
                    by_utt = {nbest.utt: nbest for nbest in costed}
                    for uncosted in group:
                        utt = uncosted.nbest.utt
                        yield by_utt[utt] if utt in by_utt else self._neutral(uncosted.nbest)
                    bar.update(len(group))

    def _all_uncosted(self, lattices: Iterable[tuple[str, Lattice]]) -> Iterator[_Uncosted]:
        for utt, lattice in lattices:
            uncosted = self._uncosted(utt, lattice)
            if uncosted is not None:
                yield uncosted

    def _groups(self, entries: Iterable[_Uncosted]) -> Iterator[list[_Uncosted]]:
        group: list[_Uncosted] = []
        words = 0
        for uncosted in entries:
            group.append(uncosted)
            words += sum(len(hypothesis) + 1 for hypothesis in uncosted.nbest.words)
            if words >= GROUP_WORDS:
                yield group
                group = []
                words = 0
        if group:
            yield group

    def _uncosted(self, utt: str, lattice: Lattice) -> _Uncosted | None:
        try:
            paths = self.first_pass.paths(lattice, self.n)
            if not paths:
                self.failures.add_empty(utt)
                return None
            nbest = NBest.of_paths(utt, paths, self.first_pass.words.word)
        except RescoreError as error:
            self.failures.add(utt, error)
            return None
        try:
            nbest, known = split_old_lm(nbest, self.old_lm)
        except RescoreError as error:
            self.failures.add(utt, f"first pass kept: {error}")
            none = np.zeros(len(nbest))
            nbest = nbest.with_cost(OLD_LM, none).with_cost(NO_LM, nbest.costs[GRAPH])
            return _Uncosted(nbest, none.astype(bool))
        if not known.all():
            self._note_unknown(nbest, known)
        return _Uncosted(nbest, known)

    def _neutral(self, nbest: NBest) -> NBest:
        """The list with neural costs that leave the first pass's ranking unchanged, whatever the LM weights."""
        for lm in range(len(self.scorers)):
            nbest = nbest.with_cost(neural_column(lm), nbest.costs[OLD_LM])
        return nbest

    def _note_unknown(self, nbest: NBest, known: np.ndarray) -> None:
        unknown = np.flatnonzero(~known)
        if len(unknown) == len(nbest):
            result = "first pass kept"
        else:
            result = f"rescored in part, {len(unknown)} of {len(nbest)} hypotheses keep their first-pass cost"
        self.failures.add(
            nbest.utt,
            f"{result}: {nbest.utt}-{unknown[0] + 1}: the old LM has no path for "
            f"{' '.join(nbest.words[unknown[0]])!r}; give the language model that the lattices' graph costs come from",
        )

    def _cost(self, group: Sequence[_Uncosted]) -> list[NBest]:
        if not group:
            return []
        lists = [uncosted.nbest for uncosted in group]
        sentences = [words for nbest in lists for words in nbest.words]
        known = np.concatenate([uncosted.known for uncosted in group])
        ends = np.cumsum([len(nbest) for nbest in lists])
        for lm, scorer in enumerate(self.scorers):
            costs = scorer.costs(sentences) if self.carry_over is None else self.carry_over.list_costs(lm, lists)
            columns = np.split(np.where(known, costs, 0.0), ends[:-1])  # an unknown one's old cost is 0 too
            lists = [nbest.with_cost(neural_column(lm), column) for nbest, column in zip(lists, columns, strict=True)]
        if self.carry_over is not None:
            self.carry_over.follow(lists)
        return lists

    def _cost_or_keep(self, uncosted: _Uncosted) -> NBest:
        try:
            return self._cost([uncosted])[0]
        except RescoreError as error:
            self.failures.add(uncosted.nbest.utt, f"first pass kept: {error}")
            return self._neutral(uncosted.nbest)
