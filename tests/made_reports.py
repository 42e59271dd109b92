"""Reports made from error counts, output directories made from transcripts, and a page as a tree."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

from asr_rescore.kaldi import write_table
from asr_rescore.ranking import OperatingPoint
from asr_rescore.report import FIRST_PASS_FILE, LmFacts, SystemReport, write_scoring
from asr_rescore.word_errors import ErrorCount, errors_by_utterance, wer

Texts = Mapping[str, str]  # utterance → words, separated by blanks
POINT = OperatingPoint(14, 0.5)
FROZEN = {"source": "frozen: tuned on data/dev"}


def errors(*wrong: int) -> dict[str, ErrorCount]:
    """Utterances of ten words with that many substitutions each."""
    return {f"utt{number}": ErrorCount(0, 0, bad, 10, 1, int(bad > 0)) for number, bad in enumerate(wrong)}


def report(system="student", decoding="decode_tg_dev", **changes) -> SystemReport:
    facts = {
        "system": system,
        "decoding": decoding,
        "data": decoding.split("_")[-1],
        "lms": (LmFacts(system, "0123456789abcdef", 1_234_567, 59.876),),
        "lm_weights": (0.75,),
        "point": OperatingPoint(14, 0.5),
        "first_pass_point": OperatingPoint(12.0, 1.0),
        "source": "tuned on data/dev",
        "search": "N 1000",
        "rescored": errors(1, 0, 3),
        "first_pass": errors(4, 2, 0),
        "nbest_oracle": ErrorCount(0, 0, 2, 30, 3, 1),
        "lattice_oracle": ErrorCount(0, 0, 1, 30, 3, 1),
        "failures": {"utt9": "no lattice"},
        "tuned_here": changes.get("source", "tuned").startswith("tuned"),
    }
    return SystemReport(**{**facts, **changes})


def split(texts: Texts) -> dict[str, list[str]]:
    return {utt: text.split() for utt, text in texts.items()}


def out_dir(
    folder: Path, references: Texts, first_pass: Texts, rescored: Texts, parameters: int = 1000, **changes
) -> Path:
    """The output directory of a rescoring, with its transcripts; ``changes`` are those of its report."""
    said = split(references)
    before = split(first_pass)
    after = split(rescored)
    system = changes.get("system", folder.parent.name)
    facts = {
        "system": system,
        "decoding": folder.name,
        "data": folder.name.split("_")[-1],
        "lms": (LmFacts(system, "0123456789abcdef", parameters, 50.0),),
        "lm_weights": (0.75,),
        "point": POINT,
        "first_pass_point": OperatingPoint(12.0, 1.0),
        **FROZEN,
        "search": "N 1000",
        "rescored": errors_by_utterance(said, after),
        "first_pass": errors_by_utterance(said, before),
        "nbest_oracle": None,
        "lattice_oracle": wer(said, said),
    }
    report = SystemReport(**{**facts, **changes})
    write_scoring(folder, said, {POINT: after}, report.speakers, POINT)
    write_table(folder / "scoring_kaldi" / FIRST_PASS_FILE, before)
    report.save(folder)
    return folder


VOID = {"meta", "input", "wbr", "br", "link", "hr", "img"}


class Element:
    def __init__(self, tag: str, attributes: dict[str, str | None], parent: Element | None):
        self.tag = tag
        self.attributes = attributes
        self.parent = parent
        self.children: list[Element | str] = []

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements below this one with a tag and attributes, in the order of the page."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and all(child.attributes.get(key) == value for key, value in attributes.items()):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    def one(self, tag: str, **attributes: str) -> Element:
        [found] = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """The text in it, with single blanks."""
        return " ".join("".join(child if isinstance(child, str) else child.text for child in self.children).split())

    @property
    def raw(self) -> str:
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)

    def rows(self) -> list[list[str]]:
        """The cells of a table."""
        return [
            [cell.text for cell in row.children if isinstance(cell, Element) and cell.tag in ("td", "th")]
            for row in self.all("tr")
        ]


class Page(HTMLParser):
    """A page as a tree. It checks that every element is closed, and knows what a browser would fetch."""

    def __init__(self, html: str):
        super().__init__()
        self.root = self.here = Element("", {}, None)
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.feed(html)
        self.close()
        assert self.here is self.root, f"{self.here.tag} is not closed"

    def handle_starttag(self, tag, attributes):
        element = Element(tag, dict(attributes), self.here)
        self.here.children.append(element)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        for name, value in attributes:
            if name in ("src", "href", "srcset", "action", "xlink:href", "data") and not (value or "").startswith("#"):
                self.fetched.append(value)
            if name == "id":
                self.ids.append(value)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.here.tag == tag, f"</{tag}> in {self.here.tag}"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)
