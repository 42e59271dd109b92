# The stages of a recipe. Source this file at top level, after parse_options.sh; it uses $stage, $stop_stage and $exp.
#
#   if begin_stage 2 "teachers (2 min)"; then
#     ...
#     end_stage
#   fi
#
# A stage leaves a marker in $exp/stages: N.begun while it runs, or if it failed or was killed, and N.done afterwards.
# Call refuse_unfinished_stages before the first stage.
# shellcheck shell=bash

. "$(dirname "${BASH_SOURCE[0]}")/quoting.sh"

# Refuses to go on over an earlier stage that was begun and not finished.
refuse_unfinished_stages() {
  local marker number
  for marker in "$exp"/stages/*.begun; do
    number=$(basename "$marker" .begun)
    if [ -e "$marker" ] && [ "$number" -lt "$stage" ]; then
      echo "$0: stage $number was begun and not finished; run it again with --stage $number" >&2
      exit 1
    fi
  done
}

# begin_stage <N> <what it does, and how long it takes>: whether to run the stage.
begin_stage() {
  [ "$1" -ge "$stage" ] && [ "$1" -le "$stop_stage" ] || return 1
  _stage=$1
  _stage_began=$SECONDS
  mkdir -p "$exp/stages"
  rm -f "$exp/stages/$1.done"
  date >"$exp/stages/$1.begun"
  echo "$0: stage $1: $2"
}

# end_stage: says how long the stage took.
end_stage() {
  local seconds=$((SECONDS - _stage_began))
  mv "$exp/stages/$_stage.begun" "$exp/stages/$_stage.done"
  echo "$0: stage $_stage: done in $((seconds / 60)) min $((seconds % 60)) s"
}

# command_line <log> <command> [<argument> ...]: prints a line for side_by_side.sh.
command_line() {
  local quoted
  quoted_for_cmd "${@:2}"
  printf '%q ' "$1" "${quoted[@]}"
  echo
}
