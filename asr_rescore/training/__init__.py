"""The one training loop, for language models from hard labels and from teachers."""

from asr_rescore.training.evaluation import stream_cost
from asr_rescore.training.loop import TrainingRun, train
from asr_rescore.training.teacher import OnlineTeacher, Teacher

__all__ = ["OnlineTeacher", "Teacher", "TrainingRun", "stream_cost", "train"]
