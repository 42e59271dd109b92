"""The report in a terminal: the verdict, the table, and at most five lines of what else matters."""

from __future__ import annotations

from collections.abc import Iterator

from asr_rescore.report.advice import Advice
from asr_rescore.report.experiment import Experiment
from asr_rescore.report.table import STAR, markdown

MOST_LINES = 5


def to_summary(experiment: Experiment) -> str:
    """The verdict, the table of report.txt, and at most five lines."""
    comparison = experiment.comparison
    lines = list(_lines(experiment))
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], "and more: --details, or see the page"]
    table = markdown([comparison.header(), *comparison.rows()])
    return f"{experiment.sentence}\n\n{table}\n" + "".join(f"- {line}\n" for line in lines)


def _lines(experiment: Experiment) -> Iterator[str]:
    """What matters most comes first."""
    comparison = experiment.comparison
    shown = experiment.verdict.reports
    serious = [advice for advice in experiment.advice if advice.serious]
    for advice in serious:
        yield _line(advice)
    if comparison.starred:
        yield STAR
    several = [(data, places) for data, places in comparison.sets.items() if len(places) > 1]
    if several:
        yield "; ".join(f"{data}: {' / '.join(place.decoding for place in places)}" for data, places in several)
    for group in experiment.seeds:
        rates = [f"{comparison.label(where)} {group.text(where)}" for where in group.spreads if where in shown]
        if rates:
            yield f"{group.name}, {len(group.systems)} seeds: {'; '.join(rates)}"
    for advice in experiment.advice:
        if not advice.serious:
            yield _line(advice)
    if experiment.transcripts.missing:
        yield "some transcripts are missing, so the page does not show all utterances; it says which"


def _line(advice: Advice) -> str:
    """What was found, and the first place with its remedy."""
    if not advice.places:
        return f"{advice.title}: {advice.meaning}"
    others = len(advice.places) - 1
    return f"{advice.title}: {advice.places[0]}" + (f" (and {others} more: --details)" if others else "")
