#!/usr/bin/env bash
# Rescores the lattices of a Kaldi decode directory with language models of asr_rescore, in $nj jobs, and scores the
# result. The output is again a decode directory: lat.JOB.gz, wer_LMWT_WIP, scoring_kaldi/, weights.yaml.
# It can be used from any Kaldi s5 directory and does not need Kaldi itself.
#
# Usage: rescore_lattice.sh [options] <old-lang-dir> <lm-dir> [<lm-dir> ...] <data-dir> <decode-dir> <out-dir>
#  e.g.: rescore_lattice.sh --weights exp/student/dev data/lang_test_tgpr exp/student data/test_eval92 \
#          exp/tri4b/decode_tgpr_eval92 exp/student/eval92_lattices
#
# Options (--weights or --lm-weight must be given):
#   --lm-weight "W ..."       weight of each <lm-dir> against the old language model
#   --weights F               weights.yaml of a dev set, or the out-dir of rescore_nbest.sh that contains it
#   --old-lm F                the old language model, if it is not that of <old-lang-dir>: a G.fst, G.carpa or ARPA file
#   --no-old-lm true          there is no file of the old language model (default: false)
#   --inv-acwt N              inverse acoustic scale for pruning, with --lm-weight (default: 12)
#   --use-phi true            the old language model was added by Kaldi's lmrescore.sh (default: false)
#   --order N                 n-gram order for merging histories; 0: never merge (default: 6)
#   --beam N                  pruning beam (default: 6)
#   --max-arcs N              maximum number of arcs of a lattice (default: 100000)
#   --min-lmwt N, --max-lmwt N, --word-ins-penalty N,N,...
#                             LMWTs and word insertion penalties to score (defaults: 7, 17, 0.0,0.5,1.0)
#   --lmwt GRID               LMWTs with fractions, in place of --min-lmwt and --max-lmwt, such as 0.7:1.5:0.1
#   --filter F, --ref-filter F, --hyp-filter F
#                             programs that rewrite references and hypotheses before errors are counted. If none is
#                             given, the executable ones of wer_output_filter, wer_ref_filter and wer_hyp_filter in
#                             --filter-dir are used, as Kaldi's score.sh uses them; --filter none: no filter
#   --filter-dir DIR          where those are (default: local)
#   --cer true                also counts character errors (default: false)
#   --normaliser NAME         faster: int8 or bfloat16 on CPUs that support them, float16 on a GPU; none: only for
#                             students trained with self_normalization (default: float32)
#   --allow-oov true          rescores even if a language model knows almost none of the lattices' words
#                             (default: false)
#   --no-lattice-oracle true  leaves out the lattices' oracle WER (default: false)
#   --skip-scoring true       leaves out all scoring (default: false)
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
old_lm=
no_old_lm=false
inv_acwt=
use_phi=false
order=
beam=
max_arcs=
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
if [ -z "$lm_weight$weights" ]; then
  echo "$0: give --weights or --lm-weight; rescore_nbest.sh tunes weights" >&2
  exit 2
fi

. "$steps/jobs.sh"
. "$steps/rescoring.sh"
add_options weights old_lm no_old_lm inv_acwt use_phi order beam max_arcs min_lmwt max_lmwt lmwt cer word_ins_penalty \
  normaliser allow_oov no_lattice_oracle skip_scoring device
rescore rescore_lattice "$@"
