"""How large is the page of `report`, how long does it take to make, and how long to open?

    python benchmarks/report_page.py [--systems 10] [--sets 4] [--utterances 500]

Makes output directories of rescorings with random transcripts of which 15 % of the words are wrong, with everything
that the page shows of a rescoring: transcripts, searched weights, errors by depth, costs of the hypotheses that were
changed. Opening is measured in a Chromium, if there is one and the extra `browser` is installed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore.kaldi import write_table
from asr_rescore.ranking import OperatingPoint
from asr_rescore.report import (
    FIRST_PASS_FILE,
    IN_WORDS,
    TUNING_FILE,
    AtDepth,
    ChoiceCosts,
    Experiment,
    LmFacts,
    SearchedWeights,
    SystemReport,
    to_html,
    write_scoring,
)
from asr_rescore.report.choice_costs import COSTS_FILE, write_choice_costs
from asr_rescore.report.list_depth import DEPTHS
from asr_rescore.tuning import lm_weight_grid
from asr_rescore.vocab import Vocabulary
from asr_rescore.vocab_files import save_vocabulary
from asr_rescore.word_errors import errors_by_utterance, wer
from reporting import Report

WORDS = [f"word{number}" for number in range(2000)]
POINTS = tuple(OperatingPoint(lmwt, wip) for wip in (0.0, 0.5, 1.0) for lmwt in range(7, 18))
POINT = OperatingPoint(12, 0.5)
WORDS_IN_UTTERANCE = 17
WRONG = 0.15  # of the words
MOST_COSTS = 500  # as a rescoring leaves them
DEPTHS_SHOWN = DEPTHS[:10]
PARTS = ("acoustic", "rest of the graph", "old LM", "word penalty")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

Texts = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class DataSet:
    """A data set, and what the first pass heard."""

    name: str
    said: Texts
    before: Texts
    speakers: Mapping[str, str]


class Maker:
    """Makes data sets and output directories at random."""

    def __init__(self, folder: Path, utterances: int):
        self.folder = folder
        self.utterances = utterances
        self.draw = random.Random(0)

    def data_set(self, name: str) -> DataSet:
        """References and hypotheses of the first pass."""
        said = {
            f"speaker{k % 9}-utterance{k:04}": self.draw.choices(WORDS, k=WORDS_IN_UTTERANCE)
            for k in range(self.utterances)
        }
        return DataSet(name, said, self._heard(said), {utt: utt.split("-")[0] for utt in said})

    def _heard(self, said: Texts) -> dict[str, list[str]]:
        draw = self.draw
        return {utt: [draw.choice(WORDS) if draw.random() < WRONG else word for word in said[utt]] for utt in said}

    def out_dir(self, system: str, data: DataSet, parameters: int, tuned_here: bool) -> Path:
        """The output directory of one rescoring."""
        folder = self.folder / system / f"decode_{data.name}"
        after = self._heard(data.said)
        oracle = wer(data.said, data.said)
        errors = [900 - 60 * place for place in range(len(DEPTHS_SHOWN))]
        report = SystemReport(
            system=system,
            decoding=folder.name,
            data=data.name,
            lms=(LmFacts(system, "0123456789abcdef", parameters, 50.0),),
            lm_weights=(0.75,),
            point=POINT,
            first_pass_point=POINT,
            source="tuned on data/dev" if tuned_here else "frozen: tuned on data/dev",
            search="N 1000",
            rescored=errors_by_utterance(data.said, after),
            first_pass=errors_by_utterance(data.said, data.before),
            nbest_oracle=oracle,
            lattice_oracle=oracle,
            tuned_here=tuned_here,
            speakers=data.speakers,
            depths=tuple(AtDepth(n, found, found // 2) for n, found in zip(DEPTHS_SHOWN, errors, strict=True)),
        )
        write_scoring(folder, data.said, {POINT: after}, data.speakers, POINT)
        for point in POINTS:
            (folder / IN_WORDS.wer_file(point)).write_text(f"%WER {self.draw.uniform(14, 16):.2f} [ 1 / 10 ]\n")
        write_table(folder / "scoring_kaldi" / FIRST_PASS_FILE, data.before)
        costs = [(utt, self._costs(system, len(words) + 1)) for utt, words in list(after.items())[:MOST_COSTS]]
        write_choice_costs(folder / "scoring_kaldi" / COSTS_FILE, costs)
        if tuned_here:
            grid = lm_weight_grid(1)
            found = np.random.default_rng(0).integers(800, 1200, (len(grid), len(POINTS)))
            SearchedWeights.of_grid(grid, POINTS, found).write(folder / TUNING_FILE)
        report.save(folder)
        return folder

    def _costs(self, system: str, tokens: int) -> ChoiceCosts:
        def costs() -> tuple[float, ...]:
            return tuple(self.draw.uniform(0, 12) for _ in range(tokens))

        parts = {name: (self.draw.uniform(0, 99), self.draw.uniform(0, 99)) for name in (*PARTS, system)}
        return ChoiceCosts(parts, {"old LM": (costs(), costs()), system: (costs(), costs())})


def make(folder: Path, systems: int, sets: int, utterances: int) -> list[Path]:
    """The output directories of all systems on all sets; weights are tuned on the first set."""
    maker = Maker(folder, utterances)
    vocabulary = Vocabulary.from_counts(dict.fromkeys(WORDS[:1900], 1), size=1900, lexicon=())
    directories = []
    for number, data in enumerate(maker.data_set(f"set{number}") for number in range(sets)):
        for system in range(systems):
            out = maker.out_dir(f"system{system}", data, 1_000_000 * (system + 1), tuned_here=number == 0)
            save_vocabulary(out.parent, vocabulary)
            (out.parent / "log.jsonl").write_text(
                '{"epoch": 1.0, "valid_ppl": 60.5}\n{"epoch": 2.0, "valid_ppl": 50}\n'
            )
            directories.append(out)
    return directories


def seconds_to_open(path: Path) -> float | None:
    """Until a Chromium has the page on its screen, its first utterance included; None without one."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None
    if browser is None:
        return None
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page()
        page.goto(f"file://{path}")
        page.locator("#utterance table").first.wait_for()
        opened: float = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
        started.close()
    return opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=int, default=10)
    parser.add_argument("--sets", type=int, default=4)
    parser.add_argument("--utterances", type=int, default=500)
    arguments = parser.parse_args()
    report = Report("The page of a report")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        directories = make(folder, arguments.systems, arguments.sets, arguments.utterances)
        began = time.process_time()
        html = to_html(Experiment.read(directories))
        made = time.process_time() - began
        path = folder / "report.html"
        path.write_text(html, encoding="utf-8")
        opened = seconds_to_open(path)
    report("| systems | sets | utterances | MB | seconds of the processor to make it | seconds to open it |")
    report("|---:|---:|---:|---:|---:|---:|")
    shown = "–" if opened is None else f"{opened:.2f}"
    size = len(html.encode()) / 1e6
    report(f"| {arguments.systems} | {arguments.sets} | {arguments.utterances} | {size:.2f} | {made:.1f} | {shown} |")
    report.write()


if __name__ == "__main__":
    main()
