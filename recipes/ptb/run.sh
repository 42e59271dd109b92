#!/usr/bin/env bash
# Penn Treebank, Tables 1 to 3 of the paper: teachers and their ensemble, a student distilled from it with trust
# regularization, finetuning and dynamic evaluation of the student, and ablations.
#
# Usage: run.sh [options]
#  e.g.: run.sh --ptb-dir /data/ptb --size full     on a GPU
#        run.sh --ptb-dir /data/ptb                 in about three hours on two cores
#        run.sh                                     without Penn Treebank, on the embedded corpus of ../wsj/mini
#        run.sh --ptb-dir /data/ptb --size study    does trust regularization help? Paired comparisons (local/study.sh)
#
# Options:
#   --ptb-dir DIR          directory with ptb.train.txt, ptb.valid.txt and ptb.test.txt (LDC99T42, as preprocessed by
#                          Mikolov)
#   --size cpu|full|study  cpu: smaller models and part of the text; full: the paper's sizes; study: see local/study.sh,
#                          which has stages of its own (cpu)
#   --sentences N          use the first N sentences of the training text; 0: all (cpu: 8000, full: 0)
#   --seeds "1 2 3"        seeds of the students (these; study: as many as its power needs)
#   --teacher-seeds "31 37"
#                          seeds of the teacher's members (cpu: these, full: 31 37 61 71 83)
#   --exp DIR              output directory (exp/<size>)
#   --stage N, --stop-stage N
#                          0 prepare the text     1 teachers   2 cache their distributions   3 student, finetuning
#                          4 Tables 2 and 3       5 options that are not in the paper   6 perplexities   7 tables
#   --nj N                 number of trainings at a time (cpu: one per processor; full: 3, which share the GPU)
#   --top K                cache the K most probable words of each distribution and draws from the rest; 0: all words
#                          (0; study: 128 for the whole vocabulary, and all of 1,000 words)

set -euo pipefail

# Configuration
ptb_dir=
size=cpu
sentences=
seeds=
teacher_seeds=
exp=
stage=0
stop_stage=9
nj=
top=

printf '%q ' "$0" "$@" && echo
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
steps=$(cd "$here/../steps" && pwd)
. "$steps/parse_options.sh"
. "$here/path.sh"
. "$here/cmd.sh"
. "$steps/stages.sh"

if [ $# -ne 0 ]; then
  echo "$0: takes options only, found '$1'; see --help" >&2
  exit 2
fi

case $size in
  cpu)
    sentences=${sentences:-8000} teacher_seeds=${teacher_seeds:-31 37} nj=${nj:-$(getconf _NPROCESSORS_ONLN)}
    rates= # empty: the defaults
    alone="no_averaging asgd twice"
    ;;
  full)
    sentences=${sentences:-0} teacher_seeds=${teacher_seeds:-31 37 61 71 83} nj=${nj:-3}
    rates="--dynamic-preset reference"
    alone="adamw"
    ;;
  study) nj=${nj:-$(getconf _NPROCESSORS_ONLN)} ;;
  *)
    echo "$0: --size '$size', expected cpu, full or study" >&2
    exit 2
    ;;
esac
exp=${exp:-$here/exp/$size}

side_by_side() { # reads command lines; a finished training is not done again
  "$steps/side_by_side.sh" --cmd "$train_cmd" --nj "$nj" -
}

stage_time() { # stage_time <time of --size cpu> <that of --size full>: prints how long a stage takes, from RESULTS.md
  if [ "$size" = cpu ]; then echo "$1, on two cores"; else echo "$2"; fi
}
epoch_of_student="13 s an epoch of each student on an NVIDIA H100"

words() { # the vocabulary, and train, valid and test text, in $exp/text
  mkdir -p "$exp/text"
  if [ -n "$ptb_dir" ]; then
    for part in train valid test; do
      [ -f "$ptb_dir/ptb.$part.txt" ] || { echo "$0: no $ptb_dir/ptb.$part.txt; give --ptb-dir Mikolov's Penn Treebank" >&2; exit 1; }
    done
    asr-rescore prepare_text --valid "$ptb_dir/ptb.valid.txt" "$ptb_dir/ptb.train.txt" "$exp/text"
    cp "$ptb_dir/ptb.test.txt" "$exp/text/test.txt"
  else
    asr-rescore prepare_text --valid "$here"/../wsj/mini/text/valid.txt.gz "$here"/../wsj/mini/text/train.txt.gz "$exp/text"
    cut -d ' ' -f 2- "$here"/../wsj/mini/data/{dev,eval}/text >"$exp/text/test.txt"
  fi
}

refuse_unfinished_stages
if [ "$size" = study ]; then
  . "$here/local/study.sh"
  exit
fi

