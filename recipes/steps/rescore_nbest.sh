#!/usr/bin/env bash
# Rescores a Kaldi decode directory with language models of asr_rescore, in $nj jobs, and scores the result.
# The output is again a decode directory: lat.JOB.gz, archives.JOB/, wer_LMWT_WIP, scoring_kaldi/, weights.yaml.
# It can be used from any Kaldi s5 directory and does not need Kaldi itself.
#
# Usage: rescore_nbest.sh [options] <old-lang-dir> <lm-dir> [<lm-dir> ...] <data-dir> <decode-dir> <out-dir>
#  e.g.: rescore_nbest.sh --weights exp/student/dev data/lang_test_tgpr exp/student data/test_eval92 \
#          exp/tri4b/decode_tgpr_eval92 exp/student/eval92
#
# Options:
#   --cmd "run.pl --mem 4G"   runs the jobs: Kaldi's run.pl, queue.pl or slurm.pl (steps/run_local.sh)
#   --nj 4                    number of jobs (2)
#   --n 1000                  at most this many hypotheses per utterance (1000)
#   --inv-acwt 12             inverse acoustic scale at which hypotheses are chosen (12)
#   --normaliser int8         faster: int8 or bfloat16 on CPUs that support them, float16 on a GPU; none: only for
#                             students trained with self_normalization (float32)
#   --score-cache DIR         keeps the costs of sentences for other jobs and later runs
#   --carry-over speaker      speaker or recording: models continue from the best hypothesis of the previous utterance;
#                             needs --weights (none)
#   --weights F               weights.yaml of a dev set, or its out-dir; applied unchanged. Without it, weights are
#                             tuned on <data-dir> itself
#   --lmwt 0.7:1.5:0.1        the LMWTs to score: first:last, first:last:step, or numbers separated by commas (7:17)
#   --filter F                program that rewrites references and hypotheses before errors are counted, such as
#                             local/wer_output_filter; none: no filter. Without it, the executable ones of
#                             wer_output_filter, wer_ref_filter and wer_hyp_filter in --filter-dir are used, as
#                             Kaldi's score.sh uses them
#   --filter-dir DIR          where those are (local)
#   --cer true                also counts character errors, and tunes for them (false)
#   --allow-oov true          rescores even if a language model knows almost none of the lattices' words (false)

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
lmwt=
filter=
filter_dir=local
cer=false
allow_oov=false

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
if [ -n "$lmwt" ]; then common+=(--lmwt "$lmwt"); fi
. "$steps/filters.sh" # sets filters
common+=("${filters[@]}")
if [ "$cer" = true ]; then common+=(--cer); fi
if [ "$allow_oov" = true ]; then common+=(--allow-oov); fi

mkdir -p "$out_dir/log"
if [ "$nj" -gt 1 ]; then # the expensive part; with one job, the last call does it too
  $cmd JOB=1:"$nj" "$out_dir/log/cost.JOB.log" asr-rescore rescore_nbest "${common[@]}" --job JOB "$@"
fi
$cmd "$out_dir/log/finish.log" asr-rescore rescore_nbest "${common[@]}" "$@"
echo "$out_dir:"
grep -E '%WER|%CER|^scoring: |: warning: ' "$out_dir/log/finish.log" || true # without references there is no WER
