# Puts asr-rescore on the path; as in Kaldi, a recipe sources it first.
# shellcheck shell=bash
. ../steps/path.sh
