"""The files of score_wer --details-dir for results that are counted as sclite counts: by speaker and by label."""

from __future__ import annotations

from pathlib import Path

from asr_rescore.files import atomic_text
from asr_rescore.report.kaldi_files import per_speaker_table
from asr_rescore.sclite import ScliteResult
from asr_rescore.statistics.bootstrap import confidence


def sclite_files(labels: bool) -> tuple[str, ...]:
    """The names of the files that :func:`write_sclite_files` writes; ``labels``: with one for the labels of an stm."""
    return ("per_spk", "wer_bootci", *(("per_label",) if labels else ()))


def write_sclite_files(folder: Path, result: ScliteResult, labels: bool) -> None:
    """Write per_spk and wer_bootci as Kaldi lays them out, and per_label.

    A line of per_label is a label, its errors as in compute-wer's output, and its title. A segment counts in
    each of its labels.

    Args:
        folder: where to write the files.
        result: what was counted.
        labels: whether to write per_label.
    """
    counts = {str(number): segment.errors for number, segment in enumerate(result.segments)}
    speakers = {str(number): segment.speaker for number, segment in enumerate(result.segments)}
    rate, half = confidence(list(counts.values()))
    contents = {
        "per_spk": per_speaker_table(counts, speakers),
        "wer_bootci": f"Set1: %WER {rate:.2f} 95% Conf Interval [ {rate - half:.2f}, {rate + half:.2f} ]\n",
    }
    if labels:
        contents["per_label"] = "".join(
            f"{label} {count.wer_line()} {result.label_names.get(label, '')}".rstrip() + "\n"
            for label, count in sorted(result.by_label().items())
        )
    for name, content in contents.items():
        with atomic_text(folder / name) as stream:
            stream.write(content)
