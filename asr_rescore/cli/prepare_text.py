"""prepare_text: make a training directory from plain text."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.options import add_utterance_id_options, check_one_stdin, input_file, number
from asr_rescore.ranges import COUNT, Range

HELP = "make a vocabulary, with a class of rare words, and a training and a validation text"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--vocabulary-size",
        type=number(int, COUNT),
        help="largest number of entries, including </s> and the class (default: no limit)",
    )
    size.add_argument("--only-lexicon", action="store_true", help="list exactly the words of --lexicon")
    parser.add_argument(
        "--min-count",
        type=number(int, COUNT),
        default=1,
        metavar="N",
        help="words that occur less often in the train text join the class (default: %(default)s)",
    )
    parser.add_argument(
        "--lexicon", type=input_file, help="a words.txt; its words that are not in the text join the class"
    )
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--valid", type=input_file, help="the valid text (default: some sentences of the text)")
    held_out.add_argument(
        "--valid-fraction",
        type=number(float, Range(least=1e-6, most=0.5)),
        default=0.05,
        help="fraction of the sentences for the valid text (default: %(default)s)",
    )
    held_out.add_argument(
        "--valid-words",
        type=number(int, COUNT),
        metavar="N",
        help="hold out sentences with N words in all for the valid text; the text is then read twice",
    )
    add_utterance_id_options(parser)
    parser.add_argument(
        "text", type=input_file, nargs="+", help="one sentence per line, plain or gzipped; -: standard input"
    )
    parser.add_argument("dir", type=Path, help="directory for train.txt, valid.txt, vocab.txt and unk_probs.txt")


def run(arguments: argparse.Namespace) -> int:
    """Write the train and the valid text, and the vocabulary of the train text."""
    from asr_rescore import corpus
    from asr_rescore.errors import UsageError
    from asr_rescore.locks import LOCK_FILE, locked
    from asr_rescore.outputs import check_outputs
    from asr_rescore.vocab_files import UNK_PROBS_FILE, VOCABULARY_FILE

    if arguments.only_lexicon and not arguments.lexicon:
        raise UsageError("--only-lexicon needs --lexicon")
    if arguments.only_lexicon and arguments.min_count > 1:
        raise UsageError("--min-count has no effect with --only-lexicon, which lists all words of --lexicon; give one")
    train_path = arguments.dir / corpus.TRAIN_FILE
    valid_path = arguments.dir / corpus.VALID_FILE
    vocabulary_files = [arguments.dir / name for name in (VOCABULARY_FILE, UNK_PROBS_FILE)]
    inputs = [path for path in (*arguments.text, arguments.valid, arguments.lexicon) if path]
    check_one_stdin(*inputs)
    check_outputs([train_path, valid_path, *vocabulary_files], inputs)

    # The files belong together, and each of two processes would write some of them.
    existed = arguments.dir.exists()
    lock = arguments.dir / LOCK_FILE
    with locked(lock, str(arguments.dir)):
        try:
            _write(arguments, train_path, valid_path)
        except BaseException:
            if not existed and [*arguments.dir.iterdir()] == [lock]:
                lock.unlink()
                arguments.dir.rmdir()
            raise
    return 0


def _write(arguments: argparse.Namespace, train_path: Path, valid_path: Path) -> None:
    """Write all files into the directory, and say what is in them."""
    import sys
    from collections.abc import Iterator
    from contextlib import ExitStack

    from asr_rescore import corpus, kaldi
    from asr_rescore.errors import UsageError, printable
    from asr_rescore.files import atomic_text, rereadable
    from asr_rescore.id_file import remove_ids
    from asr_rescore.spelling import check_lexicon
    from asr_rescore.vocab import SENTENCE_END, Vocabulary
    from asr_rescore.vocab_files import save_vocabulary

    def read(*paths: Path) -> Iterator[list[str]]:
        return (words for path in paths for words in corpus.read_sentences(path, kaldi_text=arguments.kaldi_text))

    lexicon = kaldi.read_words(arguments.lexicon).ids if arguments.lexicon else ()
    # Texts and vocabulary belong together: an earlier text is replaced once nothing can be refused any more.
    with ExitStack() as stack:
        train = stack.enter_context(atomic_text(train_path))
        valid = stack.enter_context(atomic_text(valid_path))
        if arguments.valid:
            counts = corpus.write_sentences(train, read(*arguments.text))
            valid_sentences = corpus.write_sentences(valid, read(arguments.valid))[SENTENCE_END]
        else:
            texts = arguments.text
            held_out = corpus.every(round(1 / arguments.valid_fraction))
            if arguments.valid_words:
                texts = [stack.enter_context(rereadable(path)) for path in texts]
                total = sum(len(words) for words in read(*texts))
                if arguments.valid_words > total / 2:
                    raise UsageError(
                        f"--valid-words {arguments.valid_words} is more than half of the {total} words given"
                    )
                held_out = corpus.spread(arguments.valid_words, total)
            counts, valid_sentences = corpus.split_sentences(read(*texts), train, valid, held_out)
        corpus.refuse_empty(counts[SENTENCE_END], valid_sentences, arguments.valid or arguments.text[0])
        # The vocabulary would hold the words of the lexicon, so that nothing later on finds them missing in the text.
        warning = check_lexicon(arguments.lexicon, lexicon, counts, after_ids=bool(arguments.kaldi_text))
        if arguments.only_lexicon:
            vocabulary = Vocabulary.from_words(lexicon, counts)
        else:
            vocabulary = Vocabulary.from_counts(counts, arguments.vocabulary_size, lexicon, arguments.min_count)
    if warning:
        print(printable(f"warning: {warning}"), file=sys.stderr)
    save_vocabulary(arguments.dir, vocabulary)
    remove_ids(train_path, arguments.dir)  # of an earlier text
    print(
        f"{arguments.dir}: {counts[SENTENCE_END]} train and {valid_sentences} valid sentences, "
        f"{len(vocabulary)} entries in the vocabulary, {len(vocabulary.unk_probs)} words in {vocabulary.unk}"
    )
