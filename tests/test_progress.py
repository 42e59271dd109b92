"""What a command shows of its progress: on a terminal, in a log, and in the file that show_progress reads."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asr_rescore import progress
from asr_rescore.cli.main import main
from asr_rescore.errors import InputError
from asr_rescore.programs.show_progress import Watch, fitted, follow, read_status
from asr_rescore.progress import Pace, Status, beat, duration, progress_bar, show_progress, time_left, work_on
from conftest import ROOT


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "_clock", clock)
    return clock


@pytest.fixture
def shown(clock) -> Iterator[None]:
    show_progress()
    yield
    show_progress(False)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "job.1"
    monkeypatch.setenv(progress.PROGRESS_FILE, str(path))
    return path


class TestLog:
    def test_a_line_a_minute_with_the_time_that_is_left(self, shown, clock, capsys):
        with progress_bar("costs", 200, "utterances") as bar:
            for _ in range(100):  # a second each
                clock.now += 1
                bar.update()
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert err.startswith("costs: 30 % of 200 utterances, about 2 min left, until ")

    def test_short_work_says_nothing(self, shown, clock, capsys):
        for _ in progress_bar("costs", 3).over("abc"):
            clock.now += 19
        assert capsys.readouterr() == ("", "")

    def test_the_minute_goes_on_in_the_next_work(self, shown, clock, capsys):
        for name in ("costs", "tuning"):
            for _ in progress_bar(name, 4, "utterances").over("abcd"):
                clock.now += 10
        assert capsys.readouterr().err == "tuning: 50 % of 4 utterances, about 20 s left\n"

    def test_long_work_on_one_group_shows_that_it_goes_on(self, shown, clock, capsys):
        with progress_bar("costs", 5, "utterances"):
            clock.now += 61
            beat()
        assert capsys.readouterr().err == "costs: 0 % of 5 utterances\n"
        beat()  # nothing is in progress

    def test_without_a_total(self, shown, clock, capsys):
        with progress_bar("encoding", unit="tokens") as bar:
            clock.now += 61
            bar.update(12_345)
        assert capsys.readouterr().err == "encoding: 12,345 tokens\n"

    def test_a_library_is_silent(self, clock, file, capsys):
        for _ in progress_bar("costs", 2).over("ab"):
            clock.now += 100
        assert capsys.readouterr() == ("", "")
        assert not file.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    show_progress()
    try:
        with progress_bar("costs", 4, "utterances") as bar:
            clock.now += 100
            bar.update(1, "loss 3")
            bar.beat()
    finally:
        show_progress(False)
    shown = terminal.getvalue()
    assert "costs:  25%" in shown and "loss 3" in shown
    assert "\n" not in shown.strip("\n")


class TestFile:
    def test_it_says_what_a_line_would(self, shown, clock, file):
        work_on(Path("/exp/student/dev"), jobs=4)
        with progress_bar("costs", 40, "utterances") as bar:
            clock.now += 30
            bar.update(10, more="loss 2")
            status = read_status(file)
            assert status == Status("costs", "utterances", 10, 40, 90.0, "loss 2", "student/dev", 4)
            assert str(status) == "student/dev: costs: 25 % of 40 utterances, loss 2, about 90 s left"
        show_progress(False)
        assert read_status(file).ended
        assert [path.name for path in file.parent.iterdir()] == ["job.1"]

    def test_it_is_not_written_for_every_unit(self, shown, clock, file):
        with progress_bar("costs", 40) as bar:
            clock.now += 10
            bar.update()
            bar.update()
            assert read_status(file).done == 1

    def test_a_file_that_cannot_be_written_stops_nothing(self, shown, clock, monkeypatch, tmp_path):
        monkeypatch.setenv(progress.PROGRESS_FILE, str(tmp_path / "none" / "job"))
        clock.now += 10
        assert list(progress_bar("costs", 2).over("ab")) == ["a", "b"]

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": 3}', '{"done": -1}', "\xff"])
    def test_a_damaged_one(self, tmp_path, content):
        (tmp_path / "job").write_bytes(content.encode("latin-1"))
        with pytest.raises(InputError):
            read_status(tmp_path / "job")
        assert Watch(tmp_path).lines() == ["waiting for jobs to begin"]


class TestWatch:
    def put(self, folder: Path, job: int, **values: object) -> None:
        status = replace(Status("costs", "utterances", work="student/dev", jobs=4), **values)  # type: ignore[arg-type]
        (folder / f"job.{job}").write_text(json.dumps(vars(status)))

    def test_jobs_are_added_up(self, tmp_path, clock):
        """Of 4 jobs of about 50, one has ended, two have done 10 and 15, and one has not begun: 75 of 200 = 37.5 %."""
        watch = Watch(tmp_path)
        for job in (1, 2):
            self.put(tmp_path, job, total=50)
        assert watch.lines() == ["student/dev: costs: 0 % of 200 utterances, 0 of 4 jobs done"]
        clock.now += 60
        self.put(tmp_path, 1, done=48, total=50, ended=True)
        self.put(tmp_path, 2, done=10, total=50)
        self.put(tmp_path, 3, done=15, total=50)
        (line,) = watch.lines()
        # 37.5 % took a minute, so the rest takes 100 seconds.
        assert line.startswith("student/dev: costs: 38 % of 200 utterances, 1 of 4 jobs done, about 2 min left, until ")

    def test_jobs_that_were_finished_before_took_no_time(self, tmp_path, clock):
        watch = Watch(tmp_path)
        for job in (1, 2):
            self.put(tmp_path, job, name="", unit="", ended=True)
        for job in (3, 4):
            self.put(tmp_path, job, total=10)
        assert watch.lines() == ["student/dev: costs: 50 % of 40 utterances, 2 of 4 jobs done"]
        clock.now += 30
        for job in (3, 4):
            self.put(tmp_path, job, total=10, done=5)
        assert watch.lines() == ["student/dev: costs: 75 % of 40 utterances, 2 of 4 jobs done, about 30 s left"]

    def test_trainings_have_a_line_each(self, tmp_path):
        for job, name in ((1, "a"), (2, "b")):
            more = f"loss {job}"
            self.put(
                tmp_path, job, name="epoch 2 of 9", unit="", done=3, total=4, work=name, jobs=1, left=50.0, more=more
            )
        self.put(tmp_path, 3, work="c", jobs=1, ended=True)
        assert Watch(tmp_path).lines() == [
            "a: epoch 2 of 9: 75 %, loss 1, about 50 s left",
            "b: epoch 2 of 9: 75 %, loss 2, about 50 s left",
        ]

    def test_nothing_is_said_where_nothing_was_left_to_do(self, tmp_path):
        self.put(tmp_path, 1, name="", unit="", ended=True)
        assert Watch(tmp_path).lines() == []

    def test_before_there_is_anything_to_count(self, tmp_path, shown, clock, monkeypatch):
        assert Watch(tmp_path).lines() == Watch(tmp_path / "nowhere").lines() == ["waiting for jobs to begin"]
        monkeypatch.setenv(progress.PROGRESS_FILE, str(tmp_path / "job.1"))
        work_on(Path("/exp/teacher_17"), parts=1)
        assert Watch(tmp_path).lines() == ["teacher_17: reads its inputs"]

    def shown(self, tmp_path: Path, stream: io.StringIO, looks: int) -> list[float]:
        waited: list[float] = []

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            return len(waited) > looks

        follow(Watch(tmp_path), stream, wait)
        return waited

    def test_in_a_log_there_is_a_line_a_minute(self, tmp_path):
        self.put(tmp_path, 1, jobs=1, done=1, total=2)
        stream = io.StringIO()
        assert self.shown(tmp_path, stream, 3) == [1.0, 60.0, 60.0, 60.0]
        assert stream.getvalue() == "student/dev: costs: 50 % of 2 utterances\n" * 3

    def test_on_a_terminal_one_line_changes_and_goes(self, tmp_path):
        self.put(tmp_path, 1, jobs=1, done=1, total=2)
        terminal = Terminal()
        assert self.shown(tmp_path, terminal, 2) == [1.0] * 3
        clear = "\r\033[K"
        assert terminal.getvalue() == f"{clear}student/dev: costs: 50 % of 2 utterances" * 2 + clear

    def test_what_has_no_room_is_shown_in_turn(self):
        assert fitted(["abc", "def"], 0, 20) == "abc | def"
        assert [fitted(["abc", "defghi"], turn, 5) for turn in (0, 2, 3, 6)] == ["abc", "abc", "defg…", "abc"]
        assert fitted([], 0, 5) == ""

    def test_the_command_ends_with_its_input(self, tmp_path, monkeypatch):
        (tmp_path / "empty").touch()
        with (tmp_path / "empty").open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            assert main(["show_progress", str(tmp_path)]) == 0


def test_a_directory_that_is_not_there(tmp_path, capsys):
    assert main(["show_progress", str(tmp_path / "nowhere")]) == 1
    assert "nowhere: found no such directory" in capsys.readouterr().err


def test_a_pace_needs_something_done(clock):
    pace = Pace(done=2.0)
    clock.now += 10
    assert (pace.left(2.0, 10), pace.left(3.0, None)) == (None, None)
    assert pace.left(4.0, 10) == 30.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (99.0, "99 s"), (100.0, "2 min"), (5940.0, "99 min"), (6000.0, "1 h 40 min"), (90_000.0, "25 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_time_of_day_at_which_it_ends(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert time_left(3600, now=0.0) == "about 60 min left, until 01:00"
    assert time_left(86400, now=0.0) == "about 24 h left, until 02 Jan 00:00"
    assert time_left(1e30, now=0.0).endswith(" left")
    monkeypatch.undo()
    time.tzset()


def test_the_script_of_the_command_is_there():
    assert (ROOT / "bin/show_progress.py").is_file()
