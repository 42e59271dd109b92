"""prepare_text: plain text in, a training directory out."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "make a vocabulary with its class of rare words, and a train and a valid text"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--vocabulary-size", type=int, help="entries at most, </s> and the class included; default: all")
    size.add_argument("--only-lexicon", action="store_true", help="list just the words of --lexicon")
    parser.add_argument("--lexicon", type=Path, help="a words.txt whose unseen words join the class")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--valid", type=Path, help="the valid text; default: sentences held out of the text")
    held_out.add_argument(
        "--valid-fraction", type=float, default=0.05, help="held out, as every n-th sentence of the text (0.05)"
    )
    parser.add_argument("--kaldi-text", action="store_true", help="lines start with an utterance id; leave it out")
    parser.add_argument("text", type=Path, nargs="+", help="a sentence a line, plain or gzipped")
    parser.add_argument("dir", type=Path, help="where train.txt, valid.txt, vocab.txt and unk_probs.txt go")


def run(arguments: argparse.Namespace) -> int:
    """Write the texts and the vocabulary of the train text."""
    from collections.abc import Iterator

    from asr_rescore import corpus, kaldi
    from asr_rescore.errors import InputError, UsageError
    from asr_rescore.vocab import SENTENCE_END, Vocabulary
    from asr_rescore.vocab_files import save_vocabulary

    if not 0 < arguments.valid_fraction <= 0.5:
        raise UsageError(f"--valid-fraction {arguments.valid_fraction}, expected above 0 and at most 0.5")
    if arguments.only_lexicon and not arguments.lexicon:
        raise UsageError("--only-lexicon needs the --lexicon whose words it lists")
    train_path, valid_path = arguments.dir / "train.txt", arguments.dir / "valid.txt"
    for path in (*arguments.text, arguments.valid):
        if path and path.resolve() in (train_path.resolve(), valid_path.resolve()):
            raise UsageError(f"{path} would be read and written over; name another directory than {arguments.dir}")

    def read(*paths: Path) -> Iterator[list[str]]:
        return (words for path in paths for words in corpus.read_sentences(path, kaldi_text=arguments.kaldi_text))

    lexicon = kaldi.read_words(arguments.lexicon).ids if arguments.lexicon else ()
    if arguments.valid:
        train, valid = read(*arguments.text), read(arguments.valid)
    else:  # read twice rather than kept in memory
        every = round(1 / arguments.valid_fraction)
        train, valid = (corpus.hold_out(read(*arguments.text), every, valid=part) for part in (False, True))
    counts = corpus.write_sentences(train_path, train)
    valid_sentences = corpus.write_sentences(valid_path, valid)[SENTENCE_END]
    if not (counts[SENTENCE_END] and valid_sentences):
        raise InputError(
            arguments.valid or arguments.text[0],
            found=f"{counts[SENTENCE_END]} sentences to train on and {valid_sentences} to validate with",
            expected="some of each",
            remedy="give more text, or a text by --valid",
        )
    if arguments.only_lexicon:
        vocabulary = Vocabulary.from_words(lexicon, counts)
    else:
        vocabulary = Vocabulary.from_counts(counts, arguments.vocabulary_size, lexicon)
    save_vocabulary(arguments.dir, vocabulary)
    print(
        f"{arguments.dir}: {counts[SENTENCE_END]} train and {valid_sentences} valid sentences, "
        f"{len(vocabulary)} entries in the vocabulary, {len(vocabulary.unk_probs)} words in {vocabulary.unk}"
    )
    return 0
