#!/usr/bin/env bash
# Prepares the data of Wall Street Journal and trains an acoustic model, by calling the scripts of Kaldi's egs/wsj/s5
# in the order of its run.sh. What is there already is not made again; what was interrupted is.
#
# Usage: s5_first_pass.sh [options] <s5-dir>
#  e.g.: s5_first_pass.sh --wsj0 /corpora/LDC93S6B --wsj1 /corpora/LDC94S13B ~/kaldi/egs/wsj/s5
#
# Options:
#   --wsj0 DIR, --wsj1 DIR   LDC93S6B and LDC94S13B, with directories such as 11-13.1 in them; or, for both, a directory
#                            with wsj0/ and wsj1/ as at CSTR
#   --am tri4b|nnet2_online|chain
#                            the acoustic model; the last two need a GPU (tri4b)
#   --list-missing true      only prints what is missing, one thing a line (false)
#
# train_cmd and decode_cmd are those of s5's cmd.sh. A file in $s5/.first_pass names a step that was begun and not
# finished; this step is done again.

set -euo pipefail

# Configuration
wsj0=
wsj1=
am=tri4b
list_missing=false

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/../steps/parse_options.sh"

if [ $# -ne 1 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
for name in wsj0 wsj1; do # s5's scripts want absolute paths
  [ -z "${!name}" ] || printf -v "$name" %s "$(realpath -m "${!name}")"
done
cd "$1"

UNKNOWN_DISCS="--wsj0 '$wsj0' and --wsj1 '$wsj1': found neither 11-13.1, 11-2.1 and 13-34.1 in them, as on LDC's discs, nor \
wsj0/doc and wsj1/doc, as at CSTR"

begun() { echo ".first_pass/${1//\//_}"; }

have() { [ -e "$1" ] && [ ! -e "$(begun "$1")" ]; }

# need <result> <command ...>: runs the command unless its result is there.
need() {
  if have "$1"; then return; fi
  mkdir -p .first_pass
  touch "$(begun "$1")"
  echo "$0: ${*:2}"
  "${@:2}"
  if [ ! -e "$1" ]; then
    echo "$0: $2 has ended without an error, but there is no $1; look at what it printed" >&2
    exit 1
  fi
  rm "$(begun "$1")"
}

# Programs that Kaldi does not install by itself, and the discs: only what a step that is still to be done needs.
list_missing_things() {
  local tools=${KALDI_ROOT:-$(pwd)/../../..}/tools
  if ! have data/local/data/spk2gender; then
    [ "$(layout_of_discs)" != unknown ] || echo "$UNKNOWN_DISCS"
    [ -x "$tools/sph2pipe_v2.5/sph2pipe" ] || echo "$tools/sph2pipe_v2.5/sph2pipe: run make sph2pipe in $tools"
    PATH=$PATH:${IRSTLM:-$tools/irstlm}/bin command -v prune-lm >/dev/null || echo "prune-lm: run extras/install_irstlm.sh in $tools"
    command -v wget >/dev/null || echo "wget: local/wsj_data_prep.sh fetches a list of speakers with it"
  fi
  if ! have data/local/dict_nosp/lexicon.txt && [ ! -d data/local/dict_nosp/cmudict ] && ! command -v svn >/dev/null; then
    echo "svn: local/wsj_prepare_dict.sh fetches cmudict with it"
  fi
  if ! have data/local/local_lm/4gram-mincount/lm_pr7.0.gz && [ ! -d "$tools/kaldi_lm" ] && ! command -v wget >/dev/null; then
    echo "$tools/kaldi_lm: local/wsj_train_lms.sh fetches it with wget"
  fi
  if [ "$am" != tri4b ] && ! have "$(last_model)" && ! cuda-compiled 2>/dev/null; then
    echo "a Kaldi compiled with CUDA: --am $am is trained on a GPU"
  fi
}

last_model() {
  case $am in
    tri4b) echo exp/tri4b/final.mdl ;;
    nnet2_online) echo exp/nnet2_online/nnet_ms_a_online/final.mdl ;;
    chain) echo exp/chain/tdnn1i_sp/final.mdl ;;
  esac
}

