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

# old_lm_of <old-lang-dir>: prints the file given by --old-lm; otherwise G.carpa if there is one, as Kaldi's scripts do.
old_lm_of() {
  if [ -n "$old_lm" ] || [ "$no_old_lm" = true ] || [ ! -f "$1/G.carpa" ]; then
    echo "$old_lm"
    return
  fi
  if [ -f "$1/G.fst" ]; then
    echo "$0: takes $1/G.carpa, not G.fst, for the old language model, as Kaldi does; --old-lm names another" >&2
  fi
  echo "$1/G.carpa"
}

# pass <variable> ...: appends --variable value to the array "passed" for each variable that has a value.
passed=()
pass() {
  local name
  for name in "$@"; do
    case ${!name} in
      '' | false) ;;
      *) passed+=("--${name//_/-}" "${!name}") ;;
    esac
  done
}

# rescore_nbest_as_kaldi <weight> <old-lang-dir> <lm-dir> <data-dir> <decode-dir> <out-dir>
rescore_nbest_as_kaldi() {
  local nj n=$N lm_weight=$1
  if [ "$test" = true ]; then
    echo "$0: --test true is not available; a weight of 0 gives the first pass" >&2
    exit 2
  fi
  no_effect --stage 1 "a job that is finished is not run again"
  no_effect --keep-ali true "alignments are always kept"
  old_lm=$(old_lm_of "$2")
  nj=$(jobs_of "$5")
  pass cmd nj n inv_acwt lm_weight old_lm no_old_lm use_phi skip_scoring normaliser device allow_oov
  "$steps/rescore_nbest.sh" "${passed[@]}" "${@:2}"
}
