"""recipes/wsj on an egs/wsj/s5 without Kaldi, whose scripts record how they are called (fake_s5)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from asr_rescore import models
from asr_rescore.config import load_config
from conftest import ROOT
from fake_s5 import FakeS5

CONF = ROOT / "recipes/wsj/conf"


@pytest.fixture
def s5(tmp_path):
    return FakeS5(tmp_path / "s5")


@pytest.fixture
def recipe(checkout, environment, tmp_path, s5):
    """Runs the recipe from another directory, with commands of asr_rescore that only record how they are called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    recorder = programs / "asr-rescore"
    recorder.write_text('#!/bin/sh\necho "$*" >>"$COMMANDS"\n')
    recorder.chmod(0o755)
    environment = {
        **environment,
        "PATH": f"{programs}:{environment['PATH']}",
        "COMMANDS": str(tmp_path / "commands"),
        "KALDI_ROOT": str(s5.root / "kaldi"),
    }

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(checkout / "recipes/wsj/run.sh"), "--corpus", "wsj", "--exp", "exp", *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def commands(tmp_path: Path) -> list[str]:
    return [line.strip().replace(str(tmp_path), "TMP") for line in (tmp_path / "commands").read_text().splitlines()]


def names(calls: list[list[str]]) -> list[str]:
    """What each call made: the script, and its last argument."""
    return [f"{call[0]} {call[-1]}" for call in calls]


def test_a_run_from_the_discs_calls_the_scripts_of_s5_in_their_order(recipe, s5):
    wsj0, wsj1 = s5.discs()
    s5.tools()
    options = ("--s5", str(s5.root), "--wsj0", str(wsj0), "--wsj1", str(wsj1), "--stop-stage", "2")
    done = recipe(*options)
    assert done.returncode == 0, done.stderr
    calls = s5.calls()
    assert calls[0][0] == "local/wsj_data_prep.sh"
    assert set(calls[0][1:]) == {str(disc) for discs in (wsj0, wsj1) for disc in discs.iterdir()}
    features = ("test_eval92", "test_eval93", "test_dev93", "train_si284")
    assert names(calls)[1:] == [
        "local/wsj_prepare_dict.sh _nosp",
        "utils/prepare_lang.sh data/lang_nosp",
        "local/wsj_format_data.sh _nosp",
        f"local/wsj_extend_dict.sh {wsj1}/13-32.1",
        "utils/prepare_lang.sh data/lang_nosp_bd",
        "local/wsj_train_lms.sh _nosp",
        "local/wsj_format_local_lms.sh _nosp",
        *(f"steps/{script} data/{name}" for name in features for script in ("make_mfcc.sh", "compute_cmvn_stats.sh")),
        "utils/subset_data_dir.sh data/train_si84",
        "utils/subset_data_dir.sh data/train_si84_2kshort",
        "utils/subset_data_dir.sh data/train_si84_half",
        "steps/train_mono.sh exp/mono0a",
        "steps/align_si.sh exp/mono0a_ali",
        "steps/train_deltas.sh exp/tri1",
        "steps/align_si.sh exp/tri1_ali_si84",
        "steps/train_lda_mllt.sh exp/tri2b",
        "steps/align_si.sh exp/tri2b_ali_si284",
        "steps/train_sat.sh exp/tri3b",
        "steps/get_prons.sh exp/tri3b",
        "utils/dict_dir_add_pronprobs.sh data/local/dict",
        "utils/prepare_lang.sh data/lang",
        "utils/dict_dir_add_pronprobs.sh data/local/dict_larger",
        "utils/prepare_lang.sh data/lang_bd",
        "steps/train_sat.sh exp/tri4b",
        *(
            call
            for name in ("dev93", "eval92", "eval93")
            for graph in ("tgpr", "bd_tgpr")
            for call in (
                *([f"utils/mkgraph.sh exp/tri4b/graph_{graph}"] if name == "dev93" else []),
                f"steps/decode_fmllr.sh exp/tri4b/decode_{graph}_{name}",
            )
        ),
    ]
    assert (s5.root / "data/lang_test_bd_fgconst/G.carpa").exists()
    assert (s5.root / "data/lang_test_tgpr/words.txt").exists()
    assert ["run.pl" in " ".join(call) for call in calls if "train_mono" in call[0]] == [True]
    assert ["queue.pl --mem 2G" in call for call in calls if "decode" in call[0]] == [True] * 6

    done = recipe(*options)
    assert (done.returncode, s5.calls()) == (0, []), "nothing is made twice"


