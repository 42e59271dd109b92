#!/usr/bin/env bash
# Makes the pictures of docs/tutorial.md from the report that the tutorial ends with. Needs chromium.
#
# Usage: docs/images/make.sh <report.html> [<utterance shown> [<number of the plot>]]

set -euo pipefail

if [ $# -lt 1 ]; then
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
utterance=${2:-decode_bd_tgpr_eval/awb-minieval0003}
plot=${3:-1}
images=$(cd "$(dirname "$0")" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

screenshot() { # screenshot <file> <height> <page> [<fragment of the address>]
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --force-color-profile=srgb \
    --virtual-time-budget=3000 --window-size="1100,$2" --screenshot="$images/$1" "file://$3${4:-}" 2>/dev/null
}

screenshot report.png 680 "$(readlink -f "$1")"
# A browser without a window draws the top of a page only, so the page is cut down to the section.
sed 's#</head>#<style>h1, nav, p.answer, section:not(\#utterances), header { display: none }</style></head>#' "$1" \
  >"$work/utterances.html"
screenshot utterance.png 560 "$work/utterances.html" "#utt=$utterance"
python3 - "$1" "$plot" "$images/plot.svg" <<'EOF'
import re
import sys
from pathlib import Path

report, plot, out = sys.argv[1:]
drawn = re.findall(r"<svg\b.*?</svg>", Path(report).read_text("utf-8"), re.DOTALL)[int(plot) - 1]
Path(out).write_text(drawn.replace("<svg ", '<svg style="background: #fff" ', 1) + "\n", "utf-8")
EOF
