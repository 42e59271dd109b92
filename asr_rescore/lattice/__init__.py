"""Lattices and what is computed on them; no files, no torch."""

from asr_rescore.lattice.graph import EPSILON, Lattice, Ragged

__all__ = ["EPSILON", "Lattice", "Ragged"]