# How the discs are laid out: ldc, as LDC sells them; cstr, all in one directory; or unknown.
layout_of_discs() {
  if [ -d "$wsj0/11-13.1" ] && [ -d "$wsj0/11-2.1" ] && [ -d "$wsj1/13-34.1" ]; then
    echo ldc
  elif [ -d "$wsj0/wsj0/doc" ] && [ -d "$wsj0/wsj1/doc" ]; then
    echo cstr
  else
    echo unknown
  fi
}

prepare_data() {
  case $(layout_of_discs) in
    ldc) local/wsj_data_prep.sh "$wsj0"/??-{?,??}.? "$wsj1"/??-{?,??}.? ;; # names such as 11-13.1 and 13-1.1
    cstr) local/cstr_wsj_data_prep.sh "$wsj0" && rm -f data/local/dict/lexiconp.txt ;;
    unknown) echo "$0: $UNKNOWN_DISCS" >&2 && exit 1 ;;
  esac
}

extend_dict() {
  if [ "$(layout_of_discs)" = cstr ]; then
    local/cstr_wsj_extend_dict.sh --dict-suffix _nosp "$wsj0/wsj1/doc/"
  else
    local/wsj_extend_dict.sh --dict-suffix _nosp "$wsj1/13-32.1"
  fi
}

prepare_lang() { # prepare_lang <dict> <tmp> <lang>
  utils/prepare_lang.sh "data/local/$1" "<SPOKEN_NOISE>" "data/local/$2" "data/$3"
}

# Words, pronunciations and first-pass language models, for the small and for the big dictionary.
prepare_language() {
  need data/local/data/spk2gender prepare_data
  need data/local/dict_nosp/lexicon.txt local/wsj_prepare_dict.sh --dict-suffix _nosp
  need data/lang_nosp/L_disambig.fst prepare_lang dict_nosp lang_tmp_nosp lang_nosp
  need data/lang_nosp_test_tg_5k/G.fst local/wsj_format_data.sh --lang-suffix _nosp
  need data/local/dict_nosp_larger/lexicon.txt extend_dict
  need data/lang_nosp_bd/L_disambig.fst prepare_lang dict_nosp_larger lang_tmp_nosp_larger lang_nosp_bd
  need data/local/local_lm/4gram-mincount/lm_pr7.0.gz local/wsj_train_lms.sh --dict-suffix _nosp
  need data/lang_nosp_test_bd_fgpr/G.fst local/wsj_format_local_lms.sh --lang-suffix _nosp
}

make_features() {
  local set
  for set in test_eval92 test_eval93 test_dev93 train_si284; do
    need "data/$set/feats.scp" steps/make_mfcc.sh --cmd "$train_cmd" --nj 20 "data/$set"
    need "data/$set/cmvn.scp" steps/compute_cmvn_stats.sh "data/$set"
  done
  need data/train_si84/feats.scp utils/subset_data_dir.sh --first data/train_si284 7138 data/train_si84
  need data/train_si84_2kshort/feats.scp utils/subset_data_dir.sh --shortest data/train_si84 2000 data/train_si84_2kshort
  need data/train_si84_half/feats.scp utils/subset_data_dir.sh data/train_si84 3500 data/train_si84_half
}

