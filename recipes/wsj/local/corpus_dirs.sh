# Any first pass of Kaldi: --decode-dirs, --data-dirs, --lang-dir and --train-text say where it is.
# run.sh sources this file; see corpus_mini.sh.
# shellcheck shell=bash disable=SC2034,SC2154

conf=${conf:-$here/conf/cpu}
graphs=first_pass
read -ra decode_list <<<"$decode_dirs"
read -ra data_list <<<"$data_dirs"
dev=1
teacher_seeds=${teacher_seeds:-17 31}
inv_acwt=${inv_acwt:-12}
if [ "$vocabulary_size" -gt 0 ]; then prepare_options=(--vocabulary-size "$vocabulary_size"); else prepare_options=(); fi
if [ -n "$valid_text" ]; then prepare_options+=(--valid "$valid_text"); fi

lang_dir() { echo "$lang_dir"; }
data_dir() { echo "${data_list[$1 - 1]:-}"; }
decode_dir() { echo "${decode_list[$2 - 1]}"; }
scoring_options() { :; } # filters in local/ of the caller are found
eval_sets() { seq -s ' ' 2 ${#decode_list[@]}; }
lexicon() { echo "$lang_dir/words.txt"; }

names_of_sets() { # as the table names them
  local set
  for set in $dev $(eval_sets); do
    echo "$(basename "$(decode_dir first_pass "$set")") of $(basename "$(data_dir "$set")")"
  done
}

# Prints one line for each thing that is missing.
list_missing() {
  local set
  [ ${#decode_list[@]} -eq ${#data_list[@]} ] ||
    echo "--data-dirs: found ${#data_list[@]}, expected one for each of the ${#decode_list[@]} in --decode-dirs"
  [ -f "$lang_dir/words.txt" ] || echo "--lang-dir '$lang_dir': no words.txt; give the lang directory of the decoding graph"
  [ -f "$train_text" ] || echo "--train-text '$train_text': no such file; give text for the language models, one sentence per line"
  [ -z "$valid_text" ] || [ -f "$valid_text" ] || echo "--valid-text '$valid_text': no such file"
  names_of_sets | sort | uniq -d | sed 's/^/--decode-dirs: /; s/$/ is given twice; the table needs directories of different names/'
  for set in $dev $(eval_sets); do
    [ -f "$(decode_dir first_pass "$set")/num_jobs" ] || echo "$(decode_dir first_pass "$set"): no num_jobs; give a decode directory of Kaldi"
    [ -z "$(data_dir "$set")" ] || [ -f "$(data_dir "$set")/text" ] || echo "$(data_dir "$set"): no text; give the data directory of this decode directory"
  done
}

train_first_pass() { echo "the first pass is given; nothing to train"; }
decode_first_pass() { echo "the first pass is given; nothing to decode"; }
# Those of conf/cpu are in RESULTS.md: synthetic speech of newspaper text, 900,000 words of training text, two sets of 395
# utterances with six systems.
stage_time() {
  if [ "$conf" != "$here/conf/cpu" ]; then
    echo "depends on the sizes in $conf"
    return
  fi
  case $1 in
    4) echo "36 min on two cores for 900,000 words of text" ;;
    5) echo "25 min on two cores for 900,000 words of text" ;;
    6) echo "18 min on two cores for 400 utterances" ;;
    7) echo "11 min on two cores for 400 utterances" ;;
    8) echo "50 s on two cores for 800 utterances" ;;
    *) echo "depends on the sizes in $conf and of the data" ;;
  esac
}
