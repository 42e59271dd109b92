"""Two systems compared utterance by utterance and word by word, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from asr_rescore.errors import UsageError, printable
from asr_rescore.report.names import endings, told_apart
from asr_rescore.report.pairs import speakers_of
from asr_rescore.report.system import SystemReport
from asr_rescore.report.transcripts import read_rescored
from asr_rescore.report.word_changes import aligned, right_words
from asr_rescore.statistics.bootstrap import PairedBootstrap
from asr_rescore.statistics.matched_pairs import mapsswe, mcnemar, shown_p
from asr_rescore.word_alignment import SCLITE, Alignment, align

Texts = Mapping[str, Sequence[str]]
Reports: TypeAlias = tuple[SystemReport, SystemReport]
NAMES = ("A", "B")
LABEL = 5  # characters of the names at the beginning of the lines of an utterance
# Escape sequences of terminals.
RED = "\x1b[31m"
GREEN = "\x1b[32m"
DIM = "\x1b[2m"
PLAIN = "\x1b[0m"


@dataclass(frozen=True)
class Differences:
    """Two systems, A and B, that were scored on the same utterances.

    Attributes:
        reports: of A and of B.
        references: utterance → words.
        texts: of A and of B, utterance → words of the hypothesis.
    """

    reports: Reports
    references: Texts
    texts: tuple[Texts, Texts]

    @classmethod
    def read(cls, first: Path, second: Path) -> Differences:
        """Read the output directories of two rescorings.

        Raises:
            InputError: a report or a transcript is missing or damaged.
            RescoreError: the transcripts are not those of the report.
            UsageError: the systems were not scored on the same utterances with the same references.
        """
        reports = (SystemReport.load(first), SystemReport.load(second))
        for path, report in zip((first, second), reports, strict=True):
            if not report.rescored:
                raise UsageError(f"{path} has no references to score against; nothing to compare")
        references, one = read_rescored(first, reports[0])
        others, other = read_rescored(second, reports[1])
        if references.keys() != others.keys():
            only = len(references.keys() ^ others.keys())
            raise UsageError(
                f"{first} and {second} were scored on different utterances: {only} are only in one of them"
            )
        if references != others:
            utt = next(utt for utt in references if references[utt] != others[utt])
            raise UsageError(f"{first} and {second} have different references, for example of {utt}; score both alike")
        return cls(_told_apart(reports, (first, second)), references, (one, other))

    @property
    def differing(self) -> list[str]:
        """The utterances in which the systems differ."""
        one, other = self.texts
        return [utt for utt in self.references if list(one.get(utt, ())) != list(other.get(utt, ()))]

    def lines(self, width: int, colours: bool = False) -> Iterator[str]:
        """All that is printed: who is compared, the utterances that differ, totals and tests.

        Args:
            width: of the terminal, in characters.
            colours: whether to write escape sequences for colours.
        """
        for name, report in zip(NAMES, self.reports, strict=True):
            yield printable(f"{name}: {_head(report)}: {report.total.wer_line()}")
        yield ""
        for utt in self.differing:
            yield from self._utterance(utt, width, colours)
            yield ""
        yield from self._totals()

    def _utterance(self, utt: str, width: int, colours: bool) -> Iterator[str]:
        errors = [report.rescored[utt].errors for report in self.reports]
        yield printable(f"{utt}: {errors[0]} errors in A, {errors[1]} in B")
        columns = list(_columns(self.references[utt], *(texts.get(utt, ()) for texts in self.texts)))
        while columns:
            room = width - LABEL
            taken = 0
            while taken < len(columns) and (not taken or room >= columns[taken].width):
                room -= columns[taken].width + 1
                taken += 1
            for row, name in enumerate(("ref", *NAMES)):
                cells = [column.cell(row, colours) for column in columns[:taken]]
                yield f"{name:<{LABEL}}{' '.join(cells)}".rstrip()
            columns = columns[taken:]

    def _totals(self) -> Iterator[str]:
        first, second = self.reports
        words = first.total.reference_words
        yield f"{len(self.differing)} of {len(self.references)} utterances differ"
        yield f"errors: {first.total.errors} in A, {second.total.errors} in B, of {words} words"
        yield "words that only A has right: {}, only B: {}".format(*self._right_words())
        better = ("A", "B") if first.total.errors < second.total.errors else ("B", "A")
        counts = {"A": first.rescored, "B": second.rescored}
        yield f"bootstrap over utterances: {_gain(PairedBootstrap(counts), *better)}"
        speakers = speakers_of(self.reports)
        if speakers is not None:
            bootstrap = PairedBootstrap(counts, speakers)
            yield f"bootstrap over {bootstrap.units} speakers: {_gain(bootstrap, *better)}"
        segments = mapsswe(*(self._segments(texts) for texts in self.texts))
        yield f"MAPSSWE: Z = {segments.statistic:.3f} in {segments.pairs} segments, p {shown_p(segments.p)}"
        right = [[not report.rescored[utt].wrong_sentences for utt in self.references] for report in self.reports]
        sentences = mcnemar(*right)
        only_second = mcnemar(*right[::-1]).statistic
        yield (
            f"McNemar: only A has {sentences.statistic:.0f} sentences right, only B {only_second:.0f}, "
            f"p {shown_p(sentences.p)}"
        )

    def _segments(self, texts: Texts) -> dict[str, Alignment]:
        return {utt: align(words, texts.get(utt, ()), SCLITE) for utt, words in self.references.items()}

    def _right_words(self) -> tuple[int, int]:
        """How many reference words only A, and only B, has right."""
        only = [0, 0]
        for utt in self.differing:
            reference = self.references[utt]
            one, other = (right_words(aligned(reference, texts.get(utt, ()))) for texts in self.texts)
            only[0] += sum(a and not b for a, b in zip(one, other, strict=True))
            only[1] += sum(b and not a for a, b in zip(one, other, strict=True))
        return only[0], only[1]


def _told_apart(reports: Reports, out_dirs: tuple[Path, Path]) -> Reports:
    """The reports with different names: those of a report, or else their output directories."""
    first, second = told_apart(reports, out_dirs)
    if _head(first) == _head(second):
        marks = endings([str(path.absolute()) for path in out_dirs])
        first, second = (
            replace(report, system=f"{report.system} ({mark})")
            for report, mark in zip((first, second), marks, strict=True)
        )
    return first, second


def _head(report: SystemReport) -> str:
    return f"{report.system}, {report.decoding}, {report.data}"


def _gain(bootstrap: PairedBootstrap, better: str, other: str) -> str:
    gain = bootstrap.gain(better, other)
    return (
        f"{better} is better by {gain.points:.2f} points (95 % interval {gain.low:.2f} to {gain.high:.2f}); it makes "
        f"fewer errors with probability {gain.fewer:.2f} % (Kaldi's counting), "
        f"{gain.probability:.2f} % where ties count half"
    )


@dataclass(frozen=True)
class _Column:
    """A word of the reference, or a place between two words, with what the systems heard there.

    Attributes:
        said: the reference word; empty for insertions.
        heard: by A and by B; None if nothing.
    """

    said: str
    heard: tuple[str | None, str | None]

    @property
    def width(self) -> int:
        return max(len(self.text(row)) for row in range(3))

    def text(self, row: int) -> str:
        """What is shown of the reference (row 0), A (1) or B (2): errors in brackets."""
        if row == 0:
            return printable(self.said)
        heard = self.heard[row - 1]
        if not self.said:
            return "" if heard is None else f"[+{printable(heard)}]"
        if heard is None:
            return "[-]"
        return printable(heard) if heard == self.said else f"[{printable(heard)}]"

    def cell(self, row: int, colours: bool) -> str:
        text = self.text(row)
        blanks = " " * (self.width - len(text))
        return (f"{self._colour(row)}{text}{PLAIN}" if colours and text else text) + blanks

    def _colour(self, row: int) -> str:
        """Errors are red, what only this system has right is green, and what both have alike is dim."""
        if row == 0:
            return ""
        heard = self.heard[row - 1]
        if self.heard[0] == self.heard[1]:
            return DIM
        return GREEN if heard == self.said else RED


def _columns(reference: Sequence[str], first: Sequence[str], second: Sequence[str]) -> Iterator[_Column]:
    """The alignments of both systems side by side."""
    sides = []
    for words in (first, second):
        heard: list[str | None] = []
        inserted: list[list[str]] = [[]]
        for said, word in aligned(reference, words):
            if said is None:
                inserted[-1].append(word or "")
            else:
                heard.append(word)
                inserted.append([])
        sides.append((heard, inserted))
    (one, one_inserted), (other, other_inserted) = sides
    for place in range(len(reference) + 1):
        extra = (one_inserted[place], other_inserted[place])
        for number in range(max(map(len, extra))):
            yield _Column("", tuple(words[number] if number < len(words) else None for words in extra))  # type: ignore[arg-type]
        if place < len(reference):
            yield _Column(reference[place], (one[place], other[place]))
