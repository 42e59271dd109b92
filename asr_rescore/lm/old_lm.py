"""The old language model as a sentence scorer over words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr_rescore.kaldi import SymbolTable, read_old_lm, read_words
from asr_rescore.ngram import WordLm


class GrammarScorer:
    """An old language model that costs words rather than word ids.

    Args:
        lm: the model, over the ids of ``symbols``.
        symbols: words.txt of the lang directory that the model is from.
    """

    def __init__(self, lm: WordLm[Any], symbols: SymbolTable):
        self.lm = lm
        self.symbols = symbols

    def costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """−ln P of each sentence, its end included: float64 (sentences,); inf where the model has no cost for it.

        Raises:
            InputError: words.txt lacks a word.
        """
        return self.lm.costs([[self.symbols.id(word) for word in words] for words in sentences])

    def word_costs(self, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """What each word of each sentence costs, and last its end; see :meth:`WordLm.word_costs`.

        Raises:
            InputError: words.txt lacks a word.
        """
        return [self.lm.word_costs([self.symbols.id(word) for word in words]) for words in sentences]


def grammar_scorer(lang_dir: str | Path, old_lm: str | Path | None = None, *, use_phi: bool = False) -> GrammarScorer:
    """A scorer of sentences by the old language model.

    Args:
        lang_dir: contains words.txt and, without ``old_lm``, G.fst, G.fst.gz or G.carpa.
        old_lm: a G.fst, a G.carpa or an ARPA file.
        use_phi: back off only where a word has no n-gram, as lattice-compose --phi-label does, instead of taking the
            cheapest path through a G.fst, or through the G.fst of an ARPA file. A G.carpa always does so.

    Raises:
        InputError: a file is missing or broken.
    """
    symbols = read_words(Path(lang_dir) / "words.txt")
    return GrammarScorer(read_old_lm(lang_dir if old_lm is None else old_lm, symbols, use_phi=use_phi), symbols)
