"""How long does a large text take, and how much memory, from plain text to the ids that training reads?

    python benchmarks/large_text.py [--words 1000000 10000000 37000000] [--directory DIR]

The text is made: its sentences are as long as those of the mini corpus, and its words are drawn independently from
200,000 word forms whose frequencies follow Zipf's law (the n-th is drawn in proportion to 1 / (n + 2.7)). The most
frequent forms are the words of the mini corpus; the others are made of its syllables. Time and memory depend on the
number of words and word forms, not on what the sentences mean. It is gzipped, as WSJ's cleaned.gz is.

Each step runs in a process of its own, which reports its processor time and its peak memory. Pages of a memory-mapped
file count only while the process uses them, and the kernel may drop them at any time. The tables are also written to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from reporting import MINI, ROOT, Report

FORMS = 200_000
VOCABULARY = 40_000
BLOCK = 100_000  # sentences that are made at once
SYLLABLES = [consonant + vowel for consonant in "bdfghklmnprstvwz" for vowel in "aeiou"]

# The peak is that of the process itself; the one that wait4 gives includes that of its parent.
PEAK = """
import atexit, sys
atexit.register(lambda: print(*[line for line in open("/proc/self/status") if line.startswith("VmHWM")]))
"""
READ = """
from pathlib import Path
from asr_rescore.vocab_files import load_vocabulary
vocabulary = load_vocabulary(Path(sys.argv[1]))
text = Path(sys.argv[1]) / "train.txt"
"""
STEP = """
import torch
from asr_rescore.lm.streams import Streams
def read(stream):
    streams = Streams(stream.ids, 12, torch.device("cpu"))
    for begin in range(0, len(streams), len(streams) // 100):  # 100 steps all over the text
        streams.chunk(slice(begin, begin + 70), slice(None))
"""
OPEN = (
    READ + "from asr_rescore.id_file import opened_ids\nwith opened_ids(text, vocabulary, Path('x')) as stream:\n    "
)
STEPS = {
    "the vocabulary alone": READ,
    "ids in memory (TokenStream.read)": READ
    + "from asr_rescore.corpus import TokenStream\nTokenStream.read(text, vocabulary)",
    "id file, made": OPEN + "pass",
    "id file, opened again": OPEN + "pass",
    "torch and 100 chunks of the id file": STEP + OPEN + "read(stream)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, nargs="+", default=[1_000_000, 10_000_000, 37_000_000])
    parser.add_argument("--directory", type=Path, help="for the texts (default: a temporary one)")
    arguments = parser.parse_args()
    report = Report("A large text, from words to ids")
    report(
        f"{FORMS:,} word forms; vocabulary: {VOCABULARY:,} entries and words that occur at least twice; 200,000 words"
    )
    report("held out, or a twentieth of the text if that is less.\n")
    report("| words | step | processor, s | words/s | peak memory, MB |")
    report("|---:|---|---:|---:|---:|")
    sizes = []
    for words in arguments.words:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            folder = Path(directory)
            write_text(folder / "text.gz", words)
            text = folder / "text"
            held_out = ["--valid-words", str(min(200_000, words // 20))]
            options = ["--vocabulary-size", str(VOCABULARY), *held_out, "--min-count", "2"]
            script = f"from asr_rescore.cli.main import main\nmain(['prepare_text', *{options}, *sys.argv[1:]])"
            row(report, words, "prepare_text", *measured(script, folder / "text.gz", text))
            for name, script in STEPS.items():
                row(report, words, name, *measured(script, text))
            files = {path.name: path.stat().st_size / 1e6 for path in text.rglob("*") if path.is_file()}
            sizes.append(
                f"| {words:,} | {(folder / 'text.gz').stat().st_size / 1e6:.0f} | {files['train.txt']:.0f} "
                f"| {files['ids.bin']:.0f} | {files['ends.i64']:.0f} | {words * 8 / 1e6:.0f} |"
            )
            shutil.rmtree(text)
    report("\nSizes in MB:\n")
    report("| words | text.gz | train.txt | ids.bin | ends.i64 | the ids as int64 |\n|---:|---:|---:|---:|---:|---:|")
    for line in sizes:
        report(line)
    report.write()


def row(report: Report, words: int, name: str, seconds: float, peak: float) -> None:
    """Report one step."""
    report(f"| {words:,} | {name} | {seconds:.1f} | {words / seconds:,.0f} | {peak:,.0f} |")


def measured(script: str, *arguments: Path) -> tuple[float, float]:
    """Run a script in a process of its own. Returns its processor seconds, and its peak memory in MB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PEAK + script, *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{script}\nfailed")
    return usage.ru_utime + usage.ru_stime, int(printed.split()[-2]) * 1024 / 1e6


def write_text(path: Path, words: int) -> None:
    """Write sentences with about so many words in all."""
    with gzip.open(MINI / "text/train.txt.gz", "rt") as stream:
        sentences = [line.split() for line in stream]
    counted = Counter(word for sentence in sentences for word in sentence)
    forms = np.array(([word for word, _ in counted.most_common()] + made_forms())[:FORMS], object)
    frequencies = 1 / (np.arange(FORMS) + 2.7)
    bounds = np.cumsum(frequencies / frequencies.sum())
    lengths = np.array([len(sentence) for sentence in sentences])
    draw = np.random.default_rng(1)
    written = 0
    with gzip.open(path, "wt", compresslevel=1) as stream:
        while written < words:
            counts = draw.choice(lengths, BLOCK)
            counts = counts[: np.searchsorted(counts.cumsum(), words - written) + 1]
            drawn = forms[np.searchsorted(bounds, draw.random(counts.sum())).clip(max=FORMS - 1)]
            begin = 0
            for count in counts:
                stream.write(" ".join(drawn[begin : begin + count]) + "\n")
                begin += count
            written += int(counts.sum())


def made_forms() -> list[str]:
    """Return words of two or three syllables."""
    pairs = [one + other for one in SYLLABLES for other in SYLLABLES]
    return pairs + [pair + last for pair in pairs for last in SYLLABLES]


if __name__ == "__main__":
    main()
