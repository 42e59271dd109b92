"""prepare_text: plain text in, a training directory out."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "make a vocabulary with its class of rare words, and a train and a valid text"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--vocabulary-size", type=int, help="entries at most, </s> and the class included; default: all"
    )
    parser.add_argument("--lexicon", type=Path, help="a words.txt whose unseen words join the class")
    parser.add_argument("--valid", type=Path, help="the valid text; default: every 20th sentence of the text")
    parser.add_argument("text", type=Path, nargs="+", help="a sentence a line, plain or gzipped")
    parser.add_argument("dir", type=Path, help="where train.txt, valid.txt, vocab.txt and unk_probs.txt go")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore import corpus, kaldi
    from asr_rescore.checkpoint import save_vocabulary
    from asr_rescore.vocab import Vocabulary

    sentences = (words for path in arguments.text for words in corpus.read_sentences(path))
    if arguments.valid:
        train, valid = list(sentences), list(corpus.read_sentences(arguments.valid))
    else:
        train, valid = corpus.hold_out(sentences)
    lexicon = kaldi.read_words(arguments.lexicon).ids if arguments.lexicon else ()
    vocabulary = Vocabulary.from_counts(corpus.count_words(train), arguments.vocabulary_size, lexicon)
    corpus.write_sentences(arguments.dir / "train.txt", train)
    corpus.write_sentences(arguments.dir / "valid.txt", valid)
    save_vocabulary(arguments.dir, vocabulary)
    print(
        f"{arguments.dir}: {len(train)} train and {len(valid)} valid sentences, {len(vocabulary)} entries in the "
        f"vocabulary, {len(vocabulary.members)} words in {vocabulary.unk}"
    )
    return 0
