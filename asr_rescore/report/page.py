"""The report of an experiment as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asr_rescore import __version__
from asr_rescore.report.advice import likely_cause
from asr_rescore.report.experiment import Experiment
from asr_rescore.report.pairs import METHODS, Pair, PairTests
from asr_rescore.report.plots.page import plots
from asr_rescore.report.table import FIRST_PASS, NOTHING, Comparison, FirstPass
from asr_rescore.report.utterances import COSTS, utterance_data
from asr_rescore.report.warning import with_flags
from asr_rescore.report.word_changes import WordChanges, most
from asr_rescore.word_errors import ErrorCount

TITLE = "Word error rates after rescoring"
SECTIONS = {
    "systems": "Systems",
    "diagnosis": "Diagnosis",
    "significance": "Significance",
    "utterances": "Utterances",
    "words": "Words",
    "details": "Details",
}
FIGURES = {
    "systems": (
        "WER by system",
        "A line is the 95 % interval of a rate. The systems were scored on the same utterances, so overlapping lines "
        "do not mean that a difference is chance: see Significance.",
    ),
    "sizes": (
        "Size and WER",
        "Parameters of the language models against WER on the evaluation sets. Dashed: the first pass.",
    ),
    "training": (
        "Training",
        "Perplexity of the valid text, training loss and learning rate, as far as they were logged and vary. Losses of "
        "different objectives cannot be compared. A dotted line marks where the weights began to be averaged.",
    ),
    "weights": (
        "LM weight and LMWT",
        "Error rate at each sum of LM weights and LMWT, of the best system whose weights were tuned, on the data that "
        "they were tuned on; yellow is best. The ring marks the chosen weights.",
    ),
    "grid": (
        "LMWT and word insertion penalty",
        "WER of the best system at each LMWT and word insertion penalty (WIP). The ring marks the weights that "
        "were used. To choose others by this plot would be to tune them on these very sets.",
    ),
    "depth": (
        "Number of hypotheses",
        "Error rate of the best system that rescored lists, if only the first hypotheses of each list are considered, "
        "with the same weights. Dotted: the best of these hypotheses; without marks, the best of the whole lattices.",
    ),
    "utterances": (
        "Utterances before and after",
        "Errors of each utterance of the evaluation sets, in the first pass and with the best system. Below the line, "
        "there are fewer with the system. The larger a dot, the more utterances.",
    ),
    "reliability": (
        "Confidences",
        "How often words of each confidence are correct. Confidences that mean what they say lie on the diagonal; "
        "below it, they are too high.",
    ),
}
WORDS_SHOWN = 15


def to_html(experiment: Experiment) -> str:
    """The page: verdict, table, plots, diagnosis, tests, utterances, words, and all the details."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("asr_rescore", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    return environment.get_template("page.html").render(_values(experiment))


def _values(experiment: Experiment) -> dict[str, Any]:
    """What the template shows."""
    comparison = experiment.comparison
    drawn = plots(experiment)
    data = utterance_data(experiment)
    places = experiment.first_passes
    first_shown = next(iter(experiment.verdict.reports))
    return {
        "title": TITLE,
        "sections": SECTIONS.items(),
        "sentence": experiment.sentence,
        "remarks": list(_remarks(experiment)),
        "labels": [_label(comparison, where) for where in places],
        "starred": comparison.starred,
        "rows": list(_rows(experiment)),
        "seeds": list(_seeds(experiment)),
        "figures": [(name, *FIGURES[name]) for name in drawn],
        "plots": drawn,
        "all_advice": [
            {
                "title": advice.title,
                "meaning": advice.meaning,
                "places": advice.places,
                "serious": advice.serious,
            }
            for advice in experiment.advice
        ],
        "groups": [_group(comparison, where, experiment.tests[where]) for where in places],
        "methods": METHODS,
        "missing": list(_missing(experiment, data["left_out"])),
        "data": data,
        "shown_set": comparison.label(first_shown),
        "best": experiment.verdict.system,
        "words": list(_words(experiment)),
        "evaluation": ", ".join(map(comparison.label, experiment.verdict.reports)),
        "oov": list(_oov(experiment)),
        "kinds": list(error_rows(comparison)),
        "notes": list(experiment.notes().items()),
        "with_costs": any(entry[COSTS] for shown in data["sets"] for entry in shown["utts"]),
        "version": __version__,
    }


def _label(comparison: Comparison, where: FirstPass) -> str:
    """Data set and decode directory, each once."""
    label = comparison.label(where)
    return label if label != where.decoding else f"{where.data}: {label}"


