"""The commands ``fit``, ``validate`` and ``test``: Lightning's command line with defaults of meshconv."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from argparse import ArgumentError
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from meshconv.datasets.class_path import class_path, constructor_parameters, import_class
from meshconv.datasets.protocol import check_target
from meshconv.errors import InputError, behind, first_line, parser_says
from meshconv.fields import FieldType
from meshconv.ranks import rank_and_world
from meshconv.shipped import find_config
from meshconv.train.checkpoints.file import checkpoint_path, read_checkpoint
from meshconv.train.checkpoints.load import check_hyperparameters
from meshconv.train.checkpoints.matching import check_network, combine
from meshconv.train.checkpoints.state import check_state
from meshconv.train.loop.precision import surface_precision
from meshconv.train.loop.provenance import RunConfig
from meshconv.train.loop.run import run_options
from meshconv.train.tasks.base import Task

log = logging.getLogger(__name__)


class _Parser(LightningArgumentParser):
    """Options of the trainer are words; a file of that name in the working folder (``cpu``, ``auto``) is not read."""

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        return super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})


class RunCLI(LightningCLI):
    """``runs/<name>/`` holds checkpoint, metrics, configuration and log of a run.

    A checkpoint is a file on this machine, or ``last``: that of the run itself. It is read here, and Lightning gets
    the path alone: Lightning would download addresses, and look for words such as ``hpc`` and ``registry`` elsewhere.
    """

    checkpoint: Path | None = None
    trained: dict[str, Any]
    trained_task: str | None

    def __init__(self, args: list[str] | None = None, run: bool = True):
        leave: dict[str, Any] = {"exit_on_error": False}
        super().__init__(
            Task,
            lightning.LightningDataModule,
            parser_class=_Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=RunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,  # the task's own arguments say it
            parser_kwargs={**leave, **dict.fromkeys(self.subcommands(), leave)},
            load_from_checkpoint_support=False,  # it would name in the checkpoint what is imported to load it
            args=args,
            run=run,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without the choice to trust a checkpoint."""
        return {name: {*skipped, "weights_only"} for name, skipped in LightningCLI.subcommands().items()}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", default="run", help="the run is kept in <runs>/<name>/")
        parser.add_argument("--runs", default="runs", help="folder of all runs")
        parser.add_argument("--resume", action="store_true", help="go on from the run's last.ckpt, if there is one")
        parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
        parser.set_defaults({"trainer.enable_model_summary": False, "trainer.accelerator": "auto"})
        for name in ("in_type", "class_names", "field_names", "spec", "compact"):
            # From the module itself: of an attribute that it lacks a link would write its text, which makes loaders.
            value = partial(self._of_the_data, name=name)
            parser.link_arguments("data", f"model.init_args.{name}", value, apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and take the checkpoint out of the configuration, which is that of the run that is going to be."""
        try:
            super().parse_arguments(parser, _with_configs(sys.argv[1:] if args is None else args))
        except ArgumentError as error:
            said, missing = parser_says(str(error)), "are required" in str(error)
            remedy = "; give a configuration with --config, such as classify" if missing else ""
            raise InputError(f"{said}{remedy}") from error
        except UnicodeError as error:
            raise InputError("--config: the file is no text; give a configuration, such as config.yaml") from error
        config = self._chosen
        given = config.get("ckpt_path")
        if given is None and config["resume"] and (self._folder / "last.ckpt").is_file():
            given = "last"
        config["resume"] = False
        if given is not None:
            config["ckpt_path"] = None
            self.checkpoint = checkpoint_path(self._folder / "last.ckpt" if str(given) == "last" else given).absolute()
            content = read_checkpoint(self.checkpoint)
            try:
                check_state(content, self.config.get("subcommand") == "fit")
            except InputError as error:
                raise InputError(f"{self.checkpoint}: {error}; use one that meshconv fit wrote") from error
            self.trained, about = content["hyper_parameters"], content.get("meshconv")
            self.trained_task = about.get("task") if isinstance(about, dict) else None

    def _of_the_data(self, data: lightning.LightningDataModule, name: str) -> Any:
        """What a task takes of the data, or, from a checkpoint, of the training that these data have to match."""
        given = {key: _attribute(data, key) for key in ("in_type", "class_names", "field_names", "spec", "compact")}
        return given[name] if self.checkpoint is None else self._check(combine, given)[name]

    def _check(self, compare: Callable[..., Any], given: Any) -> Any:
        """``compare`` with the checkpoint's hyperparameters; errors name the file."""
        try:
            return compare(self.trained, given)
        except InputError as error:
            raise InputError(f"{self.checkpoint}: {error}") from error
        except Exception as error:  # a checkpoint of anything: of values of any kind, whatever takes them raises
            said = f"{self.checkpoint}: not one of a meshconv task ({first_line(error)})"
            raise InputError(f"{said}; use one from meshconv fit") from error

    def before_instantiate_classes(self) -> None:
        task = import_class(self._chosen.model.class_path, Task)
        if self.checkpoint is not None:
            asked = class_path(task)
            if self.trained_task != asked:
                said = f"{self.checkpoint}: a checkpoint of {self.trained_task or 'something else'}, not of {asked}"
                raise InputError(f"{said}; use one of this task, or the config.yaml beside it")
        data = import_class(self._chosen.data.class_path, lightning.LightningDataModule)
        check_target(task, data)
        for part, cls in (("model", task), ("data", data)):
            _check_null(part, cls, self._chosen[part].get("init_args") or {})
        if self.checkpoint is not None:
            self._check(_check_trained, (task, data))
            self._check(partial(check_network, kept=task.kept), self._chosen.model.get("init_args") or {})
        if self._evaluates:
            self.save_config_callback = None
            if self.checkpoint is None:
                raise InputError(f"{self.subcommand}: --ckpt_path is missing; give runs/NAME/last.ckpt")

    def instantiate_classes(self) -> None:
        """Construct what the configuration names; what a constructor cannot take is one line."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if behind(error) is None and "Does not validate" in str(error):
                raise InputError(parser_says(str(error))) from error
            raise

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        options = run_options(self._folder)
        given = self._get(self.config_init, "trainer")
        options["callbacks"] += given["callbacks"] or []
        # Loggers of the configuration are beside the run's own, whose files an evaluation leaves unchanged.
        loggers = [*([] if self._evaluates else [options["logger"]]), *_loggers(given["logger"])]
        options["logger"] = loggers or False
        plugin = surface_precision(given["precision"])
        if plugin is not None:
            plugins = given["plugins"] or []
            options |= {"precision": None, "plugins": [*(plugins if isinstance(plugins, list) else [plugins]), plugin]}
        try:
            return super().instantiate_trainer(**{**options, **kwargs})
        except (MisconfigurationException, ValueError) as error:
            raise InputError(f"trainer: {first_line(error)}") from error

    def fit(self, **given: Any) -> None:
        """Run ``trainer.fit``, from the checkpoint if there is one; so do ``validate`` and ``test``."""
        self._run(self.trainer.fit, given)

    def validate(self, **given: Any) -> None:
        if not self._run(self.trainer.validate, given):
            raise InputError("validate: the data have no validation split; set val_fraction above 0, or use test")

    def test(self, **given: Any) -> None:
        self._run(self.trainer.test, given)

    def _run(self, command: Callable[..., Any], given: dict[str, Any]) -> Any:
        start, handlers = Start(), {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.trainer.callbacks.append(start)  # type: ignore[attr-defined]
        try:
            return command(**{**given, "ckpt_path": self.checkpoint, "weights_only": True})
        except (SIGTERMException, SystemExit) as error:  # the second is what Lightning makes of Ctrl-C
            _let_end(signal.SIGINT, handlers[signal.SIGINT])  # after which it ignores any other
            if not self.trainer.received_sigterm:
                cause = error.__context__  # the command's own, of SIGTERM before the training begins
                raise (cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt()) from None
            log.warning("stopped by SIGTERM%s", "" if self._evaluates else "; go on with --resume")
            raise SystemExit(128 + signal.SIGTERM) from error
        except (InputError, OSError):
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and rank_and_world()[1] > 1:
                time.sleep(_TO_SAY)
            if self.checkpoint is None or start.reached or not isinstance(error, _FROM_BAD_STATE):
                raise
            said = f"{self.checkpoint}: {self.subcommand} cannot go on from it ({first_line(error)})"
            raise InputError(f"{said}; use one of the same configuration that meshconv fit wrote") from error
        finally:
            _let_end(signal.SIGTERM, handlers[signal.SIGTERM])

    @property
    def _chosen(self) -> Any:
        """Configuration of the subcommand."""
        name = self.config.get("subcommand")
        return self.config[name] if name else self.config

    @property
    def _folder(self) -> Path:
        return Path(self._chosen["runs"]) / self._chosen["name"]

    @property
    def _evaluates(self) -> bool:
        """Whether the command only evaluates, and leaves ``config.yaml`` and ``metrics.csv`` unchanged."""
        return self.subcommand in ("validate", "test")


def _loggers(given: Any) -> list[Logger]:
    """Loggers that a configuration names; ``true`` and ``false`` name none."""
    if given is None or isinstance(given, bool):
        return []
    return list(given) if isinstance(given, Iterable) else [given]


def _with_configs(args: Any) -> Any:
    """Arguments with the paths of configurations that are named, as those that ship may be."""
    if not isinstance(args, list):
        return args
    found, flags = list(args), ("--config", "-c")
    for k, text in enumerate(args):
        flag, equals, value = text.partition("=")
        if k and args[k - 1] in flags:
            found[k] = str(find_config(text))
        elif flag in flags and equals:
            found[k] = f"{flag}={find_config(value)}"
    return found


def _let_end(number: int, handler: Any) -> None:
    """Set what a signal does, where that can be set."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)


def _check_trained(trained: dict[str, Any], classes: tuple[type[Task], type]) -> None:
    """A checkpoint is of these data: its own path is not imported, nobody has trusted it."""
    if class_path(classes[1]) == trained["spec"].get("data"):
        check_hyperparameters(trained, *classes)


def _check_null(part: str, cls: type, given: Mapping[str, Any]) -> None:
    """The parser takes null for every option; those of which it is no value are refused here."""
    for name, parameter in constructor_parameters(cls).items():
        if given.get(name, 0) is None and parameter.default not in (None, parameter.empty):
            kind = parameter.annotation
            if kind is not Any and not isinstance(kind, str) and type(None) not in get_args(kind):
                said = f"{part}.init_args.{name}: null is no value of it"
                raise InputError(f"{said}; leave it out for {parameter.default!r}")


def _attribute(data: lightning.LightningDataModule, name: str) -> Any:
    """What a task takes of the data, in plain values; None where the data have no such thing."""
    value = getattr(data, name, None)
    return str(value) if isinstance(value, FieldType) else value


# Seconds in which the end of another process, which is an error of an exchange here, is said: see Companions.
_TO_SAY = 3.0
# What trainers raise of a checkpoint that is well-formed and wrong.
_FROM_BAD_STATE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)


class Start(Callback):
    """Whether all of a checkpoint was taken up and batches begin."""

    reached = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """After the preparation: Lightning ends a step first, and saves what there is, if it finds the default."""
        _let_end(signal.SIGTERM, signal.SIG_DFL)

    def _note(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.reached = True

    on_sanity_check_start = on_train_start = on_validation_start = on_test_start = _note