# Each model is aligned with, and trained after, the one before.
train_up_to_tri3b() {
  need exp/mono0a/final.mdl steps/train_mono.sh --boost-silence 1.25 --nj 10 --cmd "$train_cmd" \
    data/train_si84_2kshort data/lang_nosp exp/mono0a
  need exp/mono0a_ali/ali.1.gz steps/align_si.sh --boost-silence 1.25 --nj 10 --cmd "$train_cmd" \
    data/train_si84_half data/lang_nosp exp/mono0a exp/mono0a_ali
  need exp/tri1/final.mdl steps/train_deltas.sh --boost-silence 1.25 --cmd "$train_cmd" 2000 10000 \
    data/train_si84_half data/lang_nosp exp/mono0a_ali exp/tri1
  need exp/tri1_ali_si84/ali.1.gz steps/align_si.sh --nj 10 --cmd "$train_cmd" \
    data/train_si84 data/lang_nosp exp/tri1 exp/tri1_ali_si84
  need exp/tri2b/final.mdl steps/train_lda_mllt.sh --cmd "$train_cmd" \
    --splice-opts "--left-context=3 --right-context=3" 2500 15000 data/train_si84 data/lang_nosp exp/tri1_ali_si84 exp/tri2b
  need exp/tri2b_ali_si284/ali.1.gz steps/align_si.sh --nj 10 --cmd "$train_cmd" \
    data/train_si284 data/lang_nosp exp/tri2b exp/tri2b_ali_si284
  need exp/tri3b/final.mdl steps/train_sat.sh --cmd "$train_cmd" 4200 40000 \
    data/train_si284 data/lang_nosp exp/tri2b_ali_si284 exp/tri3b
}

add_pronunciation_probabilities() { # add_pronunciation_probabilities <suffix of the dictionary>
  utils/dict_dir_add_pronprobs.sh --max-normalize true "data/local/dict_nosp$1" exp/tri3b/pron_counts_nowb.txt \
    exp/tri3b/sil_counts_nowb.txt exp/tri3b/pron_bigram_counts_nowb.txt "data/local/dict$1"
}

# A lang directory for each first-pass language model: the new dictionary with the old G.fst or G.carpa.
with_grammars() { # with_grammars <lang> <prefix of the old ones> <prefix of the new ones> <grammar> ...
  local lang=$1 old=$2 new=$3 grammar
  for grammar in "${@:4}"; do
    rm -rf "data/$new$grammar"
    cp -r "data/$lang" "data/$new$grammar"
    rm -rf "data/$new$grammar/tmp"
    cp "data/$old$grammar"/G.* "data/$new$grammar/"
  done
}

# Probabilities of pronunciations and silences, as the training text shows them, and the model that is trained with them.
train_tri4b() {
  need exp/tri3b/pron_bigram_counts_nowb.txt steps/get_prons.sh --cmd "$train_cmd" data/train_si284 data/lang_nosp exp/tri3b
  need data/local/dict/lexiconp_silprob.txt add_pronunciation_probabilities ""
  need data/lang/L_disambig.fst prepare_lang dict lang_tmp lang
  need data/lang_test_tgpr_5k/G.fst with_grammars lang lang_nosp_test_ lang_test_ bg bg_5k tg tg_5k tgpr tgpr_5k
  need data/local/dict_larger/lexiconp_silprob.txt add_pronunciation_probabilities _larger
  need data/lang_bd/L_disambig.fst prepare_lang dict_larger lang_tmp_larger lang_bd
  need data/lang_test_bd_fg/G.fst with_grammars lang_bd lang_nosp_test_bd_ lang_test_bd_ tgpr tgconst tg fgpr fgconst fg
  need exp/tri4b/final.mdl steps/train_sat.sh --cmd "$train_cmd" 4200 40000 \
    data/train_si284 data/lang exp/tri3b exp/tri4b
}

if $list_missing; then
  if ! have "$(last_model)"; then list_missing_things; fi
  exit
fi
. ./cmd.sh
set +u # Kaldi's path.sh reads variables that may not be set
. ./path.sh
set -u
prepare_language
make_features
train_up_to_tri3b
train_tri4b
case $am in
  tri4b) ;;
  nnet2_online) need "$(last_model)" local/online/run_nnet2.sh ;; # these two also decode dev93 and eval92
  chain) need "$(last_model)" local/chain/run_tdnn.sh ;;
  *)
    echo "$0: --am '$am', expected tri4b, nnet2_online or chain" >&2
    exit 2
    ;;
esac
