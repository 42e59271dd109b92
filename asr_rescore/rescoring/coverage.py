"""Whether a decode directory is what it is taken for: the first pass of the data directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_rescore import kaldi
from asr_rescore.errors import InputError
from asr_rescore.report import ReportWarning
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.weights import WEIGHTS_FILE

MOST_MISSING = 0.5  # of the utterances; beyond it, the directories hardly belong together


def refuse_other_data(inputs: Inputs) -> None:
    """Look for a lattice of the data directory's utterances before the expensive part begins.

    Lattices are read up to the first one that is wanted. That is nearly always the first of all, so each job can afford
    it; only where nothing fits, all are read. If a broken file hides its ids, nothing is refused.

    Raises:
        InputError: no utterance of text (of utt2spk, if there are no references) has a lattice.
    """
    table = "text" if inputs.references else "utt2spk"
    wanted = inputs.references.keys() or inputs.first_pass.utterances
    other = ""
    for utt in _ids(inputs.first_pass.decode_dir):
        if utt in wanted or not utt:
            return
        other = other or utt
    raise InputError(
        inputs.first_pass.decode_dir,
        found=f"lattices for 0 of {len(wanted)} utterances of {inputs.data_dir / table}"
        + (f", which has {min(wanted)}, while the first lattice is that of {other}" if other else ""),
        expected="lattices of this data set",
        remedy="give the data directory that was decoded, or the decode directory of this one",
    )


def rescored_before(inputs: Inputs) -> Iterator[ReportWarning]:
    """A warning if the decode directory is the output of a rescoring.

    The old LM is then no longer in its costs with the weight that it had. With ``no_old_lm``, it need not be.
    """
    decode_dir = inputs.first_pass.decode_dir
    if (decode_dir / WEIGHTS_FILE).exists() and not inputs.no_old_lm:
        yield ReportWarning(
            "rescored_input",
            f"{decode_dir} is the output of a rescoring ({WEIGHTS_FILE} is in it), so its graph costs hold the new "
            "language models, too: rescore the first pass's own decode directory, or set `no_old_lm`",
        )


@dataclass(frozen=True)
class Coverage:
    """How a data directory and a decode directory fit together.

    Attributes:
        utt2spk: the file that lists the wanted utterances.
        decode_dir: has the lattices.
        wanted: the number of utterances in utt2spk.
        missing: those of them that have no lattice, sorted.
        lattices: the number of lattices.
        skipped: utterances that have a lattice but are not wanted, sorted.
    """

    utt2spk: Path
    decode_dir: Path
    wanted: int
    missing: tuple[str, ...]
    lattices: int
    skipped: tuple[str, ...]

    @classmethod
    def of(cls, inputs: Inputs) -> Coverage:
        """Read the ids of all lattices, about 15 seconds for a gigabyte of unzipped lattices."""
        first_pass = inputs.first_pass
        found = {utt for utt in _ids(first_pass.decode_dir) if utt}
        return cls(
            inputs.data_dir / "utt2spk",
            first_pass.decode_dir,
            len(first_pass.utterances),
            tuple(sorted(first_pass.utterances - found)),
            len(found),
            tuple(sorted(found - first_pass.utterances)),
        )

    def warnings(self) -> Iterator[ReportWarning]:
        """A warning if most utterances have no lattice, and one if lattices are skipped."""
        if len(self.missing) > MOST_MISSING * self.wanted:
            yield ReportWarning(
                "missing_lattices",
                f"{self.decode_dir} has no lattice for {len(self.missing)} of {self.wanted} utterances of "
                f"{self.utt2spk}, for example {self.missing[0]}; their words count as deletions: check that it is the "
                "decode directory of this data set, and that decoding was finished",
                {"missing": len(self.missing), "utterances": self.wanted},
            )
        if self.skipped:
            yield ReportWarning(
                "skipped_lattices",
                f"{self.utt2spk} lacks the utterances of {len(self.skipped)} of {self.lattices} lattices in "
                f"{self.decode_dir}, for example {self.skipped[0]}: these lattices are skipped",
                {"skipped": len(self.skipped), "lattices": self.lattices},
            )


def _ids(decode_dir: Path) -> Iterator[str]:
    """The utterance ids of all lattices, also of broken ones; "" for each file that hides some of its ids."""
    broken: list[str] = []

    def note(key: str, error: InputError) -> None:
        broken.append(key)
        if isinstance(error, kaldi.BrokenArchive):  # nothing after it in the file can be read
            broken.append("")

    for file in kaldi.lattice_files(decode_dir):
        for utt, _ in kaldi.read_lattices(file, on_error=note):
            yield utt
        yield from broken
        broken.clear()
