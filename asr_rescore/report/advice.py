"""What the warnings of reports and weak results mean, and what to do, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from asr_rescore.report.pairs import PairTests
from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import FIRST_PASS, Comparison, FirstPass
from asr_rescore.report.warning import MILD, WRONG_INPUTS, with_flags
from asr_rescore.statistics.matched_pairs import shown_p

# Code of a warning → what it is about, and what it means.
MEANINGS = {
    "missing_lattices": (
        "Many utterances have no lattice",
        "All of their words count as deletions, so the word error rate says little about the language model.",
    ),
    "skipped_lattices": (
        "Lattices were skipped",
        "The data directory does not list their utterances. If it should, its utt2spk is incomplete.",
    ),
    "rescored_input": (
        "The output of a rescoring was rescored",
        "Its graph costs hold the new language models already, and the old one with a part of its weight. Rescore the "
        "decode directory of the first pass instead.",
    ),
    "oov": (
        "A language model does not know many words",
        "An unknown word is expensive, so hypotheses with such words lose whether they are right or not. Most often "
        "the text has another spelling than the recogniser's words.txt, or is of another kind. Bring it into that "
        "spelling, and train again with prepare_text --lexicon <lang>/words.txt, which gives every word of the "
        "recogniser a probability.",
    ),
    "old_lm": (
        "The old language model does not seem to be the one in the lattices",
        "A cost is subtracted that was never added, so all rates after rescoring are wrong. Name the lang directory "
        "from which the decoding graph was made, or give --old-lm the language model of the last rescoring. If it is "
        "lost, use --no-old-lm.",
    ),
    "new_lm": (
        "A language model does not fit the speech",
        "It finds what was said far less likely than the old one does: it was trained on other text, or the lang "
        "directory's words.txt is not that of the decoding graph, so that it gets other words.",
    ),
    "first_pass_wer": (
        "The first pass recognises almost nothing",
        "Check the lattices and references before anything else; rescoring can only choose among what is in the "
        "lattices.",
    ),
    "short_lists": (
        "The N-best lists are short",
        "Better hypotheses are in the lattices, but not in the lists, so no language model can choose them. Rescore "
        "longer lists, or the lattices themselves.",
    ),
    "lmwt_edge": (
        "The best LMWT lies on the edge of the search",
        "A better one may lie beyond; rescore again with another range. If the first pass's best LMWT lies there, too, "
        "the range does not fit the lattices, and all rates may be much too high.",
    ),
    "first_pass_lmwt_edge": (
        "The first pass's best LMWT lies on the edge of the search",
        "The first pass may look worse than it is, and the gain larger. Rescore again with another range.",
    ),
    "flat_lmwt": (
        "The search for the best LMWT found no difference",
        "Either there are too few utterances to tune on, or the best LMWT lies far outside the range.",
    ),
    "wip_edge": (
        "The best word insertion penalty lies on the edge of the search",
        "A better one may lie beyond; rescore again with other penalties. The difference is usually small.",
    ),
    "lm_weight_zero": (
        "A language model was given no weight",
        "It does not help on the data that the weights were tuned on. Leave it out, or train it on more text, or on "
        "text of the kind that is spoken there.",
    ),
    "lm_weight_one": (
        "The old language model was given no weight",
        "The new one replaces it altogether. This is plausible if it was trained on much more text.",
    ),
}
OTHER = ("Another warning", "")
NO_HELP = "Rescoring does not help"
BY_CHANCE = "The gain may be chance"
TUNED = "All weights were tuned on the sets that are shown"
FAILED = "Some utterances failed"
# The share of the first pass's errors that even the best path of the lattices has.
NOTHING_TO_GAIN = 0.9
# If the first pass alone wants another LMWT, too, the range does not fit the lattices, and all rates are too high.
WRONG_RANGE = frozenset({"lmwt_edge", "first_pass_lmwt_edge"})
# Warnings of the search that explain why a rescoring does not help, if the language models are good enough.
WRONG_SEARCH = ("short_lists", "lmwt_edge", "flat_lmwt")
# A new LM of much use may have a somewhat higher perplexity on the old one's favourites, but not so many times as high.
UNLIKELY = 2.0


@dataclass(frozen=True)
class Advice:
    """Something to know about results.

    Attributes:
        title: what was found.
        meaning: what it means and what to do.
        places: where, one line each; numbers are in these.
        serious: whether results may be wrong or useless, rather than only not quite the best.
    """

    title: str
    meaning: str
    places: tuple[str, ...]
    serious: bool = False


def advice_on(comparison: Comparison, tests: Mapping[FirstPass, PairTests]) -> tuple[Advice, ...]:
    """Everything to know about the results of a comparison: serious things first, and causes before what they cause."""
    found = [*_warnings(comparison), *_weak_results(comparison, tests), *_failures(comparison)]
    if all(report.tuned_here for report in comparison.cells.values()):
        meaning = "The rates are a little too good. Rescore another set with these weights: --weights <out-dir>."
        found.append(Advice(TUNED, meaning, ()))
    return tuple(sorted(found, key=lambda advice: not advice.serious))


def _warnings(comparison: Comparison) -> Iterator[Advice]:
    serious = set()
    for report in comparison.cells.values():
        codes = {warning.code for warning in report.warnings}
        serious |= codes.difference(MILD) | (codes & {"lmwt_edge"} if codes >= WRONG_RANGE else set())
    for code, places in comparison.warnings_by_code().items():
        title, meaning = MEANINGS.get(code, OTHER)
        yield Advice(title, meaning, tuple(places), code in serious)


def _weak_results(comparison: Comparison, tests: Mapping[FirstPass, PairTests]) -> Iterator[Advice]:
    no_help = []
    by_chance = []
    for (system, where), report in comparison.cells.items():
        pair = tests[where].of(system)
        place = f"{system}, {comparison.label(where)}"
        if pair.gain.points <= 0:
            no_help.append(f"{place}: {_rates(report)}; the likely cause: {likely_cause(report)}")
        elif pair.mapsswe_p is not None and not pair.significant:
            by_chance.append(f"{place}: {_rates(report)}; MAPSSWE, Holm: p {shown_p(pair.mapsswe_p, 3)}")
    if no_help:
        meaning = f"These systems make no fewer errors than the {FIRST_PASS}."
        yield Advice(NO_HELP, meaning, tuple(no_help), serious=True)
    if by_chance:
        meaning = "On other data of the same kind the difference may be gone. More utterances tell more."
        yield Advice(BY_CHANCE, meaning, tuple(by_chance))


def _rates(report: SystemReport) -> str:
    return f"{report.first_pass_total.wer:.2f} % before, {report.total.wer:.2f} % after"


def likely_cause(report: SystemReport) -> str:
    """The first cause of a rescoring without effect that the report shows."""
    oracle = report.lattice_oracle or report.nbest_oracle
    codes = {warning.code for warning in report.warnings}
    if report.source == "given" and not any(report.lm_weights):
        return "its language models were given weight 0"
    # If the words of lattices and references are not the same, not even the best path of the lattices has few errors.
    for code in WRONG_INPUTS:
        if code in codes:
            return _see(code)
    if oracle is not None and oracle.errors >= NOTHING_TO_GAIN * report.first_pass_total.errors:
        return (
            f"the lattices hold hardly anything better ({oracle.wer:.2f} % at best): decode with a larger beam and "
            "lattice-beam"
        )
    best = min(report.fits, key=lambda fit: fit.ppl, default=None)
    if best is not None and best.ppl > UNLIKELY * best.old_ppl:
        return f"{best}: train it on more text, or on text of this kind"
    for code in WRONG_SEARCH:
        if code in codes:
            return _see(code)
    if report.source == "given":
        return "its weights were not tuned: tune them on a dev set (rescore_nbest --tune, then --weights <its out-dir>)"
    return "its language model does not know better than the old one: train it on more text, or on text of this kind"


def _see(code: str) -> str:
    return f"see “{MEANINGS[code][0]}”"


def _failures(comparison: Comparison) -> Iterator[Advice]:
    places = []
    for (system, where), report in comparison.cells.items():
        for utt, reason in list(report.failures.items())[:1]:
            number = f"{len(report.failures)} failed, such as " if len(report.failures) > 1 else ""
            places.append(f"{system}, {comparison.label(where)}: {number}{utt}: {with_flags(reason)}")
    if places:
        meaning = (
            "They count as deletions, or keep their first-pass result; failed.txt in the out-dir lists all of them."
        )
        yield Advice(FAILED, meaning, tuple(places), serious=True)
