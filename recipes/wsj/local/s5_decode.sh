#!/usr/bin/env bash
# Decodes test sets of Wall Street Journal in Kaldi's egs/wsj/s5, as its run.sh does. What is there already is not decoded
# again.
#
# Usage: s5_decode.sh [options] <s5-dir>
#  e.g.: s5_decode.sh --am tri4b --graphs "tgpr bd_tgpr" --sets "dev93 eval92" ~/kaldi/egs/wsj/s5
#
# Options:
#   --am tri4b|nnet2_online|chain  the acoustic model (tri4b)
#   --graphs "tgpr bd_tgpr"        decoding graphs; tg and bd_fg are lattices of tgpr and bd_tgpr with the costs of a
#                                  larger language model
#   --sets "dev93 eval92"          test sets

set -euo pipefail

# Configuration
am=tri4b
graphs="tgpr bd_tgpr"
sets="dev93 eval92"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/../steps/parse_options.sh"

if [ $# -ne 1 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
cd "$1"
. ./cmd.sh
set +u # Kaldi's path.sh reads variables that may not be set
. ./path.sh
set -u

make_graph() { # make_graph <graph> <directory>
  [ -f "$2/HCLG.fst" ] && return
  case $am in
    chain) utils/mkgraph.sh --self-loop-scale 1.0 "data/lang_test_$1" exp/chain/tree_a_sp "$2" ;;
    *) utils/mkgraph.sh "data/lang_test_$1" exp/tri4b "$2" ;;
  esac
}

# The acoustic costs of chain lattices are multiplied by 10, so that scoring needs no other LMWT than for other models.
decode() { # decode <graph> <set> <directory>
  local nj
  case $am in
    tri4b)
      nj=$(wc -l <"data/test_$2/spk2utt")
      make_graph "$1" "exp/tri4b/graph_$1"
      steps/decode_fmllr.sh --nj "$nj" --cmd "$decode_cmd" "exp/tri4b/graph_$1" "data/test_$2" "$3"
      ;;
    nnet2_online)
      make_graph "$1" "exp/tri4b/graph_$1"
      steps/online/nnet2/decode.sh --nj 8 --cmd "$decode_cmd" "exp/tri4b/graph_$1" "data/test_$2" "$3"
      ;;
    chain)
      nj=$(wc -l <"data/test_${2}_hires/spk2utt")
      make_graph "$1" "exp/chain/tree_a_sp/graph_$1"
      steps/nnet3/decode.sh --acwt 1.0 --post-decode-acwt 10.0 --frames-per-chunk 140 --nj "$nj" --cmd "$decode_cmd" \
        --num-threads 4 --online-ivector-dir "exp/nnet3/ivectors_test_${2}_hires" "exp/chain/tree_a_sp/graph_$1" \
        "data/test_${2}_hires" "$3"
      ;;
  esac
}

case $am in
  tri4b) model_dir=exp/tri4b hires= ;;
  nnet2_online) model_dir=exp/nnet2_online/nnet_ms_a_online hires= ;;
  chain) model_dir=exp/chain/tdnn1i_sp hires=_hires ;;
  *)
    echo "$0: --am '$am', expected tri4b, nnet2_online or chain" >&2
    exit 2
    ;;
esac

# need <decode directory> <command ...>: runs the command, whose last argument is the directory, unless it was finished.
# The scripts of Kaldi write num_jobs before the lattices, and best_wer after them.
need() {
  if [ -f "$1/scoring_kaldi/best_wer" ]; then return; fi
  echo "$0: ${*:2}"
  "${@:2}" "$1"
}

for set in $sets; do
  for graph in $graphs; do
    case $graph in
      tgpr | bd_tgpr) need "$model_dir/decode_${graph}_$set" decode "$graph" "$set" ;;
      tg)
        need "$model_dir/decode_tgpr_$set" decode tgpr "$set"
        need "$model_dir/decode_tg_$set" steps/lmrescore.sh --cmd "$decode_cmd" data/lang_test_tgpr data/lang_test_tg \
          "data/test_$set$hires" "$model_dir/decode_tgpr_$set"
        ;;
      bd_fg)
        need "$model_dir/decode_bd_tgpr_$set" decode bd_tgpr "$set"
        need "$model_dir/decode_bd_tgpr_${set}_fg" steps/lmrescore_const_arpa.sh --cmd "$decode_cmd" \
          data/lang_test_bd_tgpr data/lang_test_bd_fgconst "data/test_$set$hires" "$model_dir/decode_bd_tgpr_$set"
        ;;
      *)
        echo "$0: --graphs '$graph', expected some of tgpr, tg, bd_tgpr and bd_fg" >&2
        exit 2
        ;;
    esac
  done
done
