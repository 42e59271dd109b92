#!/usr/bin/env bash
# Rescores the lattices of a Kaldi decode directory with language models of asr_rescore, in $nj jobs, and scores the
# result. The output is again a decode directory: lat.JOB.gz, wer_LMWT_WIP, scoring_kaldi/, weights.yaml.
# It can be used from any Kaldi s5 directory and does not need Kaldi itself.
#
# Usage: rescore_lattice.sh [options] <old-lang-dir> <lm-dir> [<lm-dir> ...] <data-dir> <decode-dir> <out-dir>
#  e.g.: rescore_lattice.sh --weights exp/student/dev data/lang_test_tgpr exp/student data/test_eval92 \
#          exp/tri4b/decode_tgpr_eval92 exp/student/eval92_lattices
#
# Options:
#   --cmd "run.pl --mem 4G"   runs the jobs: Kaldi's run.pl, queue.pl or slurm.pl (steps/run_local.sh)
#   --nj 4                    number of jobs (2)
#   --weights F               weights.yaml of a dev set, or the out-dir of rescore_nbest.sh that contains it (required)
#   --order 6                 n-gram order for merging histories; 0: never merge (6)
#   --normaliser int8         faster: int8 or bfloat16 on CPUs that support them, float16 on a GPU; none: only for
#                             students trained with self_normalization (float32)
#   --beam 6                  pruning beam (6)
#   --lmwt 0.7:1.5:0.1        the LMWTs to score: first:last, first:last:step, or numbers separated by commas (7:17)
#   --filter F                program that rewrites references and hypotheses before errors are counted, such as
#                             local/wer_output_filter; none: no filter. Without it, the executable ones of
#                             wer_output_filter, wer_ref_filter and wer_hyp_filter in --filter-dir are used, as
#                             Kaldi's score.sh uses them
#   --filter-dir DIR          where those are (local)
#   --cer true                also counts character errors (false)
#   --allow-oov true          rescores even if a language model knows almost none of the lattices' words (false)

set -euo pipefail

# Configuration
cmd=
nj=2
weights=
normaliser=float32
order=6
beam=6
lmwt=
filter=
filter_dir=local
cer=false
allow_oov=false

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
if [ -n "$lmwt" ]; then common+=(--lmwt "$lmwt"); fi
. "$steps/filters.sh" # sets filters
common+=("${filters[@]}")
if [ "$cer" = true ]; then common+=(--cer); fi
if [ "$allow_oov" = true ]; then common+=(--allow-oov); fi

mkdir -p "$out_dir/log"
if [ "$nj" -gt 1 ]; then # the expensive part; with one job, the last call does it too
  $cmd JOB=1:"$nj" "$out_dir/log/rescore.JOB.log" asr-rescore rescore_lattice "${common[@]}" --job JOB "$@"
fi
$cmd "$out_dir/log/finish.log" asr-rescore rescore_lattice "${common[@]}" "$@"
echo "$out_dir:"
grep -E '%WER|%CER|^scoring: |: warning: ' "$out_dir/log/finish.log" || true # without references there is no WER
