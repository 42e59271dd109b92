"""The files of Kaldi's score.sh: wer_LMWT_WIP or cer_LMWT_WIP, and scoring_kaldi/ with hypotheses and details."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.files import atomic_text, in_utf8
from asr_rescore.kaldi import write_table
from asr_rescore.ranking import OperatingPoint
from asr_rescore.statistics.bootstrap import confidence
from asr_rescore.word_alignment import ALIGN_TEXT, align
from asr_rescore.word_errors import ErrorCount, Mode, errors_by_utterance, wers

Texts = Mapping[str, Sequence[str]]
Alignment = Sequence[tuple[str | None, str | None]]
DETAILS_FILES = ("per_utt", "per_spk", "ops")
NO_WORD = "***"  # stands for the missing word of an insertion or deletion
# Column widths in Kaldi's scripts.
MAX_WORD_WIDTH = 16
MIN_SPEAKER_WIDTH = 15
_NUMBER = r"-?[0-9][0-9.e+-]*"  # an LMWT or a word insertion penalty in a file name


@dataclass(frozen=True)
class Unit:
    """What is counted, and how Kaldi names its files.

    Attributes:
        rate: name of the rate in file names.
        text: suffix of the files with transcripts.
    """

    rate: str
    text: str

    def wer_file(self, point: OperatingPoint) -> str:
        """The name of the file with the errors of a point."""
        return "_".join([self.rate, *point.names])

    def details_files(self) -> tuple[str, ...]:
        """The names of the files that :func:`write_details` writes."""
        return (*DETAILS_FILES, f"{self.rate}_bootci")


IN_WORDS = Unit("wer", ".txt")
IN_CHARACTERS = Unit("cer", ".chars.txt")


def write_scoring(
    out_dir: Path,
    references: Texts,
    by_point: Mapping[OperatingPoint, Texts],
    speakers: Mapping[str, str],
    chosen: OperatingPoint,
    unit: Unit = IN_WORDS,
) -> dict[OperatingPoint, ErrorCount]:
    """Score the hypotheses of all operating points and write the files of Kaldi's score_kaldi.sh.

    As in Kaldi, ``scoring_kaldi/best_wer`` is the lowest WER of all points, so it is tuned on this set itself. The
    details are those of the point ``chosen``, and not of the best, which Kaldi shows.

    Args:
        out_dir: the decode directory.
        references: utterance → words, as they are compared.
        by_point: point → utterance → words of the hypothesis, as they are compared.
        speakers: utterance → speaker.
        chosen: the point that the report uses, one of ``by_point``.
        unit: what is counted; for ``IN_CHARACTERS``, references and hypotheses are sequences of characters.

    Returns:
        Point → errors.
    """
    folder = out_dir / "scoring_kaldi"
    write_table(folder / f"test_filt{unit.text}", references)
    counts = dict(zip(by_point, wers(references, list(by_point.values())), strict=True))
    for point, count in counts.items():
        with atomic_text(out_dir / unit.wer_file(point)) as stream:
            stream.write(count.lines())
        lmwt, wip = point.names
        write_table(folder / f"penalty_{wip}" / f"{lmwt}{unit.text}", by_point[point])
    best = min(counts, key=lambda point: (counts[point].errors, point.wip, point.lmwt))
    with atomic_text(folder / f"best_{unit.rate}") as stream:
        stream.write(in_utf8(f"{counts[best].wer_line()} {out_dir / unit.wer_file(best)}\n"))
    details = folder / f"{unit.rate}_details"
    write_details(details, references, by_point[chosen], speakers, unit=unit)
    for name, value in zip(("lmwt", "wip"), chosen.names, strict=True):
        with atomic_text(details / name) as stream:
            stream.write(f"{value}\n")
    remove_scores(out_dir, counts.keys(), unit)
    return counts


def remove_scores(out_dir: Path, kept: Collection[OperatingPoint] = (), unit: Unit = IN_WORDS) -> None:
    """Remove what an earlier scoring left: its transcripts need not be those of the directory any more.

    Args:
        out_dir: the decode directory.
        kept: the points whose scores stay; without any, references and details go too.
        unit: what was counted.
    """
    folder = out_dir / "scoring_kaldi"
    names = {unit.wer_file(point) for point in kept}
    for path in list(out_dir.glob(f"{unit.rate}_*")):
        if path.name not in names and re.fullmatch(rf"{unit.rate}_{_NUMBER}_{_NUMBER}", path.name):
            path.unlink()
    texts = {(f"penalty_{wip}", f"{lmwt}{unit.text}") for lmwt, wip in (point.names for point in kept)}
    for path in list(folder.glob(f"penalty_*/*{unit.text}")):
        ours = re.fullmatch(_NUMBER + re.escape(unit.text), path.name)
        if ours and (path.parent.name, path.name) not in texts:
            path.unlink()
            with suppress(OSError):  # it holds other files
                path.parent.rmdir()
    if not kept:
        shutil.rmtree(folder / f"{unit.rate}_details", ignore_errors=True)
        for name in (f"best_{unit.rate}", f"test_filt{unit.text}"):
            (folder / name).unlink(missing_ok=True)


def write_details(
    folder: Path,
    references: Texts,
    hypotheses: Texts,
    speakers: Mapping[str, str],
    mode: Mode = "all",
    unit: Unit = IN_WORDS,
) -> None:
    """Write per_utt, per_spk, ops and wer_bootci (or cer_bootci), the files of Kaldi's wer_details/.

    A missing hypothesis has no alignment, so per_utt and ops leave it out. The other files count it according to
    ``mode``.

    Args:
        folder: where to write the files.
        references, hypotheses: utterance → words.
        speakers: utterance → speaker; an utterance without a speaker counts as a speaker of its own.
        mode: see :func:`~asr_rescore.word_errors.errors_by_utterance`.
        unit: what is counted.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    with atomic_text(folder / "per_utt") as stream:
        for utt in sorted(references):
            hypothesis = hypotheses.get(utt)
            if hypothesis is not None:
                pairs = align(references[utt], hypothesis, ALIGN_TEXT)
                stream.write(per_utt_lines(utt, pairs))
                seen.update(operations(pairs))
    counts = errors_by_utterance(references, hypotheses, mode, ALIGN_TEXT)
    rate, half = confidence(list(counts.values()))
    contents = {
        "per_spk": per_speaker_table(counts, speakers),
        "ops": operation_lines(seen),
        f"{unit.rate}_bootci": f"Set1: %WER {rate:.2f} 95% Conf Interval [ {rate - half:.2f}, {rate + half:.2f} ]\n",
    }
    for name, content in contents.items():
        with atomic_text(folder / name) as stream:
            stream.write(content)


