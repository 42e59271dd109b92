# Sets the array filters to the options that let asr-rescore count errors as Kaldi's score.sh does: through $filter,
# $ref_filter and $hyp_filter; or, if none of them is given, through the executables in $filter_dir that
# steps/score_kaldi.sh would use. Source this file.
# shellcheck shell=bash disable=SC2154

if [ -z "$filter$ref_filter$hyp_filter" ]; then
  if [ -x "$filter_dir/wer_output_filter" ]; then filter=$filter_dir/wer_output_filter; fi
  if [ -x "$filter_dir/wer_ref_filter" ]; then ref_filter=$filter_dir/wer_ref_filter; fi
  if [ -x "$filter_dir/wer_hyp_filter" ]; then hyp_filter=$filter_dir/wer_hyp_filter; fi
fi
filters=()
if [ -n "$filter" ] && [ "$filter" != none ]; then filters+=(--filter "$filter"); fi
if [ -n "$ref_filter" ]; then filters+=(--ref-filter "$ref_filter"); fi
if [ -n "$hyp_filter" ]; then filters+=(--hyp-filter "$hyp_filter"); fi
