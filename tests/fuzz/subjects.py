"""What is attacked: small good examples of all kinds of files, and the commands that read each kind."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "goldens"
WORDS = ROOT / "recipes/wsj/mini/lang_bd_tgpr/words.txt"
UTTERANCES = ("kal16-minidev0052", "kal16-minidev0108", "slt-minidev0005")  # of Kaldi's lattices, small ones
SMALL = """\
model: {embedding: 4, hidden: [5, 4], experts: 2, embedding_init: 1.0}
objective: {kind: ce}
train: {optimizer: adamw, lr: 0.01, epochs: 2, batch: 4, bptt: 20}
"""
DISTILL = SMALL.replace("kind: ce", "kind: trust")
TABLES = "Table 1: [{name: teacher, models: l*, paper: '58'}, {name: student, models: none_*}]\n"

TRAIN = "--config config.yaml --train text/train.txt --valid text/valid.txt --device cpu"
GRID = "--device cpu --min-lmwt 11 --max-lmwt 12 --word-ins-penalty 0"
RESCORE = f"{GRID} --lm-weight 0.5"
INPUTS = "lang lm data decode"
# Name → command. A command may only change what begins with "out".
COMMANDS = {
    "prepare_text": "prepare_text --vocabulary-size 50 --lexicon lang/words.txt text/train.txt out",
    "prepare_text --kaldi-text": "prepare_text --kaldi-text --valid-fraction 0.4 data/text out",
    "train_lm": f"train_lm {TRAIN} --vocab text out",
    "train_lm --init": f"train_lm {TRAIN} --init lm out",
    "train_lm again": f"train_lm {TRAIN} --vocab text out.training",
    "distill_lm": f"distill_lm {TRAIN} --config distill.yaml lm out",
    "distill_lm --teacher-cache": f"distill_lm {TRAIN} --config distill.yaml --teacher-cache out.cache lm out",
    "cache_teacher": "cache_teacher --device cpu --train text/train.txt --top 4 --samples 2 lm out",
    "cache_teacher again": "cache_teacher --device cpu --train text/train.txt lm out.building",
    "ensemble_lm": "ensemble_lm --device cpu --valid text/valid.txt lm lm out",
    "compute_ppl": "compute_ppl --device cpu lm text/valid.txt",
    "compute_ppl --dynamic": "compute_ppl --device cpu --dynamic --statistics text/train.txt lm text/valid.txt",
    "compute_ppl of an ensemble": "compute_ppl --device cpu --by-sentence ensemble text/valid.txt",
    "compute_ppl --json": "compute_ppl --device cpu --json out.json lm text/valid.txt",
    "sample_text": "sample_text --device cpu --sentences 3 --streams 2 lm out.txt",
    "ppl_table": "ppl_table tables.yaml .",
    "lattice_to_nbest": "lattice_to_nbest --n 5 lattices.{} lang/words.txt out",
    "lattice_to_nbest of a directory": "lattice_to_nbest --n 5 decode lang/words.txt out",
    "lattice_to_ctm": "lattice_to_ctm lang/words.txt lattices.{} out.ctm",
    "lattice_to_ctm --weights": "lattice_to_ctm --weights weights.yaml --data-dir data lang/words.txt decode out.ctm",
    "rescore_nbest": f"rescore_nbest {RESCORE} --n 5 {INPUTS} out",
    "rescore_nbest --tune": f"rescore_nbest {GRID} --tune --n 5 --score-cache out.scores {INPUTS} out",
    "rescore_nbest --filter": f"rescore_nbest {GRID} --tune --cer --filter ./filter.sh --n 5 {INPUTS} out",
    "rescore_nbest again": f"rescore_nbest {RESCORE} --cer --n 5 {INPUTS} out.rescored",
    "rescore_nbest --weights": f"rescore_nbest {GRID} --weights weights.yaml --n 5 --nj 2 {INPUTS} out",
    "rescore_nbest --use-phi": f"rescore_nbest {RESCORE} --use-phi --n 5 {INPUTS} out",
    "rescore_nbest --old-lm lm.arpa": f"rescore_nbest {RESCORE} --old-lm lm.arpa --n 5 {INPUTS} out",
    "rescore_nbest --old-lm lm.carpa": f"rescore_nbest {RESCORE} --old-lm lm.carpa --n 5 {INPUTS} out",
    "rescore_lattice --old-lm lm.carpa": f"rescore_lattice {RESCORE} --old-lm lm.carpa --order 3 {INPUTS} out",
    "rescore_nbest --carry-over": f"rescore_nbest {RESCORE} --carry-over recording --n 5 {INPUTS} out",
    "rescore_lattice": f"rescore_lattice {RESCORE} --order 3 {INPUTS} out",
    "rescore_lattice --hyp-filter": f"rescore_lattice {RESCORE} --cer --hyp-filter ./filter.sh --order 3 {INPUTS} out",
    "rescore_lattice again": f"rescore_lattice {RESCORE} --cer --order 3 {INPUTS} out.expanded",
    "score_wer": "score_wer --details-dir out --data-dir data data/text hyp.txt",
    "score_wer --cer": "score_wer --cer --ref-filter ./filter.sh --details-dir out --data-dir data data/text hyp.txt",
    "score_wer --filter": "score_wer --filter ./answer.sh --details-dir out --data-dir data data/text hyp.txt",
    "report": "report out.rescored out.expanded out",
    "compare": "compare out.rescored out.expanded",
    # What only Python callers read.
    "read_ctm": "python read_ctm dev.ctm",
    "read_nbest_dir": "python read_nbest_dir out.nbest",
}
NEW = ("out.scores",)  # outputs that a command neither continues nor reads
# Where a command is given what stands on the left, its results may replace those with what stands on the right.
EARLIER = {
    " --n 5": " --n 4",
    " --order 3": " --order 2",
    " --vocabulary-size 50": " --vocabulary-size 40",
    " --sentences 3": " --sentences 4",
}
STEPS = ROOT / "recipes/steps"
SCRIPTS = {
    "rescore_nbest.sh": f"{STEPS}/rescore_nbest.sh --nj 2 --n 5 --weights weights.yaml {INPUTS} out",
    "rescore_lattice.sh": f"{STEPS}/rescore_lattice.sh --nj 2 --order 3 --weights weights.yaml {INPUTS} out",
}
LATTICE_COMMANDS = ("lattice_to_nbest", "lattice_to_ctm")
DECODE_COMMANDS = (
    *("rescore_nbest", "rescore_lattice", "rescore_nbest --tune", "lattice_to_nbest of a directory"),
    "lattice_to_ctm --weights",
)
MODEL_COMMANDS = (
    *("compute_ppl", "compute_ppl --dynamic", "sample_text", "rescore_nbest", "rescore_lattice", "ensemble_lm"),
    *("distill_lm", "cache_teacher", "train_lm --init"),
)
TEXT_COMMANDS = (
    *("prepare_text", "train_lm", "distill_lm", "distill_lm --teacher-cache", "cache_teacher", "ensemble_lm"),
    *("compute_ppl", "compute_ppl --dynamic"),
)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        form: which mutators fit, see :data:`mutators.FORMS`.
        files: patterns of the examples.
        commands: those that read such a file, names in COMMANDS.
    """

    form: str
    files: tuple[str, ...]
    commands: tuple[str, ...]


