"""What the scripts of recipes/steps show of work that was finished before, saved, or goes on, also after Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

TRAIN = ("train_lm.sh", "--lm-config", "c", "text", "exp/lm")
RESCORE = ("rescore_nbest.sh", "--lm-weight", "0.5", "lang", "lm", "data", "in", "out")
# Saves for a while after Ctrl-C, and says so as a command does. Others are given time to end before.
INTERRUPTED = """#!/bin/sh
case $1 in show_progress) exec cat ;; esac
for last; do :; done
trap 'sleep 0.3; echo "$last: saved; the same command continues in epoch 2 of 5"
      echo "asr-rescore $1: interrupted" >&2; exit 130' INT
touch begun
for i in $(seq 600); do sleep 0.1; done
"""


@pytest.fixture
def run(s5, steps):
    """Run a script with a stand-in for asr-rescore, a shell script in which $job is the number of the job."""

    def run(program: str, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        find = 'job=0; last=; for word; do [ "$last" = --job ] && job=$word; last=$word; done\n'
        s5.add_program("bin/asr-rescore", f"#!/bin/sh\n[ $1 = show_progress ] && exec cat\n{find}{program}\n")
        return s5.run(steps / script, *arguments)

    return run


def test_a_training_says_where_it_went_on(run):
    said = "exp/lm: continues in epoch 3 of 5, 73% of it done, after step 12"
    done = run(f'echo "{said}"; echo "epoch 4: train loss 3"; echo "exp/lm: valid ppl 9.00"', *TRAIN)
    assert done.stdout.splitlines()[1:] == [said, "exp/lm: valid ppl 9.00"]


def test_a_training_says_that_it_was_finished_before(run):
    said = "exp/lm: was finished before, in 40 steps; nothing is left to do"
    done = run(f'echo "{said}"; echo "exp/lm: valid ppl 9.00"', *TRAIN)
    assert done.stdout.splitlines()[1:] == [said, "exp/lm: valid ppl 9.00"]


def test_a_training_that_was_terminated_says_what_is_saved(run):
    said = "exp/lm: saved; the same command continues in epoch 2 of 5"
    done = run(f'echo "{said}"; echo "asr-rescore train_lm: terminated" >&2; exit 143', *TRAIN)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [said]
    assert done.stderr.splitlines()[-1] == "asr-rescore train_lm: terminated"


def test_a_log_of_an_earlier_call_is_not_taken_for_this_ones(run, s5, steps):
    (s5.place / "exp/lm/log").mkdir(parents=True)
    (s5.place / "exp/lm/log/train.log").write_text("exp/lm: saved; the same command continues\nasr-rescore x: error\n")
    s5.add_program("utils/queue.pl", "#!/bin/sh\nexit 1\n")
    done = run("exit 1", *TRAIN[:1], "--cmd", "utils/queue.pl", *TRAIN[1:])
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (1, 1, "")


# The call that gathers says it of every job, but only because they have just been run.
REPEATED = """
if [ $job = 0 ]; then
  for job in 1 2 3; do echo "out: job $job of 3 was finished before"; done
  echo "rescored:       %WER 5.00 [ 1 / 20 ]"
