# What train_lm.sh and distill_lm.sh share. Source this file after jobs.sh; it uses the options of both scripts.
# shellcheck shell=bash

# train_model <command> <text-dir> <positional argument of the command> ...: trains the model in the last of them with
# the array "options", and shows its perplexity.
train_model() {
  local lm_dir=${*: -1} config
  train=${train:-$2/train.txt} valid=${valid:-$2/valid.txt}
  for config in $lm_config; do options+=(--config "$config"); done
  add_options train valid init seed tensorboard device
  submit 1 "$lm_dir/log/train.log" "$1" "${options[@]}" "${@:3}"
  grep ': valid ppl ' "$lm_dir/log/train.log"
}
