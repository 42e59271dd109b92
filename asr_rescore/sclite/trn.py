"""trn files: ``word word word (speaker-utterance)``, one line for each utterance."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from asr_rescore.errors import InputError, RescoreError, shown
from asr_rescore.files import atomic_text, fields, read_lines
from asr_rescore.sclite.network import ScliteConfig

# What sclite would take for an alternation, for nothing, for a word with tags or a mispronounced one, or for a mark.
MARK = re.compile(r"^\{|^@$|;|.\*$|^\*\*|^<alt", re.IGNORECASE)

# Alternatives, or those inside them. Other marks, such as (uh) or he-, may be words of a recogniser.
ALTERNATIVES = re.compile(r"(?<!\S)\{ (?:(?!/ )[^\s{}]+ )+/ (?:[^\s{}]+ )+\}(?!\S)")


def alternatives_in(words: Sequence[str]) -> str:
    """The first ``{ a / b }`` of a transcript; "" if there is none."""
    found = ALTERNATIVES.search(" ".join(words)) if "{" in words else None
    return found[0] if found else ""


def read_trn(path: str | os.PathLike[str], config: ScliteConfig | None = None) -> dict[str, str]:
    """Read utterance id → transcript, in the case in which transcripts are compared, ids too.

    Comments (``;;``) and empty lines are skipped. The id is in the last parentheses of a line.

    Raises:
        InputError: a line does not end with an id, or an id occurs twice.
    """
    config = config or ScliteConfig()
    texts: dict[str, str] = {}
    for number, line in read_lines(path):
        if is_comment(line):
            continue
        begin, end = line.rfind("("), line.rfind(")")
        utt = line[begin + 1 : end].strip() if 0 <= begin < end else ""
        utt = config.fold(utt)
        if not utt or line[end + 1 :].strip() or utt in texts:
            raise InputError(
                f"{path}: line {number}",
                found=f"id {utt} again" if utt in texts else shown(line),
                expected="words, and an utterance id of its own in parentheses at the end",
                remedy="correct the line; if this is a text file of Kaldi, give --format text",
            )
        texts[utt] = config.fold(line[:begin])
    return texts


def is_comment(line: str) -> bool:
    """Whether a line of a trn or stm is to be skipped."""
    return line.startswith((";;", "**")) or not fields(line)


def write_trn(
    path: str | os.PathLike[str], texts: Mapping[str, Sequence[str]], speakers: Mapping[str, str] | None = None
) -> None:
    """Write a trn. It appears only when it is complete.

    An utterance id that does not begin with its speaker and ``-`` or ``_``, as sclite expects, is put after them.

    Args:
        path: the file.
        texts: utterance → words.
        speakers: utterance → speaker; an utterance without one is its own speaker.

    Raises:
        RescoreError: an id or a word cannot be written.
    """
    with atomic_text(path) as stream:
        for utt, words in texts.items():
            key = trn_id(utt, (speakers or {}).get(utt, utt))
            stream.write(" ".join([*check_words(words), f"({key})"]) + "\n")


def trn_id(utt: str, speaker: str) -> str:
    """The id of an utterance in a trn.

    Raises:
        RescoreError: it would contain a blank or a parenthesis.
    """
    known = utt.startswith((f"{speaker}-", f"{speaker}_")) and not set(speaker) & set("-_")
    key = utt if known else f"{speaker.replace('-', '_').replace('_', '.')}-{utt}"
    if fields(key) != [key] or set("()") & set(key):
        raise RescoreError(f"{key!r} cannot be the id of an utterance in a trn: it contains a blank or a parenthesis")
    return key


def speaker_of(utt: str) -> str:
    """The speaker in an id: what is before the first hyphen, or else before the first underscore; else all of it."""
    mark = "-" if "-" in utt else "_"
    return utt.split(mark)[0]


def check_words(words: Sequence[str]) -> list[str]:
    """The words, if each of them means itself in a trn, stm or ctm.

    Raises:
        RescoreError: one of them would be read as a mark, or contains a blank.
    """
    for word in words:
        if MARK.search(word) or fields(word) != [word]:
            raise RescoreError(
                f"the word {word!r} means something else in sclite's files, or cannot be written; rename it"
            )
    return list(words)
