# The study of trust regularization: run.sh sources this for --size study, after its options and functions.
#
# Students with the same seed share their first weights, the order of their text and their teacher, and differ only in
# the objective. The report therefore compares them in pairs. There are three regimes:
#
#   scratch    a vocabulary of 1,000 words, 38,000 tokens, 30 epochs: students overfit. Seeds 1 to 8, each with a teacher
#              of its own. About an hour on two cores.
#   branches   the same vocabulary, 303,000 tokens. For each of the seeds 1 to 5, a student is trained with KL alone; then
#              every objective continues from it for two epochs, with partial shuffle. About an hour.
#   full       the whole text and vocabulary; branches of three epochs from one student, or from one for each of --seeds.
#              About four hours on two cores. Tables 1 to 3 are made from these.
#
# The times of the stages, on two cores with other work and on a GPU, are those of ../RESULTS.md and docs/recipes.md.
#
# What is not in the paper is a second family of comparisons (stage 6), under the first two regimes: other objectives,
# a teacher of three members, and text that the teacher has written.
#
# Every model is a training of its own, which continues where it was stopped, and a finished one is not done again. So
# the study can be made in parts: stop it at any time, and start it again with the stage that was running.
# shellcheck shell=bash disable=SC2154

arms="kl trust_0.03 trust trust_0.3 trust_1 label_0.03 fixed fixed_0.5 ce ce_regularized shuffled"
more_arms="label_0.2 label_0.3 label_0.5 scaled scaled_shuffled root doubt doubt_0.3 expected_trust expected_doubt todi temperature_2 no_averaging"
more_weights="label_0.2 label_0.3 label_0.5 doubt doubt_0.3" # of more_arms, those that are also trained from scratch
rows="dropout ar fixed_0.1 fixed_0.2" # of Tables 2 and 3, in addition to the arms
temperatures="temperature_2 temperature_5 temperature_8 temperature_10"
scratch_seeds=${seeds:-1 2 3 4 5 6 7 8}
branch_seeds=${seeds:-1 2 3 4 5}
full_seeds=${seeds:-1}
full_teachers=("$exp/full/teacher_31" "$exp/full/teacher_37")
conf=$here/conf/study

# Texts of a regime, in <exp>/<regime>/text: train.txt and its vocabulary; select.txt, by which the best epoch is
# chosen; valid.txt and test.txt, on which finished models are measured.

texts() { # texts <regime> <directory with train.txt, valid.txt, test.txt> <sentences of train> <sentences of select>
  local to=$exp/$1/text
  mkdir -p "$to"
  asr-rescore prepare_text --valid "$2/valid.txt" "$2/train.txt" "$to" # the vocabulary is that of the whole text
  cp "$2/test.txt" "$to/test.txt"
  sed "$3q" "$2/train.txt" >"$to/train.txt"
  sed "$4q" "$2/valid.txt" >"$to/select.txt"
  wc "$to"/{train,select,valid,test}.txt
}

only_1000_words() { # other words become <unk>, as the rare words of Penn Treebank already are
  local part
  mkdir -p "$exp/text_1000"
  asr-rescore prepare_text --vocabulary-size 1000 --valid "$exp/text/valid.txt" "$exp/text/train.txt" "$exp/text_1000/listed"
  for part in train valid test; do
    awk 'NR == FNR { listed[$1]; next } { for (i = 1; i <= NF; i++) if (!($i in listed)) $i = "<unk>"; print }' \
      "$exp/text_1000/listed/vocab.txt" "$exp/text/$part.txt" >"$exp/text_1000/$part.txt"
  done
}

# Each of these functions prints command lines for side_by_side, for what is not finished yet.

measured() { # measured <model>: whether its perplexities are those of its weights
  [ "$1/ppl_test.json" -nt "$1/model.safetensors" ]
}

training() { # training <regime> <name> <seed> <config> <command> [<options and teachers>]
  local text=$exp/$1/text
  command_line "$exp/$1/log/$2.log" asr-rescore "$5" --config "$conf/$1/$4.yaml" --train "$text/train.txt" \
    --valid "$text/select.txt" --seed "$3" "${@:6}" "$exp/$1/$2"
}

teacher() { # teacher <regime> <name> <seed>
  training "$1" "$2" "$3" teacher train_lm --vocab "$exp/$1/text"
}

