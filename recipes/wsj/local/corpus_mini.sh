# The embedded mini corpus. As in WSJ, its two first passes differ in the dictionary (mini/README.md).
# run.sh sources this file and uses these names.
# shellcheck shell=bash disable=SC2034

graphs="tgpr bd_tgpr"
dev=dev
eval=eval
teacher_seeds="17 31"
vocabulary_size=1300 # of 1,420 words, so that the class of rare words is used as in WSJ
train_text=mini/text/train.txt.gz
valid_text=mini/text/valid.txt.gz

lang_dir() { echo "mini/lang_$1"; }
data_dir() { echo "mini/data/$1"; }
decode_dir() { echo "mini/exp/decode_$1_$2"; }

check_corpus() {
  [ -f "$train_text" ] || { echo "$0: no $train_text; it is part of the source tree, so check out mini/ again" >&2; exit 1; }
}
