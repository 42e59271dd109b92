"""What several test files share: where things stand, and commands that run this checkout, installed or not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

from asr_rescore import kaldi
from asr_rescore.cli.main import main
from asr_rescore.lattice import n_best

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests" / "goldens"

# The models of the tests are small: more threads than one make them slower, most of all beside other processes. This is
# also for the processes that tests start, and precedes every import of torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure, so neither an example nor the making of examples has a time limit.
hypothesis.settings.register_profile("steady", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def mini() -> Path:
    """The embedded corpus; read-only."""
    return ROOT / "recipes/wsj/mini"


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the source tree holds, without what was built or computed in it."""
    copy = tmp_path_factory.mktemp("checkout") / "asr_rescore"
    built = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    computed = {str(ROOT / "recipes" / recipe / "exp") for recipe in ("wsj", "ptb")}

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {*built(folder, names), *(name for name in names if str(Path(folder, name)) in computed)}

    shutil.copytree(ROOT, copy, ignore=ignore)
    return copy


@pytest.fixture(scope="session")
def environment(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which ``asr-rescore`` and ``python`` run the copy of :func:`checkout`."""
    programs = tmp_path_factory.mktemp("programs")
    for name, call in {"asr-rescore": " -m asr_rescore.cli.main", "python": "", "python3": ""}.items():
        program = programs / name  # not a link: from another place, an environment's python does not know its own
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{call} "$@"\n')
        program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
    }


@pytest.fixture(scope="session")
def lang(mini):
    return mini / "lang_bd_tgpr"


@pytest.fixture(scope="session")
def decode(tmp_path_factory):
    """Twelve of Kaldi's lattices in two files."""
    folder = tmp_path_factory.mktemp("decode")
    lattices = list(kaldi.read_lattices(GOLDENS / "formats" / "compact.ark"))
    for job, part in enumerate((lattices[:7], lattices[7:]), 1):
        kaldi.write_lattices(folder / f"lat.{job}.gz", part)
    kaldi.write_num_jobs(folder, 2)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "dev"
    text = kaldi.read_table(GOLDENS / "lattice" / "ref.txt")
    kaldi.write_data_dir(folder, kaldi.DataDir({utt: utt.split("-")[0] for utt in text}, text))
    return folder


@pytest.fixture(scope="session")
def small(decode, tmp_path_factory):
    """Those of the lattices that have few sentences, so that all can be costed."""
    folder = tmp_path_factory.mktemp("small")
    lattices = [(utt, it) for utt, it in kaldi.read_lattices(decode) if len(n_best(it, 1000, 1 / 12)) < 1000]
    assert len(lattices) >= 6
    kaldi.write_lattices(folder / "lat.1.gz", lattices)
    kaldi.write_num_jobs(folder, 1)
    return folder


@pytest.fixture(scope="session")
def few(data, small, tmp_path_factory):
    """The data directory of ``small``."""
    folder = tmp_path_factory.mktemp("few") / "few"
    known, utts = kaldi.read_data_dir(data), [utt for utt, _ in kaldi.read_lattices(small)]
    some = kaldi.DataDir({utt: known.utt2spk[utt] for utt in utts}, {utt: known.text[utt] for utt in utts})
    kaldi.write_data_dir(folder, some)
    return folder


@pytest.fixture(scope="session")
def lm(tmp_path_factory, lang):
    from rescoring_runs import save_random_lm  # imports torch, which not every test file needs

    words = [word for word in kaldi.read_words(lang / "words.txt").ids if word[0] not in "<#!"]
    return save_random_lm(tmp_path_factory.mktemp("lm") / "random", words, 1)


@pytest.fixture
def s5(tmp_path):
    """A Kaldi directory with stand-ins for its programs."""
    from s5_directory import S5

    return S5(tmp_path)


@pytest.fixture
def steps(checkout) -> Path:
    """The scripts of a checkout without .venv."""
    return checkout / "recipes/steps"


@pytest.fixture
def rescore(lang, lm, data, decode, tmp_path):
    """Run the command into ``tmp_path``/out; returns its exit status and the out-dir."""

    def run(*options: object, lang=lang, lms=(lm,), data=data, decode=decode, out="out") -> tuple[int, Path]:
        place = tmp_path / out
        arguments = ["--device", "cpu", *options, lang, *lms, data, decode, place]
        return main(["rescore_nbest", *map(str, arguments)]), place

    return run
