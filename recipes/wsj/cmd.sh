# How jobs are run: with run.pl of your Kaldi, or without Kaldi with its stand-in. On a cluster, change this to
# "queue.pl --mem 4G" or "slurm.pl --mem 4G"; a job of rescoring needs about 2 GB and profits from several cores.
# shellcheck shell=bash disable=SC2034

if command -v run.pl >/dev/null; then
  rescore_cmd=run.pl
elif [ -x "${KALDI_ROOT:-}/egs/wsj/s5/utils/run.pl" ]; then
  rescore_cmd=$KALDI_ROOT/egs/wsj/s5/utils/run.pl
else
  rescore_cmd=../steps/run_local.sh
fi
train_cmd=$rescore_cmd # a training profits from a GPU: on a cluster, "queue.pl --gpu 1"
