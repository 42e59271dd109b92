# Runs asr-rescore through the caller's $cmd. Source this file at top level, after parse_options.sh and with $steps set
# to this directory. It uses the script's options $cmd, $mem, $gpu, $num_threads and $device.
# shellcheck shell=bash

read -ra _cmd <<<"$cmd"
[ ${#_cmd[@]} -gt 0 ] || _cmd=("$steps/run_local.sh")
if ! command -v "${_cmd[0]}" >/dev/null && [ -f ./path.sh ]; then
  set +eu # Kaldi's own file, which knows where run.pl and the like are
  . ./path.sh
  set -eu
fi
if ! command -v "${_cmd[0]}" >/dev/null; then
  echo "$0: --cmd: no ${_cmd[0]} on the PATH; source the path.sh of your s5 directory first" >&2
  exit 2
fi
. "$steps/path.sh"
. "$steps/quoting.sh"
. "$steps/progress.sh"
. "$steps/kept.sh"
_asr_rescore=$(command -v asr-rescore) # jobs run elsewhere, where the PATH may be another
options=()

# add_options <variable> ...: appends --variable value to the array "options" for each variable that has a value. The
# value true becomes a flag, and false nothing.
add_options() {
  local name
  for name in "$@"; do
    case ${!name} in
      '' | false) ;;
      true) options+=("--${name//_/-}") ;;
      *) options+=("--${name//_/-}" "${!name}") ;;
    esac
  done
}

# _threads <jobs>: prints the number of threads for each of this many jobs; nothing if a job takes what it finds.
_threads() {
  local processors
  if [ -n "$num_threads" ]; then
    echo "$num_threads"
  elif [ "${_cmd[0]##*/}" = run.pl ] && [ -z "${OMP_NUM_THREADS:-}" ] && [ "$1" -gt 1 ]; then
    processors=$(getconf _NPROCESSORS_ONLN) # run.pl runs as many jobs at a time
    echo $((processors > $1 ? processors / $1 : 1))
  fi
}

# submit <jobs> <log> <argument of asr-rescore> ...: runs it once, or if the log has JOB in its name, once for each job.
# Shows the progress meanwhile, and then what was kept of earlier work or, after Ctrl-C, of this one. If anything fails,
# shows what asr-rescore complained of.
submit() {
  local jobs=$1 log=$2 line=("${_cmd[@]}") threads job quoted logs status=0 interrupted=false
  shift 2
  if [ -n "$mem" ]; then line+=(--mem "$mem"); fi
  if [ -n "$gpu" ]; then line+=(--gpu "$gpu"); fi
  if [ -n "$num_threads" ]; then line+=(--num-threads "$num_threads"); fi
  if [[ $log == *JOB* ]]; then line+=(JOB=1:"$jobs"); else jobs=1; fi
  mkdir -p "$(dirname "$log")"
  begin_progress "$(dirname "$log")"
  line+=("$log" env)
  quoted_for_cmd "ASR_RESCORE_PROGRESS=$(progress_file "$log")"
  line+=("${quoted[@]}")
  threads=$(_threads "$jobs")
  if [ -n "$threads" ]; then line+=(OMP_NUM_THREADS="$threads"); fi
  quoted_for_cmd "$_asr_rescore" "$@"
  for job in $(seq "$jobs"); do rm -f "${log//JOB/$job}"; done # else taken for that of a job which never begins
  trap 'interrupted=true' INT
  "${line[@]}" "${quoted[@]}" 9>&- || status=1
  mapfile -t logs < <(logs_of "$jobs" "$log")
  if [ "$interrupted" = true ] && [[ ${_cmd[0]##*/} == run* ]]; then await_end "${logs[@]}"; fi
  trap - INT
  forget_progress "$log"
  end_progress
  clear_progress
  if [[ $log == *JOB* ]]; then
    kept_of_jobs "$jobs" "$log" "$status"
  elif [ "${nj:-1}" -eq 1 ]; then
    kept_of "$log"
  else
    kept_of "$log" | grep -Ev "$_kept_before" || true # that is said of every job which has just been run
  fi
  if [ "$status" -ne 0 ]; then
    if [ ${#logs[@]} -gt 0 ]; then sed -n '/^asr-rescore /p' "${logs[@]}" | sort -u | head -n 5 >&2; fi
    if [ "$interrupted" = true ]; then kill -INT $$; fi # so that the scripts which have called this one end, too
    return 1
  fi
}

# submit_finish <log> <argument of asr-rescore> ...: as submit, for a call that only gathers what jobs have computed, and
# thus asks for no GPU.
submit_finish() {
  local gpu=
  if [ "$device" = cuda ]; then set -- "$@" --device cpu; fi
  submit 1 "$@"
}
