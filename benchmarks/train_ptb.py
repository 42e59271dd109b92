"""How fast do teacher and student train on Penn Treebank, compared with a plain re-implementation of the reference?

    python benchmarks/train_ptb.py [--size cpu full] [--steps 5] [--device auto]

The plain way is what AWD-LSTM-MoS code usually does. It masks weights, computes the softmax of every expert, mixes them
and takes log(p + 1e-8). It keeps all of this for automatic differentiation, and runs the teacher next to the student.
Both ways do the same steps (forward, backward, clipping, SGD) alternately in one process. The tables show the median
time of a step, and the median ratio of each step to the neighbouring plain step, which other work on the machine
disturbs less. The text is random, because speed does not depend on it. The models are those of recipes/ptb/conf.

Peak memory is the memory that a step adds to what was in use before it: torch's allocations on a GPU, otherwise the
resident pages of the process (Linux only). The tables are also written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import re
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from asr_rescore import models, objectives
from asr_rescore.config import ModelConfig, ObjectiveConfig, load_config
from asr_rescore.lm.streams import Chunk
from asr_rescore.models import AwdLstmMos, Ensemble
from asr_rescore.models.dropout import embed_with_row_dropout, locked_dropout
from asr_rescore.models.mixture import mixture_log_probs, mixture_loss
from asr_rescore.objectives import SoftLabels
from asr_rescore.training.cached_teacher import CachedTeacher
from asr_rescore.training.teacher import OnlineTeacher, Teacher
from asr_rescore.training.teacher_cache import SCALE
from reporting import ROOT, Report

CONF = ROOT / "recipes/ptb/conf"
VOCABULARY, TOKENS = 10_000, 929_589
MEMBERS = {"full": 5, "cpu": 2, "study/full": 2}  # networks in the teacher


def plain_forward(model: AwdLstmMos, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Read a text (time, batch) from zero states, without any shortcut.

    Returns:
        P (tokens, vocabulary), and the last layer's output before and after dropout.
    """
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
    return (softmax * prior.unsqueeze(2)).sum(1), hidden, dropped


class Step:
    """One update of a model, done our way or the plain way."""

    def __init__(
        self, model: AwdLstmMos, objective: str, regularized: bool, teacher: Teacher | None = None, plain: bool = False
    ):
        self.model, self.plain, self.regularized, self.teacher = model.train(), plain, regularized, teacher
        self.objective = objectives.build(ObjectiveConfig(objective))
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def __call__(self, chunk: Chunk) -> None:
        """Update the model on one chunk of text."""
        self.optimizer.zero_grad()
        inputs, labels = chunk.inputs, chunk.labels.flatten()
        soft = None if self.teacher is None else self.teacher.soft_labels(chunk, 0)

        def token_loss(log_probs: torch.Tensor, here: slice) -> torch.Tensor:
            return self.objective(log_probs, None if soft is None else soft[here], labels[here])

        if self.plain:
            probs, raw, dropped = plain_forward(self.model, inputs)
            loss = token_loss(torch.log(probs + 1e-8), slice(None)).mean()
        else:
            output = self.model.loss(inputs, self.model.initial_state(inputs.shape[1]), token_loss)
            loss, raw, dropped = output.total / len(labels), output.raw, output.dropped
        if self.regularized:
            loss = loss + 2 * dropped.pow(2).mean() + (raw[1:] - raw[:-1]).pow(2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.25)
        self.optimizer.step()


