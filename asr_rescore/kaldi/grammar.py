"""G.fst: the old language model, as the word-level FST from which the decoding graph was built."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from asr_rescore.files import atomic_binary
from asr_rescore.kaldi.fst import STANDARD, Fst, encode_fst, no_strings, read_fst
from asr_rescore.kaldi.stream import open_window
from asr_rescore.ngram import WordFst

GRAMMAR_FILES = ("G.fst", "G.fst.gz")
_REMEDY = "convert it with fstconvert --fst_type=vector or, if its arcs have another type, make it again with arpa2fst"


def read_grammar(path: str | os.PathLike[str]) -> WordFst:
    """Read a G.fst, plain or gzipped. It must have OpenFst's type ``vector`` and ``standard`` arcs.

    Args:
        path: the file, or a lang directory that contains G.fst or G.fst.gz.

    Raises:
        InputError: the FST has another type, is cut off, or has impossible costs or states.
    """
    with open_window(_grammar_file(Path(path)), largest=None) as window:
        fst = read_fst(window, {STANDARD.name: STANDARD}, _REMEDY)
        states = len(fst.final_costs)
        cost = fst.costs[:, 0]
        final = fst.final_costs[:, 0]
        if not 0 <= fst.start < states:
            raise window.error(f"start state {fst.start} of {states}", "an existing state", "make the file again")
        if len(fst.target) and not 0 <= fst.target.min() <= fst.target.max() < states:
            raise window.error("an arc to a state that does not exist", f"0 to {states - 1}", "make the file again")
        if not np.isfinite(cost).all() or np.isnan(final).any() or np.isneginf(final).any():
            raise window.error("a cost that is not a finite number", "−ln p", "make the file again")
    return WordFst(
        start=fst.start,
        source=fst.source.astype(np.int32),
        target=fst.target.astype(np.int32),
        ilabel=fst.ilabel,
        olabel=fst.olabel,
        cost=cost,
        final=final,
    )


def _grammar_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    return next((path / name for name in GRAMMAR_FILES if (path / name).exists()), path / GRAMMAR_FILES[0])


def write_grammar(path: str | os.PathLike[str], grammar: WordFst) -> None:
    """Write a G.fst, gzipped if ``path`` ends in .gz. Costs become float32; the file appears only when complete."""
    encoded = encode_fst(
        Fst(
            STANDARD,
            grammar.start,
            grammar.source,
            grammar.target,
            grammar.ilabel,
            grammar.olabel,
            grammar.cost[:, None],
            grammar.final[:, None],
            no_strings(len(grammar.source)),
            no_strings(len(grammar.final)),
        )
    )
    with atomic_binary(path) as stream:
        stream.write(encoded)