def _remarks(experiment: Experiment) -> Iterator[str]:
    verdict = experiment.verdict
    if verdict.by_speaker is not None:
        yield (
            f"Resampling the {verdict.by_speaker.units} speakers instead of utterances, the interval of the gain is "
            f"{verdict.by_speaker.low:.2f} to {verdict.by_speaker.high:.2f} points."
        )
    if verdict.gain.points <= 0:
        yield f"The likely cause: {likely_cause(next(iter(verdict.reports.values())))}."
    elif len(experiment.comparison.systems) > 1:
        yield "The best system was found on these very sets, so its gain is a little too good."
    for line in experiment.unread:
        yield f"Not shown: {with_flags(line)}"
    if experiment.doubts:
        yield experiment.doubts


def _missing(experiment: Experiment, left_out: int) -> Iterator[str]:
    if left_out:
        yield (
            f"{left_out} utterances are left out, because the page would be too large; those that changed most are "
            "here."
        )
    yield from experiment.transcripts.missing


def _number(value: float, text: str, **more: Any) -> dict[str, Any]:
    """A cell: its text, and the value that it is sorted by."""
    return {"value": "" if math.isnan(value) else repr(value), "text": text, **more}


def _rows(experiment: Experiment) -> Iterator[dict[str, Any]]:
    comparison = experiment.comparison
    places = experiment.first_passes
    lowest = {where: min(report.total.errors for report in comparison.of_first_pass(where)) for where in places}

    def rate(where: FirstPass, count: ErrorCount | None, name: str = "", star: bool = False) -> dict[str, Any]:
        """A cell; ``name`` is that of a system or of the first pass, whose interval is known."""
        if count is None:
            return _number(math.nan, NOTHING, half="", lowest=False)
        half = f"{experiment.tests[where].rates[name][1]:.2f}" if name else ""
        is_lowest = bool(name) and count.errors == lowest[where]
        return _number(count.wer, f"{count.wer:.2f}{'*' if star else ''}", half=half, lowest=is_lowest)

    firsts = {where: comparison.of_first_pass(where)[0] for where in places}
    yield _reference(
        FIRST_PASS, [rate(where, r.first_pass_total, FIRST_PASS, r.tuned_here) for where, r in firsts.items()]
    )
    for system in comparison.systems:
        reports = {where: comparison.cells.get((system, where)) for where in places}
        lms = next(report for report in reports.values() if report is not None).lms
        ppls = [lm.valid_ppl for lm in lms]
        size = sum(lm.parameters for lm in lms)
        yield {
            "name": system,
            "kind": "system",
            "best": system == experiment.verdict.system and experiment.verdict.gain.points > 0,
            "parameters": _number(size, f"{size:,}"),
            "ppl": _number(
                ppls[0] if len(ppls) == 1 and ppls[0] is not None else math.nan,
                " + ".join(NOTHING if ppl is None else f"{ppl:.2f}" for ppl in ppls),
            ),
            "time": _time(experiment, system),
            "cells": [
                rate(where, None) if report is None else rate(where, report.total, system, report.tuned_here)
                for where, report in reports.items()
            ],
        }
    for name in ("N-best oracle", "lattice oracle"):
        yield _reference(name, [rate(where, _oracle(comparison, where, name)) for where in places])
    for row in comparison.published:
        cells = [_number(math.nan, row.wer_on(where.data) or NOTHING, half="", lowest=False) for where in places]
        yield _reference(row.name, cells, row.parameters, row.valid_ppl)


def _reference(name: str, cells: Sequence[dict[str, Any]], parameters: str = "", ppl: str = "") -> dict[str, Any]:
    """A row of what the systems are compared with."""
    return {
        "name": name,
        "kind": "reference",
        "best": False,
        "parameters": _number(math.nan, parameters or NOTHING),
        "ppl": _number(math.nan, ppl or NOTHING),
        "time": _number(math.nan, NOTHING),
        "cells": cells,
    }


def _time(experiment: Experiment, system: str) -> dict[str, Any]:
    """Seconds of the jobs per utterance, all first passes taken together."""
    seconds = {where: time for (name, where), time in experiment.findings.seconds.items() if name == system}
    utterances = sum(len(experiment.comparison.cells[system, where].rescored) for where in seconds)
    if not utterances:
        return _number(math.nan, NOTHING)
    each = sum(seconds.values()) / utterances
    return _number(each, f"{each:.3g}")


