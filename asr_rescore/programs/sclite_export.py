"""The transcripts of a decode directory and their references, as NIST's sclite reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_rescore import kaldi
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.failures import Failures
from asr_rescore.outputs import check_outputs
from asr_rescore.programs.lattice_to_ctm import CtmConfig, timed_words
from asr_rescore.programs.sources import files_of
from asr_rescore.sclite import Segment, check_words, trn_id, write_stm, write_trn

REF_TRN, HYP_TRN, REF_STM, HYP_CTM = "ref.trn", "hyp.trn", "ref.stm", "hyp.ctm"
LABELS = {"O": "Overall"}
Texts = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ScliteExport:
    """What was written.

    Attributes:
        utterances: with a reference.
        without_hypothesis: utterances whose hypothesis is missing, and therefore written as an empty one; sorted.
        differing: utterances whose words in the ctm are not those of the transcript in the trn.
        failures: utterances that are in none of the files, or not in the ctm.
    """

    utterances: int
    without_hypothesis: tuple[str, ...]
    differing: int
    failures: Failures


def inputs_of(data_dir: Path, decode_dir: Path) -> list[Path]:
    """What :func:`export_sclite` may read."""
    tables = [data_dir / name for name in ("utt2spk", "text", "segments", "reco2file_and_channel")]
    return [*tables, decode_dir / "text", *files_of(os.fspath(decode_dir))]


def export_sclite(
    data_dir: Path,
    decode_dir: Path,
    out_dir: Path,
    words: kaldi.SymbolTable | None = None,
    config: CtmConfig | None = None,
) -> ScliteExport:
    """Write ref.trn and hyp.trn and, if the words of the lattices are known, ref.stm and hyp.ctm.

    Args:
        data_dir: with references; its ``segments`` give the places of utterances in recordings. Without ``segments``,
            each utterance is a recording of its own.
        decode_dir: of a rescoring, whose ``text`` has the transcripts, or of a first pass.
        out_dir: gets the files.
        words: the lattices' words.txt. Without it, no lattice is read, and ``decode_dir`` must have a ``text``.
        config: at which costs words are chosen; by default those of the best path.

    Raises:
        InputError: there are no references or no transcripts.
        RescoreError: a file cannot be written.
    """
    names = [REF_TRN, HYP_TRN, *([] if words is None else [REF_STM, HYP_CTM])]
    check_outputs([out_dir / name for name in names], inputs_of(data_dir, decode_dir))
    data = kaldi.read_data_dir(data_dir)
    if data.text is None:
        raise InputError(data_dir, found="no text", expected="references", remedy="give a data directory that has them")
    failures = Failures()
    references = _writable(data.text, data.utt2spk, failures)
    hypotheses: Texts | None = None
    if os.path.lexists(decode_dir / "text"):
        hypotheses = kaldi.read_table(decode_dir / "text")
    elif words is None:
        raise InputError(
            decode_dir, found="no text", expected="transcripts", remedy="give the lattices' words.txt (`words`)"
        )
    differing = 0
    if words is not None:
        places = kaldi.read_places(data_dir)
        timed = _timed(decode_dir, words, config or CtmConfig(decode="best"), places, failures)
        spoken = {utt: [word.word for word in line] for utt, line in timed.items()}
        differing = sum(
            list((hypotheses or spoken)[utt]) != line for utt, line in spoken.items() if utt in (hypotheses or spoken)
        )
        hypotheses = spoken if hypotheses is None else hypotheses
    assert hypotheses is not None
    if not hypotheses.keys() & data.text.keys():
        remedy = "give the data directory that was decoded"
        raise InputError(decode_dir, found=f"no transcript of {data_dir}", expected="transcripts", remedy=remedy)
    heard = _writable({utt: hypotheses.get(utt, ()) for utt in references}, data.utt2spk, failures)
    references = {utt: line for utt, line in references.items() if utt in heard}
    write_trn(out_dir / REF_TRN, references, data.utt2spk)
    write_trn(out_dir / HYP_TRN, heard, data.utt2spk)
    if words is not None:
        _write_timed(out_dir, references, {utt: timed.get(utt, []) for utt in references}, places, data.utt2spk)
    missing = tuple(sorted(references.keys() - hypotheses.keys()))
    return ScliteExport(len(references), missing, differing, failures)


def _writable(texts: Texts, speakers: Mapping[str, str], failures: Failures) -> dict[str, list[str]]:
    """The texts whose words and ids sclite reads as such."""
    found = {}
    for utt, words in texts.items():
        try:
            trn_id(utt, speakers[utt])
            found[utt] = check_words(words)
        except RescoreError as error:
            failures.add(utt, error)
    return found


def _timed(
    decode_dir: Path,
    words: kaldi.SymbolTable,
    config: CtmConfig,
    places: Mapping[str, kaldi.Place] | None,
    failures: Failures,
) -> dict[str, list[kaldi.TimedWord]]:
    return {utt: line for utt, _, line in timed_words(decode_dir, words, config, places, failures)}


def _write_timed(
    out_dir: Path,
    references: Texts,
    timed: Mapping[str, Sequence[kaldi.TimedWord]],
    places: Mapping[str, kaldi.Place] | None,
    speakers: Mapping[str, str],
) -> None:
    segments = []
    for utt, words in references.items():
        place = kaldi.Place(utt) if places is None else places.get(utt)
        if place is not None:
            end = place.end if place.end is not None else max((word.end for word in timed[utt]), default=1.0)
            text = " ".join(words)
            segments.append(
                Segment(place.recording, place.channel, speakers[utt], place.offset, end, text, tuple(LABELS))
            )
    write_stm(out_dir / REF_STM, segments, LABELS)
    kaldi.write_ctm(out_dir / HYP_CTM, [word for words in timed.values() for word in words])
