"""What a language model does with text: cost it, sample it, learn from it while reading."""

from asr_rescore.lm.details import SentenceCosts, word_costs
from asr_rescore.lm.dynamic import GradientStatistics, dynamic_cost, gradient_statistics
from asr_rescore.lm.neural_scorer import NeuralScorer, sentence_scorer
from asr_rescore.lm.old_lm import GrammarScorer, grammar_scorer
from asr_rescore.lm.sampling import sample_sentences
from asr_rescore.lm.score_cache import CachedScorer
from asr_rescore.lm.scorer import SentenceScorer
from asr_rescore.lm.text_cost import perplexity, stream_cost
from asr_rescore.lm_config import DYNAMIC_PRESETS, DynamicConfig

__all__ = [
    "DYNAMIC_PRESETS",
    "CachedScorer",
    "DynamicConfig",
    "GradientStatistics",
    "GrammarScorer",
    "NeuralScorer",
    "SentenceCosts",
    "SentenceScorer",
    "dynamic_cost",
    "gradient_statistics",
    "grammar_scorer",
    "perplexity",
    "sample_sentences",
    "sentence_scorer",
    "stream_cost",
    "word_costs",
]
