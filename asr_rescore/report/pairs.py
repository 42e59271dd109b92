"""Two systems compared on the same utterances, by every test there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FIRST_PASS, Comparison, FirstPass
from asr_rescore.report.transcripts import Transcripts
from asr_rescore.statistics.bootstrap import Gain, PairedBootstrap
from asr_rescore.statistics.matched_pairs import MatchedPairs, holm, mapsswe, mcnemar, shown_p
from asr_rescore.word_alignment import SCLITE, Alignment, align
from asr_rescore.word_errors import ErrorCount

LEVEL = 0.05  # below this p-value a difference is called significant
FEWEST_SPEAKERS = 2  # one speaker cannot be resampled
METHODS = (
    "95 % intervals: bootstrap over utterances, 10,000 replications, mean ± 1.96 standard deviations, as in Kaldi's "
    "compute-wer-bootci",
    "gain: paired bootstrap; “fewer” is the share of replications with strictly fewer errors, as Kaldi counts; in "
    "“ties half” equal numbers of errors count half",
    "speakers: the same bootstrap over speakers with all their utterances (Liu and Peng 2019), because the errors of "
    "a speaker are not independent",
    "MAPSSWE: NIST's matched-pairs sentence-segment word error test; McNemar: exact test of which sentences are right; "
    "two-tailed p-values",
    "Holm: p-values corrected for the number of comparisons in the same column of the same first pass",
)


@dataclass(frozen=True)
class Pair:
    """The comparison of two systems on one first pass.

    Attributes:
        first, second: their names; ``FIRST_PASS`` is a name, too.
        gain: how much better the first is, by bootstrap over utterances.
        by_speaker: the same over speakers; None if the speakers are not known, or there is only one.
        mapsswe: None without transcripts.
        mcnemar: the test on sentences.
        mapsswe_p, mcnemar_p: p-values by Holm's method, over all comparisons made together.
    """

    first: str
    second: str
    gain: Gain
    by_speaker: Gain | None
    mapsswe: MatchedPairs | None
    mcnemar: MatchedPairs
    mapsswe_p: float | None = None
    mcnemar_p: float | None = None

    @property
    def significant(self) -> bool | None:
        """Whether MAPSSWE, with Holm's correction, finds a difference; None if it could not be computed."""
        return None if self.mapsswe_p is None else self.mapsswe_p < LEVEL


@dataclass(frozen=True)
class PairTests:
    """All comparisons on one first pass.

    Attributes:
        best: the system with the fewest errors.
        with_first_pass: each system and the first pass.
        with_best: the best system and each other one.
        rates: system → WER and half the width of its 95 % interval, in percent, as Kaldi's compute-wer-bootci finds
            them; ``FIRST_PASS`` → those of the first pass in the table.
    """

    best: str
    with_first_pass: tuple[Pair, ...]
    with_best: tuple[Pair, ...]
    rates: Mapping[str, tuple[float, float]]

    @classmethod
    def on(cls, comparison: Comparison, first_pass: FirstPass, transcripts: Transcripts) -> PairTests:
        """Compare the systems on one first pass."""
        reports = {report.system: report for report in comparison.of_first_pass(first_pass)}
        best = min(reports.values(), key=lambda report: report.total.errors).system
        counts: dict[str, Mapping[str, ErrorCount]] = {name: report.rescored for name, report in reports.items()}
        for name, report in reports.items():
            counts[_before(name)] = report.first_pass
        bootstrap = PairedBootstrap(counts)
        speakers = speakers_of(reports.values())
        by_speaker = PairedBootstrap(counts, speakers) if speakers else None
        alignments = _alignments(first_pass, transcripts)

        def right(name: str) -> list[bool]:
            return [not counts[name][utt].wrong_sentences for utt in reports[best].rescored]

        def pair(first: str, second: str, shown: str) -> Pair:
            one = alignments(first)
            other = alignments(second)
            return Pair(
                first=first,
                second=shown,
                gain=bootstrap.gain(first, second),
                by_speaker=None if by_speaker is None else by_speaker.gain(first, second),
                mapsswe=mapsswe(one, other) if one is not None and other is not None else None,
                mcnemar=mcnemar(right(first), right(second)),
            )

        return cls(
            best,
            corrected([pair(name, _before(name), FIRST_PASS) for name in reports]),
            corrected([pair(best, name, name) for name in reports if name != best]),
            {
                FIRST_PASS: bootstrap.rate(_before(next(iter(reports)))),
                **{name: bootstrap.rate(name) for name in reports},
            },
        )

    def of(self, system: str) -> Pair:
        """The comparison of a system with its first pass."""
        return next(pair for pair in self.with_first_pass if pair.first == system)


def pair_lines(tests: PairTests, label: str) -> Iterator[str]:
    """Each comparison on the first pass ``label`` in one line, for a text: gains with 95 % intervals, and p-values."""
    for pair in (*tests.with_first_pass, *tests.with_best):
        intervals = [f"{pair.gain.low:.2f} to {pair.gain.high:.2f}"]
        if pair.by_speaker is not None:
            speakers = pair.by_speaker
            intervals.append(f"by {speakers.units} speakers {speakers.low:.2f} to {speakers.high:.2f}")
        line = f"{pair.first} against {pair.second}, {label}: gain {pair.gain.points:+.2f} ({'; '.join(intervals)})"
        found = (("MAPSSWE", pair.mapsswe, pair.mapsswe_p), ("McNemar", pair.mcnemar, pair.mcnemar_p))
        for name, test, corrected_p in found:
            if test is not None and corrected_p is not None:
                line += f"; {name} p {shown_p(test.p)}, Holm {shown_p(corrected_p)}"
        yield line


def _before(system: str) -> str:
    """The name under which the first pass of a system is compared; first passes may differ in their weights."""
    return f"{FIRST_PASS}\n{system}"


def _alignments(first_pass: FirstPass, transcripts: Transcripts) -> Callable[[str], Mapping[str, Alignment] | None]:
    """Alignments of a system, or of the first pass that it rescored, as sclite makes them; None if unknown."""
    references = transcripts.references.get(first_pass, {})

    @cache
    def aligned(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> Alignment:
        return align(reference, hypothesis, SCLITE)

    @cache
    def of(name: str) -> Mapping[str, Alignment] | None:
        before, _, system = name.partition("\n")
        if system and before == FIRST_PASS:
            texts = transcripts.first_pass.get((system, first_pass))
        else:
            texts = transcripts.rescored.get((name, first_pass))
        if texts is None:
            return None
        return {utt: aligned(tuple(words), tuple(texts.get(utt, ()))) for utt, words in references.items()}

    return of


def speakers_of(reports: Iterable[SystemReport]) -> dict[str, str] | None:
    """Utterance → speaker if all utterances of some report have one and there are several speakers; else None."""
    for report in reports:
        speakers = {utt: report.speakers[utt] for utt in report.rescored if utt in report.speakers}
        if len(speakers) == len(report.rescored) and len(set(speakers.values())) >= FEWEST_SPEAKERS:
            return speakers
    return None


def corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs with p-values by Holm's method."""
    by_segments = iter(holm([pair.mapsswe.p for pair in pairs if pair.mapsswe is not None]))
    by_sentences = holm([pair.mcnemar.p for pair in pairs])
    return tuple(
        replace(pair, mapsswe_p=None if pair.mapsswe is None else next(by_segments), mcnemar_p=p)
        for pair, p in zip(pairs, by_sentences, strict=True)
    )
