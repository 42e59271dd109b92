#!/usr/bin/env bash
# Runs several commands at a time on this machine, each with its own log and its share of the processors.
#
# Usage: side_by_side.sh [options] <commands-file>
#  e.g.: side_by_side.sh --nj 2 - <<<"exp/log/a.log asr-rescore train_lm ..."
#
# The file (- for standard input) has one line per command: <log> <command> [<argument> ...]. If a command fails, the
# others are still run. The shell reads each line, so words with blanks must be quoted, as by printf %q.
# Exit status: 0, or 1 if any command failed. The logs of failed commands are named.
#
# Options:
#   --nj 2                    number of commands at a time (2)
#   --cmd "queue.pl --gpu 1"  runs each command: Kaldi's run.pl, queue.pl or slurm.pl (run_local.sh)

set -euo pipefail

# Configuration
nj=2
cmd=

steps=$(dirname "$(readlink -f "$0")")
. "$steps/parse_options.sh"

if [ $# -ne 1 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

cmd=${cmd:-$(printf %q "$steps/run_local.sh")}
commands=$(sed '/^$/d' "$1")
[ -n "$commands" ] || exit 0
copies=$(wc -l <<<"$commands")
at_once=$((copies < nj ? copies : nj))
processors=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((processors > at_once ? processors / at_once : 1))}
# xargs continues after a failure and reports it at the end.
tr '\n' '\0' <<<"$commands" | xargs -0 -P "$at_once" -I{} bash -c "$cmd {}" || exit 1