conf=$here/conf/$size
seeds=${seeds:-1 2 3} top=${top:-0}
text=(--train "$exp/text/part.txt" --valid "$exp/text/valid.txt")
rows="kl fixed ce ce_regularized dropout ar fixed_0.1 fixed_0.2 fixed_0.5"
options="shuffle temperature_2 temperature_5 temperature_8 temperature_10 trust_0.3 $alone"
cache=$exp/cache
teachers=()
for seed in $teacher_seeds; do teachers+=("$exp/teacher_${seed}_finetuned"); done

if begin_stage 0 "vocabulary and texts"; then
  words
  if [ "$sentences" -gt 0 ]; then
    sed "${sentences}q" "$exp/text/train.txt" >"$exp/text/part.txt"
  else
    cp "$exp/text/train.txt" "$exp/text/part.txt"
  fi
  wc "$exp"/text/{part,valid,test}.txt
  end_stage
fi

if begin_stage 1 "train and finetune teachers with seeds $teacher_seeds ($(stage_time "40 min with stage 2" "13 s an epoch of a network on an NVIDIA H100: 9 hours for 500 epochs of five"))"; then
  for seed in $teacher_seeds; do
    command_line "$exp/log/teacher_$seed.log" asr-rescore train_lm --config "$conf/teacher.yaml" --vocab "$exp/text" \
      "${text[@]}" --seed "$seed" "$exp/teacher_$seed"
  done | side_by_side
  for seed in $teacher_seeds; do
    command_line "$exp/log/teacher_${seed}_finetuned.log" asr-rescore train_lm --config "$conf/teacher.yaml" \
      --config "$conf/finetune.yaml" --init "$exp/teacher_$seed" --vocab "$exp/text" "${text[@]}" --seed "$seed" \
      "$exp/teacher_${seed}_finetuned"
  done | side_by_side
  asr-rescore ensemble_lm --valid "$exp/text/valid.txt" "${teachers[@]}" "$exp/teacher_ensemble"
  end_stage
fi

if begin_stage 2 "cache the ensemble's distribution for every token of the text ($(stage_time "40 min with stage 1" "not timed yet"))"; then
  asr-rescore cache_teacher --top "$top" --train "$exp/text/part.txt" "$exp/teacher_ensemble" "$cache"
  end_stage
fi

distill() { # distill <name> [<more options>]: writes one line for side_by_side per seed
  local seed
  for seed in $seeds; do
    command_line "$exp/log/student_$1_$seed.log" asr-rescore distill_lm --config "$conf/student.yaml" "${@:2}" \
      "${text[@]}" --seed "$seed" --teacher-cache "$cache" "$exp/teacher_ensemble" "$exp/student_$1_$seed"
  done
}

if begin_stage 3 "train the student with trust regularization, and finetune it ($(stage_time "an hour with stage 4" "$epoch_of_student"))"; then
  distill trust | side_by_side
  for seed in $seeds; do
    seeds=$seed distill finetuned --config "$conf/finetune.yaml" --init "$exp/student_trust_$seed"
  done | side_by_side
  end_stage
fi

if begin_stage 4 "Tables 2 and 3: $rows ($(stage_time "an hour with stage 3" "$epoch_of_student"))"; then
  for row in $rows; do distill "$row" --config "$here/conf/rows/$row.yaml"; done | side_by_side
  end_stage
fi

if begin_stage 5 "options that are not in the paper, one at a time: $options ($(stage_time "an hour" "$epoch_of_student"))"; then
  for row in $options; do distill "$row" --config "$here/conf/rows/$row.yaml"; done | side_by_side
  # Sample as much text as there is already from the teacher.
  asr-rescore sample_text --tokens "$(sed 's/$/ end/' "$exp/text/part.txt" | wc -w)" "$exp/teacher_ensemble" "$exp/text/sampled.txt"
  cat "$exp"/text/{part,sampled}.txt >"$exp/text/more.txt"
  asr-rescore cache_teacher --top "$top" --train "$exp/text/more.txt" "$exp/teacher_ensemble" "${cache}_more"
  text[1]=$exp/text/more.txt cache=${cache}_more
  distill sampled | side_by_side
  end_stage
fi

if begin_stage 6 "perplexities, also with dynamic evaluation for the finetuned student ($(stage_time "20 min" "not timed yet"))"; then
  for model in "$exp"/teacher_* "$exp"/student_*; do
    dynamic=()
    # shellcheck disable=SC2206 # options without blanks
    case $model in */student_finetuned_*) dynamic=(--dynamic --statistics "$exp/text/part.txt" $rates) ;; esac
    for part in valid test; do
      [ "$model/ppl_$part.json" -nt "$model/model.safetensors" ] && continue # done before
      command_line "$exp/log/ppl_$(basename "$model")_$part.log" asr-rescore compute_ppl "${dynamic[@]}" \
        --json "$model/ppl_$part.json" "$model" "$exp/text/$part.txt"
    done
  done | side_by_side
  end_stage
fi

if begin_stage 7 "the tables"; then
  asr-rescore ppl_table "$here/conf/tables.yaml" "$exp" | tee "$exp/tables.md"
  end_stage
fi