KINDS = {
    "lattice, binary": Kind("binary", ("lattices.ark", "lattices.states"), LATTICE_COMMANDS),
    "lattice, text": Kind("text", ("lattices.text",), LATTICE_COMMANDS),
    "lat.JOB.gz": Kind("binary", ("decode/lat.*.gz",), (*DECODE_COMMANDS, "rescore_nbest --carry-over")),
    "lat.JOB.gz, text": Kind("text", ("decode/lat.*.gz",), DECODE_COMMANDS),
    "num_jobs": Kind("text", ("decode/num_jobs",), DECODE_COMMANDS),
    "scp": Kind("text", ("lattices.scp",), LATTICE_COMMANDS),
    "words.txt": Kind("text", ("lang/words.txt",), ("prepare_text", *DECODE_COMMANDS)),
    "G.fst": Kind("binary", ("lang/G.fst",), ("rescore_nbest", "rescore_nbest --use-phi", "rescore_lattice")),
    "ARPA file": Kind("text", ("lm.arpa",), ("rescore_nbest --old-lm lm.arpa",)),
    "G.carpa": Kind("binary", ("lm.carpa",), ("rescore_nbest --old-lm lm.carpa", "rescore_lattice --old-lm lm.carpa")),
    "oov.txt": Kind("text", ("lang/oov.txt",), ("rescore_nbest", "rescore_lattice")),
    "text": Kind(
        "text", ("data/text", "hyp.txt"), ("score_wer", "score_wer --cer", "rescore_nbest", "prepare_text --kaldi-text")
    ),
    "output of a filter": Kind("text", ("answer.txt",), ("score_wer --filter",)),
    "utt2spk": Kind("text", ("data/utt2spk",), ("score_wer", "rescore_nbest --carry-over", "rescore_lattice")),
    "segments": Kind(
        *("text", ("data/segments", "data/reco2file_and_channel")),
        commands=("lattice_to_ctm --weights", "rescore_nbest --carry-over"),
    ),
    "ctm": Kind("text", ("dev.ctm",), ("read_ctm",)),
    "N-best directory": Kind("text", ("out.nbest/archives.1/*",), ("read_nbest_dir",)),
    "rescored directory": Kind(
        "text", ("out.rescored/archives.1/*", "out.rescored/lat.1.gz", "out.rescored/.*"), ("rescore_nbest again",)
    ),
    "sentences": Kind("text", ("text/train.txt", "text/valid.txt"), TEXT_COMMANDS),
    "ids of a text": Kind("binary", ("text/train.txt.ids/*/*",), ("train_lm", "distill_lm", "cache_teacher")),
    "vocab.txt": Kind("text", ("text/vocab.txt", "lm/vocab.txt"), ("train_lm", *MODEL_COMMANDS)),
    "unk_probs.txt": Kind("text", ("text/unk_probs.txt", "lm/unk_probs.txt"), ("train_lm", *MODEL_COMMANDS)),
    "config.yaml": Kind("yaml", ("config.yaml",), ("train_lm", "distill_lm")),
    "config.yaml of a model": Kind("yaml", ("lm/config.yaml",), MODEL_COMMANDS),
    "config.yaml of an ensemble": Kind("yaml", ("ensemble/config.yaml",), ("compute_ppl of an ensemble",)),
    "model.safetensors": Kind("safetensors", ("lm/model.safetensors",), MODEL_COMMANDS),
    "provenance.json": Kind("json", ("lm/provenance.json",), (*MODEL_COMMANDS, "ppl_table")),
    "training state": Kind("safetensors", ("out.training/training_state.safetensors",), ("train_lm again",)),
    "log.jsonl": Kind("json", ("out.training/log.jsonl",), ("train_lm again",)),
    "cache.json": Kind("json", ("out.cache/cache.json",), ("distill_lm --teacher-cache",)),
    "cache arrays": Kind("binary", ("out.cache/*.[fi]*",), ("distill_lm --teacher-cache",)),
    "unfinished cache": Kind("safetensors", ("out.building/building.safetensors",), ("cache_teacher again",)),
    "score cache": Kind("binary", ("out.scores/*/*",), ("rescore_nbest --tune",)),
    "weights.yaml": Kind("yaml", ("weights.yaml",), ("lattice_to_ctm --weights", "rescore_nbest --weights")),
    "report.json": Kind("json", ("out.rescored/report.json", "out.expanded/report.json"), ("report", "compare")),
    "scoring_kaldi": Kind(
        *("text", ("out.rescored/scoring_kaldi/*.txt", "out.expanded/scoring_kaldi/penalty_*/*.txt")),
        commands=("report", "compare"),
    ),
    "job.JOB.json": Kind(
        *("json", ("out.rescored/job.1.json", "out.expanded/job.1.json")),
        commands=("rescore_nbest again", "rescore_lattice again"),
    ),
    "tables.yaml": Kind("yaml", ("tables.yaml",), ("ppl_table",)),
    "ppl_TEXT.json": Kind("json", ("lm/ppl_valid.json",), ("ppl_table",)),
}


