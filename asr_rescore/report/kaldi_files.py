"""The files Kaldi's score.sh leaves: wer_LMWT_WIP, and scoring_kaldi/ with hypotheses and details."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr_rescore.files import atomic_text
from asr_rescore.kaldi import write_table
from asr_rescore.report.significance import confidence
from asr_rescore.rescore import OperatingPoint
from asr_rescore.wer import ALIGN_TEXT, ErrorCount, align, score, score_by_utterance

Texts = Mapping[str, Sequence[str]]


def write_scoring(
    out_dir: Path,
    references: Texts,
    by_point: Mapping[OperatingPoint, Texts],
    speakers: Mapping[str, str],
    chosen: OperatingPoint,
) -> dict[OperatingPoint, ErrorCount]:
    """Score hypotheses at every operating point and write Kaldi's files about it.

    ``scoring_kaldi/best_wer`` is, as in Kaldi, the least of all points, and so tuned on this very set; the details are
    those of ``chosen``.

    Args:
        out_dir: the decode directory.
        references: utterance → words.
        by_point: point → utterance → words.
        speakers: utterance → speaker.
        chosen: the point that counts; one of ``by_point``'s or any other that ``by_point`` has.

    Returns:
        point → errors.
    """
    counts = {point: score(references, hypotheses) for point, hypotheses in by_point.items()}
    for point, count in counts.items():
        with atomic_text(out_dir / wer_file(point)) as stream:
            stream.write(count.lines())
        folder = out_dir / "scoring_kaldi" / f"penalty_{point.wip}"
        write_table(folder / f"{point.lmwt:g}.txt", by_point[point])
    best = min(counts, key=lambda point: (counts[point].errors, point.wip, point.lmwt))
    with atomic_text(out_dir / "scoring_kaldi" / "best_wer") as stream:
        stream.write(f"{counts[best].wer_line()} {out_dir / wer_file(best)}\n")
    write_details(out_dir / "scoring_kaldi" / "wer_details", references, by_point[chosen], speakers)
    return counts


def wer_file(point: OperatingPoint) -> str:
    """Name of the file with a point's errors."""
    return f"wer_{point.lmwt:g}_{point.wip}"


def write_details(folder: Path, references: Texts, hypotheses: Texts, speakers: Mapping[str, str]) -> None:
    """Write per_utt, per_spk, ops and wer_bootci, as Kaldi's wer_details/."""
    with atomic_text(folder / "per_utt") as stream:
        for utt in sorted(references):
            if utt in hypotheses:
                stream.write(per_utt_lines(utt, references[utt], hypotheses[utt]))
    counts = score_by_utterance(references, hypotheses)
    with atomic_text(folder / "per_spk") as stream:
        stream.write(per_speaker_table(counts, speakers))
    with atomic_text(folder / "ops") as stream:
        stream.writelines(f"{line}\n" for line in operations(references, hypotheses))
    rate, half = confidence(list(counts.values()))
    with atomic_text(folder / "wer_bootci") as stream:
        stream.write(f"Set1: %WER {rate:.2f} 95% Conf Interval [ {rate - half:.2f}, {rate + half:.2f} ]\n")


def per_utt_lines(utt: str, reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """Four lines on one utterance: both word sequences aligned, what happened, and how often."""
    pairs = align(reference, hypothesis, ALIGN_TEXT)
    marks = [_operation(said, heard) for said, heard in pairs]
    rows = [
        ("ref", [said or "***" for said, _ in pairs]),
        ("hyp", [heard or "***" for _, heard in pairs]),
        ("op", marks),
    ]
    widths = [max(len(words[place]) for _, words in rows) for place in range(len(pairs))]
    lines = [
        f"{utt} {name} " + " ".join(f" {word:^{width}}" for word, width in zip(words, widths, strict=True))
        for name, words in rows
    ]
    counts = Counter(marks)
    lines.append(f"{utt} #csid " + " ".join(str(counts[mark]) for mark in "CSID"))
    return "".join(f"{line}\n" for line in lines)


def _operation(said: str | None, heard: str | None) -> str:
    if said is None:
        return "I"
    if heard is None:
        return "D"
    return "C" if said == heard else "S"


def operations(references: Texts, hypotheses: Texts) -> list[str]:
    """``operation reference-word hypothesis-word count`` lines, the frequent ones first within each operation."""
    names = {"C": "correct", "S": "substitution", "I": "insertion", "D": "deletion"}
    seen: Counter[tuple[str, str, str]] = Counter()
    for utt in references.keys() & hypotheses.keys():
        for said, heard in align(references[utt], hypotheses[utt], ALIGN_TEXT):
            seen[names[_operation(said, heard)], said or "***", heard or "***"] += 1
    ranked = sorted(seen.items(), key=lambda item: (list(names.values()).index(item[0][0]), -item[1], item[0]))
    return [" ".join([*key, str(count)]) for key, count in ranked]


def per_speaker_table(counts: Mapping[str, ErrorCount], speakers: Mapping[str, str]) -> str:
    """Sentences, words and errors of each speaker and of all, in counts and in percent."""
    by_speaker: dict[str, ErrorCount] = {}
    for utt, count in counts.items():
        speaker = speakers.get(utt, utt)
        by_speaker[speaker] = by_speaker.get(speaker, ErrorCount()) + count
    rows = [("SPEAKER", "#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err")]
    totals = {**dict(sorted(by_speaker.items())), "SUM": sum(by_speaker.values(), ErrorCount())}
    for speaker, total in totals.items():
        correct = total.reference_words - total.substitutions - total.deletions
        parts = (correct, total.substitutions, total.insertions, total.deletions, total.errors)
        rows.append((f"{speaker} raw", total.sentences, total.reference_words, *parts, total.wrong_sentences))
        percent = [f"{100 * part / total.reference_words:.2f}" if total.reference_words else "-" for part in parts]
        rows.append((f"{speaker} sys", total.sentences, total.reference_words, *percent, f"{total.ser:.2f}"))
    widths = [max(len(str(row[place])) for row in rows) for place in range(len(rows[0]))]
    return "".join(
        " ".join(f"{cell!s:>{width}}" for cell, width in zip(row, widths, strict=True)) + "\n" for row in rows
    )
