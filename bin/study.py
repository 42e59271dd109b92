#!/usr/bin/env python3
"""Run the command that has the name of this file, without installing the package. See asr_rescore/cli/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from asr_rescore.cli.main import main

sys.exit(main([Path(__file__).stem, *sys.argv[1:]]))