student() { # student <regime> <arm> <seed> <options and teachers>; an arm is a row, or <row>_with_<something>
  local config=() row=${2%%_with_*}
  measured "$exp/$1/student_$2_$3" && return
  if [ -f "$conf/$1/branch.yaml" ]; then config+=(--config "$conf/$1/branch.yaml"); fi
  if [ "$row" != trust ]; then config+=(--config "$here/conf/rows/$row.yaml"); fi # trust is what student.yaml has
  training "$1" "student_$2_$3" "$3" student distill_lm "${config[@]}" "${@:4}"
}

perplexities() { # perplexities <regime> <models>
  local model part
  for model in "${@:2}"; do
    measured "$model" && continue
    for part in valid test; do # test is last: a model that has it has both
      command_line "$exp/$1/log/ppl_$(basename "$model")_$part.log" asr-rescore compute_ppl \
        --json "$model/ppl_$part.json" "$model" "$exp/$1/text/$part.txt"
    done
  done
}

cache() { # cache <regime> <name> <options and teachers>
  command_line "$exp/$1/log/cache_$2.log" asr-rescore cache_teacher --train "$exp/$1/text/train.txt" "${@:3}" \
    "$exp/$1/cache_$2"
}

report() { # report <study>: that of conf/study/<study>.yaml
  asr-rescore study --json "$exp/$1.json" --plot "$exp/$1.svg" "$conf/$1.yaml" "$exp" | tee "$exp/$1.md"
}

if begin_stage 0 "vocabularies and texts"; then
  words
  only_1000_words
  texts scratch "$exp/text_1000" 1800 400
  texts branches "$exp/text_1000" 14200 800
  texts full "$exp/text" \$ \$
  end_stage
fi

if begin_stage 1 "scratch: a teacher of two members for each of the seeds $scratch_seeds, and its distributions (12 min on two cores, for eight seeds)"; then
  for seed in $scratch_seeds; do
    for member in 1 2; do teacher scratch "teacher_${seed}_$member" "$seed$member"; done
  done | side_by_side
  for seed in $scratch_seeds; do
    cache scratch "$seed" "$exp/scratch/teacher_${seed}"_{1,2}
  done | side_by_side
  end_stage
fi

from_scratch() { # from_scratch <arms>: trains and measures them
  local seed row
  for seed in $scratch_seeds; do
    for row in "$@"; do
      student scratch "$row" "$seed" --teacher-cache "$exp/scratch/cache_$seed" "$exp/scratch/teacher_${seed}"_{1,2}
    done
  done | side_by_side
  perplexities scratch "$exp"/scratch/{teacher,student}_* | side_by_side
}

# shellcheck disable=SC2086 # lists of words
if begin_stage 2 "scratch: students of every objective (39 min on two cores, for eight seeds)"; then
  from_scratch $arms
  report study
  end_stage
fi

if begin_stage 3 "branches: a teacher of two members, and its distributions (5 min on two cores)"; then
  for member in 1 2; do teacher branches "teacher_$member" "$member"; done | side_by_side
  cache branches 1 "$exp"/branches/teacher_{1,2} | side_by_side
  end_stage
fi

branches=(--teacher-cache "$exp/branches/cache_1" "$exp"/branches/teacher_{1,2})
if begin_stage 4 "branches: a student trained with KL alone for each of the seeds $branch_seeds (6 min on two cores, for five seeds)"; then
  for seed in $branch_seeds; do
    training branches "start_$seed" "$seed" student distill_lm --config "$here/conf/rows/kl.yaml" "${branches[@]}"
  done | side_by_side
  end_stage
fi

continue_branches() { # continue_branches <arms>: trains and measures them
  local seed row
  for seed in $branch_seeds; do
    for row in "$@"; do student branches "$row" "$seed" --init "$exp/branches/start_$seed" "${branches[@]}"; done
  done | side_by_side
  perplexities branches "$exp"/branches/{teacher,start,student}_* | side_by_side
}

# shellcheck disable=SC2086
if begin_stage 5 "branches: every objective continues from each of them (46 min on two cores, for five seeds)"; then
  continue_branches $arms
  report study
  end_stage
fi

