#!/usr/bin/env bash
# From Kaldi's lattices to a table of word error rates. Trains teachers, their ensemble and distilled students, and
# rescores the same N-best lists with each of them. Weights are tuned on dev and applied unchanged to eval. In the end
# it rescores the lattices themselves.
#
# Usage: run.sh [options]
#   --corpus mini|wsj      mini: the corpus in mini/; wsj: a Kaldi egs/wsj/s5 that has been run (mini)
#   --s5 DIR               with --corpus wsj: the egs/wsj/s5 directory
#   --exp DIR              output directory (exp/<corpus>)
#   --stage N, --stop-stage N
#                          0 check and prepare   1 N-best lists   2 teachers and ensemble   3 students
#                          4 rescore dev         5 rescore eval   6 rescore lattices        7 table
#   --nj N                 number of jobs per rescoring; the rescorings of all graphs run at the same time
#   --n N                  at most N hypotheses per utterance

set -euo pipefail

# Configuration
corpus=mini
s5=
exp=
stage=0
stop_stage=7
nj=1
n=1000

echo "$0 $*"
cd "$(dirname "$0")"
. ../steps/parse_options.sh
. ./path.sh
. ./cmd.sh

if [ $# -ne 0 ]; then
  echo "$0: takes options only, found '$1'; see --help" >&2
  exit 2
fi

if [ ! -f "local/corpus_$corpus.sh" ]; then
  echo "$0: --corpus '$corpus', expected mini or wsj" >&2
  exit 2
fi
exp=${exp:-exp/$corpus}
. "local/corpus_$corpus.sh" # names: graphs, dev, eval, teacher_seeds, lang_dir, data_dir, decode_dir, text
conf=conf/$corpus
students="ce fixed trust"
lattice_system=student_trust
systems="teacher_ensemble $(printf 'teacher_%s ' $teacher_seeds)$(printf 'student_%s ' $students)"

if [ "$stage" -le 0 ] && [ "$stop_stage" -ge 0 ]; then
  echo "$0: stage 0: check and prepare the data"
  check_corpus
  asr-rescore prepare_text --vocabulary-size "$vocabulary_size" --lexicon "$(lang_dir bd_tgpr)/words.txt" \
    --valid "$valid_text" "$train_text" "$exp/text"
fi

if [ "$stage" -le 1 ] && [ "$stop_stage" -ge 1 ]; then
  echo "$0: stage 1: N-best lists, N = $n"
  for graph in $graphs; do
    for set in $dev $eval; do
      asr-rescore lattice_to_nbest --n "$n" "$(decode_dir "$graph" "$set")" \
        "$(lang_dir "$graph")/words.txt" "$exp/nbest/${graph}_$set"
    done
  done
fi

threads_of() { # threads_of <number of processes at a time>: prints the number of cores for each
  echo $(($(nproc) >= $1 ? $(nproc) / $1 : 1))
}

# Several trainings run at the same time, each with its own log.
train_side_by_side() { # train_side_by_side <number at a time>: reads "<log> <command ...>" lines
  ../steps/side_by_side.sh --cmd "$train_cmd" --nj "$1" -
  tail -qn 1 "$exp"/log/teacher_*.log "$exp"/log/student_*.log 2>/dev/null || true
}

if [ "$stage" -le 2 ] && [ "$stop_stage" -ge 2 ]; then
  echo "$0: stage 2: teachers with seeds $teacher_seeds, and their ensemble"
  members=$(printf "$exp/teacher_%s " $teacher_seeds)
  for seed in $teacher_seeds; do
    echo "$exp/log/teacher_$seed.log asr-rescore train_lm --config $conf/teacher.yaml --train $exp/text/train.txt" \
      "--valid $exp/text/valid.txt --vocab $exp/text --seed $seed $exp/teacher_$seed"
  done | train_side_by_side "$(echo "$teacher_seeds" | wc -w)"
  # shellcheck disable=SC2086 # a list of directories
  asr-rescore ensemble_lm --valid "$exp/text/valid.txt" $members "$exp/teacher_ensemble"
fi

if [ "$stage" -le 3 ] && [ "$stop_stage" -ge 3 ]; then
  echo "$0: stage 3: students: hard labels only, fixed interpolation, trust regularization"
  for student in $students; do
    echo "$exp/log/student_$student.log asr-rescore distill_lm --config $conf/student_$student.yaml --train $exp/text/train.txt" \
      "--valid $exp/text/valid.txt --seed 1 $exp/teacher_ensemble $exp/student_$student"
  done | train_side_by_side "$(echo "$students" | wc -w)"
fi

rescore() { # rescore <set>: with every system; all graphs at the same time, each in $nj jobs
  local system graph weights pids pid threads
  threads=$(threads_of $(($(echo "$graphs" | wc -w) * nj)))
  for system in $systems; do
    pids=()
    for graph in $graphs; do
      weights=(--tune true)
      if [ "$1" != "$dev" ]; then weights=(--weights "$exp/$system/decode_${graph}_$dev"); fi
      OMP_NUM_THREADS=$threads ../steps/rescore_nbest.sh --cmd "$rescore_cmd" --nj "$nj" --n "$n" "${weights[@]}" "$(lang_dir "$graph")" \
        "$exp/$system" "$(data_dir "$1")" "$(decode_dir "$graph" "$1")" "$exp/$system/decode_${graph}_$1" &
      pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
  done
}

if [ "$stage" -le 4 ] && [ "$stop_stage" -ge 4 ]; then
  echo "$0: stage 4: rescore $dev and tune the weights of each system"
  rescore "$dev"
fi

if [ "$stage" -le 5 ] && [ "$stop_stage" -ge 5 ]; then
  echo "$0: stage 5: rescore $eval with the weights tuned on $dev"
  rescore "$eval"
fi

if [ "$stage" -le 6 ] && [ "$stop_stage" -ge 6 ]; then
  echo "$0: stage 6: rescore the lattices themselves with $lattice_system and the weights of its lists on $dev"
  for set in $dev $eval; do
    pids=()
    for graph in $graphs; do
      OMP_NUM_THREADS=$(threads_of $(($(echo "$graphs" | wc -w) * nj))) ../steps/rescore_lattice.sh --cmd "$rescore_cmd" \
        --nj "$nj" --weights "$exp/$lattice_system/decode_${graph}_$dev" "$(lang_dir "$graph")" "$exp/$lattice_system" \
        "$(data_dir "$set")" "$(decode_dir "$graph" "$set")" "$exp/$lattice_system/lattices_${graph}_$set" &
      pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
  done
fi

if [ "$stage" -le 7 ] && [ "$stop_stage" -ge 7 ]; then
  echo "$0: stage 7: the table"
  reports=()
  for system in $systems; do
    for graph in $graphs; do
      reports+=("$exp/$system/decode_${graph}_$dev" "$exp/$system/decode_${graph}_$eval")
    done
  done
  for graph in $graphs; do
    reports+=("$exp/$lattice_system/lattices_${graph}_$dev" "$exp/$lattice_system/lattices_${graph}_$eval")
  done
  asr-rescore report "${reports[@]}" "$exp/report"
fi
