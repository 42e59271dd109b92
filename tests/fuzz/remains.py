"""What a command leaves, without what differs from run to run, and whether each file of it is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Contents = Mapping[str, object]  # name → content, as far as it must be the same in each run

TEMPORARY = (".tmp", ".old")
ARRAYS = ("weights.f16", "words.i32", "label.f32")  # of a teacher's cache
# Files whose directory appears as a whole.
WHOLE_DIRECTORY = re.compile(r"archives\.\d+")


def contents(folder: Path, named: str = "out") -> dict[str, object]:
    """All results in a folder: the files whose path begins with ``named``, but not locks and logs of scripts."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not name.startswith(named) or path.name.endswith(".lock") or path.parent.name == "log" or path.is_dir():
            continue
        if path.suffix in TEMPORARY or any(part.endswith(TEMPORARY) for part in path.parts):
            continue
        if WHOLE_DIRECTORY.fullmatch(path.parent.name):
            found.setdefault(str(path.parent.relative_to(folder)), {})[path.name] = path.read_bytes()
        elif path.suffix == ".costs":
            key = str(path.parent.parent.relative_to(folder))  # the names of both are no result
            found.setdefault(key, {}).update(_costs(path))
        else:
            found[name] = _comparable(path)
    return found


def temporary_files(folder: Path) -> list[str]:
    """Names of unfinished files and directories."""
    return [path.name for path in folder.rglob(".*") if path.suffix in TEMPORARY]


def final_name(temporary: str) -> str:
    """The final name of an unfinished file, without what is random in it."""
    return temporary.removeprefix(".").rsplit(".", 5)[0] + " unfinished"


def differences(found: Contents, wanted: Contents) -> str:
    """How results differ from those of a run that nothing disturbed; empty if they do not."""
    for name in sorted({**found, **wanted}):
        if name not in found:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} is too many"
        if found[name] != wanted[name]:
            return f"{name} differs"
    return ""


def incomplete(folder: Path, *whole: Contents) -> str:
    """A file under its final name that is neither one of ``whole`` nor complete by its own format; empty if none is."""
    for name, content in contents(folder).items():
        if any(one.get(name) == content for one in whole):
            continue
        path = folder / name
        if path.name in ARRAYS and not (path.parent / "cache.json").exists():
            continue  # the cache is complete when its description is there
        reader = next((reader for pattern, reader in READERS.items() if path.match(pattern)), None)
        if reader is None and isinstance(content, dict) and any(_covers(one.get(name), content) for one in whole):
            continue  # some of the costs of a score cache
        if reader is None:
            return f"{name} is incomplete"
        try:
            reader(path)
        except Exception as error:
            return f"{name} is incomplete ({type(error).__name__})"
    return ""


def _covers(whole: object, part: Mapping[object, object]) -> bool:
    return isinstance(whole, dict) and not isinstance(next(iter(whole), None), str) and part.items() <= whole.items()


def _comparable(path: Path) -> object:
    try:
        if path.name == "log.jsonl":
            return [_without_times(json.loads(line)) for line in path.read_text().splitlines()]
        if path.match("job.*.json"):
            marker = json.loads(path.read_text())
            sizes = {name: stamp[:2] for name, stamp in marker["results"].items()}
            return marker["made_from"], sizes, marker["failures"]
        if path.name == "training_state.safetensors":
            return _state(path)
        if path.name == "provenance.json":
            facts = json.loads(path.read_text())
            return {name: value for name, value in facts.items() if name != "command"}
    except Exception:
        pass  # incomplete: then its bytes differ from those of any other
    return path.read_bytes()


def _without_times(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")}


def _state(path: Path) -> object:
    from asr_rescore.checkpoint import load_training_state

    tensors, facts = load_training_state(path)
    progress = _without_times(facts["progress"])
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, facts["run"], progress


def _costs(path: Path) -> dict[object, object]:
    from asr_rescore.errors import InputError
    from asr_rescore.lm import score_cache

    try:
        records = score_cache._read(path)
    except InputError:
        return {path.name: "damaged"}
    return dict(zip(records["sentence"].tolist(), records["cost"].tolist(), strict=True))


def _read_json(path: Path) -> None:
    json.loads(path.read_text())


def _read_log(path: Path) -> None:
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):  # a kill may cut the last one; the next run removes it
            json.loads(line)


def _read_tensors(path: Path) -> None:
    import safetensors.torch

    safetensors.torch.load_file(path)


# What a stopped run may leave although a finished one leaves something else: the states and models of earlier epochs,
# and the markers of single jobs.
READERS: dict[str, Callable[[Path], None]] = {
    "log.jsonl": _read_log,
    "*.safetensors": _read_tensors,
    "provenance.json": _read_json,
    "job.*.json": _read_json,
}