with_three_teachers() { # from scratch, a teacher with a third member
  local seed of
  for seed in $scratch_seeds; do teacher scratch "teacher_${seed}_3" "${seed}3"; done | side_by_side
  for seed in $scratch_seeds; do
    cache scratch "${seed}_of_3" "$exp/scratch/teacher_${seed}"_{1,2,3}
  done | side_by_side
  for seed in $scratch_seeds; do
    of=(--teacher-cache "$exp/scratch/cache_${seed}_of_3" "$exp/scratch/teacher_${seed}"_{1,2,3})
    student scratch fixed_with_three_teachers "$seed" "${of[@]}"
  done | side_by_side
}

with_sampled_text() { # from scratch, as much text again from the teacher, in half as many epochs
  local seed row text=$exp/scratch/text/train.txt tokens of
  tokens=$(sed 's/$/ end/' "$text" | wc -w)
  for seed in $scratch_seeds; do
    of=("$exp/scratch/teacher_${seed}"_{1,2})
    mkdir -p "$exp/scratch/text_$seed"
    if [ ! "$exp/scratch/text_$seed/sampled.txt" -nt "$exp/scratch/teacher_${seed}_2/model.safetensors" ]; then
      asr-rescore sample_text --tokens "$tokens" --seed "$seed" "${of[@]}" "$exp/scratch/text_$seed/sampled.txt"
    fi
    cat "$text" "$exp/scratch/text_$seed/sampled.txt" >"$exp/scratch/text_$seed/train.txt"
  done
  for seed in $scratch_seeds; do
    cache scratch "${seed}_sampled" --train "$exp/scratch/text_$seed/train.txt" "$exp/scratch/teacher_${seed}"_{1,2}
  done | side_by_side
  for seed in $scratch_seeds; do
    of=(--config "$conf/scratch/half.yaml" --train "$exp/scratch/text_$seed/train.txt")
    of+=(--teacher-cache "$exp/scratch/cache_${seed}_sampled" "$exp/scratch/teacher_${seed}"_{1,2})
    for row in fixed kl; do student scratch "${row}_with_sampled_text" "$seed" "${of[@]}"; done
  done | side_by_side
}

# shellcheck disable=SC2086
if begin_stage 6 "scratch and branches: what is not in the paper (two hours on two cores)"; then
  with_three_teachers
  with_sampled_text
  from_scratch $more_weights
  continue_branches $more_arms
  report further
  end_stage
fi

if begin_stage 7 "full: two teachers, and their distributions (104 and 106 min on two cores for the teachers)"; then
  for seed in 31 37; do teacher full "teacher_$seed" "$seed"; done | side_by_side
  asr-rescore ensemble_lm --valid "$exp/full/text/valid.txt" "${full_teachers[@]}" "$exp/full/teacher_ensemble"
  cache full 1 --top "${top:-128}" --samples 32 "${full_teachers[@]}" | side_by_side
  end_stage
fi

full=(--teacher-cache "$exp/full/cache_1" "${full_teachers[@]}")
if begin_stage 8 "full: a student trained with KL alone for each of the seeds $full_seeds (132 s on an NVIDIA H100 for five seeds; stages 7 to 9: four hours on two cores for one seed)"; then
  for seed in $full_seeds; do
    training full "start_$seed" "$seed" student distill_lm --config "$here/conf/rows/kl.yaml" "${full[@]}"
  done | side_by_side
  end_stage
fi

if begin_stage 9 "full: every objective continues from each of them; Tables 1 to 3 (390 s on an NVIDIA H100 for five seeds; stages 7 to 9: four hours on two cores for one seed)"; then
  for seed in $full_seeds; do
    branch=(--init "$exp/full/start_$seed")
    for row in $arms $rows; do student full "$row" "$seed" "${branch[@]}" "${full[@]}"; done
    # A temperature needs whole distributions, which would take 18 GB on disk: the teachers compute them again.
    for row in $temperatures; do student full "$row" "$seed" "${branch[@]}" "${full_teachers[@]}"; done
  done | side_by_side
  perplexities full "$exp"/full/{teacher,start,student}_* | side_by_side
  report study
  asr-rescore ppl_table "$here/conf/tables.yaml" "$exp/full" | tee "$exp/tables.md"
  end_stage
fi
