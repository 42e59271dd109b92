"""The one training loop, for language models that learn from text and for students that also learn from a teacher."""

from asr_rescore.lm_config import CacheConfig
from asr_rescore.training.cache_job import CacheJob
from asr_rescore.training.cached_teacher import CachedTeacher
from asr_rescore.training.distributed import Ranks, joined
from asr_rescore.training.loop import train
from asr_rescore.training.run import TrainingRun
from asr_rescore.training.teacher import OnlineTeacher, Teacher
from asr_rescore.training.teacher_cache import TeacherCache, build_cache

__all__ = [
    "CacheConfig",
    "CacheJob",
    "CachedTeacher",
    "OnlineTeacher",
    "Ranks",
    "Teacher",
    "TeacherCache",
    "TrainingRun",
    "build_cache",
    "joined",
    "train",
]