class PlainTeacher(OnlineTeacher):
    """A teacher that computes the distribution of each member in full and takes the mean."""

    @torch.no_grad()
    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Read a chunk from zero states."""
        members = self.model.members
        probs = sum(plain_forward(member, chunk.inputs)[0] for member in members) / len(members)
        return SoftLabels(probs, probs.gather(-1, chunk.labels.flatten().unsqueeze(-1)).squeeze(-1).log())


def cached_teacher(tokens: int, device: torch.device) -> CachedTeacher:
    """Return a teacher with random rows in memory instead of a cache on disk."""
    draw = np.random.default_rng(1)
    weights = draw.random((tokens, VOCABULARY), np.float32)
    weights *= SCALE / weights.sum(-1, keepdims=True)
    label = np.full(tokens, -5.0, np.float32)
    return CachedTeacher(SimpleNamespace(weights=weights.astype(np.float16), label=label, words=None), device)


def random_chunk(time_steps: int, batch: int, rows: int, device: torch.device) -> Chunk:
    """Return random text with its positions in a cache of ``rows`` tokens."""
    ids = torch.randint(VOCABULARY, (time_steps + 1, batch), device=device)
    return Chunk(ids[:-1], ids[1:], torch.randint(rows, (time_steps, batch), device=device))


def peak_bytes(work: Callable[[], None], device: torch.device) -> float:
    """Return how far ``work`` raises the memory in use, or NaN if that is not known."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    except OSError:
        work()
        return math.nan
    ctypes.CDLL(None).malloc_trim(0)  # otherwise the step would reuse memory that the previous one has freed
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    return 1024 * int(re.search(rf"^{name}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)[1])


def alternate(ways: dict[str, Callable[[], None]], steps: int, device: torch.device) -> dict[str, tuple[float, ...]]:
    """Return, for each way: seconds per step, how many times as fast as the plain way, and peak memory in MB."""
    for work in ways.values():  # warm-up
        work()
    peaks = {way: peak_bytes(work, device) for way, work in ways.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(steps):
        for way, work in ways.items():
            _finish(device)
            began = time.perf_counter()
            work()
            _finish(device)
            seconds[way].append(time.perf_counter() - began)
    ratios = {
        way: [plain / ours for plain, ours in zip(seconds["plain"], times, strict=True)]
        for way, times in seconds.items()
    }
    median = statistics.median
    return {way: (median(seconds[way]), median(ratios[way]), peaks[way] / 1e6) for way in ways}


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def kept_bytes(work: Callable[[], torch.Tensor]) -> int:
    """Return the bytes that automatic differentiation keeps for the backward pass of ``work``."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        alive = work()
    del alive
    return sum(kept.values())


def output_layer(config: ModelConfig, tokens: int, steps: int, device: torch.device, report: Report) -> None:
    """Report the speed and memory of the output layer alone, forward and backward."""
    report(f"\nThe teacher's output layer alone, forward and backward, {tokens} tokens:\n")
    report("| way | ms | times as fast | peak memory, MB | kept for the backward pass, MB |")
    report("|---|---:|---:|---:|---:|")
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
    for way, (seconds, ratio, peak) in results.items():
        kept = kept_bytes(lambda form=ways[way]: form(*inputs)) / 1e6
        report(f"| {way} | {1000 * seconds:,.0f} | {ratio:.2f} | {peak:,.0f} | {kept:,.0f} |")


def training(size: str, steps: int, device: torch.device, report: Report) -> None:
    """Report the speed and memory of whole steps of teacher and student."""
    configs = {name: load_config(CONF / size / f"{name}.yaml") for name in ("teacher", "student")}
    report(f"\n## {size} size\n")
    for name, config in configs.items():
        shape, cells = config.model, ", ".join(map(str, config.model.hidden))
        tokens = f"{config.train.batch} × {config.train.bptt} tokens per step"
        report(f"- {name}: embedding {shape.embedding}, cells {cells}, experts {shape.experts}; {tokens}")
    report(f"- the student's teacher: {MEMBERS[size]} such networks\n")
    report("| step | way | tokens/s | s/epoch | times as fast | peak memory, MB |\n|---|---|---:|---:|---:|---:|")

    def build(name: str) -> AwdLstmMos:
        model = models.build(configs[name].model, VOCABULARY).to(device)
        models.use_fast_path(model, configs[name].train.precision == "mixed")
        return model

    torch.manual_seed(1)
    component, student = build("teacher"), build("student")
    ensemble = Ensemble([build("teacher") for _ in range(MEMBERS[size])])
    text = configs["student"].train
    rows = 4 * text.batch * text.bptt
    teachers: dict[str, Teacher] = {"plain": PlainTeacher(ensemble), "ours": OnlineTeacher(ensemble)}
    teachers["ours, cached teacher"] = cached_teacher(rows, device)
    for teacher in teachers.values():
        teacher.start([text.batch])
    both = {"plain": True, "ours": False}
    for row, name, steps_of in [
        ("teacher component, CE", "teacher", {way: Step(component, "ce", True, plain=both[way]) for way in both}),
        ("student, CE", "student", {way: Step(student, "ce", False, plain=both[way]) for way in both}),
        (
            "student, distilling",
            "student",
            {way: Step(student, "trust", False, teacher, way == "plain") for way, teacher in teachers.items()},
        ),
    ]:
        text = configs[name].train
        chunk = random_chunk(text.bptt, text.batch, rows, device)
        results = alternate({way: partial(step, chunk) for way, step in steps_of.items()}, steps, device)
        for way, (seconds, ratio, peak) in results.items():
            speed = text.batch * text.bptt / seconds
            report(f"| {row} | {way} | {speed:,.0f} | {TOKENS / speed:,.0f} | {ratio:.2f} | {peak:,.0f} |")
    output_layer(configs["teacher"].model, 420, steps, device, report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=MEMBERS, nargs="+", default=["cpu"])
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after two others (5)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args()
    use_gpu = arguments.device == "cuda" or arguments.device == "auto" and torch.cuda.is_available()
    device = torch.device("cuda" if use_gpu else "cpu")
    report = Report("Training on Penn Treebank's sizes", device)
    report(f"Medians of {arguments.steps} steps.")
    for size in arguments.size:
        training(size, arguments.steps, device, report)
    report.write()


if __name__ == "__main__":
    main()
