# Puts asr-rescore on the PATH. As in Kaldi, a recipe sources this file first.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../steps/path.sh"
