"""Trains large language models, distils them into small ones, and rescores Kaldi's lattices with either.

The names below are the public interface; docs/python.md walks through them. Each is imported when it is first used, so
that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr_rescore.checkpoint import LoadedModel, load_model
    from asr_rescore.kaldi import SymbolTable, read_lattices, read_nbest_dir, read_table, read_words
    from asr_rescore.lattice import Decoding, Lattice, best_path, mbr_decode, n_best, oracle
    from asr_rescore.lm import SentenceCosts, SentenceScorer, grammar_scorer, sentence_scorer, word_costs
    from asr_rescore.nbest import NBest
    from asr_rescore.ranking import OperatingPoint, Weights, best_hypothesis
    from asr_rescore.report import SystemReport
    from asr_rescore.rescoring.config import LatticeConfig, ListConfig
    from asr_rescore.rescoring.run import rescore
    from asr_rescore.sclite import ScliteConfig, ScliteResult, score_stm, score_trn
    from asr_rescore.scoring import ScoringConfig
    from asr_rescore.tuning import Tuning, tune
    from asr_rescore.word_errors import ErrorCount, wer

__version__ = "0.2.0"
__all__ = [
    "Decoding",
    "ErrorCount",
    "Lattice",
    "LatticeConfig",
    "ListConfig",
    "LoadedModel",
    "NBest",
    "OperatingPoint",
    "ScliteConfig",
    "ScliteResult",
    "ScoringConfig",
    "SentenceCosts",
    "SentenceScorer",
    "SymbolTable",
    "SystemReport",
    "Tuning",
    "Weights",
    "best_hypothesis",
    "best_path",
    "grammar_scorer",
    "load_model",
    "mbr_decode",
    "n_best",
    "oracle",
    "read_lattices",
    "read_nbest_dir",
    "read_table",
    "read_words",
    "rescore",
    "score_stm",
    "score_trn",
    "sentence_scorer",
    "tune",
    "wer",
    "word_costs",
]
_MODULES = {
    "asr_rescore.checkpoint": ["LoadedModel", "load_model"],
    "asr_rescore.kaldi": ["SymbolTable", "read_lattices", "read_nbest_dir", "read_table", "read_words"],
    "asr_rescore.lattice": ["Decoding", "Lattice", "best_path", "mbr_decode", "n_best", "oracle"],
    "asr_rescore.lm": ["SentenceCosts", "SentenceScorer", "grammar_scorer", "sentence_scorer", "word_costs"],
    "asr_rescore.nbest": ["NBest"],
    "asr_rescore.ranking": ["OperatingPoint", "Weights", "best_hypothesis"],
    "asr_rescore.report": ["SystemReport"],
    "asr_rescore.rescoring.config": ["LatticeConfig", "ListConfig"],
    "asr_rescore.rescoring.run": ["rescore"],
    "asr_rescore.sclite": ["ScliteConfig", "ScliteResult", "score_stm", "score_trn"],
    "asr_rescore.scoring": ["ScoringConfig"],
    "asr_rescore.tuning": ["Tuning", "tune"],
    "asr_rescore.word_errors": ["ErrorCount", "wer"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
