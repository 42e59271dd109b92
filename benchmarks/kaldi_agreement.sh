#!/usr/bin/env bash
# Do Kaldi's programs read what asr_rescore writes, and do they compute the same? Rescores the embedded corpus with
# both, and counts what agrees. It needs a compiled Kaldi.
#
# Usage: kaldi_agreement.sh [options] <kaldi-root> <lm-dir> <work-dir>
#  e.g.: benchmarks/kaldi_agreement.sh ~/kaldi recipes/wsj/exp/mini/student_trust /tmp/agreement
#
# Options:
#   --n N                     at most N hypotheses per utterance (default: 1000)
#   --weight W                weight of <lm-dir> against the old language model (default: 0.75)

set -euo pipefail

# Configuration
n=1000
weight=0.75

here=$(dirname "$(readlink -f "$0")")
steps=$here/../recipes/steps
. "$steps/parse_options.sh"
if [ $# -ne 3 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

kaldi=$(readlink -f "$1")
lm=$(readlink -f "$2")
mini=$(readlink -f "$here/../recipes/wsj/mini")
mkdir -p "$3/local" "$3/utils" "$3/rnnlm"
cd "$3"

# An s5 directory. Only the program that computes the costs of a recurrent network is another: it looks up ours, which
# are those of the same model, in a file of lines "cost words". A hypothesis that we do not have is never the best.
s5=$kaldi/egs/wsj/s5
ln -sfn "$s5/steps" steps
ln -sf "$s5"/utils/* utils/
rm -f utils/rnnlm_compute_scores.sh
cat >utils/rnnlm_compute_scores.sh <<'END'
#!/bin/bash
awk 'NR == FNR { cost = $1; $1 = ""; costs[$0] = cost; next }
  { key = $1; $1 = ""; print key, ($0 in costs) ? costs[$0] : 1000 }' "$3/costs" "$5" >"$6"
END
printf '#!/bin/sh\nexec steps/score_kaldi.sh "$@"\n' >local/score.sh
chmod +x utils/rnnlm_compute_scores.sh local/score.sh
cat >path.sh <<END
export KALDI_ROOT=$kaldi PATH=$PWD/utils:\$PATH
. $kaldi/tools/config/common_path.sh
export LC_ALL=C
END
set +eu
. ./path.sh
set -eu
. "$steps/path.sh"
export KALDI_ROOT

count() { # count <what> <how many agree> <how many there are>
  printf '%s\t%d\t%d\n' "$1" "$2" "$3" >>counts
}
compare_files() { # compare_files <what> <pattern of the lines> <directory> <other directory> <file name> ...
  local file same=0
  for file in "${@:5}"; do
    if cmp -s <(grep -hE "$2" "$3/$file") <(grep -hE "$2" "$4/$file"); then same=$((same + 1)); fi
  done
  count "$1" "$same" $(($# - 4))
}
words_of() { awk '{ $1 = $1 } 1' "$@" | sort; } # transcripts of Kaldi and ours have other blanks
compare_transcripts() { # compare_transcripts <what> <file> <other file>
  count "$1" "$(comm -12 <(words_of "$2") <(words_of "$3") | wc -l)" "$(wc -l <"$3")"
}
best_path() { # best_path <LMWT> <rspecifier>
  lattice-scale --inv-acoustic-scale="$1" "$2" ark:- | lattice-best-path ark:- ark,t:-
}
oracle() { # oracle <lang-dir> <data-dir> <decode-dir>: prints the errors
  lattice-oracle "ark:gunzip -c $3/lat.*.gz|" "ark:utils/sym2int.pl --map-oov '<UNK>' -f 2- $1/words.txt $2/text|" \
    ark:/dev/null 2>&1 | sed -n 's/.*%WER.*\[ \([0-9]*\) .*substitutions.*/\1/p'
}
errors_in() { sed -n "s/^$1.*\[ \([0-9]*\) .*/\1/p" "$2/log/finish.log"; } # errors_in <line> <out-dir>
columns_of() { # columns_of <archives>: prints "words of the hypothesis, utterance, acwt, nolm, withlm" of each
  paste -d ' ' "$1"/{acwt,lmwt.nolm,lmwt.withlm} | awk 'NR == FNR { costs[$1] = $2 " " $4 " " $6; next }
    { key = utt = $1; sub(/-[0-9]+$/, "", utt); $1 = ""; print costs[key] "\t" utt $0 }' - "$1/words_text"
}

