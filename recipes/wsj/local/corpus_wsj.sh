# Wall Street Journal as Kaldi's egs/wsj/s5 leaves it, decoded with the small and the big pronunciation dictionary.
# run.sh sources this file and uses these names.
# shellcheck shell=bash disable=SC2034

graphs="tgpr bd_tgpr"
dev=dev93
eval=eval92
teacher_seeds="17 31"
vocabulary_size=40000
train_text=$s5/data/local/dict_nosp_larger/cleaned.gz
valid_text=$exp/text/valid.gz

lang_dir() { case $1 in tgpr) echo "$s5/data/lang_nosp_test_tgpr" ;; bd_tgpr) echo "$s5/data/lang_nosp_test_bd_tgpr" ;; esac; }
data_dir() { echo "$s5/data/test_$1"; }
decode_dir() { echo "$s5/exp/tri4b/decode_nosp_$1_$2"; }

# Lists everything that is missing, with the script that makes it, and exits if anything is.
check_corpus() {
  local missing=()
  [ -n "$s5" ] || missing+=("--s5 DIR: Kaldi's egs/wsj/s5, which needs LDC93S6B and LDC94S13B")
  [ -f "$train_text" ] || missing+=("$train_text: the LM text; run local/wsj_extend_dict.sh of s5")
  local graph set
  for graph in $graphs; do
    [ -f "$(lang_dir "$graph")/words.txt" ] || missing+=("$(lang_dir "$graph"): run local/wsj_format_local_lms.sh of s5")
    for set in $dev $eval; do
      [ -f "$(decode_dir "$graph" "$set")/num_jobs" ] ||
        missing+=("$(decode_dir "$graph" "$set"): decode with steps/decode_fmllr.sh, graph $graph")
    done
  done
  for set in $dev $eval; do
    [ -f "$(data_dir "$set")/text" ] || missing+=("$(data_dir "$set")/text: run local/wsj_data_prep.sh of s5")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "$0: --corpus wsj: ${#missing[@]} things are missing:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
  fi
}
