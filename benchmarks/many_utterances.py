"""How do the memory and the time of a rescoring grow with the number of utterances?

    python benchmarks/many_utterances.py [--rows 1000x2 10000x2 100000x2 1000x1000] [--most-arcs 100] [decode-dir]

Makes decode directories of any size from the lattices of one: the same lattices again and again, under fresh utterance
ids. Each is rescored by N-best lists, as a row UTTERANCESxN says, or by lattices, as UTTERANCESxlattices says: first by
one job, then by a finish. The language model is tiny and has random weights, because memory and time outside the model
do not depend on it. Each step is a process of its own, whose peak memory the kernel tells. Old and new results can be
compared with `--keep`, which leaves the made directories and the output. Seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from asr_rescore import kaldi, models
from asr_rescore.checkpoint import save_model
from asr_rescore.config import ModelConfig
from asr_rescore.files import atomic_binary
from asr_rescore.vocab import Vocabulary
from reporting import MINI, ROOT, Report

ROWS = ("1000x2", "10000x2", "100000x2", "1000x1000", "5000x1000", "1000xlattices", "10000xlattices")  # half an hour
LATTICES = "lattices"


@dataclass(frozen=True)
class Step:
    """What a process took: seconds of processor time, and peak memory in MiB."""

    seconds: float
    memory: float

    def __str__(self) -> str:
        return f"{self.seconds:.0f} | {self.memory:.0f}"


def run(command: list[str]) -> Step:
    """Run a command of asr_rescore in a process of its own.

    Linux starts the peak of a new process at the memory of this one, which has loaded torch too and holds no data.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "asr_rescore.cli.main", *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit status {process.returncode} of asr-rescore {' '.join(command)}")
    return Step(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def small_lattices(decode_dir: Path, most_arcs: int, folder: Path) -> list[tuple[str, bytes]]:
    """The utterances whose lattices have at most ``most_arcs`` arcs, each with the bytes of its lattice."""
    entries = (entry for entry in kaldi.read_lattices(decode_dir) if entry[1].num_arcs <= most_arcs)
    archive = folder / "small.ark"
    kaldi.write_lattices(archive, entries, scp=folder / "small.scp")
    content = archive.read_bytes()
    lines = [line.split() for line in (folder / "small.scp").read_text().splitlines()]
    begins = [int(place.rpartition(":")[2]) for _, place in lines]
    ends = [begin - len(f"{utt} ") for begin, (utt, _) in zip(begins[1:], lines[1:], strict=True)]
    return [
        (utt, content[begin:end]) for (utt, _), begin, end in zip(lines, begins, [*ends, len(content)], strict=True)
    ]


def make(utterances: int, lattices: list[tuple[str, bytes]], data_dir: Path, folder: Path) -> tuple[Path, Path]:
    """Write a data directory and a decode directory of one lat.JOB.gz, in which all ids are fresh."""
    known = kaldi.read_data_dir(data_dir)
    assert known.text is not None, f"{data_dir}: no text"
    made_data = folder / "data"
    made_decode = folder / "decode"

    def keys() -> Iterator[tuple[str, str, bytes]]:
        repeated = ((copy, *entry) for copy in itertools.count() for entry in lattices)
        for copy, utt, lattice in itertools.islice(repeated, utterances):
            yield f"{copy:04d}-{utt}", utt, lattice

    with atomic_binary(made_decode / "lat.1.gz") as stream:
        for key, _, lattice in keys():
            stream.write(f"{key} ".encode() + lattice)
    kaldi.write_num_jobs(made_decode, 1)
    speakers = {key: f"{key[:5]}{known.utt2spk[utt]}" for key, utt, _ in keys()}
    kaldi.write_data_dir(made_data, kaldi.DataDir(speakers, {key: known.text[utt] for key, utt, _ in keys()}))
    return made_data, made_decode


def tiny_lm(lang_dir: Path, folder: Path) -> Path:
    """A language model with random weights that knows all words of words.txt."""
    torch.manual_seed(1)
    words = [word for word in kaldi.read_words(lang_dir / "words.txt").ids if not re.match(r"<eps>|#|</?s>", word)]
    vocabulary = Vocabulary.from_counts(dict.fromkeys(words, 1))
    model = models.build(ModelConfig(embedding=8, hidden=(8,), experts=2, embedding_init=2.0), len(vocabulary))
    save_model(folder, model, vocabulary, {})
    return folder


def measure(row: str, arguments: argparse.Namespace, lattices: list[tuple[str, bytes]], folder: Path) -> str:
    """The line of the table for one row."""
    number, _, n = row.partition("x")
    data, decode = make(int(number), lattices, arguments.data_dir, folder)
    command = ["rescore_lattice"] if n == LATTICES else ["rescore_nbest", "--n", n]
    options = ["--lm-weight", "0.5"] if n == LATTICES else []
    lm = folder.parent / "lm"
    out = folder / "out"
    places = [str(place) for place in (arguments.lang_dir, lm, data, decode, out)]
    job = run([*command, *options, "--job", "1", *places])
    how = options or ["--tune"]
    finish = run([*command, *how, *places])
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    each = ""
    if n != LATTICES:
        with (out / "archives.1" / "words_text").open("rb") as lines:
            each = f"{sum(1 for _ in lines) / int(number):.0f}"
    return f"| {int(number):,} | {n} | {each} | {job} | {finish} | {size / 2**20:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=ROWS, metavar="UTTERANCESxN", help="what to measure")
    parser.add_argument("--most-arcs", type=int, default=100, help="use lattices with at most this many arcs (100)")
    parser.add_argument("--keep", type=Path, help="an empty directory for what is made (default: a temporary one)")
    parser.add_argument("--lang-dir", type=Path, default=MINI / "lang_tgpr", help="words.txt and G.fst")
    parser.add_argument("--data-dir", type=Path, default=MINI / "data/dev", help="utt2spk and text")
    parser.add_argument("decode_dir", nargs="?", type=Path, default=MINI / "exp/decode_tgpr_dev")
    arguments = parser.parse_args()
    report = Report("Many utterances")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        tiny_lm(arguments.lang_dir, folder / "lm")
        lattices = small_lattices(arguments.decode_dir, arguments.most_arcs, folder)
        report(
            f"{len(lattices)} lattices of at most {arguments.most_arcs} arcs, {arguments.decode_dir.name}, repeated\n"
        )
        report("| utterances | N | hypotheses of each | job, s | job, MiB | finish, s | finish, MiB | output, MiB |")
        report("|---:|---:|---:|---:|---:|---:|---:|---:|")
        for row in arguments.rows:
            report(measure(row, arguments, lattices, folder / row))
            if arguments.keep is None:
                shutil.rmtree(folder / row)
    report.write()


if __name__ == "__main__":
    main()
