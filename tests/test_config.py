"""What a YAML file may contain, and the errors about everything else."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest
import yaml

from asr_rescore import models, objectives
from asr_rescore.config import (
    Averaging,
    Config,
    EnsembleConfig,
    ModelConfig,
    ModelKind,
    NormaliserKind,
    ObjectiveConfig,
    ObjectiveKind,
    OptimizerKind,
    Precision,
    Schedule,
    TrainConfig,
    from_dict,
    load_config,
    load_model_config,
    model_to_dict,
)
from asr_rescore.errors import InputError, UsageError
from asr_rescore.lm.neural_scorer import NORMALISERS
from asr_rescore.training.optimizer import OPTIMIZERS

NESTED = EnsembleConfig((ModelConfig(), EnsembleConfig((ModelConfig(experts=3), ModelConfig(hidden=(4,))))))


@pytest.fixture
def config_file(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "model:\ntrain:\n"])
def test_an_empty_file_gives_the_defaults(config_file, text):
    assert load_config(config_file(text)) == Config()


def test_a_file_needs_only_the_differences(config_file):
    text = "model: {hidden: [8, 4], dropout_rows: 0.1}\nobjective: {kind: trust}\ntrain: {lr: 20, epochs: 3}\n"
    expected = Config(
        ModelConfig(hidden=(8, 4), dropout_rows=0.1), ObjectiveConfig("trust"), TrainConfig(lr=20.0, epochs=3)
    )
    actual = load_config(config_file(text))
    assert actual == expected
    assert isinstance(actual.train.lr, float)


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("ce", []),
        ("kl", ["temperature"]),
        ("todi", []),
        ("fixed", ["label_weight", "teacher_weight", "temperature"]),
        ("trust", ["alpha", "temperature", "weigh_by", "weight_power", "scale_weights", "shuffle_trust"]),
    ],
)
def test_plain_values_hold_what_the_kind_reads(kind, read):
    """So a training goes on although the default of a setting that it does not read is another one by now."""
    assert list(Config(objective=ObjectiveConfig(kind)).to_dict()["objective"]) == ["kind", *read]


def test_plain_values_and_back(config_file):
    config = Config(ModelConfig(hidden=(7, 5)), ObjectiveConfig("fixed"), TrainConfig(optimizer="adamw"))
    assert from_dict(config.to_dict()) == config
    assert load_config(config_file(yaml.safe_dump(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {}", r"config.yaml: found section 'modle', expected model, objective, train"),
        (
            "train: {learning_rate: 1.0}",
            r"config.yaml: train: found key 'learning_rate', expected one of precision, optimizer, lr",
        ),
        ("train: {lr: 1e-3}", r"config.yaml: train.lr: found '1e-3', .* write 0.001"),
        ("train: {lr: 1.0e300}", r"train.lr: found '1.0e300', .* YAML reads 1.0e300 as text: write 1.0e\+300"),
        ("train: {weight_decay: 1e-6}", r"write 1.0e-06"),
        ("train: {lr: 1e999}", r"found '1e999', expected a value like 20.0; correct the value"),
        ("train: {epochs: '1'}", r"found '1', .* YAML reads 1 as text: write 1, without quotes$"),
        ("train: {epochs: 1e3}", r"found '1e3', .* write 1000, without quotes$"),
        ("train: {epochs: '2.5'}", r"found '2.5', .*; correct the value$"),
        ("train: {epochs: 1e300}", r"found '1e300', .*; correct the value$"),
        ("train: {lr: '1'}", r"found '1', .* write 1.0, without quotes$"),
        ("train: {partial_shuffle: '1'}", r"found '1', expected a value like False; correct the value$"),
        ("model: {hidden: '480'}", r"found '480', .*; correct the value$"),
        ("train: {epochs: many}", r"found 'many', expected a value like 1000; correct the value"),
        ("train: {epochs: 2.5}", r"train.epochs: found 2.5, expected a value like 1000"),
        ("train: {epochs: true}", r"train.epochs: found True"),
        ("train: {lr: true}", r"train.lr: found True"),
        ("train: {lr: .nan}", r"train.lr: found nan"),
        ("train: {clip: .inf}", r"train.clip: found inf"),
        (f"train: {{lr: 1{'0' * 400}}}", r"train.lr: found an integer of about 401 digits, expected a value like 20.0"),
        ("model: {hidden: 300}", r"model.hidden: found 300, expected a value like \(480, 480, 300\)"),
        ("model: {hidden: [300, x]}", r"model.hidden: found \[300, 'x'\]"),
        ("model: 3", r"config.yaml: model: found 3, expected key: value lines"),
        ("- model", r"config.yaml: found list, expected sections of keys"),
        ("model: {", r"config.yaml: found while parsing .* expected YAML"),
        (
            "train:\n  lr: 1.0\n  epochs: 2\n  lr: 2.0\n",
            r"config.yaml: line 4: found the key 'lr' for the second time, exp",
        ),
        ("train: {}\nmodel: {}\n'train': {}", r"line 3: found the key 'train' .*; remove one of the two$"),
        ("train:\n  <<: {lr: 1.0}\n  lr: 2.0\n", r"config.yaml: found line 2: the merge key <<, expected the"),
        ("train:\n  epochs: 010\n", r"config.yaml: line 2: found 010, which YAML reads in base 8, expected a"),
        ("train: {epochs: 1:30}", r"line 1: found 1:30, which YAML reads in base 60, expected a number"),
        ("train: {lr: 1:30.5}", r"line 1: found 1:30.5, which YAML reads in base 60"),
        ("train: {lr: 1.0}\n\xff".encode("latin-1"), r"config.yaml: line 2: found bytes that are not UTF-8"),
    ],
)
def test_a_broken_file_is_refused(config_file, text, message):
    with pytest.raises(InputError, match=message):
        load_config(config_file(text))


LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"line 2: the alias \*a0, expected the value itself, expected YAML"),
        ("train: &loop {lr: *loop}", r"the alias \*loop"),
        ("model: " + "[" * 100_000, "values nested more than 20 levels deep"),
        ("model: {hidden: " + "{a: " * 30 + "1" + "}" * 31 + "}", "values nested more than 20 levels deep"),
        ("train: {epochs: " + "9" * 5000 + "}", "found a value that YAML cannot read"),
        ("train: {epochs: " + "9" * 4000 + "}", "train: epochs is an integer of about 4001 digits, expected 1 to"),
        ("train: {epochs: 0x" + "f" * 5000 + "}", "train: epochs is an integer of about 6021 digits, expected 1 to"),
        ("train: {epochs: " + "1:" * 10_000 + "1}", "line 1: a value of 20001 characters"),
        ("train: {lr: !!python/object/apply:os.system [id]}", "could not determine a constructor"),
        ("train: {lr: !!timestamp x}", "found a value that YAML cannot read"),
        ("train: {lr: !!bool x}", "found a value that YAML cannot read"),
        ("train: {lr: !!int ''}", "found a value that YAML cannot read"),
        ("train: {lr: 2024-99-99}", "found a value that YAML cannot read"),
        ("train: {lr: 2024-01-01}", r"train.lr: found datetime.date\(2024, 1, 1\), expected a value like 20.0"),
        ("train: {lr: !!binary aGk=}", r"train.lr: found b'hi'"),
        ("train: {? [a] : 1}", "found unhashable key"),
        ("? !!set {a}\n: 1", "found unhashable key"),
        ("1: 2", "found section 1, expected model"),
        ("? " + "x" * 5000 + "\n: 2", "found section 'xxx"),
        ("train: {" + "x" * 900 + ": 2}", "train: found key 'xxx"),
        ("train: " + "x" * 5000, "train: found 'xxx"),
        ("model: {hidden: [" + "7, " * 50_000 + "8]}", "model: hidden needs sizes for 1 to 100 layers"),
        ("model: {hidden: [" + "x, " * 50_000 + "x]}", r"model.hidden: found \['x', 'x'"),
        ("#" * (1 << 21), "found more than 1,048,576 bytes, expected settings"),
        ("model: {experts: 1000000000}", "model: experts is 1000000000, expected 1 to 1000000"),
        ("model: {hidden: [10000000]}", "model: a size in hidden is 10000000, expected 1 to 1000000"),
    ],
    ids=lambda value: value[:30] if len(value) < 3000 else f"{len(value)} characters",
)
def test_a_bomb_is_refused_in_one_short_line(config_file, text, message):
    with pytest.raises((InputError, UsageError), match=message) as caught:
        load_config(config_file(text))
    assert len(str(caught.value)) < 500


def test_the_members_of_an_ensemble_cannot_be_aliases(config_file):
    text = "model: {kind: ensemble, members: [&a {kind: ensemble, members: [{}]}, *a]}"
    with pytest.raises(InputError, match=r"the alias \*a, expected the value itself"):
        load_model_config(config_file(text))


def test_a_model_that_is_nothing(config_file):
    with pytest.raises(InputError, match="config.yaml: model: found nothing, expected a model; restore the file"):
        load_model_config(config_file("model:\n"))


def test_a_model_that_the_machine_cannot_hold():
    from asr_rescore.cli.training_options import check_memory

    config = Config(ModelConfig(experts=1_000_000, embedding=1_000_000, hidden=(1_000_000,)))
    with pytest.raises(UsageError, match=r"parameters need [\d,]+ GiB or more, and this machine has [\d,]+ GiB; lower"):
        check_memory(config, 1_000_000)
    check_memory(Config(), 100_000)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("model", {"kind": "transformer"}, "model: kind 'transformer', expected awd-lstm-mos"),
        ("model", {"kind": "ensemble"}, "model: kind 'ensemble'"),
        ("model", {"hidden": []}, "hidden needs sizes for 1 to 100 layers"),
        ("model", {"hidden": [4, 0]}, "a size in hidden is 0, expected 1 or more"),
        ("model", {"experts": 0}, "experts is 0, expected 1 or more"),
        ("model", {"embedding_init": 0.0}, "embedding_init is 0.0, expected a number above 0"),
        ("model", {"dropout_latent": 1.0}, "dropout_latent is 1.0, expected at least 0 and below 1"),
        ("model", {"dropconnect": -0.1}, "dropconnect is -0.1"),
        ("objective", {"kind": "mse"}, "kind 'mse', expected ce or kl or fixed or trust"),
        ("objective", {"alpha": -1.0}, "alpha is -1.0, expected 0 or more"),
        ("objective", {"temperature": 0.0}, "temperature is 0.0, expected 0.01 or more"),
        ("objective", {"kind": "kl", "temperature": 1e30}, r"temperature is 1e\+30, expected 0.01 to 1000"),
        ("objective", {"kind": "trust", "weight_power": 50.0}, "weight_power is 50.0, expected 0 to 5"),
        ("objective", {"kind": "trust", "alpha": 1e300}, r"alpha is 1e\+300, expected 0 to 1000000.0"),
        (
            "objective",
            {"kind": "fixed", "label_weight": 0.0, "teacher_weight": 0.0},
            "label_weight and teacher_weight are both 0",
        ),
        ("train", {"optimizer": "adam"}, "optimizer 'adam', expected sgd or adamw"),
        ("train", {"schedule": "linear"}, "schedule 'linear'"),
        ("train", {"lr": 0.0}, "lr is 0.0, expected a number above 0"),
        ("train", {"batch": 0}, "batch is 0, expected 1 or more"),
        ("train", {"small_batch": 13}, "small_batch is 13, expected 0 to 12"),
        ("train", {"bptt_half": 1.5}, "bptt_half is 1.5"),
        ("train", {"weight_decay": -1.0}, "weight_decay is -1.0, expected 0 or more"),
    ],
)
def test_values_out_of_range_name_file_and_key(section, values, message):
    with pytest.raises(UsageError, match=rf"^my.yaml: {section}: .*{message.split(': ')[-1]}"):
        from_dict({section: values}, "my.yaml")


def test_every_option_has_a_default_that_passes_its_own_check():
    for section in fields(Config):
        section.default_factory()


@pytest.mark.parametrize("config", [ModelConfig(hidden=(3,)), NESTED], ids=["single", "nested-ensemble"])
def test_a_models_config_and_back(config_file, config):
    assert load_model_config(config_file(yaml.safe_dump({"model": model_to_dict(config)}))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty file, expected one section"),
        ("train: {}", "found train, expected one section"),
        ("model: {}\ntrain: {}", "found model, train, expected one section"),
        ("model: {kind: ensemble}", "model: found keys kind, expected kind, and members"),
        ("model: {kind: ensemble, members: 2}", "found keys kind, members, expected"),
        ("model: {kind: ensemble, members: [{}], weights: []}", "found keys kind, members, weights"),
        ("model: {kind: ensemble, members: []}", "an ensemble needs at least one member"),
        ("model: {kind: ensemble, members: [{}, {experts: x}]}", "model.members.1.experts: found 'x'"),
        ("model: {kind: ensemble, members: [{}, 3]}", "model.members.1: found 3"),
        ("model: {experts: 0}", "experts is 0, expected 1 or more"),
        ("model: {kind: lstm}", "kind 'lstm', expected awd-lstm-mos"),
    ],
)
def test_a_broken_models_config(config_file, text, message):
    with pytest.raises(InputError, match=rf"config.yaml.*{message}"):
        load_model_config(config_file(text))


@pytest.mark.parametrize(
    ("registry", "kinds"),
    [
        (models.REGISTRY, ModelKind),
        (objectives.REGISTRY, ObjectiveKind),
        (OPTIMIZERS, OptimizerKind),
        (NORMALISERS, NormaliserKind),
    ],
    ids=["models", "objectives", "optimizers", "normalisers"],
)
def test_a_registry_has_every_kind_and_no_other(registry, kinds):
    assert set(registry) == set(get_args(kinds))


def test_every_model_has_a_config():
    assert {ModelConfig.kind, EnsembleConfig.kind} == set(get_args(ModelKind))


@pytest.mark.parametrize(
    ("section", "key", "kinds"),
    [
        (ObjectiveConfig, "kind", ObjectiveKind),
        (TrainConfig, "precision", Precision),
        (TrainConfig, "optimizer", OptimizerKind),
        (TrainConfig, "schedule", Schedule),
        (TrainConfig, "averaging", Averaging),
    ],
)
def test_every_kind_is_accepted_and_no_other(section, key, kinds):
    for kind in get_args(kinds):
        assert getattr(section(**{key: kind}), key) == kind
    with pytest.raises(UsageError, match=rf"{key} 'no', expected {' or '.join(get_args(kinds))}$"):
        section(**{key: "no"})


def test_a_later_file_changes_values_of_an_earlier_one(tmp_path):
    (tmp_path / "student.yaml").write_text("model: {experts: 3, hidden: [8, 6]}\ntrain: {lr: 5.0}\n")
    (tmp_path / "row.yaml").write_text("objective: {kind: trust}\ntrain: {epochs: 2}\n")
    config = load_config(tmp_path / "student.yaml", tmp_path / "row.yaml")
    assert (config.model.experts, config.model.hidden, config.objective.kind) == (3, (8, 6), "trust")
    assert (config.train.lr, config.train.epochs) == (5.0, 2)
    (tmp_path / "row.yaml").write_text("train: {epoch: 2}\n")
    with pytest.raises(InputError, match="row.yaml: train: found key 'epoch'"):
        load_config(tmp_path / "student.yaml", tmp_path / "row.yaml")
