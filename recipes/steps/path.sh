# Puts asr-rescore on the PATH: the one in this checkout's .venv if it exists, otherwise the installed one.
# shellcheck shell=bash

_checkout=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
if [ -x "$_checkout/.venv/bin/asr-rescore" ]; then PATH=$_checkout/.venv/bin:$PATH; fi
export PATH
if ! command -v asr-rescore >/dev/null; then
  echo "$0: no asr-rescore on the PATH; install it with 'pip install $_checkout', or by running 'make demo' there" >&2
  exit 1
fi
