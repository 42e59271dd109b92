# Puts asr-rescore on the PATH: the one in this checkout's .venv if it exists, otherwise the installed one.
# shellcheck shell=bash

_checkout=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..
if [ -x "$_checkout/.venv/bin/asr-rescore" ]; then PATH=$(cd "$_checkout" && pwd)/.venv/bin:$PATH; fi
export PATH
if ! command -v asr-rescore >/dev/null; then
  echo "$0: no asr-rescore on the PATH; install it with 'pip install $(cd "$_checkout" && pwd)', or run 'make demo' there" >&2
  exit 1
fi