def make_examples() -> None:
    """Write all examples into the current directory."""
    from asr_rescore import kaldi
    from asr_rescore.cli.main import main
    from asr_rescore.lm import neural_scorer  # noqa: F401  so that torch is loaded once
    from asr_rescore.training import loop, teacher_cache

    def run(command: str) -> None:
        status = main(command.split())
        if status != 0:
            raise RuntimeError(f"{command} ended with status {status}")

    _write_lattices()
    _write_lang_and_data()
    Path("config.yaml").write_text(SMALL)
    Path("distill.yaml").write_text(DISTILL)
    Path("tables.yaml").write_text(TABLES)
    sentences = [" ".join(words) for words in kaldi.read_table(GOLDENS / "lattice/ref.txt").values()]
    Path("sentences").write_text("".join(f"{line}\n" for line in sentences * 3))
    run("prepare_text --valid-fraction 0.2 sentences text")
    run(COMMANDS["train_lm"].replace(" out", " lm"))
    run("compute_ppl --device cpu --json lm/ppl_valid.json lm text/valid.txt")
    run("ensemble_lm --device cpu lm lm ensemble")
    run(COMMANDS["rescore_nbest --tune"])
    shutil.copy("out/weights.yaml", "weights.yaml")
    shutil.rmtree("out")
    run(COMMANDS["rescore_nbest again"])
    run(COMMANDS["rescore_lattice again"])
    run("lattice_to_nbest --n 5 decode lang/words.txt out.nbest")
    run("lattice_to_ctm --data-dir data lang/words.txt decode dev.ctm")
    run(COMMANDS["cache_teacher"].replace(" lm out", " lm out.cache"))
    with _stopping(loop.Trainer, "train_epoch", after=1):
        main(COMMANDS["train_lm again"].split())
    with _stopping(teacher_cache._Builder, "_read", after=2):
        teacher_cache.SAVE_EVERY = -1.0
        teacher_cache.CHUNK_BYTES = 1 << 15
        main(COMMANDS["cache_teacher again"].split())
    missing = [pattern for kind in KINDS.values() for pattern in kind.files if not any(Path().glob(pattern))]
    if missing:
        raise RuntimeError(f"no examples of {missing}")


