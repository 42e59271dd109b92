"""The answer of a comparison in one sentence: which system is best, by how much, and whether by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from asr_rescore.report.pairs import PairTests, speakers_of
from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FIRST_PASS, Comparison, FirstPass
from asr_rescore.statistics.bootstrap import Gain, PairedBootstrap
from asr_rescore.statistics.matched_pairs import shown_p
from asr_rescore.word_errors import ErrorCount

RIVALS_SHOWN = 3


@dataclass(frozen=True)
class Verdict:
    """The best system on the evaluation sets.

    The evaluation sets are those on which no system's weights were tuned; if there are none, all sets. An utterance
    that was decoded several times, for example with two dictionaries, is resampled with all of its decodings.

    Attributes:
        system: the system with the fewest errors, of those that were run on most of the sets.
        reports: first pass → its report.
        tuned_here: whether the weights were tuned on these very sets.
        gain: how much better it is than its first pass, all sets taken together.
        by_speaker: the same, over resampled speakers; None if they are not known.
        oracle: ``lattice oracle`` or ``N-best oracle``; empty if there is none.
        gap_closed: how much of the difference between the first pass and the oracle is gone, in percent; None without
            an oracle, or if the first pass is as good as it.
        significant: first pass → whether MAPSSWE finds a difference; None if it could not be computed.
        largest_p: the largest p-value (MAPSSWE, Holm) of all sets; None if it could not be computed.
        rivals: other systems on the same sets that may be as good: the 95 % interval of the difference reaches 0. Those
            with the fewest errors come first.
    """

    system: str
    reports: Mapping[FirstPass, SystemReport]
    tuned_here: bool
    gain: Gain
    by_speaker: Gain | None
    oracle: str
    gap_closed: float | None
    significant: Mapping[FirstPass, bool | None]
    largest_p: float | None
    rivals: tuple[str, ...] = ()

    @classmethod
    def of(cls, comparison: Comparison, tests: Mapping[FirstPass, PairTests]) -> Verdict:
        """Find the best system of a comparison, given the tests on each first pass."""
        first_passes = evaluation_sets(comparison)
        by_system = {
            system: {
                where: comparison.cells[system, where] for where in first_passes if (system, where) in comparison.cells
            }
            for system in comparison.systems
        }
        most = max(map(len, by_system.values()))
        candidates = {system: reports for system, reports in by_system.items() if len(reports) == most}
        best, reports = min(candidates.items(), key=lambda item: _total(item[1], first=False).wer)
        pooled = {
            "rescored": _pooled(reports, first=False),
            "first pass": _pooled(reports, first=True),
        }
        speakers = _speakers(reports)
        pairs = {where: tests[where].of(best) for where in reports}
        p_values = [pair.mapsswe_p for pair in pairs.values()]
        known = [p for p in p_values if p is not None]
        oracle, gap_closed = _gap_closed(reports)
        return cls(
            system=best,
            reports=reports,
            tuned_here=any(report.tuned_here for report in reports.values()),
            gain=PairedBootstrap(pooled).gain("rescored", "first pass"),
            by_speaker=PairedBootstrap(pooled, speakers).gain("rescored", "first pass") if speakers else None,
            oracle=oracle,
            gap_closed=gap_closed,
            significant={where: pair.significant for where, pair in pairs.items()},
            largest_p=max(known) if known and len(known) == len(p_values) else None,
            rivals=tuple(_rivals(best, candidates)),
        )

    @property
    def total(self) -> ErrorCount:
        """The errors of the best system on all sets."""
        return _total(self.reports, first=False)

    @property
    def first_pass_total(self) -> ErrorCount:
        """The errors of its first pass on all sets."""
        return _total(self.reports, first=True)

    def sentence(self, comparison: Comparison) -> str:
        """The verdict in one sentence."""
        rates = ", ".join(
            f"{report.total.wer:.2f} on {comparison.label(where)}" for where, report in self.reports.items()
        )
        sets = "the sets that its weights were tuned on" if self.tuned_here else "the evaluation sets"
        sets += " together"
        only = len(self.reports) == 1
        if only:
            [where] = self.reports
            sets = comparison.label(where) + (", on which its weights were tuned" if self.tuned_here else "")
        if self.gain.points <= 0:
            change = f"{-self.gain.points:.2f} points more than" if self.gain.points else "as much as"
            start = f"Rescoring does not help: the best system, {self.system}, has a WER of {self.total.wer:.2f} % "
            start += f"on {sets}"
        else:
            change = f"{self.gain.points:.2f} points less than"
            start = f"{self.system} is best, with"
            if self.gain.low <= 0:
                start = f"No system is clearly better than the {FIRST_PASS}: the best, {self.system}, has"
            start += f" a WER of {self.total.wer:.2f} % on {sets}"
        parts = [
            start + ("" if only else f" ({rates})"),
            f"{change} the {FIRST_PASS} with {self.first_pass_total.wer:.2f} % (95 % interval of the gain "
            f"{self.gain.low:.2f} to {self.gain.high:.2f})",
        ]
        if self.gap_closed is not None and self.gain.points > 0:
            parts.append(f"which closes {self.gap_closed:.0f} % of the gap to the {self.oracle}")
        return ", ".join(parts) + f"; {self._significance()}." + self._rivals_sentence()

    def _rivals_sentence(self) -> str:
        if not self.rivals or self.gain.low <= 0:
            return ""
        shown = list(self.rivals)
        if len(shown) > RIVALS_SHOWN + 1:  # "1 more" would be no shorter than its name
            shown[RIVALS_SHOWN:] = [f"{len(shown) - RIVALS_SHOWN} more"]
        named = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
        return f" It is not clearly better than {named} (95 % intervals of the differences)."

    def _significance(self) -> str:
        judged = list(self.significant.values())
        if None in judged:
            return "whether by chance cannot be tested by MAPSSWE, because transcripts are missing"
        found = sum(map(bool, judged))
        p = "" if self.largest_p is None else f" (p {shown_p(self.largest_p, 3)})"
        if not found:
            return f"the difference is not significant by MAPSSWE{p}"
        where = f" on {found} of {len(judged)} sets"
        if found == len(judged):
            where = "" if found == 1 else " on each set"
        if self.gain.low <= 0 < self.gain.points:  # the sentence has begun with: no system is clearly better
            return f"by MAPSSWE it would be better{where}{p}: the tests disagree, so take it as open"
        return f"the difference is significant by MAPSSWE{where}{p}"


def evaluation_sets(comparison: Comparison) -> list[FirstPass]:
    """The first passes on which no weights were tuned; all of them if there are none."""
    everything = [where for first_passes in comparison.sets.values() for where in first_passes]
    frozen = [where for where in everything if not any(r.tuned_here for r in comparison.of_first_pass(where))]
    return frozen or everything


def _rivals(best: str, candidates: Mapping[str, Mapping[FirstPass, SystemReport]]) -> Iterator[str]:
    """The systems that may be as good as the best one, by paired bootstrap; those with the fewest errors first."""
    ordered = sorted(candidates, key=lambda system: _total(candidates[system], first=False).wer)
    counts = {system: _pooled(candidates[system], first=False) for system in ordered}
    for system in ordered:
        if system != best and counts[system].keys() == counts[best].keys():
            pair = PairedBootstrap({name: counts[name] for name in (best, system)})
            if pair.gain(best, system).low <= 0:
                yield system


def _total(reports: Mapping[FirstPass, SystemReport], first: bool) -> ErrorCount:
    return ErrorCount.total(report.first_pass_total if first else report.total for report in reports.values())


def _pooled(reports: Mapping[FirstPass, SystemReport], first: bool) -> dict[str, ErrorCount]:
    """Data set and utterance → its errors in all decodings of the utterance."""
    pooled: dict[str, ErrorCount] = {}
    for where, report in reports.items():
        for utt, count in (report.first_pass if first else report.rescored).items():
            key = f"{where.data} {utt}"
            pooled[key] = pooled[key] + count if key in pooled else count
    return pooled


def _speakers(reports: Mapping[FirstPass, SystemReport]) -> dict[str, str] | None:
    """Data set and utterance → speaker; None if some are not known."""
    speakers: dict[str, str] = {}
    for where, report in reports.items():
        found = speakers_of([report])
        if found is None:
            return None
        speakers.update({f"{where.data} {utt}": speaker for utt, speaker in found.items()})
    return speakers


def _gap_closed(reports: Mapping[FirstPass, SystemReport]) -> tuple[str, float | None]:
    """The oracle that all reports have, and how much of the gap to it is closed, in percent."""
    for name in ("lattice oracle", "N-best oracle"):
        oracles = [r.lattice_oracle if name == "lattice oracle" else r.nbest_oracle for r in reports.values()]
        known = [oracle for oracle in oracles if oracle is not None]
        if len(known) == len(oracles):
            before = _total(reports, first=True).errors
            gap = before - ErrorCount.total(known).errors
            return name, 100 * (before - _total(reports, first=False).errors) / gap if gap > 0 else None
    return "", None
