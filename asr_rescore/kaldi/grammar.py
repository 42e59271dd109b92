"""G.fst: the old language model, as the FST over words that the decoding graph was built from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_binary
from asr_rescore.kaldi.fst import STANDARD, Fst, encode_fst, no_strings, read_fst
from asr_rescore.kaldi.stream import open_window
from asr_rescore.ngram import WordFst

_REMEDY = "convert it: fstconvert --fst_type=vector (or, for other arcs, make it again with arpa2fst)"


def grammar_file(lang_dir: str | os.PathLike[str]) -> Path:
    """The G.fst or G.fst.gz of a lang directory; a path to a file is given back as it is.

    Raises:
        InputError: there is none.
    """
    path = Path(lang_dir)
    if not path.is_dir():
        return path
    for name in ("G.fst", "G.fst.gz"):
        if (path / name).exists():
            return path / name
    found = "only G.carpa" if (path / "G.carpa").exists() else "no G.fst"
    raise InputError(
        path,
        found=found,
        expected="G.fst or G.fst.gz",
        remedy="make it with Kaldi's utils/format_lm.sh, or give another lang directory",
    )


def read_grammar(path: str | os.PathLike[str]) -> WordFst:
    """Read a G.fst, plain or gzipped, of OpenFst's type vector with standard arcs; no other type is read.

    Args:
        path: the file, or a lang directory that holds it.

    Raises:
        InputError: another type of FST, a file cut off, or costs or states that make no sense.
    """
    with open_window(str(grammar_file(path))) as window:
        fst = read_fst(window, {STANDARD.name: STANDARD}, _REMEDY)
        states, cost, final = len(fst.final_costs), fst.costs[:, 0], fst.final_costs[:, 0]
        if not 0 <= fst.start < states:
            raise window.error(f"start state {fst.start} of {states}", "a grammar that accepts something", _REMEDY)
        if len(fst.target) and not 0 <= fst.target.min() <= fst.target.max() < states:
            raise window.error(f"an arc to none of the {states} states", "a sound FST", "make it again")
        if not np.isfinite(cost).all() or np.isnan(final).any() or np.isneginf(final).any():
            raise window.error("a cost that is no finite number", "−ln p everywhere", "make it again")
    return WordFst(
        start=fst.start,
        source=fst.source.astype(np.int32),
        target=fst.target.astype(np.int32),
        ilabel=fst.ilabel,
        olabel=fst.olabel,
        cost=cost,
        final=final,
    )


def write_grammar(path: str | os.PathLike[str], grammar: WordFst) -> None:
    """Write a G.fst (gzipped where ``path`` ends in .gz), whole or not at all; costs become float32."""
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
