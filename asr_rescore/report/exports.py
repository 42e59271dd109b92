"""The report of an experiment for other programs: Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from asr_rescore import __version__
from asr_rescore.report.experiment import SEEDS, Experiment
from asr_rescore.report.pairs import METHODS
from asr_rescore.report.seeds import seed_lines
from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FIRST_PASS, NOTHING, STAR, Comparison, FirstPass, markdown
from asr_rescore.word_errors import ErrorCount

KIND = "comparison of rescorings"  # tells the report.json of a comparison from that of a rescoring
CSV_COLUMNS = (
    *("system", "data", "first_pass", "tuned_here", "parameters", "valid_ppl", "reference_words", "insertions"),
    *("deletions", "substitutions", "wer", "wer_low", "wer_high", "ser", "gain", "gain_low", "gain_high"),
    *("mapsswe_p", "mapsswe_p_holm", "mcnemar_p", "mcnemar_p_holm", "reference_characters", "cer"),
    *("speakers", "speaker_gain_low", "speaker_gain_high"),
)
SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def to_markdown(experiment: Experiment) -> str:
    """The verdict, the table, and the comparison of each system with its first pass."""
    comparison = experiment.comparison
    lines = [f"- {line}\n" for line in comparison.legend()]
    parts = [f"{experiment.sentence}\n", _escaped(markdown([comparison.header(), *comparison.rows()])), "".join(lines)]
    for where, tests in experiment.tests.items():
        speakers = tests.with_first_pass[0].by_speaker
        by_speaker = [f"by {speakers.units} speakers"] if speakers else []
        rows = [["system", "gain", "95 % interval", *by_speaker, "MAPSSWE p (Holm)", "McNemar p (Holm)"]]
        rows += [
            [
                pair.first,
                f"{pair.gain.points:+.2f}",
                *(f"{gain.low:.2f} to {gain.high:.2f}" for gain in (pair.gain, pair.by_speaker) if gain is not None),
                *(_p(p) for p in (pair.mapsswe_p, pair.mcnemar_p)),
            ]
            for pair in tests.with_first_pass
        ]
        parts.append(f"Gain over the {FIRST_PASS}, {where.data}, {comparison.label(where)}:\n\n{markdown(rows)}")
    seeds = "".join(f"- {line}\n" for line in seed_lines(comparison, experiment.seeds))
    if seeds:
        parts.append(f"{SEEDS}:\n\n{_escaped(seeds)}")
    for advice in experiment.advice:
        places = "".join(f"- {place}\n" for place in advice.places)
        parts.append(f"**{advice.title}.** {advice.meaning}\n" + (f"\n{places}" if places else ""))
    parts.append("".join(f"- {method}\n" for method in METHODS))
    return "\n".join(parts)


def _escaped(table: str) -> str:
    """The stars of tuned weights would begin emphasis where Markdown is rendered."""
    return table.replace("*", r"\*") if "*" in table else table


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def to_csv(experiment: Experiment) -> str:
    """One row for each system, and for the first pass, on each first pass; rates in percent, not rounded."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in _results(experiment):
        ppls = [ppl for ppl in row.get("valid_ppl", ()) if ppl is not None]
        writer.writerow(row | {"tuned_here": int(row["tuned_here"]), "valid_ppl": "+".join(map(repr, ppls))})
    return stream.getvalue()


