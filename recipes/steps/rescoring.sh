# What rescore_nbest.sh and rescore_lattice.sh share. Source this file after jobs.sh; it uses the options $nj, $stage,
# $lm_weight, $skip_scoring, and those about filters of the script.
# shellcheck shell=bash

# _without_references <data-dir> <out-dir>: prints a copy of the data directory in which no text is to be scored.
_without_references() {
  local copy=$2/unscored/${1##*/} file
  mkdir -p "$copy"
  for file in utt2spk segments; do
    if [ -f "$1/$file" ]; then cp "$1/$file" "$copy"; fi
  done
  echo "$copy"
}

# rescore <command> <positional argument of it> ...: runs the jobs, gathers them with the array "options", and shows the
# result. The status is 1 if anything failed.
rescore() {
  local out_dir=${*: -1} status=0 weight
  . "$steps/filters.sh"
  options+=(--nj "$nj" "${filters[@]}")
  for weight in $lm_weight; do options+=(--lm-weight "$weight"); done
  if [ "$skip_scoring" = true ]; then
    set -- "${@:1:$#-3}" "$(_without_references "${*: -3:1}" "$out_dir")" "${@: -2}"
  fi
  if [ "$stage" -le 1 ] && [ "$nj" -gt 1 ]; then # the expensive part; with one job, the next call does it too
    submit "$nj" "$out_dir/log/rescore.JOB.log" "$1" "${options[@]}" --job JOB "${@:2}"
  fi
  submit 1 "$out_dir/log/finish.log" "$1" "${options[@]}" "${@:2}" || status=1
  if [ "$status" -ne 0 ] && [ ! -f "$out_dir/failed.txt" ]; then return 1; fi
  echo "$out_dir:"
  grep -E '%WER|%CER|^scoring:|^tuned here:|: warning: |failed' "$out_dir/log/finish.log" || true
  if ! grep -q %WER "$out_dir/log/finish.log"; then echo "not scored; the transcripts are in $out_dir/text"; fi
  return "$status"
}
