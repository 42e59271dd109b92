"""The files behind what a user names as lattices, so that none of them is overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.kaldi.specifier import Source, read_scp
from asr_rescore.kaldi.stream import open_window
from asr_rescore.progress import Bar


class ReadFiles:
    """Some files that are read one after the other, and the progress of that.

    How many entries there are is known when all are read. After the first file it can be told from the files' sizes.

    Args:
        sources: the files; others, such as commands, have no size.
        bar: counts their entries.
    """

    def __init__(self, sources: Sequence[str | os.PathLike[str]], bar: Bar):
        self.sources = sources
        self.bar = bar
        paths = [Path(source) for source in sources]
        self.sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]

    def each(self) -> Iterator[tuple[int, str | os.PathLike[str]]]:
        """Yield the number of each file, from 1, and the file."""
        with self.bar:
            for number, source in enumerate(self.sources, 1):
                yield number, source
                read = sum(self.sizes[:number])
                if read:
                    self.bar.expect(round(self.bar.done * sum(self.sizes) / read))


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
