"""The recipes' checks; that the mini recipe runs is what continuous integration shows."""

import subprocess

import pytest


def run(checkout, environment, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "recipes/wsj/run.sh", *options], cwd=checkout, env=environment, capture_output=True, text=True
    )


def test_wsj_lists_everything_that_is_missing_and_where_to_get_it(checkout, environment, tmp_path):
    done = run(checkout, environment, "--corpus", "wsj", "--s5", str(tmp_path), "--exp", str(tmp_path / "exp"))
    assert done.returncode == 1
    missing = done.stderr.splitlines()[1:]
    assert f"{len(missing)} things are missing" in done.stderr.splitlines()[0]
    assert len(missing) == 9  # the text; two lang, four decode and two data directories
    assert all(str(tmp_path) in line and ": " in line for line in missing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--corpus", "nonsense"), "expected mini or wsj"),
        (("--corpora", "mini"), "no such option"),
        (("--stage",), "value is missing"),
        (("mini",), "takes options only"),
    ],
)
def test_wrong_usage_of_the_recipe(checkout, environment, options, message):
    done = run(checkout, environment, *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_first_stages_run(checkout, environment, tmp_path):
    done = run(checkout, environment, "--stop-stage", "0", "--exp", str(tmp_path / "exp"))
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "exp/text/vocab.txt").read_text().splitlines()) == 1300
