"""Options and steps that train_lm and distill_lm share."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from asr_rescore.cli.options import add_device_option, number
from asr_rescore.progress import work_on
from asr_rescore.ranges import SEED

if TYPE_CHECKING:
    import torch

    from asr_rescore.config import Config
    from asr_rescore.models import LanguageModel
    from asr_rescore.training import Ranks, TrainingRun
    from asr_rescore.vocab import Vocabulary


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Declare config, texts, start, seed and device."""
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        action="append",
        help="YAML file with the settings that differ from the defaults; if given several times, later files override "
        "earlier ones",
    )
    parser.add_argument("--train", type=Path, required=True, help="text to train on, one sentence per line")
    parser.add_argument(
        "--valid", type=Path, required=True, help="text for validation; the epoch with the lowest perplexity is kept"
    )
    parser.add_argument(
        "--init",
        type=Path,
        metavar="LM_DIR",
        help="start from the weights of this model, which must have the same sizes",
    )
    parser.add_argument(
        "--seed",
        type=number(int, SEED),
        default=1,
        help="seed of weights, dropout and chunk lengths (default: %(default)s)",
    )
    parser.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="also write the course of the training to this directory, for TensorBoard (needs pip install tensorboard)",
    )
    add_device_option(parser)


def read_training_config(arguments: argparse.Namespace, base: Config | None = None) -> Config:
    """The config of a training, in which something must be said about the training itself.

    Args:
        arguments: those of :func:`add_training_options`.
        base: the defaults; None: those of train_lm.

    Raises:
        UsageError: nothing is: the defaults are those of weeks on Penn Treebank, which nobody wants by accident; or the
            default objective does not read a setting of objective.
    """
    from asr_rescore.config import given_settings, load_config, refuse_unread
    from asr_rescore.errors import UsageError

    config = load_config(*arguments.config, base=base)
    given = given_settings(*arguments.config)
    refuse_unread(given, config.objective, str(arguments.config[-1]))
    if not given["train"]:
        raise UsageError(
            f"{arguments.config[-1]}: no setting of train: is given, and the defaults are {config.train.epochs} epochs "
            "of SGD; set at least train.epochs, or begin with a config of recipes/wsj/conf or recipes/ptb/conf"
        )
    return config


def say_plan(arguments: argparse.Namespace, config: Config, directory: Path) -> None:
    """Print what the training in ``directory`` will do."""
    from asr_rescore.config import given_settings
    from asr_rescore.training.plan import plan

    print(f"{directory}: {plan(config.train, given_settings(*arguments.config)['train'])}", flush=True)


@contextmanager
def training_ranks(arguments: argparse.Namespace) -> Iterator[Ranks]:
    """A context in which this process trains with the others that torchrun started; only the first one prints."""
    from asr_rescore.progress import PROGRESS_FILE, show_progress
    from asr_rescore.training import joined

    with joined(arguments.device) as ranks:
        if ranks.first:
            yield ranks
            return
        os.environ.pop(PROGRESS_FILE, None)  # the first process writes it
        show_progress(False)
        logging.getLogger("asr_rescore").setLevel(logging.ERROR)
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield ranks


def check_training_outputs(arguments: argparse.Namespace, directory: Path, others: Sequence[Path]) -> None:
    """Check the files of the training in ``directory`` before anything is read.

    Args:
        arguments: those of :func:`add_training_options`.
        directory: the output directory.
        others: the files that the command reads in addition.

    Raises:
        UsageError: a file to be written is an input, or TensorBoard is wanted and not installed.
        RescoreError: a file cannot be written.
    """
    from asr_rescore.checkpoint import model_files
    from asr_rescore.outputs import check_outputs, check_writable
    from asr_rescore.report.training_curve import LOG_FILE
    from asr_rescore.training.state import STATE_FILE
    from asr_rescore.training.tensorboard import check_tensorboard

    if arguments.tensorboard is not None:
        check_tensorboard()
        check_writable(arguments.tensorboard / "events")
    work_on(directory, parts=1)
    inputs = [*arguments.config, arguments.train, arguments.valid, *others]
    if arguments.init is not None:
        inputs += model_files(arguments.init)
    check_outputs([*model_files(directory), directory / LOG_FILE, directory / STATE_FILE], inputs)


def check_memory(config: Config, vocabulary_size: int) -> None:
    """Refuse a model that this machine cannot hold, before it is built.

    Raises:
        UsageError: weights and gradients need more than the memory.
    """
    import torch

    from asr_rescore import models
    from asr_rescore.errors import UsageError

    with torch.device("meta"):  # sizes only
        parameters = models.build(config.model, vocabulary_size).num_parameters
    needed = 2 * 4 * parameters  # weights and gradients in float32, before anything else
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise UsageError(
            f"model: {parameters:,} parameters need {needed / 2**30:,.0f} GiB or more, and this machine has "
            f"{memory / 2**30:,.0f} GiB; lower model.experts, model.embedding or model.hidden"
        )


@contextmanager
def prepared_run(
    arguments: argparse.Namespace, directory: Path, config: Config, vocabulary: Vocabulary, device: torch.device
) -> Iterator[tuple[TrainingRun, LanguageModel]]:
    """A context with the texts and the model, whose weights are random or those of ``--init``.

    Yields:
        The run, and the model to be trained. The training text is a file that may be gone afterwards.

    Raises:
        InputError: a text is missing or broken.
        UsageError: the machine has too little memory for the model.
    """
    import torch

    from asr_rescore import models
    from asr_rescore.checkpoint import load_weights
    from asr_rescore.corpus import TokenStream
    from asr_rescore.id_file import opened_ids
    from asr_rescore.training import TrainingRun

    with opened_ids(arguments.train, vocabulary, directory) as train_text:
        valid_text = TokenStream.read(arguments.valid, vocabulary)
        check_memory(config, len(vocabulary))
        torch.manual_seed(arguments.seed)
        model = models.build(config.model, len(vocabulary)).to(device)
        facts = {} if arguments.init is None else {"init": load_weights(arguments.init, model, vocabulary)}
        run = TrainingRun(
            config=config,
            vocabulary=vocabulary,
            train=train_text,
            valid=valid_text,
            seed=arguments.seed,
            directory=directory,
            facts=facts,
            trained=arguments.init is not None,
            tensorboard=arguments.tensorboard,
        )
        yield run, model
