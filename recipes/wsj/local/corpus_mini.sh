# The embedded mini corpus: two first passes, as in WSJ, that differ in the dictionary (mini/README.md).
# Sourced by run.sh, which reads these names.
# shellcheck shell=bash disable=SC2034

graphs="tgpr bd_tgpr"
dev=dev
eval=eval
teacher_seeds="17 31"
vocabulary_size=1300 # of 1,420 words, so that the class of all other words is at work as in WSJ
train_text=mini/text/train.txt.gz
valid_text=mini/text/valid.txt.gz

lang_dir() { echo "mini/lang_$1"; }
data_dir() { echo "mini/data/$1"; }
decode_dir() { echo "mini/exp/decode_$1_$2"; }

check_corpus() {
  [ -f "$train_text" ] || { echo "$0: no $train_text; it is part of the source tree: check out mini/ again" >&2; exit 1; }
}
