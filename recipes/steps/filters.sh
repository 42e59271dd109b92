# Sets the array filters to the options that let asr-rescore count errors as Kaldi's score.sh does: through $filter; or,
# if that is empty, through the executables in $filter_dir that steps/score_kaldi.sh would use.
# Source this file.
# shellcheck shell=bash disable=SC2154

filters=()
case $filter in
  none) ;;
  '')
    if [ -x "$filter_dir/wer_output_filter" ]; then filters+=(--filter "$filter_dir/wer_output_filter"); fi
    if [ -x "$filter_dir/wer_ref_filter" ]; then filters+=(--ref-filter "$filter_dir/wer_ref_filter"); fi
    if [ -x "$filter_dir/wer_hyp_filter" ]; then filters+=(--hyp-filter "$filter_dir/wer_hyp_filter"); fi
    ;;
  *) filters=(--filter "$filter") ;;
esac
if [ ${#filters[@]} -gt 0 ]; then echo "$0: errors are counted with ${filters[*]}"; fi
