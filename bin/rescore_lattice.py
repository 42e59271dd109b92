#!/usr/bin/env python3
"""The command of this file's name, from a checkout that need not be installed: see asr_rescore/cli/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from asr_rescore.cli.main import main

sys.exit(main([Path(__file__).stem, *sys.argv[1:]]))