def test_a_failed_step_is_done_again_and_nothing_goes_on_over_it(recipe, s5):
    wsj0, wsj1 = s5.discs()
    s5.tools()
    options = ("--s5", str(s5.root), "--wsj0", str(wsj0), "--wsj1", str(wsj1), "--stop-stage", "2")
    s5.fail("steps/train_lda_mllt.sh")
    done = recipe(*options)
    assert (done.returncode, names(s5.calls())[-1]) == (1, "steps/train_lda_mllt.sh exp/tri2b")
    (s5.root / "exp/tri2b").mkdir(parents=True)
    (s5.root / "exp/tri2b/final.mdl").touch()  # as if it had been killed while it wrote its result
    s5.fail(None)

    refused = recipe(*options, "--stage", "2")
    assert (refused.returncode, s5.calls()) == (1, [])
    assert "stage 1 was begun and not finished; run it again with --stage 1" in refused.stderr

    done = recipe(*options)
    assert (done.returncode, names(s5.calls())[0]) == (0, "steps/train_lda_mllt.sh exp/tri2b")


def test_a_script_that_ends_well_without_its_result_stops_the_recipe(recipe, s5):
    """As the unchecked part of run.sh, in the background, goes on when cmudict cannot be fetched."""
    wsj0, wsj1 = s5.discs()
    s5.tools()
    (s5.root / "local/wsj_train_lms.sh").write_text("#!/bin/sh\nexit 0\n")
    done = recipe("--s5", str(s5.root), "--wsj0", str(wsj0), "--wsj1", str(wsj1))
    assert done.returncode == 1
    assert "local/wsj_train_lms.sh has ended without an error, but there is no data/local/local_lm" in done.stderr


def test_the_layout_of_cstr(recipe, s5, tmp_path):
    s5.tools()
    for disc in ("wsj0", "wsj1"):
        (tmp_path / "wsj" / disc / "doc").mkdir(parents=True)
    done = recipe("--s5", str(s5.root), "--wsj0", "wsj", "--wsj1", "wsj", "--stop-stage", "1")
    assert done.returncode == 0, done.stderr
    called = names(s5.calls())
    assert called[0] == f"local/cstr_wsj_data_prep.sh {tmp_path}/wsj"
    assert f"local/cstr_wsj_extend_dict.sh {tmp_path}/wsj/wsj1/doc/" in called


@pytest.mark.parametrize(
    ("am", "script", "directory"),
    [
        ("nnet2_online", "steps/online/nnet2/decode.sh", "exp/nnet2_online/nnet_ms_a_online"),
        ("chain", "steps/nnet3/decode.sh", "exp/chain/tdnn1i_sp"),
    ],
)
def test_other_acoustic_models_are_decoded_where_s5_decodes_them(recipe, s5, am, script, directory):
    s5.finish()
    options = ("--s5", str(s5.root), "--am", am, "--stage", "2", "--stop-stage", "2")
    done = recipe(*options, "--graphs", "tg bd_fg")
    assert done.returncode == 0, done.stderr
    decoded = [name for name in names(s5.calls()) if "mkgraph" not in name]
    assert decoded == [
        call
        for name in ("dev93", "eval92", "eval93")
        for call in (
            f"{script} {directory}/decode_tgpr_{name}",
            f"steps/lmrescore.sh {directory}/decode_tg_{name}",
            f"{script} {directory}/decode_bd_tgpr_{name}",
            f"steps/lmrescore_const_arpa.sh {directory}/decode_bd_tgpr_{name}_fg",
        )
    ]


def test_everything_that_is_missing_is_in_one_list(recipe, s5, tmp_path):
    done = recipe("--s5", str(s5.root), "--wsj0", "nowhere", "--wsj1", "nowhere")
    assert done.returncode == 1
    first, *missing = done.stderr.splitlines()
    assert f"{len(missing)} things are missing" in first
    for word in (f"--wsj0 '{tmp_path}/nowhere'", "sph2pipe", "install_irstlm.sh"):
        assert any(word in line for line in missing), word


def test_a_single_thing_that_is_missing(recipe, s5, tmp_path):
    s5.finish()
    (s5.root / "data/test_dev93/text").unlink()
    done = recipe("--s5", str(s5.root), "--stage", "3")
    assert (done.returncode, ": 1 thing is missing:\n" in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "commands").exists()


def test_a_finished_s5_that_lacks_something(recipe, s5):
    done = recipe("--s5", str(s5.root), "--stage", "3")
    assert done.returncode == 1
    missing = done.stderr.splitlines()[1:]
    assert len(missing) == 9  # the text; two lang, four decode and two data directories
    assert all(str(s5.root) in line and ": " in line for line in missing)


