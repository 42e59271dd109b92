"""The old language model as a sentence scorer over words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr_rescore.kaldi import SymbolTable
from asr_rescore.ngram import Grammar


class GrammarScorer:
    """A word grammar (G.fst) that costs words rather than word ids.

    Args:
        grammar: the grammar, over the ids of ``symbols``.
        symbols: words.txt of the lang directory that the grammar is from.
    """

    def __init__(self, grammar: Grammar, symbols: SymbolTable):
        self.grammar = grammar
        self.symbols = symbols

    def costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """−ln P of each sentence, its end included: float64 (sentences,); inf where the grammar has no path for it.

        Raises:
            InputError: words.txt lacks a word.
        """
        return self.grammar.costs([[self.symbols.id(word) for word in words] for words in sentences])
