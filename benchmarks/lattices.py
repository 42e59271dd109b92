"""How long do the steps of working on a lattice take: reading, N-best, best paths, lists as lattices, oracle?

    python benchmarks/lattices.py [decode-dir]

One process on one core. For comparison, time Kaldi's C++ lattice-to-nbest on the same directory with
`time lattice-to-nbest --acoustic-scale=0.083333 --n=1000 "ark:gunzip -c lat.*.gz|" ark:/dev/null`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.lattice import best_paths, from_paths, n_best, oracle
from reporting import MINI, Report

SCALE = 1 / 12
SIZES = (10, 100, 1000)
SCALES, PENALTIES = zip(*[(1 / lmwt, wip) for wip in (0.0, 0.5, 1.0) for lmwt in range(7, 18)], strict=True)


def timed(report: Report, name: str, work: Callable, *columns: list) -> tuple[list, np.ndarray]:
    """Call ``work`` on each row of ``columns`` and report the mean time per row.

    Returns:
        The result for each row, and the milliseconds that each row took.
    """
    results, stamps = [], [time.perf_counter()]
    for row in zip(*columns, strict=True):
        results.append(work(*row))
        stamps.append(time.perf_counter())
    milliseconds = 1000 * np.diff(stamps)
    report(f"| {name} | {milliseconds.mean():.2f} |")
    return results, milliseconds


def main() -> None:
    decode_dir = Path(sys.argv[1]) if len(sys.argv) > 1 else MINI / "exp/decode_tgpr_dev"
    report = Report("Lattices")
    measure = partial(timed, report)
    began = time.perf_counter()
    lattices = [lattice for _, lattice in kaldi.read_lattices(decode_dir)]
    seconds = time.perf_counter() - began
    arcs = sum(lattice.num_arcs for lattice in lattices) / len(lattices)
    report(f"{len(lattices)} lattices of {arcs:.0f} arcs on average, {decode_dir.name}\n")
    report("| step | ms per lattice |\n|---|---:|")
    report(f"| read | {1000 * seconds / len(lattices):.2f} |")
    by_n = {}
    for n in SIZES:
        lists, by_n[n] = measure(f"N-best, N = {n}", lambda lattice, n=n: n_best(lattice, n, SCALE), lattices)
    measure(f"best paths at {len(SCALES)} points", lambda lattice: best_paths(lattice, SCALES, PENALTIES), lattices)
    costs = [[path.graph for path in paths] for paths in lists]
    measure("N-best list as a lattice, N = 1000", from_paths, lattices, lists, costs)
    measure("oracle", oracle, lattices, [paths[-1].words if paths else () for paths in lists])
    report(f"\n{sum(map(len, lists)) / len(lists):.0f} hypotheses per lattice at N = 1000.")
    report("\nN-best by the size of the lattices:\n")
    report("| lattices | arcs | " + " | ".join(f"N = {n}, ms" for n in SIZES) + " |")
    report("|---:|---:" + "|---:" * len(SIZES) + "|")
    by_size = np.argsort([lattice.num_arcs for lattice in lattices], kind="stable")
    for part in np.array_split(by_size, 5):
        few, many = lattices[part[0]].num_arcs, lattices[part[-1]].num_arcs
        figures = " | ".join(f"{by_n[n][part].mean():.2f}" for n in SIZES)
        report(f"| {len(part)} | {few} to {many} | {figures} |")
    report.write()


if __name__ == "__main__":
    main()
