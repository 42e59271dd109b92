"""The names of sets, first passes and systems in a report: those of their directories, longer where these are alike.

What is the same is decided by what it is, not by what it is called: a set by its utterances and references, a first
pass by its lattices, a language model by its hash.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, TypeAlias, TypeVar

from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.records import read_json
from asr_rescore.report.system import SystemReport
from asr_rescore.report.transcripts import Texts, read_references

HASH_SHOWN = 12  # digits of the hash of a language model
Thing = TypeVar("Thing")
Lattices: TypeAlias = tuple[str, Sequence[Sequence[Any]]]  # a decode directory, and name and size of its files


def endings(paths: Sequence[str]) -> list[str]:
    """The shortest endings of different paths, with equally many parts, that tell all of them apart.

    Those of ``/data/a/test`` and ``/data/b/test`` are ``a/test`` and ``b/test``.
    """
    parts = [PurePath(path).relative_to(PurePath(path).anchor).parts for path in paths]
    longest = max(map(len, parts), default=0)
    for size in range(1, longest):
        found = ["/".join(path[-size:]) for path in parts]
        if len(set(found)) == len(found):
            return found
    return ["/".join(path) for path in parts]


def shown_names(
    names: Sequence[str], identities: Sequence[Hashable], homes: Sequence[str], marks: Sequence[str]
) -> list[str]:
    """The name of each thing, made longer where different things have one name.

    Args:
        names: the short names.
        identities: equal for things that are the same.
        homes: the directories that gave the names; empty if not known.
        marks: what follows a name in brackets if the directories do not tell the things apart.
    """
    places: dict[str, dict[Hashable, int]] = {}
    for place, (name, identity) in enumerate(zip(names, identities, strict=True)):
        first = places.setdefault(name, {}).setdefault(identity, place)
        if not homes[first] and homes[place]:
            places[name][identity] = place
    shown: dict[tuple[str, Hashable], str] = {}
    for name, alike in places.items():
        found = [homes[place] for place in alike.values()]
        if len(alike) == 1:
            longer = [name]
        elif all(found) and len(set(found)) == len(found):
            longer = endings(found)
        else:
            longer = [f"{name} ({mark})" for mark in endings([marks[place] for place in alike.values()])]
        shown.update(zip([(name, identity) for identity in alike], longer, strict=True))
    return [shown[key] for key in zip(names, identities, strict=True)]


def told_apart(reports: Sequence[SystemReport], out_dirs: Sequence[Path]) -> list[SystemReport]:
    """The reports with names that tell sets, first passes and systems apart.

    Args:
        reports: of rescorings.
        out_dirs: the output directory of each.
    """
    named = _with_lm_names(reports, out_dirs)
    outs = [str(path.absolute()) for path in out_dirs]
    sets = _numbered([report.data for report in named], list(zip(named, out_dirs, strict=True)), _same_set)
    data = shown_names([report.data for report in named], sets, [report.data_dir for report in named], outs)
    named = [replace(report, data=name) for report, name in zip(named, data, strict=True)]
    lattices = [_lattices(path) for path in out_dirs]
    for name in dict.fromkeys(data):  # first passes of different sets are told apart by their sets
        here = [place for place, report in enumerate(named) if report.data == name]
        found = [lattices[place] for place in here]
        decodings = shown_names(
            [named[place].decoding for place in here],
            _numbered([named[place].decoding for place in here], found, _same_lattices),
            [directory for directory, _ in found],
            [outs[place] for place in here],
        )
        for place, decoding in zip(here, decodings, strict=True):
            named[place] = replace(named[place], decoding=decoding)
    return named


def refuse_twice(reports: Sequence[SystemReport], out_dirs: Sequence[Path]) -> None:
    """Refuse two results with the same models, set and first pass.

    Args:
        reports: those of :func:`told_apart`.
        out_dirs: the output directory of each.

    Raises:
        UsageError: there are two.
    """
    seen: dict[tuple[str, str, str], Path] = {}
    for report, path in zip(reports, out_dirs, strict=True):
        other = seen.setdefault((report.system, report.data, report.decoding), path)
        if other is not path:
            raise UsageError(
                f"{other} and {path} are both results of {report.system} on {report.decoding} of {report.data}, "
                "with the same language models, utterances and first pass; give one of them (compare shows how they "
                "differ)"
            )


def lm_names(directories: Iterable[Path], reports: Sequence[SystemReport], out_dirs: Sequence[Path]) -> dict[Path, str]:
    """The name of the language model in each directory, as systems have it.

    Args:
        directories: resolved.
        reports: those of :func:`told_apart`.
        out_dirs: the output directory of each.
    """
    homes: dict[str, set[str]] = {}
    for report, out_dir in zip(reports, out_dirs, strict=True):
        for lm in report.lms:
            for home in {lm.directory, _parent(out_dir, lm.name)} - {""}:
                homes.setdefault(str(Path(home).resolve()), set()).add(lm.name)
    paths = list(directories)
    # A directory of several models has been trained anew in between.
    known = {path: next(iter(homes[str(path)])) for path in paths if len(homes.get(str(path), ())) == 1}
    names = {path: known.get(path, path.name) for path in paths}
    for path in paths:
        if path not in known and list(names.values()).count(names[path]) > 1:
            alike = [other for other in paths if other.name == path.name]
            names[path] = dict(zip(alike, endings(list(map(str, alike))), strict=True))[path]
    return names


def _parent(out_dir: Path, name: str) -> str:
    """The directory of a language model in which an output directory lies; empty if it lies elsewhere."""
    parent = out_dir.resolve().parent
    return str(parent) if parent.name == PurePath(name).name else ""


def _with_lm_names(reports: Sequence[SystemReport], out_dirs: Sequence[Path]) -> list[SystemReport]:
    """The reports with names of language models and systems that tell these apart."""
    used = [(lm, path) for report, path in zip(reports, out_dirs, strict=True) for lm in report.lms]
    names = iter(
        shown_names(
            [lm.name for lm, _ in used],
            [lm.hash for lm, _ in used],
            [lm.directory or _parent(path, lm.name) for lm, path in used],
            [lm.hash[:HASH_SHOWN] for lm, _ in used],
        )
    )
    named = [_renamed(report, [next(names) for _ in report.lms]) for report in reports]
    hashes = [tuple(lm.hash for lm in report.lms) for report in named]
    marks = ["+".join(lm[:HASH_SHOWN] for lm in lms) for lms in hashes]
    systems = shown_names([report.system for report in named], hashes, [""] * len(named), marks)
    return [replace(report, system=name) for report, name in zip(named, systems, strict=True)]


def _renamed(report: SystemReport, names: Sequence[str]) -> SystemReport:
    """The report with other names of its language models."""
    before = "+".join(lm.name for lm in report.lms)
    if before == "+".join(names):
        return report
    new = {lm.name: name for lm, name in zip(report.lms, names, strict=True)}
    system = report.system
    if system.startswith(before):  # what follows says how it was rescored
        system = "+".join(names) + system.removeprefix(before)

    def name(counts: Sequence[Any]) -> Iterable[str]:
        """Of the model of each count: they are in the order of the models, unless some are lacking."""
        return names if len(counts) == len(names) else (new.get(count.lm, count.lm) for count in counts)

    return replace(
        report,
        system=system,
        lms=tuple(replace(lm, name=name) for lm, name in zip(report.lms, names, strict=True)),
        oov=tuple(replace(count, lm=lm) for count, lm in zip(report.oov, name(report.oov), strict=True)),
        fits=tuple(replace(fit, lm=lm) for fit, lm in zip(report.fits, name(report.fits), strict=True)),
    )


def _numbered(names: Sequence[str], things: Sequence[Thing], same: Callable[[Thing, Thing], bool]) -> list[int]:
    """A number for each thing; those of one name that are the same have the same number."""
    numbers: list[int] = []
    for place, (name, thing) in enumerate(zip(names, things, strict=True)):
        alike = (k for k in range(place) if names[k] == name and numbers[k] == k and same(things[k], thing))
        numbers.append(next(alike, place))
    return numbers


def _same_set(one: tuple[SystemReport, Path], other: tuple[SystemReport, Path]) -> bool:
    """Whether two results are of one set, which may have two directories; or of one that has changed in between."""
    (first, first_out), (second, second_out) = one, other
    known = bool(first.data_dir and second.data_dir)
    if known and first.data_dir == second.data_dir:
        return True
    if _sizes(first) != _sizes(second):
        return not known and not first.rescored.keys().isdisjoint(second.rescored)
    texts = [_references(path) for path in (first_out, second_out)] if known else []
    return None in texts or len(texts) < 2 or texts[0] == texts[1]


def _sizes(report: SystemReport) -> dict[str, int]:
    """Utterance → number of words of its reference."""
    return {utt: count.reference_words for utt, count in report.rescored.items()}


def _references(out_dir: Path) -> Texts | None:
    """The references in an output directory; None if they are not there."""
    try:
        return read_references(out_dir)
    except RescoreError:
        return None


def _lattices(out_dir: Path) -> Lattices:
    """What the first job of a rescoring read, as far as its file tells."""
    with suppress(RescoreError):
        made_from = read_json(out_dir / "job.1.json", "a finished job", "rescore again").record("made_from").values
        directory, files = made_from.get("decode_dir"), made_from.get("lattices")
        if isinstance(directory, str) and isinstance(files, list):
            return directory, [file[:2] for file in files if isinstance(file, list)]
    return "", ()


def _same_lattices(one: Lattices, other: Lattices) -> bool:
    """Whether two results are of one decode directory, or of copies of it; so if it is not known."""
    unknown = not one[0] or not other[0]
    return unknown or one[0] == other[0] or one[1] == other[1]
