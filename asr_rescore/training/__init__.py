"""The one training loop, for language models from hard labels and from teachers."""

from asr_rescore.training.loop import train
from asr_rescore.training.run import TrainingRun
from asr_rescore.training.teacher import OnlineTeacher, Teacher
from asr_rescore.training.teacher_cache import CacheConfig, CachedTeacher, TeacherCache, build_cache

__all__ = [
    "CacheConfig",
    "CachedTeacher",
    "OnlineTeacher",
    "Teacher",
    "TeacherCache",
    "TrainingRun",
    "build_cache",
    "train",
]
