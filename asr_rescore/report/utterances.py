"""What the page needs to show every utterance: references, and hypotheses as what differs from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr_rescore.report.choice_costs import ChoiceCosts
from asr_rescore.report.experiment import Experiment
from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FIRST_PASS, FirstPass
from asr_rescore.report.transcripts import Transcripts
from asr_rescore.report.word_changes import aligned
from asr_rescore.word_alignment import Alignment

LARGEST = 1_900_000  # characters of all sets together; utterances beyond are left out, and the page says so
LARGEST_COSTS = 500_000  # likewise of costs
MOST_OOV = 5000  # words of a language model that are marked
COSTS = 5  # the place of an utterance's costs in its list


def edits(pairs: Alignment) -> str:
    """The errors of a hypothesis, in one text: those of ``a b c`` against ``a x c d`` are ``1=x 3+d``.

    Each is the number of reference words before it, then ``=`` and the word in place of a reference word, ``-`` for a
    deletion, or ``+`` and the word that was inserted. Words have no blanks in them, so that blanks can separate them.
    """
    found = []
    place = 0
    for said, heard in pairs:
        if said is None:
            found.append(f"{place}+{heard}")
            continue
        if heard is None:
            found.append(f"{place}-")
        elif said != heard:
            found.append(f"{place}={heard}")
        place += 1
    return " ".join(found)


def utterance_data(experiment: Experiment) -> dict[str, Any]:
    """The utterances of all sets, as a value for JSON.

    Returns:
        ``sets``: for each first pass its ``name``, ``rows`` (the first pass and the systems), ``oov`` (for each row,
        which of the lists in ``oov`` has the words that its language models do not know) and ``utts``; an utterance is
        a list of its id, speaker, reference, the distinct lists of errors (:func:`edits`; null: no hypothesis), for
        each row which of these lists it has, and for each row its costs (:func:`_costs`; null: not known).
        ``oov``: lists of words. ``left_out``: how many utterances did not fit.
    """
    comparison = experiment.comparison
    transcripts = experiment.transcripts
    places = [where for where in experiment.first_passes if where in transcripts.references]
    shown = [_shown(experiment, where, len(places)) for where in places]
    oov: dict[tuple[str, ...], int] = {}
    for where, entry in zip(places, shown, strict=True):
        words = _words_of(entry["utts"], transcripts, where)
        lists = [_oov_words(experiment, row, where, words) for row in entry["rows"]]
        entry["oov"] = [oov.setdefault(found, len(oov)) for found in lists]
    left_out = sum(len(transcripts.references[where]) for where in places) - sum(len(entry["utts"]) for entry in shown)
    names = {where: comparison.label(where) for where in places}
    sets = [{"name": names[where], **entry} for where, entry in zip(places, shown, strict=True)]
    return {"sets": sets, "oov": [list(words) for words in oov], "left_out": left_out}


def _shown(experiment: Experiment, where: FirstPass, sets: int) -> dict[str, Any]:
    """The rows and utterances of one first pass, as many as fit."""
    transcripts = experiment.transcripts
    rows = _rows(where, transcripts)
    reports = experiment.comparison.of_first_pass(where)
    costs = [experiment.findings.costs.get((row, where), {}) for row in rows]
    budget = LARGEST // sets
    budget_of_costs = LARGEST_COSTS // sets
    utts = []
    for utt in _by_interest(reports):
        entry = _utterance(utt, reports[0], transcripts.references[where][utt], list(rows.values()))
        budget -= sum(map(len, entry[1:3])) + sum(len(text or "") + 4 for text in entry[3]) + 3 * len(rows) + 40
        if budget < 0:
            break
        found = [_costs(of_row.get(utt), utt, row, where, transcripts) for row, of_row in zip(rows, costs, strict=True)]
        size = sum(len(part) for of_row in found if of_row for part in map(str, of_row))
        fits = size <= budget_of_costs and size > 0
        budget_of_costs -= size if fits else 0
        utts.append([*entry, found if fits else None])
    utts.sort(key=lambda entry: str(entry[0]))
    return {"rows": list(rows), "utts": utts}


def _costs(
    costs: ChoiceCosts | None, utt: str, system: str, where: FirstPass, transcripts: Transcripts
) -> list[Any] | None:
    """Why a system chose another hypothesis than the first pass, in tenths of nats.

    Returns:
        The parts of the cost, a list of name and difference (chosen − first pass) each, and for each language model its
        name and the costs of the words of both hypotheses, separated by blanks. None if they are not known, or are not
        those of the transcripts.
    """
    cell = (system, where)
    if costs is None or cell not in transcripts.first_pass:
        return None
    sizes = [len(texts[cell].get(utt, ())) + 1 for texts in (transcripts.first_pass, transcripts.rescored)]
    parts = [[name, _tenths([after - before])] for name, (before, after) in costs.parts.items()]
    words = [[name, *map(_tenths, pair)] for name, pair in costs.words.items() if [len(both) for both in pair] == sizes]
    return [parts, words] if parts or words else None


def _tenths(costs: Sequence[float]) -> str:
    return " ".join(str(round(10 * cost)) for cost in costs)


def _words_of(utts: Sequence[Sequence[Any]], transcripts: Transcripts, where: FirstPass) -> set[str]:
    """All words that are shown of a first pass."""
    texts = [transcripts.references[where]]
    texts += [by_utt for (_, other), by_utt in transcripts.first_pass.items() if other == where]
    texts += [by_utt for (_, other), by_utt in transcripts.rescored.items() if other == where]
    return {word for by_utt in texts for utt, *_ in utts for word in by_utt.get(utt, ())}


def _oov_words(experiment: Experiment, row: str, where: FirstPass, words: set[str]) -> tuple[str, ...]:
    """Which of the words a row's language models do not know, as far as their vocabularies are known."""
    report = experiment.comparison.cells.get((row, where))
    names = [] if report is None else [lm.name for lm in report.lms]
    known = [experiment.vocabularies[name] for name in names if name in experiment.vocabularies]
    found = sorted(word for word in words if any(vocabulary.is_oov(word) for vocabulary in known))
    return tuple(found[:MOST_OOV])


def _rows(where: FirstPass, transcripts: Transcripts) -> dict[str, Mapping[str, Sequence[str]]]:
    """The name and transcripts of each row: the first pass, and the systems."""
    systems = transcripts.alike(where)
    rows: dict[str, Mapping[str, Sequence[str]]] = {}
    for system in systems:
        if (system, where) in transcripts.first_pass:
            rows.setdefault(FIRST_PASS, transcripts.first_pass[system, where])
    rows.update({system: transcripts.rescored[system, where] for system in systems})
    return rows


def _by_interest(reports: Sequence[SystemReport]) -> list[str]:
    """Utterances that changed most come first, then those with most errors; in case there are too many."""

    def interest(utt: str) -> tuple[int, int, str]:
        counts = [(report.first_pass[utt].errors, report.rescored[utt].errors) for report in reports]
        changes = sum(abs(before - after) for before, after in counts)
        return -changes, -sum(after for _, after in counts), utt

    return sorted(reports[0].rescored, key=interest)


def _utterance(
    utt: str, report: SystemReport, reference: Sequence[str], rows: Sequence[Mapping[str, Sequence[str]]]
) -> list[Any]:
    places: dict[str | None, int] = {}
    numbers = []
    for texts in rows:
        text = edits(aligned(reference, texts[utt])) if utt in texts else None
        numbers.append(places.setdefault(text, len(places)))
    return [utt, report.speakers.get(utt, ""), " ".join(reference), list(places), numbers]
