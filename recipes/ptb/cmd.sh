# How trainings are run: by default on this machine, several at a time. On a cluster, change this to Kaldi's
# "queue.pl --gpu 1" or "slurm.pl --gpu 1".
# shellcheck shell=bash disable=SC2034

train_cmd= # run_local.sh
