"""Checks of what a command will write, before it reads anything: no input is replaced, and writing is possible."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.files import is_device


def check_outputs(files: Iterable[Path], inputs: Iterable[Path] = (), *, replaced: Iterable[Path] = ()) -> None:
    """Check all that will be written, before it is.

    Args:
        files: files that will be written or replaced.
        inputs: files that will be read, and directories as far as they are inside an output. A directory does not stand
            for the files in it, since outputs may be put next to them.
        replaced: directories that will be replaced as a whole.

    Raises:
        UsageError: an output is an input, by whatever name, or has an input in it; or a file is a directory.
        RescoreError: an output cannot be written.
    """
    files = list(files)
    replaced = list(replaced)
    read = [path for path in inputs if not is_device(path)]
    for output in (*files, *replaced):
        for source in read:
            if same_file(output, source):
                raise UsageError(f"{source} is an input and would be replaced; {_name_another(output)}")
            if is_inside(source, output):
                raise UsageError(f"{source} is an input in {output}, which would be replaced; {_name_another(output)}")
    for output in (*files, *replaced):
        check_writable(output)
    for output in files:
        if output.is_dir():
            raise UsageError(f"{output} cannot be written: it is a directory; name a file")


def _name_another(output: Path) -> str:
    return f"give a directory other than {output.parent}, or another name"


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file: the same path, or links to the same file."""
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return one.resolve() == other.resolve()
    except (OSError, RuntimeError):  # a loop of links: check_writable says so
        return False


def is_inside(path: Path, directory: Path) -> bool:
    """Whether ``path`` is in ``directory``, at any depth, after all links are followed."""
    try:
        return directory.resolve() in path.resolve().parents
    except (OSError, RuntimeError):
        return False


def check_writable(path: Path) -> None:
    """Check that a file can be created at ``path``; nothing is left there.

    Raises:
        RescoreError: it cannot, for example because a directory is in the way.
    """
    try:
        if is_device(path):
            return
        _check_writable(path)
    except OSError as error:
        raise RescoreError(f"{path} cannot be written: {error.strerror}; name another output") from error


def _check_writable(path: Path) -> None:
    _exists(path)  # finds loops of links, and names that are too long
    above = path.parent
    missing = [path.name]
    while not _exists(above):
        if above.is_symlink():
            raise RescoreError(f"{path} cannot be written: {above} is a link to nothing; name another output")
        missing.append(above.name)
        above = above.parent
    if not above.is_dir():
        raise RescoreError(f"{path} cannot be written: {above} is not a directory; name another output")
    longest = os.pathconf(above, "PC_NAME_MAX")
    for name in missing:
        if len(os.fsencode(name)) > longest:
            raise RescoreError(f"{path} cannot be written: a name has more than {longest} bytes; name another output")
    with tempfile.TemporaryFile(dir=above):
        pass  # the only check that knows of permissions, read-only disks and full ones alike


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True
