#!/usr/bin/env bash
# Runs a command on this machine, or with JOB=1:n runs n copies of it, with JOB replaced by 1 … n. This is what
# Kaldi's run.pl does, for users without Kaldi. At most as many copies run at a time as there are processors.
#
# Usage: run_local.sh [<option> <value>] ... [JOB=<first>:<last>] <log> <command> [<argument> ...]
#  e.g.: run_local.sh JOB=1:4 exp/log/count.JOB.log wc -l exp/part.JOB
#
# As with run.pl, an argument without blanks is passed to the shell unchanged, so \| and \> make pipes and redirections.
# An argument with blanks stays one argument, and so does one with an apostrophe that opens nothing, as in it's. Options
# such as --mem 4G are for clusters and have no effect here.
# Exit status: 0 if all copies succeeded. Otherwise the logs of the failed copies are named.

set -euo pipefail

usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

while [[ ${1:-} == -* ]]; do
  if [[ $1 == --help ]]; then
    usage
    exit 0
  fi
  shift "$(($# > 1 ? 2 : 1))"
done
name= first=1 last=1
if [[ ${1:-} =~ ^([A-Za-z_][A-Za-z0-9_]*)=([0-9]+)(:([0-9]+))?$ ]]; then
  name=${BASH_REMATCH[1]} first=${BASH_REMATCH[2]} last=${BASH_REMATCH[4]:-${BASH_REMATCH[2]}}
  shift
fi
if [ $# -lt 2 ]; then
  usage >&2
  exit 2
fi
log=$1
shift
if [ "$first" -lt 1 ] || [ "$first" -gt "$last" ]; then
  echo "$0: $name=$first:$last: expected numbers from 1 on, in order" >&2
  exit 2
fi
if [ "$first" -lt "$last" ] && [[ $log != *"$name"* ]]; then
  echo "$0: log $log: expected $name in its name, or all jobs would write to it" >&2
  exit 2
fi

is_for_shell() { # <argument>: whether the shell is to read it
  [[ $1 =~ ^[^[:space:]]+$ ]] && { [[ $1 != *\'* ]] || bash -nc ": $1" 2>/dev/null; }
}

line=
for argument in "$@"; do
  if is_for_shell "$argument"; then line+="$argument "; else line+="'${argument//\'/\'\\\'\'}' "; fi
done

run_job() { # <job>: prints the name of its log if it fails
  local log=$log line=$line status=0
  if [ -n "$name" ]; then log=${log//$name/$1} line=${line//$name/$1}; fi
  mkdir -p "$(dirname "$log")"
  SECONDS=0
  {
    echo "# $line"
    echo "# Started at $(date)"
    bash -c "$line" || status=$?
    echo "# Ended (code $status) at $(date), elapsed time $SECONDS seconds"
  } >"$log" 2>&1 </dev/null
  [ "$status" -eq 0 ] || echo "$log"
}

processors=$(getconf _NPROCESSORS_ONLN)
copies=$((last - first + 1))
at_once=$((copies < processors ? copies : processors))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((processors / at_once))} # by default each copy would use all processors
export -f run_job
export name log line
failed=$(seq "$first" "$last" | xargs -P "$at_once" -I{} bash -euc 'run_job "$1"' _ {})
if [ -n "$failed" ]; then
  echo "$0: $(wc -l <<<"$failed") of $copies failed; see" $failed >&2
  exit 1
fi
