"""Global map files (glm): rules that rewrite transcripts, applied as NIST's csrfilt applies them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Literal

from asr_rescore.errors import InputError, shown
from asr_rescore.files import read_lines

Kind = Literal["trn", "stm", "ctm"]
Purpose = Literal["ref", "hyp"]
APPLICATION = re.compile(r';;\s+INPUT_DEPENDENT_APPLICATION\s*=\s*"([^"]*)"')
QUOTED = re.compile(r"""["']([^"']*)["']""")
INNER_WORDS = re.compile(r"(\(\s+[^()\s]+\s+)([^()\s]+)")  # the second word in parentheses
UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)


@dataclass(frozen=True)
class Rule:
    """``[source] => [target] / [left] __ [right]``: characters, and the characters around them."""

    source: str
    target: str
    left: str = ""
    right: str = ""


class GlobalMap:
    """The rules of a file. At each place of a text, the first that fits is applied; no rule sees another's work."""

    def __init__(self, rules: list[Rule], case_sensitive: bool = True):
        self.rules = rules
        self.case_sensitive = case_sensitive
        self._candidates: dict[str, list[Rule]] = {}

    @classmethod
    def read(cls, path: str | os.PathLike[str], kind: Kind, purpose: Purpose) -> GlobalMap:
        """Read a file.

        Args:
            path: the file; the first field of its first line is the mark of comments.
            kind, purpose: what will be rewritten. ``;; INPUT_DEPENDENT_APPLICATION = "hyp"`` applies the rules after it
                only where one of them fits.

        Raises:
            InputError: the file is empty, or a line is not a rule.
        """
        rules = []
        case_sensitive = True
        for number, line in _lines(path, kind, purpose):
            if line.startswith("*"):
                value = QUOTED.search(line)
                if value and "CASE_SENSITIVE" in line.upper():
                    case_sensitive = value[1].upper().startswith(("T", "Y"))
                continue
            if "=>" not in line:
                raise InputError(
                    f"{path}: line {number}",
                    found=shown(line),
                    expected="[from] => [to], and the context after a slash",
                    remedy="correct the line, or begin it with the mark of comments in the first line",
                )
            rules.append(_rule(line))
        return cls([rule for rule in rules if rule.source], case_sensitive)

    def __call__(self, text: str, keep_case: bool = False) -> str:
        """Rewrite a transcript.

        Args:
            text: the transcript.
            keep_case: False: letters become capitals first, as csrfilt does unless it gets ``-s``.
        """
        if not keep_case:
            text = text.translate(UPPER)
        text = " " + text.replace("\t", " ").replace("(", "( ").replace(")", " )") + " "
        text = self._rewritten(re.sub(" +", " ", text))
        while INNER_WORDS.search(text):  # ( she is ) becomes ( she ) ( is )
            text = INNER_WORDS.sub(r"\1) ( \2", text)
        return re.sub(r"\s+\)", ")", re.sub(r"\(\s+", "(", text)).strip()

    def _rewritten(self, text: str) -> str:
        compared = text if self.case_sensitive else text.translate(UPPER)
        pieces = []
        place = 0
        while place < len(text):
            rule = self._rule_at(compared, place)
            pieces.append(text[place] if rule is None else rule.target)
            place += 1 if rule is None else len(rule.source)
        return "".join(pieces)

    def _rule_at(self, text: str, place: int) -> Rule | None:
        beginning = text[place : place + 2]
        if beginning not in self._candidates:
            self._candidates[beginning] = [
                rule for rule in self.rules if _meet(self._compared(rule.source + rule.right), beginning)
            ]
        for rule in self._candidates[beginning]:
            source, left, right = map(self._compared, (rule.source, rule.left, rule.right))
            if (
                text.startswith(source, place)
                and text.endswith(left, 0, place)
                and text.startswith(right, place + len(source))
            ):
                return rule
        return None

    def _compared(self, text: str) -> str:
        return text if self.case_sensitive else text.translate(UPPER)


def _meet(pattern: str, beginning: str) -> bool:
    """Whether a text that begins so could begin with the pattern."""
    return pattern.startswith(beginning) or beginning.startswith(pattern)


def _lines(path: str | os.PathLike[str], kind: Kind, purpose: Purpose) -> Iterator[tuple[int, str]]:
    """The lines with rules and settings that apply, without comments."""
    comment = None
    applies = True
    for number, line in read_lines(path):
        condition = APPLICATION.match(line)
        if condition:
            applies = _condition_holds(condition[1], f"{path}: line {number}", (kind, purpose))
        if comment is None:
            comment = line.split()[0] if line.split() else ""
        elif applies:
            line = (line.partition(comment)[0] if comment else line).rstrip()
            if line:
                yield number, line
    if comment is None:
        raise InputError(
            path, found="no line", expected="rules such as [from] => [to] / [ ] __ [ ]", remedy="give a glm"
        )


def _condition_holds(pattern: str, where: str, names: tuple[Kind, Purpose]) -> bool:
    """Whether the regular expression of an INPUT_DEPENDENT_APPLICATION fits what will be rewritten."""
    try:
        wanted = re.compile(pattern.lower())
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(
            where,
            found=f"{shown(pattern)} ({error})",
            expected="a regular expression for trn, stm, ctm, ref and hyp",
            remedy="correct the line",
        ) from error
    return any(wanted.search(name) for name in names)


def _rule(line: str) -> Rule:
    source, _, rest = line.partition("=>")
    target, slash, context = rest.rpartition("/")
    opening, closing = context.find("["), context.find("]")
    inside = closing >= 0 and (opening < 0 or closing < opening)  # the slash is between alternatives in brackets
    if not slash or inside:
        target, context = rest, ""
    left, _, right = context.partition("_")
    return Rule(_unquoted(source), _unquoted(target), _unquoted(left), _unquoted(right.lstrip("_")))


def _unquoted(text: str) -> str:
    text = text.strip()
    quoted = len(text) > 1 and text[0] + text[-1] in ("[]", '""')
    return text[1:-1] if quoted else text