def _results(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """Each result, and the first pass on each set, under the names of CSV_COLUMNS, as far as they have a value."""
    comparison = experiment.comparison
    for where in experiment.first_passes:
        first, *_ = comparison.of_first_pass(where)
        rate = experiment.tests[where].rates[FIRST_PASS]
        in_characters = None if first.characters is None else first.characters.first_pass
        yield _result(FIRST_PASS, where, first, first.first_pass_total, rate, in_characters)
        for report in comparison.of_first_pass(where):
            pair = experiment.tests[where].of(report.system)
            rate = experiment.tests[where].rates[report.system]
            in_characters = None if report.characters is None else report.characters.rescored
            row = _result(report.system, where, report, report.total, rate, in_characters)
            row["parameters"] = sum(lm.parameters for lm in report.lms)
            row["valid_ppl"] = [lm.valid_ppl for lm in report.lms]
            row |= {"gain": pair.gain.points, "gain_low": pair.gain.low, "gain_high": pair.gain.high}
            if pair.by_speaker is not None:
                speakers = pair.by_speaker
                row |= {"speakers": speakers.units}
                row |= {"speaker_gain_low": speakers.low, "speaker_gain_high": speakers.high}
            row |= {"mapsswe_p": None if pair.mapsswe is None else pair.mapsswe.p, "mapsswe_p_holm": pair.mapsswe_p}
            row |= {"mcnemar_p": pair.mcnemar.p, "mcnemar_p_holm": pair.mcnemar_p}
            yield row


def _result(
    name: str,
    where: FirstPass,
    report: SystemReport,
    total: ErrorCount,
    rate: tuple[float, float],
    in_characters: ErrorCount | None,
) -> dict[str, Any]:
    mean, half = rate
    return {
        "system": name,
        "data": where.data,
        "first_pass": where.decoding,
        "tuned_here": report.tuned_here,
        "reference_words": total.reference_words,
        "insertions": total.insertions,
        "deletions": total.deletions,
        "substitutions": total.substitutions,
        "wer": total.wer,
        "wer_low": mean - half,
        "wer_high": mean + half,
        "ser": total.ser,
        "reference_characters": None if in_characters is None else in_characters.reference_words,
        "cer": None if in_characters is None else in_characters.wer,
    }


def to_latex(experiment: Experiment) -> str:
    """The table for a paper, with the rules of the package booktabs; if there are seeds, a second table after it."""
    comparison = experiment.comparison
    header = comparison.header()
    rows = comparison.rows()
    systems = len(comparison.systems)
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        "\\toprule",
        _latex_row(header),
        "\\midrule",
        _latex_row(rows[0]),
        "\\midrule",
        *map(_latex_row, rows[1 : systems + 1]),
        "\\midrule",
        *map(_latex_row, rows[systems + 1 :]),
        "\\bottomrule",
        *_latex_note(comparison, len(header)),
        "\\end{tabular}",
        *_latex_seeds(experiment),
    ]
    return "".join(f"{line}\n" for line in lines)


def _latex_seeds(experiment: Experiment) -> Iterator[str]:
    """A second table with the means over seeds, if there are any."""
    if not experiment.seeds:
        return
    places = [where for where in experiment.first_passes if any(where in group.spreads for group in experiment.seeds)]
    yield f"% {SEEDS}"
    yield f"\\begin{{tabular}}{{ll{'r' * len(places)}}}"
    yield "\\toprule"
    yield _latex_row(["model", "seeds", *map(experiment.comparison.label, places)])
    yield "\\midrule"
    for group in experiment.seeds:
        cells = [group.mean_text(where) if where in group.spreads else NOTHING for where in places]
        yield _latex_row([group.name, ", ".join(map(str, group.seeds)), *cells])
    yield "\\bottomrule"
    yield "\\end{tabular}"


def _latex_note(comparison: Comparison, columns: int) -> Iterator[str]:
    """The meaning of the stars, as a row below the table."""
    if comparison.starred:
        yield f"\\multicolumn{{{columns}}}{{l}}{{\\footnotesize {STAR}}} \\\\"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(SPECIAL.get(character, character) for character in cell) for cell in cells) + r" \\"


def to_json(experiment: Experiment) -> str:
    """Everything that the page tells, but for the utterances and words; unknown numbers are null."""
    comparison = experiment.comparison
    verdict = experiment.verdict
    tree = {
        "kind": KIND,
        "version": __version__,
        "summary": experiment.sentence,
        "best": {
            "system": verdict.system,
            "first_passes": [where._asdict() for where in verdict.reports],
            "tuned_here": verdict.tuned_here,
            "wer": verdict.total.wer,
            "first_pass_wer": verdict.first_pass_total.wer,
            "gain": asdict(verdict.gain),
            "gain_by_speaker": verdict.by_speaker and asdict(verdict.by_speaker),
            "oracle": verdict.oracle,
            "gap_closed": verdict.gap_closed,
            "largest_mapsswe_p": verdict.largest_p,
        },
        "table": [dict(zip(comparison.header(), row, strict=True)) for row in comparison.rows()],
        "results": [{name: row.get(name) for name in CSV_COLUMNS} for row in _results(experiment)],
        "signatures": [
            {"system": system, "first_pass": where._asdict(), "signature": report.signature}
            for (system, where), report in comparison.cells.items()
        ],
        "tests": [
            {
                "first_pass": where._asdict(),
                "with_first_pass": [asdict(pair) for pair in tests.with_first_pass],
                "with_best": [asdict(pair) for pair in tests.with_best],
            }
            for where, tests in experiment.tests.items()
        ],
        "seeds": [
            {
                "name": group.name,
                "systems": group.systems,
                "seeds": group.seeds,
                "first_pass": where._asdict(),
                "tuned_here": where in group.tuned_here,
                "wer": spread.rates,
                "mean": spread.mean,
                "deviation": spread.deviation,
                "low": spread.mean - spread.half,
                "high": spread.mean + spread.half,
            }
            for group in experiment.seeds
            for where, spread in group.spreads.items()
        ],
        "methods": METHODS,
        "advice": [asdict(advice) for advice in experiment.advice],
    }
    return json.dumps(_finite(tree), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The value with None in place of nan and inf, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
