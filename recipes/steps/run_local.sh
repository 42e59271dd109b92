#!/usr/bin/env bash
# Runs a command, or JOB=1:n copies of it with JOB replaced by 1 … n, on this machine: what run.pl of Kaldi does, for
# those who have no Kaldi. As many copies run at once as there are processors.
#
# Usage: run_local.sh [<option> <value>] ... [JOB=<first>:<last>] <log> <command> [<argument> ...]
#  e.g.: run_local.sh JOB=1:4 exp/log/count.JOB.log wc -l exp/part.JOB
#
# As with run.pl, an argument without blanks reaches the shell as it is, so that \| and \> make pipes and redirections;
# one with blanks stays one argument. Options (--mem 4G, say) are for clusters and do nothing here.
# Exit status: 0, or not 0 if any copy failed; their logs are named.

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

line=
for argument in "$@"; do
  if [[ $argument =~ ^[^[:space:]]+$ ]]; then line+="$argument "; else line+="'${argument//\'/\'\\\'\'}' "; fi
done

run_job() { # <job>: on failure prints its log's name
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
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((processors / at_once))} # share the processors; by default each takes all
export -f run_job
export name log line
failed=$(seq "$first" "$last" | xargs -P "$at_once" -I{} bash -euc 'run_job "$1"' _ {})
if [ -n "$failed" ]; then
  echo "$0: $(wc -l <<<"$failed") of $copies failed; see" $failed >&2
  exit 1
fi
