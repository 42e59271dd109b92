"""How many counts agree with NIST's sclite, csrfilt and sc_stats, and with Kaldi's compute-wer?

    python benchmarks/scoring_agreement.py

Compares with what these programs made of the files in tests/goldens, and needs none of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from asr_rescore.kaldi import read_table
from asr_rescore.sclite import GlobalMap, ScliteConfig, ScliteResult, read_trn, score_stm, score_trn
from asr_rescore.statistics.matched_pairs import mapsswe, mcnemar
from asr_rescore.word_alignment import SCLITE, align
from asr_rescore.word_errors import ErrorCount, errors_by_utterance, wer

GOLDENS = Path(__file__).resolve().parents[1] / "tests/goldens"
SCTK = GOLDENS / "sctk"
SCORING = GOLDENS / "scoring"
# The counts of one speaker or system, or a statistic: (what, ours, theirs)
Comparison = tuple[str, object, object]


def numbers(count: ErrorCount) -> tuple[int, ...]:
    right = count.reference_words - count.deletions - count.substitutions
    edits = (count.substitutions, count.deletions, count.insertions, count.errors)
    return (count.sentences, count.reference_words, right, *edits, count.wrong_sentences)


def marks() -> Iterator[Comparison]:
    """Counts of each speaker in files with all of sclite's marks."""
    lines = [line.split() for line in (SCTK / "marks.txt").read_text().splitlines()]
    for (kind, flags), group in itertools.groupby(lines, key=lambda line: line[:2]):
        config = ScliteConfig("D" in flags, "F" in flags, flags.startswith("s"))
        by_speaker = scored(kind, config).by_speaker()
        for _, _, speaker, *theirs in group:
            yield f"sclite: speakers, {kind}", numbers(by_speaker[speaker]), tuple(map(int, theirs))


def scored(kind: str, config: ScliteConfig) -> ScliteResult:
    glm = SCTK / "rules.glm" if kind.endswith("+glm") else None
    if kind.startswith("trn"):
        return score_trn(SCTK / "marks.ref.trn", SCTK / "marks.hyp.trn", config, glm=glm)
    return score_stm(SCTK / "times.ref.stm", SCTK / ("plain.hyp.ctm" if glm else "times.hyp.ctm"), config, glm=glm)


def texts() -> Iterator[Comparison]:
    """Transcripts as a glm rewrites them."""
    as_they_are = ScliteConfig(case_sensitive=True)
    for purpose in ("ref", "hyp"):
        rules = GlobalMap.read(SCTK / "rules.glm", "trn", purpose)
        filtered = read_trn(SCTK / f"marks.{purpose}.filtered.trn", as_they_are)
        for utt, text in read_trn(SCTK / f"marks.{purpose}.trn", as_they_are).items():
            yield "csrfilt: transcripts", rules(text).split(), filtered[utt].split()


def plain() -> Iterator[Comparison]:
    """Counts and tests of six systems on the embedded corpus."""
    references = read_table(SCORING / "mini_dev.ref.txt")
    systems = {path.name[13:-4]: read_table(path) for path in sorted(SCORING.glob("mini_dev.hyp.*.txt"))}
    aligned = {
        name: {utt: align(words, texts.get(utt, ()), SCLITE) for utt, words in references.items()}
        for name, texts in systems.items()
    }
    right = {
        name: [words == texts.get(utt, []) for utt, words in references.items()] for name, texts in systems.items()
    }
    for name, texts in systems.items():
        kaldi = SCORING / f"mini_dev.wer_{name.replace('.', '_', 1)}"
        yield "compute-wer: systems", wer(references, texts).lines(), kaldi.read_text()
    for line in (SCTK / "mini_dev.txt").read_text().splitlines():
        kind, *parts = line.split()
        if kind == "sclite":
            counts = errors_by_utterance(references, systems[parts[0]], rule=SCLITE)
            _, _, corr, sub, dele, ins, err, wrong = numbers(ErrorCount.total(counts.values()))
            yield "sclite: systems", [corr, sub, dele, ins, err, wrong], list(map(int, parts[2::2]))
        elif kind == "mapsswe":
            result = mapsswe(aligned[parts[0]], aligned[parts[1]])
            yield "sc_stats: MAPSSWE", [str(result.pairs), f"{result.statistic:.3f}"], [parts[3], parts[9]]
        else:
            result = mcnemar(right[parts[0]], right[parts[1]])
            yield "sc_stats: McNemar", abs(result.p - float(parts[-1])) <= 5e-4, True


def main() -> None:
    tally: dict[str, list[bool]] = {}
    for what, ours, theirs in itertools.chain(marks(), texts(), plain()):
        tally.setdefault(what, []).append(ours == theirs)
    print("| program and what it counted | agree | of |")
    print("|---|---:|---:|")
    for what, equal in tally.items():
        print(f"| {what} | {sum(equal)} | {len(equal)} |")


if __name__ == "__main__":
    main()
