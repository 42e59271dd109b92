# Shows how far jobs have come: in one line that changes on a terminal, in a line a minute elsewhere. Source this file
# after path.sh.
#
#   begin_progress exp/log
#   run.pl exp/a.log env "ASR_RESCORE_PROGRESS=$(progress_file exp/a.log)" asr-rescore ... 9>&-
#   end_progress
#
# asr-rescore writes its progress to the file, and asr-rescore show_progress reads the files of all jobs. If a script
# calls another one, only the outer one shows anything. File descriptor 9 is open in between: its end ends the showing,
# so jobs must not keep it.
# shellcheck shell=bash

# begin_progress <dir>: shows the progress of the commands that begin from now on; their files are in <dir>/progress.
begin_progress() {
  _shows_progress=false
  if [ -n "${ASR_RESCORE_WATCHED:-}" ]; then return; fi
  _shows_progress=true
  export ASR_RESCORE_WATCHED=$1/progress
  rm -rf "$ASR_RESCORE_WATCHED"
  mkdir -p "$ASR_RESCORE_WATCHED"
  # Short work needs no showing: only if nothing has ended after some seconds does it begin. It ends with the work, also
  # after Ctrl-C, so it need not say that it was interrupted.
  exec 9> >(trap '' INT; read -r -t 3 || [ $? -le 128 ] || exec asr-rescore show_progress "$ASR_RESCORE_WATCHED" >&2)
  _progress_pid=$!
}

# progress_file <log>: prints the name of the file for the command that has this log, which may have JOB in its name.
progress_file() {
  local name=${1%.log}
  name=${name//\//_}
  if [ ${#name} -gt 100 ]; then name=${name: -100}; fi
  echo "$ASR_RESCORE_WATCHED/$name"
}

# forget_progress <log>: the command that has this log has ended, or all commands if it has JOB in its name.
forget_progress() {
  local name
  name=$(progress_file "$1")
  if [[ $name == *JOB* ]]; then rm -f "${name%%JOB*}"*"${name##*JOB}"; else rm -f "$name"; fi
}

# end_progress: stops the showing.
end_progress() {
  if [ "$_shows_progress" = false ]; then return; fi
  exec 9>&-
  wait "$_progress_pid" 2>/dev/null || true
  rm -rf "$ASR_RESCORE_WATCHED"
  unset ASR_RESCORE_WATCHED
}

# clear_progress: empties the line of the terminal in which a progress may be, before something else is printed.
clear_progress() {
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}
