#!/usr/bin/env bash
# Rescores the lattices of a Kaldi decode directory with language models of asr_rescore, in $nj jobs, and scores the
# result. The output is a decode directory again: lat.JOB.gz, wer_LMWT_WIP, scoring_kaldi/, weights.yaml.
# Usable from any Kaldi s5 directory; needs no Kaldi itself.
#
# Usage: rescore_lattice.sh [options] <old-lang-dir> <lm-dir> [<lm-dir> ...] <data-dir> <decode-dir> <out-dir>
#  e.g.: rescore_lattice.sh --weights exp/student/dev data/lang_test_tgpr exp/student data/test_eval92 \
#          exp/tri4b/decode_tgpr_eval92 exp/student/eval92_lattices
#
# Options:
#   --cmd "run.pl --mem 4G"   how jobs are run: run.pl, queue.pl or slurm.pl of Kaldi, or steps/run_local.sh
#   --nj 4                    jobs
#   --weights F               weights.yaml of a dev set (or the out-dir of rescore_nbest.sh that has it)
#   --order 6                 histories with the same last words, one fewer than this, are one; 0: none are
#   --normaliser float32      int8 or bfloat16 on a CPU that has it, float16 on a GPU: faster; none: for students trained so
#   --beam 6                  what looks so much dearer than the best is left out

set -euo pipefail

# Configuration
cmd=
nj=2
weights=
normaliser=float32
order=6
beam=6

echo "$0 $*"
steps=$(cd "$(dirname "$0")" && pwd)
. "$steps/parse_options.sh"

if [ $# -lt 5 ] || [ -z "$weights" ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

out_dir=${*: -1}
cmd=${cmd:-$steps/run_local.sh}
common=(--normaliser "$normaliser" --order "$order" --beam "$beam" --nj "$nj" --weights "$weights")

mkdir -p "$out_dir/log"
if [ "$nj" -gt 1 ]; then # the dear part; with one job, the last call does it too
  $cmd JOB=1:"$nj" "$out_dir/log/rescore.JOB.log" asr-rescore rescore_lattice "${common[@]}" --job JOB "$@"
fi
$cmd "$out_dir/log/finish.log" asr-rescore rescore_lattice "${common[@]}" "$@"
echo "$out_dir:"
grep '%WER' "$out_dir/log/finish.log" || true # without references there is none