fi"""


def test_jobs_that_were_finished_before_are_counted(run):
    finished = f'[ $job -gt 1 ] && echo "out: job $job of 3 was finished before"{REPEATED}'
    done = run(finished, RESCORE[0], "--nj", "3", *RESCORE[1:])
    assert done.stdout.splitlines()[1:] == [
        "out: 2 of 3 jobs were finished before",
        "out:",
        "rescored:       %WER 5.00 [ 1 / 20 ]",
    ]
    assert "before" not in run(REPEATED, RESCORE[0], "--nj", "3", *RESCORE[1:]).stdout, "all are of this call"


def test_the_only_job_says_itself_that_it_was_finished_before(run):
    said = "out: job 1 of 1 was finished before"
    done = run(f'echo "{said}"; echo "rescored: %WER 5.00"', RESCORE[0], "--nj", "1", *RESCORE[1:])
    assert done.stdout.splitlines()[1:] == [said, "out:", "rescored: %WER 5.00"]


def test_the_result_is_shown_with_the_weights_it_was_found_with(run):
    shown = [
        "first pass:     %WER 6.00 [ 1 / 20 ]",
        "rescored:       %WER 5.00 [ 1 / 20 ]",
        "weights:        lm 0.5, old LM weight 0.5; LMWT 12, WIP 0; N 100; given",
        "first pass at:  LMWT 12, WIP 0; given",
    ]
    said = "\n".join(["lm: 20 parameters", *shown, "out: done in 3 s"])
    assert run(f"echo '{said}'", *RESCORE).stdout.splitlines()[1:] == ["out:", *shown]


def test_jobs_that_fail_leave_the_others(run):
    fails = 'if [ $job = 2 ]; then echo "asr-rescore rescore_nbest: error: no" >&2; exit 1; fi'
    done = run(fails, RESCORE[0], "--nj", "3", *RESCORE[1:])
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "out: 2 of 3 jobs are finished and kept; the same command continues with the others"
    ]
    assert done.stderr.splitlines()[-1] == "asr-rescore rescore_nbest: error: no"


def test_many_jobs_do_not_fill_the_screen(run):
    fails = """
echo "cache/job.$job: saved; the same command continues at step $job of 9"
echo "asr-rescore cache_teacher: terminated" >&2; exit 143"""
    done = run(fails, "cache_teacher.sh", "--nj", "7", "text", "lm", "cache")
    lines = done.stdout.splitlines()[1:]
    assert lines[:5] == [f"cache/job.{k}: saved; the same command continues at step {k} of 9" for k in range(1, 6)]
    assert lines[5:] == ["and 2 more, in cache/log/cache.*.log"]
    assert done.stderr.splitlines()[-1] == "asr-rescore cache_teacher: terminated"


def interrupted(s5, command) -> tuple[int, str, str]:
    """Press Ctrl-C when a command of a script has begun; returns what the script leaves and says."""
    s5.add_program("bin/asr-rescore", INTERRUPTED)
    process = subprocess.Popen(
        command,
        cwd=s5.place,
        env=s5.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not (s5.place / "begun").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    return process.returncode, out, err


def test_after_ctrl_c_a_training_says_what_is_saved(s5, steps):
    status, out, err = interrupted(s5, [steps / TRAIN[0], *TRAIN[1:]])
    assert status == -signal.SIGINT, "so that the scripts which have called it end, too"
    assert out.splitlines()[1:] == ["exp/lm: saved; the same command continues in epoch 2 of 5"]
    assert err.splitlines()[-1] == "asr-rescore train_lm: interrupted"
    assert "show_progress" not in err


def test_after_ctrl_c_commands_side_by_side_say_what_is_saved(s5, steps):
    lines = [f"exp/log/{name}.log asr-rescore train_lm exp/{name}" for name in ("a", "it\\'s", "c")]
    (s5.place / "commands").write_text("\n".join(lines))
    status, out, _ = interrupted(s5, [steps / "side_by_side.sh", "--nj", "1", "commands"])
    assert status == -signal.SIGINT
    assert out.splitlines() == ["exp/a: saved; the same command continues in epoch 2 of 5"]


def test_commands_side_by_side_say_what_was_there_before(s5, steps):
    s5.add_program(
        "bin/asr-rescore",
        """#!/bin/sh
case $2 in
  a) echo "a: was finished before, in 40 steps; nothing is left to do" ;;
  b) echo "b: continues in epoch 3 of 5" ;;
esac
echo "$2: valid ppl 9.00"
""",
    )
    (s5.place / "commands").write_text("".join(f"log/{it}.log asr-rescore train_lm {it}\n" for it in "abc"))
    done = s5.run(steps / "side_by_side.sh", "--nj", "1", "commands")
    assert done.stdout.splitlines() == [
        "a: valid ppl 9.00, finished before",
        "b: continues in epoch 3 of 5",
        "b: valid ppl 9.00",
        "c: valid ppl 9.00",
    ]
