# How jobs are run: with run.pl of your Kaldi, or with run_local.sh if there is no Kaldi. On a cluster, change this to
# "queue.pl --mem 4G" or "slurm.pl --mem 4G". A rescoring job needs about 2 GB and benefits from several cores.
# shellcheck shell=bash disable=SC2034

if command -v run.pl >/dev/null; then
  rescore_cmd=run.pl
elif [ -x "${KALDI_ROOT:-}/egs/wsj/s5/utils/run.pl" ]; then
  rescore_cmd=$KALDI_ROOT/egs/wsj/s5/utils/run.pl
else
  rescore_cmd= # run_local.sh
fi
train_cmd=$rescore_cmd # training benefits from a GPU: on a cluster, use "queue.pl --gpu 1"
