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
        UsageError: an output is an input, by whatever name, or has an input in it; two outputs are the same file; or a
            file is a directory.
        RescoreError: an output cannot be written.
    """
    files = list(files)
    replaced = list(replaced)
    sources: dict[object, Path] = {}
    containers: dict[Path, Path] = {}  # directory → an input in it, at any depth
    for path in inputs:
        if not is_device(path):
            sources.setdefault(_identity(path), path)
            for parent in _resolved(path).parents:
                containers.setdefault(parent, path)
    for output in (*files, *replaced):
        source = sources.get(_identity(output))
        if source is not None:
            raise UsageError(f"{source} is an input and would be replaced; {_name_another(output)}")
    for output in replaced:
        source = containers.get(_resolved(output))
        if source is not None:
            raise UsageError(f"{source} is an input in {output}, which would be replaced; {_name_another(output)}")
    _refuse_twice(files)
    writable: set[Path] = set()
    for output in (*files, *replaced):
        check_writable(output, writable)
    for output in files:
        if output.is_dir():
            raise UsageError(f"{output} cannot be written: it is a directory; name a file")


def _refuse_twice(files: Iterable[Path]) -> None:
    """Refuse outputs of which the second would replace the first."""
    seen: set[object] = set()
    for output in files:
        if not is_device(output):
            identity = _identity(output)
            if identity in seen:
                raise UsageError(f"{output} is named for two outputs; give each its own file")
            seen.add(identity)


def _name_another(output: Path) -> str:
    return f"give a directory other than {output.parent}, or another name"


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file or directory: the same path, or links to the same file."""
    return _identity(one) == _identity(other)


def _identity(path: Path) -> object:
    """Equal for all names of a file; of a file that does not exist, the path without links."""
    try:
        status = path.stat()
    except OSError:
        return _resolved(path)
    return status.st_dev, status.st_ino


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links: check_writable says so
        return path.absolute()


def check_writable(path: Path, known: set[Path] | None = None) -> None:
    """Check that a file can be created at ``path``; nothing is left there.

    Args:
        path: the file.
        known: directories in which a file could be created just now; those found now are added.

    Raises:
        RescoreError: it cannot, for example because a directory is in the way.
    """
    try:
        if is_device(path):
            return
        _check_writable(path, set() if known is None else known)
    except OSError as error:
        raise RescoreError(f"{path} cannot be written: {error.strerror}; name another output") from error


def _check_writable(path: Path, known: set[Path]) -> None:
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
    if above not in known:
        with tempfile.TemporaryFile(dir=above):
            pass  # the only check that knows of permissions, read-only disks and full ones alike
        known.add(above)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True
