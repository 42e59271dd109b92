"""cache_teacher: a teacher's distributions over a text, computed once for all students."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.options import add_config_options, add_device_option, number, read_config
from asr_rescore.lm_config import CacheConfig
from asr_rescore.progress import work_on
from asr_rescore.ranges import JOBS

HELP = "write a teacher's distributions over a text, for distill_lm --teacher-cache"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--train", type=Path, required=True, help="training text of the students, one sentence per line"
    )
    add_config_options(parser, CacheConfig, ("top", "samples", "streams", "seed"))
    parser.add_argument("--nj", type=number(int, JOBS), default=1, metavar="J", help="number of jobs (default: 1)")
    parser.add_argument(
        "--job", type=number(int, JOBS), metavar="I", help="run only job I; the cache is complete when all are"
    )
    add_device_option(parser)
    parser.add_argument(
        "teacher_dir", type=Path, nargs="+", metavar="teacher-dir", help="teacher; several teachers form an ensemble"
    )
    parser.add_argument("cache_dir", type=Path, metavar="cache-dir", help="output directory")


def run(arguments: argparse.Namespace) -> int:
    """Build the cache, or continue an unfinished one, and print its size."""
    from asr_rescore.checkpoint import combine, load_model, model_files
    from asr_rescore.id_file import opened_ids
    from asr_rescore.models import choose_device
    from asr_rescore.outputs import check_outputs
    from asr_rescore.training import CacheJob, build_cache
    from asr_rescore.training.teacher_cache import CACHE_FILES

    device = choose_device(arguments.device)
    config = read_config(CacheConfig, arguments)
    jobs = CacheJob.all(arguments.nj) if arguments.job is None else [CacheJob(arguments.job, arguments.nj)]
    outputs = [job.directory(arguments.cache_dir) / name for job in jobs for name in CACHE_FILES]
    check_outputs(outputs, [arguments.train, *model_files(*arguments.teacher_dir)])
    work_on(arguments.cache_dir, 1 if arguments.job is None else arguments.nj)
    loaded = [load_model(path) for path in arguments.teacher_dir]
    vocabulary, model = combine(loaded)
    hashes = [teacher.hash for teacher in loaded]
    # Jobs on several machines must not share a text that the first to end would remove.
    with opened_ids(arguments.train, vocabulary, jobs[0].directory(arguments.cache_dir)) as text:
        for job in jobs:
            build_cache(arguments.cache_dir, model.to(device), text, hashes, config, device, job)
        tokens = sum(len(job.tokens(len(text))) for job in jobs)
    size = sum(path.stat().st_size for path in outputs if path.exists())
    print(f"{arguments.cache_dir}: {tokens} distributions over {len(vocabulary)} words, {size / 1e9:.2f} GB")
    return 0
