"""How fast do teacher and student train on Penn Treebank, against a plain re-implementation of the reference's way?

    python benchmarks/train_ptb.py [--size full|cpu] [--steps 5] [--device auto]

The plain way is what AWD-LSTM-MoS code usually does: masked weights, the softmax of every expert written out, their
mixture, log(p + 1e-8), all of it kept for automatic differentiation, and the teacher run beside the student. Both ways
do the same steps (forward, backward, clipping, SGD) alternately in one process; the median of the steps is shown. The
text is random: speed does not depend on it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from asr_rescore import models, objectives
from asr_rescore.config import ModelConfig, ObjectiveConfig, load_config
from asr_rescore.models import AwdLstmMos, Ensemble
from asr_rescore.models.dropout import embed_with_row_dropout, locked_dropout
from asr_rescore.models.mixture import mixture_log_probs, mixture_loss
from asr_rescore.objectives import SoftLabels
from asr_rescore.training.teacher_cache import SCALE

CONF = Path(__file__).parent.parent / "recipes/ptb/conf"
VOCABULARY, TOKENS = 10_000, 929_589
MEMBERS = {"full": 5, "cpu": 2}  # of the teacher


def plain_forward(model: AwdLstmMos, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ln P (tokens, vocabulary), raw and dropped output, of a text (time, batch) from zero states."""
    config, training = model.config, model.training
    hidden = embed_with_row_dropout(ids, model.embedding, config.dropout_rows, training)
    hidden = locked_dropout(hidden, config.dropout_input, training)
    for index, layer in enumerate(model.layers):
        if index:
            hidden = locked_dropout(hidden, config.dropout_hidden, training)
        masked = F.dropout(layer.weight_hh_l0, config.dropconnect, training)
        weights = [layer.weight_ih_l0, masked, layer.bias_ih_l0, layer.bias_hh_l0]
        zeros = (hidden.new_zeros(1, ids.shape[1], masked.shape[1]),) * 2
        hidden = torch._VF.lstm(hidden, zeros, weights, True, 1, 0.0, training, False, False)[0]
    dropped = locked_dropout(hidden, config.dropout_output, training)
    latent = locked_dropout(torch.tanh(model.latent(dropped)), config.dropout_latent, training)
    logits = F.linear(latent.view(-1, config.embedding), model.embedding, model.decoder_bias)
    softmax = F.softmax(logits, dim=-1).view(-1, config.experts, VOCABULARY)
    prior = F.softmax(model.prior(dropped).view(-1, config.experts), dim=-1)
    return torch.log((softmax * prior.unsqueeze(2)).sum(1) + 1e-8), hidden, dropped


