"""distill_lm: a small language model from text and large ones."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_rescore.cli.training_options import (
    add_training_options,
    check_training_outputs,
    prepared_run,
    read_training_config,
    say_plan,
    training_ranks,
)

if TYPE_CHECKING:
    from asr_rescore.training import Ranks, Teacher

HELP = "train a student on text and on the predictions of one teacher, or of an ensemble of several"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_training_options(parser)
    parser.add_argument(
        "--teacher-cache",
        type=Path,
        metavar="DIR",
        help="read the teachers' distributions from this directory, which cache_teacher wrote, instead of computing "
        "them in each epoch; ignored with objective ce, which needs no teacher",
    )
    parser.add_argument(
        "teacher_dir", type=Path, nargs="+", metavar="teacher-dir", help="teacher; several teachers form an ensemble"
    )
    parser.add_argument("student_dir", type=Path, metavar="student-dir", help="output directory")


def run(arguments: argparse.Namespace) -> int:
    """Train the student, or continue a stopped training, and print the best valid perplexity."""
    with training_ranks(arguments) as ranks:
        _run(arguments, ranks)
    return 0


def _run(arguments: argparse.Namespace, ranks: Ranks) -> None:
    from asr_rescore.checkpoint import combine, load_model, model_files
    from asr_rescore.config import DISTILLATION
    from asr_rescore.training import CachedTeacher, OnlineTeacher, TeacherCache, train

    check_training_outputs(arguments, arguments.student_dir, model_files(*arguments.teacher_dir))
    config = read_training_config(arguments, DISTILLATION)
    loaded = [load_model(path) for path in arguments.teacher_dir]
    vocabulary, teacher_model = combine(loaded)
    with prepared_run(arguments, arguments.student_dir, config, vocabulary, ranks.device) as (run, student):
        print(
            f"{arguments.student_dir}: {student.num_parameters} parameters, teacher {teacher_model.num_parameters}, "
            f"{len(run.train)} tokens, objective {config.objective.kind}, on {ranks}"
        )
        say_plan(arguments, config, arguments.student_dir)
        facts: dict[str, Any] = {"teachers": [teacher.hash for teacher in loaded]}
        teacher: Teacher | None = None
        if config.objective.needs_teacher and arguments.teacher_cache:
            cache = TeacherCache.open(arguments.teacher_cache, run.train, facts["teachers"])
            facts["teacher_cache"] = cache.config.to_dict()
            teacher = CachedTeacher(cache, ranks.device)
        elif config.objective.needs_teacher:
            teacher = OnlineTeacher(teacher_model.to(ranks.device))
        ppl = train(replace(run, facts={**run.facts, **facts}), student, ranks.device, teacher, ranks)
        print(f"{arguments.student_dir}: valid ppl {ppl:.2f}")
