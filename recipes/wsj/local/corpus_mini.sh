# The embedded mini corpus. As in WSJ, its two first passes differ in the dictionary (mini/README.md).
# run.sh sources this file. It uses the variables, and calls the functions, that are defined here.
# shellcheck shell=bash disable=SC2034,SC2154

conf=${conf:-$here/conf/mini}
graphs=${graphs:-tgpr bd_tgpr}
dev=dev
teacher_seeds=${teacher_seeds:-17 31}
inv_acwt=${inv_acwt:-12}
top=${top:-all} # with 1,300 words, all of each distribution are half a gigabyte
train_text=$here/mini/text/train.txt.gz
prepare_options=(--vocabulary-size 1300 --valid "$here/mini/text/valid.txt.gz") # of 1,420 words: as in WSJ, the rest is a class

lang_dir() { echo "$here/mini/lang_$1"; }
data_dir() { echo "$here/mini/data/$1"; }
decode_dir() { echo "$here/mini/exp/decode_$1_$2"; }
scoring_options() { echo --filter none; }
eval_sets() { echo eval; }
lexicon() { echo "$(lang_dir bd_tgpr)/words.txt"; }

# Prints one line for each thing that is missing for the stages to be run.
list_missing() {
  [ -f "$train_text" ] || echo "$train_text: it is part of the source tree; check out mini/ again"
}

train_first_pass() { echo "the embedded corpus has its lattices; nothing to train"; }
decode_first_pass() { echo "the embedded corpus has its lattices; nothing to decode"; }

stage_time() { # on two cores
  case $1 in 5) echo "2 min" ;; 4 | 6 | 7 | 10) echo "1 min" ;; 11) echo "an hour or more" ;; 12) echo "half an hour" ;; *) echo "seconds" ;; esac
}
