"""Scripts of recipes/steps, each run by bash as its users run it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT

STEPS = ROOT / "recipes/steps"
HANGS = 3600  # seconds: a loop over a missing value ends here, and no script is as slow on the busiest machine
SHELL_SCRIPTS = sorted(script for folder in ("recipes", "benchmarks") for script in (ROOT / folder).rglob("*.sh"))
SCRIPT = f"""#!/usr/bin/env bash
# Counts things.
#
# Usage: count.sh [options] <thing>

set -euo pipefail

# Configuration
nj=4
use_phi=false # with a comment behind
cmd=
long_name="a b"

own=1
. {STEPS}/parse_options.sh
printf '%s|' "$nj" "$use_phi" "$cmd" "$long_name" "$own" "$@"
"""


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        arguments, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=HANGS
    )


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "count.sh"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], "4|false||a b|1|"),
        (["--nj", "8", "x", "y"], "8|false||a b|1|x|y|"),
        (["--use-phi", "true", "--long-name", "c  d"], "4|true||c  d|1|"),
        (["--long_name", "c"], "4|false||c|1|"),
        (["--long-name", ""], "4|false|||1|"),
        (["--nj", "-2"], "-2|false||a b|1|"),
        (["--cmd", "--mem 4G"], "4|false|--mem 4G|a b|1|"),
        (["--nj", "1", "--nj", "2"], "2|false||a b|1|"),
        (["x", "--nj", "8"], "4|false||a b|1|x|--nj|8|"),
        (["--nj", "$(touch oops)`touch oops`"], "$(touch oops)`touch oops`|false||a b|1|"),
    ],
)
def test_options_set_the_variables_of_their_names(script, arguments, values):
    done = run(script, *arguments, cwd=script.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, values, "")
    assert not (script.parent / "oops").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--njobs", "8"], "--njobs: no such option"),
        (["--n-j", "8"], "--n-j: no such option"),
        (["--nj"], "--nj: its value is missing"),
        (["--use-phi", "true", "--nj"], "--nj: its value is missing"),
        (["--nj", "--use-phi", "true"], "--nj: its value is missing"),
        (["--"], "--: its value is missing"),
        (["--nj=8"], "--nj=8: write '--nj 8'"),
        (["--use-phi", "yes"], "--use-phi: found 'yes', expected true or false"),
        (["--use-phi", ""], "--use-phi: found '', expected true or false"),
        (["--HOME", "x"], "--HOME: no such option"),
        (["--exported", "x"], "--exported: no such option"),
        (["--own", "x"], "--own: no such option"),
        (["--PPID", "x"], "--PPID: no such option"),
        (["--config"], "--config: its value is missing"),
        (["--config", "nowhere"], "--config: cannot read 'nowhere'"),
        (["--a[$(touch oops)]", "x"], "--a[$(touch oops)]: no such option"),
    ],
)
def test_what_is_no_option_dies_with_a_reason(script, arguments, message):
    done = run(script, *arguments, cwd=script.parent, exported="from the environment")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{script}: {message}; see {script} --help\n"
    assert not (script.parent / "oops").exists()


def test_an_option_keeps_its_default_whatever_the_environment_says(script):
    assert run(script, cwd=script.parent, nj="99", use_phi="perhaps").stdout == "4|false||a b|1|"
    assert run(script, "--nj", "8", cwd=script.parent, nj="99").stdout == "8|false||a b|1|"


def test_help_prints_the_leading_comment(script):
    done = run(script, "--nj", "8", "--help", cwd=script.parent)
    assert (done.returncode, done.stdout) == (0, "Counts things.\n\nUsage: count.sh [options] <thing>\n")


def test_config_file_gives_way_to_the_command_line(script):
    (script.parent / "conf").write_text("# of a cluster\n\nnj=7\ncmd=\"queue.pl --mem 4G\"\nlong_name='$(touch oops)'")
    for arguments in (["--nj", "9", "--config", "conf"], ["--config", "conf", "--nj", "9"]):
        assert run(script, *arguments, cwd=script.parent).stdout == "9|false|queue.pl --mem 4G|$(touch oops)|1|"
    assert not (script.parent / "oops").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("njobs=3", "conf: njobs: no such option"),
        ("PATH=/", "conf: PATH: no such option"),
        ("use_phi=1", "conf: use_phi: found '1', expected true or false"),
        ("touch oops", "conf: found 'touch oops', expected name=value"),
    ],
)
def test_config_file_is_checked_like_the_command_line(script, line, message):
    (script.parent / "conf").write_text(line + "\n")
    done = run(script, "--config", "conf", cwd=script.parent)
    assert (done.returncode, done.stderr) == (2, f"{script}: {message}; see {script} --help\n")


def test_the_configuration_is_found_after_a_change_of_directory(script):
    moved = script.parent / "moved.sh"
    moved.write_text(SCRIPT.replace("own=1\n", "own=1\ncd /\n"))
    assert run("bash", "moved.sh", "--nj", "8", cwd=script.parent).stdout == "8|false||a b|1|"


def test_a_script_without_configuration_block_is_told_so(script):
    script.write_text(SCRIPT.replace("# Configuration", "# Settings"))
    done = run(script, cwd=script.parent)
    assert done.returncode == 2
    assert "no configuration block" in done.stderr


def run_local(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return run(STEPS / "run_local.sh", *arguments, cwd=cwd, **environment)


def output(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if not line.startswith("#")]


def test_jobs_run_each_with_its_number_and_log(tmp_path):
    done = run_local("--mem", "4G", "JOB=2:4", "log/x.JOB.log", "echo", "job", "JOB", "of JOB", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {log.name: output(log) for log in (tmp_path / "log").iterdir()} == {
        f"x.{job}.log": [f"job {job} of {job}"] for job in (2, 3, 4)
    }


def test_a_single_command_needs_no_jobs(tmp_path):
    assert run_local("log/x.log", "echo", "JOB", cwd=tmp_path).returncode == 0
    assert run_local("JOB=7", "log/seven.log", "echo", "JOB", cwd=tmp_path).returncode == 0
    assert output(tmp_path / "log/x.log") == ["JOB"]
    assert output(tmp_path / "log/seven.log") == ["7"]


def test_every_job_is_done_and_the_failed_are_named(tmp_path):
    done = run_local("JOB=1:5", "x.JOB.log", "test", "JOB", "-ne", "2", "&&", "test", "JOB", "-ne", "4", cwd=tmp_path)
    assert done.returncode == 1
    count, _, logs = done.stderr.strip().rpartition("; see ")
    assert count.endswith("2 of 5 failed")
    assert sorted(logs.split()) == ["x.2.log", "x.4.log"]
    assert "(code 0)" in (tmp_path / "x.5.log").read_text()
    assert "(code 1)" in (tmp_path / "x.4.log").read_text()


def test_arguments_reach_the_command_as_run_pl_hands_them_on(tmp_path):
    arguments = ["printf", "%s,", "it's  $HOME", 'say "a b"', "|", "tr", "a-z", "A-Z", ">", "out"]
    assert run_local("x.log", *arguments, cwd=tmp_path).returncode == 0
    assert (tmp_path / "out").read_text() == 'IT\'S  $HOME,SAY "A B",'


@pytest.mark.parametrize(
    ("argument", "received"),
    [("it's", "it's"), (r"it\'s", "it's"), ("'$HOME'", "$HOME"), (r"'a'\''b'", "a'b"), ("o'a$b", "o'a$b")],
)
def test_an_apostrophe_that_opens_nothing_is_one(tmp_path, argument, received):
    assert run_local("it's.log", "printf", r"'%s\n'", argument, cwd=tmp_path).returncode == 0
    assert output(tmp_path / "it's.log") == [received]


def test_jobs_run_side_by_side_and_share_the_processors(tmp_path):
    # Each of two jobs waits for the other's file: one after the other, they would wait for ever.
    meet = 'touch here.JOB; while [ ! -e "here.$((3 - JOB))" ]; do sleep 0.05; done; echo "$OMP_NUM_THREADS"'
    processors = os.cpu_count() or 1
    if processors < 2:
        pytest.skip("needs two processors")
    done = run_local("JOB=1:2", "x.JOB.log", "bash", "-c", meet, cwd=tmp_path, OMP_NUM_THREADS="")
    assert (done.returncode, done.stderr) == (0, "")
    assert output(tmp_path / "x.1.log") == [str(processors // 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["JOB=1:2", "x.log", "true"], "expected JOB in its name"),
        (["JOB=0:2", "x.JOB.log", "true"], "expected numbers from 1 on"),
        (["JOB=3:2", "x.JOB.log", "true"], "expected numbers from 1 on"),
        (["x.log"], "Usage: run_local.sh"),
        ([], "Usage: run_local.sh"),
    ],
)
def test_wrong_calls_of_run_local_say_what_is_wrong(tmp_path, arguments, message):
    done = run_local(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_an_unwritable_log_is_a_failure(tmp_path):
    (tmp_path / "log").touch()
    assert run_local("JOB=1:2", "log/x.JOB.log", "true", cwd=tmp_path).returncode != 0


@pytest.mark.parametrize("path", SHELL_SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_scripts_parse(path):
    assert run("bash", "-n", path, cwd=ROOT).stderr == ""


@pytest.mark.parametrize(
    "path",
    [path for path in SHELL_SCRIPTS if os.access(path, os.X_OK)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_scripts_explain_themselves(path, environment):
    done = subprocess.run([path, "--help"], env=environment, capture_output=True, text=True, timeout=HANGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {path.name}" in done.stdout


@pytest.mark.parametrize("options", [[], ["--weights", "w", "--tune", "true"]], ids=["neither", "both"])
def test_weights_are_not_tuned_unless_asked_for(tmp_path, options, environment):
    script = ROOT / "recipes/steps/rescore_nbest.sh"
    done = run(script, *options, "lang", "lm", "data", "decode", "out", cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert "give one of --weights and --lm-weight, or --tune true" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("found", "chosen"),
    [("path", "run.pl"), ("root", "{root}/egs/wsj/s5/utils/run.pl"), (None, "")],
)
def test_jobs_are_run_by_kaldi_where_there_is_one(tmp_path, found, chosen):
    programs, root = tmp_path / "bin", tmp_path / "kaldi"
    for folder in (programs, root / "egs/wsj/s5/utils"):
        folder.mkdir(parents=True)
        (folder / "run.pl").touch(mode=0o755)
    environment = {"PATH": os.environ["PATH"], "KALDI_ROOT": str(root) if found else ""}
    if found == "path":
        environment["PATH"] = f"{programs}:{environment['PATH']}"
    done = run("bash", "-euc", 'steps=steps; . ./cmd.sh; echo "$rescore_cmd"', cwd=ROOT / "recipes/wsj", **environment)
    assert done.stdout == chosen.format(root=root) + "\n"


class TestFilters:
    """The steps pass on the filters that Kaldi's score.sh would use in the same directory."""

    OUTPUT, REF, HYP = "wer_output_filter", "wer_ref_filter", "wer_hyp_filter"

    @pytest.fixture
    def call(self, tmp_path, environment):
        def last_call(step: str, *options: str) -> list[str]:
            arguments = ["--cmd", "echo", "--weights", "w", *options, "lang", "lm", "data", "decode", "out"]
            done = run(STEPS / step, *arguments, cwd=tmp_path, **environment)
            assert done.returncode == 0, done.stderr
            return [line for line in done.stdout.splitlines() if "asr-rescore rescore_" in line][-1].split()

        return last_call

    @pytest.mark.parametrize("step", ["rescore_nbest.sh", "rescore_lattice.sh"])
    @pytest.mark.parametrize(
        ("executable", "options", "expected"),
        [
            ([], [], []),
            ([OUTPUT], [], ["--filter", "local/wer_output_filter"]),
            ([OUTPUT, HYP], [], ["--filter", "local/wer_output_filter", "--hyp-filter", "local/wer_hyp_filter"]),
            ([REF], [], ["--ref-filter", "local/wer_ref_filter"]),
            ([OUTPUT], ["--filter", "none"], []),
            ([OUTPUT, HYP], ["--filter", "my/filter"], ["--filter", "my/filter"]),
            ([OUTPUT, REF], ["--hyp-filter", "my/filter"], ["--hyp-filter", "my/filter"]),
            ([OUTPUT], ["--filter-dir", "s5/local"], []),
        ],
    )
    def test_executable_ones_are_used(self, call, tmp_path, step, executable, options, expected):
        (tmp_path / "local").mkdir()
        for name in (self.OUTPUT, self.REF, self.HYP):
            (tmp_path / "local" / name).touch(mode=0o755 if name in executable else 0o644)
        words = call(step, *options)
        given = [index for index, word in enumerate(words) if word.endswith("filter") and word.startswith("--")]
        assert [word for index in given for word in words[index : index + 2]] == expected

    def test_other_options_of_scoring(self, call):
        line = " ".join(call("rescore_nbest.sh", "--lmwt", "0.7:1.5:0.1", "--cer", "true"))
        assert " --lmwt 0.7:1.5:0.1 " in line
        assert " --cer " in line


