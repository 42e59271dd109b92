"""Old language models: the cost of each word of a sentence under a word grammar or an n-gram model with back-off."""

from asr_rescore.ngram.backoff import BackoffLm, CheapestBackoff, Entry
from asr_rescore.ngram.grammar import Grammar, WordFst
from asr_rescore.ngram.table import NgramLevel, NgramTable
from asr_rescore.ngram.word_lm import NoLm, Walk, WordLm

__all__ = [
    "BackoffLm",
    "CheapestBackoff",
    "Entry",
    "Grammar",
    "NgramLevel",
    "NgramTable",
    "NoLm",
    "Walk",
    "WordFst",
    "WordLm",
]
