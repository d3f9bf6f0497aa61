"""Worker of the service: a process that predicts, ended and started anew where it takes too long or dies."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from meshconv.errors import InputError

# Time for a process to import torch and load a network.
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Parameters
    ----------
    megabytes
        Size of an upload.
    seconds
        Time of a prediction, after which its process is ended.
    memory_gigabytes
        Address space of the process; 0: no limit.
    waiting
        Requests that wait for their turn; further ones are refused.
    """

    megabytes: float = 50.0
    seconds: float = 60.0
    memory_gigabytes: float = 16.0
    waiting: int = 64

    def __post_init__(self) -> None:
        for name in ("megabytes", "seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)} is not a positive number")
        if self.memory_gigabytes < 0 or self.waiting < 1:
            raise InputError(f"memory_gigabytes {self.memory_gigabytes} and waiting {self.waiting} have to be positive")


@dataclass(frozen=True)
class Answer:
    """Result of a prediction: a file, or why there is none.

    Attributes
    ----------
    status : int
        Of HTTP: 200, 422 for an input that cannot be used, 500 for an error of the program, 504 for the time limit.
    content : bytes
    media_type : str
    """

    status: int
    content: bytes
    media_type: str = "text/plain; charset=utf-8"


class Worker:
    """One process that holds the network, asked by one thread at a time.

    Parameters
    ----------
    network : Path
        Checkpoint or exported file.
    limits : Limits
    trust, template
        As of :class:`meshconv.Predictor`; a mesh for networks that compare.

    Raises
    ------
    InputError
        The network cannot be loaded.

    Attributes
    ----------
    started : int
        Processes so far.
    info : dict
        What the network is, in plain values.
    """

    def __init__(self, network: Path, limits: Limits, trust: Sequence[str] = (), template: Path | None = None):
        self._given = (network, limits, tuple(trust), template)
        self.limits, self.started = limits, 0
        self.info: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._start()

    def predict(self, path: Path, form: str) -> Answer:
        """The answer for an uploaded file, in the form ``"json"``, ``"ply"`` or ``"netcdf"``."""
        with self._lock:
            if not self._process.is_alive():
                self._start()
            try:
                self._pipe.send((str(path), form))
                if not self._pipe.poll(self.limits.seconds):
                    self._end()
                    return Answer(504, f"the prediction takes more than {self.limits.seconds:g} s".encode())
                return Answer(*self._pipe.recv())
            except (EOFError, OSError):
                self._end()
                return Answer(422, b"the file takes more memory than the service has for one")

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._given), daemon=True)
        self._process.start()
        theirs.close()
        self.started += 1
        try:
            if not self._pipe.poll(_START_SECONDS):
                raise EOFError
            said = self._pipe.recv()
        except EOFError:
            self._end()
            raise InputError(f"{self._given[0]}: the process that loads the network ended") from None
        if isinstance(said, str):
            self._end()
            raise InputError(said)
        self.info = said

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, network: Path, limits: Limits, trust: Sequence[str], template: Path | None) -> None:
    """Load the network, then answer until the pipe closes."""
    from meshconv.train import Predictor

    try:
        predictor = Predictor(network, "auto", trust, cache=False, workers=0)
    except InputError as error:
        pipe.send(str(error))
        return
    if predictor.device.type == "cpu":  # a GPU is given more addresses than a machine has memory
        _bound_memory(limits.memory_gigabytes)
    pipe.send(_info(predictor))
    while True:
        try:
            path, form = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(_answer(predictor, Path(path), form, template))


def _bound_memory(gigabytes: float) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    if gigabytes:
        most = int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _info(predictor: Any) -> dict[str, Any]:
    """What the network is, for the page."""
    task = predictor.task
    names = getattr(task, "class_names", None) or getattr(task, "field_names", [])
    values = task.spec.get("class_values") or []
    numbers = values if all(isinstance(value, int) for value in values) else []  # labels in PLY are numbers
    return {"task": task.task_path.rpartition(".")[2], "takes": "maps" if "inputs" in task.spec else "meshes",
            "columns": list(names), "labels": numbers or list(range(len(names)))}  # fmt: skip


def _answer(predictor: Any, path: Path, form: str, template: Path | None) -> tuple[int, bytes, str]:
    try:
        return 200, *_predicted(predictor, path, form, template)
    except InputError as error:
        return 422, str(error).replace(f"{path.parent}{os.sep}", "").encode(), Answer.media_type
    except MemoryError:
        return 422, b"the file takes more memory than the service has for one", Answer.media_type
    except Exception as error:  # a fault of the program: the service goes on, and says no more than its kind
        if "alloc" in str(error):
            return 422, b"the file takes more memory than the service has for one", Answer.media_type
        return 500, f"internal error ({type(error).__name__})".encode(), Answer.media_type


def _predicted(predictor: Any, path: Path, form: str, template: Path | None) -> tuple[bytes, str]:
    result = predictor(path) if template is None else predictor([path], template=template, strict=True)[0]
    is_map = hasattr(result, "to_netcdf")
    if form == "json":
        content = _map_values(result) if is_map else _mesh_values(result)
        return json.dumps(_plain(content), allow_nan=False).encode(), "application/json"
    if is_map != (form == "netcdf"):
        raise InputError(f"format {form}: this network gives {'netcdf' if is_map else 'ply'} or json")
    with tempfile.TemporaryDirectory(prefix="meshconv-") as folder:
        if is_map:
            target = Path(folder) / "prediction.nc"
            result.to_netcdf(target, engine="netcdf4")
            return target.read_bytes(), "application/x-netcdf"
        from meshconv.io.meshes.save import save_mesh

        picture = result.write(Path(folder) / "prediction").get("picture")
        if picture is None:  # of the mesh as a whole: its shape alone
            picture = Path(folder) / "mesh.ply"
            save_mesh(result.raw(), picture)
        return picture.read_bytes(), "application/x-ply"


def _mesh_values(result: Any) -> dict[str, Any]:
    """The row of a result, with its arrays in place of the paths of files."""
    row = {key: value for key, value in result.row().items() if key not in ("file", "template")}
    for name in ("labels", "matches"):
        if hasattr(result, name):
            row[name] = getattr(result, name).tolist()
    for name, values in getattr(result, "fields", {}).items():
        row[name] = values.tolist()
    return row


def _map_values(result: Any) -> dict[str, Any]:
    return {str(name): {"dims": list(map(str, v.dims)), "values": v.values.tolist(), "units": v.attrs.get("units")}
            for name, v in result.variables.items() if v.dtype.kind in "biuf" and v.ndim}  # fmt: skip


def _plain(value: Any) -> Any:
    """The same with null for numbers that JSON has not."""
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
