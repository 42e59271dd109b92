# Shows what commands say in their logs of work that was kept: finished before, saved, and where it goes on. Source this
# file.
# shellcheck shell=bash

export _kept_lines=': continues (in|at) |; the same command (begins|continues|only)'
export _kept_before=': was finished before[,;]|: job [0-9]+ of [0-9]+ was finished before'

# kept_of <log>: prints the lines of one command.
kept_of() {
  grep -hE "$_kept_before|$_kept_lines" "$1" 2>/dev/null || true
}

# logs_of <jobs> <log>: prints the names of the logs that there are; if the log has JOB in its name, of all jobs.
logs_of() {
  local job log
  for job in $(seq "$1"); do
    log=${2//JOB/$job}
    if [ -f "$log" ]; then printf '%s\n' "$log"; fi
  done
}

# kept_of_jobs <jobs> <log with JOB> <status>: prints the lines of several commands, few even if there are many jobs.
kept_of_jobs() {
  local logs lines before finished
  mapfile -t logs < <(logs_of "$1" "$2")
  if [ ${#logs[@]} -eq 0 ]; then return; fi
  before=$(grep -lE "$_kept_before" "${logs[@]}" | wc -l || true)
  if [ "$before" -gt 0 ]; then echo "${2%/log/*}: $before of $1 jobs were finished before"; fi
  mapfile -t lines < <(grep -hE "$_kept_lines" "${logs[@]}" | sort -u || true)
  if [ ${#lines[@]} -gt 0 ]; then printf '%s\n' "${lines[@]:0:5}"; fi
  if [ ${#lines[@]} -gt 5 ]; then echo "and $((${#lines[@]} - 5)) more, in ${2//JOB/*}"; fi
  # Kaldi's programs and run_local.sh write this. After another $cmd, nothing is said.
  finished=$(grep -l '^# Ended (code 0)' "${logs[@]}" | wc -l || true)
  if [ "$3" -ne 0 ] && [ "$finished" -gt 0 ]; then
    echo "${2%/log/*}: $finished of $1 jobs are finished and kept; the same command continues with the others"
  fi
}

# await_end <log> ...: after Ctrl-C, waits until the commands on this machine have saved their state, half a minute at
# most. A signal ends the programs that have started them at once, but not asr-rescore.
await_end() {
  local log waiting
  for _ in $(seq 150); do
    waiting=false
    for log in "$@"; do
      if ! grep -qE '^# Ended|^asr-rescore [a-z_]+: ' "$log"; then waiting=true; fi
    done
    if [ "$waiting" = false ]; then return; fi
    sleep 0.2 || true
  done
}
