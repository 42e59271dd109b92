"""job.JOB.json: a finished job is known by what it was made from and by the files that it wrote."""

import json

import pytest

from asr_rescore.errors import InputError
from asr_rescore.failures import Failures
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.rescoring.job import JobMarker, remove_jobs_beyond

MADE_FROM = Fingerprint({"lms": ("a", "b"), "n": 10})


@pytest.fixture
def result(tmp_path):
    (tmp_path / "archives.1").mkdir()
    file = tmp_path / "archives.1" / "words"
    file.write_text("u-1 a\n")
    return file


@pytest.fixture
def marker(tmp_path, result):
    marker = JobMarker(tmp_path, 1)
    marker.write(MADE_FROM, [result], Failures({"u": "why"}))
    return marker


def test_it_says_what_failed(marker):
    assert marker.matches(MADE_FROM)
    assert marker.failures(MADE_FROM) == {"u": "why"}


def test_anything_else_is_another_job(marker):
    other = Fingerprint({**MADE_FROM.facts, "n": 11})
    assert not marker.matches(other)
    assert MADE_FROM.differences(other) == ["n"]
    with pytest.raises(InputError, match="job.1.json: found the marker of other results"):
        marker.failures(other)


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_results_that_are_not_the_ones_written_do_not_count(marker, result, change):
    result.unlink()
    if change == "replaced":
        result.write_text("u-1 b b\n")
    assert not marker.matches(MADE_FROM)


def test_an_unfinished_job_is_an_error_where_it_is_needed(tmp_path):
    with pytest.raises(InputError, match="job.2.json: found no such file, expected a finished job; run this job"):
        JobMarker(tmp_path, 2).failures(MADE_FROM)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made_from": {}, "results": [], "failures": {}}', "\udcff"])
def test_a_damaged_marker_is_named(marker, text):
    marker.path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(
        InputError,
        match="job.1.json.*(expected .*the marker of a finished job|bytes that are not UTF-8.*); remove the file",
    ):
        marker.matches(MADE_FROM)


def test_facts_are_compared_as_json_holds_them(marker):
    facts = json.loads(marker.path.read_text())["made_from"]
    assert Fingerprint(facts) == MADE_FROM and Fingerprint(facts).digest == MADE_FROM.digest
    assert hash(Fingerprint(facts)) == hash(MADE_FROM)
    assert Fingerprint({"n": 10, "lms": ["a", "b"]}).digest == MADE_FROM.digest, "whatever the order"


def test_all_of_a_larger_run_goes_even_after_a_gap(tmp_path):
    for name in ("lat.1.gz", "lat.10.gz", "job.4.json", "lat.old.gz", "lat.7.gz.bak", "job.json"):
        (tmp_path / name).touch()
    (tmp_path / "archives.3").mkdir()
    remove_jobs_beyond(2, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.json", "lat.1.gz", "lat.7.gz.bak", "lat.old.gz"]