def _write_lattices() -> None:
    from asr_rescore import kaldi

    every = dict(kaldi.read_lattices(GOLDENS / "formats/compact.ark"))
    chosen = [(utt, every[utt]) for utt in UTTERANCES]
    kaldi.write_lattices("lattices.ark", chosen, scp="lattices.scp")
    kaldi.write_lattices("lattices.text", chosen, text=True)
    kaldi.write_lattices("lattices.states", chosen[:1], compact=False)
    for job, part in enumerate((chosen[:2], chosen[2:]), 1):
        kaldi.write_lattices(f"decode/lat.{job}.gz", part)
    kaldi.write_num_jobs(Path("decode"), 2)


def _write_lang_and_data() -> None:
    from asr_rescore import kaldi
    from asr_rescore.ngram import WordFst

    Path("lang").mkdir()
    shutil.copy(WORDS, "lang/words.txt")
    Path("lang/oov.txt").write_text("<UNK>\n")
    ids = kaldi.read_words("lang/words.txt").ids
    words = sorted({int(word) for _, lattice in kaldi.read_lattices("lattices.ark") for word in lattice.word} - {0})
    # State 0 has all words; each other state has one word, and backs off to state 0.
    count = len(words)
    here = np.arange(count) + 1
    back_off = np.full(count, ids["#0"])
    nothing = np.zeros(count, np.int32)
    grammar = WordFst(
        start=0,
        source=np.concatenate([nothing, here.repeat(2)]).astype(np.int32),
        target=np.concatenate([here, np.stack([np.roll(here, 1), nothing], 1).ravel()]).astype(np.int32),
        ilabel=np.concatenate([words, np.stack([np.roll(words, 1), back_off], 1).ravel()]).astype(np.int32),
        olabel=np.concatenate([words, np.stack([np.roll(words, 1), nothing], 1).ravel()]).astype(np.int32),
        cost=np.array([np.log(count + 1)] * count + [0.5, 1.0] * count),
        final=np.full(count + 1, np.log(count + 1)),
    )
    kaldi.write_grammar("lang/G.fst", grammar)
    _write_ngrams(ids, [word for word, index in ids.items() if index in words[::20]])
    text = {utt: words for utt, words in kaldi.read_table(GOLDENS / "lattice/ref.txt").items() if utt in UTTERANCES}
    kaldi.write_data_dir(Path("data"), kaldi.DataDir({utt: utt.split("-")[0] for utt in text}, text))
    Path("data/segments").write_text("".join(f"{utt} recording {at} {at + 9.5}\n" for at, utt in enumerate(text)))
    Path("data/reco2file_and_channel").write_text("recording rec A\n")
    kaldi.write_table("hyp.txt", {utt: words[1:] for utt, words in text.items()})
    shutil.copy("data/text", "answer.txt")
    for name, program in {
        "filter.sh": "exec sed -e 's/ THE / A /g'",
        "answer.sh": "cat >/dev/null; cat answer.txt",
    }.items():
        Path(name).write_text(f"#!/bin/sh\n{program}\n")
        Path(name).chmod(0o755)


def _write_ngrams(ids: dict[str, int], words: list[str]) -> None:
    """An n-gram model in both its formats. Most words of the lattices are unknown to it."""
    sys.path.append(str(ROOT / "tests"))
    import ngram_files

    model = ngram_files.random_model(3, 1, (*words, "<UNK>"))
    Path("lm.arpa").write_text(ngram_files.arpa(model))
    Path("lm.carpa").write_bytes(ngram_files.const_arpa(model, ids, ids["<UNK>"], farthest=2000))


@contextmanager
def _stopping(owner: type, method: str, after: int) -> Iterator[None]:
    """Stop as Ctrl-C does when a method has been called ``after`` times."""
    original = getattr(owner, method)
    calls = iter(range(after))

    def counted(*arguments: object) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return original(*arguments)

    setattr(owner, method, counted)
    try:
        yield
    finally:
        setattr(owner, method, original)