class Step:
    """One update of a model: ours, or the plain way."""

    def __init__(
        self, model: AwdLstmMos, config: ObjectiveConfig, regularized: bool, teacher: Callable | None, plain: bool
    ):
        self.model, self.plain, self.regularized, self.teacher = model.train(), plain, regularized, teacher
        self.objective = objectives.build(config)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def __call__(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Of a text (time, batch)."""
        self.optimizer.zero_grad()
        soft, labels = None if self.teacher is None else self.teacher(inputs, labels), labels.flatten()

        def token_loss(log_probs: torch.Tensor, here: slice) -> torch.Tensor:
            return self.objective(log_probs, None if soft is None else soft[here], labels[here])

        if self.plain:
            log_probs, raw, dropped = plain_forward(self.model, inputs)
            loss = token_loss(log_probs, slice(None)).mean()
        else:
            output = self.model.loss(inputs, self.model.initial_state(inputs.shape[1]), token_loss)
            loss, raw, dropped = output.total / len(labels), output.raw, output.dropped
        if self.regularized:
            loss = loss + 2 * dropped.pow(2).mean() + (raw[1:] - raw[:-1]).pow(2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.25)
        self.optimizer.step()


def online(teacher: Ensemble, plain: bool) -> Callable:
    """The teacher run beside the student."""

    @torch.no_grad()
    def soft_labels(inputs: torch.Tensor, labels: torch.Tensor) -> SoftLabels:
        if plain:
            probs = torch.stack([plain_forward(member, inputs)[0].exp() for member in teacher.members]).mean(0)
            return SoftLabels.from_log_probs(probs.log(), labels.flatten())
        log_probs = teacher(inputs, teacher.initial_state(inputs.shape[1])).log_probs.flatten(0, 1)
        return SoftLabels.from_log_probs(log_probs, labels.flatten())

    teacher.eval()
    return soft_labels


def cached(tokens: int, device: torch.device) -> Callable:
    """Rows of a cache, as CachedTeacher reads them."""
    rows = torch.rand(tokens, VOCABULARY).mul_(2e-4 * SCALE).half().to(device)
    label = torch.full((tokens,), -5.0, device=device)
    positions = torch.randperm(tokens).to(device)

    def soft_labels(inputs: torch.Tensor, labels: torch.Tensor) -> SoftLabels:
        here = positions[: labels.numel()]
        return SoftLabels(rows[here], label[here], scale=1 / SCALE)

    return soft_labels


def alternate(ways: dict[str, Callable[[], None]], steps: int, device: torch.device) -> dict[str, tuple[float, float]]:
    """Median seconds of each way, and the bytes its largest step added (on a GPU)."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    peak = dict.fromkeys(ways, 0.0)
    for step in range(steps + 1):  # the first one warms up
        for way, work in ways.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
                torch.cuda.synchronize(device)
            began = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
                peak[way] = torch.cuda.max_memory_allocated(device)
            if step:
                seconds[way].append(time.perf_counter() - began)
    return {way: (statistics.median(times), peak[way]) for way, times in seconds.items()}


def kept_bytes(work: Callable[[], torch.Tensor]) -> int:
    """Bytes that automatic differentiation keeps for ``work``'s backward pass."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        alive = work()
    del alive
    return sum(kept.values())


def show(name: str, results: dict[str, tuple[float, float]], tokens: int) -> None:
    slowest = results["plain"][0]
    for way, (seconds, peak) in results.items():
        speed = tokens / seconds
        memory = f"{peak / 1e9:.1f} GB" if peak else "–"
        print(
            f"| {name} | {way} | {speed:,.0f} | {TOKENS / speed:,.0f} | {slowest / seconds:.2f} | {memory} |",
            flush=True,
        )


def mixture(config: ModelConfig, tokens: int, steps: int, device: torch.device) -> None:
    """The output layer alone, forward and backward."""
    draw = torch.Generator().manual_seed(1)
    shapes = [
        (tokens, 1, config.experts, config.embedding),
        (tokens, 1, config.experts),
        (VOCABULARY, config.embedding),
    ]
    inputs = [
        torch.randn(shape, generator=draw).mul_(0.1).to(device).requires_grad_() for shape in [*shapes, (VOCABULARY,)]
    ]

    labels = torch.randint(VOCABULARY, (tokens,), generator=draw).to(device)

    def label_loss(log_probs: torch.Tensor, here: slice) -> torch.Tensor:
        return -log_probs.gather(-1, labels[here].unsqueeze(-1)).squeeze(-1)

    def materialised(latent, prior, weight, bias):
        softmax = F.softmax(F.linear(latent, weight, bias), dim=-1)
        log_probs = torch.log((softmax * F.softmax(prior, dim=-1).unsqueeze(-1)).sum(-2) + 1e-8)
        return label_loss(log_probs[:, 0], slice(None)).sum()

    ways = {
        "plain": materialised,
        "ours, ln P kept": lambda *inputs: label_loss(mixture_log_probs(*inputs)[:, 0], slice(None)).sum(),
        "ours, loss and gradient together": lambda *inputs: mixture_loss(*inputs, label_loss),
    }
    results = alternate({way: lambda form=form: form(*inputs).backward() for way, form in ways.items()}, steps, device)
    for way, (seconds, _) in results.items():
        kept = kept_bytes(lambda form=ways[way]: form(*inputs)) / 1e6
        print(f"| {way} | {1000 * seconds:,.0f} | {results['plain'][0] / seconds:.2f} | {kept:,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=MEMBERS, default="cpu")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args()
    use_gpu = arguments.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if use_gpu else "cpu")
    hardware = torch.cuda.get_device_name() if use_gpu else f"CPU, {torch.get_num_threads()} threads"
    configs = {name: load_config(CONF / arguments.size / f"{name}.yaml") for name in ("teacher", "student")}
    print(f"{arguments.size} size, {hardware}, torch {torch.__version__}, median of {arguments.steps} steps\n")
    print("| step | way | tokens/s | s/epoch | times as fast | GPU memory |\n|---|---|---:|---:|---:|---:|")
    torch.manual_seed(1)
    fresh = {
        name: [models.build(config.model, VOCABULARY).to(device) for _ in range(MEMBERS[arguments.size])]
        for name, config in configs.items()
    }
    teacher, student = Ensemble(fresh["teacher"]), fresh["student"][0]
    hard, trust = ObjectiveConfig("ce"), ObjectiveConfig("trust")
    for name, model, objective, way in [
        ("teacher component, CE", fresh["teacher"][0], hard, None),
        ("student, CE", student, hard, None),
        ("student, distilling", student, trust, "teacher"),
    ]:
        options = configs[name.split()[0].rstrip(",")].train
        tokens = options.batch * options.bptt
        ids = torch.randint(VOCABULARY, (options.bptt + 1, options.batch), device=device)
        regularized = model is not student
        models.use_fast_path(model, options.precision == "mixed")
        ways = {}
        for plain in (True, False):
            source = online(teacher, plain) if way else None
            step = Step(model, objective, regularized, source, plain)
            ways["plain" if plain else "ours"] = lambda step=step, ids=ids: step(ids[:-1], ids[1:])
        if way:
            step = Step(model, objective, regularized, cached(4 * tokens, device), False)
            ways["ours, cached teacher"] = lambda step=step, ids=ids: step(ids[:-1], ids[1:])
        show(name, alternate(ways, arguments.steps, device), tokens)
    config = replace(configs["teacher"].model)
    print("\nThe teacher's output layer alone, forward and backward, on 420 tokens:\n")
    print("| way | ms | times as fast | MB kept for the backward pass |\n|---|---:|---:|---:|")
    mixture(config, 420, arguments.steps, device)


if __name__ == "__main__":
    main()
