# What the scripts that are called as Kaldi's own share. Source this file after parse_options.sh.
# shellcheck shell=bash

# no_effect <option> <default> <why>: says so if the option was given another value.
no_effect() {
  local variable=${1#--}
  variable=${variable//-/_}
  if [ "${!variable}" != "$2" ]; then echo "$0: $1 ${!variable} has no effect: $3" >&2; fi
}

# jobs_of <decode-dir>: prints its number of jobs, which the output has too.
jobs_of() {
  if ! cat "$1/num_jobs" 2>/dev/null; then
    echo "$0: no $1/num_jobs; expected a decode directory with lat.JOB.gz" >&2
    exit 2
  fi
}

# rescore_nbest_as_kaldi <weight> <old-lang-dir> <lm-dir> <data-dir> <decode-dir> <out-dir>
rescore_nbest_as_kaldi() {
  local nj
  if [ "$test" = true ]; then
    echo "$0: --test true is not available; a weight of 0 gives the first pass" >&2
    exit 2
  fi
  no_effect --stage 1 "a job that is finished is not run again"
  no_effect --keep-ali true "alignments are always kept"
  nj=$(jobs_of "$5")
  "$steps/rescore_nbest.sh" --cmd "$cmd" --nj "$nj" --n "$N" --inv-acwt "$inv_acwt" --use-phi "$use_phi" \
    --skip-scoring "$skip_scoring" --normaliser "$normaliser" --device "$device" --allow-oov "$allow_oov" \
    --lm-weight "$1" "${@:2}"
}
