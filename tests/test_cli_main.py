from __future__ import annotations

import errno
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr_rescore import __version__
from asr_rescore.cli import main as cli
from asr_rescore.errors import InputError, RescoreError, Terminated, UsageError
from conftest import ROOT

FULL = Path("/dev/full")


@pytest.fixture
def command(monkeypatch):
    """Register a module as command ``probe``; its run does what the test hands over."""

    def declare(parser):
        parser.add_argument("--number", type=int, default=0)
        parser.add_argument("file")

    def register(run, configure=declare):
        module = SimpleNamespace(HELP="Probes.", configure=configure, run=run)
        monkeypatch.setitem(sys.modules, "probe_module", module)
        monkeypatch.setitem(cli.COMMANDS, "probe", "probe_module")

    return register


def test_arguments_reach_the_command_and_its_status_comes_back(command):
    seen = []

    def run(arguments):
        seen.append((arguments.number, arguments.file))
        return 7

    command(run)
    assert cli.main(["probe", "--number", "3", "F"]) == 7
    assert seen == [(3, "F")]


@pytest.mark.parametrize("values", ["-0.5,0,0.5", "-.5,1e-3", "-1", "-1.5", "0,-1"])
def test_a_list_that_begins_with_a_minus_is_a_value(command, values):
    """As in the advice ``try --word-ins-penalty -0.5,0,0.5``; argparse alone takes it for an option."""
    seen = []

    def declare(parser):
        parser.add_argument("--penalties")
        parser.add_argument("file", nargs="?")

    command(lambda arguments: seen.append((arguments.penalties, arguments.file)) or 0, declare)
    assert cli.main(["probe", "--penalties", values, "F"]) == 0
    assert cli.main(["probe", f"--penalties={values}", "F"]) == 0
    assert seen == [(values, "F")] * 2


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (RescoreError("it is broken"), 1, "asr-rescore probe: error: it is broken"),
        (
            InputError("a.gz: byte 7", found="0x00", expected="0xD6", remedy="copy it again"),
            1,
            "asr-rescore probe: error: a.gz: byte 7: found 0x00, expected 0xD6; copy it again",
        ),
        (RescoreError("two\nlines"), 1, "asr-rescore probe: error: two lines"),
        (UsageError("--a with --b"), 2, "asr-rescore probe: error: --a with --b"),
        (KeyboardInterrupt(), 130, "asr-rescore probe: interrupted"),
        (Terminated(), 143, "asr-rescore probe: terminated"),
    ],
    ids=["refused", "input", "one line", "usage", "interrupted", "terminated"],
)
def test_each_error_is_one_line_and_a_status(command, capsys, error, status, line):
    def run(_):
        raise error

    command(run)
    assert cli.main(["probe", "F"]) == status
    assert capsys.readouterr() == ("", line + "\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`number` is -1", "--number is -1"),
        ("`big_number` is 7", "`big_number` is 7"),
        ("`size`, `file` and `train.lr`", "--model-size, `file` and `train.lr`"),
        ("`rate` is 0", "`rate` is 0"),
    ],
    ids=["a field of the library", "of another command", "with the command's prefix", "more than one flag fits"],
)
def test_fields_of_the_library_become_flags(command, capsys, text, shown):
    def configure(parser):
        for flag in ("--number", "--model-size", "--a-rate", "--b-rate"):
            parser.add_argument(flag)

    def run(_):
        raise UsageError(text)

    command(run, configure)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == f"asr-rescore probe: error: {shown}\n"


def test_the_library_logs_and_the_command_shows_it(command, capsys):
    def run(_):
        log = logging.getLogger("asr_rescore.training")
        log.debug("never")
        log.info("epoch %d", 1)
        log.warning("`number` is odd")
        return 0

    command(run)
    for _ in range(2):  # a second command in the same process does not show lines twice
        assert cli.main(["probe", "F"]) == 0
        assert capsys.readouterr() == ("epoch 1\n", "--number is odd\n")


def test_an_error_nobody_foresaw_keeps_its_traceback(command):
    def run(_):
        raise ZeroDivisionError

    command(run)
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe", "F"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "x"), "Permission denied: x; check the path, its"),
        (OSError(errno.EROFS, "Read-only file system", "x.tmp", None, "x"), "Read-only file system: x; check"),
        (OSError("odd"), "odd; check"),
    ],
)
def test_an_error_of_the_operating_system_is_one_line_with_the_path(command, capsys, error, line):
    def run(_):
        raise error

    command(run)
    assert cli.main(["probe", "F"]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"asr-rescore probe: error: {line}") and message.count("\n") == 1


def test_control_characters_do_not_reach_the_terminal(command, capsys):
    def run(_):
        logging.getLogger("asr_rescore").warning("key \x1b[31m\nü")
        raise RescoreError("key \x1b[2J\x00 of ü\xa0\u3042")

    command(run)
    assert cli.main(["probe", "F"]) == 1
    expected = "key \\x1b[31m\nü\nasr-rescore probe: error: key \\x1b[2J\\x00 of ü\\xa0\u3042\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("wrong", [["--num", "3", "F"], ["--number", "x", "F"], [], ["F", "G"]])
def test_wrong_arguments_exit_with_2(command, capsys, wrong):
    command(lambda arguments: 0)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["probe", *wrong])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("asr-rescore probe: error: ")
    assert message.endswith("; see asr-rescore probe --help\n") and message.count("\n") == 1