class TestSideBySide:
    def run(self, tmp_path, commands: str, *options: str) -> subprocess.CompletedProcess:
        (tmp_path / "commands").write_text(commands)
        return run("bash", STEPS / "side_by_side.sh", *options, "commands", cwd=tmp_path, OMP_NUM_THREADS="")

    def test_each_command_has_its_log_and_its_share_of_the_processors(self, tmp_path):
        done = self.run(tmp_path, "log/a.log echo one $OMP_NUM_THREADS\n\nlog/b.log echo two\n", "--nj", "2")
        threads = max(1, os.cpu_count() // 2)
        assert (done.returncode, sorted(done.stdout.splitlines())) == (0, [f"a: one {threads}", "b: two"])
        assert f"\none {threads}\n" in (tmp_path / "log/a.log").read_text()
        assert "\ntwo\n" in (tmp_path / "log/b.log").read_text()

    def test_words_with_blanks(self, tmp_path):
        """The lines of recipes, whose paths may have blanks, from a checkout that has one, too."""
        steps = tmp_path / "a checkout"
        shutil.copytree(STEPS, steps)
        lines = f'''. '{STEPS}/stages.sh'; command_line "a log" printf '[%s]' "two words" "it's so"'''
        line = run("bash", "-c", lines, cwd=tmp_path).stdout
        command = ["bash", steps / "side_by_side.sh", "-"]
        done = subprocess.run(command, input=line, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS)
        assert (done.returncode, done.stderr) == (0, "")
        assert "[two words][it's so]" in (tmp_path / "a log").read_text()

    def test_all_are_run_also_where_one_fails(self, tmp_path):
        done = self.run(tmp_path, "a.log false\nb.log echo after\n", "--nj", "1")
        assert done.returncode == 1 and "a.log" in done.stderr
        assert "\nafter\n" in (tmp_path / "b.log").read_text()

    def test_another_command_runs_them(self, tmp_path):
        done = self.run(tmp_path, "a.log x y\n", "--cmd", "echo ran")
        assert done.stdout == "ran a.log x y\n"

    def test_each_has_a_file_for_its_progress(self, tmp_path):
        done = self.run(tmp_path, "log/a\\ b.log asr-rescore x\n\nlog/b.log asr-rescore 'y z'\n", "--cmd", "echo")
        assert sorted(done.stdout.splitlines()) == [
            "log/a b.log env ASR_RESCORE_PROGRESS=log/progress/1 asr-rescore x",
            "log/b.log env ASR_RESCORE_PROGRESS=log/progress/2 asr-rescore y z",
        ]
        assert not (tmp_path / "log/progress").exists()

    def test_in_the_end_there_is_the_perplexity(self, tmp_path):
        lines = "printf 'exp/lm: valid ppl 20.00\\nbye\\n'"
        assert self.run(tmp_path, f"log/teacher.log {lines}\n").stdout == "teacher: valid ppl 20.00\n"

    def test_the_complaint_of_a_failed_one_is_shown(self, tmp_path):
        self.program(tmp_path, "echo asr-rescore train_lm: error: no text; exit 1")
        done = self.run(tmp_path, f"a.log {tmp_path}/program\n")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "asr-rescore train_lm: error: no text")

    def program(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "program").write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "program").chmod(0o755)

    def test_wrong_usage(self, tmp_path):
        assert run("bash", STEPS / "side_by_side.sh", cwd=tmp_path).returncode == 2
