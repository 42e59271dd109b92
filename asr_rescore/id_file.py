"""A text as a file of word ids, which is mapped into memory and shared by all trainings on the text.

The ids of ``exp/text/train.txt`` are in ``exp/text/train.txt.ids/<vocabulary>/``: unsigned integers of 16 bits, or of
32 if the vocabulary needs them, and the end of each sentence. The text is read once, some sentences at a time, so
memory does not depend on its length.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from asr_rescore.corpus import Encoder, TokenStream, is_prepared, no_sentence, read_sentences, sentence_ends
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_directory, is_device, open_binary
from asr_rescore.fingerprint import Fingerprint, file_checksum, file_hash, file_stamp
from asr_rescore.locks import LOCK_FILE, locked
from asr_rescore.outputs import check_writable
from asr_rescore.progress import progress_bar
from asr_rescore.ranges import FINITE
from asr_rescore.records import Record, read_json
from asr_rescore.vocab import Vocabulary

logger = logging.getLogger(__name__)

FORMAT = 1  # of the files; those of another format are made again
DESCRIPTION_FILE = "ids.json"
IDS_FILE = "ids.bin"
ENDS_FILE = "ends.i64"
MADE_AGAIN = "the ids are made again"
SMALL_VOCABULARY = 1 << 16  # entries whose ids fit into 16 bits


@contextmanager
def opened_ids(text: Path, vocabulary: Vocabulary, scratch: Path) -> Iterator[TokenStream]:
    """A context with the ids of a text, from a file that is made if it is missing or belongs to another text.

    The file is next to the text if prepare_text made the directory of the text; whoever needs it first makes it, and
    the others wait. Elsewhere, and in a directory that cannot be written, nothing is left: the file is in ``scratch``
    until the context ends. It stays there after Ctrl-C or a kill, for the run that continues.

    Args:
        text: the text, plain or gzipped, one sentence per line. A pipe can be read only once, so it has no file.
        vocabulary: the vocabulary of the language model.
        scratch: the output directory of the run; created if the file must be there.

    Raises:
        InputError: the text has no sentence, changes while it is read, or :func:`~asr_rescore.corpus.read_sentences`
            refuses it.
    """
    if is_device(text):
        yield TokenStream.read(text, vocabulary)
        return
    open_binary(text).close()  # says what is wrong with the path
    file = IdFile(text, vocabulary, _directory(text, text.parent))
    if is_prepared(text):
        ids = file.open() if file.can_be_written else file.read()
        if ids is not None:
            yield ids
            return
    existed = scratch.exists()
    try:
        yield IdFile(text, vocabulary, _directory(text, scratch)).open()
    except KeyboardInterrupt:
        raise
    except BaseException:
        remove_ids(text, scratch)
        if not existed and scratch.is_dir() and not any(scratch.iterdir()):
            scratch.rmdir()
        raise
    remove_ids(text, scratch)


def remove_ids(text: Path, place: Path) -> None:
    """Remove the ids of a text in a directory. Who has them open keeps them."""
    shutil.rmtree(_directory(text, place), ignore_errors=True)


def _directory(text: Path, place: Path) -> Path:
    return place / f"{text.name}.ids"


class IdFile:
    """The ids of a text in one vocabulary.

    Args:
        text: the text, which must not be a pipe.
        vocabulary: the vocabulary.
        directory: for the ids in all vocabularies; those in this one have a directory of their own in it.
    """

    def __init__(self, text: Path, vocabulary: Vocabulary, directory: Path):
        self.text = text
        self.vocabulary = vocabulary
        self.lock = directory / LOCK_FILE
        self.directory = directory / vocabulary.hash[:16]
        self.type = np.dtype(np.uint16 if len(vocabulary) <= SMALL_VOCABULARY else np.uint32)

    @property
    def is_there(self) -> bool:
        """Whether some text's ids are there; :meth:`open` finds out whether they are those of this text."""
        return (self.directory / DESCRIPTION_FILE).exists()

    @property
    def can_be_written(self) -> bool:
        """Whether the file can be made."""
        try:
            check_writable(self.directory / DESCRIPTION_FILE)
        except RescoreError:
            return False
        return True

    def open(self) -> TokenStream:
        """Return the ids, after making the file if there is none of this text and vocabulary.

        Raises:
            InputError: see :func:`opened_ids`.
        """
        before = file_stamp(self.text)  # a text that changes after this has another hash
        made_from = self._made_from()
        found = self._read(made_from)
        if found is None:
            with locked(self.lock, str(self.directory), wait=True):
                found = self._read(made_from, warn=True)  # another process may have made it meanwhile
                if found is None:
                    self._make(made_from, before)
                    found = self._read(made_from)
        if found is None:
            raise InputError(self.directory, found="other ids", expected="ids", remedy="do not change these files")
        return found

    def read(self) -> TokenStream | None:
        """Return the ids if they are there, as those of this text and vocabulary; None otherwise."""
        return self._read(self._made_from(), warn=True)

    def _made_from(self) -> Fingerprint:
        return Fingerprint(
            {"format": FORMAT, "text": file_hash(self.text), "vocabulary": self.vocabulary.hash, "type": self.type.name}
        )

    def _make(self, made_from: Fingerprint, before: tuple[str, int, int]) -> None:
        encoder = Encoder(self.vocabulary)
        digest = hashlib.sha256()
        tokens = 0
        with atomic_directory(self.directory) as fresh:
            with (
                (fresh / IDS_FILE).open("xb") as ids,
                (fresh / ENDS_FILE).open("xb") as ends,
                progress_bar(f"encoding {self.text.name}", unit="tokens") as bar,
            ):
                for block in encoder.blocks(read_sentences(self.text)):
                    digest.update(block.tobytes())
                    ids.write(block.astype(self.type).tobytes())
                    ends.write((sentence_ends(block, self.vocabulary) + tokens).tobytes())
                    tokens += len(block)
                    bar.update(len(block))
                for stream in (ids, ends):
                    stream.flush()
                    os.fsync(stream.fileno())
            if not tokens:
                raise no_sentence(self.text)
            if file_stamp(self.text) != before:
                remedy = "start again when it is finished"
                raise InputError(self.text, found="a text that changes", expected="a finished text", remedy=remedy)
            description = {
                "made_from": made_from.facts,
                "checksums": [file_checksum(fresh / name) for name in (IDS_FILE, ENDS_FILE)],
                "hash": digest.hexdigest(),
                "class_cost": encoder.class_cost,
                "oov": encoder.oov,
            }
            (fresh / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1), encoding="utf-8")

    def _read(self, made_from: Fingerprint, *, warn: bool = False) -> TokenStream | None:
        """The ids, or None if the file must be made: it is missing, of another text, or damaged, which is logged."""
        if not self.is_there:
            return None
        try:
            facts = read_json(self.directory / DESCRIPTION_FILE, "the description of a text's ids", MADE_AGAIN)
            if Fingerprint(facts.record("made_from").values) != made_from:
                return None
            return self._mapped(facts)
        except (InputError, OSError) as error:
            if warn:
                logger.warning("%s", error if isinstance(error, InputError) else f"{error}; {MADE_AGAIN}")
            return None

    def _mapped(self, facts: Record) -> TokenStream:
        found = [file_checksum(self.directory / name) for name in (IDS_FILE, ENDS_FILE)]
        if found != facts.items("checksums"):
            facts.refuse("checksums", f"{found}, those of the files,")
        oov = facts.record("oov")
        return TokenStream(
            ids=np.memmap(self.directory / IDS_FILE, self.type, "r"),
            ends=np.memmap(self.directory / ENDS_FILE, np.int64, "r"),
            class_cost=facts.number("class_cost", FINITE),
            oov=Counter({word: oov.integer(word) for word in oov.values}),
            known_hash=facts.text("hash"),
        )
