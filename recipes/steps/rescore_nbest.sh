#!/usr/bin/env bash
# Rescores a Kaldi decode directory with language models of asr_rescore, in $nj jobs, and scores the result.
# The output is a decode directory again: lat.JOB.gz, archives.JOB/, wer_LMWT_WIP, scoring_kaldi/, weights.yaml.
# Usable from any Kaldi s5 directory; needs no Kaldi itself.
#
# Usage: rescore_nbest.sh [options] <old-lang-dir> <lm-dir> [<lm-dir> ...] <data-dir> <decode-dir> <out-dir>
#  e.g.: rescore_nbest.sh --weights exp/student/dev data/lang_test_tgpr exp/student data/test_eval92 \
#          exp/tri4b/decode_tgpr_eval92 exp/student/eval92
#
# Options:
#   --cmd "run.pl --mem 4G"   how jobs are run: run.pl, queue.pl or slurm.pl of Kaldi, or steps/run_local.sh
#   --nj 4                    jobs
#   --n 1000                  hypotheses of an utterance
#   --inv-acwt 12             inverse acoustic scale with which they are chosen
#   --normaliser float32      int8 or bfloat16 on a CPU that has it, float16 on a GPU: faster; none: for students trained so
#   --score-cache DIR         costs of sentences, shared by jobs and later runs
#   --carry-over none         speaker or recording: models start from the best of the one before (wants --weights)
#   --weights F               weights.yaml of a dev set (or its out-dir), applied unchanged; without it, weights are
#                             tuned on <data-dir> itself

set -euo pipefail

# Configuration
cmd=
nj=2
n=1000
inv_acwt=12
normaliser=float32
score_cache=
carry_over=none
weights=

echo "$0 $*"
steps=$(cd "$(dirname "$0")" && pwd)
. "$steps/parse_options.sh"

if [ $# -lt 5 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

out_dir=${*: -1}
cmd=${cmd:-$steps/run_local.sh}
if [ -n "$weights" ]; then decide=(--weights "$weights"); else decide=(--tune); fi
common=(--n "$n" --inv-acwt "$inv_acwt" --normaliser "$normaliser" --carry-over "$carry_over" --nj "$nj" "${decide[@]}")
if [ -n "$score_cache" ]; then common+=(--score-cache "$score_cache"); fi

mkdir -p "$out_dir/log"
if [ "$nj" -gt 1 ]; then # the dear part; with one job, the last call does it too
  $cmd JOB=1:"$nj" "$out_dir/log/cost.JOB.log" asr-rescore rescore_nbest "${common[@]}" --job JOB "$@"
fi
$cmd "$out_dir/log/finish.log" asr-rescore rescore_nbest "${common[@]}" "$@"
echo "$out_dir:"
grep '%WER' "$out_dir/log/finish.log" || true # without references there is none
