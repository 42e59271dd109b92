"""What happens without normalisers? Compares costs and word errors of a self-normalised student with and without them.

    python benchmarks/self_normalised.py

Trains a student on the embedded corpus with hard labels, like the demo's student_ce but with train.self_normalization,
and rescores with it twice. The weights are tuned on dev with exact costs and used for all runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.checkpoint import load_model
from asr_rescore.cli.main import main as command
from asr_rescore.ranking import neural_column
from asr_rescore.report import SystemReport
from reporting import DEMO, MINI, Report, need

CONF = MINI.parent / "conf/mini"
STUDENT = DEMO / "student_self_normalised"
GRAPHS, SETS = ("tgpr", "bd_tgpr"), ("dev", "eval")


def run(*arguments: object) -> None:
    """Run a command of asr-rescore. What was finished by an earlier run is not done again."""
    if command(list(map(str, arguments))) != 0:
        sys.exit(f"failed: {' '.join(map(str, arguments))}")


def rescored(graph: str, part: str, normaliser: str) -> Path:
    """Rescore a set and return its out-dir."""
    out_dir = STUDENT / f"{normaliser}_{graph}_{part}"
    tuned = STUDENT / f"float32_{graph}_dev"
    decide = ("--tune",) if out_dir == tuned else ("--weights", tuned)
    places = (MINI / f"lang_{graph}", STUDENT, MINI / f"data/{part}", MINI / f"exp/decode_{graph}_{part}", out_dir)
    run("rescore_nbest", "--normaliser", normaliser, "--no-lattice-oracle", *decide, *places)
    return out_dir


def costs(out_dir: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the model's costs of all hypotheses.

    Returns:
        For each hypothesis: the number of its list, its cost, and its number of words including the sentence end.
    """
    lists = kaldi.read_nbest_dir(out_dir, 1)
    of, cost, count = zip(
        *((np.full(len(it), place), it.costs[neural_column(0)], it.word_counts + 1) for place, it in enumerate(lists)),
        strict=True,
    )
    return np.concatenate(of), np.concatenate(cost), np.concatenate(count)


def main() -> None:
    need(DEMO / "student_ce")
    text = DEMO / "text"
    configs = ("--config", CONF / "student_ce.yaml", "--config", CONF / "self_normalised.yaml")
    texts = ("--train", text / "train.txt", "--valid", text / "valid.txt", "--vocab", text)
    run("train_lm", *configs, *texts, "--seed", 1, STUDENT)
    report = Report("Self-normalised students")
    plain, own = (load_model(path).provenance["valid_ppl"] for path in (DEMO / "student_ce", STUDENT))
    report(f"Valid perplexity {plain:.2f} without the penalty, {own:.2f} with it. Error: the cost without normalisers")
    report(
        "minus the exact cost, per word, mean ± standard deviation over hypotheses; for whole hypotheses, the standard"
    )
    report("deviation within lists, which is all that affects a ranking.\n")
    report("| lists | hypotheses | error per word, nats | within a list, nats | %WER | %WER without normalisers |")
    report("|---|---:|---:|---:|---:|---:|")
    for graph in GRAPHS:
        for part in SETS:
            exact_dir, bare_dir = (rescored(graph, part, normaliser) for normaliser in ("float32", "none"))
            (of, exact, count), (_, bare, _) = costs(exact_dir), costs(bare_dir)
            error = bare - exact
            centred = error - (np.bincount(of, error) / np.bincount(of))[of]
            wer, bare_wer = (SystemReport.load(out_dir).total.wer for out_dir in (exact_dir, bare_dir))
            each = error / count
            report(
                f"| {graph}, {part} | {len(error)} | {each.mean():+.4f} ± {each.std():.4f} | {centred.std():.3f} "
                f"| {wer:.2f} | {bare_wer:.2f} |"
            )
    report.write()


if __name__ == "__main__":
    main()
