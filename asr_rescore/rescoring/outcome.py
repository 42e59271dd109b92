"""The outcome of a rescoring, scored: Kaldi's files and the report."""

from __future__ import annotations

from collections.abc import Container, Iterator, Set
from contextlib import suppress
from pathlib import Path

from asr_rescore import kaldi
from asr_rescore.failures import Failures
from asr_rescore.files import absolute
from asr_rescore.lattice import oracle
from asr_rescore.report import (
    FIRST_PASS_FILE,
    IN_CHARACTERS,
    IN_WORDS,
    TUNING_FILE,
    CharacterErrors,
    SystemReport,
    ranked,
    remove_scores,
    write_scoring,
)
from asr_rescore.report.choice_costs import COSTS_FILE, write_choice_costs
from asr_rescore.rescoring.depths import depth_warnings
from asr_rescore.rescoring.diagnosis import error_warnings
from asr_rescore.rescoring.engine import Engine, Outcome, Texts
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job
from asr_rescore.rescoring.out_dir import TEXT_FILE
from asr_rescore.scoring import InCharacters
from asr_rescore.word_errors import ErrorCount, count, errors_by_utterance, wer


def note_missing(inputs: Inputs, done: Set[str], failures: Failures) -> None:
    """Note utterances that no lattice was found for, and those that cannot be scored because they have no reference."""
    wanted = inputs.first_pass.utterances
    for utt in sorted(wanted - done):
        failures.add(utt, "no lattice in the decode directory; it counts as deletions where it has a reference")
    if inputs.data.text is not None:
        for utt in sorted(wanted - inputs.data.text.keys()):
            failures.add(utt, "no reference in the data directory's text; rescored, but not scored")


def lattice_oracle(inputs: Inputs, jobs: int, utterances: Container[str]) -> ErrorCount:
    """The errors of the word sequence of each lattice that has the fewest (Kaldi: lattice-oracle).

    A word id that is not in words.txt becomes a word that no reference has. An utterance without a lattice counts as
    deletions.

    Args:
        inputs: the lattices and references.
        jobs: how many jobs there are; they decide which lattice of an utterance is used if there are several.
        utterances: those whose lattices count.
    """
    references = inputs.references
    words = inputs.first_pass.words
    known = set(words.ids.values())

    def best() -> Iterator[tuple[str, str, list[list[str]]]]:
        every = Job.all(jobs)
        bar = inputs.first_pass.bar("lattice oracle", every)
        for utt, lattice in bar.over(inputs.first_pass.lattices(every, Failures())):
            if utt in references and utt in utterances:
                found = oracle(lattice, words.to_ids(references[utt]))
                if found is not None:
                    path, _ = found
                    said = [words.word(index) if index in known else f"no word {index}" for index in path.words]
                    yield utt, utt, [said]

    missing = dict(inputs.compared_references)
    counts = (count(missing.pop(utt), said) for utt, [said] in inputs.scoring.each(best()))
    return ErrorCount.total(counts) + wer(missing, {})


