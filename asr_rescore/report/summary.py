"""The report in a terminal: the verdict and what to doubt in it, the table, and what else matters, in few lines."""

from __future__ import annotations

from collections.abc import Iterator

from asr_rescore.report.advice import Advice
from asr_rescore.report.experiment import Experiment
from asr_rescore.report.table import STAR, markdown

MOST_LINES = 5


def answer(experiment: Experiment) -> str:
    """The verdict, and a line of what to look into before it is believed, if there is anything."""
    return "".join(f"{line}\n" for line in (experiment.sentence, experiment.doubts) if line)


def to_summary(experiment: Experiment) -> str:
    """The verdict, the table of report.txt, and at most five lines: the first below the verdict, the others last."""
    comparison = experiment.comparison
    lines = list(_lines(experiment))
    room = MOST_LINES - bool(experiment.doubts)
    if len(lines) > room:
        lines = [*lines[: room - 1], "and more: --details, or see the page"]
    table = markdown([comparison.header(), *comparison.rows()])
    return f"{answer(experiment)}\n{table}\n" + "".join(f"- {line}\n" for line in lines)


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
