"""How fast and how exactly are the costs of N-best lists computed, compared with the usual way?

    python benchmarks/score_nbest.py [--utterances 3] [--n 1000] [decode-dir]

The usual way puts the hypotheses of each utterance into padded batches and computes the full log softmax of every
token. All variants compute the costs of the same lists with the same weights, one after the other, in one process. The
models are the student for Penn Treebank (10,000 words, 15 experts) and the one for Wall Street Journal (40,000 words, 7
experts). Their weights are random, because speed does not depend on them.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from asr_rescore import kaldi, models
from asr_rescore.config import ModelConfig
from asr_rescore.errors import UsageError
from asr_rescore.lattice import n_best
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.lm.prefix_tree import PrefixTree
from asr_rescore.models import AwdLstmMos
from asr_rescore.vocab import Vocabulary
from reporting import MINI, Report

MODELS = {
    "PTB student, 10,000 × 15": (10_000, ModelConfig()),
    "WSJ student, 40,000 × 7": (40_000, ModelConfig(embedding=250, hidden=(250, 250, 250), experts=7)),
}
SELF_NORMALISED = "prefix tree, self-normalised"
PADDED = 16  # hypotheses in one padded batch; with more, the full softmax would not fit into memory


def plain(model: AwdLstmMos, sentences: list[list[int]]) -> np.ndarray:
    """Return the costs of sentences, computed in padded batches without any shortcut."""
    costs = []
    for begin in range(0, len(sentences), PADDED):
        some = sentences[begin : begin + PADDED]
        longest = max(map(len, some)) + 1
        ids = torch.zeros(longest + 1, len(some), dtype=torch.int64)  # </s> first, last and as padding
        for column, sentence in enumerate(some):
            ids[1 : len(sentence) + 1, column] = torch.tensor(sentence, dtype=torch.int64)
        hidden, _ = model._recur(ids[:-1], model.initial_state(len(some)))
        latent = model._latent(hidden)  # (time, batch, experts, embedding)
        softmax = (latent @ model.embedding.T + model.decoder_bias).softmax(-1)
        prior = model.prior(hidden).softmax(-1).unsqueeze(-1)
        log_probs = (softmax * prior).sum(-2).log()
        picked = log_probs.gather(-1, ids[1:].unsqueeze(-1)).squeeze(-1).double()  # (time, batch)
        lengths = torch.tensor([len(sentence) + 1 for sentence in some])
        mask = torch.arange(longest).unsqueeze(1) < lengths
        costs.append(-(picked * mask).sum(0).numpy())
    return np.concatenate(costs)


def timed(work: Callable) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    with torch.inference_mode():
        result = work()
    return time.perf_counter() - began, result


def peak_gflops() -> float:
    """Return the speed of the fastest of several large float32 matrix products."""
    left, right = torch.randn(2048, 1024), torch.randn(1024, 4096)
    best = min(timed(lambda: left @ right)[0] for _ in range(10))
    return 2 * 2048 * 1024 * 4096 / best / 1e9


def compare(
    name: str, size: int, config: ModelConfig, lists: list[list[list[int]]], peak: float, report: Report
) -> None:
    """Report one row for each way to compute costs.

    Args:
        name, size, config: of the model.
        lists: for each utterance, the word ids of its sentences.
        peak: GFLOP/s of large matrix products.
        report: where rows go.
    """
    vocabulary = Vocabulary.from_counts({f"w{index}": 1 for index in range(size - 2)})
    torch.manual_seed(1)
    model = models.build(config, size).eval()
    with torch.no_grad():
        # With larger weights, logits vary, and are rounded, as much as those of a trained student.
        model.embedding.mul_(10)
        model.latent.weight.mul_(30)
    encoded = [[[2 + word % (size - 2) for word in words] for words in sentences] for sentences in lists]
    words = [[vocabulary.words[word] for word in sentence] for sentences in encoded for sentence in sentences]
    ways = {
        "padded, full softmax": lambda: np.concatenate([plain(model, sentences) for sentences in encoded]),
        "prefix tree, float32": lambda: NeuralScorer(model, vocabulary, "cpu").costs(words),
        "prefix tree, int8": lambda: NeuralScorer(model, vocabulary, "cpu", "int8").costs(words),
        "prefix tree, bfloat16": lambda: NeuralScorer(model, vocabulary, "cpu", "bfloat16").costs(words),
        SELF_NORMALISED: lambda: NeuralScorer(model, vocabulary, "cpu", "none").costs(words),
    }
    contexts = sum(len(PrefixTree.build(sentences, 0)) for sentences in encoded)
    flops = 2 * contexts * size * config.experts * config.embedding
    results = {}
    for way, work in ways.items():
        with suppress(UsageError):  # this processor has no fast products in this format
            results[way] = timed(work)
    slowest, reference = results["padded, full softmax"]
    for way, (seconds, costs) in results.items():
        exact = way != SELF_NORMALISED  # these weights were not trained for it, so only the speed is meaningful
        share = f"{flops / seconds / 1e9 / peak:.0%}" if exact and not way.startswith("padded") else ""
        error = f"{np.abs(costs - reference).max():.1e}" if exact else ""
        each = seconds / len(lists)
        report(f"| {name} | {way} | {each:.2f} | {slowest / seconds:.1f} | {error} | {share} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--utterances", type=int, default=3, help="number of utterances, spread over all sizes of lattices (3)"
    )
    parser.add_argument("--n", type=int, default=1000, help="at most N hypotheses per utterance (1000)")
    parser.add_argument("decode_dir", nargs="?", type=Path, default=MINI / "exp/decode_tgpr_dev")
    arguments = parser.parse_args()
    lattices = sorted((lattice for _, lattice in kaldi.read_lattices(arguments.decode_dir)), key=lambda it: it.num_arcs)
    places = [int((place + 0.5) / arguments.utterances * len(lattices)) for place in range(arguments.utterances)]
    lists = [[list(path.words) for path in n_best(lattices[place], arguments.n, 1 / 12)] for place in places]
    tokens = sum(len(words) + 1 for sentences in lists for words in sentences)
    contexts = sum(len(PrefixTree.build(sentences, 0)) for sentences in lists)
    peak, report = peak_gflops(), Report("Scoring of N-best lists")
    report(f"{len(lists)} utterances, {sum(map(len, lists))} hypotheses, {tokens} tokens, {contexts} contexts")
    report(f"(the same for each model); large matrix products at {peak:.0f} GFLOP/s\n")
    report("| model | way | s per utterance | times as fast | largest error, nats | share of the peak |")
    report("|---|---|---:|---:|---:|---:|")
    for name, (size, config) in MODELS.items():
        compare(name, size, config, lists, peak, report)
    report(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, including the padded way")
    report.write()


if __name__ == "__main__":
    main()
