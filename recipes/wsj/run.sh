#!/usr/bin/env bash
# From Kaldi's lattices to a table of word error rates. Trains teachers, their ensemble and distilled students, and
# rescores the same first pass with each of them. Weights are tuned on dev and applied unchanged to eval. In the end it
# rescores the lattices themselves, and writes their words with confidences.
#
# Usage: run.sh [options]
#  e.g.: run.sh                                                    the embedded corpus; needs no other data and no Kaldi
#        run.sh --corpus wsj --s5 ~/kaldi/egs/wsj/s5 --stage 3     a Kaldi egs/wsj/s5 that has been run
#        run.sh --corpus wsj --s5 ~/kaldi/egs/wsj/s5 --wsj0 /ldc/LDC93S6B --wsj1 /ldc/LDC94S13B
#        run.sh --stage 10 --stop-stage 13 --top all --nj 2        then: which objective gives the fewest errors?
#        run.sh --decode-dirs "exp/tri1/decode_dev exp/tri1/decode_test" --data-dirs "data/dev data/test" \
#          --lang-dir data/lang_test --train-text lm.txt.gz        any other first pass
#
# Options:
#   --corpus mini|wsj      mini: the corpus in mini/; wsj: Wall Street Journal (mini)
#   --s5 DIR               wsj: Kaldi's egs/wsj/s5
#   --wsj0 DIR, --wsj1 DIR wsj: LDC93S6B and LDC94S13B; only needed for what the s5 does not have yet
#   --am tri4b|nnet2_online|chain
#                          wsj: the acoustic model (tri4b)
#   --graphs "tgpr bd_tgpr"
#                          wsj: the decoding graphs, which differ in dictionary and language model; also tg and bd_fg
#   --rnnlm-dir DIR        wsj: a model of local/wsj_train_rnnlms.sh; s5's steps/rnnlmrescore.sh gives one more row
#   --decode-dirs "DEV EVAL ..."
#                          another first pass: decode directories; weights are tuned on the first of them
#   --data-dirs "DEV EVAL ..."
#                          the data directory of each of them
#   --lang-dir DIR         words.txt and the language model of the decoding graph
#   --train-text FILE      text for the language models
#   --valid-text FILE      text that chooses the epoch; by default, a part of the training text
#   --vocabulary-size N    entries of the vocabulary; all other words form a class (wsj: 40000; 0: list every word)
#   --conf DIR             configs of the models (conf/<corpus>; wsj: also conf/wsj_small, for a small GPU; other first
#                          passes: conf/cpu)
#   --exp DIR              output directory (exp/<corpus> next to this script)
#   --stage N, --stop-stage N
#                          0 check (always)  1 acoustic model   2 decode             3 text
#                          4 teachers         5 students         6 rescore dev        7 rescore eval
#                          8 rescore lattices                   9 table, where it stops unless --stop-stage 13 is given
#                          The study of objectives (local/study.sh) needs stages 1 to 4 only:
#                          10 students to branch from           11 students of every objective
#                          12 rescore with each of them         13 table of paired differences
#   --nj N                 number of jobs per rescoring; the rescorings of all graphs run at the same time
#   --n N                  at most N hypotheses per utterance (1000)
#   --inv-acwt N           inverse acoustic scale at which hypotheses are chosen (12)
#   --top N                cache the N most probable words of each of the teachers' distributions; all: every word; none:
#                          no cache, teachers are run along with each student (mini: all; wsj: 64; else none)
#   --cache-nj N           number of jobs that write this cache (1)
#   --arms "kl trust ..."  study: the objectives, by their names in conf/study/arms.yaml (the first twelve)
#   --seeds "1 2 ..."      study: seeds of the students (1 to 5)
#   --starts "1 2 ..."     study: seeds of students trained with KL alone, from which all others branch; without it, every
#                          student is trained from scratch
#   --branch-sentences N   study: branches read the first N sentences of the training text; 0: all (0)
#                          In the study, --nj is the number of trainings, and then of rescorings, at a time

set -euo pipefail

# Configuration
corpus=mini
s5=
wsj0=
wsj1=
am=tri4b
graphs=
rnnlm_dir=
decode_dirs=
data_dirs=
lang_dir=
train_text=
valid_text=
vocabulary_size=0
conf=
exp=
stage=0
stop_stage=9
nj=1
n=1000
inv_acwt=
teacher_seeds=
top=
cache_nj=1
arms=
seeds=
starts=
branch_sentences=0

printf '%q ' "$0" "$@" && echo
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
steps=$(cd "$here/../steps" && pwd)
. "$steps/parse_options.sh"
. "$here/path.sh"
. "$here/cmd.sh"
. "$steps/stages.sh"
. "$steps/progress.sh"

