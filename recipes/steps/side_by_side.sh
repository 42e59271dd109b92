#!/usr/bin/env bash
# Runs commands side by side on this machine, so many at once, each with a log and its share of the processors.
#
# Usage: side_by_side.sh [options] <commands-file>
#  e.g.: side_by_side.sh --nj 2 - <<<"exp/log/a.log asr-rescore train_lm ..."
#
# The file (- for standard input) has a line for each command: <log> <command> [<argument> ...]. All are run, also
# where one fails.
# Exit status: 0, or 1 if any failed; their logs are named.
#
# Options:
#   --nj 2                    commands at once
#   --cmd "queue.pl --gpu 1"  what runs a command: run.pl, queue.pl or slurm.pl of Kaldi, or run_local.sh

set -euo pipefail

# Configuration
nj=2
cmd=

steps=$(cd "$(dirname "$0")" && pwd)
. "$steps/parse_options.sh"

if [ $# -ne 1 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

cmd=${cmd:-$steps/run_local.sh}
commands=$(sed '/^$/d' "$1")
[ -n "$commands" ] || exit 0
copies=$(wc -l <<<"$commands")
at_once=$((copies < nj ? copies : nj))
processors=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((processors > at_once ? processors / at_once : 1))}
# xargs goes on after a failure and says so at the end.
xargs -P "$at_once" -I{} bash -c "$cmd {}" <<<"$commands" || exit 1
