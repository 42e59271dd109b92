"""What does training at the sizes of Wall Street Journal cost: 37 million words, a vocabulary of 40,000?

    python benchmarks/large_training.py [--tokens 280]

The models are those of recipes/wsj/conf/wsj, with random weights and random text, since speed does not depend on them.
The processor time of one step (forward and backward, 4 streams) and of one pass that computes distributions is
multiplied up to the whole text. A second table counts floating-point operations and divides them by the rate that a GPU
may sustain, since no GPU is needed to run this. The teacher's cache of a slice of the text is written in two jobs; its
size for the whole text follows from its bytes per token. The tables are also written to benchmarks/results/.
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
SUSTAINED = (10e12, 30e12, 100e12)  # operations per second of a GPU
GPUS = (1, 8)
EPOCHS = 60  # at most, by the configs; patience may end a training earlier


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
    trained = {}
    for name in ("teacher", "student_ce"):
        config = load_config(CONF / f"{name}.yaml")
        model = models.build(config.model, VOCABULARY)
        for work, speed in speeds(model, ids).items():
            days = TEXT / speed / 86400
            report(f"| {name} | {model.num_parameters:,} | {work} | {speed:,.0f} | {days:,.1f} |")
        trained[name] = model
    report_gpus(report, {name: operations(model) for name, model in trained.items()})
    teacher = trained["teacher"]
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


def operations(model: LanguageModel) -> float:
    """Return the floating-point operations of reading one token: two for each use of a weight of a matrix product.

    Looking up an embedding takes none; each expert multiplies by the whole embedding again.
    """
    products = sum(weight.numel() for name, weight in model.named_parameters() if weight.dim() == 2)
    embedding = model.config.embedding * VOCABULARY
    return 2 * (products - embedding + model.config.experts * embedding)


def report_gpus(report: Report, forward: dict[str, float]) -> None:
    """Print the time of the whole experiment: two networks of the teacher, their distributions, three students."""
    epochs = {name: TEXT * 3 * count for name, count in forward.items()}  # the gradients take twice the forward pass
    work = {
        "one epoch of a network of the teacher": epochs["teacher"],
        "one epoch of a student": epochs["student_ce"],
        "the distributions of both networks": 2 * TEXT * forward["teacher"],
    }
    work[f"everything, {EPOCHS} epochs of two networks and three students"] = (
        EPOCHS * (2 * epochs["teacher"] + 3 * epochs["student_ce"]) + work["the distributions of both networks"]
    )
    report("\nHours by operations alone, if a GPU sustains so many per second, and if eight scale perfectly:\n")
    columns = [(gpus, rate) for gpus in GPUS for rate in SUSTAINED]
    report(f"| work | operations |{''.join(f' {gpus} × {rate / 1e12:.0f} T/s |' for gpus, rate in columns)}")
    report("|---|---:|" + "---:|" * len(columns))
    for name, count in work.items():
        hours = "".join(f" {count / rate / gpus / 3600:,.1f} |" for gpus, rate in columns)
        report(f"| {name} | {count:.1e} |{hours}")


if __name__ == "__main__":
    main()
