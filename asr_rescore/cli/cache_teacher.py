"""cache_teacher: a teacher's distributions over a text, computed once for all students."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.training_options import add_device_option, choose_device

HELP = "write a teacher's distributions over a text, for distill_lm --teacher-cache"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--train", type=Path, required=True, help="the students' text, a sentence a line")
    parser.add_argument(
        "--top", type=int, help="keep so many words of each distribution, and draws from the rest (all)"
    )
    parser.add_argument("--samples", type=int, help="with --top: so many draws (16)")
    parser.add_argument("--streams", type=int, help="places of the text that are read at once (32)")
    parser.add_argument("--seed", type=int, help="of the draws (1)")
    add_device_option(parser)
    parser.add_argument("teacher_dir", type=Path, nargs="+", metavar="teacher-dir", help="several are averaged")
    parser.add_argument("cache_dir", type=Path, metavar="cache-dir", help="where the cache goes")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore.checkpoint import combine, load_model
    from asr_rescore.corpus import TokenStream
    from asr_rescore.training import CacheConfig, build_cache

    device = choose_device(arguments.device)
    given = {name: getattr(arguments, name) for name in ("top", "samples", "streams", "seed")}
    options = CacheConfig(**{name: value for name, value in given.items() if value is not None})
    loaded = [load_model(path) for path in arguments.teacher_dir]
    vocabulary, model = combine(loaded)
    text = TokenStream.read(arguments.train, vocabulary)
    build_cache(arguments.cache_dir, model.to(device), text, [teacher.hash for teacher in loaded], options, device)
    size = sum(path.stat().st_size for path in arguments.cache_dir.iterdir())
    print(f"{arguments.cache_dir}: {len(text)} distributions over {len(vocabulary)} words, {size / 1e9:.2f} GB")
    return 0
