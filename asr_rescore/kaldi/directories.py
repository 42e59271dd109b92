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
    """A test set: the speaker of each utterance and, if known, its words.

    Attributes:
        utt2spk: utterance → speaker, in the file's order.
        text: utterance → words; None if the directory has no text. It may lack some utterances.
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


def read_data_dir(path: str | os.PathLike[str], with_text: bool = True) -> DataDir:
    """Read utt2spk and, if it exists and is wanted, text.

    Raises:
        InputError: utt2spk does not exist, is empty, or does not give each utterance one speaker, or text has an
            utterance that is not in utt2spk.
    """
    path = Path(path)
    utt2spk = {}
    for utt, speaker in read_table(path / "utt2spk").items():
        if len(speaker) != 1:
            raise InputError(
                f"{path / 'utt2spk'}: key {utt}",
                found=repr(" ".join(speaker)),
                expected="one speaker",
                remedy="correct the line; if the speaker is unknown, repeat the utterance id",
            )
        utt2spk[utt] = speaker[0]
    if not utt2spk:
        raise InputError(
            path / "utt2spk",
            found="an empty file",
            expected="a line with an utterance and its speaker for each utterance",
            remedy="name a data directory of Kaldi",
        )
    if not with_text or not os.path.lexists(path / "text"):  # a link to nowhere is an error, and not a missing text
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
    """Write utt2spk, spk2utt and, if known, text. Other files in the directory are left alone."""
    path = Path(path)
    write_table(path / "utt2spk", ((utt, [speaker]) for utt, speaker in data.utt2spk.items()))
    write_table(path / "spk2utt", data.spk2utt)
    if data.text is not None:
        write_table(path / "text", data.text)


def lattice_files(decode_dir: str | os.PathLike[str]) -> list[Path]:
    """The files lat.1.gz … lat.N.gz of a decode directory, where N is the number in its num_jobs.

    Raises:
        InputError: num_jobs does not exist or is not a number from 1, one of the files is missing, or there is a
            lat.JOB.gz with JOB = N + 1.
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
            beyond,
            found="an extra file",
            expected=f"{jobs} files, as num_jobs says",
            remedy="remove the files of an older run",
        )
    return files


def write_num_jobs(decode_dir: str | os.PathLike[str], jobs: int) -> None:
    """Write the number of lat.JOB.gz files to num_jobs of a decode directory."""
    with atomic_text(Path(decode_dir) / "num_jobs") as stream:
        stream.write(f"{jobs}\n")


def _num_jobs(path: Path) -> int:
    lines = [line.strip() for _, line in read_lines(path)]
    text = lines[0] if lines else ""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 7 and int(text) > 0):
        raise InputError(
            path, found=repr(text[:40]), expected="the number of jobs", remedy="give a decode directory of Kaldi"
        )
    return int(text)
