#!/usr/bin/env bash
# Rescores a Kaldi decode directory with language models of asr_rescore, in $nj jobs, and scores the result.
# The output is again a decode directory: lat.JOB.gz, archives.JOB/, wer_LMWT_WIP, scoring_kaldi/, weights.yaml.
# It can be used from any Kaldi s5 directory and does not need Kaldi itself.
#
# Usage: rescore_nbest.sh [options] <old-lang-dir> <lm-dir> [<lm-dir> ...] <data-dir> <decode-dir> <out-dir>
#  e.g.: rescore_nbest.sh --weights exp/student/dev data/lang_test_tgpr exp/student data/test_eval92 \
#          exp/tri4b/decode_tgpr_eval92 exp/student/eval92
#
# Options (--weights, --lm-weight or --tune must be given):
#   --lm-weight "W ..."       weight of each <lm-dir> against the old language model
#   --weights F               weights.yaml of a dev set, or its out-dir; applied unchanged
#   --tune true               tunes weights on <data-dir> itself, for a dev set (default: false)
#   --old-lm F                the old language model, if it is not that of <old-lang-dir>: a G.fst, G.carpa or ARPA file
#   --no-old-lm true          there is no file of the old language model (default: false)
#   --n N, --N N              at most N hypotheses per utterance (default: 1000)
#   --inv-acwt N              inverse acoustic scale at which hypotheses are chosen (default: 12)
#   --use-phi true            the old language model was added by Kaldi's lmrescore.sh (default: false)
#   --min-lmwt N, --max-lmwt N, --word-ins-penalty N,N,...
#                             LMWTs and word insertion penalties to score (defaults: 7, 17, 0.0,0.5,1.0)
#   --lmwt GRID               LMWTs with fractions, in place of --min-lmwt and --max-lmwt, such as 0.7:1.5:0.1
#   --filter F, --ref-filter F, --hyp-filter F
#                             programs that rewrite references and hypotheses before errors are counted. If none is
#                             given, the executable ones of wer_output_filter, wer_ref_filter and wer_hyp_filter in
#                             --filter-dir are used, as Kaldi's score.sh uses them; --filter none: no filter
#   --filter-dir DIR          where those are (default: local)
#   --cer true                also counts character errors, and tunes for them (default: false)
#   --normaliser NAME         faster: int8 or bfloat16 on CPUs that support them, float16 on a GPU; none: only for
#                             students trained with self_normalization (default: float32)
#   --score-cache DIR         keeps the costs of sentences for other jobs and later runs
#   --carry-over NAME         speaker or recording: models continue from the best hypothesis of the previous utterance;
#                             needs known weights (default: none)
#   --allow-oov true          rescores even if a language model knows almost none of the lattices' words
#                             (default: false)
#   --no-lattice-oracle true  leaves out the lattices' oracle WER (default: false)
#   --skip-scoring true       leaves out all scoring; needs known weights (default: false)
#   --device NAME             auto, cpu or cuda (default: auto)
#   --stage N                 1: all; 2: only gather the jobs and score (default: 1)
#   --nj N                    number of jobs (default: 2)
#   --cmd "run.pl ..."        runs the jobs: Kaldi's run.pl, queue.pl or slurm.pl (default: run_local.sh)
#   --mem 4G, --gpu 1, --num-threads 4
#                             what to ask $cmd for, for each job

set -euo pipefail

# Configuration
lm_weight=
weights=
tune=false
old_lm=
no_old_lm=false
n=
N=
inv_acwt=
use_phi=false
min_lmwt=
max_lmwt=
word_ins_penalty=
lmwt=
filter=
ref_filter=
hyp_filter=
filter_dir=local
cer=false
normaliser=
score_cache=
carry_over=
allow_oov=false
no_lattice_oracle=false
skip_scoring=false
device=
stage=1
nj=2
cmd=
mem=
gpu=
num_threads=

printf '%q ' "$0" "$@" && echo
steps=$(dirname "$(readlink -f "$0")")
. "$steps/parse_options.sh"

if [ $# -lt 5 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

known=$lm_weight$weights
if { [ -z "$known" ] && [ "$tune" = false ]; } || { [ -n "$known" ] && [ "$tune" = true ]; }; then
  echo "$0: give one of --weights and --lm-weight, or --tune true for a dev set" >&2
  exit 2
fi

. "$steps/jobs.sh"
. "$steps/rescoring.sh"
n=${n:-$N}
add_options weights tune old_lm no_old_lm n inv_acwt use_phi min_lmwt max_lmwt lmwt cer word_ins_penalty normaliser \
  score_cache carry_over allow_oov no_lattice_oracle skip_scoring device
rescore rescore_nbest "$@"
