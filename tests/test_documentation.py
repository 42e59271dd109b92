"""Runs what README.md and docs/*.md show.

Every fenced block of ``sh``, ``python`` or ``console`` is run, one document's from top to bottom in a copy of the
checkout, so that a block finds the files that an earlier one wrote. In a ``console`` block each ``$ `` line is a
command and what follows is what it prints, where ``...`` stands for anything. The ``python`` blocks of a document run
in one interpreter, so that they share names; a block with ``>>> `` prompts must print what it shows. A block is left
out only by a comment before it: ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import ROOT
from python_session import PythonSession

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
RUN = ("sh", "python", "console")
SHOWN = ("text", "yaml", "html")  # formats and file contents
FENCE = re.compile(r"^( *)```+ *(\S*)")
EXEMPT = re.compile(r"<!-- not run:(.*?)-->", re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language and text, and the reason why it is not run, if it is not."""

    line: int
    language: str
    text: str
    exempt: str | None


def blocks_of(markdown: str) -> list[Block]:
    """Cut the fenced blocks out of a document."""
    blocks: list[Block] = []
    before: list[str] = []
    inside: list[str] = []
    opened: tuple[int, str, str] | None = None  # line, indent, language
    for number, line in enumerate(markdown.splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None:
            if fence:
                opened = (number, fence[1], fence[2])
            elif line.strip():
                before.append(line)
        elif fence and not fence[2]:
            start, _, language = opened
            marks = EXEMPT.search(_last_comment(before))
            blocks.append(Block(start, language, "\n".join(inside) + "\n", marks and marks[1].strip()))
            opened, before, inside = None, [], []
        else:
            inside.append(line.removeprefix(opened[1]))
    assert opened is None, f"line {opened}: a block that never ends"
    return blocks


def _last_comment(lines: list[str]) -> str:
    """The comment that ends ``lines``, if one does."""
    text = "\n".join(lines)
    return text[text.rfind("<!--") :] if text.endswith("-->") else ""


def transcript(text: str) -> list[tuple[str, str]]:
    """Cut a console block into (command, what it prints)."""
    steps: list[tuple[str, str]] = []
    continued = False
    for line in text.splitlines():
        if continued:
            command, _ = steps.pop()
            steps.append((f"{command}\n{line.removeprefix('> ')}", ""))
        elif line.startswith("$ "):
            steps.append((line[2:], ""))
        else:
            assert steps, f"a console block starts with {line!r}, expected '$ ' and a command"
            command, printed = steps.pop()
            steps.append((command, f"{printed}{line}\n"))
        command, printed = steps[-1]
        continued = not printed and command.endswith("\\")
    return steps


def run_all(blocks: list[Block], folder: Path, environment: dict[str, str]) -> None:
    """Run blocks; each must succeed and, if it shows what it prints, print that."""
    with PythonSession(folder, environment) as session:
        for block in blocks:
            try:
                if block.language == "python":
                    assert (">>> " in block.text) == block.text.startswith(">>> "), "code before the first prompt"
                    session.run(block.text)
                else:
                    run_shell(block, folder, environment)
            except AssertionError as error:
                raise AssertionError(f"line {block.line}: {error}") from error


def run_shell(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Run a block of shell commands."""

    def shell(script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{script}\nexit status {done.returncode}:\n{done.stdout}"
        return done.stdout

    if block.language == "sh":
        shell(block.text)
    else:
        for command, shown in transcript(block.text):
            printed = shell(command)
            assert same(shown, printed), f"{command}\nprints:\n{printed}the document shows:\n{shown}"


def same(shown: str, printed: str) -> bool:
    """Whether a document shows what was printed; ``...`` stands for anything, blanks count once."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown, printed, options)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_run_as_shown(document, checkout, environment, tmp_path):
    blocks = [block for block in blocks_of(document.read_text("utf-8")) if block.language in RUN]
    wanted = [block for block in blocks if block.exempt is None]
    if not wanted:
        return
    folder = shutil.copytree(checkout, tmp_path / "asr_rescore", symlinks=True)
    run_all(wanted, folder, environment)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_say_what_they_are(document):
    for block in blocks_of(document.read_text("utf-8")):
        assert block.language in RUN + SHOWN, f"line {block.line}: {block.language!r}, expected one of {RUN + SHOWN}"
        assert block.exempt is None or len(block.exempt) > 5, f"line {block.line}: not run, but for what reason?"


@pytest.mark.parametrize("document", sorted([*DOCUMENTS, ROOT / "CHANGELOG.md"]), ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    missing = [link for link in LINK.findall(document.read_text("utf-8")) if not (document.parent / link).exists()]
    assert missing == []


SAMPLE = """
Text.

<!-- not run: takes a week -->

```sh
make all
```
Words between.
```console
$ echo a \\
>   b
a b
$ true
$ seq 3
1
...
3
```
   ```python
   print(1)
   ```
<!-- not run: -->
```sh
x
```
"""


def test_blocks_are_found_with_their_exemptions():
    assert blocks_of(SAMPLE) == [
        Block(6, "sh", "make all\n", "takes a week"),
        Block(10, "console", "$ echo a \\\n>   b\na b\n$ true\n$ seq 3\n1\n...\n3\n", None),
        Block(20, "python", "print(1)\n", None),
        Block(24, "sh", "x\n", ""),
    ]


def test_a_transcript_is_cut_at_its_commands(tmp_path, environment):
    block = blocks_of(SAMPLE)[1]
    assert transcript(block.text) == [("echo a \\\n  b", "a b\n"), ("true", ""), ("seq 3", "1\n...\n3\n")]
    run_all([block], tmp_path, environment)


def test_blocks_run_this_checkout_and_its_libraries(checkout, tmp_path, environment):
    where = "import asr_rescore, numpy; print(asr_rescore.__path__[0])"
    text = f"$ python -c '{where}'\n{checkout}/asr_rescore\n$ asr-rescore --version\nasr-rescore ...\n"
    run_all([Block(1, "console", text, None)], tmp_path, environment)
    door = f"$ {checkout}/bin/compute_ppl.py --help\nusage: asr-rescore compute_ppl ...\n"
    run_all([Block(1, "console", door, None)], tmp_path, environment)


def test_python_blocks_share_names(tmp_path, environment):
    texts = ["x = 1\nprint(x)\n", ">>> x + 1\n2\n>>> y = x\n", "import os\nassert y == 1\nos.system('echo printed')\n"]
    run_all([Block(1, "python", text, None) for text in texts], tmp_path, environment)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sh", "false\ntrue\n"),
        ("sh", "false | true\n"),
        ("sh", "echo $unset_by_anyone\n"),
        ("python", "assert 1 == 2\n"),
        ("python", "raise SystemExit\n"),
        ("python", "x = 1\n>>> x\n1\n"),
        ("python", ">>> 1 + 1\n3\n"),
        ("python", ">>> 1 / 0\n"),
        ("console", "$ echo 13.31\n13.32\n"),
        ("console", "$ echo more\n"),
        ("console", "$ false\n"),
    ],
)
def test_a_block_that_does_not_hold_is_found(language, text, tmp_path, environment):
    with pytest.raises(AssertionError):
        run_all([Block(1, language, text, None)], tmp_path, environment)
