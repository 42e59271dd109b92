"""The comparison as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import Comparison

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #333; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
li { margin: .2rem 0; }
@media print { body { margin: 0; max-width: none; } details > * { display: block; } }
"""
MOST_CHANGED = 15


def to_html(comparison: Comparison) -> str:
    """Table, weights, significance, and the utterances that changed most."""
    parts = [
        "<h1>Word error rates after rescoring</h1>",
        _table("Systems", comparison.header(), comparison.rows()),
        "<h2>Notes</h2>",
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in comparison.notes()) + "</ul>",
        "<h2>Errors</h2>",
        _table(
            "Errors by kind",
            ["system", "first pass", "words", "ins", "del", "sub", "%WER", "%SER", "before"],
            [_error_row(report) for report in comparison.cells.values()],
        ),
        "<h2>Utterances that changed most</h2>",
        *(_changes(report) for report in comparison.cells.values()),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Word error rates after rescoring</title><style>{STYLE}</style></head>\n<body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _error_row(report: SystemReport) -> list[str]:
    total = report.total
    counts = (total.reference_words, total.insertions, total.deletions, total.substitutions)
    rates = (total.wer, total.ser, report.first_pass_total.wer)
    return [report.system, report.decoding, *map(str, counts), *(f"{rate:.2f}" for rate in rates)]


def _changes(report: SystemReport) -> str:
    change = {utt: report.rescored[utt].errors - report.first_pass[utt].errors for utt in report.rescored}
    ranked = sorted((utt for utt in change if change[utt]), key=lambda utt: (-change[utt], utt))
    shown = [*ranked[:MOST_CHANGED], *[utt for utt in ranked[-MOST_CHANGED:] if utt not in ranked[:MOST_CHANGED]]]
    rows = [
        [utt, str(report.first_pass[utt].errors), str(report.rescored[utt].errors), f"{change[utt]:+d}"]
        for utt in shown
    ]
    worse, better = (sum(sign * count > 0 for count in change.values()) for sign in (1, -1))
    summary = f"{report.system}, {report.decoding}: {better} utterances better, {worse} worse"
    table = _table("Most harmed and most helped", ["utterance", "errors before", "after", "change"], rows)
    return f"<details><summary>{escape(summary)}</summary>{table}</details>"