def _seeds(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """The rows of the table of models with several seeds."""
    for group in experiment.seeds:
        cells = []
        for where in experiment.first_passes:
            spread = group.spreads.get(where)
            if spread is None:
                cells.append(_number(math.nan, NOTHING, more=[]))
                continue
            star = "*" if where in group.tuned_here else ""
            more = [
                f"± {spread.half:.2f}, SD {spread.deviation:.2f}",
                f"{min(spread.rates):.2f} to {max(spread.rates):.2f}",
            ]
            cells.append(_number(spread.mean, f"{spread.mean:.2f}{star}", more=more))
        yield {"name": group.name, "seeds": ", ".join(map(str, group.seeds)), "cells": cells}


def _oracle(comparison: Comparison, where: FirstPass, name: str) -> ErrorCount | None:
    """The first oracle that a report on the first pass has, as in the table of report.txt."""
    for report in comparison.of_first_pass(where):
        count = report.nbest_oracle if name == "N-best oracle" else report.lattice_oracle
        if count is not None:
            return count
    return None


def _group(comparison: Comparison, where: FirstPass, tests: PairTests) -> dict[str, Any]:
    """The tests on one first pass, as two tables."""
    by_speaker = tests.with_first_pass[0].by_speaker
    tables = [
        (f"Each system compared with the {FIRST_PASS}", [_pair(pair, pair.first) for pair in tests.with_first_pass]),
        (
            f"{tests.best}, which has the fewest errors, compared with each other system",
            [_pair(pair, pair.second) for pair in tests.with_best],
        ),
    ]
    return {
        "label": _label(comparison, where),
        "by_speaker": by_speaker.units if by_speaker else 0,
        "tables": [table for table in tables if table[1]],
    }


def _pair(pair: Pair, name: str) -> dict[str, Any]:
    gains = [pair.gain] + ([pair.by_speaker] if pair.by_speaker else [])
    p_values = [None if pair.mapsswe is None else pair.mapsswe.p, pair.mapsswe_p, pair.mcnemar.p, pair.mcnemar_p]
    cells = [
        _number(pair.gain.points, f"{pair.gain.points:+.2f}"),
        *(_number(gain.low, f"{gain.low:.2f} to {gain.high:.2f}") for gain in gains),
        _number(pair.gain.fewer, f"{pair.gain.fewer:.2f}"),
        _number(pair.gain.probability, f"{pair.gain.probability:.2f}"),
        *(_number(math.nan, NOTHING) if p is None else _number(p, p_value(p)) for p in p_values),
    ]
    return {"name": name, "cells": cells, "significant": pair.significant}


def p_value(p: float) -> str:
    """A p-value with three digits after the point."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def error_rows(comparison: Comparison) -> Iterator[list[str]]:
    """Errors by kind: the header, then a row for each first pass and each result."""
    yield ["system", "first pass", "words", "ins", "del", "sub", "%WER", "%SER"]
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


def _words(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """The words of each system, the best one first."""
    best = experiment.verdict.system
    for system in sorted(experiment.comparison.systems, key=lambda name: name != best):
        changes = experiment.words(system)
        if changes is not None:
            yield {"name": system, "tables": list(_word_tables(experiment, system, changes))}


def _word_tables(experiment: Experiment, system: str, changes: WordChanges) -> Iterator[dict[str, Any]]:
    for caption, counts, opposite, column in (
        ("Most often fixed", changes.fixed, changes.broken, "broken"),
        ("Most often broken", changes.broken, changes.fixed, "fixed"),
    ):
        rows = [(word, times, opposite[word]) for word, times in most(counts, WORDS_SHOWN)]
        yield {"caption": caption, "header": ("word", caption.split()[-1], column), "rows": rows}
    wrong = [
        (word, changes.said[word], times, times - changes.broken[word] + changes.fixed[word])
        for word, times in most(changes.wrong, WORDS_SHOWN)
    ]
    yield {"caption": "Most often wrong", "header": ("word", "said", "wrong", "wrong before"), "rows": wrong}
    rows = [
        (f"{said} → {heard}", times, changes.confusions_before[said, heard])
        for (said, heard), times in _most_confused(changes)
    ]
    yield {"caption": "Most often confused", "header": ("said → heard", "after", "before"), "rows": rows}
    for name in _lm_names(experiment, system):
        vocabulary = experiment.vocabularies.get(name)
        if vocabulary is not None:
            found = changes.oov(vocabulary.is_oov)
            caption = f"Words of the references that {name} does not know: {len(found)}"
            yield {"caption": caption, "header": ("word", "said", "wrong"), "rows": found[:WORDS_SHOWN]}


def _most_confused(changes: WordChanges) -> list[tuple[tuple[str, str], int]]:
    return sorted(changes.confusions.items(), key=lambda item: (-item[1], item[0]))[:WORDS_SHOWN]


def _lm_names(experiment: Experiment, system: str) -> Sequence[str]:
    reports: Mapping[Any, Any] = experiment.comparison.cells
    return list(dict.fromkeys(lm.name for (name, _), report in reports.items() if name == system for lm in report.lms))


def _oov(experiment: Experiment) -> Iterator[str]:
    """How many words of the first pass's hypotheses each language model does not know."""
    comparison = experiment.comparison
    for (_, where), report in comparison.cells.items():
        for count in report.oov:
            if count.oov_tokens:
                yield f"{comparison.label(where)}: {count}"
