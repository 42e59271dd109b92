"""A vocabulary on disk: vocab.txt and unk_probs.txt, in a text directory and in each model directory."""

from __future__ import annotations

from pathlib import Path

from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.vocab import Vocabulary

VOCABULARY_FILE = "vocab.txt"
UNK_PROBS_FILE = "unk_probs.txt"


def save_vocabulary(directory: Path, vocabulary: Vocabulary) -> None:
    """Write vocab.txt and unk_probs.txt.

    vocab.txt has one word per line, in the order of the ids. The first line of unk_probs.txt is the class; each other
    line is a word of the class and its probability.
    """
    with atomic_text(directory / VOCABULARY_FILE) as stream:
        stream.writelines(f"{word}\n" for word in vocabulary.words)
    with atomic_text(directory / UNK_PROBS_FILE) as stream:
        stream.write(f"{vocabulary.unk}\n")
        stream.writelines(f"{word} {probability!r}\n" for word, probability in vocabulary.unk_probs.items())


def load_vocabulary(directory: Path) -> Vocabulary:
    """Read the files of :func:`save_vocabulary`.

    Raises:
        InputError: a file is missing or broken, or the two do not form a vocabulary.
    """
    words = tuple(word for _, word in read_lines(directory / VOCABULARY_FILE))
    path = directory / UNK_PROBS_FILE
    unk = ""
    unk_probs = {}
    for number, line in read_lines(path):
        if number == 1:
            unk = line
            continue
        word, _, probability = line.rpartition(" ")
        try:
            unk_probs[word] = float(probability)
        except ValueError as error:
            raise InputError(
                f"{path}: line {number}",
                found=repr(line),
                expected="a word and its probability",
                remedy="create it again with prepare_text",
            ) from error
    try:
        return Vocabulary(words, unk, unk_probs)
    except RescoreError as error:
        raise InputError(
            directory, found=str(error), expected="a vocabulary", remedy="create it again with prepare_text"
        ) from error
