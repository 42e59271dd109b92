"""Kaldi's file formats, read and written without Kaldi."""

from asr_rescore.kaldi.archive import read_lattices, write_lattices
from asr_rescore.kaldi.ctm import Place, TimedWord, read_ctm, read_places, write_ctm
from asr_rescore.kaldi.directories import DataDir, lattice_files, read_data_dir, write_data_dir, write_num_jobs
from asr_rescore.kaldi.frame_shift import MARKS, FrameShift, copy_marks, frame_shift_of
from asr_rescore.kaldi.grammar import read_grammar, write_grammar
from asr_rescore.kaldi.nbest_dir import NBestWriter, read_nbest_dir, write_nbest
from asr_rescore.kaldi.old_lm import OLD_LM_FILES, old_lm_file, read_old_lm
from asr_rescore.kaldi.stream import BrokenArchive
from asr_rescore.kaldi.symbols import SymbolTable, read_words, write_words
from asr_rescore.kaldi.table import read_table, write_table

__all__ = [
    "MARKS",
    "BrokenArchive",
    "DataDir",
    "FrameShift",
    "NBestWriter",
    "OLD_LM_FILES",
    "Place",
    "SymbolTable",
    "TimedWord",
    "copy_marks",
    "frame_shift_of",
    "lattice_files",
    "read_ctm",
    "read_data_dir",
    "old_lm_file",
    "read_grammar",
    "read_lattices",
    "read_nbest_dir",
    "read_old_lm",
    "read_places",
    "read_table",
    "read_words",
    "write_ctm",
    "write_data_dir",
    "write_grammar",
    "write_lattices",
    "write_nbest",
    "write_num_jobs",
    "write_table",
    "write_words",
]
