"""What the students of a study were made from: what is refused, and what is told."""

from __future__ import annotations

import pytest

from asr_rescore.cli.main import main
from asr_rescore.errors import InputError
from made_study import STUDY, make_study, results, write_provenance


@pytest.fixture
def experiment(tmp_path):
    return make_study(tmp_path)


def test_students_that_are_still_their_start_are_told(experiment, capsys):
    write_provenance(experiment, "kl_1", init="a", epoch=2)
    write_provenance(experiment, "trust_1", init="a", epoch=0)
    write_provenance(experiment, "ce_1", init="b", epoch=1)
    assert main(["study", str(experiment / "study.yaml"), str(experiment)]) == 0
    told = capsys.readouterr().err
    assert "1 student is still the model of the start, because no epoch was better, for example " in told
    assert "student_trust_1: " in told


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("train", "a training text"),
        ("valid", "a valid text"),
        ("vocabulary", "a vocabulary"),
        ("seed", "a seed"),
        ("init", r"a start \(--init\)"),
        ("teachers", "teachers"),
    ],
)
def test_a_pair_that_differs_in_more_than_its_objective_is_refused(experiment, name, what):
    alike = {"train": "a", "valid": "b", "vocabulary": "c", "seed": 1, "init": "d", "teachers": ["e", "f"]}
    write_provenance(experiment, "kl_1", **alike, config={"objective": {"kind": "kl"}})
    write_provenance(experiment, "trust_1", **alike, config={"objective": {"kind": "trust"}})
    assert len(results(experiment)[0].arms) == 3
    write_provenance(experiment, "trust_1", **{**alike, name: "another"})
    with pytest.raises(InputError, match=rf"student_trust_1: found {what} that .*student_kl_1 does not have, exp"):
        results(experiment)


def test_an_arm_may_differ_in_what_the_study_names(experiment):
    write_provenance(experiment, "kl_1", train="a", teachers=["b"])
    write_provenance(experiment, "trust_1", train="c", teachers=["b"])
    path = experiment / "study.yaml"
    path.write_text(STUDY + "differ: {trust: [train]}\n")
    assert len(results(experiment)[0].arms) == 3
    write_provenance(experiment, "trust_1", train="c", teachers=["d"])
    with pytest.raises(InputError, match="found teachers that .*let an arm of the study differ in teachers"):
        results(experiment)


@pytest.mark.parametrize(
    ("differ", "message"),
    [
        ("{nothing: [train]}", "differ.nothing: .* expected one of the arms"),
        ("{trust: [lr]}", "differ.trust: .* expected some of vocabulary, train, valid, seed, init, teachers"),
        ("{trust: train}", "differ.trust: "),
    ],
)
def test_what_may_differ_is_checked(experiment, differ, message):
    (experiment / "study.yaml").write_text(STUDY + f"differ: {differ}\n")
    with pytest.raises(InputError, match=message):
        results(experiment)


def test_one_training_does_not_count_as_two_seeds(experiment):
    write_provenance(experiment, "kl_1", seed=1)
    write_provenance(experiment, "kl_2", seed=1)
    with pytest.raises(InputError, match=r"student_kl_2: found the seed 1, which .*student_kl_1 has too, exp"):
        results(experiment)


def test_students_without_provenance_are_told(experiment, capsys):
    write_provenance(experiment, "kl_1", seed=1)
    assert main(["study", str(experiment / "study.yaml"), str(experiment)]) == 0
    path = experiment / "small/student_kl_2"
    told = capsys.readouterr().err
    assert (
        told == f"7 students have no provenance.json, for example {path}: whether its pairs are alike was not checked\n"
    )


def test_an_unfinished_student_hides_no_table(experiment):
    write_provenance(experiment, "kl_1", seed=1)
    write_provenance(experiment, "ce_9", seed=9, init="a")
    assert len(results(experiment)[0].arms) == 3


def test_students_from_scratch_are_not_mixed_with_branches(experiment):
    write_provenance(experiment, "kl_1", seed=1)
    write_provenance(experiment, "kl_2", seed=2, init="a")
    with pytest.raises(
        InputError, match=r"student_kl_2: found a student that continues .*, as .*student_kl_1 was; keep"
    ):
        results(experiment)
