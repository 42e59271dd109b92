"""The one training loop, for language models from hard labels and from teachers."""

from asr_rescore.training.evaluation import perplexity, stream_cost
from asr_rescore.training.loop import train
from asr_rescore.training.run import TrainingRun
from asr_rescore.training.teacher import OnlineTeacher, Teacher
from asr_rescore.training.teacher_cache import CachedTeacher, CacheOptions, TeacherCache, build_cache

__all__ = [
    "CacheOptions",
    "CachedTeacher",
    "OnlineTeacher",
    "Teacher",
    "TeacherCache",
    "TrainingRun",
    "build_cache",
    "perplexity",
    "stream_cost",
    "train",
]