def _operation(said: str | None, heard: str | None) -> str:
    if said is None:
        return "insertion"
    if heard is None:
        return "deletion"
    return "correct" if said == heard else "substitution"


def per_utt_lines(utt: str, pairs: Alignment) -> str:
    """Four lines about one utterance: the aligned words, the operations, and the number of each operation (#csid).

    Kaldi: wer_per_utt_details.pl.
    """
    marks = [_operation(said, heard)[0].upper() for said, heard in pairs]
    columns = [(said or NO_WORD, heard or NO_WORD, mark) for (said, heard), mark in zip(pairs, marks, strict=True)]
    lines = []
    for row, name in enumerate(("ref", "hyp", "op")):
        cells = [_centred(column[row], max(map(len, column))) for column in columns]
        lines.append(f"{utt} {name:<4} " + "  ".join(cells))
    seen = Counter(marks)
    lines.append(f"{utt} #csid " + " ".join(str(seen[mark]) for mark in "CSID"))
    return "".join(f"{line}\n" for line in lines)


def _centred(word: str, width: int) -> str:
    """Centre ``word``; an odd blank goes to the left, unlike in str.center and format."""
    return (word + " " * ((width - len(word)) // 2)).rjust(width)


def operations(pairs: Alignment) -> Iterator[tuple[str, str, str]]:
    """The operation, reference word and hypothesis word of each pair of an alignment."""
    return ((_operation(said, heard), said or NO_WORD, heard or NO_WORD) for said, heard in pairs)


def operation_lines(seen: Mapping[tuple[str, str, str], int]) -> str:
    """Lines ``operation reference-word hypothesis-word count``; within each operation, frequent ones come first.

    Kaldi: wer_ops_details.pl, sorted as in score_kaldi.sh.
    """
    word = min(MAX_WORD_WIDTH, max((len(name) for _, *names in seen for name in names), default=0))
    digits = len(str(max(seen.values(), default=0)))
    ranked = sorted(seen.items(), key=lambda item: (item[0][0], -item[1], item[0]))
    return "".join(
        f"{operation:<12}  {said:>{word}}    {heard:>{word}}    {times:>{digits}}\n"
        for (operation, said, heard), times in ranked
    )


def per_speaker_table(counts: Mapping[str, ErrorCount], speakers: Mapping[str, str]) -> str:
    """Sentences, words and errors of each speaker and in total, as counts (raw) and in percent (sys).

    A speaker without reference words has no line sys. Kaldi: wer_per_spk_details.pl.
    """
    by_speaker: dict[str, ErrorCount] = {}
    for utt, count in counts.items():
        speaker = speakers.get(utt, utt)
        by_speaker[speaker] = by_speaker[speaker] + count if speaker in by_speaker else count
    rows: list[tuple[str, str, Sequence[object]]] = [
        ("SPEAKER", "id ", ("#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err"))
    ]
    for speaker, total in [*sorted(by_speaker.items()), ("SUM", ErrorCount.total(by_speaker.values()))]:
        size = (total.sentences, total.reference_words)
        correct = total.reference_words - total.substitutions - total.deletions
        parts = (correct, total.substitutions, total.insertions, total.deletions, total.errors)
        rows.append((speaker, "raw", (*size, *parts, total.wrong_sentences)))
        if total.reference_words:
            percent = (f"{100 * part / total.reference_words:.2f}" for part in parts)
            rows.append((speaker, "sys", (*size, *percent, f"{total.ser:.2f}")))
    width = max(MIN_SPEAKER_WIDTH, *(len(speaker) for speaker, *_ in rows))
    return "".join(
        f"{speaker:<{width}} {kind} " + " ".join(f"{cell!s:>10}" for cell in cells) + "\n"
        for speaker, kind, cells in rows
    )
