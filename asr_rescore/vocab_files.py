"""A vocabulary on disk: vocab.txt and unk_probs.txt, in a text directory and in every model's."""

from __future__ import annotations

from pathlib import Path

from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.vocab import Vocabulary

VOCABULARY_FILE = "vocab.txt"
UNK_PROBS_FILE = "unk_probs.txt"


def save_vocabulary(directory: Path, vocabulary: Vocabulary) -> None:
    """Write vocab.txt (a word a line, in the order of the ids) and unk_probs.txt (class, then word and probability)."""
    with atomic_text(directory / VOCABULARY_FILE) as stream:
        stream.writelines(f"{word}\n" for word in vocabulary.words)
    with atomic_text(directory / UNK_PROBS_FILE) as stream:
        stream.write(f"{vocabulary.unk}\n")
        stream.writelines(f"{word} {probability!r}\n" for word, probability in vocabulary.unk_probs.items())


def load_vocabulary(directory: Path) -> Vocabulary:
    """Read what :func:`save_vocabulary` wrote.

    Raises:
        InputError: a file is missing or broken, or the two do not make a vocabulary.
    """
    words = tuple(word for _, word in read_lines(directory / VOCABULARY_FILE))
    path = directory / UNK_PROBS_FILE
    unk, members = "", {}
    for number, line in read_lines(path):
        if number == 1:
            unk = line
            continue
        word, _, probability = line.rpartition(" ")
        try:
            members[word] = float(probability)
        except ValueError as error:
            raise InputError(
                f"{path}: line {number}",
                found=repr(line),
                expected="a word and its probability",
                remedy="make it again with prepare_text",
            ) from error
    try:
        return Vocabulary(words, unk, members)
    except RescoreError as error:
        raise InputError(
            directory, found=str(error), expected="a vocabulary", remedy="make it again with prepare_text"
        ) from error
