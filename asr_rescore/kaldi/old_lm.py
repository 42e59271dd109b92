"""The old language model, in whichever form the recogniser left it: G.fst, G.carpa or an ARPA file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asr_rescore.errors import InputError
from asr_rescore.kaldi.arpa import read_arpa
from asr_rescore.kaldi.const_arpa import CONST_ARPA_MARK, OLD_MARK, ConstArpa
from asr_rescore.kaldi.fst import MAGIC
from asr_rescore.kaldi.grammar import GRAMMAR_FILES, read_grammar
from asr_rescore.kaldi.stream import open_window
from asr_rescore.kaldi.symbols import SymbolTable
from asr_rescore.ngram import CheapestBackoff, Grammar, NgramTable, WordFst, WordLm

OLD_LM_FILES = (*GRAMMAR_FILES, "G.carpa")
MODEL_FILE = "model.safetensors"  # of a new language model, whose directory is easily given for the lang directory
# Arcs and words of this kind stand for the words of another grammar (Kaldi's grammar decoding).
_NONTERMINAL = "#nonterm"


def old_lm_file(lang_dir: str | os.PathLike[str]) -> Path:
    """The G.fst, G.fst.gz or G.carpa of a lang directory. A path to a file is returned unchanged.

    Raises:
        InputError: the directory has none of these, or both a G.fst and a G.carpa; or it is that of a new language
            model.
    """
    path = Path(lang_dir)
    if not path.is_dir():
        return path
    # A link to nowhere is an error, and not a missing file.
    found = [path / name for name in OLD_LM_FILES if os.path.lexists(path / name)]
    if not found and (path / MODEL_FILE).exists():
        raise InputError(
            path,
            found=f"the directory of a new language model ({MODEL_FILE} is in it)",
            expected="the lang directory of the first pass",
            remedy="give the directories in this order: lang, language models, data, decode, output",
        )
    if not found:
        raise InputError(
            path,
            found="no G.fst",
            expected="G.fst, G.fst.gz or G.carpa",
            remedy="name the language model of the first pass by `old_lm`, an ARPA file for example, or give "
            "`no_old_lm` if there is none",
        )
    if found[-1].name == "G.carpa" and len(found) > 1:
        raise InputError(
            path,
            found=f"both {found[0].name} and G.carpa",
            expected="the language model that is in the lattices",
            remedy="name it by `old_lm`: G.carpa if the lattices were rescored with it (lmrescore_const_arpa.sh), else "
            f"{found[0].name}",
        )
    return found[0]


def read_old_lm(path: str | os.PathLike[str], symbols: SymbolTable, *, use_phi: bool = False) -> WordLm[Any]:
    """Read the old language model. The content of the file decides what it is.

    Args:
        path: a G.fst, a G.carpa or an ARPA file, or a lang directory that contains one of the former.
        symbols: words.txt of the lattices.
        use_phi: back off only where a word has no n-gram, as lattice-compose --phi-label does, instead of taking the
            cheapest path through a G.fst, or through the G.fst of an ARPA file. A G.carpa always does so.

    Raises:
        InputError: the file is none of these or is damaged, belongs to another words.txt, or calls other grammars.
    """
    file = old_lm_file(path)
    with open_window(file) as window:
        head = window.peek(len(CONST_ARPA_MARK))
    if head.startswith(OLD_MARK):
        raise InputError(
            file,
            found="a G.carpa of 2014 or before",
            expected="the format that Kaldi has written since",
            remedy="make it again with arpa-to-const-arpa, or give the ARPA file",
        )
    if head == CONST_ARPA_MARK or file.name == "G.carpa":
        return _checked_const_arpa(ConstArpa(file), symbols)
    if head.startswith(MAGIC) or file.name in GRAMMAR_FILES:
        fst = read_grammar(file)
        _refuse_nonterminals(file, [word for word in _nonterminals(symbols) if _reads(fst, symbols.id(word))])
        return Grammar(fst, backoff_label=symbols.get("#0"), failure=use_phi)
    if b"\0" in head:
        raise InputError(
            file,
            found=f"bytes {head[:8]!r}",
            expected="a G.fst, a G.carpa or an ARPA file",
            remedy="give the language model of the first pass",
        )
    table = read_arpa(file, symbols)
    _refuse_nonterminals(file, [word for word in _nonterminals(symbols) if _lists(table, symbols.id(word))])
    return table if use_phi else CheapestBackoff(table)


def _checked_const_arpa(lm: ConstArpa, symbols: SymbolTable) -> ConstArpa:
    for word, index in (("<s>", lm.bos), ("</s>", lm.eos)):
        if word in symbols and symbols.id(word) != index:
            raise InputError(
                lm.path,
                found=f"id {index} for {word}",
                expected=f"{symbols.id(word)}, as in {symbols.name}",
                remedy="give the lang directory for which G.carpa was made",
            )
    _refuse_nonterminals(lm.path, [word for word in _nonterminals(symbols) if lm.has_word(symbols.id(word))])
    return lm


def _nonterminals(symbols: SymbolTable) -> list[str]:
    return [word for word in symbols.ids if word.startswith(_NONTERMINAL)]


def _reads(fst: WordFst, word: int) -> bool:
    return bool((fst.ilabel == word).any() or (fst.olabel == word).any())


def _lists(table: NgramTable, word: int) -> bool:
    return word in table.numbers


def _refuse_nonterminals(file: Path, used: list[str]) -> None:
    """Refuse a grammar of grammar decoding: what it gives for other grammars' words is not known from it alone."""
    if used:
        raise InputError(
            file,
            found=f"{used[0]}, a call of another grammar",
            expected="a language model that costs all words itself",
            remedy="give `no_old_lm`, which keeps the graph costs of grammar decoding as they are",
        )
