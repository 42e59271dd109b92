"""How long does it take to score one long utterance, and how much memory?

    python benchmarks/long_utterances.py [--words 5000 20000] [--wrong 10 30]

Makes a reference of random words, with frequent and rare ones as in a language, and hypotheses in which so many words
in a hundred are wrong. Each is counted in two ways in one run: by :func:`asr_rescore.word_errors.count`, and by the
whole table of costs, whose rows are computed twice to save memory, as versions up to 0.2 did. Both must agree. The
last column is the time for 33 hypotheses that differ in one word in fifty, as at the 33 points of LMWT and WIP. Seconds
are those of the processor; memory is the peak of what Python and numpy allocate, in a run of its own.
"""

from __future__ import annotations

import argparse
import math
import time
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np

from asr_rescore.word_alignment import SCLITE
from asr_rescore.word_errors import ErrorCount, count
from reporting import Report

VOCABULARY = 20000
POINTS = 33


def text(random: np.random.Generator, words: int) -> list[str]:
    """Words with the frequencies of Zipf's law."""
    return [f"w{index % VOCABULARY}" for index in random.zipf(1.2, size=words).tolist()]


def damaged(random: np.random.Generator, words: Sequence[str], rate: float) -> list[str]:
    """A hypothesis with deletions, substitutions and insertions: one, three and one in five errors."""
    others = iter(text(random, 2 * len(words)))
    heard = []
    for word, chance in zip(words, random.random(len(words)).tolist(), strict=True):
        if chance >= 0.8 * rate:
            heard.append(word)
        elif chance >= 0.2 * rate:
            heard.append(next(others))
        if chance > 1 - 0.2 * rate:
            heard.append(next(others))
    return heard


def count_with_the_whole_table(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCount:
    """What compute-wer counts; each row is computed in a forward pass and again where the path is traced back."""
    ids = {word: index for index, word in enumerate(reference)}
    said = np.array([ids[word] for word in reference], dtype=np.int32)
    heard = [ids.get(word, -1) for word in hypothesis]
    gaps = np.arange(len(said) + 1, dtype=np.int32)

    def rows(row: np.ndarray, words: Sequence[int]) -> list[np.ndarray]:
        found = [row]
        for word in words:
            above = row
            row = above + 1
            np.minimum(row[1:], above[:-1] + (said != word), out=row[1:])
            row -= gaps
            np.minimum.accumulate(row, out=row)
            row += gaps
            found.append(row)
        return found

    height = math.isqrt(len(heard)) + 1
    begins = range(0, len(heard), height)
    kept = [gaps]
    for begin in begins:
        kept.append(rows(kept[-1], heard[begin : begin + height])[-1])
    h, r = len(heard), len(said)
    edits = {"ins": 0, "del": 0, "sub": 0}
    for number in reversed(range(len(begins))):
        begin = begins[number]
        block = rows(kept[number], heard[begin : begin + height])
        while h > begin or (h == 0 and r):
            here = block[h - begin]
            if h and block[h - begin - 1][r] + 1 == here[r]:
                step = "ins"
            elif r and here[r - 1] + 1 == here[r]:
                step = "del"
            else:
                step = "sub" if heard[h - 1] != said[r - 1] else "same"
            if step in edits:
                edits[step] += 1
            h -= step != "del"
            r -= step != "ins"
    return ErrorCount(edits["ins"], edits["del"], edits["sub"], len(said), 1, int(any(edits.values())))


def seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def peak(work: Callable[[], object]) -> float:
    """MiB."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, nargs="+", default=[5000, 20000])
    parser.add_argument("--wrong", type=int, nargs="+", default=[10, 30], metavar="PERCENT")
    arguments = parser.parse_args()
    report = Report("One long utterance")
    report(f"| words | errors | whole table s | count s | ratio | sclite s | count MiB | {POINTS} points s |")
    report("|---:|---:|---:|---:|---:|---:|---:|---:|")
    random = np.random.default_rng(1)
    count(*(text(random, 2000) for _ in range(2)))  # imports
    for words in arguments.words:
        for wrong in arguments.wrong:
            reference = text(random, words)
            hypothesis = damaged(random, reference, wrong / 100)
            found = count(reference, hypothesis)
            assert found == count_with_the_whole_table(reference, hypothesis)
            whole = seconds(lambda: count_with_the_whole_table(reference, hypothesis))  # noqa: B023
            # A count is remembered, so each measurement gets a hypothesis of its own.
            fast = seconds(lambda: count(reference, [*hypothesis, "1"]))  # noqa: B023
            sclite = seconds(lambda: count(reference, hypothesis, SCLITE))  # noqa: B023
            memory = peak(lambda: count(reference, [*hypothesis, "2"]))  # noqa: B023
            others = [damaged(random, hypothesis, 0.02) for _ in range(POINTS)]
            points = seconds(lambda: [count(reference, other) for other in others])  # noqa: B023
            report(
                f"| {words} | {found.errors} | {whole:.2f} | {fast:.3f} | {whole / fast:.0f} | {sclite:.2f} "
                f"| {memory:.0f} | {points:.1f} |"
            )
    report.write()


if __name__ == "__main__":
    main()