@pytest.mark.parametrize("wrong", [[], ["rescore"], ["--verbose"], ["--version", "report"]])
def test_no_such_command_exits_with_2_and_lists_those_there_are(capsys, wrong):
    assert cli.main(wrong) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert all(name in message for name in cli.COMMANDS)


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"asr-rescore {__version__}\n"


@pytest.mark.parametrize("command", ["rescore_nbest", "rescore_lattice"])
def test_help_says_how_jobs_run_at_the_same_time(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    [named] = re.findall(r"one after the other, and (recipes/steps/\w+\.sh) at the same time", shown)
    assert (ROOT / named).name == f"{command}.sh" and (ROOT / named).is_file()


def test_help_lists_every_command_with_its_line(capsys):
    assert cli.main(["--help"]) == 0
    listed = [line.split(maxsplit=1) for line in capsys.readouterr().out.partition("commands:\n")[2].splitlines()]
    assert [name for name, _ in listed] == list(cli.COMMANDS)
    assert all(len(line) > 10 for _, line in listed)


def test_only_the_command_asked_for_is_imported(command, monkeypatch):
    command(lambda arguments: 0)
    monkeypatch.setitem(cli.COMMANDS, "broken", "no_such_module")
    assert cli.main(["probe", "F"]) == 0


def probe(body: str) -> str:
    """A script that runs a command with ``body``."""
    return f"""
import errno, sys
from types import SimpleNamespace
from asr_rescore.cli import main as cli
def run(arguments):
    {body}
    return 0
sys.modules["probe_module"] = SimpleNamespace(HELP="Probes.", configure=lambda parser: None, run=run)
cli.COMMANDS["probe"] = "probe_module"
sys.exit(cli.main(["probe"]))
"""


def run_probe(body: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess:
    """Run a command with ``body`` in a process of its own: what happens to its output happens at exit, too."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | (env or {})
    command = [sys.executable, "-c", probe(body)]
    return subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("body", ["print('x')", "print('x' * 1_000_000)"], ids=["at exit", "while it writes"])
def test_a_reader_that_has_gone_is_no_error(body):
    reader, writer = os.pipe()
    os.close(reader)
    done = run_probe(body, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_closed_output_is_no_error():
    body = "print('x'); import logging; logging.getLogger('asr_rescore').info('y'); open('/dev/null')"
    done = run_probe(body, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


def test_both_outputs_into_a_pipe_that_is_closed():
    reader, writer = os.pipe()
    os.close(reader)
    body = "raise cli.UsageError('x' * 1_000_000)"
    done = subprocess.run([sys.executable, "-c", probe(body)], cwd=ROOT, stdout=writer, stderr=writer)
    os.close(writer)
    assert done.returncode == 2


def test_text_that_the_terminal_cannot_show_is_escaped():
    done = run_probe("print('\\udcff é')", stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "\\udcff \\xe9\n")


def test_sigterm_removes_what_is_unfinished(tmp_path):
    body = (
        "import os, signal, pathlib; from asr_rescore.files import atomic_text\n"
        f"    with atomic_text(pathlib.Path({str(tmp_path)!r}) / 'file'): os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = run_probe(body)
    assert (done.returncode, done.stderr) == (143, "asr-rescore probe: terminated\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_removes_what_no_block_does(tmp_path, number, status):
    body = (
        "import os, signal, pathlib; from asr_rescore import temporary\n"
        f"    folder = pathlib.Path({str(tmp_path)!r}); temporary.sweep(folder)\n"
        "    temporary.temporary_path(folder / 'archives.1').mkdir()\n"
        f"    os.kill(os.getpid(), signal.{number})"
    )
    # A shell's background job, such as these tests may be, ignores SIGINT, and so would its children.
    done = run_probe(body, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert done.returncode == status
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full")
def test_output_to_a_full_disk_is_one_line():
    with FULL.open("w") as full:
        done = run_probe("print('x')", stdout=full)
    line = (
        "asr-rescore probe: error: No space left on device: standard output; make room and run the same command again\n"
    )
    assert (done.returncode, done.stderr) == (1, line)


def test_a_limit_on_the_size_of_files_is_one_line(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))"
    with (tmp_path / "out").open("w") as out:
        done = run_probe(f"{limit}; print('x' * 100_000)", stdout=out)
    line = "asr-rescore probe: error: File too large: standard output; check the path, its permissions and its disk\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_a_wrong_value_of_any_length_is_a_short_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["score_wer", "--mode", "9" * 5000, "ref", "hyp"])
    assert len(capsys.readouterr().err) < 1200


def test_a_full_disk_under_a_file_names_it_and_keeps_what_was_printed():
    body = "print('before'); raise OSError(errno.ENOSPC, 'No space left on device', 'exp/lat.1.gz')"
    done = run_probe(body, stdout=subprocess.PIPE)
    line = "asr-rescore probe: error: No space left on device: exp/lat.1.gz; make room and run the same command again\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "before\n", line)


def test_doors_and_commands_are_the_same_set():
    doors = {door.stem for door in (ROOT / "bin").glob("*.py")}
    modules = {module.rpartition(".")[2] for module in cli.COMMANDS.values()}
    assert doors == set(cli.COMMANDS) == modules


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_door_works_from_anywhere(name, tmp_path):
    arguments = [sys.executable, "-I", ROOT / "bin" / f"{name}.py", "--help"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: asr-rescore {name} ")
    assert os.access(ROOT / "bin" / f"{name}.py", os.X_OK)
