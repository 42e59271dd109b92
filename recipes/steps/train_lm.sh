#!/usr/bin/env bash
# Trains a language model as one job of a cluster. If the job was killed, the same call continues.
#
# Usage: train_lm.sh [options] --lm-config <file> <text-dir> <lm-dir>
#  e.g.: train_lm.sh --cmd queue.pl --gpu 1 --mem 16G --lm-config conf/teacher.yaml exp/text exp/teacher
#
# <text-dir> is that of asr-rescore prepare_text, with train.txt, valid.txt and the vocabulary.
#
# Options:
#   --lm-config "F ..."       YAML files with the settings of the model and its training; later files override earlier
#                             ones
#   --train F, --valid F      other texts (default: train.txt and valid.txt of <text-dir>)
#   --init DIR                start from the weights of this model
#   --seed N                  seed of weights, dropout and chunk lengths (default: 1)
#   --tensorboard DIR         also write the course of the training to this directory, for TensorBoard
#   --device NAME             auto, cpu or cuda (default: auto)
#   --cmd "queue.pl ..."      runs the training: Kaldi's run.pl, queue.pl or slurm.pl (default: run_local.sh)
#   --mem 16G, --gpu 1, --num-threads 4
#                             what to ask $cmd for

set -euo pipefail

# Configuration
lm_config=
train=
valid=
init=
seed=
tensorboard=
device=
cmd=
mem=
gpu=
num_threads=

printf '%q ' "$0" "$@" && echo
steps=$(dirname "$(readlink -f "$0")")
. "$steps/parse_options.sh"

if [ $# -ne 2 ] || [ -z "$lm_config" ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

. "$steps/jobs.sh"
. "$steps/training.sh"
vocab=$1
add_options vocab
train_model train_lm "$1" "$2"
