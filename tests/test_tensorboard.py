"""Events for TensorBoard: what its own reader finds, and what is said where it is not installed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asr_rescore.cli.main import main
from asr_rescore.training import loop
from asr_rescore.training.tensorboard import TAGS
from small_text import prepare, write_text
from training_runs import DROPPED, go, make_run

NT_ASGD = {"nonmono": 1, "lr": 5.0, "clip": 2.0, "epochs": 8}


def curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """Name of each curve that TensorBoard shows, and its steps and values."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(directory))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}


def logged(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """The same according to log.jsonl."""
    lines = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return {tag: [(line["step"], float(line[key])) for line in lines if key in line] for key, tag in TAGS.items()}


def assert_equal_curves(directory: Path, events: Path) -> None:
    found = curves(events)
    expected = logged(directory)
    assert found.keys() == expected.keys()
    for tag, course in expected.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in course], tag
        assert [value for _, value in found[tag]] == pytest.approx([value for _, value in course], rel=1e-6), tag


def test_the_events_are_the_lines_of_the_log(tmp_path):
    pytest.importorskip("tensorboard")
    run = replace(make_run(tmp_path / "lm", DROPPED, **NT_ASGD), tensorboard=tmp_path / "events")
    go(run)
    assert_equal_curves(tmp_path / "lm", tmp_path / "events")
    averaging = [value for _, value in curves(tmp_path / "events")["training/averaging"]]
    assert averaging == sorted(averaging) and set(averaging) == {0.0, 1.0}  # the trigger of NT-ASGD


def test_a_run_that_continues_doubles_no_step(tmp_path, monkeypatch):
    """It is killed after a line was logged and before its state was saved, so it takes the steps before it again."""
    pytest.importorskip("tensorboard")
    run = replace(make_run(tmp_path / "lm", DROPPED, **NT_ASGD), tensorboard=tmp_path / "events")
    save = loop.Trainer.save_state
    saved = []

    def killing(self):
        saved.append(self.state.progress.epoch)
        if saved[-1] == 3 and saved.count(3) == 1:
            raise MemoryError
        save(self)

    monkeypatch.setattr(loop.Trainer, "save_state", killing)
    with pytest.raises(MemoryError):
        go(run)
    assert len(logged(tmp_path / "lm")["ppl/valid"]) == 3
    go(run)
    assert len(list((tmp_path / "events").iterdir())) == 2
    assert_equal_curves(tmp_path / "lm", tmp_path / "events")
    go(run)  # a finished run writes no more
    assert len(list((tmp_path / "events").iterdir())) == 2


@pytest.mark.parametrize("command", ["train_lm", "distill_lm"])
def test_without_the_package_nothing_begins(tmp_path, monkeypatch, capsys, command):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    data = prepare(write_text(tmp_path / "text.gz"), tmp_path / "data", 8)
    (tmp_path / "config.yaml").write_text("train: {epochs: 1}\n")
    options = ["--config", tmp_path / "config.yaml", "--train", data / "train.txt", "--valid", data / "valid.txt"]
    teachers = ["teacher"] if command == "distill_lm" else []
    options += ["--tensorboard", tmp_path / "events", *teachers, tmp_path / "lm"]
    assert main([command, *map(str, options)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"asr-rescore {command}: error: --tensorboard needs the package of this name, which is not installed: run pip "
        "install tensorboard, or leave the option out"
    )
    assert not (tmp_path / "lm").exists()


def test_the_command_writes_events(tmp_path):
    pytest.importorskip("tensorboard")
    data = prepare(write_text(tmp_path / "text.gz"), tmp_path / "data", 8)
    (tmp_path / "config.yaml").write_text(
        "model: {embedding: 4, hidden: [6, 5], experts: 2}\ntrain: {optimizer: adamw, lr: 0.01, batch: 4, epochs: 2}\n"
    )
    options = ["--config", tmp_path / "config.yaml", "--train", data / "train.txt", "--valid", data / "valid.txt"]
    command = ["train_lm", *options, "--tensorboard", tmp_path / "events", tmp_path / "lm"]
    assert main([*map(str, command)]) == 0
    assert_equal_curves(tmp_path / "lm", tmp_path / "events")
