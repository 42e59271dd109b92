"""Data directories and decode directories."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.kaldi.table import read_table, write_table


@dataclass(frozen=True)
class DataDir:
    """A test set: who speaks each utterance and, where known, what is said.

    Attributes:
        utt2spk: utterance → speaker, in the file's order.
        text: utterance → words; None where the directory has no text. It may lack utterances.
    """

    utt2spk: Mapping[str, str]
    text: Mapping[str, Sequence[str]] | None = None

    @property
    def utterances(self) -> tuple[str, ...]:
        """All utterances, in the order of utt2spk."""
        return tuple(self.utt2spk)

    @property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker → utterances."""
        speakers: dict[str, list[str]] = defaultdict(list)
        for utt, speaker in self.utt2spk.items():
            speakers[speaker].append(utt)
        return dict(speakers)


def read_data_dir(path: str | os.PathLike[str]) -> DataDir:
    """Read utt2spk and, if there, text.

    Raises:
        InputError: no utt2spk, not one speaker an utterance, or a text of utterances that it does not list.
    """
    path = Path(path)
    utt2spk = {}
    for utt, speaker in read_table(path / "utt2spk").items():
        if len(speaker) != 1:
            raise InputError(
                f"{path / 'utt2spk'}: key {utt}",
                found=repr(" ".join(speaker)),
                expected="one speaker",
                remedy="correct the line; where speakers are not known, use the utterance's own id",
            )
        utt2spk[utt] = speaker[0]
    if not (path / "text").exists():
        return DataDir(utt2spk)
    text = read_table(path / "text")
    unknown = next((utt for utt in text if utt not in utt2spk), None)
    if unknown is not None:
        raise InputError(
            f"{path / 'text'}: key {unknown}",
            found="no such utterance in utt2spk",
            expected="only utterances of utt2spk",
            remedy="run Kaldi's utils/fix_data_dir.sh",
        )
    return DataDir(utt2spk, text)


def write_data_dir(path: str | os.PathLike[str], data: DataDir) -> None:
    """Write utt2spk, spk2utt and, where known, text; other files there are left alone."""
    path = Path(path)
    write_table(path / "utt2spk", ((utt, [speaker]) for utt, speaker in data.utt2spk.items()))
    write_table(path / "spk2utt", data.spk2utt)
    if data.text is not None:
        write_table(path / "text", data.text)


def lattice_files(decode_dir: str | os.PathLike[str]) -> list[Path]:
    """lat.1.gz … lat.N.gz of a decode directory, N being what its num_jobs says.

    Raises:
        InputError: no num_jobs, one of the files missing, or one too many.
    """
    decode_dir = Path(decode_dir)
    jobs = _num_jobs(decode_dir / "num_jobs")
    files = [decode_dir / f"lat.{job}.gz" for job in range(1, jobs + 1)]
    for file in files:
        if not file.exists():
            raise InputError(
                file,
                found="no such file",
                expected=f"lat.1.gz to lat.{jobs}.gz, as num_jobs says",
                remedy="decode again",
            )
    beyond = decode_dir / f"lat.{jobs + 1}.gz"
    if beyond.exists():
        raise InputError(
            beyond, found="one file more", expected=f"{jobs}, as num_jobs says", remedy="remove what an older run left"
        )
    return files


def write_num_jobs(decode_dir: str | os.PathLike[str], jobs: int) -> None:
    """Say how many lat.JOB.gz a decode directory has."""
    with atomic_text(Path(decode_dir) / "num_jobs") as stream:
        stream.write(f"{jobs}\n")


def _num_jobs(path: Path) -> int:
    lines = [line.strip() for _, line in read_lines(path)]
    text = lines[0] if lines else ""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 7 and int(text) > 0):
        raise InputError(
            path, found=repr(text[:40]), expected="a number of jobs", remedy="give a decode directory of Kaldi"
        )
    return int(text)
