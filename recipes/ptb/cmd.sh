# How trainings are run: here, side by side. On a cluster, change this to "queue.pl --gpu 1" or "slurm.pl --gpu 1" of Kaldi.
# shellcheck shell=bash disable=SC2034

train_cmd=../steps/run_local.sh
