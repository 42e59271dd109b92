"""The scripts of recipes/steps that submit jobs: what they hand to $cmd, and how they stand in for Kaldi's own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from asr_rescore import kaldi
from conftest import ROOT
from s5_directory import RECORDER

STEPS = ROOT / "recipes/steps"
SCRIPTS = ("rescore_nbest.sh", "rescore_lattice.sh", "train_lm.sh", "distill_lm.sh", "cache_teacher.sh")
AS_KALDI = ("rnnlmrescore.sh", "lmrescore_nbest.sh", "lmrescore_rnnlm_lat.sh")


def words(call: list[str]) -> str:
    """A call without the directory of asr-rescore, and without the file of its progress."""
    kept = [word for word in call if not word.startswith("ASR_RESCORE_PROGRESS=")]
    line = " ".join(Path(word).name if word.endswith("/asr-rescore") else word for word in kept)
    return line.replace(" env asr-rescore ", " asr-rescore ")


def jobs_and_finish(call: str) -> list[str]:
    """The calls of $cmd for three jobs of a command and its options, and for the one that gathers them."""
    return [
        f"JOB=1:3 out/log/rescore.JOB.log asr-rescore {call} --job JOB lang lm data in out",
        f"out/log/finish.log asr-rescore {call} lang lm data in out",
    ]


CALLS = [
    pytest.param(
        "rescore_nbest.sh --cmd 'utils/queue.pl --mem 4G' --nj 2 --weights w lang lm data in out",
        [
            "--mem 4G JOB=1:2 out/log/rescore.JOB.log asr-rescore rescore_nbest --weights w --nj 2 --job JOB"
            " lang lm data in out",
            "--mem 4G out/log/finish.log asr-rescore rescore_nbest --weights w --nj 2 lang lm data in out",
        ],
        id="options of the cluster come first",
    ),
    pytest.param(
        "rescore_nbest.sh --cmd utils/queue.pl --nj 1 --tune true lang lm data in out",
        ["out/log/finish.log asr-rescore rescore_nbest --tune --nj 1 lang lm data in out"],
        id="one job needs one call",
    ),
    pytest.param(
        "rescore_nbest.sh --cmd utils/queue.pl --stage 2 --lm-weight '0.5 0.25' --N 7 --use-phi true --min-lmwt 8"
        " --max-lmwt 9 --word-ins-penalty 0,1 --device cpu --gpu 1 --mem 8G --num-threads 3 lang a b data in out",
        [
            "--mem 8G --num-threads 3 out/log/finish.log env OMP_NUM_THREADS=3 asr-rescore rescore_nbest --n 7"
            " --use-phi --min-lmwt 8 --max-lmwt 9 --word-ins-penalty 0,1 --device cpu --nj 2 --lm-weight 0.5"
            " --lm-weight 0.25 lang a b data in out",
        ],
        id="every option reaches the command",
    ),
    pytest.param(
        "rescore_lattice.sh --cmd utils/queue.pl --nj 1 --lm-weight 0.5 --order 0 --max-arcs 9 --allow-oov true"
        " --no-lattice-oracle true lang lm data in out",
        [
            "out/log/finish.log asr-rescore rescore_lattice --order 0 --max-arcs 9 --allow-oov --no-lattice-oracle"
            " --nj 1 --lm-weight 0.5 lang lm data in out",
        ],
        id="lattices",
    ),
    pytest.param(
        "train_lm.sh --cmd utils/queue.pl --gpu 1 --mem 8G --lm-config 'a.yaml b.yaml' --seed 3 text exp/lm",
        [
            "--mem 8G --gpu 1 exp/lm/log/train.log asr-rescore train_lm --vocab text --config a.yaml --config b.yaml"
            " --train text/train.txt --valid text/valid.txt --seed 3 exp/lm",
        ],
        id="training",
    ),
    pytest.param(
        "distill_lm.sh --cmd utils/queue.pl --lm-config a.yaml --teacher-cache c --valid v text t1 t2 exp/lm",
        [
            "exp/lm/log/train.log asr-rescore distill_lm --teacher-cache c --config a.yaml --train text/train.txt"
            " --valid v t1 t2 exp/lm",
        ],
        id="distillation",
    ),
    pytest.param(
        "cache_teacher.sh --cmd utils/queue.pl --gpu 1 --mem 8G --nj 4 --top 64 --device cuda text t1 t2 exp/cache",
        [
            "--mem 8G --gpu 1 JOB=1:4 exp/cache/log/cache.JOB.log asr-rescore cache_teacher --top 64 --train"
            " text/train.txt --nj 4 --device cuda --job JOB t1 t2 exp/cache",
            "--mem 8G exp/cache/log/finish.log asr-rescore cache_teacher --top 64 --train text/train.txt --nj 4"
            " --device cuda t1 t2 exp/cache --device cpu",
        ],
        id="a teacher's cache in jobs",
    ),
    pytest.param(
        "cache_teacher.sh --cmd utils/queue.pl --gpu 1 --nj 1 --train all.gz text t exp/cache",
        ["--gpu 1 exp/cache/log/finish.log asr-rescore cache_teacher --train all.gz --nj 1 t exp/cache"],
        id="a teacher's cache as one",
    ),
    pytest.param(
        "rescore_nbest.sh --cmd utils/queue.pl --gpu 1 --nj 3 --tune true --device cuda lang lm data in out",
        [
            "--gpu 1 JOB=1:3 out/log/rescore.JOB.log asr-rescore rescore_nbest --tune --device cuda --nj 3 --job JOB"
            " lang lm data in out",
            "out/log/finish.log asr-rescore rescore_nbest --tune --device cuda --nj 3 lang lm data in out --device cpu",
        ],
        id="gathering needs no GPU",
    ),
    pytest.param(
        "rescore_lattice.sh --cmd utils/queue.pl --gpu 1 --nj 3 --weights w --normaliser float16 lang lm data in out",
        [f"--gpu 1 {call}" for call in jobs_and_finish("rescore_lattice --weights w --normaliser float16 --nj 3")],
        id="gathering lattices costs a sample, in float16 on a GPU",
    ),
    pytest.param(
        "rescore_lattice.sh --cmd utils/queue.pl --gpu 1 --nj 1 --weights w lang lm data in out",
        ["--gpu 1 out/log/finish.log asr-rescore rescore_lattice --weights w --nj 1 lang lm data in out"],
        id="the only job needs the GPU",
    ),
    pytest.param(
        "rnnlmrescore.sh --cmd utils/queue.pl 0.75 lang lm data in out",
        jobs_and_finish("rescore_nbest --n 10 --inv-acwt 12 --nj 3 --lm-weight 0.75"),
        id="Kaldi's N-best lists of the older kind",
    ),
    pytest.param(
        "lmrescore_nbest.sh --cmd utils/queue.pl --N 1000 --use-phi true 0.75 lang lm data in out",
        jobs_and_finish("rescore_nbest --n 1000 --inv-acwt 10 --use-phi --nj 3 --lm-weight 0.75"),
        id="Kaldi's N-best lists",
    ),
    pytest.param(
        "lmrescore_rnnlm_lat.sh --cmd utils/queue.pl --max-ngram-order 5 --weight 0.75 lang lm data in out",
        jobs_and_finish("rescore_lattice --inv-acwt 10 --order 5 --nj 3 --lm-weight 0.75"),
        id="Kaldi's lattices",
    ),
    pytest.param(
        "lmrescore_rnnlm_lat.sh --cmd utils/queue.pl --acwt 0.08 --lattice-prune-beam 8 --max-arcs 9"
        " lang lm data in out",
        jobs_and_finish("rescore_lattice --inv-acwt 12.5 --order 4 --beam 8 --max-arcs 9 --nj 3 --lm-weight 0.5"),
        id="Kaldi's lattices, pruned",
    ),
]


@pytest.mark.parametrize(("line", "calls"), CALLS)
def test_what_cmd_is_given(s5, steps, line, calls):
    script, *arguments = shlex.split(line)
    done = s5.run(steps / script, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert [words(call) for call in s5.calls()] == calls
    shown = {"train_lm.sh": "valid ppl 20.00\n", "distill_lm.sh": "valid ppl 20.00\n", "cache_teacher.sh": "0.00 GB\n"}
    assert done.stdout.endswith(shown.get(script, "rescored: %WER 5.00\n"))


@pytest.mark.parametrize(
    ("line", "notice"),
    [
        ("rnnlmrescore.sh --stage 7 0.5 lang lm data in out", "--stage 7 has no effect: a job that is finished is not"),
        ("rnnlmrescore.sh --keep-ali false 0.5 lang lm data in out", "--keep-ali false has no effect: alignments"),
        ("rnnlmrescore.sh --rnnlm-ver faster 0.5 lang lm data in out", "--rnnlm-ver faster has no effect: a model"),
        ("lmrescore_nbest.sh --stage 7 0.5 lang lm data in out", "--stage 7 has no effect: a job that is finished"),
        ("lmrescore_rnnlm_lat.sh --rnnlm-ver cuedrnnlm lang lm data in out", "--rnnlm-ver cuedrnnlm has no effect: "),
        ("lmrescore_rnnlm_lat.sh --normalize true lang lm data in out", "--normalize true has no effect: the prob"),
    ],
)
def test_options_of_kaldi_without_effect_are_accepted_and_said_to_be(s5, line, notice):
    script, *arguments = shlex.split(line)
    done = s5.run(script, "--cmd", "utils/queue.pl", *arguments)
    assert done.returncode == 0
    (only,) = done.stderr.splitlines()
    assert only.startswith(f"{STEPS / script}: {notice}")
    assert len(s5.calls()) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rnnlmrescore.sh --test true 0.5 lang lm data in out", "a weight of 0 gives the first pass"),
        ("lmrescore_nbest.sh --test true 0.5 lang lm data in out", "a weight of 0 gives the first pass"),
        ("rnnlmrescore.sh lang lm data in out", "Usage: rnnlmrescore.sh"),
        ("lmrescore_rnnlm_lat.sh 0.5 lang lm data in out", "Usage: lmrescore_rnnlm_lat.sh"),
        ("lmrescore_rnnlm_lat.sh --acwt x lang lm data in out", "--acwt: found 'x', expected a number above 0"),
        ("lmrescore_rnnlm_lat.sh lang lm data nowhere out", "no nowhere/num_jobs"),
        ("rescore_lattice.sh lang lm data in out", "give --weights or --lm-weight"),
        ("train_lm.sh text lm", "Usage: train_lm.sh"),
        ("distill_lm.sh --lm-config c text lm", "Usage: distill_lm.sh"),
        ("cache_teacher.sh text teacher", "Usage: cache_teacher.sh"),
        ("rescore_nbest.sh --cmd nothing.pl --tune true lang lm data in out", "no nothing.pl on the PATH"),
    ],
)
def test_wrong_calls_submit_nothing(s5, line, message):
    script, *arguments = shlex.split(line)
    done = s5.run(script, *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not s5.calls_file.exists()


@pytest.mark.parametrize("script", [*SCRIPTS, *AS_KALDI])
def test_a_script_works_through_a_link_to_it_alone(s5, script):
    (s5.place / "steps" / script).symlink_to(STEPS / script)
    done = s5.run(f"steps/{script}", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {script}" in done.stdout


def test_a_link_finds_what_it_needs_when_jobs_are_submitted(s5):
    (s5.place / "steps/rnnlmrescore.sh").symlink_to(STEPS / "rnnlmrescore.sh")
    done = s5.run("steps/rnnlmrescore.sh", "--cmd", "utils/queue.pl", "0.5", "lang", "lm", "data", "in", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(s5.calls()) == 2


def test_the_checkouts_own_environment_is_used_here_and_in_jobs(s5, steps):
    copy = s5.place / "checkout with blanks/recipes/steps"
    shutil.copytree(steps, copy)
    own = s5.add_program("asr-rescore", "#!/bin/sh\n")
    (s5.place / "checkout with blanks/.venv/bin").mkdir(parents=True)
    own = own.rename(s5.place / "checkout with blanks/.venv/bin/asr-rescore")
    (s5.place / "bin/asr-rescore").unlink()
    arguments = ("--nj", "1", "--tune", "true", "lang", "lm", "data", "in", "out")
    assert s5.run(copy / "rescore_nbest.sh", "--cmd", "utils/queue.pl", *arguments).returncode == 0
    assert str(own) in s5.calls()[0]
    done = s5.run(copy / "rescore_nbest.sh", *arguments)  # by run_local.sh of the same place
    assert (done.returncode, done.stderr) == (0, "")
    assert str(own) in (s5.place / "out/log/finish.log").read_text()


def test_kaldis_own_path_is_asked_where_cmd_is(s5):
    (s5.place / "path.sh").write_text(f"[ -n $unset ] && false; export PATH={s5.place}/utils:$PATH\n")
    arguments = ("--cmd", "queue.pl", "--nj", "1", "--tune", "true", "lang", "lm", "data", "in", "out")
    assert s5.run("rescore_nbest.sh", *arguments).returncode == 0
    assert len(s5.calls()) == 1


def test_jobs_of_run_pl_share_the_processors(s5):
    s5.add_program("utils/run.pl", RECORDER.format(calls=s5.calls_file))
    arguments = ("--cmd", "utils/run.pl", "--nj", "2", "--tune", "true", "lang", "lm", "data", "in", "out")
    s5.run("rescore_nbest.sh", *arguments)
    jobs, finish = s5.calls()
    assert f"OMP_NUM_THREADS={max(1, (os.cpu_count() or 1) // 2)}" in jobs[2:5]
    assert not any(word.startswith("OMP_") for word in finish)
    s5.calls_file.unlink()
    s5.run("rescore_nbest.sh", *arguments, OMP_NUM_THREADS="5")
    assert not any(word.startswith("OMP_") for call in s5.calls() for word in call)


def test_what_a_job_complained_of_is_shown(s5, steps):
    s5.add_program("bin/asr-rescore", '#!/bin/sh\necho "asr-rescore $1: error: no G.fst" >&2\nexit 1\n')
    done = s5.run(steps / "rescore_nbest.sh", "--tune", "true", "lang", "lm", "data", "in", "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "asr-rescore rescore_nbest: error: no G.fst"
    assert "%WER" not in done.stdout


@pytest.mark.parametrize("script", AS_KALDI)
def test_the_old_language_model_is_the_one_that_kaldi_takes(s5, script):
    (s5.place / "lang").mkdir()
    weight = ["0.5"] if "nbest" in script or "rnnlmr" in script else []
    call = (script, "--cmd", "utils/queue.pl")
    (s5.place / "lang/G.fst").touch()
    assert s5.run(*call, *weight, "lang", "lm", "data", "in", "out").stderr == ""
    (s5.place / "lang/G.carpa").touch()
    assert "takes lang/G.carpa, not G.fst" in s5.run(*call, *weight, "lang", "lm", "data", "in", "out").stderr
    assert s5.run(*call, "--old-lm", "x.arpa", *weight, "lang", "lm", "data", "in", "out").stderr == ""
    old_lms = [words(call).split(" --old-lm ")[1:] for call in s5.calls()[1::2]]
    assert [old_lm[0].split()[0] if old_lm else None for old_lm in old_lms] == [None, "lang/G.carpa", "x.arpa"]


@pytest.mark.parametrize("script", ["rnnlmrescore.sh", "lmrescore_rnnlm_lat.sh"])
def test_without_scoring_the_command_is_told_so(s5, script):
    weight = ["0.5"] if script == "rnnlmrescore.sh" else []
    call = [script, "--cmd", "utils/queue.pl", "--skip-scoring", "true", *weight, "lang", "lm", "data", "in", "out"]
    assert s5.run(*call).returncode == 0
    assert [call.count("--skip-scoring") for call in s5.calls()] == [1, 1]
    assert [call[-3:] for call in s5.calls()] == [["data", "in", "out"]] * 2


@pytest.mark.parametrize(
    "out_dir", ["it's", "a$HOME", "a(b)&c;d*", 'say "so"', "o'cl'ock", "and blanks", "plain-1.0,x@y=z"]
)
def test_a_path_reaches_the_command_as_it_is(s5, steps, out_dir):
    """Through run_local.sh, which reads words as run.pl does."""
    s5.add_program("bin/asr-rescore", '#!/bin/sh\nfor last; do :; done; echo "$last" >>said\n')
    done = s5.run(steps / "train_lm.sh", "--lm-config", "c", "text", out_dir)
    assert done.stderr == ""
    assert (s5.place / "said").read_text() == f"{out_dir}\n"


@pytest.mark.slow
@pytest.mark.parametrize("skip_scoring", ["false", "true"])
def test_a_recipe_of_kaldi_runs_with_only_the_script_exchanged(
    s5, checkout, environment, lang, lm, data, decode, skip_scoring
):
    (s5.place / "steps/rnnlmrescore.sh").symlink_to(checkout / "recipes/steps/rnnlmrescore.sh")
    call = ["steps/rnnlmrescore.sh", "--N", "5", "--skip-scoring", skip_scoring, "0.5", lang, lm, data, decode, "out"]
    done = subprocess.run(
        call, cwd=s5.place, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    out = s5.place / "out"
    assert {utt for utt, _ in kaldi.read_lattices(out)} == {utt for utt, _ in kaldi.read_lattices(decode)}
    scored = skip_scoring == "false"
    assert ((out / "wer_12_0.0").exists(), "%WER" in done.stdout) == (scored, scored)
    assert ("not scored; the transcripts are in out/text" in done.stdout) == (not scored)
    assert json.loads((out / "report.json").read_text())


@pytest.mark.slow
def test_a_cache_in_jobs_continues_where_it_was_killed(s5, checkout, environment, lm):
    text = s5.place / "text"
    text.mkdir()
    words = [word for word in (lm / "vocab.txt").read_text().split() if word[0] not in "<#!"]
    (text / "train.txt").write_text("".join(f"{' '.join(words[at : at + 9])}\n" for at in range(0, 180, 9)))
    script = checkout / "recipes/steps/cache_teacher.sh"
    call = [script, "--nj", "2", "--top", "4", "--samples", "2", "--device", "cpu", text, lm, "cache"]

    def run() -> str:
        done = subprocess.run(call, cwd=s5.place, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True)
        assert done.returncode == 0, done.stderr  # which has the progress if the machine is slow
        return done.stdout.decode().splitlines()[-1]

    assert run().startswith("cache: 200 distributions over ")
    jobs = [s5.place / f"cache/job.{job}" for job in (1, 2)]
    first = [(file.read_bytes(), file.stat().st_mtime_ns) for file in sorted(jobs[0].iterdir())]
    second = {file.name: file.read_bytes() for file in jobs[1].iterdir()}
    (jobs[1] / "cache.json").unlink()  # as if it had been killed before its end
    (jobs[1] / "label.f32").write_bytes(b"")
    assert run().startswith("cache: 200 distributions over ")
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in sorted(jobs[0].iterdir())] == first
    assert {file.name: file.read_bytes() for file in jobs[1].iterdir()} == second
