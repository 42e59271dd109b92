"""Files of training states: what is saved can be loaded bit for bit, and damage is reported."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.torch
import torch

from asr_rescore import models
from asr_rescore.checkpoint import load_training_state, save_training_state
from asr_rescore.config import ModelConfig
from asr_rescore.errors import InputError

WORDS = 5


def network(seed: int = 1) -> models.LanguageModel:
    torch.manual_seed(seed)
    return models.build(ModelConfig(embedding=6, hidden=(8, 5), experts=3, dropout_rows=0.1), WORDS).eval()


def log_probs(model: models.LanguageModel) -> torch.Tensor:
    ids = torch.arange(8).remainder(WORDS).view(4, 2)
    return model(ids, model.initial_state(2)).log_probs


def test_comes_back_bit_for_bit(tmp_path):
    shared = torch.arange(6.0)
    tensors = {
        "weights": torch.randn(3, 4),
        "step": torch.tensor(17.0),
        "bytes": torch.get_rng_state(),
        "ids": torch.tensor([2**60, -1]),
        "double": torch.tensor([0.1, float("nan"), -0.0], dtype=torch.float64),
        "transposed": torch.randn(3, 4).T,
        "left": shared[:4],  # tensors that share memory
        "right": shared[2:],
        "empty": torch.zeros(0, 3),
    }
    progress = {"epoch": 3, "valid": [4.2, 0.1 + 0.2], "done": False, "name": "é"}
    save_training_state(tmp_path / "state", tensors, progress)
    loaded, back = load_training_state(tmp_path / "state")
    assert back == progress
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        assert loaded[name].contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes()


def test_what_is_loaded_may_be_changed_in_place(tmp_path):
    save_training_state(tmp_path / "state", {"mean": torch.zeros(3)}, {})
    load_training_state(tmp_path / "state")[0]["mean"].add_(1)
    assert not load_training_state(tmp_path / "state")[0]["mean"].any()


def test_training_goes_on_bit_for_bit(tmp_path):
    """Weights, the moments of AdamW and the random generator are saved and loaded into new objects."""

    def steps(model, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            log_probs(model.train())[..., 0].mean().backward()
            optimizer.step()

    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    torch.manual_seed(5)
    steps(model, optimizer, 3)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    save_training_state(tmp_path / "state", {**tensors, "random": torch.get_rng_state()}, {"step": 3})
    steps(model, optimizer, 4)

    again = network(99)
    loaded, _ = load_training_state(tmp_path / "state")
    again.load_state_dict({name[6:]: tensor for name, tensor in loaded.items() if name.startswith("model.")})
    optimizer = torch.optim.AdamW(again.parameters(), lr=0.1)
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in loaded.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".")
            slots.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    torch.set_rng_state(loaded["random"])
    steps(again, optimizer, 4)
    for left, right in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("keep", [0, 50, -1])
def test_truncated(tmp_path, keep):
    path = tmp_path / "state"
    save_training_state(path, {"a": torch.zeros(9)}, {"epoch": 1})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="state: found .*, expected the state of a run"):
        load_training_state(path)


def test_missing_or_something_else(tmp_path):
    with pytest.raises(InputError, match="expected the state of a run"):
        load_training_state(tmp_path / "none")
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "tensors")
    with pytest.raises(InputError, match="found tensors only, expected the state of a run"):
        load_training_state(tmp_path / "tensors")


def test_a_failed_write_leaves_the_last_state(tmp_path, monkeypatch):
    save_training_state(tmp_path / "state", {"a": torch.zeros(2)}, {"epoch": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_training_state(tmp_path / "state", {"a": torch.ones(2)}, {"epoch": 2})
    assert load_training_state(tmp_path / "state")[1] == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_state(tmp_path):
    code = (
        "import itertools, sys, pathlib, torch\n"
        "from asr_rescore.checkpoint import save_training_state\n"
        "print('ready', flush=True)\n"
        "for epoch in itertools.count():\n"
        "    tensors = {'a': torch.full((500_000,), float(epoch))}\n"
        "    save_training_state(pathlib.Path(sys.argv[1]), tensors, {'epoch': epoch})\n"
    )
    draw = np.random.default_rng(0)
    for round_ in range(3):
        path = tmp_path / f"{round_}" / "state"
        process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
        process.stdout.readline()
        while not path.exists():
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.2))
        process.kill()
        process.communicate()
        tensors, progress = load_training_state(path)
        assert (tensors["a"] == progress["epoch"]).all() and len(tensors["a"]) == 500_000
