"""The comparison as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FIRST_PASS, Comparison
from asr_rescore.word_errors import ErrorCount

TITLE = "Word error rates after rescoring"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #333; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
li { margin: .2rem 0; }
@media print { body { margin: 0; max-width: none; } tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; } }
"""
MAX_CHANGED = 15


def to_html(comparison: Comparison) -> str:
    """The page: the table, its notes, errors by kind, and the utterances that changed most."""
    parts = [
        f"<h1>{TITLE}</h1>",
        _table("Systems", comparison.header(), comparison.rows()),
        *(_list(heading, lines) for heading, lines in comparison.notes().items()),
        "<h2>Errors by kind</h2>",
        _table(
            "First pass and after rescoring",
            ["system", "decoding", "words", "ins", "del", "sub", "%WER", "%SER"],
            _error_rows(comparison),
        ),
        "<h2>Utterances that changed most</h2>",
        *(
            _changes(f"{system}, {comparison.label(first_pass)}", report)
            for (system, first_pass), report in comparison.cells.items()
        ),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{TITLE}</title><style>{STYLE}</style></head>\n<body>" + "\n".join(parts) + "</body></html>\n"
    )


def _list(heading: str, lines: Sequence[str]) -> str:
    return f"<h2>{escape(heading)}</h2><ul>" + "".join(f"<li>{escape(line)}</li>\n" for line in lines) + "</ul>"


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _error_rows(comparison: Comparison) -> Iterator[list[str]]:
    shown = set()
    for (system, first_pass), report in comparison.cells.items():
        label = comparison.label(first_pass)
        if first_pass not in shown:
            shown.add(first_pass)
            yield [FIRST_PASS, label, *_error_cells(report.first_pass_total)]
        yield [system, label, *_error_cells(report.total)]


def _error_cells(total: ErrorCount) -> list[str]:
    counts = (total.reference_words, total.insertions, total.deletions, total.substitutions)
    return [*map(str, counts), f"{total.wer:.2f}", f"{total.ser:.2f}"]


def _changes(title: str, report: SystemReport) -> str:
    change = {utt: report.rescored[utt].errors - report.first_pass[utt].errors for utt in report.rescored}
    worse = sorted((utt for utt in change if change[utt] > 0), key=lambda utt: (-change[utt], utt))
    better = sorted((utt for utt in change if change[utt] < 0), key=lambda utt: (change[utt], utt))
    rows = [
        [utt, str(report.first_pass[utt].errors), str(report.rescored[utt].errors), f"{change[utt]:+d}"]
        for utt in [*better[:MAX_CHANGED], *worse[:MAX_CHANGED]]
    ]
    summary = f"{title}: {len(better)} utterances better, {len(worse)} worse"
    table = _table("Most helped and most harmed", ["utterance", "errors before", "after", "change"], rows)
    return f"<details><summary>{escape(summary)}</summary>{table}</details>"
