"""Training from Python, with the configurations of the command line."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

from meshconv.errors import behind
from meshconv.extras import require

require("meshconv.fit", "train")

from meshconv.train.fit import RunCLI  # noqa: E402
from meshconv.train.loop.run import quiet  # noqa: E402
from meshconv.train.predict.predictor import Predictor  # noqa: E402

# Options of a run by plain names; other plain names are those of the data.
_RUN = ("name", "runs", "seed_everything", "ckpt_path")


def fit(config: str | os.PathLike[str], **options: Any) -> Predictor:
    """Train as ``meshconv fit --config`` does; the run is kept in ``runs/<name>/``.

    Parameters
    ----------
    config
        Path of a configuration, or the name of one that ships: ``"classify"``, ``"segment"``, ...
    options
        What differs from it: ``name`` and ``runs``, the data's options by their names, others by dotted names as on the
        command line.

    Returns
    -------
    Predictor
        Of the trained task.

    Raises
    ------
    InputError
        An unknown configuration or option, or an error of the training.

    Examples
    --------
    >>> predict = fit("classify", root="meshes", name="mine", **{"trainer.max_epochs": 3})  # doctest: +SKIP
    >>> predict("new.obj").label  # doctest: +SKIP
    'chair'
    """
    arguments = ["fit", "--config", os.fspath(config)]
    for name, value in options.items():
        key = name if name in _RUN or "." in name else f"data.{name}"
        text = value if isinstance(value, str) else str(value) if isinstance(value, os.PathLike) else json.dumps(value)
        arguments.append(f"--{key}={text}")
    with warnings.catch_warnings():
        quiet()
        try:
            run = RunCLI(arguments)
        except ValueError as error:  # the parser wraps what is raised on the way
            found = behind(error)
            if found is None:
                raise
            raise found from error
    return Predictor(run.model)
