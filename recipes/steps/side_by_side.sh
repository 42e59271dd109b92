#!/usr/bin/env bash
# Runs several commands at a time on this machine, each with its own log and its share of the processors. Shows how far
# each one is, and when it has ended, what it found, and what was kept of earlier work or, after Ctrl-C, of this one.
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

. "$steps/progress.sh"
. "$steps/kept.sh"
cmd=${cmd:-$(printf %q "$steps/run_local.sh")}
commands=$(sed '/^$/d' "$1")
[ -n "$commands" ] || exit 0
copies=$(wc -l <<<"$commands")
at_once=$((copies < nj ? copies : nj))
processors=$(getconf _NPROCESSORS_ONLN)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((processors > at_once ? processors / at_once : 1))}

# The first word of a line, as the shell quotes it, and a command that writes its progress.
begins_with_log='^(([^ \\]|\\.)+) +(asr-rescore .*)$'

with_progress() { # reads lines of commands, and prints them with the file for the progress of each
  local line number=0
  while IFS= read -r line; do
    number=$((number + 1))
    if [[ $line =~ $begins_with_log ]]; then
      printf '%s env ASR_RESCORE_PROGRESS=%q/%d %s\n' "${BASH_REMATCH[1]}" "$ASR_RESCORE_WATCHED" "$number" "${BASH_REMATCH[3]}"
    else
      echo "$line"
    fi
  done
}

logs_so_far() { # prints the names of the logs that commands of asr-rescore have begun
  local line log
  while IFS= read -r line; do
    if [[ $line =~ $begins_with_log ]]; then
      eval "log=${BASH_REMATCH[1]}"
      if [ -f "$log" ]; then printf '%s\n' "$log"; fi
    fi
  done <<<"$commands"
}

# Prints the last perplexity or error rate in a log, or else its last line that is not run.pl's own, and whether all was
# finished before, or where the work went on.
result_of() { # result_of <log> ...
  local found before=
  found=$(grep -E 'ppl |^rescored: +%WER' "$1" | tail -n 1)
  found=${found:-$(grep -v '^#' "$1" | grep . | tail -n 1)}
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
  if grep -qE ': was finished before|: job 1 of 1 was finished before' "$1"; then before=", finished before"; fi
  kept_of "$1" | grep -Ev "$_kept_before"
  if [ -n "$found" ]; then echo "$(basename "$1" .log): $(sed "s/.*: //; s/^ *//" <<<"$found")$before"; fi
}
complaint_of() { # complaint_of <log> ...: shows what asr-rescore complained of
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
  kept_of "$1"
  grep '^asr-rescore ' "$1" | tail -n 1 >&2
  return 1
}
export -f kept_of result_of complaint_of

first_log=$(eval "set -- $(head -n 1 <<<"$commands")" && echo "$1")
mkdir -p "$(dirname "$first_log")"
mapfile -t logs < <(logs_so_far)
if [ ${#logs[@]} -gt 0 ]; then rm -f "${logs[@]}"; fi # those of an earlier call
status=0 interrupted=false
trap 'interrupted=true' INT
begin_progress "$(dirname "$first_log")"
# xargs continues after a failure and reports it at the end.
with_progress <<<"$commands" | tr '\n' '\0' |
  xargs -0 -P "$at_once" -I{} bash -c "if $cmd {}; then result_of {}; else complaint_of {}; fi" 9>&- || status=1
mapfile -t logs < <(logs_so_far)
if [ "$interrupted" = true ]; then await_end "${logs[@]}"; fi
trap - INT
end_progress
if [ "$interrupted" = true ]; then # all has ended at once, so nothing has been said of those that were running
  for log in "${logs[@]}"; do kept_of "$log" | grep -Ev "$_kept_before" | tail -n 1; done | head -n 5 || true
  kill -INT $$
fi
exit "$status"
