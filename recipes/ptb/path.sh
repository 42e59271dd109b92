# Puts asr-rescore on the PATH. As in Kaldi, a recipe sources this file first.
# shellcheck shell=bash
. ../steps/path.sh