def to_report(
    engine: Engine, outcome: Outcome, failures: Failures, jobs: int, with_lattice_oracle: bool
) -> SystemReport:
    """Score an outcome of ``jobs`` jobs. Without references in the data directory, the report has no errors in it."""
    inputs = engine.inputs
    references = inputs.compared_references
    weights = outcome.weights
    best = outcome.rescored[weights.weights.point]
    oracle_errors = lattice_oracle(inputs, jobs, best.keys()) if with_lattice_oracle and references else None

    def total(texts: Texts | None) -> ErrorCount | None:
        return None if texts is None or not references else wer(references, texts)

    first_pass = errors_by_utterance(references, outcome.first_pass)
    first_pass_total = ErrorCount.total(first_pass.values())
    return SystemReport(
        system=inputs.system + engine.suffix,
        decoding=inputs.first_pass.decode_dir.name,
        data=inputs.data_dir.name,
        data_dir=absolute(inputs.data_dir),
        lms=inputs.lm_facts,
        lm_weights=weights.weights.lm,
        point=weights.weights.point,
        first_pass_point=weights.first_pass,
        source=weights.source,
        search=engine.search + (", no old LM" if inputs.no_old_lm else ""),
        rescored=errors_by_utterance(references, best),
        first_pass=first_pass,
        nbest_oracle=total(outcome.nbest_oracle),
        lattice_oracle=oracle_errors,
        failures=failures.reasons,
        oov=outcome.oov,
        fits=outcome.fits,
        tuned_here=weights.are_tuned_on(inputs.data_dir, inputs.references),
        scoring=str(inputs.scoring),
        characters=_character_errors(references, best, outcome.first_pass) if inputs.scoring.cer else None,
        warnings=ranked(
            (
                *outcome.warnings,
                *error_warnings(first_pass_total, outcome.first_pass.values(), references.values()),
                *depth_warnings(outcome.depths, first_pass_total, oracle_errors),
            )
        ),
        depths=outcome.depths if references else (),
        speakers={utt: inputs.data.utt2spk[utt] for utt in first_pass if utt in inputs.data.utt2spk},
    )


def _character_errors(references: Texts, rescored: Texts, first_pass: Texts) -> CharacterErrors:
    in_characters = InCharacters(references)
    return CharacterErrors(
        rescored=wer(in_characters, InCharacters(rescored)), first_pass=wer(in_characters, InCharacters(first_pass))
    )


def write_scores(inputs: Inputs, outcome: Outcome, out_dir: Path) -> None:
    """Write text, the transcripts; and wer_LMWT_WIP and scoring_kaldi/, as Kaldi's score.sh leaves them.

    Without references, there is only text. Scores that an earlier run left of other transcripts are removed.
    """
    kaldi.write_table(out_dir / TEXT_FILE, outcome.transcripts)
    if inputs.data.text is None:
        _remove_scores_of_rescoring(out_dir)
        return
    point = outcome.weights.weights.point
    speakers = inputs.data.utt2spk
    write_scoring(out_dir, inputs.compared_references, outcome.rescored, speakers, point)
    kaldi.write_table(out_dir / "scoring_kaldi" / FIRST_PASS_FILE, outcome.first_pass)
    if inputs.scoring.cer:
        characters = {point: InCharacters(texts) for point, texts in outcome.rescored.items()}
        references = InCharacters(inputs.compared_references)
        write_scoring(out_dir, references, characters, speakers, point, IN_CHARACTERS)
    else:
        remove_scores(out_dir, unit=IN_CHARACTERS)


def _remove_scores_of_rescoring(out_dir: Path) -> None:
    """Remove the scores of an earlier rescoring, but not those of another program, which knew these transcripts."""
    folder = out_dir / "scoring_kaldi"
    if not (folder / FIRST_PASS_FILE).exists():
        return
    for unit in (IN_CHARACTERS, IN_WORDS):
        remove_scores(out_dir, unit=unit)
    (folder / COSTS_FILE).unlink(missing_ok=True)
    (folder / FIRST_PASS_FILE).unlink()  # last: it says that there is something to remove
    with suppress(OSError):  # it holds other files
        folder.rmdir()


def write_explanations(outcome: Outcome, report: SystemReport, out_dir: Path) -> None:
    """Write tuning.csv and scoring_kaldi/costs.jsonl, or remove what an earlier run left of them."""
    tuning = out_dir / TUNING_FILE
    if outcome.searched is None:
        tuning.unlink(missing_ok=True)
    else:
        outcome.searched.write(tuning)
    costs = out_dir / "scoring_kaldi" / COSTS_FILE
    if outcome.choices is None or not report.rescored:
        costs.unlink(missing_ok=True)
    else:
        write_choice_costs(costs, outcome.choices.costs(report.first_pass, report.rescored))
