"""An egs/wsj/s5 without Kaldi: every script that the recipe calls records its command line and leaves what the real one
leaves, as far as the recipe looks at it. Lattices, words and texts are those of the embedded corpus."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

MINI = Path(__file__).resolve().parent.parent / "recipes/wsj/mini"
SETS = ("test_eval92", "test_eval93", "test_dev93")
CALLS = "calls.jsonl"
FAILING = "failing"  # a file with the name of a script that fails


def touch(*paths: str) -> None:
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def last(name: str) -> Callable[[list[str]], None]:
    """A script that leaves one file in the directory that is its last argument."""
    return lambda arguments: touch(f"{arguments[-1]}/{name}")


def data_prep(arguments: list[str]) -> None:
    touch("data/local/data/spk2gender")


def prepare_lang(arguments: list[str]) -> None:
    last("L_disambig.fst")(arguments)
    shutil.copy(MINI / "lang_tgpr/words.txt", f"{arguments[-1]}/words.txt")


def format_data(arguments: list[str]) -> None:
    touch(*(f"data/lang_nosp_test_{lm}/G.fst" for lm in ("bg", "tgpr", "tg", "bg_5k", "tgpr_5k", "tg_5k")))
    for name in (*SETS, "train_si284"):
        shutil.copytree(MINI / "data" / ("dev" if "dev" in name else "eval"), f"data/{name}")


def extend_dict(arguments: list[str]) -> None:
    touch("data/local/dict_nosp_larger/lexicon.txt")
    shutil.copy(MINI / "text/train.txt.gz", "data/local/dict_nosp_larger/cleaned.gz")


def format_local_lms(arguments: list[str]) -> None:
    touch(*(f"data/lang_nosp_test_bd_{lm}/G.{'carpa' if 'const' in lm else 'fst'}" for lm in LOCAL_LMS))


LOCAL_LMS = ("tg", "tgpr", "tgconst", "fg", "fgpr", "fgconst")


def decode(arguments: list[str]) -> None:
    """A decode directory of the embedded corpus that has the dictionary and the set of the one asked for."""
    out = arguments[-1]
    dictionary = "bd_tgpr" if "_bd_" in out else "tgpr"
    part = "dev" if "dev93" in out else "eval"
    shutil.copytree(MINI / f"exp/decode_{dictionary}_{part}", out)
    touch(f"{out}/scoring_kaldi/best_wer")


def subset(arguments: list[str]) -> None:
    last("feats.scp")(arguments)


SCRIPTS: dict[str, Callable[[list[str]], None]] = {
    "local/wsj_data_prep.sh": data_prep,
    "local/cstr_wsj_data_prep.sh": data_prep,
    "local/wsj_prepare_dict.sh": lambda arguments: touch("data/local/dict_nosp/lexicon.txt"),
    "local/wsj_format_data.sh": format_data,
    "local/wsj_extend_dict.sh": extend_dict,
    "local/cstr_wsj_extend_dict.sh": extend_dict,
    "local/wsj_train_lms.sh": lambda arguments: touch("data/local/local_lm/4gram-mincount/lm_pr7.0.gz"),
    "local/wsj_format_local_lms.sh": format_local_lms,
    "local/online/run_nnet2.sh": lambda arguments: touch("exp/nnet2_online/nnet_ms_a_online/final.mdl"),
    "local/chain/run_tdnn.sh": lambda arguments: touch("exp/chain/tdnn1i_sp/final.mdl"),
    "utils/prepare_lang.sh": prepare_lang,
    "utils/subset_data_dir.sh": subset,
    "utils/dict_dir_add_pronprobs.sh": last("lexiconp_silprob.txt"),
    "utils/mkgraph.sh": last("HCLG.fst"),
    "steps/make_mfcc.sh": last("feats.scp"),
    "steps/compute_cmvn_stats.sh": last("cmvn.scp"),
    "steps/train_mono.sh": last("final.mdl"),
    "steps/train_deltas.sh": last("final.mdl"),
    "steps/train_lda_mllt.sh": last("final.mdl"),
    "steps/train_sat.sh": last("final.mdl"),
    "steps/align_si.sh": last("ali.1.gz"),
    "steps/get_prons.sh": last("pron_bigram_counts_nowb.txt"),
    "steps/decode_fmllr.sh": decode,
    "steps/online/nnet2/decode.sh": decode,
    "steps/nnet3/decode.sh": decode,
    "steps/lmrescore.sh": decode,
    "steps/lmrescore_const_arpa.sh": decode,
    "steps/rnnlmrescore.sh": decode,
}


class FakeS5:
    """The tree, and what was called in it."""

    def __init__(self, root: Path):
        self.root = root
        for name in SCRIPTS:
            script = root / name
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" {name} "$@"\n')
            script.chmod(0o755)
        (root / "cmd.sh").write_text('train_cmd="run.pl"\ndecode_cmd="queue.pl --mem 2G"\n')
        (root / "path.sh").write_text("export LC_ALL=C\n")

    def discs(self) -> tuple[Path, Path]:
        """Directories as LDC's discs have them."""
        wsj0, wsj1 = self.root / "LDC93S6B", self.root / "LDC94S13B"
        for disc in (wsj0 / "11-13.1", wsj0 / "11-2.1", wsj1 / "13-34.1", wsj1 / "13-1.1", wsj1 / "13-32.1"):
            disc.mkdir(parents=True)
        return wsj0, wsj1

    def tools(self) -> Path:
        """A KALDI_ROOT with the programs that Kaldi does not install by itself."""
        root = self.root / "kaldi"
        for program in ("sph2pipe_v2.5/sph2pipe", "irstlm/bin/prune-lm", "kaldi_lm/train_lm.sh"):
            path = root / "tools" / program
            path.parent.mkdir(parents=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        (self.root / "data/local/dict_nosp/cmudict").mkdir(parents=True)
        return root

    def finish(self) -> None:
        """What run.sh of s5 leaves, as far as the recipe reads it, for tri4b; the other models are not decoded."""
        larger = self.root / "data/local/dict_nosp_larger"
        larger.mkdir(parents=True)
        shutil.copy(MINI / "text/train.txt.gz", larger / "cleaned.gz")
        for lang in ("tgpr", "tg", "bd_tgpr", "bd_fgconst"):
            shutil.copytree(MINI / f"lang_{'bd_' if 'bd' in lang else ''}tgpr", self.root / f"data/lang_test_{lang}")
        for name in SETS:
            for suffix in ("", "_hires"):
                source = MINI / "data" / ("dev" if "dev" in name else "eval")
                shutil.copytree(source, self.root / f"data/{name}{suffix}")
        for name in ("dev93", "eval92", "eval93"):
            for dictionary in ("tgpr", "bd_tgpr"):
                source = MINI / f"exp/decode_{dictionary}_{'dev' if 'dev' in name else 'eval'}"
                shutil.copytree(source, self.root / f"exp/tri4b/decode_{dictionary}_{name}")

    def calls(self) -> list[list[str]]:
        """The command lines recorded since the last time."""
        file = self.root / CALLS
        if not file.exists():
            return []
        lines = file.read_text().splitlines()
        file.unlink()
        return [json.loads(line) for line in lines]

    def fail(self, script: str | None) -> None:
        """Let a script fail from now on, or none."""
        if script is None:
            (self.root / FAILING).unlink()
        else:
            (self.root / FAILING).write_text(script)


def main(name: str, arguments: list[str]) -> int:
    with Path(CALLS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps([name, *arguments]) + "\n")
    if Path(FAILING).exists() and Path(FAILING).read_text() == name:
        print(f"{name}: told to fail", file=sys.stderr)
        return 1
    SCRIPTS[name](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
