#!/usr/bin/env bash
# Takes the arguments of Kaldi's steps/lmrescore_rnnlm_lat.sh, and those of rnnlm/lmrescore_pruned.sh, and rescores
# lattices with a language model of asr_rescore. What it leaves in <out-dir> is described at rescore_lattice.sh, which
# does the work and has more options.
#
# Usage: lmrescore_rnnlm_lat.sh [options] <old-lang-dir> <lm-dir> <data-dir> <decode-dir> <out-dir>
#  e.g.: lmrescore_rnnlm_lat.sh --weight 0.75 --max-ngram-order 5 data/lang_test_tgpr exp/student data/test_eval92 \
#          exp/tri4b/decode_tgpr_eval92 exp/tri4b/decode_tgpr_eval92_student_lat
#
# Options, with Kaldi's defaults:
#   --weight W                weight of <lm-dir> against the old language model (default: 0.5)
#   --max-ngram-order N       n-gram order for merging histories (default: 4)
#   --max-arcs N              maximum number of arcs of a lattice (default: that of rescore_lattice.sh)
#   --acwt A                  acoustic scale for pruning (default: 0.1)
#   --lattice-prune-beam B, --beam B
#                             pruning beam (default: that of rescore_lattice.sh)
#   --skip-scoring true       leaves out all scoring (default: false)
#   --cmd "run.pl ..."        runs the jobs (default: run_local.sh)
#   --rnnlm-ver, --normalize, --stage
#                             are accepted and have no effect
# and of rescore_lattice.sh: --old-lm, --no-old-lm, --use-phi, --normaliser, --device, --allow-oov

set -euo pipefail

# Configuration
cmd=
skip_scoring=false
max_ngram_order=4
max_arcs=
acwt=0.1
weight=0.5
rnnlm_ver=
normalize=false
lattice_prune_beam=
beam=
stage=1
use_phi=false
old_lm=
no_old_lm=false
normaliser=
device=
allow_oov=false

printf '%q ' "$0" "$@" && echo
steps=$(dirname "$(readlink -f "$0")")
. "$steps/parse_options.sh"
. "$steps/kaldi_form.sh"

if [ $# -ne 5 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

no_effect --rnnlm-ver "" "a model of asr_rescore knows its own kind"
no_effect --normalize false "the probabilities of all words always add up to one"
no_effect --stage 1 "a job that is finished is not run again"
old_lm=$(old_lm_of "$1")
nj=$(jobs_of "$4")
inv_acwt=$(awk -v acwt="$acwt" 'BEGIN { if (acwt + 0 > 0) printf "%.6g", 1 / acwt }')
if [ -z "$inv_acwt" ]; then
  echo "$0: --acwt: found '$acwt', expected a number above 0" >&2
  exit 2
fi
order=$max_ngram_order beam=${beam:-$lattice_prune_beam} lm_weight=$weight
pass cmd nj order beam max_arcs inv_acwt lm_weight old_lm no_old_lm use_phi skip_scoring normaliser device allow_oov
"$steps/rescore_lattice.sh" "${passed[@]}" "$@"
