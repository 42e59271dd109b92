"""Several systems side by side, in the shape of the paper's Table 4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from asr_rescore.errors import UsageError
from asr_rescore.report.significance import probability_of_improvement
from asr_rescore.report.system import SystemReport
from asr_rescore.word_errors import ErrorCount

FIRST_PASS = "first pass"
NOTHING = "–"
MOST_FAILURES = 5


@dataclass(frozen=True)
class Comparison:
    """Reports arranged by system, set and first pass.

    Attributes:
        systems: names, in the order given.
        sets: data set → the decode directories of it, in the order given.
        cells: (system, decoding) → report.
    """

    systems: tuple[str, ...]
    sets: Mapping[str, tuple[str, ...]]
    cells: Mapping[tuple[str, str], SystemReport]

    @classmethod
    def of(cls, reports: Iterable[SystemReport]) -> Comparison:
        """Arrange.

        Raises:
            UsageError: two reports on the same system and first pass, or first passes that are not the same.
        """
        cells: dict[tuple[str, str], SystemReport] = {}
        sets: dict[str, dict[str, None]] = {}
        first_passes: dict[str, SystemReport] = {}
        for report in reports:
            if (report.system, report.decoding) in cells:
                raise UsageError(f"two reports of {report.system} on {report.decoding}; give one")
            cells[report.system, report.decoding] = report
            sets.setdefault(report.data, {})[report.decoding] = None
            first = first_passes.setdefault(report.decoding, report)
            if first.first_pass.keys() != report.first_pass.keys():
                raise UsageError(
                    f"{first.system} and {report.system} were scored on different utterances of {report.decoding}"
                )
        if not cells:
            raise UsageError("no report to show")
        systems = tuple(dict.fromkeys(system for system, _ in cells))
        return cls(systems, {data: tuple(decodings) for data, decodings in sets.items()}, cells)

    def of_decoding(self, decoding: str) -> list[SystemReport]:
        """All systems' reports on one first pass."""
        return [self.cells[system, decoding] for system in self.systems if (system, decoding) in self.cells]

    def header(self) -> list[str]:
        """Column names."""
        return ["system", "parameters", "valid ppl", *(f"{data} %WER" for data in self.sets)]

    def rows(self) -> list[list[str]]:
        """First pass, systems, oracles; a WER has a star where its weights were tuned on that very set."""
        rows = [[FIRST_PASS, NOTHING, NOTHING, *self._rates(None, lambda report: report.first_pass_total, stars=True)]]
        for system in self.systems:
            lms = next(report for (name, _), report in self.cells.items() if name == system).lms
            rows.append(
                [
                    system,
                    f"{sum(lm.parameters for lm in lms):,}",
                    " + ".join(NOTHING if lm.valid_ppl is None else f"{lm.valid_ppl:.2f}" for lm in lms),
                    *self._rates(system, lambda report: report.total, stars=True),
                ]
            )
        rows.append(["N-best oracle", NOTHING, NOTHING, *self._rates(None, lambda report: report.nbest_oracle)])
        rows.append(["lattice oracle", NOTHING, NOTHING, *self._rates(None, lambda report: report.lattice_oracle)])
        return rows

    def _rates(
        self, system: str | None, errors: Callable[[SystemReport], ErrorCount | None], stars: bool = False
    ) -> list[str]:
        """A cell for each set: one rate for each of its first passes, of one system, or of the first that has it."""
        cells = []
        for decodings in self.sets.values():
            rates = []
            for decoding in decodings:
                reports = [report for report in self.of_decoding(decoding) if system in (None, report.system)]
                known = [(report, count) for report in reports if (count := errors(report)) is not None]
                star = "*" if stars and known and known[0][0].tuned_here else ""
                rates.append(f"{known[0][1].wer:.2f}{star}" if known else NOTHING)
            cells.append("/".join(rates))
        return cells

    def legend(self) -> Iterator[str]:
        """What the columns and the stars mean, and where the table's rows do not fit each other."""
        for data, decodings in self.sets.items():
            yield f"{data}: {' / '.join(decodings)}"
        if any(report.tuned_here for report in self.cells.values()):
            yield "*: weights tuned on this very set; without it, they were fixed before"
        for decoding in (decoding for decodings in self.sets.values() for decoding in decodings):
            shown, *others = self.of_decoding(decoding)
            shown = next((report for report in (shown, *others) if report.nbest_oracle is not None), shown)
            for report in others:
                oracles = {report.nbest_oracle, shown.nbest_oracle} - {None}
                if report.first_pass_total != shown.first_pass_total or len(oracles) > 1:
                    yield (
                        f"{report.system}, {decoding}: its first pass has {report.first_pass_total.wer:.2f} and its "
                        f"N-best oracle {report.nbest_oracle.wer:.2f}: other lists or other weights of the first pass "
                        "than those shown"
                    )

    def weights(self) -> Iterator[str]:
        """How each system was weighed on each first pass."""
        for (system, decoding), report in self.cells.items():
            yield f"{system}, {decoding}: {report.signature}"

    def failures(self) -> Iterator[str]:
        """What could not be done, or not whole; of many, the first few."""
        for (system, decoding), report in self.cells.items():
            for utt, reason in list(report.failures.items())[:MOST_FAILURES]:
                yield f"{system}, {decoding}: {utt}: {reason}"
            if len(report.failures) > MOST_FAILURES:
                yield f"{system}, {decoding}: and {len(report.failures) - MOST_FAILURES} more, see its failed.txt"

    def comparisons(self) -> Iterator[str]:
        """Each system against the first pass, and against the best system, by paired bootstrap."""
        for decodings in self.sets.values():
            for decoding in decodings:
                reports = self.of_decoding(decoding)
                best = min(reports, key=lambda report: report.total.errors)
                for report in reports:
                    sure = probability_of_improvement(report.rescored, report.first_pass)
                    line = f"{report.system}, {decoding}: better than the {FIRST_PASS} with probability {sure:.2f} %"
                    if report is not best:
                        sure = probability_of_improvement(best.rescored, report.rescored)
                        line += f"; {best.system} is better than it with {sure:.2f} %"
                    yield line

    def notes(self) -> dict[str, list[str]]:
        """Heading → lines, for what there is."""
        notes = {
            "Legend": self.legend(),
            "Weights": self.weights(),
            "Significance (paired bootstrap)": self.comparisons(),
            "Not done": self.failures(),
        }
        return {heading: lines for heading, found in notes.items() if (lines := list(found))}


def to_text(comparison: Comparison) -> str:
    """The table in Markdown, aligned for the eye too, and its notes."""
    parts = [markdown([comparison.header(), *comparison.rows()])]
    for heading, lines in comparison.notes().items():
        parts.append(f"{heading}:\n\n" + "".join(f"- {line}\n" for line in lines))
    return "\n".join(parts)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first being the header; all columns but the first to the right."""
    widths = [max(3, *(len(row[place]) for row in rows)) for place in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [
            f"{cell:<{width}}" if not place else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |\n"

    rule = (
        "|"
        + "|".join("-" * (width + 2) if not place else "-" * (width + 1) + ":" for place, width in enumerate(widths))
        + "|\n"
    )
    return line(rows[0]) + rule + "".join(line(row) for row in rows[1:])