check_output() { # check_output <kind> <lang-dir> <data-dir> <out-dir>: how Kaldi reads and scores an output
  local copy=kaldi_$4 file same=0
  gunzip -c "$4"/lat.*.gz >lattices
  lattice-copy ark:lattices ark:copied 2>/dev/null
  if cmp -s lattices copied; then same=$(wc -l <"$3/text"); fi
  count "$1: lattices that lattice-copy writes again to the byte" "$same" "$(wc -l <"$3/text")"
  mkdir -p "$copy"
  cp "$4/num_jobs" "$4"/lat.*.gz "$copy"
  local/score.sh --cmd run.pl "$3" "$2" "$copy" >"$copy/log" 2>&1
  compare_files "$1: wer_LMWT_WIP of score_kaldi.sh" 'WER|SER|^Scored' "$4" "$copy" $(cd "$copy" && ls wer_*)
  for file in $(cd "$copy" && ls scoring_kaldi/penalty_*/*.txt); do
    compare_transcripts "$1: transcripts at all LMWT and WIP" "$4/$file" "$copy/$file"
  done
}

rm -f counts
for graph in tgpr bd_tgpr; do
  lang=lang_$graph
  cp -r "$mini/lang_$graph" . && gunzip -f "$lang/G.fst.gz"
  for set in dev eval; do
    data=$set decode=$mini/exp/decode_${graph}_$set list=list_${graph}_$set lattice=lattice_${graph}_$set
    cp -r "$mini/data/$set" . && touch "$data/feats.scp" rnnlm/rnnlm
    "$steps/rnnlmrescore.sh" --cmd run.pl --N "$n" "$weight" "$lang" "$lm" "$data" "$decode" "$list"
    "$steps/lmrescore_rnnlm_lat.sh" --cmd run.pl --weight "$weight" "$lang" "$lm" "$data" "$decode" "$lattice"
    check_output "N-best lists" "$lang" "$data" "$list"
    check_output "lattices" "$lang" "$data" "$lattice"

    count "errors of lattice-oracle" $((($(oracle "$lang" "$data" "$list") == $(errors_in N-best "$list")) + \
      ($(oracle "$lang" "$data" "$decode") == $(errors_in lattice "$list")))) 2

    asr-rescore lattice_to_nbest --n "$n" "$decode" "$lang/words.txt" "nbest_$list"
    for archives in "nbest_$list"/archives.*; do
      linear-to-nbest ark:"$archives"/{ali,words,lmwt.withlm,acwt} ark:- 2>/dev/null | nbest-to-lattice ark:- ark:-
    done >lattices 2>/dev/null
    best_path 12 ark:lattices >ours 2>/dev/null
    best_path 12 "ark:gunzip -c $decode/lat.*.gz|" >theirs 2>/dev/null
    compare_transcripts "best paths after linear-to-nbest and nbest-to-lattice" ours theirs

    # Kaldi's own script with our costs
    cat "$list"/archives.*/words_text >words
    cat "$list"/archives.*/lmwt.rnn | paste -d ' ' - words | cut -d ' ' -f 2,4- >rnnlm/costs
    theirs=kaldi_rnnlm_$list
    steps/rnnlmrescore.sh --cmd run.pl --N "$n" "$weight" "$lang" rnnlm "$data" "$decode" "$theirs" >log
    for archives in "$theirs"/archives.*; do
      columns_of "$archives" >theirs
      columns_of "$list/${archives##*/}" >ours
      awk -F '\t' 'function close_to(a, b) { return (a - b) ^ 2 <= (1e-5 * b) ^ 2 }
        NR == FNR { costs[$2] = $1; next }
        { split($1, a, " "); split(costs[$2], b, " ") }
        $2 in costs { both += close_to(a[1], b[1]) && close_to(a[2], b[2]) && close_to(a[3], b[3]) }
        END { print both + 0, FNR }' ours theirs
    done | while read -r both all; do count "hypotheses and their costs of steps/rnnlmrescore.sh" "$both" "$all"; done
    compare_files "wer_LMWT_WIP of steps/rnnlmrescore.sh" 'WER|SER|^Scored' "$list" "$theirs" $(cd "$list" && ls wer_*)
  done
done

echo "| what | agree | of |"
echo "|---|---:|---:|"
awk -F '\t' '!($1 in all) { order[++rows] = $1 } { agree[$1] += $2; all[$1] += $3 }
  END { for (row = 1; row <= rows; row++) { what = order[row]; print "| " what " | " agree[what] " | " all[what] " |" } }' \
  counts