if [ $# -ne 0 ]; then
  echo "$0: takes options only, found '$1'; see --help" >&2
  exit 2
fi
if [ -n "$decode_dirs" ]; then corpus=dirs; fi
if [ ! -f "$here/local/corpus_$corpus.sh" ]; then
  echo "$0: --corpus '$corpus', expected mini or wsj" >&2
  exit 2
fi
exp=${exp:-$here/exp/$corpus}
. "$here/local/corpus_$corpus.sh" # what differs between the corpora
top=${top:-none}
students="ce fixed trust"
lattice_system=student_trust
systems="teacher_ensemble $(printf 'teacher_%s ' $teacher_seeds)$(printf 'student_%s ' $students)"

for arm in $arms; do
  if ! cut -d : -f 1 "$here/conf/study/arms.yaml" | grep -Fqx -- "  $arm"; then
    echo "$0: --arms: found '$arm', expected one of those in $here/conf/study/arms.yaml" >&2
    exit 2
  fi
done

whole_numbers() { # whole_numbers <option> <words>: refuses any that is none
  local word
  for word in $2; do
    if [[ ! $word =~ ^(0|[1-9][0-9]{0,8})$ ]]; then
      echo "$0: $1: found '$word', expected whole numbers" >&2
      exit 2
    fi
  done
}
whole_numbers --seeds "$seeds"
whole_numbers --starts "$starts"
whole_numbers --branch-sentences "$branch_sentences"
if [ -z "$starts" ] && [ "$branch_sentences" != 0 ]; then
  echo "$0: --branch-sentences is for branches, which need --starts" >&2
  exit 2
fi

refuse_unfinished_stages
missing=$(list_missing)
if [ -n "$missing" ]; then
  things=$(wc -l <<<"$missing")
  if [ "$things" -eq 1 ]; then things="1 thing is"; else things="$things things are"; fi
  echo "$0: $things missing:" >&2
  sed 's/^/  /' <<<"$missing" >&2
  exit 1
fi
echo "$0: stage 0: nothing is missing for the stages up to $stop_stage"

if begin_stage 1 "acoustic model ($(stage_time 1))"; then
  train_first_pass
  end_stage
fi

evals=$(eval_sets | xargs)
if begin_stage 2 "first pass ($(stage_time 2))"; then
  decode_first_pass
  end_stage
fi

if begin_stage 3 "vocabulary and text of the language models ($(stage_time 3))"; then
  asr-rescore prepare_text --lexicon "$(lexicon)" "${prepare_options[@]}" "$train_text" "$exp/text"
  end_stage
fi

text=(--train "$exp/text/train.txt" --valid "$exp/text/valid.txt")

threads_of() { # threads_of <number of processes at a time>: prints the number of cores for each
  echo $(($(nproc) >= $1 ? $(nproc) / $1 : 1))
}

# Several trainings run at the same time, each with its own log.
train_side_by_side() { # train_side_by_side <number at a time>: reads "<log> <command ...>" lines
  "$steps/side_by_side.sh" --cmd "$train_cmd" --nj "$1" -
}

if begin_stage 4 "teachers with seeds $teacher_seeds, and their ensemble ($(stage_time 4))"; then
  members=()
  for seed in $teacher_seeds; do members+=("$exp/teacher_$seed"); done
  for seed in $teacher_seeds; do
    command_line "$exp/log/teacher_$seed.log" asr-rescore train_lm --config "$conf/teacher.yaml" "${text[@]}" \
      --vocab "$exp/text" --seed "$seed" "$exp/teacher_$seed"
  done | train_side_by_side ${#members[@]}
  asr-rescore ensemble_lm --valid "$exp/text/valid.txt" "${members[@]}" "$exp/teacher_ensemble"
  end_stage
fi

cache_teacher() { # cache_teacher <text> <cache>: writes the ensemble's distributions over the text, if there is to be a cache
  if [ "$top" = none ]; then return; fi
  "$steps/cache_teacher.sh" --cmd "$train_cmd" --nj "$cache_nj" --top "${top/#all/0}" --train "$1" "$exp/text" \
    "$exp/teacher_ensemble" "$2"
}

if begin_stage 5 "students: hard labels only, fixed interpolation, trust regularization ($(stage_time 5))"; then
  cache=()
  if [ "$top" != none ]; then cache=(--teacher-cache "$exp/cache"); fi
  cache_teacher "$exp/text/train.txt" "$exp/cache"
  for student in $students; do
    command_line "$exp/log/student_$student.log" asr-rescore distill_lm --config "$conf/student_$student.yaml" \
      "${text[@]}" --seed 1 "${cache[@]}" "$exp/teacher_ensemble" "$exp/student_$student"
  done | train_side_by_side "$(echo "$students" | wc -w)"
  end_stage
fi

# The rescorings of all graphs run at the same time, each in $nj jobs.
# on_all_graphs <function>: runs it with each graph.
on_all_graphs() {
  local graph pid pids=()
  OMP_NUM_THREADS=$(threads_of $(($(echo "$graphs" | wc -w) * nj)))
  export OMP_NUM_THREADS
  begin_progress "$exp/log"
  for graph in $graphs; do
    "$@" "$graph" 9>&- &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  end_progress
}

rescore_nbest() { # rescore_nbest <system> <set> <graph>
  local weights=(--tune true)
  if [ "$2" != "$dev" ]; then weights=(--weights "$exp/$1/decode_$3_$dev"); fi
  # shellcheck disable=SC2046 # options without blanks
  "$steps/rescore_nbest.sh" --cmd "$rescore_cmd" --nj "$nj" --n "$n" --inv-acwt "$inv_acwt" "${weights[@]}" \
    $(scoring_options "$3") "$(lang_dir "$3")" "$exp/$1" "$(data_dir "$2")" "$(decode_dir "$3" "$2")" \
    "$exp/$1/decode_$3_$2"
}

rescore_lattices() { # rescore_lattices <system> <set> <graph>
  # shellcheck disable=SC2046
  "$steps/rescore_lattice.sh" --cmd "$rescore_cmd" --nj "$nj" --weights "$exp/$1/decode_$3_$dev" \
    $(scoring_options "$3") "$(lang_dir "$3")" "$exp/$1" "$(data_dir "$2")" "$(decode_dir "$3" "$2")" \
    "$exp/$1/lattices_$3_$2"
}

confidences() { # confidences <system> <set> <graph>: words with confidences, which report plots
  local out_dir=$exp/$1/lattices_$3_$2
  asr-rescore lattice_to_ctm --weights "$out_dir" "$(lang_dir "$3")/words.txt" "$out_dir" "$out_dir/ctm"
}

kaldi_rnnlm() { # kaldi_rnnlm <set> <graph>: Kaldi's own rescoring with its older kind of recurrent model
  (
    cd "$s5"
    . ./cmd.sh
    steps/rnnlmrescore.sh --N "$n" --cmd "$decode_cmd" --inv-acwt "$inv_acwt" 0.75 "$(lang_dir "$2")" "$rnnlm_dir" \
      "$(data_dir "$1")" "$(decode_dir "$2" "$1")" "$exp/kaldi_rnnlm/decode_$2_$1"
  )
}

kaldi_rnnlm_row() { # the row of report for the output of kaldi_rnnlm
  local set graph
  echo "- name: $(basename "$rnnlm_dir"), by Kaldi, tuned on each set"
  echo "  decode_dirs:"
  for set in $dev $evals; do
    echo "    $(basename "$(data_dir "$set")"):"
    for graph in $graphs; do echo "      - $exp/kaldi_rnnlm/decode_${graph}_$set"; done
  done
}

rescore_set() { # rescore_set <set>: with every system
  local system
  for system in $systems; do on_all_graphs rescore_nbest "$system" "$1"; done
  if [ -n "$rnnlm_dir" ]; then on_all_graphs kaldi_rnnlm "$1"; fi
}

if begin_stage 6 "rescore $dev and tune the weights of each system ($(stage_time 6))"; then
  rescore_set "$dev"
  end_stage
fi

if begin_stage 7 "rescore $evals with the weights tuned on $dev ($(stage_time 7))"; then
  for set in $evals; do rescore_set "$set"; done
  end_stage
fi

if begin_stage 8 "rescore the lattices themselves with $lattice_system and the weights of its lists ($(stage_time 8))"; then
  for set in $dev $evals; do on_all_graphs rescore_lattices "$lattice_system" "$set"; done
  for set in $dev $evals; do on_all_graphs confidences "$lattice_system" "$set"; done
  end_stage
fi

if begin_stage 9 "the table"; then
  reports=()
  for system in $systems; do
    for set in $dev $evals; do
      for graph in $graphs; do reports+=("$exp/$system/decode_${graph}_$set"); done
    done
  done
  for set in $dev $evals; do
    for graph in $graphs; do reports+=("$exp/$lattice_system/lattices_${graph}_$set"); done
  done
  published=()
  if [ -f "$conf/published.yaml" ]; then published+=(--published "$conf/published.yaml"); fi
  if [ -n "$rnnlm_dir" ]; then
    kaldi_rnnlm_row >"$exp/kaldi_rnnlm/row.yaml"
    published+=(--published "$exp/kaldi_rnnlm/row.yaml")
  fi
  asr-rescore report "${published[@]}" "${reports[@]}" "$exp/report"
  end_stage
fi

. "$here/local/study.sh" # stages 10 to 13
