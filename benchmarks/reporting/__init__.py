"""Shared parts of the benchmarks: a report on the screen and in benchmarks/results/, and the paths of the demo."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from pathlib import Path

import torch

from asr_rescore.files import atomic_text

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "benchmarks/results"
MINI = ROOT / "recipes/wsj/mini"
DEMO = ROOT / "recipes/wsj/exp/mini"


class Report:
    """Prints lines and collects them for a file that is named after the script, the hardware and the date."""

    def __init__(self, title: str, device: torch.device | None = None) -> None:
        name = hardware(device)
        date = time.strftime("%Y-%m-%d")
        script = Path(sys.argv[0])
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        self.path = RESULTS / f"{script.stem}_{slug}_{date}.md"
        self._lines: list[str] = []
        self(f"# {title}\n")
        self(f"{name}, {torch.get_num_threads()} threads on {os.cpu_count()} cores,")
        self(f"load average {os.getloadavg()[0]:.1f}, torch {torch.__version__}, {date}. Printed by")
        # Absolute paths of this machine mean nothing to other readers.
        arguments = [Path(argument).name if argument.startswith(("/", "..")) else argument for argument in sys.argv[1:]]
        self(f"`{shlex.join(['python', f'benchmarks/{script.name}', *arguments])}`.\n")

    def __call__(self, line: str = "") -> None:
        """Print a line and keep it for the file."""
        print(line, flush=True)
        self._lines.append(line)

    def write(self) -> None:
        """Write all lines to the file."""
        with atomic_text(self.path) as stream:
            stream.write("\n".join(self._lines) + "\n")


def hardware(device: torch.device | None = None) -> str:
    """Return the name of the GPU, or of the processor if Linux knows it."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    path = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return named[1] if named else "CPU"


def need(*directories: Path) -> None:
    """End the script if a directory is missing. The default directories are those of the demo."""
    for directory in directories:
        if not directory.is_dir():
            sys.exit(f"{directory}: no such directory; run 'make demo' first, or give another one (see --help)")
