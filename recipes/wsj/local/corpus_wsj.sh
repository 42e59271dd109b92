# Wall Street Journal in Kaldi's egs/wsj/s5, decoded with the small and the big pronunciation dictionary.
# run.sh sources this file; see corpus_mini.sh. Names of directories are those that s5's own scripts use.
# shellcheck shell=bash disable=SC2034,SC2154

for name in s5 exp rnnlm_dir; do # s5's scripts run in s5
  if [ -n "${!name}" ]; then printf -v "$name" %s "$(realpath -m "${!name}")"; fi
done
conf=${conf:-$here/conf/wsj}
graphs=${graphs:-tgpr bd_tgpr}
dev=dev93
teacher_seeds=${teacher_seeds:-17 31}
inv_acwt=${inv_acwt:-12}
top=${top:-64}
dict=$s5/data/local/dict_nosp_larger
train_text=$dict/cleaned.gz
# 200,000 words are held out; </s>, the class of rare words and the most frequent words are 40,000 entries.
prepare_options=(--vocabulary-size "$((vocabulary_size > 0 ? vocabulary_size : 40000))" --valid-words 200000)

case $am in
  tri4b) model_dir=exp/tri4b graph_home=exp/tri4b hires= ;;
  nnet2_online) model_dir=exp/nnet2_online/nnet_ms_a_online graph_home=exp/tri4b hires= ;;
  chain) model_dir=exp/chain/tdnn1i_sp graph_home=exp/chain/tree_a_sp hires=_hires ;;
  *)
    echo "$0: --am '$am', expected tri4b, nnet2_online or chain" >&2
    exit 2
    ;;
esac
for graph in $graphs; do
  case $graph in
    tgpr | tg | bd_tgpr | bd_fg) ;;
    *)
      echo "$0: --graphs '$graph', expected some of tgpr, tg, bd_tgpr and bd_fg" >&2
      exit 2
      ;;
  esac
done

# The language model of the lattices. bd_fg lattices are bd_tgpr lattices with the costs of an unpruned four-gram.
lang_dir() { echo "$s5/data/lang_test_${1/#bd_fg/bd_fgconst}"; }
data_dir() { echo "$s5/data/test_$1$hires"; }
decode_dir() { # decode_dir <graph> <set>
  if [ "$1" = bd_fg ]; then echo "$s5/$model_dir/decode_bd_tgpr_$2_fg"; else echo "$s5/$model_dir/decode_$1_$2"; fi
}
# scoring_options <graph>: s5's own filters of transcripts, and how the old language model came into the lattices.
scoring_options() {
  echo --filter-dir "$s5/local"
  if [ "$1" = tg ]; then echo --use-phi true; fi
}
# s5 prepares eval93 and does not decode it; stage 2 does.
eval_sets() {
  local graph
  echo eval92
  [ -d "$s5/data/test_eval93$hires" ] || return 0
  if [ "$stage" -gt 2 ] || [ "$stop_stage" -lt 2 ]; then
    for graph in $graphs; do [ -f "$(decode_dir "$graph" eval93)/num_jobs" ] || return 0; done
  fi
  echo eval93
}
lexicon() { echo "$s5/data/lang_test_bd_tgpr/words.txt"; }

# Prints one line for each thing that is missing, with the program or script that makes it.
list_missing() {
  if [ -z "$s5" ]; then
    echo "--s5 DIR: Kaldi's egs/wsj/s5"
    return
  fi
  [ -x "$s5/steps/decode_fmllr.sh" ] || echo "--s5 '$s5': no steps/decode_fmllr.sh; give the egs/wsj/s5 of a compiled Kaldi"
  if [ "$stage" -le 1 ] && [ "$stop_stage" -ge 1 ]; then
    "$here/local/s5_first_pass.sh" --list-missing true --wsj0 "$wsj0" --wsj1 "$wsj1" --am "$am" "$s5"
  elif [ "$stage" -le 8 ]; then
    list_missing_results
  fi
}

# What stages 2 to 8 read, and which script of s5 makes it.
list_missing_results() {
  local graph set
  if [ "$stage" -le 3 ] && [ "$stop_stage" -ge 3 ]; then
    [ -f "$train_text" ] || echo "$train_text: local/wsj_extend_dict.sh, in the part of run.sh that runs in the background"
  fi
  for graph in $graphs; do
    [ -f "$(lang_dir "$graph")/words.txt" ] ||
      echo "$(lang_dir "$graph"): stages 0 and 5 of run.sh; for bd: look for errors of its part that runs in the background"
    [ "$stage" -le 2 ] && continue
    for set in $dev $(eval_sets); do
      [ -f "$(decode_dir "$graph" "$set")/num_jobs" ] || echo "$(decode_dir "$graph" "$set"): stage 2 of this recipe"
    done
  done
  for set in $dev $(eval_sets); do
    [ -f "$(data_dir "$set")/text" ] || echo "$(data_dir "$set")/text: local/wsj_data_prep.sh and local/wsj_format_data.sh"
  done
}

train_first_pass() {
  "$here/local/s5_first_pass.sh" --wsj0 "$wsj0" --wsj1 "$wsj1" --am "$am" "$s5"
}

decode_first_pass() {
  "$here/local/s5_decode.sh" --am "$am" --graphs "$graphs" --sets "$dev $evals" "$s5"
}

# Stages 3 to 5: measured on one core with conf/wsj, and estimated for a GPU, in docs/large.md.
stage_time() {
  local student="an epoch of each student: 2.4 days on one core; estimated for a GPU at 30 T/s: 0.2 hours"
  local cache="the distributions of each teacher: 3.1 days on one core"
  if [ "$1" -gt 3 ] && [ "$conf" != "$here/conf/wsj" ]; then
    echo "not timed yet with $conf"
    return
  fi
  case $1 in
    1) echo "a day on a cluster with run.sh's own settings" ;;
    2) echo "an hour on a cluster" ;;
    3) echo "29 s for 37 million words" ;;
    4) echo "an epoch of each teacher: 8.1 days on one core; estimated for a GPU at 30 T/s: 0.6 hours" ;;
    5) echo "$cache; $student" ;;
    10) echo "$cache${starts:+; $student}" ;;
    11) echo "$student" ;;
    *) echo "not timed yet" ;;
  esac
}
