"""What a training will do, in one line, so that nobody learns it from the clock."""

from __future__ import annotations

from collections.abc import Collection

from asr_rescore.config import TrainConfig

# The settings that decide how long a training takes and when it ends.
SHOWN = ("optimizer", "lr", "schedule", "epochs", "patience", "averaging", "batch", "bptt")
OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}


def plan(config: TrainConfig, given: Collection[str]) -> str:
    """Epochs, optimizer, batch and the rule for the end of a training.

    Args:
        config: the settings.
        given: the names of those that somebody chose; of the others, it is said that they are defaults.
    """
    end = f"an end after {config.patience} without a lower valid ppl" if config.patience else "no early end"
    if config.averaging == "start":
        end = "an end when the valid ppl is no longer falling"
    rate = f"lr {config.lr:g}" + (", falling" if config.schedule == "cosine" else "")
    epochs = "epoch" if config.epochs == 1 else "epochs"
    defaults = [name for name in SHOWN if name not in given]
    return (
        f"{'up to ' if may_end_early(config) else ''}{config.epochs} {epochs} with {end}, "
        f"{OPTIMIZERS[config.optimizer]} ({rate}, {_averaging(config)}), "
        f"{config.batch} streams in chunks of about {config.bptt} tokens"
        + (f"; by default: {', '.join(defaults)}" if defaults else "")
    )


def may_end_early(config: TrainConfig) -> bool:
    """Whether the valid text can end a training before its last epoch."""
    return config.patience > 0 or config.averaging == "start"


def _averaging(config: TrainConfig) -> str:
    return {
        "nonmono": f"NT-ASGD's averaging after {config.nonmono} epochs without gain",
        "start": "averaging from the start",
        "tail": f"averaging over the last {config.averaging_tail:.0%} of the epochs",
        "none": "no averaging",
    }[config.averaging]
