"""Programs that rewrite transcripts before they are compared: ``local/wer_output_filter`` of Kaldi's recipes."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TypeVar

from asr_rescore.errors import InputError, shown
from asr_rescore.files import fields

# One run of the program gets about so many bytes: enough that starting it costs nothing, and few enough to hold.
BATCH = 1 << 20
# The program may make lines longer, but what never ends is stopped.
GROWTH = 20
GROWTH_OF_NOTHING = 1 << 16  # bytes
LARGEST_FILE = 64 << 20  # bytes that it may write into a file, such as the one for its complaints

Item = TypeVar("Item")
Words = Sequence[str]


@dataclass(frozen=True)
class TextFilter:
    """A program that reads lines ``utterance word word …`` and writes each of them, changed or not, in the same order.

    Attributes:
        path: the program.
        end: what follows the last word of a line, such as a blank.

    Raises:
        InputError: there is no such program, or it cannot be executed.
    """

    path: Path
    end: str = ""

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise self._refused("no such file" if not self.path.exists() else "no file", "check the path")
        if not os.access(self.path, os.X_OK):
            raise self._refused("no permission to execute it", f"run chmod +x {self.path}")

    def __str__(self) -> str:
        """What a report says of it, which does not depend on the directory that it is in."""
        return f"{self.path.name} {self.hash[:12]}"

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the program's file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def each(self, items: Iterable[tuple[Item, str, Sequence[Words]]]) -> Iterator[tuple[Item, list[Words]]]:
        """Filter the texts of each item.

        Items are read ahead until they fill one run of the program. Memory does not depend on their number.

        Args:
            items: anything, the utterance that it belongs to, and texts of this utterance.

        Yields:
            Each item and its texts, filtered.

        Raises:
            InputError: the program failed, or did not write exactly one line for each line.
        """
        waiting: list[tuple[Item, list[int]]] = []  # item, the place of each of its texts in the batch
        batch: list[tuple[str, Words]] = []
        size = 0
        for item, utt, texts in items:
            place: dict[tuple[str, ...], int] = {}
            for words in map(tuple, texts):
                if words not in place:
                    place[words] = len(batch)
                    batch.append((utt, words))
                    size += len(utt) + sum(map(len, words)) + len(words) + 1
            waiting.append((item, [place[tuple(words)] for words in texts]))
            if size >= BATCH:
                yield from self._filtered(waiting, batch)
                waiting, batch, size = [], [], 0
        yield from self._filtered(waiting, batch)

    def _filtered(
        self, waiting: Sequence[tuple[Item, list[int]]], batch: Sequence[tuple[str, Words]]
    ) -> Iterator[tuple[Item, list[Words]]]:
        texts = self(batch)
        for item, places in waiting:
            yield item, [texts[place] for place in places]

    def __call__(self, lines: Sequence[tuple[str, Words]]) -> list[Words]:
        """Run the program on utterances and their words; see :meth:`each`."""
        if not lines:
            return []
        sent = "".join(f"{' '.join([utt, *words])}{self.end}\n" for utt, words in lines).encode()
        try:
            written = self._run(sent).decode().removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise self._refused("bytes that are not UTF-8 in its output", "let it write UTF-8") from error
        texts: list[Words] = []
        for number, (utt, _) in enumerate(lines):
            line = written[number] if number < len(written) else None
            key_and_words = fields(line or "")
            if key_and_words[:1] != [utt]:
                raise self._refused(
                    f"{'its end' if line is None else shown(line)} in place of the line of {utt}",
                    "it must not drop or reorder lines, nor change utterance ids",
                )
            texts.append([sys.intern(word) for word in key_and_words[1:]])
        if len(written) > len(lines):
            raise self._refused(f"{len(written)} lines for {len(lines)}", "it must not add lines")
        return texts

    def _run(self, sent: bytes) -> bytes:
        """What the program writes when it reads ``sent``."""
        most = GROWTH * len(sent) + GROWTH_OF_NOTHING
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
            stdin.write(sent)
            stdin.seek(0)
            try:
                process = subprocess.Popen([self.path.absolute()], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)
            except OSError as error:
                raise self._refused(
                    f"that it cannot be run ({error.strerror})", "let a script begin with a line such as #!/bin/sh"
                ) from error
            if sys.platform == "linux":
                with suppress(OSError):  # it may have ended already, or have a lower limit
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
            received = _read(process, most)
            if len(received) > most:
                raise self._refused(f"more than {most} bytes of output for {len(sent)}", "correct the program")
            if process.returncode < 0:
                raise self._refused(f"that signal {-process.returncode} ended it", "correct the program")
            if process.returncode:
                raise self._refused(f"exit status {process.returncode}{_last_line(stderr)}", "correct the program")
        return received

    def _refused(self, found: str, remedy: str) -> InputError:
        return InputError(
            self.path,
            found=found,
            expected="a program that writes one line for each line that it reads",
            remedy=remedy,
        )


def _read(process: subprocess.Popen[bytes], most: int) -> bytes:
    """The output of a program, which is killed once it has written more than ``most`` bytes."""
    assert process.stdout is not None
    with process:
        try:
            received = process.stdout.read(most + 1)
        except BaseException:
            process.kill()
            raise
        if len(received) > most:
            process.kill()
    return received


def _last_line(stderr: IO[bytes]) -> str:
    """The end of what a program has complained about, for a message; empty if it has not."""
    stderr.seek(0)
    lines = stderr.read(1 << 16).decode(errors="replace").split("\n")
    complaints = [line for line in lines if line.strip()]
    return f" ({complaints[-1]})" if complaints else ""
