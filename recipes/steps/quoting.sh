# Quotes words for Kaldi's run.pl, queue.pl and slurm.pl, and for run_local.sh. Source this file.
# shellcheck shell=bash

# quoted_for_cmd <word> ...: sets the array "quoted" to the words as $cmd must be given them, so that the command which
# it runs gets them as they are. They pass a word without blanks to a shell as it is, and quote one with blanks.
quoted_for_cmd() {
  local word
  quoted=()
  for word in "$@"; do
    case $word in
      '' | *[[:space:]]*) ;;
      *[!A-Za-z0-9_@%+=:,./-]*) printf -v word %q "$word" ;;
    esac
    quoted+=("$word")
  done
}
