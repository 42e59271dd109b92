"""The one training loop, for language models from hard labels and from teachers."""

from asr_rescore.training.evaluation import perplexity, stream_cost
from asr_rescore.training.loop import train
from asr_rescore.training.run import TrainingRun
from asr_rescore.training.teacher import OnlineTeacher, Teacher

__all__ = ["OnlineTeacher", "Teacher", "TrainingRun", "perplexity", "stream_cost", "train"]
