"""How the scripts of recipes/steps show the progress of their jobs."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_each_job_has_a_file_for_its_progress_that_is_gone_afterwards(s5):
    arguments = ("--cmd", "utils/queue.pl", "--tune", "true", "lang", "lm", "data", "in", "out")
    assert s5.run("rescore_nbest.sh", *arguments).returncode == 0
    jobs, finish = s5.calls()
    assert jobs[2:4] == ["env", "ASR_RESCORE_PROGRESS=out/log/progress/out_log_rescore.JOB"]
    assert finish[1:3] == ["env", "ASR_RESCORE_PROGRESS=out/log/progress/out_log_finish"]
    assert not (s5.place / "out/log/progress").exists()


def test_a_script_within_another_leaves_the_showing_to_it(s5):
    (s5.place / "all").mkdir()
    (s5.place / "all/a_log_other.1").touch()
    arguments = ("--cmd", "utils/queue.pl", "--tune", "true", "lang", "lm", "data", "in", "x" * 200)
    assert s5.run("rescore_nbest.sh", *arguments, ASR_RESCORE_WATCHED=str(s5.place / "all")).returncode == 0
    (file,) = (word for word in s5.calls()[0] if word.startswith("ASR_RESCORE_PROGRESS="))
    assert file.startswith(f"ASR_RESCORE_PROGRESS={s5.place}/all/xxx") and file.endswith("xxx_log_rescore.JOB")
    assert len(Path(file).name) == 100
    assert [path.name for path in (s5.place / "all").iterdir()] == ["a_log_other.1"]


@pytest.mark.slow
def test_the_progress_of_long_jobs_is_shown(s5, steps):
    """The stand-in for asr-rescore is a job that lasts until its progress is being shown."""
    s5.add_program(
        "bin/asr-rescore",
        """#!/bin/sh
case $1 in
  show_progress) echo "of $2" >&2; touch shown; cat >/dev/null ;;
  *) for i in $(seq 600); do [ -e shown ] && exit; sleep 0.1; done; exit 1 ;;
esac
""",
    )
    done = s5.run(steps / "rescore_nbest.sh", "--nj", "1", "--tune", "true", "lang", "lm", "data", "in", "out")
    assert done.stderr == "of out/log/progress\n"
    assert not (s5.place / "out/log/progress").exists()
