"""What the page needs to show every utterance: references, and hypotheses as what differs from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FIRST_PASS, Comparison, FirstPass
from asr_rescore.report.transcripts import Transcripts
from asr_rescore.report.word_changes import aligned
from asr_rescore.word_alignment import Alignment

LARGEST = 2_200_000  # characters of all sets together; utterances beyond are left out, and the page says so


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


def utterance_data(comparison: Comparison, transcripts: Transcripts) -> dict[str, Any]:
    """The utterances of all sets, as a value for JSON.

    Returns:
        ``sets``: for each first pass its ``name``, ``rows`` (the first pass and the systems) and ``utts``; an utterance
        is a list of its id, speaker, reference, the distinct lists of errors (:func:`edits`; null: no hypothesis), and
        for each row which of these lists it has. ``left_out``: how many utterances did not fit.
    """
    sets: list[dict[str, Any]] = []
    places = [where for first_passes in comparison.sets.values() for where in first_passes]
    places = [where for where in places if where in transcripts.references]
    left_out = 0
    for where in places:
        rows = _rows(where, transcripts)
        reports = comparison.of_first_pass(where)
        budget = LARGEST // len(places)
        utts = []
        for utt in _by_interest(reports):
            entry = _utterance(utt, reports[0], transcripts.references[where][utt], list(rows.values()))
            budget -= sum(map(len, entry[1:3])) + sum(len(text or "") + 4 for text in entry[3]) + 3 * len(rows) + 40
            if budget < 0:
                break
            utts.append(entry)
        left_out += len(transcripts.references[where]) - len(utts)
        utts.sort(key=lambda entry: str(entry[0]))
        sets.append({"name": comparison.label(where), "rows": list(rows), "utts": utts})
    return {"sets": sets, "left_out": left_out}


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
