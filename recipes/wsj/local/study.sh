# The study of objectives by word error rates: run.sh sources this for its stages 10 to 13, after its functions.
#
# It asks the question of ../ptb/local/study.sh where the models are used. Students with the same seed share their first
# weights, the order of their text and their teacher, and differ only in the objective. Weights are tuned on dev for each
# student and applied unchanged to the other sets. The report compares students in pairs.
#
# Where training from scratch would take too long, --starts trains one or more students with KL alone, and every
# objective continues from them for a short time: seed 1 from the first of them, seed 2 from the second, and so on, by
# turns. With --branch-sentences, branches read only the first sentences of the text.
#
# A training that was stopped continues, and what is finished is not done again. So the study can be made in parts: for
# one seed after the other, or for a few objectives and later for others. Stage 13 compares all students that there are.
# shellcheck shell=bash disable=SC2154

study=$exp/study
arms=${arms:-kl trust_0.01 trust_0.03 trust trust_0.3 trust_1 shuffled label_0.03 fixed fixed_0.5 ce_regularized ce}
seeds=${seeds:-1 2 3 4 5}
read -ra start_list <<<"$starts"
student_config=(--config "$conf/student_trust.yaml" --config "$here/conf/study/student.yaml")
branch_text=("${text[@]}")
branch_cache=$exp/cache
if [ "$branch_sentences" -gt 0 ]; then
  branch_text[1]=$study/text/first_$branch_sentences.txt
  branch_cache=$study/cache_$branch_sentences
fi

side_by_side() { # reads command lines; $nj of them run at a time
  "$steps/side_by_side.sh" --cmd "$1" --nj "$nj" -
}

teacher_options() { # teacher_options <cache>: prints how students get their teacher, one word per line
  if [ "$top" != none ]; then printf '%s\n' --teacher-cache "$1"; fi
  echo "$exp/teacher_ensemble"
}

row_of() { # row_of <arm>: prints the config that makes a student one of the arm; nothing for what student.yaml has
  if [ "$1" = trust ]; then return; fi
  local own=$here/conf/study/$1.yaml
  if [ -f "$own" ]; then echo "$own"; else echo "$here/../ptb/conf/rows/$1.yaml"; fi
}

start_training() { # start_training <seed>: prints the command line of a student from which others branch
  local teacher
  mapfile -t teacher < <(teacher_options "$exp/cache")
  command_line "$study/log/start_$1.log" asr-rescore distill_lm "${student_config[@]}" --config "$(row_of kl)" \
    "${text[@]}" --seed "$1" "${teacher[@]}" "$study/start_$1"
}

student_training() { # student_training <arm> <seed> <start, or nothing>
  local row teacher options=("${student_config[@]}")
  row=$(row_of "$1")
  if [ -n "$row" ]; then options+=(--config "$row"); fi
  if [ -n "$3" ]; then options+=(--config "$here/conf/study/branch.yaml" --init "$study/start_$3"); fi
  mapfile -t teacher < <(teacher_options "$branch_cache")
  command_line "$study/log/student_$1_$2.log" asr-rescore distill_lm "${options[@]}" "${branch_text[@]}" --seed "$2" \
    "${teacher[@]}" "$study/student_$1_$2"
}

trainings() { # command lines for the students of all seeds, those of the first seed first
  local seed arm start
  for seed in $seeds; do
    start=${start_list[*]:+${start_list[(seed - 1) % ${#start_list[@]}]}}
    for arm in $arms; do student_training "$arm" "$seed" "$start"; done
  done
}

finished() { # finished <out-dir> <files>: whether its report is newer than each of the files
  local file
  for file in "${@:2}"; do
    if [ ! "$1/report.json" -nt "$file" ]; then return 1; fi
  done
}

rescoring() { # rescoring <student> <set> <graph>: prints its command line, unless it is finished
  local model=$study/$1 weights=(--tune true)
  local out=$model/decode_$3_$2 as=$study/log/$1_$3_$2.command line
  local inputs=("$as" "$model/model.safetensors" "$(data_dir "$2")/text" "$(decode_dir "$3" "$2")"/lat.*.gz)
  if [ "$2" != "$dev" ]; then
    weights=(--weights "$model/decode_$3_$dev")
    inputs+=("$model/decode_$3_$dev/report.json") # dev may have been tuned again
  fi
  # shellcheck disable=SC2046 # options without blanks
  line=$(command_line "$study/log/$1_$3_$2.log" "$steps/rescore_nbest.sh" --nj 1 --n "$n" --inv-acwt "$inv_acwt" \
    --no-lattice-oracle true "${weights[@]}" $(scoring_options "$3") "$(lang_dir "$3")" "$model" "$(data_dir "$2")" \
    "$(decode_dir "$3" "$2")" "$out")
  # A report is newer than the command line that it was made with, and other options make another command line.
  mkdir -p "$study/log"
  if [ ! -f "$as" ] || [ "$(<"$as")" != "$line" ]; then echo "$line" >"$as"; fi
  if ! finished "$out" "${inputs[@]}"; then echo "$line"; fi
}

rescorings() { # rescorings <set>: command lines for all students
  local seed arm graph
  for seed in $seeds; do
    for arm in $arms; do
      for graph in $graphs; do rescoring "student_${arm}_$seed" "$1" "$graph"; done
    done
  done
}

regime() { # what study reads, in addition to arms.yaml
  local set how="trained from scratch" tuned=() tested=() graph
  if grep -qs '"init"' "$study"/student_*/provenance.json; then # whatever --starts is in this call
    how="branches of students trained with KL${starts:+ (seeds $starts)}"
  fi
  for graph in $graphs; do
    tuned+=("decode_${graph}_$dev")
    for set in $evals; do tested+=("decode_${graph}_$set"); done
  done
  echo "regimes:"
  echo "  study:"
  echo "    title: \"Word errors of $(basename "$exp" | sed 's/["\\]/\\&/g'): $how\""
  echo "    measure: wer"
  echo "    test:"
  printf '      - %s\n' "${tested[@]}"
  echo "    valid:"
  printf '      - %s\n' "${tuned[@]}"
}

if begin_stage 10 "study: ${starts:+students trained with KL alone, seeds $starts, and }the teachers' distributions ($(stage_time 10))"; then
  mkdir -p "$study/text"
  if [ "$branch_sentences" -gt 0 ]; then sed "${branch_sentences}q" "$exp/text/train.txt" >"${branch_text[1]}"; fi
  if [ -n "$starts" ] || [ "$branch_sentences" -eq 0 ]; then cache_teacher "$exp/text/train.txt" "$exp/cache"; fi
  if [ "$branch_sentences" -gt 0 ]; then cache_teacher "${branch_text[1]}" "$branch_cache"; fi
  for seed in $starts; do start_training "$seed"; done | side_by_side "$train_cmd"
  end_stage
fi

if begin_stage 11 "study: students of every objective, seeds $seeds ($(stage_time 11))"; then
  trainings | side_by_side "$train_cmd"
  end_stage
fi

if begin_stage 12 "study: rescore $dev and $evals with each of them ($(stage_time 12))"; then
  for set in $dev $evals; do rescorings "$set" | side_by_side "$rescore_cmd"; done
  end_stage
fi

if begin_stage 13 "study: the table"; then
  { cat "$here/conf/study/arms.yaml" && regime; } >"$study/study.yaml"
  asr-rescore study --json "$study/study.json" --plot "$study/study.svg" "$study/study.yaml" "$exp" | tee "$study/study.md"
  end_stage
fi
