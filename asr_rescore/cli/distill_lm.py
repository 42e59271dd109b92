"""distill_lm: a small language model from text and large ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.training_options import add_training_options, choose_device

HELP = "train a student from text and one teacher or the ensemble of several"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_training_options(parser)
    parser.add_argument("teacher_dir", type=Path, nargs="+", metavar="teacher-dir", help="several are averaged")
    parser.add_argument("student_dir", type=Path, metavar="student-dir", help="where the student goes")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    import torch

    from asr_rescore import corpus, models
    from asr_rescore.checkpoint import combine, load_model
    from asr_rescore.config import load_config
    from asr_rescore.training import OnlineTeacher, TrainingRun, train

    device = choose_device(arguments.device)
    config = load_config(arguments.config)
    teachers = [load_model(path, device) for path in arguments.teacher_dir]
    vocabulary, teacher = combine(teachers)
    texts = [corpus.TokenStream.read(path, vocabulary) for path in (arguments.train, arguments.valid)]
    torch.manual_seed(arguments.seed)
    student = models.build(config.model, len(vocabulary)).to(device)
    print(
        f"{arguments.student_dir}: {student.num_parameters} parameters, teacher {teacher.num_parameters}, "
        f"{len(texts[0])} tokens, on {device}"
    )
    facts = {"teachers": [loaded.hash for loaded in teachers]}
    run = TrainingRun(config, vocabulary, *texts, arguments.seed, arguments.student_dir, facts)
    online = OnlineTeacher(teacher) if config.objective.needs_teacher else None
    ppl = train(run, student, device, online)
    print(f"{arguments.student_dir}: valid ppl {ppl:.2f}")
    return 0
