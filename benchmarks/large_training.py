"""What does training at the sizes of Wall Street Journal cost: 37 million words, a vocabulary of 40,000?

    python benchmarks/large_training.py [--tokens 280]

The models are those of recipes/wsj/conf/wsj, with random weights and random text, since speed does not depend on them.
The processor time of one step (forward and backward, 4 streams) and of one pass that computes distributions is
multiplied up to the whole text. The teacher's cache of a slice of the text is written in two jobs; its size for the
whole text follows from its bytes per token. The tables are also written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asr_rescore import models, objectives
from asr_rescore.config import load_config
from asr_rescore.corpus import TokenStream
from asr_rescore.models import LanguageModel
from asr_rescore.training import CacheConfig, CacheJob, build_cache
from reporting import ROOT, Report

CONF = ROOT / "recipes/wsj/conf/wsj"
VOCABULARY = 40_000
TEXT = 37_000_000 + 1_600_000  # words, and about as many sentence ends as WSJ's text has
STREAMS = 4
TOP = 64
SAMPLES = 16


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of the second call."""
    work()
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tokens", type=int, default=280, help="tokens of a step, and of the slice that is cached (280)"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = Report("Training at the sizes of Wall Street Journal")
    report(f"One thread. The text has {TEXT:,} tokens; the vocabulary has {VOCABULARY:,} entries.\n")
    report("| model | parameters | work | tokens per processor second | processor days for the text |")
    report("|---|---:|---|---:|---:|")
    draw = np.random.default_rng(1)
    ids = draw.integers(0, VOCABULARY, arguments.tokens)
    ids[-1] = 0
    for name in ("teacher", "student_ce"):
        config = load_config(CONF / f"{name}.yaml")
        model = models.build(config.model, VOCABULARY)
        for work, speed in speeds(model, ids).items():
            days = TEXT / speed / 86400
            report(f"| {name} | {model.num_parameters:,} | {work} | {speed:,.0f} | {days:,.1f} |")
        if name == "teacher":
            teacher = model
    text = TokenStream(ids, np.array([len(ids)]), 0.0, Counter())
    report(f"\nThe teacher's cache of {len(ids)} tokens, in two jobs:\n")
    report("| kept | bytes per token, by formula | measured | GB for the text |\n|---|---:|---:|---:|")
    for kept, config, formula in [
        ("all words", CacheConfig(), 2 * VOCABULARY + 4),
        (f"top {TOP} and {SAMPLES} samples", CacheConfig(top=TOP, samples=SAMPLES), 6 * (TOP + SAMPLES) + 4),
    ]:
        with tempfile.TemporaryDirectory() as directory:
            for job in CacheJob.all(2):
                build_cache(Path(directory), teacher, text, ["random"], config, torch.device("cpu"), job)
            size = sum(path.stat().st_size for path in Path(directory).rglob("*.[fi]*"))
        report(f"| {kept} | {formula:,} | {size / len(ids):,.0f} | {TEXT * size / len(ids) / 1e9:,.1f} |")
    report.write()


def speeds(model: LanguageModel, ids: np.ndarray) -> dict[str, float]:
    """Return work → tokens per processor second."""
    labels = torch.from_numpy(ids[: len(ids) // STREAMS * STREAMS]).view(-1, STREAMS)
    state = model.initial_state(STREAMS)

    def train() -> None:
        model.train().zero_grad()
        output = model.loss(labels, state, lambda student, here: objectives.label_loss(student, labels.flatten()[here]))
        (output.total / labels.numel()).backward()

    @torch.no_grad()
    def distributions() -> None:
        model.eval()(labels, state)

    return {
        "training on hard labels": labels.numel() / seconds(train),
        "distributions": labels.numel() / seconds(distributions),
    }


if __name__ == "__main__":
    main()
