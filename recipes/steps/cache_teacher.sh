#!/usr/bin/env bash
# Writes a teacher's distributions over the training text in $nj jobs, and then checks all that they have written. A
# student learns from them with distill_lm.sh --teacher-cache. If a job was killed, the same call continues.
#
# Usage: cache_teacher.sh [options] <text-dir> <teacher-dir> [<teacher-dir> ...] <cache-dir>
#  e.g.: cache_teacher.sh --cmd queue.pl --gpu 1 --mem 8G --nj 32 --top 64 exp/text exp/teacher_17 \
#          exp/teacher_31 exp/cache
#
# <text-dir> is that of asr-rescore prepare_text, with train.txt. Several teachers form an ensemble.
#
# Options:
#   --train F                 another text (default: train.txt of <text-dir>)
#   --top N                   keep the N most probable words of each distribution; 0: all words (default: 0)
#   --samples N               number of words drawn from the others when --top is set (default: 16)
#   --streams N               positions of the text that are read in parallel; fewer if the text is short (default: 32)
#   --seed N                  seed of the random draws (default: 1)
#   --device NAME             auto, cpu or cuda (default: auto)
#   --stage N                 1: all; 2: only the last call, which compares checksums (default: 1)
#   --nj N                    number of jobs (default: 4)
#   --cmd "run.pl ..."        runs the jobs: Kaldi's run.pl, queue.pl or slurm.pl (default: run_local.sh)
#   --mem 8G, --gpu 1, --num-threads 4
#                             what to ask $cmd for, for each job

set -euo pipefail

# Configuration
train=
top=
samples=
streams=
seed=
device=
stage=1
nj=4
cmd=
mem=
gpu=
num_threads=

printf '%q ' "$0" "$@" && echo
steps=$(dirname "$(readlink -f "$0")")
. "$steps/parse_options.sh"

if [ $# -lt 3 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

. "$steps/jobs.sh"
train=${train:-$1/train.txt}
cache_dir=${*: -1}
shift
add_options top samples streams seed train nj device
finish=(submit_finish)
if [ "$nj" -eq 1 ]; then finish=(submit 1); fi # the only job
if [ "$stage" -le 1 ] && [ "$nj" -gt 1 ]; then
  submit "$nj" "$cache_dir/log/cache.JOB.log" cache_teacher "${options[@]}" --job JOB "$@"
fi
"${finish[@]}" "$cache_dir/log/finish.log" cache_teacher "${options[@]}" "$@"
sed -n '/ distributions over /p' "$cache_dir/log/finish.log"
