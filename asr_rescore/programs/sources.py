"""The files behind what a user names as lattices, so that none of them is overwritten."""

from __future__ import annotations

from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.kaldi.specifier import Source, read_scp
from asr_rescore.kaldi.stream import open_window


def files_of(source: str) -> list[Path]:
    """The files that reading ``source`` would read: a decode directory's, an archive, or an .scp and its archives.

    Standard input, commands and what cannot be read are left out; reading will say what is wrong with them.
    """
    if Path(source).is_dir():
        return [Path(source) / "num_jobs", *Path(source).glob("lat.*.gz")]
    try:
        parsed = Source.parse(source)
    except InputError:
        return []
    if not _is_file(parsed.name):
        return []
    files = [Path(parsed.name)]
    if parsed.is_list:
        try:
            with open_window(parsed.name) as window:
                named = [name for _, name in read_scp(window) if isinstance(name, str) and _is_file(name)]
        except InputError:
            return files
        # The same archive is named once for each utterance, with another offset.
        files += [Path(name) for name in dict.fromkeys(map(_without_offset, named))]
    return files


def _is_file(name: str) -> bool:
    return name.strip() != "-" and not name.rstrip().endswith("|") and "\0" not in name


def _without_offset(name: str) -> str:
    path, colon, offset = name.rpartition(":")
    return path if colon and offset.isdigit() else name
