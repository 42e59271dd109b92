"""Lattices and algorithms on them, without files and without torch."""

from asr_rescore.lattice.expansion import START, CostsToEnd, Expansion, ExpansionLimits, Level
from asr_rescore.lattice.graph import EPSILON, Lattice, Ragged
from asr_rescore.lattice.mbr import Decoding, mbr_decode
from asr_rescore.lattice.nbest_search import n_best
from asr_rescore.lattice.oracle import oracle
from asr_rescore.lattice.order import connect, topological_order
from asr_rescore.lattice.paths import Path, best_path, best_path_of, best_paths
from asr_rescore.lattice.posteriors import Posteriors, posteriors
from asr_rescore.lattice.transform import from_paths, prune, scale

__all__ = [
    "EPSILON",
    "START",
    "CostsToEnd",
    "Decoding",
    "Expansion",
    "ExpansionLimits",
    "Lattice",
    "Level",
    "Path",
    "Posteriors",
    "Ragged",
    "best_path",
    "best_path_of",
    "best_paths",
    "connect",
    "from_paths",
    "mbr_decode",
    "n_best",
    "oracle",
    "posteriors",
    "prune",
    "scale",
    "topological_order",
]
