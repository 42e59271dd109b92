"""distill_lm: a small language model from text and large ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.training_options import add_training_options, choose_device, start_model

HELP = "train a student from text and one teacher or the ensemble of several"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_training_options(parser)
    parser.add_argument(
        "--teacher-cache",
        type=Path,
        metavar="DIR",
        help="read the teachers' distributions there (cache_teacher) instead of computing them each epoch; "
        "not read with objective ce, which needs none",
    )
    parser.add_argument("teacher_dir", type=Path, nargs="+", metavar="teacher-dir", help="several are averaged")
    parser.add_argument("student_dir", type=Path, metavar="student-dir", help="where the student goes")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore import corpus
    from asr_rescore.checkpoint import combine, load_model
    from asr_rescore.config import load_config
    from asr_rescore.training import CachedTeacher, OnlineTeacher, TeacherCache, TrainingRun, train

    device = choose_device(arguments.device)
    config = load_config(*arguments.config)
    loaded = [load_model(path) for path in arguments.teacher_dir]
    vocabulary, teacher_model = combine(loaded)
    texts = [corpus.TokenStream.read(path, vocabulary) for path in (arguments.train, arguments.valid)]
    student, facts = start_model(arguments, config, vocabulary, device)
    print(
        f"{arguments.student_dir}: {student.num_parameters} parameters, teacher {teacher_model.num_parameters}, "
        f"{len(texts[0])} tokens, on {device}"
    )
    facts["teachers"] = [teacher.hash for teacher in loaded]
    teacher = None
    if config.objective.needs_teacher and arguments.teacher_cache:
        cache = TeacherCache.open(arguments.teacher_cache, texts[0], facts["teachers"])
        facts["teacher_cache"] = cache.options.to_dict()
        teacher = CachedTeacher(cache, device)
    elif config.objective.needs_teacher:
        teacher = OnlineTeacher(teacher_model.to(device))
    run = TrainingRun(config, vocabulary, *texts, arguments.seed, arguments.student_dir, facts, bool(arguments.init))
    ppl = train(run, student, device, teacher)
    print(f"{arguments.student_dir}: valid ppl {ppl:.2f}")
    return 0
