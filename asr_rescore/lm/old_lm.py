"""The old language model as a sentence scorer over words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asr_rescore.kaldi import SymbolTable, read_grammar, read_words
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


def grammar_scorer(lang_dir: str | Path, *, use_phi: bool = False) -> GrammarScorer:
    """A scorer of sentences by the old language model, the G.fst of a lang directory.

    Args:
        lang_dir: contains words.txt and G.fst or G.fst.gz.
        use_phi: treat #0 as a failure arc, as lattice-compose --phi-label does, instead of taking the cheapest path.

    Raises:
        InputError: a file is missing or broken.
    """
    symbols = read_words(Path(lang_dir) / "words.txt")
    grammar = Grammar(read_grammar(lang_dir), backoff_label=symbols.get("#0"), failure=use_phi)
    return GrammarScorer(grammar, symbols)
