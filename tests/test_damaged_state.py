"""State that a disk, a program or a hand has damaged: each file is loaded whole or named in one error."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

from asr_rescore.checkpoint import load_model, load_training_state, save_training_state
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.failures import Failures
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.lm import sentence_scorer
from asr_rescore.ranking import OperatingPoint, Weights
from asr_rescore.records import read_json
from asr_rescore.report import LmFacts, SystemReport
from asr_rescore.report.perplexity import PerplexityTable, measured, read_tables, to_markdown
from asr_rescore.rescoring.job import JobMarker
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.training.log import TrainingLog
from asr_rescore.training.state import STATE_FILE
from asr_rescore.word_errors import ErrorCount
from rescoring_runs import save_random_lm
from training_runs import go, make_run

MADE_FROM = Fingerprint({"n": 10})
WRONG = [None, True, "much", 5, -1, 0.5, math.nan, math.inf, 10**400, [], {}, [None], {"a": None}]


def report(folder: Path) -> Path:
    point = OperatingPoint(12.0, 0.5)
    count = ErrorCount(1, 0, 1, 10, 1, 1)
    SystemReport(
        system="student",
        decoding="decode",
        data="dev",
        lms=(LmFacts("student", "ab" * 32, 7, 60.0),),
        lm_weights=(0.5,),
        point=point,
        first_pass_point=point,
        source="given",
        search="N 10",
        rescored={"u": count},
        first_pass={"u": count},
        nbest_oracle=count,
        lattice_oracle=None,
        failures={"u": "why"},
    ).save(folder)
    return folder / "report.json"


def marker(folder: Path) -> Path:
    (folder / "words").write_text("x")
    JobMarker(folder, 1).write(MADE_FROM, [folder / "words"], Failures({"u": "why"}))
    return folder / "job.1.json"


def weights(folder: Path) -> Path:
    point = OperatingPoint(12.0)
    ChosenWeights(Weights((0.5,), point), point, "given", ("ab" * 32,)).save(folder / "weights.yaml")
    return folder / "weights.yaml"


def provenance(folder: Path) -> Path:
    save_random_lm(folder, ["a", "b"], 1)
    path = folder / "provenance.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "config": {"train": {"self_normalization": 1.0}}, "valid_ppl": 60.0}))
    return path


def log(folder: Path) -> Path:
    TrainingLog(folder).append({"step": 3, "train_loss": 5.0})
    return folder / "log.jsonl"


def perplexity(folder: Path) -> Path:
    (folder / "ppl_valid.json").write_text(json.dumps({"ppl": 60.0, "dynamic_ppl": 50.0}))
    return folder / "ppl_valid.json"


def tables(folder: Path) -> Path:
    (folder / "tables.yaml").write_text("Table 1: [{name: teacher, models: teacher_*, paper: '58'}]\n")
    return folder / "tables.yaml"


def table_of(folder: Path) -> str:
    made: list[PerplexityTable] = read_tables(folder / "tables.yaml")
    return to_markdown(made, folder)


FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "report.json": (report, lambda folder: SystemReport.load(folder).summary()),
    "job.1.json": (marker, lambda folder: JobMarker(folder, 1).matches(MADE_FROM)),
    "weights.yaml": (weights, lambda folder: ChosenWeights.load(folder, None)),
    "provenance.json": (
        provenance,
        lambda folder: sentence_scorer(load_model(folder), "cpu", "float32"),
    ),
    "log.jsonl": (log, lambda folder: TrainingLog(folder).cut(5)),
    "ppl_valid.json": (perplexity, lambda folder: measured(folder, "valid")),
    "tables.yaml": (tables, table_of),
}
each_file = pytest.mark.parametrize("name", FILES)


def spoilt(tree: Any) -> Iterator[Any]:
    """The tree with each of its values, in turn, removed or replaced by each wrong value."""

    def places(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield path
        keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            yield from places(node[key], (*path, key))

    for path in places(tree, ()):
        for value in WRONG:
            if not path:
                yield value
                continue
            other = copy.deepcopy(tree)
            node = other
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            yield other
        if path:
            other = copy.deepcopy(tree)
            node = other
            for key in path[:-1]:
                node = node[key]
            del node[path[-1]]
            yield other


@each_file
def test_every_wrong_value_is_refused_or_harmless(tmp_path, name):
    make, load = FILES[name]
    path = make(tmp_path)
    whole = path.read_text()
    tree = yaml.safe_load(whole) if name.endswith(".yaml") else json.loads(whole)
    refused = 0
    for other in spoilt(tree):
        if name.endswith(".yaml"):
            path.write_text(yaml.safe_dump(other))
        else:
            path.write_text(json.dumps(other) + "\n")
        try:
            load(tmp_path)
        except RescoreError as error:
            refused += 1
            assert isinstance(error, InputError) and path.name in error.where
            assert len(str(error)) < 600
    assert refused > 15


OTHER_CONTENTS = {
    "empty": b"",
    "cut": b"{",
    "not utf-8": b"\xff\xfe",
    "zeros": b"\x00" * 100,
    "deep list": b"[" * 100_000,
    "long number": b"9" * 5000,
    "deep mapping": b'{"a": ' * 50_000,
    "gzip": b"\x1f\x8b\x08broken",
    "a word": b"nul",
}


@each_file
@pytest.mark.parametrize("content", OTHER_CONTENTS.values(), ids=OTHER_CONTENTS)
def test_every_other_file_is_refused(tmp_path, name, content):
    make, load = FILES[name]
    path = make(tmp_path)
    path.write_bytes(content + b"\n" * (name == "log.jsonl"))
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert path.name in caught.value.where and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts["progress"].pop("steps"), "progress.steps: found no such key, expected an integer"),
        (lambda facts: facts["progress"].update(valid=["x"]), "progress.valid: found .*a list of finite numbers"),
        (lambda facts: facts["progress"].update(epoch=0.5), "progress.epoch: found 0.5"),
        (lambda facts: facts.update(progress=None), "progress: found None, expected a mapping"),
        (lambda facts: facts.pop("run"), "run: found no such key"),
    ],
)
def test_a_damaged_header_of_a_training_state(tmp_path, change, message):
    run = make_run(tmp_path / "lm", epochs=1)
    go(run)
    path = run.directory / STATE_FILE
    tensors, facts = load_training_state(path)
    change(facts)
    save_training_state(path, tensors, facts)
    with pytest.raises(InputError, match=f"{STATE_FILE}: {message}.*; remove the file to start again"):
        go(run)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("random.cpu", torch.zeros(3, dtype=torch.uint8)),
        ("random.own", torch.zeros(3)),
        ("model.embedding", torch.zeros(2, 2)),
        ("streams.shifts", None),
        ("random.cpu", None),
        ("optimizer.0.exp_avg", torch.zeros(1)),  # a fused optimizer would read past its end
        ("optimizer.0.exp_avg", torch.zeros(())),
        ("optimizer.0.step", torch.zeros(2)),
        ("optimizer.0.exp_avg_sq", torch.zeros((), dtype=torch.int64)),
        ("optimizer.99.step", torch.zeros(())),
        ("mean.0", torch.zeros(1)),
    ],
)
def test_tensors_of_a_training_state_that_do_not_fit(tmp_path, name, value):
    run = make_run(tmp_path / "lm", epochs=2, optimizer="adamw", lr=0.01, averaging="tail")
    go(run)
    path = run.directory / STATE_FILE
    tensors, facts = load_training_state(path)
    tensors.pop(name, None)
    save_training_state(path, tensors if value is None else {**tensors, name: value}, facts)
    with pytest.raises(InputError, match=f"{STATE_FILE}: found tensors that do not fit .*; remove the file"):
        go(run)


def test_a_flipped_bit_of_a_training_state(tmp_path):
    path = tmp_path / STATE_FILE
    save_training_state(path, {"weights": torch.ones(100), "half": torch.ones(3).bfloat16()}, {"step": 1})
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="found tensors that have changed, expected the state of a run"):
        load_training_state(path)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda tensor: tensor.fill_(math.nan), "embedding with values that are not finite numbers"),
        (lambda tensor: tensor.fill_(math.inf), "embedding with values that are not finite numbers"),
        (lambda tensor: tensor.long(), "embedding of type int64"),
        (lambda tensor: tensor.bool(), "embedding of type bool"),
    ],
    ids=["nan", "inf", "integers", "bools"],
)
def test_weights_that_are_no_numbers_are_refused(tmp_path, spoil, found):
    save_random_lm(tmp_path, ["a", "b"], 1)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["embedding"] = spoil(tensors["embedding"])
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(InputError, match=f"model.safetensors: found {found}, expected finite weights; copy the file"):
        load_model(tmp_path)


def test_a_bomb_in_a_state_file_is_not_unpacked(tmp_path, monkeypatch):
    import gzip

    from asr_rescore import records

    monkeypatch.setattr(records, "JSON_BYTES", 1000)
    (tmp_path / "x.json").write_bytes(gzip.compress(b" " * 1_000_000))
    with pytest.raises(InputError, match="found a gzipped file, expected a thing"):
        read_json(tmp_path / "x.json", "a thing", "do it")
    (tmp_path / "y.json").write_bytes(b" " * 1001)
    with pytest.raises(InputError, match="found more than 1,000 bytes, expected a thing"):
        read_json(tmp_path / "y.json", "a thing", "do it")
