# What rescore_nbest.sh and rescore_lattice.sh share. Source this file after jobs.sh; it uses the options $nj, $stage,
# $lm_weight, $normaliser, and those about filters of the script.
# shellcheck shell=bash

# rescore <command> <positional argument of it> ...: runs the jobs, gathers them with the array "options", and shows the
# result. The status is 1 if anything failed.
rescore() {
  local out_dir=${*: -1} status=0 weight finish=(submit_finish)
  . "$steps/filters.sh"
  options+=(--nj "$nj" "${filters[@]}")
  for weight in $lm_weight; do options+=(--lm-weight "$weight"); done
  # With one job, the last call does everything. That of rescore_lattice lets the models read a sample of the paths, and
  # only a GPU can do so in float16.
  if [ "$nj" -eq 1 ] || [ "$1 $normaliser" = "rescore_lattice float16" ]; then finish=(submit 1); fi
  if [ "$stage" -le 1 ] && [ "$nj" -gt 1 ]; then # the expensive part
    submit "$nj" "$out_dir/log/rescore.JOB.log" "$1" "${options[@]}" --job JOB "${@:2}"
  fi
  "${finish[@]}" "$out_dir/log/finish.log" "$1" "${options[@]}" "${@:2}" || status=1
  if [ "$status" -ne 0 ] && [ ! -f "$out_dir/failed.txt" ]; then return 1; fi
  echo "$out_dir:"
  grep -E '%WER|%CER|^weights:|^scoring:|^first pass at:|^tuned here:|: warning: |failed' "$out_dir/log/finish.log" || true
  if ! grep -q %WER "$out_dir/log/finish.log"; then echo "not scored; the transcripts are in $out_dir/text"; fi
  return "$status"
}
