"""The output directory of a rescoring: which one is refused, and who may write into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asr_rescore.checkpoint import model_files
from asr_rescore.errors import UsageError
from asr_rescore.failures import FAILED_FILE
from asr_rescore.kaldi import MARKS, OLD_LM_FILES
from asr_rescore.locks import locked
from asr_rescore.outputs import check_outputs, check_writable, same_file
from asr_rescore.report import REPORT_FILE, TUNING_FILE
from asr_rescore.rescoring.weights import WEIGHTS_FILE

TEXT_FILE = "text"  # the transcripts, in Kaldi's form
# Each of these says that a rescoring began here. The lock is created before the first result is written.
OWN_FILES = ("job.*.json", ".job.*.lock", WEIGHTS_FILE, REPORT_FILE)
INPUT_FILES = (
    "words.txt",
    *OLD_LM_FILES,
    "utt2spk",
    "text",
    "segments",
    "reco2file_and_channel",
    "num_jobs",
    *MARKS,
)


def check_out_dir(
    out_dir: Path,
    lm_dirs: Sequence[Path],
    directories: Sequence[Path],
    weights: Path | None = None,
    old_lm: Path | None = None,
) -> None:
    """Check that a rescoring can write into ``out_dir`` without harm to anything else.

    Args:
        out_dir: the output directory.
        lm_dirs: directories of language models.
        directories: the lang directory, the data directory and the decode directory.
        weights: the weights.yaml that is read, or the directory that holds it.
        old_lm: the file of the old LM, if it is not the lang directory's.

    Raises:
        UsageError: the directory is an input or has one among its results, or holds results that no rescoring wrote.
        RescoreError: it cannot be written.
    """
    check_writable(out_dir / "num_jobs")
    for directory in (*lm_dirs, *directories):
        if same_file(out_dir, directory):
            raise UsageError(f"{out_dir} is both input and output; its files would be overwritten")
    inputs = [*lm_dirs, *model_files(*lm_dirs), *directories]
    for directory in directories:
        inputs += [directory / name for name in INPUT_FILES]
        inputs += directory.glob("lat.*.gz")
    if weights is not None:
        inputs += [weights / WEIGHTS_FILE if weights.is_dir() else weights]
    if old_lm is not None:
        inputs.append(old_lm)
    lattices = sorted(out_dir.glob("lat.*.gz"))
    lists = sorted(out_dir.glob("archives.*"))
    check_outputs(
        [
            out_dir / "num_jobs",
            *(out_dir / name for name in (WEIGHTS_FILE, REPORT_FILE, TUNING_FILE, FAILED_FILE, TEXT_FILE, *MARKS)),
            *lattices,
        ],
        inputs,
        replaced=[out_dir / "scoring_kaldi", *lists],
    )
    ours = any(found for pattern in OWN_FILES for found in out_dir.glob(pattern))
    texts = [path for path in (out_dir / TEXT_FILE,) if path.exists()]
    foreign = [*lattices, *lists, *texts]
    if foreign and not ours:
        raise UsageError(
            f"{out_dir} holds {foreign[0].name}, which was not written by a rescoring and would be "
            "replaced; name another output directory"
        )


@contextmanager
def job_lock(out_dir: Path, number: int) -> Iterator[None]:
    """A context in which no other process writes the results of the job.

    Raises:
        RescoreError: another process runs this job.
    """
    with locked(out_dir / f".job.{number}.lock", f"{out_dir}: job {number}"):
        yield


@contextmanager
def finish_lock(out_dir: Path) -> Iterator[None]:
    """A context in which no other process gathers the results of all jobs."""
    with locked(out_dir / ".finish.lock", str(out_dir)):
        yield
