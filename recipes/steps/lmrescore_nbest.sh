#!/usr/bin/env bash
# Takes the arguments of Kaldi's rnnlm/lmrescore_nbest.sh, and rescores N-best lists with a language model of
# asr_rescore. What it leaves in <out-dir> is described at rescore_nbest.sh, which does the work and has more options.
#
# Usage: lmrescore_nbest.sh [options] <weight> <old-lang-dir> <lm-dir> <data-dir> <decode-dir> <out-dir>
#  e.g.: lmrescore_nbest.sh --N 1000 0.75 data/lang_test_tgpr exp/student data/test_eval92_hires \
#          exp/chain/tdnn1i_sp/decode_tgpr_eval92 exp/chain/tdnn1i_sp/decode_tgpr_eval92_student
#
# Options, with Kaldi's defaults:
#   --N N                     at most N hypotheses per utterance; more are better (default: 10)
#   --inv-acwt N              inverse acoustic scale at which hypotheses are chosen (default: 10)
#   --use-phi true            the old language model was added by Kaldi's lmrescore.sh (default: false)
#   --skip-scoring true       leaves out all scoring (default: false)
#   --cmd "run.pl ..."        runs the jobs (default: run_local.sh)
#   --stage, --keep-ali       are accepted and have no effect
#   --test true               is refused
# and of rescore_nbest.sh: --old-lm, --no-old-lm, --normaliser, --device, --allow-oov

set -euo pipefail

# Configuration
N=10
inv_acwt=10
cmd=
use_phi=false
test=false
stage=1
skip_scoring=false
keep_ali=true
old_lm=
no_old_lm=false
normaliser=
device=
allow_oov=false

printf '%q ' "$0" "$@" && echo
steps=$(dirname "$(readlink -f "$0")")
. "$steps/parse_options.sh"
. "$steps/kaldi_form.sh"

if [ $# -ne 6 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

rescore_nbest_as_kaldi "$@"
