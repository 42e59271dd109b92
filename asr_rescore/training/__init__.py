"""The one training loop, for language models from hard labels and from teachers."""

from asr_rescore.training.dynamic import DynamicOptions, dynamic_cost, gradient_statistics
from asr_rescore.training.evaluation import perplexity, stream_cost
from asr_rescore.training.loop import train
from asr_rescore.training.run import TrainingRun
from asr_rescore.training.teacher import OnlineTeacher, Teacher
from asr_rescore.training.teacher_cache import CachedTeacher, CacheOptions, TeacherCache, build_cache

__all__ = [
    "DynamicOptions",
    "dynamic_cost",
    "gradient_statistics",
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
