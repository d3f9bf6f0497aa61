"""Networks that ship, by their names."""

from __future__ import annotations

import os
from collections.abc import Sequence

from meshconv.train.checkpoints.load import load_task
from meshconv.train.tasks.base import Task


def load_pretrained(name: str | os.PathLike[str], trust: Sequence[str] = ()) -> Task:
    """Load a trained task: one that ships, by its name, or a checkpoint.

    Parameters
    ----------
    name
        Of ``meshconv models``, or the path of a checkpoint.
    trust
        As of :func:`~meshconv.train.load_task`, which this is.

    Returns
    -------
    Task
        On the CPU, in evaluation mode, with gradients on. ``task.network`` is the network, a :class:`torch.nn.Module`;
        ``task.spec`` says how its inputs are made from files, and ``task.class_names`` or ``task.field_names`` what the
        columns of its outputs are. ``meshconv.Predictor(task)`` takes files, meshes or maps; ``task(batch)`` what a
        data module makes of them.

    Raises
    ------
    InputError
        Nothing of that name ships, and there is no such file; or as of :func:`~meshconv.train.load_task`.

    Examples
    --------
    >>> task = load_pretrained("koeppen")
    >>> task.class_names[:3], type(task.network).__name__
    (['Af', 'Am', 'As'], 'SphereUNet')
    """
    return load_task(name, trust)