def test_an_acoustic_model_that_s5_does_not_have(recipe, s5):
    done = recipe("--s5", str(s5.root), "--am", "nonsense")
    assert (done.returncode, "expected tri4b, nnet2_online or chain" in done.stderr) == (2, True)


def test_language_models_and_rescorings_of_wsj(recipe, s5, tmp_path):
    s5.finish()
    done = recipe("--s5", "s5", "--stage", "3", "--rnnlm-dir", "rnnlm")
    assert done.returncode == 0, done.stderr
    called = commands(tmp_path)
    assert called[0].startswith(
        "prepare_text --lexicon TMP/s5/data/lang_test_bd_tgpr/words.txt --vocabulary-size 40000 --valid-words 200000 "
        "TMP/s5/data/local/dict_nosp_larger/cleaned.gz"
    )
    trained = {line.split()[-1] for line in called if line.startswith("train_lm")}
    assert trained == {"TMP/exp/teacher_17", "TMP/exp/teacher_31"}
    assert [line for line in called if line.startswith("cache_teacher --top 64 ")]
    assert sum("--teacher-cache TMP/exp/cache" in line for line in called) == 3
    rescored = [line for line in called if line.startswith("rescore_nbest")]
    assert len(rescored) == 6 * 3 * 2  # systems, sets, graphs
    tuned = [line for line in rescored if "--weights" not in line]
    assert len(tuned) == 6 * 2
    assert all("dev93" in line for line in tuned)
    assert all(
        line.index("decode_") and "_dev93 " in line.split("--weights")[1] for line in rescored if line not in tuned
    )
    lattices = [line for line in called if line.startswith("rescore_lattice")]
    assert len(lattices) == 3 * 2
    kaldi = s5.calls()
    assert len(kaldi) == 3 * 2
    assert all(call[0] == "steps/rnnlmrescore.sh" for call in kaldi)
    assert called[-1].startswith("report --published ")


def test_what_another_first_pass_lacks(checkout, environment, tmp_path):
    command = ["bash", str(checkout / "recipes/wsj/run.sh"), "--decode-dirs", "a b", "--data-dirs", "c"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--data-dirs: found 1, expected one for each of the 2 in --decode-dirs" in done.stderr
    assert "--lang-dir ''" in done.stderr
    assert "--train-text ''" in done.stderr
    assert "unbound" not in done.stderr


def test_sets_whose_names_are_the_same_are_refused_before_any_work(checkout, environment, tmp_path):
    dirs = ["--decode-dirs", "dev x/test y/test/", "--data-dirs", "data/dev data/test data/test"]
    command = ["bash", str(checkout / "recipes/wsj/run.sh"), *dirs]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "--decode-dirs: test of test is given twice" in done.stderr


def size_of(name: str, vocabulary_size: int) -> int:
    with torch.device("meta"):
        return models.build(load_config(CONF / f"{name}.yaml").model, vocabulary_size).num_parameters


@pytest.mark.parametrize(("name", "parameters"), [("teacher", 64_859_450), ("student_trust", 11_987_000)])
def test_sizes_are_the_papers(name, parameters):
    assert size_of(f"wsj/{name}", 40_000) == parameters


def test_the_students_of_the_demo_have_a_fifth_of_a_teachers_size():
    teacher, student = size_of("mini/teacher", 1300), size_of("mini/student_trust", 1300)
    assert (teacher, student) == (478_996, 94_180)  # README.md has these figures
    assert student == pytest.approx(teacher / 5, rel=0.02)


def test_the_students_of_the_demo_learn_from_whole_distributions(recipe, tmp_path):
    done = recipe("--corpus", "mini", "--stage", "5", "--stop-stage", "5")
    assert done.returncode == 0, done.stderr
    called = commands(tmp_path)
    assert called[0].startswith("cache_teacher --top 0 ")
    students = [line for line in called if line.startswith("distill_lm")]
    assert len(students) == 3
    assert all("--teacher-cache exp/cache" in line for line in students)


@pytest.mark.parametrize("size", ["mini", "cpu", "wsj", "wsj_small"])
def test_the_students_differ_in_the_objective_alone(size):
    configs = [load_config(CONF / size / f"student_{student}.yaml") for student in ("ce", "fixed", "trust")]
    assert len({config.objective for config in configs}) == 3
    assert len({(config.model, config.train) for config in configs}) == 1
    assert json.dumps([config.objective.kind for config in configs]) == '["ce", "fixed", "trust"]'
