"""Trainings by two processes: ``python distributed_runs.py RANK FOLDER`` is one of them; test_distributed.py compares.

All cases run in the same two processes, since it takes them seconds to import torch.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from asr_rescore.errors import RescoreError
from asr_rescore.training import Ranks, TrainingRun, loop, train
from training_runs import CPU, DROPPED, PLAIN, make_run, make_teacher, network

# Five streams: one process has two of them, the other three, in groups of at most two.
COMMON = {"batch": 5, "epochs": 3, "activation_reg": 2.0, "temporal_reg": 1.0, "partial_shuffle": True}
CASES = {
    "sgd": {"lr": 5.0, "clip": 0.1, "small_batch": 2, "weight_decay": 0.01},
    "averaging": {"lr": 2.0, "averaging": "tail", "averaging_tail": 0.5},
    "adamw": {"optimizer": "adamw", "lr": 0.02, "schedule": "cosine"},
    "distilling": {"kind": "trust", "optimizer": "adamw", "lr": 0.02, "small_batch": 1},
}


class Killed(BaseException):
    pass


def case(folder: Path, name: str, model=PLAIN) -> TrainingRun:
    return make_run(folder / name, model, **COMMON, **CASES[name])


def run_alone(folder: Path, name: str) -> None:
    run = case(folder, name)
    train(run, network(run), CPU, make_teacher() if run.config.objective.needs_teacher else None)


def together(run: TrainingRun, ranks: Ranks, another: int = 0) -> torch.nn.Module:
    model = network(replace(run, seed=run.seed + another))
    train(run, model, CPU, make_teacher() if run.config.objective.needs_teacher else None, ranks)
    return model


def stopping(at: int, action: Callable[[], None]) -> Callable[[], None]:
    """Let ``action`` happen before the given step of the next training. Returns what undoes this."""
    step = loop.Trainer.step
    left = iter(range(at))

    def counted(self, length):
        if next(left, None) is None:
            action()
        return step(self, length)

    loop.Trainer.step = counted
    return lambda: setattr(loop.Trainer, "step", step)


def kill() -> None:
    raise Killed


def error_of(work: Callable[[], object]) -> str:
    try:
        work()
    except (RescoreError, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    ranks = Ranks(rank, 2)
    found: dict[str, object] = {"columns": [ranks.columns(5).start, ranks.columns(5).stop], "seed": ranks.seed(3)}
    for name in CASES:
        together(case(folder, name), ranks, another=rank)  # the weights of the first count
    straight = replace(case(folder, "distilling", DROPPED), directory=folder / "straight")
    model = together(straight, ranks)
    found["weights"] = [weight.double().sum().item() for weight in model.parameters()]
    found["drawn"] = float(torch.rand(()))  # the masks of the two differ

    loop.SAVE_EVERY = -1.0
    killed = replace(straight, directory=folder / "killed")
    for stop in (3, 7):
        undo = stopping(stop, kill)
        try:
            together(killed, ranks)
        except Killed:
            undo()
    torch.manual_seed(rank + 99)
    together(killed, ranks)
    loop.SAVE_EVERY = 600.0

    found["other count"] = error_of(lambda: train(killed, network(killed), CPU, make_teacher()) if rank == 0 else None)
    found["few streams"] = error_of(lambda: together(make_run(folder / "few", batch=1), ranks))
    alone = replace(make_run(folder / "alike", epochs=rank + 1), facts={"teacher": 1} if rank else {})
    found["different runs"] = error_of(lambda: together(alone, ranks))
    undo = stopping(5, lambda: os.kill(os.getpid(), signal.SIGTERM) if rank == 1 else None)
    found["signal"] = error_of(lambda: together(make_run(folder / "signalled"), ranks))
    undo()
    model = network(straight)
    found["equal"] = error_of(lambda: ranks.check_equal(model))
    if rank == 1:
        model.embedding.data[0, 0] += 1e-6
    found["unequal"] = error_of(lambda: ranks.check_equal(model))
    (folder / f"found.{rank}.json").write_text(json.dumps(found))

    stopping(4, lambda: os._exit(3) if rank == 1 else None)
    found["left"] = error_of(lambda: together(make_run(folder / "left"), ranks))
    (folder / f"found.{rank}.json").write_text(json.dumps(found))
    os._exit(0)  # gloo may abort the interpreter at its end if the other process has left


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
