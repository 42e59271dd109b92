"""NIST's formats of transcripts, and word errors counted as its sclite counts them."""

from asr_rescore.sclite.global_map import GlobalMap, Rule
from asr_rescore.sclite.network import ScliteConfig, WordNetwork
from asr_rescore.sclite.network_alignment import AlignedWord, align_networks, count_errors
from asr_rescore.sclite.scoring import ScliteResult, ScoredSegment, score_stm, score_trn
from asr_rescore.sclite.stm import Segment, Stm, read_stm, write_stm
from asr_rescore.sclite.trn import alternatives_in, check_words, read_trn, trn_id, write_trn

__all__ = [
    "AlignedWord",
    "GlobalMap",
    "Rule",
    "ScliteConfig",
    "ScliteResult",
    "ScoredSegment",
    "Segment",
    "Stm",
    "WordNetwork",
    "align_networks",
    "alternatives_in",
    "check_words",
    "count_errors",
    "read_stm",
    "read_trn",
    "score_stm",
    "score_trn",
    "trn_id",
    "write_stm",
    "write_trn",
]
