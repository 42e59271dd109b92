# Puts asr-rescore on the path: this checkout's .venv where there is one, else whichever is installed.
# shellcheck shell=bash

_checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -x "$_checkout/.venv/bin/asr-rescore" ]; then PATH=$_checkout/.venv/bin:$PATH; fi
export PATH
if ! command -v asr-rescore >/dev/null; then
  echo "$0: no asr-rescore on the path; install it: pip install $_checkout (or 'make demo' there, which does)" >&2
  exit 1
fi
