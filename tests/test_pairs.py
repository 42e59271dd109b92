"""Two systems compared: bootstrap over utterances and speakers, MAPSSWE and McNemar, the verdict. Numbers by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from asr_rescore.errors import RescoreError
from asr_rescore.report import Comparison, Experiment, LmFit, ReportWarning
from asr_rescore.report.advice import BY_CHANCE, FAILED, MEANINGS, NO_HELP, TUNED, advice_on
from asr_rescore.report.verdict import evaluation_sets
from asr_rescore.statistics.bootstrap import PairedBootstrap, confidence
from asr_rescore.statistics.matched_pairs import holm
from asr_rescore.word_errors import ErrorCount
from made_reports import FROZEN, errors, out_dir, report

# 20 utterances of ten words: the first ten, of one speaker, have one error each in one system and none in the other.
GAINED = errors(*[1] * 10, *[0] * 10)
NONE = errors(*[0] * 20)
SPEAKERS = {utt: "ann" if number < 10 else "bob" for number, utt in enumerate(NONE)}


def test_bootstrap_over_speakers_by_hand():
    """Of two drawn speakers, ann is drawn twice, once or never with probability 1/4, 1/2, 1/4: 10, 5 or 0 points."""
    gain = PairedBootstrap({"better": NONE, "worse": GAINED}, SPEAKERS).gain("better", "worse")
    assert gain.points == 5
    assert gain.units == 2
    assert (gain.low + gain.high) / 2 == pytest.approx(5, abs=0.15)
    assert (gain.high - gain.low) / 2 == pytest.approx(1.96 * math.sqrt(12.5), abs=0.1)
    assert gain.fewer == pytest.approx(75, abs=1.5)
    assert gain.probability == pytest.approx(87.5, abs=1)


def test_bootstrap_over_utterances_by_hand():
    """Each drawn utterance gains 10 points with probability 1/2: the mean of 20 has a deviation of 5 / √20."""
    gain = PairedBootstrap({"better": NONE, "worse": GAINED}).gain("better", "worse")
    assert (gain.units, gain.points) == (20, 5)
    assert (gain.high - gain.low) / 2 == pytest.approx(1.96 * 5 / math.sqrt(20), rel=0.03)
    assert gain.fewer > 99


def test_kaldi_counts_strictly_fewer_and_we_count_ties_half():
    bootstrap = PairedBootstrap({"one": GAINED, "same": GAINED})
    gain = bootstrap.gain("one", "same")
    assert (gain.points, gain.low, gain.high, gain.fewer, gain.probability) == (0, 0, 0, 0, 50)


def test_the_opposite_comparison_has_the_opposite_gain():
    bootstrap = PairedBootstrap({"one": errors(1, 0, 3), "other": errors(4, 2, 0)})
    there = bootstrap.gain("one", "other")
    back = bootstrap.gain("other", "one")
    assert (there.points, there.low, there.high) == pytest.approx((-back.points, -back.high, -back.low))
    assert there.probability == pytest.approx(100 - back.probability)


def test_the_order_of_utterances_does_not_matter():
    turned = dict(reversed(GAINED.items()))
    assert PairedBootstrap({"a": NONE, "b": turned}).gain("a", "b") == PairedBootstrap({"a": NONE, "b": GAINED}).gain(
        "a", "b"
    )


def test_only_the_same_utterances_can_be_compared():
    with pytest.raises(RescoreError, match="scored on the same utterances"):
        PairedBootstrap({"one": errors(1), "other": errors(1, 2)})
    with pytest.raises(RescoreError, match="scored on the same utterances"):
        PairedBootstrap({})


def test_without_reference_words_there_is_no_rate():
    empty = {"utt": ErrorCount(1, 0, 0, 0, 1, 1)}
    gain = PairedBootstrap({"a": empty, "b": empty}).gain("a", "b")
    assert math.isnan(gain.points) and math.isnan(gain.low)
    assert math.isnan(confidence(list(empty.values()))[0])


SAID = {f"u{k}": "a b c d e" for k in range(8)}


def test_every_test_is_made_and_corrected_for_the_number_of_comparisons(tmp_path):
    before = {utt: "a x c d e" if utt < "u6" else text for utt, text in SAID.items()}
    some = {utt: "a x c d e" if utt < "u3" else text for utt, text in SAID.items()}
    names = {"none": SAID, "some": some, "all": before}
    directories = [out_dir(tmp_path / f"{name}/decode_tg_eval", SAID, before, after) for name, after in names.items()]
    experiment = Experiment.read(directories)
    [tests] = experiment.tests.values()
    assert tests.best == "none"
    none, some_pair, unchanged = tests.with_first_pass
    assert [pair.first for pair in tests.with_first_pass] == ["none", "some", "all"]
    assert [pair.second for pair in tests.with_best] == ["some", "all"]
    assert none.mcnemar.p == pytest.approx(2 / 2**6)  # six sentences that only one system has right
    assert some_pair.mcnemar.p == pytest.approx(2 / 2**3)
    corrected = [pair.mcnemar_p for pair in tests.with_first_pass]
    assert corrected == holm([2 / 64, 2 / 8, 1])
    reports = experiment.comparison.of_first_pass(experiment.first_passes[0])
    assert tests.rates["some"] == confidence(list(reports[1].rescored.values()))
    assert tests.rates["first pass"][0] == pytest.approx(100 * 6 / 40, abs=0.2)
    assert corrected == pytest.approx([6 / 64, 4 / 8, 1])
    # Six segments with one error each that only the first pass has: no spread, thus Z = 0, as sc_stats has it.
    assert (none.mapsswe.pairs, none.mapsswe.statistic) == (6, 0)
    # Three segments of six are right: the mean 1/2 has a deviation of √(3/10) / √6.
    assert some_pair.mapsswe.statistic == pytest.approx(-0.5 * math.sqrt(6) / math.sqrt(0.3))
    assert unchanged.gain.points == 0 and unchanged.significant is False


def test_the_verdict_by_hand(tmp_path):
    """20 words in each of two decodings: 4 and 4 errors before, 1 and 3 after, 1 and 1 in the lattices."""
    tuned = report("student", "decode_tg_dev", rescored=errors(0, 0, 0))
    one = {"first_pass": errors(2, 2), "rescored": errors(0, 1), "lattice_oracle": ErrorCount(0, 0, 1, 20, 2, 1)}
    two = {"first_pass": errors(4, 0), "rescored": errors(2, 1), "lattice_oracle": ErrorCount(0, 0, 1, 20, 2, 1)}
    reports = [
        tuned,
        report("student", "decode_tg_eval", **FROZEN, **one),
        report("student", "decode_bd_eval", **FROZEN, **two),
        report("other", "decode_tg_eval", **FROZEN, **{**one, "rescored": errors(0, 0)}),
    ]
    experiment = Experiment.of(Comparison.of(reports))
    assert [where.decoding for where in evaluation_sets(experiment.comparison)] == ["decode_tg_eval", "decode_bd_eval"]
    verdict = experiment.verdict
    assert verdict.system == "student", "the other was run on one set only"
    assert (verdict.total.errors, verdict.first_pass_total.errors) == (4, 8)
    assert verdict.gain.units == 2, "an utterance is drawn with all of its decodings"
    assert verdict.gain.points == pytest.approx(10)
    assert verdict.gap_closed == pytest.approx(100 * (8 - 4) / (8 - 2))
    assert experiment.sentence.startswith(
        "No system is clearly better than the first pass: the best, student, has a WER of 10.00 % on the evaluation "
        "sets together (5.00 on decode_tg_eval, 15.00 on decode_bd_eval), 10.00 points less than the first pass with "
        "20.00 %"
    )
    assert ", which closes 67 % of the gap to the lattice oracle; " in experiment.sentence
    assert experiment.sentence.count(". ") == 0, "one sentence"


def test_the_verdict_names_systems_that_may_be_as_good():
    """Of 20 utterances, the best has no errors; one error elsewhere may be chance, and one in ten of them is not."""
    before = errors(*[4] * 20)
    systems = {"best": NONE, "far": GAINED, "near": errors(1, *[0] * 19), "equal": NONE}
    reports = [report(name, first_pass=before, rescored=rescored, **FROZEN) for name, rescored in systems.items()]
    experiment = Experiment.of(Comparison.of(reports))
    assert experiment.verdict.rivals == ("equal", "near")
    assert experiment.sentence.endswith(
        " It is not clearly better than equal and near (95 % intervals of the differences)."
    )


def test_a_gain_whose_interval_holds_0_comes_with_a_caution():
    """One error fewer in one of 20 utterances: the interval of the gain reaches below 0."""
    one = report(first_pass=errors(1, *[0] * 19), rescored=NONE, **FROZEN)
    sentence = Experiment.of(Comparison.of([one])).sentence
    assert sentence.startswith(
        "No system is clearly better than the first pass: the best, student, has a WER of 0.00 %"
    )


@pytest.mark.parametrize(
    ("significant", "end"),
    [
        ([True], "; by MAPSSWE it would be better (p = 0.045): the tests disagree, so take it as open."),
        (
            [True, True],
            "; by MAPSSWE it would be better on each set (p = 0.045): the tests disagree, so take it as open.",
        ),
        (
            [True, False],
            "; by MAPSSWE it would be better on 1 of 2 sets (p = 0.045): the tests disagree, so take it as open.",
        ),
        ([False], "; the difference is not significant by MAPSSWE (p = 0.045)."),
    ],
)
def test_an_answer_on_which_the_tests_disagree_says_so(significant, end):
    """The interval of the gain holds 0, but MAPSSWE has an opinion of its own."""
    one = report(first_pass=errors(1, *[0] * 19), rescored=NONE, **FROZEN)
    experiment = Experiment.of(Comparison.of([one]))
    verdict = replace(experiment.verdict, significant=dict(enumerate(significant)), largest_p=0.045)
    assert verdict.gain.low < 0 < verdict.gain.points
    sentence = verdict.sentence(experiment.comparison)
    assert sentence.startswith("No system is clearly better than the first pass: ")
    assert sentence.endswith(end)


@pytest.mark.parametrize(
    ("rivals", "named"),
    [
        ("a b", "a and b"),
        ("a b c d", "a, b, c and d"),
        ("a b c d e", "a, b, c and 2 more"),
    ],
)
def test_one_name_more_is_not_hidden(rivals, named):
    experiment = Experiment.of(Comparison.of([report(first_pass=errors(*[4] * 20), rescored=NONE, **FROZEN)]))
    verdict = replace(experiment.verdict, rivals=tuple(rivals.split()))
    assert verdict.sentence(experiment.comparison).endswith(
        f" It is not clearly better than {named} (95 % intervals of the differences)."
    )


def test_a_verdict_on_the_sets_of_tuning_says_so():
    assert "decode_tg_dev, on which its weights were tuned," in Experiment.of(Comparison.of([report()])).sentence


def test_a_rescoring_that_does_not_help_is_called_so():
    worse = report(rescored=errors(4, 2, 1), **FROZEN)
    experiment = Experiment.of(Comparison.of([worse]))
    assert experiment.sentence.startswith("Rescoring does not help: the best system, student, has a WER of 23.33 %")
    titles = [advice.title for advice in experiment.advice]
    assert NO_HELP in titles and FAILED in titles
    [advice] = [advice for advice in experiment.advice if advice.title == NO_HELP]
    assert advice.serious
    assert advice.places[0].startswith("student, decode_tg_dev: 20.00 % before, 23.33 % after; ")


def warned(*codes: str) -> tuple[ReportWarning, ...]:
    return tuple(ReportWarning(code, code) for code in codes)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"lattice_oracle": ErrorCount(0, 0, 6, 30, 3, 1)}, "decode with a larger beam"),
        ({"lm_weights": (0.0,), "source": "given", "tuned_here": False}, "were given weight 0"),
        ({"source": "given", "tuned_here": False}, "tune them on a dev set"),
        ({"warnings": warned("short_lists", "old_lm")}, f"see “{MEANINGS['old_lm'][0]}”"),
        ({"warnings": warned("short_lists")}, f"see “{MEANINGS['short_lists'][0]}”"),
        (
            {"fits": (LmFit("x", 90, 20), LmFit("y", 50, 20)), "warnings": warned("short_lists")},
            "y has perplexity 50 on",
        ),
        ({"fits": (LmFit("x", 30, 20),), "warnings": warned("lmwt_edge")}, f"see “{MEANINGS['lmwt_edge'][0]}”"),
        ({}, "train it on more text"),
    ],
)
def test_why_a_rescoring_does_not_help(changes, cause):
    comparison = Comparison.of([report(rescored=errors(4, 2, 0), **changes)])
    [advice] = [advice for advice in advice_on(comparison, Experiment.of(comparison).tests) if advice.title == NO_HELP]
    assert cause in advice.places[0]


@pytest.mark.parametrize(
    ("first_pass", "codes"),
    [
        (9954, ("wip_edge", "old_lm", "first_pass_wer")),  # the words.txt of another graph
        (12051, ("lmwt_edge", "first_pass_lmwt_edge", "first_pass_wer")),  # the references of other utterances
        (10023, ("first_pass_wer",)),  # references in the other case
    ],
)
def test_wrong_inputs_come_before_a_wider_beam(first_pass, codes):
    """Then the lattices hold nothing better, either, and the decoding is not to blame."""
    counts = {
        name: ErrorCount(max(0, wrong - 10_000), 0, min(wrong, 10_000), 10_000, 1, 1)
        for name, wrong in {"before": first_pass, "after": first_pass + 1, "oracle": first_pass - 50}.items()
    }
    worse = report(
        rescored={"u": counts["after"]},
        first_pass={"u": counts["before"]},
        lattice_oracle=counts["oracle"],
        warnings=warned(*codes),
    )
    [advice] = [advice for advice in Experiment.of(Comparison.of([worse])).advice if advice.title == NO_HELP]
    assert advice.places[0].endswith(f"; the likely cause: see “{MEANINGS['first_pass_wer'][0]}”")


def test_a_gain_that_may_be_chance_and_sets_that_were_all_tuned_on(tmp_path):
    before = {**SAID, "u0": "a x c d e", "u1": "a b y d e"}
    folder = out_dir(tmp_path / "lm/decode_tg_dev", SAID, before, {**SAID, "u1": "a b y d e"}, tuned_here=True)
    titles = [advice.title for advice in Experiment.read([folder]).advice]
    assert titles == [BY_CHANCE, TUNED]
